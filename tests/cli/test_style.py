"""style: the recipe of a style transfer, and a small one with the network of the package."""

from pathlib import Path

import numpy as np
import pytest

from raydream import styling
from raydream.core import canvas
from raydream.data import codec
from raydream.errors import UsageError
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
    recipe = styling.recipe_for(["a.jpg:mask=left", "b.jpg:weight=3"], 0.7, {"objective": ["mixed5"]})
    terms = recipe.as_dict()["objective"]
    layers = ["mixed0", "mixed1", "mixed2", "mixed3"]
    assert terms == [
        {"kind": "content", "layer": "mixed3", "weight": 0.7},
        *({"kind": "style", "layer": layer, "style": "a.jpg", "mask": "left"} for layer in layers),
        *({"kind": "style", "layer": layer, "style": "b.jpg", "weight": 3.0} for layer in layers),
        {"layer": "mixed5"},
    ]
    vgg = styling.recipe_for(["a.jpg"], 1.0, {"backbone": "vgg19"})
    assert vgg.pooling == "average"
    assert {term.layer for term in vgg.objective.terms} >= {"block1_conv1", "block5_conv1", "block4_conv2"}
    with pytest.raises(UsageError, match="style transfer needs one of inception_v3, vgg16, vgg19"):
        styling.recipe_for(["a.jpg"], 1.0, {"backbone": "my.keras"})
    with pytest.raises(UsageError, match="match is an option of guides, not of styles"):
        styling.recipe_for(["a.jpg:match=positions"], 1.0, {})


def test_a_small_picture_is_painted_and_made_again(cli: Cli, images: list[str], tmp_path: Path) -> None:
    out = str(tmp_path / "styled.png")
    small = ("--set", "size=96", "--set", "octaves=1", "--set", "steps=6")
    code, said, err = cli("style", *images, "-o", out, *small)
    assert (code, said) == (0, f"{out}\n"), err
    inside = codec.read_metadata(Path(out).read_bytes())
    digests = {term["style_digest"] for term in inside["recipe"]["objective"] if term.get("kind") == "style"}
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
