"""visualize: pictures, grid and page of a layer's channels; what is there is kept."""

import re
from pathlib import Path

import numpy as np
import pytest

from raydream import assets, imagining, visualizing
from raydream.data import codec
from raydream.errors import UsageError
from tests.cli.conftest import Cli

QUICK = ("--set", "steps=4", "--set", "size=48")


def test_it_makes_a_picture_for_each_channel_a_grid_and_a_page(cli: Cli, tiny_path: str, tmp_path: Path) -> None:
    out = tmp_path / "atlas"
    command = ("visualize", tiny_path, "low", "high", "-o", str(out), *QUICK)
    code, said, _ = cli(*command, "--channels", "0-2")
    assert (code, said) == (0, f"{out}/index.html\n")
    pictures = [out / f"high/channel-{n:04d}.png" for n in range(3)]
    images = [codec.decode(path.read_bytes()) for path in pictures]
    assert {image.shape for image in images} == {(48, 48, 3)}
    assert np.abs(images[0] - images[1]).mean() > 0.02, "different channels give different pictures"
    assert codec.decode((out / "high/grid.png").read_bytes()).shape == (96, 96, 3)
    page = (out / "index.html").read_text()
    assert page.count('class="zoom"') == 6
    assert re.findall("<h2>(.*)</h2>", page) == ["low", "high"]
    inside = codec.read_metadata(pictures[2].read_bytes())
    assert inside["recipe"]["objective"] == [
        {"kind": "direction", "layer": "high", "channels": [2], "values": [1.0], "power": 0.0}
    ]
    code, said, err = cli("replay", str(pictures[2]))
    assert (code, said) == (0, "identical\n"), err
    pictures[1].unlink()
    times = [pictures[n].stat().st_mtime_ns for n in (0, 2)]
    assert cli(*command, "--channels", "0-2")[0] == 0
    assert np.array_equal(codec.decode(pictures[1].read_bytes()), images[1])
    assert [pictures[n].stat().st_mtime_ns for n in (0, 2)] == times, "finished pictures are kept"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("hihg",), "has no layer 'hihg': did you mean 'high'?"),
        (("high", "--channels", "0-99"), "channels '0-99': the layer has channels 0 to 7, not 99"),
        (("high", "--channels", "0-999999999999"), "the layer has channels 0 to 7, not 999999999999"),
        (("high", "--channels", "a"), "channels 'a': must be numbers and ranges such as 0-15,40, or all"),
        (("high", "--channels", "3-1"), "channels '3-1': a range goes from a smaller to a larger number"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], said: str, cli: Cli, tiny_path: str, tmp_path: Path) -> None:
    code, out, err = cli("visualize", tiny_path, *arguments, "-o", str(tmp_path / "out"))
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_channels_in_words() -> None:
    assert visualizing.chosen("0-3,7,2", 8) == [0, 1, 2, 3, 7]
    assert visualizing.chosen("all", 3) == [0, 1, 2]
    with pytest.raises(UsageError, match="must be numbers and ranges"):
        visualizing.chosen("", 3)


def test_a_dead_channel_gets_stronger_noise(tiny_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a ReLU, a channel without a response has no gradient: the picture would stay grey."""
    from raydream.core import canvas, engine

    used = []
    measure = engine.measure

    def deaf(images: np.ndarray, *rest: object) -> np.ndarray:
        used.append(images.std())
        return measure(images, *rest) * 0 + (1.0 if images.std() > 0.05 else 0.0)

    monkeypatch.setattr(engine, "measure", deaf)
    asked = visualizing.recipe_for("high", 0, {"backbone": tiny_path, "steps": 1, "size": 48})
    dream = imagining.dreamed(*assets.load(asked), 0, (1.0, 4.0, 16.0, 64.0), progress=False)
    assert dream.id == "noise:0:16"
    assert used[-1] > 0.05
    assert used == sorted(used)
    assert used[0] == pytest.approx(canvas.noise((48, 48), 1, 1).std(), rel=0.5)
