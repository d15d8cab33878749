"""Guides, styles and masks on their way: command line, digests, pictures in memory, the data set job, replay."""

from pathlib import Path

import numpy as np
import pytest

from raydream import assets
from raydream.core import canvas
from raydream.data import codec
from raydream.data.job import Job
from raydream.errors import UsageError
from raydream.jobs.dreaming import batches
from raydream.jobs.dreaming.items import Item
from raydream.jobs.dreaming.prepare import prepare
from raydream.recipe import Recipe
from tests.cli.conftest import Cli


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A photograph, two guides and a mask."""
    (tmp_path / "photographs").mkdir()
    for seed, name in enumerate(("photographs/x.png", "a.png", "b.png")):
        noise = canvas.noise((80, 100), 1, seed, contrast=10.0)[0]
        (tmp_path / name).write_bytes(codec.encode(noise))
    mask = np.broadcast_to(np.linspace(-1, 1, 100, dtype=np.float32)[None, :, None], (80, 100, 3))
    (tmp_path / "mask.png").write_bytes(codec.encode(np.ascontiguousarray(mask)))
    return tmp_path


def recipe(tiny_path: str, *guides: str) -> Recipe:
    return Recipe(backbone=tiny_path, objective="high", octaves=1, steps=3).with_images("guide", guides)


def test_digests_are_filled_in_and_checked(tiny_path: str, folder: Path) -> None:
    guided = recipe(tiny_path, f"{folder}/a.png:mask={folder}/mask.png", f"{folder}/b.png")
    found = assets.resolve(guided)
    assert all(found.pictures.values())
    assert set(found.pictures) == {f"{folder}/{name}" for name in ("a.png", "b.png", "mask.png")}
    assert assets.resolve(found) == found == Recipe.parse(found.as_dict())
    assert assets.pictures(found) is assets.pictures(found)
    assert assets.pictures(found)[f"{folder}/a.png"].shape == (80, 100, 3)
    (folder / "a.png").write_bytes((folder / "b.png").read_bytes())
    for use in (assets.resolve, assets.pictures):
        with pytest.raises(UsageError, match=r"picture .*a.png \(.{12}\) is not that of the recipe \(.{12}\)"):
            use(found)


@pytest.mark.parametrize("broken", [b"", b"text", None])
def test_a_picture_that_cannot_be_read_is_one_line(broken: bytes | None, tiny_path: str, folder: Path) -> None:
    if broken is None:
        (folder / "a.png").unlink()
    else:
        (folder / "a.png").write_bytes(broken)
    with pytest.raises(UsageError, match=r"picture .*a.png") as error:
        assets.pictures(assets.resolve(recipe(tiny_path, f"{folder}/a.png")))
    assert "\n" not in str(error.value)


def test_the_data_set_job_dreams_with_guides(tiny_path: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative names work in workers, which run in other folders."""
    monkeypatch.chdir(folder)
    dreams = {}
    image = codec.decode(Path("photographs/x.png").read_bytes())
    for guides in ((), ("a.png",), ("b.png",)):
        asked = Job(input="photographs", output=str(folder / "out"), recipe=recipe(tiny_path, *guides))
        job, _ = prepare(asked)
        monkeypatch.chdir("/")
        (item,) = batches.dreaming(job)([Item(id="x.png", name="x.png", image=image)])
        dreams[guides] = item.dream
        monkeypatch.chdir(folder)
        assert item.after > item.before
    assert len({dream.tobytes() for dream in dreams.values()}) == 3


def test_a_dream_with_a_guide_is_made_again(cli: Cli, tiny_path: str, folder: Path) -> None:
    dream = str(folder / "dream.png")
    words = ("--set", f"backbone={tiny_path}", "--set", "objective=high", "--set", "steps=2", "--set", "octaves=1")
    code, _, err = cli("dream", f"{folder}/photographs/x.png", "--guide", f"{folder}/a.png", *words, "-o", dream)
    assert code == 0, err
    code, out, err = cli("replay", dream, "--source", str(folder / "photographs"))
    assert code == 0, out + err
    (folder / "a.png").unlink()
    code, out, err = cli("replay", dream, "--source", str(folder / "photographs"))
    assert code == 2
    assert f"needs the picture '{folder}/a.png': no file with its digest is on this machine" in err


def test_guides_and_the_terms_of_a_recipe() -> None:
    terms = [{"layer": "mixed3", "weight": 2.0}, {"class": "banjo"}, {"kind": "smoothness"}]
    two = Recipe.parse({"objective": terms}).with_images("guide", ["a.jpg:mask=left:weight=3", "http://h:80/b.jpg"])
    assert two.as_dict()["objective"] == [
        {"class": "banjo"},
        {"kind": "smoothness"},
        {"kind": "guide", "layer": "mixed3", "guide": "a.jpg", "weight": 6.0, "mask": "left"},
        {"kind": "guide", "layer": "mixed3", "guide": "http://h:80/b.jpg", "weight": 2.0},
    ]
    waiting = Recipe.load("guided", {"objective": [{"kind": "guide", "layer": "high"}, {"layer": "low"}]})
    assert [term.layer for term in waiting.with_images("guide", ["a.jpg"]).objective.terms] == ["low", "high"]
    assert waiting.with_images("guide", []) is waiting


