"""Finds the image that kills its worker: counts how often work was begun and not ended, and goes on without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ray

from raydream.jobs.dreaming.items import Item

SHARD_TRIES = 3  # a shard whose worker dies so often goes on image by image,
IMAGE_TRIES = 2  # and an image whose worker then dies so often is passed over


@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
class Tries:
    """Counts what was begun and not ended: how often workers died over it, in this run."""

    def __init__(self) -> None:
        self._begun: dict[str, int] = {}

    def begin(self, key: str) -> int:
        """Notes that work on the key begins; returns how often it has begun without an end."""
        self._begun[key] = self._begun.get(key, 0) + 1
        return self._begun[key]

    def end(self, key: str) -> None:
        """Notes that work on the key has ended."""
        self._begun.pop(key, None)


def guarded(
    tries: Any, stage: str, shard: int, items: list[Item], work: Callable[[list[Item]], list[Item]]
) -> list[Item]:
    """Does `work` on a shard's items so that one that kills its worker is found and passed over.

    The whole shard at first; if its worker has died too often, image by image.
    """
    key = f"{stage} {shard}"
    if ray.get(tries.begin.remote(key)) <= SHARD_TRIES:
        whole = work(items)
        tries.end.remote(key)
        return whole
    results: list[Item] = []
    for item in items:
        if ray.get(tries.begin.remote(f"{key} {item.id}")) > IMAGE_TRIES:
            results.append(item.failed(stage, f"its worker died {IMAGE_TRIES} times over this image"))
        else:
            results += work([item])
            ray.get(tries.end.remote(f"{key} {item.id}"))
    return results
