"""Contender `job`: the folder of photographs through raydream.jobs.dream_dataset, one actor for each core.

Times come from the data set itself: a shard's mark is written when its image is on disk, and says how many seconds
its actor spent dreaming. Shards are of one image, which is the most that Ray can cost.
"""

import json
import time
from typing import Any

from tests.bench import common


def play(task: common.Task) -> dict[str, Any]:
    """Seconds until the first dream began, and when each was on disk (seconds since the epoch)."""
    from raydream.data.job import Job
    from raydream.jobs import dream_dataset

    out, actors = task.place / f"job-{task.precision}-{task.round}", (task.actors, task.actors)
    asked = Job(input=str(task.place / "photos"), output=str(out), recipe=task.recipe(), actors=actors, shard_size=1)
    called = time.time()
    manifest = dream_dataset.run(asked)
    ended = time.time()
    if manifest["failures"]:
        raise SystemExit(f"{manifest['failures']} failures: {(out / '_raydream').resolve()}")
    marks = list((out / "_raydream" / "marks").glob("*.json"))
    finished = {mark: mark.stat().st_mtime for mark in marks}
    engine = {mark: json.loads(mark.read_text())["seconds"] for mark in marks}
    return {
        "called": called,
        "began": min(finished[mark] - engine[mark] for mark in marks),
        "finished": sorted(finished.values()),
        "ended": ended,
        "engine_seconds": [engine[mark] for mark in marks],
    }


if __name__ == "__main__":
    common.main(play)
