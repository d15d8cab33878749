"""The data set job on a real local Ray cluster, with the tiny network: what it makes, and what it survives."""

import io
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from raydream.data import codec
from raydream.data import plan as plans
from raydream.data.job import Job
from raydream.data.layout import read_rows
from raydream.data.marks import marked, read_marks
from raydream.data.rows import Row
from raydream.data.storage import Folder
from raydream.errors import UsageError
from raydream.jobs import dream_dataset
from raydream.jobs.dream_dataset import run
from raydream.recipe import Recipe
from tests.common import RAY, processes, wait_for

pytestmark = RAY
ROOT = Path(__file__).resolve().parents[2]


def picture(seed: int, size: tuple[int, int] = (120, 104)) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten pictures, some of them in class folders."""
    folder = tmp_path_factory.mktemp("photographs")
    for index in range(10):
        place = folder / ("cat", "dog", ".")[index % 3]
        place.mkdir(exist_ok=True)
        picture(index).save(place / f"{index}.png")
    return folder


def job(tiny_recipe: Recipe, source: Path, output: Path, **changes: Any) -> Job:
    return Job(**{"input": str(source), "output": str(output), "recipe": tiny_recipe, "actors": (2, 2)} | changes)


def rows_of(output: Path) -> list[Row]:
    out = Folder(str(output))
    plan = plans.stored_plan(out)
    found = read_marks(out, marked(out))
    return read_rows(out, plan.job.format, found, range(sum(mark.images for mark in found)))


def pixels_of(output: Path) -> dict[str, bytes]:
    return {row.id: row.dream for row in rows_of(output)}


@pytest.fixture(scope="module")
def finished(cluster: None, tiny_recipe: Recipe, photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished data set of `photographs`, whose sources are kept."""
    output = tmp_path_factory.mktemp("finished") / "out"
    run(job(tiny_recipe, photographs, output, keep_source=True))
    return output


def test_a_folder_becomes_a_data_set(finished: Path, photographs: Path, tiny_recipe: Recipe) -> None:
    rows = {row.id: row for row in rows_of(finished)}
    assert sorted(rows) == sorted(str(p.relative_to(photographs)) for p in photographs.rglob("*.png"))
    for id, row in rows.items():
        source = (photographs / id).read_bytes()
        assert row.label == (id.split("/")[0] if "/" in id else None)
        assert row.source is not None
        np.testing.assert_array_equal(codec.decode(row.source), codec.decode(source))
        assert codec.decode(row.dream).shape == (row.height, row.width, 3) == (104, 120, 3)
        assert row.objective_before is not None
        assert row.objective_after is not None
        assert row.objective_after > row.objective_before
        inside: Any = codec.read_metadata(row.dream)
        assert (inside["id"], inside["seed"]) == (id, row.seed) == (id, tiny_recipe.seed_of(id))
        assert Recipe.parse(inside["recipe"]).digest == row.recipe == inside["recipe_digest"]


@pytest.mark.slow
def test_a_class_is_an_objective_for_all_workers(
    cluster: None, tiny_recipe: Recipe, classifier: str, photographs: Path, tmp_path: Path
) -> None:
    recipe = tiny_recipe.changed(backbone=classifier, objective=[{"class": "fig"}])
    run(job(recipe, photographs, tmp_path / "out", limit=2))
    for row in rows_of(tmp_path / "out"):
        assert row.objective_before is not None
        assert row.objective_after is not None
        assert row.objective_after > row.objective_before
    stored = yaml.safe_load((tmp_path / "out/recipe.yaml").read_text())
    assert stored["objective"] == [{"layer": "class_logits", "channels": [1], "class": "fig"}]


