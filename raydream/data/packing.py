"""Packs images into shards of about equal work."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

MOST_SHARDS = 5_000  # per call: each shard costs a task, a part and a mark
_FEW_SHARDS = 64  # enough to keep a few actors busy until the end
_SHARD_BYTES = 16_000_000  # image files of a shard, which is loaded as a whole


def pack(sizes: Sequence[int], shard_size: int | None = None) -> list[int]:
    """How many of the images go into each shard, in their order.

    Args:
        sizes: sizes of the image files in bytes.
        shard_size: images per shard; None for automatic. Then n images give about 5 * sqrt(n) shards: one image per
            shard if there are few images, more shards if the files are large, and at most `MOST_SHARDS`. The shards
            are balanced: half of an image's weight is constant, the other half is proportional to its file size.
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
    """The slice of each shard's images in the list of all images."""
    first = 0
    for count in counts:
        yield slice(first, first + count)
        first += count
