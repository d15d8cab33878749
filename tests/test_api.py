"""api: one Python call from whatever holds a photograph to its dream, which knows its recipe."""

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import raydream
from raydream import api, assets
from raydream.cli import watch
from raydream.core import engine
from raydream.data import codec, provenance, storage
from raydream.errors import UsageError
from raydream.recipe import Recipe
from tests.conftest import random_images


@pytest.fixture
def cat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A photograph, `cat.png`, in the current folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "cat.png"
    path.write_bytes(codec.encode(random_images(40, 60)[0]))
    return path


@pytest.fixture
def recipe(tiny_recipe: Recipe) -> Recipe:
    """As short as can be."""
    return tiny_recipe.changed(octaves=1, steps=1)


def refusal(*arguments: Any, **changes: Any) -> str:
    """The one line with which a dream is refused."""
    with pytest.raises(UsageError) as error:
        raydream.dream(*arguments, **changes)
    assert "\n" not in str(error.value)
    return str(error.value)


# ---- what is dreamed


@pytest.mark.parametrize("images", [3, None, b"cat.jpg", {"cat": "cat.jpg"}, [3]])
def test_what_is_no_image_is_refused(images: Any) -> None:
    with pytest.raises(raydream.UsageError, match="an image is a path, URL, Pillow image or array, not"):
        raydream.dream(images)


@pytest.mark.parametrize("recipe", [None, 3, {"steps": 3}])
def test_what_is_no_recipe_is_refused(recipe: Any) -> None:
    with pytest.raises(raydream.UsageError, match="recipe must be the name of a preset"):
        raydream.dream("cat.jpg", recipe)


def test_a_path_a_url_an_image_and_an_array_give_the_same_dream_of_the_same_pixels(cat: Path, recipe: Recipe) -> None:
    storage.write("memory://api/cat.png", cat.read_bytes())
    pixels = np.asarray(Image.open(cat))
    named = [cat, "cat.png", "memory://api/cat.png", Image.open(cat)]
    dreams = raydream.dream(named, recipe)
    for dream in dreams:
        assert (dream.id, dream.seed) == ("cat.png", recipe.seed_of("cat.png"))
        np.testing.assert_array_equal(dream.array, dreams[0].array)
    arrays = [pixels, codec.from_uint8(pixels), codec.from_uint8(pixels).astype(np.float64), Image.fromarray(pixels)]
    nameless = raydream.dream(arrays, recipe)
    for dream in nameless:
        assert (dream.id, dream.seed) == ("image", recipe.seed_of("image"))
        np.testing.assert_array_equal(dream.array, nameless[0].array)


def test_the_dream_is_the_engines(cat: Path, recipe: Recipe) -> None:
    image = codec.decode(cat.read_bytes())
    dream = raydream.dream(cat, recipe, progress=False)
    expected = engine.dream(image[None], recipe, assets.load_for(recipe), [dream.seed])[0]
    np.testing.assert_array_equal(dream.array, expected)
    assert dream.array.dtype == np.float32


def test_one_input_gives_one_dream_and_a_list_a_list(cat: Path, recipe: Recipe) -> None:
    assert isinstance(raydream.dream(cat, recipe), api.Dream)
    assert [type(dream) for dream in raydream.dream([cat], recipe)] == [api.Dream]
    assert raydream.dream([], recipe) == []


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.full((9, 9, 3), 0.7), "looks like 0..1: convert it with 2 * array - 1"),
        (np.full((9, 9, 3), 0.01), "looks like 0..1"),
        (np.zeros((9, 9, 3), np.float32), "looks like 0..1"),
        (np.full((9, 9, 3), 200.0), "looks like 0..255: convert it with array / 127.5 - 1"),
        (np.full((9, 9, 3), 3.0), "looks like 0..255"),
        (np.linspace(-2, 1, 243).reshape(9, 9, 3), "must be in [-1, 1], not -2 to 1"),
        (np.full((9, 9, 3), np.nan), "must be in [-1, 1], not nan to nan"),
        (np.zeros((9, 9, 3), np.int64), "must be of uint8, or floating point in [-1, 1], not of int64"),
        (np.zeros((9, 9, 3), bool), "not of bool"),
        (np.zeros((9, 9, 4), np.uint8), "must be (height, width, 3), not (9, 9, 4)"),
        (np.zeros((9, 9), np.uint8), "must be (height, width, 3), not (9, 9)"),
        (np.zeros((2, 9, 9, 3), np.uint8), "use a list of images"),
        (7, "a path, URL, Pillow image or array, not int"),
    ],
)
def test_arrays_that_may_mean_something_else_are_refused_before_anything_is_loaded(
    array: Any, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assets, "load", None)
    assert said in refusal([array])


@pytest.mark.parametrize("image", [np.full((3, 3, 3), -0.98), np.linspace(-1, 1, 27).reshape(3, 3, 3)])
def test_dark_images_in_the_right_range_are_taken(image: Any) -> None:
    np.testing.assert_allclose(api.photograph(image).image, image, atol=1e-7)


def test_pillow_images_of_any_mode_are_read_as_files_are() -> None:
    grey = Image.fromarray(np.arange(60, dtype=np.uint8).reshape(6, 10))
    for image in (grey, grey.convert("RGBA"), grey.convert("CMYK"), grey.convert("P")):
        file = io.BytesIO()
        image.save(file, "TIFF")
        np.testing.assert_array_equal(api.photograph(image).image, codec.decode(file.getvalue()))


