"""Seconds and peak memory of plan, resume and finish for generated names: python -m tests.bench.scale [IMAGES]

Each step runs in a process of its own, as it does for a driver that is started anew. The rows are tiny: the only
pictures that go through the memory of the driver are those of the gallery. One shard is encoded; its part and mark are
repeated.
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
from raydream.data.marks import Mark, write_mark
from raydream.data.plan import Plan, stored_plan
from raydream.data.planning import check_or_store_plan
from raydream.data.rows import Row
from raydream.data.shards import part_name
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


def dream(out: str, shards: range) -> None:
    """Parts and marks, as workers write them."""
    folder = Folder(out)
    found: Plan = stored_plan(folder)
    picture = codec.encode(np.zeros((2, 2, 3), np.uint8))
    known: dict[str, Any] = {"label": None, "dream": picture, "source": None, "width": 2, "height": 2, "seed": 1}
    known |= {"recipe": "ab" * 32, "objective_before": 1.0, "objective_after": 2.0}
    for shard in shards:
        rows = [Row(id=image.id, name=image.name, **known) for image in found.read_shard(folder, shard)]
        data, sizes = parquet.encode(rows, shard)
        folder.write(part_name(shard, "parquet"), data)
        mark = Mark(
            shard=shard,
            images=len(rows),
            failures=(),
            measured=len(rows),
            objective_before=1.0,
            objective_after=2.0,
            seconds=1.0,
            device="CPU",
            part_bytes=len(data),
            sizes=sizes,
        )
        write_mark(folder, mark)


STEPS: dict[str, Callable[[str, int], None]] = {"plan": plan, "resume": resume, "finish": finish, "append": append}


def measured(step: str, out: str, images: int) -> dict[str, float]:
    """Seconds and peak memory in megabytes of a step in a process of its own; and of making the names alone."""
    command = [sys.executable, "-m", "tests.bench.scale", step, out, str(images)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def run(images: int) -> dict[str, dict[str, float]]:
    """All steps over so many images."""
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "out")
        found = {"plan": measured("plan", out, images)}
        shards = stored_plan(Folder(out)).shards
        dream(out, range(shards // 2))
        found["resume"] = measured("resume", out, images)
        dream(out, range(shards // 2, shards))
        found["finish"] = measured("finish", out, images)
        found["append"] = measured("append", out, images)
        return found


def main() -> None:
    if len(sys.argv) > 2:
        began = time.monotonic()
        STEPS[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        print(json.dumps({"seconds": round(time.monotonic() - began, 1), "megabytes": round(peak)}))
        return
    for step, figures in run(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000).items():
        print(f"{step:8} {figures['seconds']:6.1f} s {figures['megabytes']:6.0f} MB")


if __name__ == "__main__":
    main()
