"""The photographs that a training job learns from, and those it does not: read through Ray Data, cropped at random."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import ray
import ray.train
from numpy.typing import NDArray

from raydream.data import codec
from raydream.data.inputs import images_among
from raydream.data.storage import Folder
from raydream.errors import UsageError

HELD_OUT = 8  # each so many-th photograph is never learnt from: what is shown and measured is made of these
SHARD = "photographs"

Image = NDArray[np.float32]


@dataclass(frozen=True)
class Photographs:
    """The photographs of a folder, by name: `learnt` from, or `held_out`; `digest` is of all names."""

    source: str
    learnt: list[str]
    held_out: list[str]
    digest: str

    @classmethod
    def of(cls, source: str) -> Photographs:
        """Those of a folder's path or URL; UsageError if there are too few to hold any out."""
        names, _ = images_among(Folder(source).files(), codec.IMAGE_ENDINGS)
        learnt = [name for index, name in enumerate(names) if index % HELD_OUT]
        if len(names) < HELD_OUT:
            raise UsageError(f"input {source} has {len(names)} images: too few, {HELD_OUT} are the least")
        digest = hashlib.sha256("\n".join(names).encode("utf-8", "backslashreplace")).hexdigest()
        return cls(source, learnt, names[::HELD_OUT], digest)

    def dataset(self, most: int, blocks: int) -> Any:
        """A Ray data set of those to learn from, in `blocks` or more blocks, their short side at most `most` pixels."""
        rows = [{"name": name} for name in self.learnt]
        blocks = min(len(rows), max(blocks, len(rows) // 16))
        return ray.data.from_items(rows, override_num_blocks=blocks).flat_map(
            partial(_read, source=self.source, most=most), num_cpus=0.1
        )


def _read(row: dict[str, Any], source: str, most: int) -> list[dict[str, Any]]:
    """The photograph that a row names, encoded; nothing if it cannot be read."""
    try:
        image = codec.decode(Folder(source).read(row["name"]))
    except (codec.UnreadableImage, OSError):
        return []
    return [{"photograph": codec.encode(codec.fit(image, min(most, *image.shape[:2])), "jpeg")}]


def crops(side: int, random: np.random.Generator) -> Iterator[NDArray[np.uint8]]:
    """Crops (side, side, 3) of this worker's part of the photographs, for ever; to be called in a training worker.

    The photographs are kept in memory, encoded: a stream from Ray Data that is hardly ever read takes half a core to
    wait, and workers that use theirs unevenly would wait for each other.
    """
    shard = ray.train.get_dataset_shard(SHARD)
    photographs = [row["photograph"] for row in shard.iter_rows()]
    if not photographs:
        raise UsageError("a worker got no photograph that can be read: give more photographs, or take fewer workers")
    while True:
        for index in random.permutation(len(photographs)):
            yield crop(codec.decode(photographs[index]), side, random)


def crop(image: Image, side: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """A square from anywhere in the image, after it was shrunk by up to a half (or enlarged, if it must be)."""
    image = codec.fit(image, max(side, round(min(image.shape[:2]) * random.uniform(0.5, 1.0))))
    top, left = (int(random.integers(0, length - side + 1)) for length in image.shape[:2])
    return codec.to_uint8(image[top : top + side, left : left + side])


def readable(source: str, names: Sequence[str], side: int, most: int) -> list[Image]:
    """The first `most` of the named photographs that can be read, squashed to (side, side, 3).

    Raises:
        UsageError: none can be read.
    """
    images: list[Image] = []
    for name in names:
        if len(images) == most:
            break
        try:
            images.append(codec.fit(codec.decode(Folder(source).read(name)), (side, side)))
        except (codec.UnreadableImage, OSError):
            continue
    if not images:
        raise UsageError(f"input {source}: not one of {len(names)} images, from {names[0]} on, can be read")
    return images
