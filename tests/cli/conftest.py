"""What the tests of the command line share: running it in this process, and a folder to run it in."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raydream.cli.app import app, commands
from raydream.data import codec, retries
from raydream.data.storage import Folder
from raydream.recipe import Recipe
from tests.conftest import random_images

Cli = Callable[..., tuple[int, str, str]]
NOT_UTF8 = os.fsdecode(b"caf\xe9.png")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failed connections are tried again at once."""
    monkeypatch.setattr(retries, "_DELAYS", (0.0, 0.0))


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Cli:
    """Runs the command line in this process: (exit status, stdout, stderr less "loading ...")."""

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            commands.run(app, "raydream", arguments)
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        assert "\x1b" not in out + err
        assert isinstance(end.value.code, int)
        return end.value.code, out, re.sub(r"(?m)^loading .*\n", "", err)

    return run


def network(factor: float = 1.0) -> Any:
    """Two layers, `low` and `high`, which load faster than the tiny network of the other tests."""
    import keras

    image = keras.Input((None, None, 3))
    low = keras.layers.Conv2D(8, 3, strides=2, activation="relu", name="low")
    high = keras.layers.Conv2D(4, 3, padding="same", name="high")
    model = keras.Model(image, high(low(image)))
    random = np.random.default_rng(0)
    model.set_weights([factor * random.normal(0, 0.3, w.shape) for w in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """One octave of two steps on that network."""
    path = tmp_path_factory.mktemp("network") / "net.keras"
    network().save(path)
    return Recipe(backbone=str(path), objective="high", octaves=1, steps=2, tile=96, precision="float32")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: Recipe) -> Path:
    """The current folder: photographs `cat.jpg` and `dog.png` (60 wide, 40 high), `broken.jpg`, recipe `tiny.yaml`."""
    monkeypatch.chdir(tmp_path)
    cat, dog = random_images(40, 60, batch=2)
    Path("cat.jpg").write_bytes(codec.encode(cat, "jpeg"))
    Path("dog.png").write_bytes(codec.encode(dog))
    Path("broken.jpg").write_bytes(b"\xff\xd8\xff" + bytes(50))
    Path("tiny.yaml").write_text(recipe.dump())
    return tmp_path


def wrong(result: tuple[int, str, str], status: int = commands.USAGE) -> str:
    """The one line on stderr of a command that wrote nothing to stdout."""
    code, out, err = result
    assert (code, out) == (status, "")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert err.startswith("raydream: ")
    return err


def listed(folder: Path) -> set[str]:
    return set(Folder(str(folder)).files())