def test_the_data_set_tells_what_it_is(finished: Path) -> None:
    manifest = json.loads((finished / "manifest.json").read_text())
    assert (manifest["images"], manifest["failures"], manifest["labels"]) == (10, 0, 2)
    assert manifest["dream_seconds"] > 0
    assert manifest["seconds"] > 0
    assert manifest["objective_after"] > manifest["objective_before"]
    recipe = Recipe.parse(yaml.safe_load((finished / "recipe.yaml").read_text()))
    assert recipe.digest == manifest["recipe"]
    assert "10 dreams of 10 photographs" in (finished / "README.md").read_text()
    assert "data:image/jpeg;base64," in (finished / "index.html").read_text()
    assert not (finished / "failures.parquet").exists()


def test_datasets_opens_it_as_images(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    opened = datasets.load_dataset(str(finished), split="train", cache_dir=str(tmp_path))
    assert len(opened) == 10
    assert opened[0]["dream"].size == opened[0]["source"].size == (120, 104)
    assert isinstance(opened.features["dream"], datasets.Image)


def test_the_same_command_again_does_nothing_twice(finished: Path, tiny_recipe: Recipe, photographs: Path) -> None:
    marks = sorted((finished / "_raydream/marks").iterdir())
    written = [mark.stat().st_mtime_ns for mark in marks]
    manifest = run(job(tiny_recipe, photographs, finished, keep_source=True))
    assert manifest["images"] == 10
    assert [mark.stat().st_mtime_ns for mark in marks] == written


def test_a_lost_data_file_is_made_again_to_the_byte(
    finished: Path, tiny_recipe: Recipe, photographs: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    shutil.copytree(finished, output)
    (data,) = (output / "data").iterdir()
    data.unlink()
    run(job(tiny_recipe, photographs, output, keep_source=True, actors=(1, 1)))
    assert data.read_bytes() == (finished / "data" / data.name).read_bytes()


def test_other_settings_are_refused_with_the_difference(finished: Path, tiny_recipe: Recipe, photographs: Path) -> None:
    with pytest.raises(UsageError, match=r"steps: 2 -> 3") as caught:
        run(job(tiny_recipe.changed(steps=3), photographs, finished, keep_source=True))
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match=r"keep_source: True -> False"):
        run(job(tiny_recipe, photographs, finished))


def test_shards_and_actors_do_not_change_a_byte(
    finished: Path, tiny_recipe: Recipe, photographs: Path, tmp_path: Path
) -> None:
    run(job(tiny_recipe, photographs, tmp_path / "out", actors=(1, 1), shard_size=4))
    assert pixels_of(tmp_path / "out") == pixels_of(finished)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["webdataset", "files"])
def test_other_formats_hold_the_same_dreams(
    finished: Path, tiny_recipe: Recipe, photographs: Path, tmp_path: Path, format: str
) -> None:
    run(job(tiny_recipe, photographs, tmp_path / "out", format=format, limit=4))
    expected = pixels_of(finished)
    made = pixels_of(tmp_path / "out")
    assert len(made) == 4
    assert made == {id: expected[id] for id in made}


def test_a_dreamer_dreams_in_one_pass(cluster: None, tiny_recipe: Recipe, photographs: Path, tmp_path: Path) -> None:
    import keras

    image = keras.Input((None, None, 3))
    network = keras.Model(image, keras.layers.Rescaling(-1.0)(image))
    network.save(tmp_path / "negative.keras")
    dreamer = str(tmp_path / "negative.keras")
    run(job(tiny_recipe, photographs, tmp_path / "out", dreamer=dreamer, limit=2, batch_size=2, shard_size=2))
    for row in rows_of(tmp_path / "out"):
        source = codec.to_uint8(codec.decode((photographs / row.id).read_bytes()))
        np.testing.assert_array_equal(codec.to_uint8(codec.decode(row.dream)), 255 - source)
        assert row.objective_after is None


