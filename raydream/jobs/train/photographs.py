"""The photographs of a training job, for training or held out: read through Ray Data, cropped at random."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import ray
import ray.train

from raydream.data import codec
from raydream.data.inputs import images_among
from raydream.data.storage import Folder
from raydream.errors import UsageError
from raydream.types import Image, Pixels

HELD_OUT = 8  # every eighth photograph is held out, for validation and for the pictures in the journal
SHARD = "photographs"  # name of the Ray Data set, for `fit` and `crops`


@dataclass(frozen=True)
class Photographs:
    """The photographs of a folder.

    Attributes:
        source: the folder's path or URL.
        learnt: names of the photographs to train with.
        held_out: names of the other photographs.
        digest: SHA-256 of all names, in hexadecimal.
    """

    source: str
    learnt: list[str]
    held_out: list[str]
    digest: str

    @classmethod
    def of(cls, source: str) -> Photographs:
        """The photographs in a folder; raises a `UsageError` if there are fewer than `HELD_OUT`."""
        names, _ = images_among(Folder(source).files(), codec.IMAGE_ENDINGS)
        learnt = [name for index, name in enumerate(names) if index % HELD_OUT]
        if len(names) < HELD_OUT:
            raise UsageError(f"input {source} has {len(names)} images: too few, at least {HELD_OUT} are needed")
        digest = hashlib.sha256("\n".join(names).encode("utf-8", "backslashreplace")).hexdigest()
        return cls(source, learnt, names[::HELD_OUT], digest)

    def dataset(self, most: int, blocks: int) -> ray.data.Dataset:
        """A Ray data set of the training photographs: short side at most `most` pixels, at least `blocks` blocks."""
        rows = [{"name": name} for name in self.learnt]
        blocks = min(len(rows), max(blocks, len(rows) // 16))
        return ray.data.from_items(rows, override_num_blocks=blocks).flat_map(
            partial(_read, source=self.source, most=most), num_cpus=0.1
        )


def _read(row: dict[str, Any], source: str, most: int) -> list[dict[str, Any]]:
    """The photograph of a row, encoded as JPEG; no row if it cannot be read."""
    try:
        image = codec.decode(Folder(source).read(row["name"]))
    except (codec.UnreadableImage, OSError):
        return []
    return [{"photograph": codec.encode(codec.fit(image, min(most, *image.shape[:2])), "jpeg")}]


def crops(side: int, random: np.random.Generator) -> Iterator[Pixels]:
    """An endless stream of crops (side, side, 3) of this worker's photographs; call it in a worker.

    The photographs stay in memory, encoded. A stream from Ray Data would take half a core only to wait for its
    reader, and workers that read at different speeds would wait for each other.

    Raises:
        UsageError: this worker got no readable photograph.
    """
    shard = ray.train.get_dataset_shard(SHARD)
    photographs = [row["photograph"] for row in shard.iter_rows()]
    if not photographs:
        raise UsageError("a worker got no readable photograph: add photographs, or use fewer workers")
    while True:
        for index in random.permutation(len(photographs)):
            yield crop(codec.decode(photographs[index]), side, random)


def crop(image: Image, side: int, random: np.random.Generator) -> Pixels:
    """A random square (side, side, 3) of the image, which is first shrunk by up to half (or enlarged if too small)."""
    image = codec.fit(image, max(side, round(min(image.shape[:2]) * random.uniform(0.5, 1.0))))
    top, left = (int(random.integers(0, length - side + 1)) for length in image.shape[:2])
    return codec.to_uint8(image[top : top + side, left : left + side])


def readable(source: str, names: Sequence[str], side: int, most: int) -> list[Image]:
    """The first `most` of the named photographs that can be read, resized to (side, side, 3) without regard to shape.

    Raises:
        UsageError: none of them can be read.
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
        raise UsageError(f"input {source}: none of the {len(names)} images from {names[0]} on can be read")
    return images
