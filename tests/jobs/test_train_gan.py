"""The job that trains a GAN, on a local Ray cluster and with the tiny network: what it makes and survives."""

import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from raydream.data import codec
from raydream.errors import UsageError
from raydream.jobs import train_gan
from raydream.jobs.generating.job import GanTraining
from raydream.jobs.generating.plan import FeatureNetwork, Plan, make_plan, prepare
from raydream.recipe import Recipe
from raydream.training.gan import generate, generator_inputs
from tests.common import RAY, processes, wait_for

pytestmark = RAY
SMALL = {"size": 32, "batch_size": 4, "epochs": 2, "steps": 3, "samples": 16, "ema_decay": 0.5}


@pytest.fixture(scope="module")
def dreams(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of waves; one of them is broken, and one too small."""
    folder = tmp_path_factory.mktemp("dreams")
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:40, :48]
    for number in range(50):
        waves = [np.sin(columns * a + rows * b + c) for a, b, c in random.uniform(0.1, 1.0, (3, 3))]
        (folder / f"{number:02}.png").write_bytes(codec.encode(0.8 * np.stack(waves, axis=-1).astype(np.float32)))
    (folder / "03.png").write_bytes(b"no picture")
    (folder / "04.png").write_bytes(codec.encode(np.zeros((20, 50, 3), np.float32)))
    return folder


@pytest.fixture(scope="module")
def finished(cluster: None, tiny_path: str, dreams: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of an uninterrupted run."""
    output = tmp_path_factory.mktemp("finished") / "out"
    train_gan.run(GanTraining(data=str(dreams), output=str(output), backbone=tiny_path, **SMALL))
    return output


def lines(output: Path) -> list[dict[str, Any]]:
    file = output / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def generator(output: Path) -> Any:
    return keras.saving.load_model(output / "generator.keras", safe_mode=True)


def test_it_makes_a_generator_with_its_metrics_and_pictures(finished: Path, tiny_path: str) -> None:
    metrics = json.loads((finished / "evaluation.json").read_text())
    assert set(metrics) == {"gan", "real dreams"}
    assert set(metrics["gan"]) == {"KID", "density", "coverage", "dreaminess", "near copies"}
    assert metrics["real dreams"]["KID"] < metrics["gan"]["KID"]
    assert metrics["real dreams"]["near copies"] > 0.3, "crops of training dreams are copies"
    assert metrics["gan"]["near copies"] == 0.0
    assert [line["epoch"] for line in lines(finished)] == [1, 2]
    assert lines(finished)[0].keys() >= {"generator loss", "critic loss", "validation KID", "validation dreaminess"}
    grids = [codec.decode(path.read_bytes()) for path in sorted((finished / "grids").iterdir())]
    assert [grid.shape for grid in grids] == [(4 * 32, 6 * 32, 3)] * 2
    assert not np.array_equal(*grids)
    assert list((finished / "tensorboard").iterdir())
    with Image.open(finished / "epochs.webp") as epochs, Image.open(finished / "walk.webp") as walk:
        assert epochs.n_frames == 2
        assert walk.n_frames > 8
    card = (finished / "README.md").read_text()
    assert "python -m raydream.jobs.train_gan --data " in card
    assert "--layers " in card, "layers, too, that the job has chosen itself"
    assert "| real dreams |" in card
    assert str(finished.parent) not in card
    network = generator(finished)
    assert network.output_shape == (None, 32, 32, 3)


def test_dreams_that_cannot_be_used_are_listed_and_left_out(finished: Path) -> None:
    header, broken, small = csv.reader((finished / "unreadable.csv").read_text().splitlines())
    assert header == ["image", "error"]
    assert broken[0] == "03.png"
    assert broken[1].startswith("not an image that can be read")
    assert small == ["04.png", "50x20 pixels"]
    assert "trained on 42 dreams (recipe unknown)" in (finished / "README.md").read_text().replace("\n", " ")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"size": 512}, r"has 0 dreams that can be used: at least 48 are needed"),
        ({"data": "empty"}, r"empty is empty, or not a folder"),
        ({"size": 48}, r"size 48: must be one of 32, 64, 128, 256, 512"),
        ({"network": "dcgan", "size": 512}, r"dcgan makes at most 256 pixels: use fastgan"),
        ({"workers": 3}, r"batch_size 4 is not a multiple of workers 3: 6 is"),
        ({"recipe": "nothing"}, r"unknown recipe 'nothing'|preset 'nothing'|recipe nothing"),
        ({"layers": ("hihg",)}, r"there is no layer 'hihg': did you mean 'high'"),
        ({"learning_rate": float("nan")}, r"learning_rate nan: must be a finite number"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    change: dict[str, Any], said: str, dreams: Path, tiny_path: str, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    if "data" in change:
        change = {"data": str(tmp_path / "empty")}
    words = {"data": str(dreams), "output": str(tmp_path / "out"), "backbone": tiny_path, **SMALL, **change}
    with pytest.raises(UsageError, match=said) as error:
        train_gan.run(GanTraining(**words))
    assert "\n" not in str(error.value)


def test_other_settings_are_refused_but_defaults_may_be_given(finished: Path, dreams: Path, tiny_path: str) -> None:
    job = {"data": str(dreams), "output": str(finished), "backbone": tiny_path, **SMALL}
    with pytest.raises(UsageError, match=r"holds a run with steps 3, not 4: use the same"):
        train_gan.run(GanTraining(**{**job, "steps": 4}))
    with pytest.raises(UsageError, match=r"holds a run with samples 16, not 17"):
        train_gan.run(GanTraining(**{**job, "learning_rate": 2e-4, "augment": True, "samples": 17}))


def test_other_settings_are_refused_before_any_work(finished: Path, dreams: Path, tiny_path: str) -> None:
    before = (finished / "unreadable.csv").read_bytes()
    job = {"data": str(dreams), "output": str(finished), "backbone": tiny_path, **SMALL, "size": 64}
    with pytest.raises(UsageError, match=r"holds a run with size 32, not 64"):
        train_gan.run(GanTraining(**job))
    assert (finished / "unreadable.csv").read_bytes() == before


def test_the_recipe_is_that_of_the_first_dream_that_can_be_used(dreams: Path, tiny_path: str, tmp_path: Path) -> None:
    def plan_with(recipe: dict[str, Any]) -> tuple[Plan, list[str]]:
        image = codec.decode((dreams / "05.png").read_bytes())
        for number in range(1, 49):
            (tmp_path / f"in/{number:02}.png").write_bytes(codec.encode(image, metadata={"recipe": recipe}))
        said: list[str] = []
        job = GanTraining(data=str(tmp_path / "in"), output=str(tmp_path / "out"), backbone=tiny_path, size=32)
        return make_plan(prepare(job), said.append), said

    (tmp_path / "in").mkdir()
    (tmp_path / "in/00.png").write_bytes(b"no picture")
    recipe = Recipe.load("quick", {"objective": "mixed4"})
    plan, said = plan_with(recipe.as_dict())
    assert plan.recipe.objective == recipe.objective
    assert plan.made_by
    assert len(said) == 1
    plan, said = plan_with({**recipe.as_dict(), "octaves": "many"})
    assert not plan.made_by, "and no dream is lost"
    assert len(plan.learnt) + len(plan.held_out) == 48
    assert "the recipe of the dreams cannot be used: " in said[1]


@pytest.mark.parametrize(
    ("size", "layers", "shapes"),
    [
        (32, ("mixed0", "mixed2", "mixed5"), [29, 12, 5, 5, 2]),
        (64, ("mixed0", "mixed2", "mixed5"), [29, 12, 5, 5, 2]),
        (128, ("mixed0", "mixed3", "mixed5"), [61, 28, 13, 6, 6]),
    ],
)
def test_the_critic_sees_fine_details_and_layers_of_increasing_depth(
    size: int, layers: tuple[str, ...], shapes: list[int]
) -> None:
    job = GanTraining(data="", output="", size=size)
    network = FeatureNetwork(replace(job, layers=FeatureNetwork(job).layers))
    assert network.job.layers == layers
    assert [shape[0] for shape in network.shapes()] == shapes
    assert [shape[2] for shape in network.shapes()][:2] == [64, 192]


def words_of(output: Path, dreams: Path, tiny_path: str, **more: Any) -> list[str]:
    words = {"data": dreams, "output": output, "backbone": tiny_path, **SMALL, **more}
    options = [word for key, value in words.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    return [sys.executable, "-m", "raydream.jobs.train_gan", *options]


@pytest.mark.slow
def test_killed_and_run_again_it_makes_the_same(
    finished: Path, dreams: Path, tiny_path: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    output = tmp_path / "out"
    command = words_of(output, dreams, tiny_path)
    job = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    wait_for(lambda: len(lines(output)) == 1)
    job.send_signal(signal.SIGKILL)
    job.wait()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line["epoch"] for line in lines(output)] == [1, 2]
    for one, other in zip(generator(output).get_weights(), generator(finished).get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.slow
def test_two_workers_of_which_one_dies_make_the_same_as_one(
    finished: Path, dreams: Path, tiny_path: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    """Also through batch norm, whose statistics are those of all workers.

    Where a gradient is almost 0, Adam divides one rounding error by another: a few weights differ by more.
    """
    output = tmp_path / "out"
    command = words_of(output, dreams, tiny_path, workers=2)
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as job:
        wait_for(lambda: len(lines(output)) == 1)
        os.kill(processes("RayTrainWorker", environment["RAY_TMPDIR"])[-1], signal.SIGKILL)
        said = job.communicate()[1]
    assert job.returncode == 0, said
    assert "a worker died: continuing after the last checkpoint" in said
    one, other = generator(output), generator(finished)
    apart = np.concatenate([np.ravel(a - b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True)])
    assert np.mean(np.abs(apart) > 1e-4) < 1e-5
    assert np.abs(apart).max() < 1e-3
    inputs = generator_inputs(one, range(4), 0)
    np.testing.assert_allclose(generate(one, inputs), generate(other, inputs), atol=1e-2)
