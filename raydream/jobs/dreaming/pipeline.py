"""The data set job on Ray Data: each row is a shard and goes through three streaming stages."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial
from typing import Any

import ray

from raydream.data.plan import Plan
from raydream.jobs import cluster
from raydream.jobs.dreaming import attempts, stages


def results(plan: Plan, todo: Sequence[int], lease: str) -> Generator[dict[str, Any]]:
    """Makes the shards `todo`; yields the numbers of `images` and `failures` of each one when it is written.

    Args:
        lease: token of the driver's lease, which workers check before they write.

    Raises:
        WorkError: the cluster or the storage failed.
    """
    record = attempts.shared(plan.job.output, lease)
    try:
        yield from _dataset(plan, todo, lease, record).iter_rows()
    finally:
        attempts.close(record)


def _dataset(plan: Plan, todo: Sequence[int], lease: str, record: Any) -> Any:
    """The Ray data set: one row for each shard goes in, and one row of counts comes out."""
    job = plan.job
    gpus, room = cluster.devices(job.gpus_per_actor)
    fewest, most = (min(number or max(1, room), len(todo)) for number in job.actors)
    rows = [{"shard": shard} for shard in todo]
    # On a CPU, dreaming needs a core, and the other stages little of it. With a GPU, all stages need about the same.
    heavy, light = (0.5, 0.5) if gpus else (0.9, 0.1)
    pool = ray.data.ActorPoolStrategy(min_size=fewest, max_size=most, max_tasks_in_flight_per_actor=2)
    return (
        ray.data.from_items(rows, override_num_blocks=len(rows))
        .map(partial(stages.load, plan=plan, attempts=record), num_cpus=light)
        .map(
            stages.Dream,  # type: ignore[arg-type]
            fn_constructor_kwargs={"job": job, "attempts": record},
            compute=pool,
            num_cpus=heavy,
            num_gpus=gpus,
        )
        .map(partial(stages.write, job=job, attempts=record, lease=lease), num_cpus=light)
    )
