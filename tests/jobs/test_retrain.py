"""The job that retrains a network, on a local Ray cluster and with the tiny network: what it makes and survives."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from raydream.core.networks import loading
from raydream.data import codec
from raydream.data.labelled import list_labelled
from raydream.errors import UsageError
from raydream.jobs import retrain
from raydream.jobs.retraining import grid
from raydream.jobs.retraining.base import Base, prepare
from raydream.jobs.retraining.job import Retraining
from raydream.jobs.retraining.plan import Plan
from raydream.training import classifier
from tests.common import RAY, processes, wait_for
from tests.conftest import outputs

pytestmark = RAY
SMALL = {
    "size": 75,
    "batch_size": 8,
    "head_epochs": 10,
    "epochs": 3,
    "learning_rate": 0.01,
    "head_learning_rate": 0.01,
    "dropout": 0.0,
    "dreams": 0,
}
CLASSES = ("blue", "green", "red")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of twenty pictures, each of its colour and noise; one of them is broken."""
    folder = tmp_path_factory.mktemp("labelled")
    random = np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir()
        for index in range(20):
            image = random.normal(-0.5, 0.3, (40, 50, 3))
            image[..., 2 - label] += 1.0
            data = codec.encode(np.clip(image, -1, 1).astype(np.float32))
            (folder / name / f"{index:02}.png").write_bytes(data)
    (folder / "red" / "07.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def finished(cluster: None, tiny_path: str, photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of an uninterrupted run."""
    output = tmp_path_factory.mktemp("finished") / "out"
    retrain.run(Retraining(data=str(photographs), output=str(output), backbone=tiny_path, **SMALL))
    return output


def weights(output: Path) -> list[np.ndarray]:
    return loading.load_keras(str(output / "classifier.keras"), what="classifier").get_weights()


def test_it_learns_the_classes_and_says_how_well(finished: Path) -> None:
    figures = json.loads((finished / "evaluation.json").read_text())
    low, high = figures["interval"]
    assert figures["split"] == {"train": 47, "validation": 6, "test": 6}
    assert figures["images"] == 6
    assert 0 <= low <= figures["accuracy"] == high == 1.0
    assert low < 0.7
    assert figures["classes"]["red"] == {"images": 2, "accuracy": 1.0}
    assert np.trace(figures["confusion"]) == 6
    assert codec.decode((finished / "confusion.png").read_bytes()).shape[2] == 3
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert lines[0]["phase"] == "head"
    assert [line["epoch"] for line in lines if line["phase"] == "fine-tuning"] == [1, 2, 3]
    assert list((finished / "tensorboard").iterdir())
    card = (finished / "README.md").read_text()
    assert "python -m raydream.jobs.retrain --data " in card
    assert "--through high" in card, "layers, too, that the job has chosen itself"
    assert "--unfreeze blurred" in card
    assert str(finished.parent) not in card


def test_an_image_that_cannot_be_read_is_listed_and_left_out(finished: Path) -> None:
    header, (name, reason) = csv.reader((finished / "unreadable.csv").read_text().splitlines())
    assert header == ["image", "error"]
    assert name == "red/07.png"
    assert reason.startswith("not an image that can be read")


def test_phase_two_trains_the_upper_layers_only(finished: Path, tiny_path: str) -> None:
    """Both files are networks that load safely; the classifier's images are in [-1, 1], as a dream's."""
    base = keras.saving.load_model(finished / "base.keras", safe_mode=True)
    classifier = loading.load_keras(str(finished / "classifier.keras"), what="classifier")
    assert base.layers[-1].name == "high"
    changed = {
        layer.name
        for layer in base.layers
        if layer.weights and not np.allclose(layer.get_weights()[0], _folded(tiny_path, layer.name))
    }
    assert changed == {"pooled", "high_conv"}, "the layers from the middle one (`blurred`) on"
    red = np.full((1, 75, 75, 3), -0.5, np.float32) + np.array([1.0, 0, 0], np.float32)
    (probabilities,) = outputs(classifier, red)
    assert probabilities.sum() == pytest.approx(1.0, abs=1e-5)
    assert CLASSES[probabilities.argmax()] == "red"


def _folded(path: str, layer: str) -> Any:
    from raydream.core.networks import compression

    network = compression.plain(loading.load_keras(path, what="backbone"), "high")
    return network.get_layer(layer).get_weights()[0]


def test_other_settings_are_refused(finished: Path, tiny_path: str, photographs: Path) -> None:
    job = {"data": str(photographs), "output": str(finished), "backbone": tiny_path, **SMALL}
    with pytest.raises(UsageError, match=r"holds a run with size 75, not 80: use the same"):
        retrain.run(Retraining(**{**job, "size": 80}))


@pytest.mark.slow
def test_a_table_names_the_images_and_other_labels_are_noticed(
    finished: Path, tiny_path: str, photographs: Path, tmp_path: Path
) -> None:
    rows = [f"{name}/{index:02}.png,{name}" for name in CLASSES for index in range(20)]
    table = photographs / "labelled.csv"
    table.write_text("\n".join(["image,label", *rows]))
    output = photographs / "out"  # only the images that the table names are read
    job = {"data": str(table), "output": str(output), "backbone": tiny_path, **SMALL}
    figures = retrain.run(Retraining(**job))
    assert figures["accuracy"] == 1.0
    assert (output / "classifier.keras").read_bytes()
    table.write_text("\n".join(["image,label", *rows[1:]]))
    with pytest.raises(UsageError, match=r"holds a run with images \(digest\)"):
        retrain.run(Retraining(**job))
    table.unlink()
    shutil.rmtree(output)


@pytest.mark.slow
def test_killed_twice_and_run_again_it_makes_the_same(
    finished: Path, photographs: Path, tiny_path: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    output = tmp_path / "out"
    small = [word for key, value in SMALL.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    places = ["--data", str(photographs), "--output", str(output), "--backbone", tiny_path]
    command = [sys.executable, "-m", "raydream.jobs.retrain", *places, *small]
    for sign in ("_raydream/features/00000.npz", "metrics.jsonl"):
        job = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        wait_for(lambda sign=sign: (output / sign).exists())  # type: ignore[misc]
        job.send_signal(signal.SIGKILL)
        job.wait()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "test images: see " in done.stderr.splitlines()[-1]
    for one, other in zip(weights(output), weights(finished), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_two_workers_of_which_one_dies_make_the_same_as_one(
    finished: Path, photographs: Path, tiny_path: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    output = tmp_path / "out"
    words = {**SMALL, "data": photographs, "output": output, "backbone": tiny_path, "workers": 2, "dreams": 2}
    options = [word for key, value in words.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    command = [sys.executable, "-m", "raydream.jobs.retrain", *options]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as job:
        wait_for(lambda: "fine-tuning" in metrics(output))
        os.kill(processes("RayTrainWorker", environment["RAY_TMPDIR"])[-1], signal.SIGKILL)
        said = job.communicate()[1]
    assert job.returncode == 0, said
    assert "a worker died: continuing after the last checkpoint" in said
    for one, other in zip(weights(output), weights(finished), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert len(list((output / "grids").iterdir())) == SMALL["epochs"]
    assert "<html" in (output / "before-after.html").read_text()


def metrics(output: Path) -> str:
    file = output / "metrics.jsonl"
    return file.read_text() if file.exists() else ""


def test_a_grid_shows_images_and_their_dreams(photographs: Path, tiny_path: str, tmp_path: Path) -> None:
    places = {"data": str(photographs), "output": str(tmp_path / "out"), "backbone": tiny_path}
    job = prepare(Retraining(**{**places, **SMALL, "dreams": 1}))
    found = list_labelled(str(photographs))
    plan = Plan(job=job, found=found, parts=("train", "validation", "test") * 20)
    network = classifier.classifier(Base(job).network, len(CLASSES))
    images, dreams = grid.grid(plan, network)
    assert len(images) == len(dreams) == 6
    change = [np.abs(dream - image).mean() for image, dream in zip(images, dreams, strict=True)]
    assert min(change) > 0.01
    assert max(change) < 0.7
    assert grid.grid(replace(plan, job=replace(job, dreams=0)), network) == []


def test_a_finished_run_does_no_work_again(
    finished: Path, tiny_path: str, photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raydream.jobs.train.fit.fit", lambda *_: pytest.fail("trained again"))
    before = (finished / "evaluation.json").read_bytes()
    retrain.run(Retraining(data=str(photographs), output=str(finished), backbone=tiny_path, **SMALL))
    assert (finished / "evaluation.json").read_bytes() == before


def unnamed(image: Any) -> Any:
    return keras.layers.Conv2D(4, 3)(image)


def nested(image: Any) -> Any:
    inside = keras.Input((None, None, 3))
    inner = keras.Model(inside, keras.layers.Conv2D(4, 3, name="low")(inside), name="inner")
    return keras.layers.Conv2D(4, 3, name="top")(inner(image))


@pytest.mark.parametrize(
    ("layers", "channels", "said"),
    [
        (unnamed, 3, "has no convolution with a name of its own: name its layers"),
        (keras.layers.Conv2D(4, 3, name="class_logits"), 3, "has no layer below its head"),
        (nested, 3, "'inner' (Functional) is a model, not a layer"),
        (keras.layers.Conv2D(4, 3, name="low"), 1, "does not take one image of 3 channels"),
    ],
)
def test_networks_that_cannot_be_retrained_are_one_line(
    layers: Any, channels: int, said: str, photographs: Path, tmp_path: Path
) -> None:
    image = keras.Input((None, None, channels))
    path = str(tmp_path / "network.keras")
    keras.Model(image, layers(image)).save(path)
    with pytest.raises(UsageError) as error:
        prepare(Retraining(data=str(photographs), output=str(tmp_path / "out"), backbone=path))
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shares": (0.5, 0.5, 0.5)}, "shares 0.5,0.5,0.5: must be three numbers above 0 whose sum is 1"),
        ({"shares": (float("nan"), 0.5, 0.5)}, "shares nan,0.5,0.5: must be three numbers above 0 whose sum is 1"),
        ({"output": "/dev/null/out"}, "/dev/null/out cannot be written: /dev/null is not a folder"),
        ({"workers": 3}, "batch_size 8 is not a multiple of workers 3: 9 is"),
        ({"seed": 2**63}, "seed 9223372036854775808: must be below 2**63"),
        ({"mixup": float("inf")}, "mixup inf: must be a finite number"),
        ({"unfreeze": "hihg"}, "the network has no layer 'hihg' to train from: did you mean 'high'"),
        ({"through": "hihg"}, "has no layer 'hihg': did you mean 'high'"),
        ({"through": "class_logits"}, "the head is replaced: name a layer below it"),
        ({"weights": "compact"}, "contains its own weights: leave the option out"),
        ({"data": "/none"}, "/none holds no images"),
    ],
)
def test_wrong_settings_are_one_line_before_anything_starts(
    change: dict[str, Any],
    said: str,
    tiny_path: str,
    photographs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    job = {"data": str(photographs), "output": str(tmp_path / "out"), "backbone": tiny_path, **SMALL}
    with pytest.raises(UsageError) as error:
        retrain.run(Retraining(**{**job, **change}))
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()
