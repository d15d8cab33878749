"""The job that compresses a network, on a local Ray cluster and with the tiny network: what it makes and survives."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from raydream.cli import commands
from raydream.core.networks import compact
from raydream.core.networks.backbones import load_backbone
from raydream.core.networks.quantization import Moments
from raydream.data import codec
from raydream.errors import UsageError
from raydream.jobs import compress_backbone
from raydream.jobs.compress_backbone import run
from raydream.jobs.compressing.job import Compression
from raydream.jobs.compressing.statistics import STATISTICS, packed, unpacked
from tests.common import RAY, wait_for

pytestmark = RAY
SMALL = {"photographs": 70, "dreams": 4, "crop": 96, "held_out": 2}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighty-eight pictures, of which 77 are not held out; one of them is broken."""
    folder = tmp_path_factory.mktemp("photographs")
    random = np.random.default_rng(0)
    for index in range(88):
        image = np.tanh(codec.fit(random.normal(size=(9, 12, 3)).astype(np.float32).clip(-1, 1), (130, 100)))
        (folder / f"{index:02}.png").write_bytes(codec.encode(image))
    (folder / "01.png").write_bytes(b"no picture")
    return folder


def command(backbone: str, photographs: Path, output: Path, *more: str) -> list[str]:
    small = [word for key, value in SMALL.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    places = ["--backbone", backbone, "--input", str(photographs), "--output", str(output)]
    return [sys.executable, "-m", "raydream.jobs.compress_backbone", *places, *small, *more]


def statistics(output: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted((output / STATISTICS).iterdir())}


@pytest.fixture(scope="module")
def finished(cluster: None, tiny_path: str, photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of an uninterrupted run with two workers."""
    output = tmp_path_factory.mktemp("finished") / "out"
    run(Compression(input=str(photographs), output=str(output), backbone=tiny_path, actors=2, **SMALL))
    return output


def test_the_output_is_a_backbone_with_a_card(finished: Path, tiny_backbone: object) -> None:
    backbone = load_backbone(str(finished / "tiny.npz"), ["low", "high"])
    assert backbone.channels("high") == 8
    assert compact.load(str(finished / "tiny.npz")).backbone == "tiny.keras", "a file named vgg16.keras is no VGG16"
    card = (finished / "README.md").read_text()
    assert "python -m raydream.jobs.compress_backbone --input photographs" in card
    assert str(finished.parent) not in card
    assert "| 2 photographs |" in card
    assert "| 6 half-done dreams |" in card


def test_one_worker_and_two_make_the_same(cluster: None, finished: Path, photographs: Path, tiny_path: str) -> None:
    output = finished.parent / "one"
    run(Compression(input=str(photographs), output=str(output), backbone=tiny_path, actors=1, **SMALL))
    for one, two in zip(statistics(output).values(), statistics(finished).values(), strict=True):
        for name, moments in unpacked(one).items():
            np.testing.assert_allclose(moments.square, unpacked(two)[name].square, rtol=1e-6)
    assert (output / "tiny.npz").read_bytes() == (finished / "tiny.npz").read_bytes()


@pytest.mark.slow
def test_killed_and_run_again_it_makes_the_same(
    finished: Path, photographs: Path, tiny_path: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    output = tmp_path / "out"
    job = command(tiny_path, photographs, output, "--actors", "1")
    first = subprocess.Popen(job, env=environment, stderr=subprocess.DEVNULL)
    wait_for(lambda: (output / STATISTICS).exists() and bool([*(output / STATISTICS).glob("0*.npz")]))
    first.kill()
    first.wait()
    done = {file: file.stat().st_mtime_ns for file in (output / STATISTICS).glob("0*.npz")}
    assert len(done) < 3, "the driver was killed when all was done: nothing was tested"
    again = subprocess.run(job, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert "Traceback" not in again.stderr
    assert {file: file.stat().st_mtime_ns for file in done} == done
    assert (output / "tiny.npz").read_bytes() == (finished / "tiny.npz").read_bytes()
    assert (output / "README.md").read_text() == (finished / "README.md").read_text()


def test_other_bits_use_the_same_statistics(finished: Path, photographs: Path, tiny_path: str) -> None:
    before, six = statistics(finished), (finished / "tiny.npz").read_bytes()
    job = Compression(input=str(photographs), output=str(finished), backbone=tiny_path, **SMALL)
    run(replace(job, bits=3))
    assert statistics(finished) == before
    assert "weights of 3 bits" in (finished / "README.md").read_text()
    run(job)
    assert (finished / "tiny.npz").read_bytes() == six


def refusal(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    """The one line with which the job, in this process, refuses what is asked."""
    with pytest.raises(SystemExit) as exited:
        commands.run(compress_backbone.app, "compress_backbone", arguments)
    assert exited.value.code == commands.USAGE
    said = capfd.readouterr().err.strip()
    assert len(said.splitlines()) == 1, said
    return said


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--nonsense"], "--nonsense"),
        (["--through", "hihg"], "did you mean 'high'"),
        (["--objectives", "low+hihg"], "did you mean 'high'"),
        (["--backbone", "inception_v4"], "did you mean 'inception_v3'"),
        (["--backbone", "/no/such.keras"], "does not exist"),
        (["--weights", "x.h5"], "contains its own weights"),
        (["--input", "/no/such/folder"], "has 0 images"),
        (["--output", "{photographs}/out"], "lies in the input"),
        (["--bits", "9"], "--bits"),
        (["--crop", "20"], "--crop"),
        (["--config", "/no/such.yaml"], "does not exist"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    photographs: Path,
    tiny_path: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    word: str,
) -> None:
    arguments = [argument.format(photographs=photographs) for argument in arguments]
    assert word in refusal(command(tiny_path, photographs, tmp_path / "out", *arguments)[3:], capfd)
    assert not (tmp_path / "out").exists()


def test_other_settings_are_refused_with_the_difference(
    finished: Path, photographs: Path, tiny_path: str, capfd: pytest.CaptureFixture[str]
) -> None:
    wrong = command(tiny_path, photographs, finished, "--crop", "128")[3:]
    assert "holds a run with crop 96, not 128: use the same" in refusal(wrong, capfd)


@pytest.mark.slow
def test_interrupted_it_says_so(photographs: Path, tiny_path: str, tmp_path: Path, environment: dict[str, str]) -> None:
    output = tmp_path / "out"
    job = command(tiny_path, photographs, output, "--actors", "1", "--dreams", "70")
    process = subprocess.Popen(job, env=environment, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: (output / "_raydream/settings.json").exists())
    wait_for(lambda: (output / STATISTICS).exists())
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == commands.INTERRUPTED
    assert "the same command continues" in said
    assert "Traceback" not in said
    assert json.loads((output / "_raydream/settings.json").read_text())["crop"] == 96


def test_moments_survive_being_packed() -> None:
    patches = np.random.default_rng(0).normal(size=(50, 7))
    again = unpacked(packed({"a": Moments.of(patches), "b": Moments.of(patches[:, :3])}))
    assert set(again) == {"a", "b"}
    assert again["a"].count == 50
    np.testing.assert_allclose(again["a"].square, patches.T @ patches, rtol=1e-6)


def test_damaged_statistics_are_named(finished: Path, tmp_path: Path) -> None:
    from raydream.jobs.compressing.statistics import name, summed

    (tmp_path / STATISTICS).mkdir(parents=True)
    whole = (finished / name(0)).read_bytes()
    for data in (b"", whole[: len(whole) // 2]):
        (tmp_path / name(0)).write_bytes(data)
        with pytest.raises(UsageError, match=r"00000\.npz is damaged: delete it, and the same command makes it again"):
            summed(str(tmp_path), 1)


@pytest.mark.parametrize("weights", ["compact", None])
def test_a_compact_network_is_not_compressed_again(weights: str | None, finished: Path, photographs: Path) -> None:
    backbone = "inception_v3" if weights else str(finished / "tiny.npz")
    job = Compression(input=str(photographs), output="out", backbone=backbone, weights=weights)
    with pytest.raises(UsageError, match="cannot be compressed again"):
        run(job)
