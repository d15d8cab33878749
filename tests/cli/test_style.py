"""style: the recipe of a style transfer, and a small one with the network of the package."""

from pathlib import Path

import numpy as np
import pytest

from raydream.core import canvas
from raydream.data import codec
from raydream.errors import UsageError
from raydream.recipe import Recipe
from tests.cli.conftest import Cli


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    """A photograph and two styles."""
    paths = [str(tmp_path / name) for name in ("photo.png", "a.png", "b.png")]
    for seed, path in enumerate(paths):
        noise = canvas.noise((96, 110), 1, seed, contrast=10.0)[0]
        Path(path).write_bytes(codec.encode(noise))
    return paths


def test_the_terms_of_some_styles() -> None:
    recipe = Recipe.load("style").with_images("style", ["a.jpg:mask=left", "b.jpg:weight=3"])
    layers = ["mixed0", "mixed1", "mixed2", "mixed3"]
    assert recipe.as_dict()["objective"] == [
        {"kind": "content", "layer": "mixed3", "weight": 0.5},
        *({"kind": "style", "layer": layer, "style": "a.jpg", "mask": "left"} for layer in layers),
        *({"kind": "style", "layer": layer, "style": "b.jpg", "weight": 3.0} for layer in layers),
    ]
    with pytest.raises(UsageError, match="unknown key 'match'"):
        Recipe.load("style").with_images("style", ["a.jpg:match=positions"])
    with pytest.raises(UsageError, match="a style needs a term in the objective"):
        Recipe.load("classic").with_images("style", ["a.jpg"])


def test_vgg19_paints_with_average_pooling(cli: Cli, images: list[str], tmp_path: Path) -> None:
    """With untrained weights, since the trained ones must be downloaded."""
    import keras

    keras.utils.set_random_seed(0)
    weights = str(tmp_path / "vgg19.weights.h5")
    keras.applications.VGG19(include_top=False, weights=None).save_weights(weights)
    small = [f"--set={change}" for change in ("size=48", "octaves=1", "steps=2", f"weights={weights}")]
    out = str(tmp_path / "styled.png")
    code, said, err = cli("style", *images[:2], "-r", "style-vgg19", "-o", out, *small)
    assert (code, said) == (0, f"{out}\n"), err
    recipe = codec.read_metadata(Path(out).read_bytes())["recipe"]
    assert (recipe["backbone"], recipe["pooling"]) == ("vgg19", "average")


def test_a_small_picture_is_painted_and_made_again(cli: Cli, images: list[str], tmp_path: Path) -> None:
    out = str(tmp_path / "styled.png")
    small = ("--set", "size=96", "--set", "octaves=1", "--set", "steps=6")
    code, said, err = cli("style", *images, "-o", out, *small, "--content", "0.3", "--dream", "mixed2")
    assert (code, said) == (0, f"{out}\n"), err
    inside = codec.read_metadata(Path(out).read_bytes())
    terms = inside["recipe"]["objective"]
    assert terms[0] == {"kind": "content", "layer": "mixed3", "weight": 0.3}
    assert terms[-1] == {"layer": "mixed2"}
    digests = {term["style_digest"] for term in terms if term.get("kind") == "style"}
    assert len(digests) == 2
    photograph, styled = (codec.decode(Path(path).read_bytes()) for path in (images[0], out))
    assert 0.02 < np.abs(styled - codec.fit(photograph, 96)).mean() < 0.9
    code, said, err = cli("replay", out)
    assert code == 0, err


def test_mistakes_are_one_line(cli: Cli, images: list[str], tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    for style, said in (
        ("none.jpg", "none.jpg"),
        (str(tmp_path / "text.jpg"), "text.jpg: not an image that can be read"),
    ):
        code, out, err = cli("style", images[0], style, "-o", str(tmp_path / "out.png"))
        assert (code, out) == (2, "")
        assert said in err
        assert err.count("\n") == 1
