"""The job that teaches lite, on a real local Ray cluster and with the tiny network: what it makes and survives."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from raydream import codec, commands
from raydream.backbones import load_backbone
from raydream.jobs import distill_backbone
from tests.common import RAY, processes, wait_for

pytestmark = RAY
EPOCHS = 4


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty pictures, one of them broken."""
    folder = tmp_path_factory.mktemp("photographs")
    random = np.random.default_rng(0)
    for index in range(20):
        image = np.tanh(codec.fit(random.normal(size=(9, 12, 3)).astype(np.float32).clip(-1, 1), (130, 100)))
        (folder / f"{index:02}.png").write_bytes(codec.encode(image))
    (folder / "07.png").write_bytes(b"no picture")
    return folder


def command(teacher: str, photographs: Path, output: Path, *more: str) -> list[str]:
    module = [sys.executable, "-m", "raydream.jobs.distill_backbone", "--teacher", teacher, "--layers", "low,mix,high"]
    small = ["--steps", "8", "--batch", "4", "--memory", "8", "--crop", "80", "--workers", "2"]
    return [*module, "--input", str(photographs), "--output", str(output), "--epochs", str(EPOCHS), *small, *more]


def refusal(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    """The one line with which the job, in this process, refuses what is asked."""
    with pytest.raises(SystemExit) as exited:
        commands.run(distill_backbone.app, "distill_backbone", arguments)
    assert exited.value.code == commands.USAGE
    said = capfd.readouterr().err.strip()
    assert len(said.splitlines()) == 1, said
    return said


def epochs_in(output: Path) -> list[float]:
    file = output / "metrics.jsonl"
    return [json.loads(line)["epoch"] for line in file.read_text().splitlines()] if file.exists() else []


def test_it_survives_kill_9_of_a_worker_and_of_the_driver(
    tiny_path: str, photographs: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    output = tmp_path / "lite"
    run = command(tiny_path, photographs, output)
    first = subprocess.Popen(run, env=environment, stderr=subprocess.DEVNULL)
    wait_for(lambda: len(epochs_in(output)) >= 1)
    workers = processes("RayTrainWorker", environment["RAY_TMPDIR"])
    assert len(workers) == 2
    os.kill(workers[1], signal.SIGKILL)
    wait_for(lambda: len(epochs_in(output)) >= 2)
    first.kill()
    first.wait()
    before = (output / "metrics.jsonl").read_text().splitlines()
    again = subprocess.run(run, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert "Traceback" not in again.stderr
    assert epochs_in(output) == [1.0, 2.0, 3.0, 4.0]
    assert len(before) < EPOCHS, "the driver was killed when all was done: nothing was tested"
    # The last may have been written before its checkpoint; each line has its seconds, so that no two are the same.
    assert (output / "metrics.jsonl").read_text().splitlines()[: len(before) - 1] == before[:-1]
    begun = {int(file.suffix.removeprefix(".from-")) for file in (output / "tensorboard").iterdir()}
    assert 0 in begun
    assert max(begun) >= len(before) - 1 > 0
    assert f"epoch {EPOCHS}" in again.stderr

    backbone = load_backbone(str(output / "lite.keras"), ["low", "high"])
    assert backbone.channels("high") == 8
    card = (output / "README.md").read_text()
    assert "python -m raydream.jobs.distill_backbone --input" in card
    assert str(tmp_path.parent) not in card
    assert str(Path(tiny_path).parent) not in card
    assert "from 17 image files" in card
    assert sorted(file.name for file in (output / "grids").iterdir()) == [f"epoch-0000{n}.png" for n in (1, 2, 3, 4)]
    assert codec.decode((output / "grids/epoch-00004.png").read_bytes()).shape == (3 * 224, 3 * 224, 3)
    assert list((output / "tensorboard").glob("events.*"))
    metrics = json.loads((output / "metrics.jsonl").read_text().splitlines()[-1])
    assert {"learnt/low", "learnt/cosine0", "held_out/high", "held_out/cosine2", "seconds"} <= metrics.keys()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_says_so_and_ends_soon(
    tiny_path: str, photographs: Path, tmp_path: Path, environment: dict[str, str], how: signal.Signals
) -> None:
    output = tmp_path / "lite"
    run = command(tiny_path, photographs, output, "--epochs", "1000")
    process = subprocess.Popen(run, env=environment, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: len(epochs_in(output)) >= 1)
    process.send_signal(how)
    _, said = process.communicate(timeout=60)
    assert process.returncode == commands.INTERRUPTED
    assert "the same command goes on" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--nonsense"], "--nonsense"),
        (["--layers", "lwo"], "did you mean 'low'"),
        (["--layers", ""], "--layers"),
        (["--teacher", "inception_v4"], "did you mean 'inception_v3'"),
        (["--teacher", "/no/such.keras"], "does not exist"),
        (["--input", "/no/such/folder"], "has 0 images"),
        (["--crop", "20"], "--crop"),
        (["--layers", "low,low"], "each once"),
        (["--layers", "high,low"], "from the image up"),
        (["--learning-rate", "nan"], "--learning-rate"),
        (["--learning-rate", "inf"], "must be finite"),
        (["--seed", str(2**32)], "--seed"),
        (["--output", "{photographs}/lite"], "lies in the input"),
        (["--input", "{broken}"], "not one of 1 images, from 0.png on, can be read"),
        (["--config", "/no/such.yaml"], "does not exist"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    tiny_path: str,
    photographs: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    word: str,
) -> None:
    (tmp_path / "broken").mkdir()
    for index in range(8):
        (tmp_path / f"broken/{index}.png").write_bytes(b"no picture")
    arguments = [argument.format(photographs=photographs, broken=tmp_path / "broken") for argument in arguments]
    wrong = command(tiny_path, photographs, tmp_path / "out", *arguments)[3:]
    assert word in refusal(wrong, capfd)
    assert not (tmp_path / "out").exists()


def test_the_crop_is_from_anywhere_and_never_too_small() -> None:
    from raydream.jobs.photographs import crop

    random = np.random.default_rng(0)
    ramp = np.broadcast_to(np.linspace(-1, 1, 300, dtype=np.float32)[None, :, None], (200, 300, 3))
    crops = [crop(ramp, 100, random) for _ in range(40)]
    assert {c.shape for c in crops} == {(100, 100, 3)}
    means = [c.mean() for c in crops]
    assert min(means) < 80
    assert max(means) > 170
    assert crop(ramp[:40, :50], 100, random).shape == (100, 100, 3)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--crop", "96"], "holds a run with crop 80, not 96: say the same"),
        (["--batch", "3"], "a multiple of the 2 workers"),
        (["--memory", "2"], "at most --memory"),
        (["--workers", "4"], "this machine has room for 2"),
        (["--gpus-per-worker", "1"], "this machine has no GPU"),
    ],
)
def test_what_the_cluster_or_the_run_does_not_fit_is_refused(
    cluster: None,
    tiny_path: str,
    photographs: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    word: str,
) -> None:
    (tmp_path / "_raydream").mkdir()
    asked = {
        "input": str(photographs),
        "layers": ["low", "mix", "high"],
        "steps": 8,
        "batch": 4,
        "memory": 8,
        "crop": 80,
    }
    (tmp_path / "_raydream/settings.json").write_text(json.dumps({**asked, "repeats": 4}))
    wrong = command(tiny_path, photographs, tmp_path, *arguments)[3:]
    assert word in refusal(wrong, capfd)
