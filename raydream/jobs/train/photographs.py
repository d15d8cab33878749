"""Photographs without labels, for statistics or held out; random crops of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raydream.data import codec
from raydream.data.inputs import images_among
from raydream.data.storage import Folder
from raydream.errors import UsageError
from raydream.types import Image, Pixels

HELD_OUT = 8  # every eighth photograph is held out, for figures


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
        if len(names) < HELD_OUT:
            raise UsageError(f"input {source} has {len(names)} images: too few, at least {HELD_OUT} are needed")
        digest = hashlib.sha256("\n".join(names).encode("utf-8", "backslashreplace")).hexdigest()
        return cls(source, *split(names), digest)


def split(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The names to train with, and every `HELD_OUT`th one, which is held out."""
    return [name for index, name in enumerate(names) if index % HELD_OUT], list(names[::HELD_OUT])


def crop(image: Image, side: int, random: np.random.Generator) -> Pixels:
    """A random square (side, side, 3) of the image, which is first shrunk by up to half (or enlarged if too small)."""
    image = codec.fit(image, max(side, round(min(image.shape[:2]) * random.uniform(0.5, 1.0))))
    return codec.to_uint8(cut(image, side, random))


def cut(image: NDArray[Any], side: int, random: np.random.Generator) -> NDArray[Any]:
    """A random square (side, side, 3) of the image, which is at least as large."""
    top, left = (int(random.integers(0, length - side + 1)) for length in image.shape[:2])
    return image[top : top + side, left : left + side]


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
