"""Packs images into shards: as many as the work wants to be spread, of about the same work each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

MOST_SHARDS = 5_000  # of one plan: each costs a task, a part and a mark
_FEW_SHARDS = 64  # spread over a few actors, none of which is idle for long
_SHARD_BYTES = 16_000_000  # of image files: a shard is loaded as a whole


def pack(sizes: Sequence[int], shard_size: int | None = None) -> list[int]:
    """How many of the images go into each shard, in their order.

    Args:
        sizes: bytes of the images' files.
        shard_size: images of a shard; None to choose: one image each while they are few, about 5 * sqrt(n) shards
            of n images, more where the files are large, never more than `MOST_SHARDS`. Shards are then balanced: an
            image counts half for itself and half for its bytes, which stand for its pixels.
    """
    images = len(sizes)
    if shard_size:
        return [min(shard_size, images - start) for start in range(0, images, shard_size)]
    weights = np.asarray(sizes, np.float64)
    shards = max(_FEW_SHARDS, math.isqrt(25 * images), math.ceil(weights.sum() / _SHARD_BYTES))
    shards = min(images, MOST_SHARDS, shards)
    if shards == images:
        return [1] * images
    weights = 0.5 + 0.5 * weights / weights.mean() if weights.any() else np.ones(images)
    middles = np.cumsum(weights) - weights / 2  # an image is in the shard where its middle falls
    numbers = np.minimum((middles * shards / weights.sum()).astype(np.int64), shards - 1)
    counts = np.bincount(numbers, minlength=shards)
    return [int(count) for count in counts if count]


def slices(counts: Sequence[int]) -> Iterator[slice]:
    """The places of each shard's images among all."""
    first = 0
    for count in counts:
        yield slice(first, first + count)
        first += count
