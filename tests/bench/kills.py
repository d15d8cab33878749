"""Kills every kind of process of a running job, and compares the data with an uninterrupted run's.

python -m tests.bench.kills [ROUNDS]: a job of 60 small images on a small network. Each round has one `kill -9` of the
driver, of an actor that dreams, of a loading task, of a writing task, of the raylet and of the GCS. After each kill the
same command runs again. It takes some minutes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

KINDS = ("driver", "actor", "load", "write", "raylet", "gcs")
TITLES = {
    "actor": b"MapWorker(Map(Dream)",
    "load": b"ray::Map(load)",
    "write": b"ray::Map(write)",
    "raylet": b"raylet/raylet",
    "gcs": b"gcs_server",
}
IMAGES = 60


def main() -> None:
    """Prints what was killed and what came of it; exit status 1 if a byte differs."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    with tempfile.TemporaryDirectory(prefix="rd-", dir="/tmp") as folder:
        work = Path(folder)
        recipe = prepare(work)
        whole, killed = work / "whole", work / "killed"
        assert start(work, recipe, whole).wait() == 0
        for number, kind in enumerate(KINDS * rounds):
            kill_one(start(work, recipe, killed), kind, killed, at=2 + 4 * number)
        while start(work, recipe, killed).wait() != 0:
            print("run again", flush=True)
        equal = compare(whole, killed)
    sys.exit(0 if equal else 1)


def prepare(work: Path) -> Path:
    """Images and a recipe on a small network, slow enough to be killed in the middle."""
    import keras

    from raydream import Recipe
    from raydream.data import codec

    (work / "in").mkdir()
    random = np.random.default_rng(0)
    for n in range(IMAGES):
        image = codec.fit(random.uniform(-1, 1, (8, 8, 3)).astype(np.float32), (96, 96))
        (work / "in" / f"{n:02}.png").write_bytes(codec.encode(image))
    entry = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(16, 3, padding="same", activation="relu", name="low")(entry)
    keras.utils.set_random_seed(0)
    keras.Model(entry, keras.layers.Conv2D(16, 3, activation="relu", name="high")(x)).save(work / "net.keras")
    recipe = Recipe(backbone=str(work / "net.keras"), objective="high", octaves=1, steps=150, tile=96)  # type: ignore[arg-type]
    (work / "recipe.yaml").write_text(recipe.dump())
    return work / "recipe.yaml"


def start(work: Path, recipe: Path, output: Path) -> subprocess.Popen[bytes]:
    """The job's process."""
    words = ["--input", str(work / "in"), "--output", str(output), "--recipe", str(recipe), "--shard-size", "1"]
    command = [sys.executable, "-m", "raydream.jobs.dream_dataset", *words, "--keep-source"]
    return subprocess.Popen(command, env={**os.environ, "RAY_TMPDIR": str(work)})


def kill_one(job: subprocess.Popen[bytes], kind: str, output: Path, at: int) -> None:
    """Kills a process of a kind when `at` shards are done; waits for the job, which may go on or end.

    A loading task is killed as soon as one runs, since the images are loaded ahead.
    """
    wait_for_marks(job, output, 0 if kind == "load" else at)
    victim = None
    while victim is None and job.poll() is None:
        victim = find(job, kind, output.parent)
    if victim is None:
        print(f"{kind}: not found, the job has ended", flush=True)
        return
    os.kill(victim, signal.SIGKILL)
    done = marks(output)
    wait_for_marks(job, output, done + 2)  # a job that survives goes on
    alive = job.poll() is None
    if alive:
        job.send_signal(signal.SIGTERM)  # SIGINT is ignored in the background
    print(f"{kind} killed with {done} shards done: {'went on' if alive else f'ended with {job.wait()}'}", flush=True)
    job.wait()


def marks(output: Path) -> int:
    """Number of finished shards."""
    return len(list(output.glob("_raydream/marks/*.json")))


def wait_for_marks(job: subprocess.Popen[bytes], output: Path, number: int) -> None:
    """Waits until so many shards are done, or the job has ended."""
    while marks(output) < number and job.poll() is None:
        time.sleep(0.05)


def find(job: subprocess.Popen[bytes], kind: str, work: Path) -> int | None:
    """The id of a process of the job's cluster, by its title; tasks run for a few hundredths of a second."""
    if kind == "driver":
        return job.pid
    own = f"RAY_TMPDIR={work}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if TITLES[kind] in (folder / "cmdline").read_bytes() and own in (folder / "environ").read_bytes():
                return int(folder.name)
    return None


def compare(whole: Path, killed: Path) -> bool:
    """Whether all data files are the same bytes; prints it with the rows."""
    import pyarrow.parquet as pq

    files = sorted(path.name for path in (whole / "data").iterdir())
    same = [(whole / "data" / name).read_bytes() == (killed / "data" / name).read_bytes() for name in files]
    ids = [id for name in files for id in pq.read_table(killed / "data" / name, columns=["id"])["id"].to_pylist()]
    extra = {path.name for path in (killed / "data").iterdir()} - {*files}
    print(f"rows {len(ids)} unique {len({*ids})}, files {len(files)} equal {sum(same)}, others {len(extra)}")
    return all(same) and len({*ids}) == len(ids) == IMAGES and not extra


if __name__ == "__main__":
    main()