def test_what_cannot_be_read_is_one_line_with_its_name(cat: Path) -> None:
    Path("broken.jpg").write_bytes(b"\xff\xd8\xff")
    assert refusal("none.jpg") == "image none.jpg does not exist"
    assert refusal("broken.jpg").startswith("broken.jpg: ")


# ---- recipes


def test_a_recipe_is_a_preset_a_file_or_a_recipe_and_values_change_it(cat: Path, recipe: Recipe) -> None:
    Path("tiny.yaml").write_text(recipe.dump())
    for given in ("tiny.yaml", Path("tiny.yaml"), recipe):
        dream = raydream.dream(cat, given, steps=2, size=30)
        assert (dream.recipe.steps, dream.array.shape) == (2, (30, 45, 3))
        assert dream.recipe.weights_digest == assets.digest(recipe.backbone)
    assert "did you mean 'classic'" in refusal(cat, "clasic")
    assert "unknown key 'stps'" in refusal(cat, recipe, stps=3)


def test_the_network_stays_in_memory_and_loading_is_said_once(
    cat: Path, recipe: Recipe, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "_loaded_before", set())
    loads = assets._loaded.cache_info().misses
    raydream.dream(cat, recipe, pooling="average")
    assert capsys.readouterr() == ("", f"loading {recipe.backbone}\n")
    raydream.dream(cat, recipe, pooling="average", seed=4)
    assert capsys.readouterr() == ("", "")
    assert assets._loaded.cache_info().misses == loads + 1


# ---- dreams


@pytest.fixture
def dream(cat: Path, recipe: Recipe) -> api.Dream:
    found = raydream.dream(cat, recipe, progress=False)
    assert isinstance(found, api.Dream)
    return found


def test_a_saved_dream_has_its_recipe_inside(dream: api.Dream, cat: Path) -> None:
    dream.save("new/dream.png")
    dream.save(Path("dream.jpg"))
    data = Path("new/dream.png").read_bytes()
    inside = provenance.found_inside(data, "dream")
    assert Recipe.parse(inside["recipe"]) == dream.recipe
    assert (inside["seed"], inside["id"]) == (dream.seed, "cat.png")
    assert provenance.photograph("new/dream.png", str(cat), inside) == cat.read_bytes()
    np.testing.assert_array_equal(codec.to_uint8(codec.decode(data)), np.asarray(dream.image))
    with pytest.raises(UsageError, match=r"x\.gif: pictures end in"):
        dream.save("x.gif")


def test_a_dream_of_an_array_knows_its_photograph_by_its_pixels(cat: Path, recipe: Recipe) -> None:
    dream = raydream.dream(np.asarray(Image.open(cat)), recipe)
    inside = dream.metadata
    assert provenance.photograph("dream.png", str(cat), inside) == cat.read_bytes()
    Path("other.png").write_bytes(codec.encode(random_images(40, 60, seed=1)[0]))
    with pytest.raises(UsageError, match="its digest differs"):
        provenance.photograph("dream.png", "other.png", inside)


def test_a_dream_shows_itself(dream: api.Dream) -> None:
    assert re.fullmatch(r"<Dream of 'cat\.png': 60x40, recipe [0-9a-f]{12}, seed \d+>", repr(dream))
    assert (dream.image.size, dream.image.mode) == ((60, 40), "RGB")
    assert codec.decode(dream._repr_png_()).shape == (40, 60, 3)


def test_a_step_shows_itself_shortly(recipe: Recipe) -> None:
    images = random_images(40, 60, batch=2)
    (step,) = raydream.dream_steps(images, recipe, assets.load_for(recipe), [1, 2])
    assert re.fullmatch(r"<Step: octave 1/1 60x40, step 1/1, objective \S+, \S+>", repr(step))
    assert codec.decode(step._repr_png_()).shape == (40, 120, 3)


# ---- progress


def test_long_dreams_say_how_far_they_are_in_plain_lines(
    cat: Path, recipe: Recipe, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    raydream.dream(cat, recipe)
    capsys.readouterr()
    monkeypatch.setattr(watch, "_PLAIN_EVERY", 0.0)
    raydream.dream(cat, recipe, steps=3)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert re.fullmatch(r"cat\.png  octave 1/1 60x40  \S+, \d+ s left", lines[0])
    raydream.dream(cat, recipe, steps=3, progress=False)
    assert capsys.readouterr().err == ""


def test_a_notebook_gets_one_moving_line_that_goes_away(
    cat: Path, recipe: Recipe, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.console import Console

    raydream.dream(cat, recipe)
    capsys.readouterr()
    monkeypatch.setattr(Console, "is_jupyter", True, raising=False)
    monkeypatch.setattr(Console, "__init__", lambda self, **options: None)
    raydream.dream(cat, recipe, steps=2)
    shown = capsys.readouterr().out.split("\r")
    assert "octave 1/1 60x40" in shown[1]
    assert shown[1].startswith("██████████░")
    assert "\n" not in "".join(shown)
    assert shown[-1] == shown[-2].strip() == ""