def _bomb() -> bytes:
    """A PNG of 400 megapixels in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.fixture
def odd_photographs(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """Good files of every kind, and bad ones with a word that their failure must hold."""
    folder = tmp_path / "odd input"
    folder.mkdir()
    red = Image.new("RGB", (100, 120), (200, 40, 40))
    good: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "sixteen.png": (Image.fromarray(np.full((100, 100), 40_000, np.uint16)), {}),
        "print.jpg": (red.convert("CMYK"), {}),
        "palette.gif": (red.quantize(4), {"save_all": True, "append_images": [Image.new("P", (100, 120))]}),
        "glass.png": (Image.new("RGBA", (100, 100), (255, 0, 0, 0)), {}),
        "wide name ü 日本 #1 100% a::b [x].png": (red, {}),
        "noending": (red, {"format": "PNG"}),
    }
    for name, (image, how) in good.items():
        image.save(folder / name, **how)
    turned = Image.Exif()
    turned[0x0112] = 6
    red.save(folder / "turned.jpg", exif=turned)
    whole = io.BytesIO()
    picture(1, (400, 400)).save(whole, "JPEG")
    (folder / "cut.jpg").write_bytes(whole.getvalue()[:2000])
    (folder / "empty.png").write_bytes(b"")
    (folder / "words.jpg").write_text("no picture at all")
    (folder / "bomb.png").write_bytes(_bomb())
    picture(2, (2, 2)).save(folder / "small.png")
    (folder / "nowhere.jpg").symlink_to(folder / "gone.jpg")
    with open(os.fsencode(folder) + b"/latin\xe9.png", "wb") as file:
        red.save(file, "PNG")
    (folder / "notes.txt").write_text("left alone")
    (folder / ".hidden.png").write_bytes(b"")
    bad = {
        "cut.jpg": "truncated",
        "empty.png": "empty",
        "words.jpg": "not an image",
        "bomb.png": "megapixels",
        "small.png": "too small",
        "nowhere.jpg": "cannot be read",
        "notes.txt": "not an image, by its file name",
    }
    return folder, bad


def test_every_odd_file_becomes_a_row_or_a_reason(
    cluster: None, tiny_recipe: Recipe, odd_photographs: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    folder, bad = odd_photographs
    recipe = tiny_recipe.changed(step_size=1e-6)  # so that a dream shows its photograph
    manifest = run(job(recipe, folder, tmp_path / "out", shard_size=6))
    failures = {row["id"]: row for row in pq.read_table(tmp_path / "out/failures.parquet").to_pylist()}
    assert sorted(failures) == sorted(bad)
    for id, word in bad.items():
        assert word in failures[id]["error"], failures[id]
        assert "\n" not in failures[id]["error"]
    assert (manifest["failures"], manifest["passed_over"]) == (6, 1)
    dreams = {row.id: codec.to_uint8(codec.decode(row.dream)) for row in rows_of(tmp_path / "out")}
    assert len(dreams) == 8
    assert dreams["turned.jpg"].shape == (100, 120, 3)
    np.testing.assert_allclose(dreams["sixteen.png"], 40_000 / 257, atol=1)
    np.testing.assert_array_equal(dreams["glass.png"], 255)
    for name in ("palette.gif", "noending", "latin\\udce9.png", "wide name ü 日本 #1 100% a::b [x].png"):
        np.testing.assert_allclose(dreams[name], np.broadcast_to((200, 40, 40), dreams[name].shape), atol=3)


@pytest.mark.slow
def test_an_image_that_kills_its_worker_is_passed_over(
    cluster: None, tiny_recipe: Recipe, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from raydream.jobs.dreaming import stages

    class Killed(stages.Dream):
        def _batch(self, batch: list[stages.Item]) -> list[stages.Item]:
            if any(item.id == "dog/4.png" for item in batch):
                os.kill(os.getpid(), signal.SIGKILL)
            return super()._batch(batch)

    monkeypatch.setattr(stages, "Dream", Killed)
    manifest = run(job(tiny_recipe, photographs, tmp_path / "out", shard_size=5, actors=(1, 1)))
    assert_passed_over(tmp_path / "out", manifest, "dream", "its worker died 2 times while dreaming this image")


def assert_passed_over(output: Path, manifest: dict[str, Any], stage: str, said: str) -> None:
    """Asserts that all but dog/4.png are there, and that its failure says so."""
    assert (manifest["images"], manifest["failures"]) == (9, 1)
    (failure,) = pq.read_table(output / "failures.parquet").to_pylist()
    assert (failure["id"], failure["stage"]) == ("dog/4.png", stage)
    assert said in failure["error"]
    assert not (output / "_raydream/attempts.json").exists(), "what is done needs no record of attempts"
    assert not (output / "_raydream/lease.json").exists()


@pytest.mark.slow
def test_an_image_that_kills_its_writer_is_passed_over(
    cluster: None, tiny_recipe: Recipe, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from raydream.jobs.dreaming import stages

    ours = stages.write

    def write(row: dict[str, Any], job: Job, attempts: Any, lease: str) -> dict[str, Any]:
        encode = stages.codec.encode

        def deadly(image: Any, format: Any = "png", metadata: Any = None) -> bytes:
            if metadata and metadata["id"] == "dog/4.png":
                os.kill(os.getpid(), signal.SIGKILL)
            return encode(image, format, metadata)

        stages.codec.encode = deadly  # in the worker
        try:
            return ours(row, job, attempts, lease)
        finally:
            stages.codec.encode = encode

    monkeypatch.setattr(stages, "write", write)
    manifest = run(job(tiny_recipe, photographs, tmp_path / "out", shard_size=5, actors=(1, 1)))
    assert_passed_over(tmp_path / "out", manifest, "write", "its worker died 2 times while writing this image")


def test_a_dry_run_writes_nothing(
    tiny_recipe: Recipe, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dream_dataset._dry_run(job(tiny_recipe, photographs, tmp_path / "out"))
    said = capsys.readouterr().err
    assert "10 images" in said
    assert "per image" in said
    assert not (tmp_path / "out").exists()


# --- the command line, in processes and clusters of their own ---


def command(recipe: Path, source: Path, output: Path, *more: str) -> list[str]:
    module = [sys.executable, "-m", "raydream.jobs.dream_dataset", "--recipe", str(recipe)]
    return [*module, "--input", str(source), "--output", str(output), "--actors", "2", *more]


@pytest.fixture
def slow_recipe(tiny_recipe: Recipe, tmp_path: Path) -> Path:
    """A recipe file that takes a good while an image, so that there is a middle to be killed in."""
    path = tmp_path / "slow.yaml"
    path.write_text(tiny_recipe.changed(steps=60).dump())
    return path


def marks_in(output: Path) -> int:
    return len(list((output / "_raydream/marks").glob("*.json")))


def test_refuse_a_second_driver_and_kill_the_first_and_an_actor_and_nothing_is_lost(
    cluster: None, slow_recipe: Path, photographs: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    run(Job(input=str(photographs), output=str(tmp_path / "whole"), recipe=Recipe.load(str(slow_recipe))))
    output = tmp_path / "out"
    killed = subprocess.Popen(command(slow_recipe, photographs, output), env=environment, stderr=subprocess.DEVNULL)
    wait_for(lambda: marks_in(output) >= 1)
    killed.send_signal(signal.SIGSTOP)  # so that it is not done before the second one has started
    second = subprocess.run(
        command(slow_recipe, photographs, output), env=environment, capture_output=True, text=True, check=False
    )
    killed.send_signal(signal.SIGCONT)
    assert second.returncode == 1
    assert f"another driver works on it (host {socket.gethostname()}, pid {killed.pid}, since" in second.stderr
    assert second.stderr.count("\n") == 1
    actors = processes("MapWorker", environment["RAY_TMPDIR"])
    assert actors, "no dream actor found to kill"
    os.kill(actors[0], signal.SIGKILL)
    wait_for(lambda: marks_in(output) >= 3)
    killed.kill()
    killed.wait()
    assert marks_in(output) < 10
    again = subprocess.run(
        command(slow_recipe, photographs, output), env=environment, capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    assert "already done" in again.stderr
    assert len(rows_of(output)) == 10
    names = sorted(path.name for path in (output / "data").iterdir())
    assert names
    for name in names:
        assert (output / "data" / name).read_bytes() == (tmp_path / "whole/data" / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_keeps_what_was_done(
    slow_recipe: Path, photographs: Path, tmp_path: Path, environment: dict[str, str], how: signal.Signals
) -> None:
    output = tmp_path / "out"
    process = subprocess.Popen(
        command(slow_recipe, photographs, output), env=environment, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: marks_in(output) >= 1)
    process.send_signal(how)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command continues" in said
    assert "Traceback" not in said
    (log,) = (output / "_raydream/logs").iterdir()
    assert json.loads(log.read_text())["status"] == "interrupted"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--nonsense"], "--nonsense"),
        (["--set", "stps=3"], "did you mean 'steps'"),
        (["--set", "objective=lwo"], "did you mean 'low'"),
        (["--set", "steps=[1,2,3]"], "a list of 3, but octaves is 2"),
        (["--actors", "3,2"], "actors 3,2: must be a number, or MIN,MAX"),
        (["--format", "parket"], "'parquet', 'webdataset', 'files'"),
        (["--input", "nope://x"], "nope"),
        (["--input", "/no/such/folder"], "is empty, or not a folder"),
        (["--output", "{photographs}/cat/out"], "lies in the input"),
        (["--config", "/no/such.yaml"], "does not exist"),
        (["--batch-size", "0"], "--batch-size"),
        (["--input", "memory://photographs"], "is in the memory of one process"),
        (["--input", ""], "input is empty: it must be a path or URL"),
        (["--gpus-per-actor", "inf"], "gpus_per_actor must be a number of GPUs, not inf"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    slow_recipe: Path,
    photographs: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    word: str,
) -> None:
    from raydream.cli import commands

    wrong = command(
        slow_recipe, photographs, tmp_path / "out", *(a.format(photographs=photographs) for a in arguments)
    )[3:]
    with pytest.raises(SystemExit) as exited:
        commands.run(dream_dataset.app, "dream_dataset", wrong)
    assert exited.value.code == 2
    said = capfd.readouterr().err.strip()
    assert word in said
    assert len(said.splitlines()) == 1, said
    assert not (tmp_path / "out").exists()


def test_failures_are_counted_and_more_than_allowed_is_status_1(
    cluster: None, slow_recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    picture(1).save(source / "good.png")
    (source / "bad.png").write_bytes(b"bad")
    common = {"input": str(source), "output": str(tmp_path / "out"), "recipe": str(slow_recipe), "actors": 1}
    (tmp_path / "options.yaml").write_text(yaml.safe_dump({**common, "set": ["steps=1"], "max-failures": 0}))
    config = ["--config", str(tmp_path / "options.yaml")]
    assert dream_dataset.app(args=config, standalone_mode=False) == 1
    where = f"complete, except for 1 image that failed, listed in {tmp_path}/out/failures.parquet"
    assert f"{where}: exit status 1, since 0 may fail" in capsys.readouterr().err
    assert dream_dataset.app(args=[*config, "--max-failures", "0.05"], standalone_mode=False) == 0
    said = capsys.readouterr()
    assert f"{where}: exit status 0, since 1 may fail" in said.err
    assert json.loads(said.out)["failures"] == 1, "stdout is no terminal"


@pytest.mark.parametrize(
    ("max_failures", "images", "allowed"),
    [
        (0.05, 14, 2),
        (0.05, 50, 2),
        (0.05, 1000, 50),
        (0.05, 2, 1),
        (0.05, 1, 0),
        (0.0, 1000, 0),
        (3, 1000, 3),
        (9, 9, 8),
    ],
)
def test_a_share_of_few_images_is_taken_as_of_fifty_and_never_all_may_fail(
    tiny_recipe: Recipe, max_failures: float, images: int, allowed: int
) -> None:
    asked = Job(input="in", output="out", recipe=tiny_recipe, max_failures=max_failures)
    assert asked.allowed_failures(images) == allowed