def test_a_black_mask_is_refused_before_any_work(tiny_path: str, folder: Path) -> None:
    (folder / "mask.png").write_bytes(codec.encode(-np.ones((80, 100, 3), np.float32)))
    masked = Recipe(backbone=tiny_path, objective=[{"layer": "high", "mask": f"{folder}/mask.png"}])
    for use in (assets.resolve, assets.load):
        with pytest.raises(UsageError, match=r"mask .*mask.png is all black: it must be white where it counts"):
            use(masked)


def test_a_dreamer_takes_no_guides(tiny_path: str, folder: Path) -> None:
    asked = Job(
        input=f"{folder}/photographs", output=f"{folder}/out", recipe=recipe(tiny_path, "a.png"), dreamer="any.keras"
    )
    with pytest.raises(UsageError, match="a dreamer knows no guides, styles and masks"):
        prepare(asked)


def test_a_dream_made_again_names_its_pictures_as_before(cli: Cli, tiny_path: str, folder: Path) -> None:
    """A guide by URL is read from its copy, whose name tells nobody anything."""
    dream, again = str(folder / "dream.png"), str(folder / "again.png")
    words = ("--set", f"backbone={tiny_path}", "--set", "objective=high", "--set", "steps=2", "--set", "octaves=1")
    guides = ("--guide", (folder / "a.png").as_uri(), "--guide", f"{folder}/./b.png", "--guide", f"{folder}/b.png")
    code, _, err = cli("dream", f"{folder}/photographs/x.png", *guides, *words, "-o", dream)
    assert code == 0, err
    code, out, err = cli("replay", dream, "--source", str(folder / "photographs"), "-o", again)
    assert (code, out) == (0, "identical\n"), err
    before, after = (codec.read_metadata(Path(path).read_bytes()) for path in (dream, again))
    assert before == after


def test_a_dream_is_made_again_with_another_mask(cli: Cli, tiny_path: str, folder: Path) -> None:
    dream = str(folder / "dream.png")
    words = ("--set", f"backbone={tiny_path}", "--set", "objective=high", "--set", "steps=2", "--set", "octaves=1")
    masked = ("--set", f"mask={folder}/mask.png")
    assert cli("dream", f"{folder}/photographs/x.png", *masked, *words, "-o", dream)[0] == 0
    replay = ("replay", dream, "--source", str(folder / "photographs"))
    (folder / "other.png").write_bytes(codec.encode(np.ones((80, 100, 3), np.float32)))
    for mask in (f"{folder}/other.png", (folder / "other.png").as_uri(), "left", "null"):
        code, out, err = cli(*replay, "--set", f"mask={mask}")
        assert (code, err.count("differs")) == (1, 0), err
        assert out.startswith("differs by")


def test_mistakes_are_one_line(cli: Cli, tiny_path: str, folder: Path) -> None:
    photograph, guide = f"{folder}/photographs/x.png", f"{folder}/a.png"
    backbone = ("--set", f"backbone={tiny_path}")
    for words, said in (
        (("--set", "objective={class: banjo}"), "a guide needs a term in the objective"),
        (("--guide", f"{guide}:weight=x"), "a.png:weight=x: weight must be a number"),
        (("--guide", f"{guide}:foo=1"), "a.png:foo=1: the options are :mask=, :weight=, :match=, each once"),
        (("--guide", f"{guide}:mask=left:mask=right"), "the options are :mask=, :weight=, :match=, each once"),
        (("--guide", f"{guide}:weight=1e300"), "the weight of 'mixed5' must be from -1e9 to 1e9, not 1e+300"),
        (("--guide", f"{guide}:match=all"), "match: must be 'channels', 'positions' or 'mix', not 'all'"),
        ((*backbone, "--set", "objective=hihg"), "has no layer 'hihg'"),
    ):
        code, out, err = cli("dream", photograph, "--guide", guide, *words, "-o", f"{folder}/out.png")
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert said in err
    code, out, err = cli("dream", photograph, "-r", "guided", "-o", f"{folder}/out.png")
    assert (code, out) == (2, "")
    assert "objective[0]: guide is missing: use --guide IMAGE, or name an image in the recipe" in err
    wide = np.zeros((20, 100, 3), np.float32)
    (folder / "wide.png").write_bytes(codec.encode(wide))
    words = (*backbone, "--set", "objective=high", "--set", "size=80", "--guide", f"{guide}:mask={folder}/wide.png")
    code, out, err = cli("dream", photograph, *words, "-o", f"{folder}/out.png")
    assert "wide.png has 100x20 pixels, a different shape from the picture's 100x80" in err
    assert err.count("\n") == 1
