"""Seconds and peak memory of plan, resume and finish for generated names: python -m tests.bench.scale [IMAGES]

Each step runs in a process of its own, as for a driver that is started anew. The pictures are tiny: the driver decodes
those of the gallery only.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from raydream.data import codec, layout, parquet
from raydream.data.inputs import Input
from raydream.data.job import Job
from raydream.data.marks import MARKS, Mark
from raydream.data.plan import stored_plan
from raydream.data.planning import check_or_store_plan
from raydream.data.rows import Row
from raydream.data.shards import PARTS, part_name
from raydream.data.storage import Folder
from raydream.jobs.dreaming import finish as finishing
from raydream.recipe import Recipe

CLASSES = 1_000


def generated(images: int) -> Input:
    """Names in class folders, as large data sets have them, with photographs of about 3 MB."""
    ids = [f"n{number % CLASSES:08d}/ILSVRC_{number:012d}.jpg" for number in range(images)]
    return Input(ids=sorted(ids), sizes=[3_000_000 + number % 7 for number in range(images)], passed_over=[])


def job(out: str) -> Job:
    return Job(input="/photographs", output=out, recipe=Recipe(weights_digest="ab" * 32))


def plan(out: str, images: int) -> None:
    check_or_store_plan(Folder(out), job(out), generated(images))


def resume(out: str, images: int) -> None:
    """What the same command does before the first shard, half of the shards being done."""
    found, _ = check_or_store_plan(Folder(out), job(out), generated(images))
    assert len(layout.done(Folder(out), found.job.format)) == found.shards // 2


def append(out: str, images: int) -> None:
    """As `resume`, with a thousandth of the images new in the input."""
    check_or_store_plan(Folder(out), job(out), generated(images + images // 1000))


def finish(out: str, images: int) -> None:
    manifest = finishing.finish(Folder(out), stored_plan(Folder(out)), 1.0)
    assert manifest["images"] == images


def dream(out: str, first: int, after: int) -> None:
    """Parts and marks of shards, as workers write them, without waiting for the disk."""
    picture = codec.encode(np.zeros((2, 2, 3), np.uint8))
    known: dict[str, Any] = {"label": None, "dream": picture, "source": None, "width": 2, "height": 2, "seed": 1}
    known |= {"recipe": "ab" * 32, "objective_before": 1.0, "objective_after": 2.0}
    sums: dict[str, Any] = {"failures": (), "objective_before": 1.0, "objective_after": 2.0, "seconds": 1.0}
    for folder in (PARTS, MARKS):
        Path(out, folder).mkdir(exist_ok=True)
    for shard, images in stored_plan(Folder(out)).read_shards(Folder(out)):
        if first <= shard < after:
            data, sizes = parquet.encode([Row(id=image.id, name=image.name, **known) for image in images], shard)
            number = len(images)
            mark = Mark(
                **sums, shard=shard, images=number, measured=number, device="CPU", part_bytes=len(data), sizes=sizes
            )
            Path(out, part_name(shard, "parquet")).write_bytes(data)
            Path(out, MARKS, f"{shard:07d}.json").write_bytes(mark.dump())


STEPS: dict[str, Callable[[str, int], None]] = {"plan": plan, "resume": resume, "finish": finish, "append": append}


def measured(step: str, out: str, images: int) -> dict[str, float]:
    """Seconds, seconds of work and peak memory in megabytes of a step in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.scale", step, out, str(images)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def run(images: int) -> dict[str, dict[str, float]]:
    """All steps for a number of images."""
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "out")
        found = {"plan": measured("plan", out, images)}
        shards = stored_plan(Folder(out)).shards
        dream(out, 0, shards // 2)
        found["resume"] = measured("resume", out, images)
        dream(out, shards // 2, shards)
        found["finish"] = measured("finish", out, images)
        found["append"] = measured("append", out, images)
        return found


def peak_megabytes() -> float:
    """Of this process alone: `ru_maxrss` also counts what the process that started this one had in memory."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) / 1000


def main() -> None:
    if len(sys.argv) > 2:
        began = time.monotonic()
        STEPS[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
        used = resource.getrusage(resource.RUSAGE_SELF)
        seconds = {"seconds": time.monotonic() - began, "cpu": used.ru_utime + used.ru_stime}
        print(json.dumps({**seconds, "megabytes": peak_megabytes()}))
        return
    for step, figures in run(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000).items():
        print(f"{step:8} {figures['seconds']:6.1f} s ({figures['cpu']:.1f} s of work) {figures['megabytes']:6.0f} MB")


if __name__ == "__main__":
    main()
