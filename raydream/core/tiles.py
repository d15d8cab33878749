"""Cuts an octave into tiles: the pieces that go through the network at once.

Two ways. `roll`: the image is rolled by a random shift before each step and cut into equal pieces, so that
their borders fall elsewhere every time and never stay. `exact`: each piece is read with a halo as wide as the
network's receptive field and only the cells that belong to it count, which gives the untiled gradient.

Either way the cells counted over all tiles are normalised together, so that a pixel's push does not depend on
the size of its tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any, Protocol

from raydream.core.networks.geometry import Axis
from raydream.types import Tiling


class Planes(Protocol):
    """What tiles need to know of a backbone: the geometry of its planes along rows and columns."""

    @property
    def axes(self) -> tuple[Axis, Axis]: ...


@dataclass(frozen=True)
class Span:
    """A tile along one axis: the pixels it reads, and for each layer the cells of them that count."""

    start: int
    stop: int
    cells: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Tile:
    """A rectangle of an octave: `rows` x `columns`."""

    rows: Span
    columns: Span

    @property
    def window(self) -> tuple[slice, ...]:
        """Index of the tile's pixels in (batch, height, width, 3)."""
        rows, columns = self.rows, self.columns
        return (slice(None), slice(rows.start, rows.stop), slice(columns.start, columns.stop))

    @property
    def crops(self) -> list[list[int]]:
        """For each layer the cells that count: [top, bottom, left, right]."""
        return [[*r, *c] for r, c in zip(self.rows.cells, self.columns.cells, strict=True)]


def plan(height: int, width: int, tile: int, tiling: Tiling, planes: Planes) -> tuple[list[Tile], list[int]]:
    """Tiles of an octave, and the number of cells that each layer has over all of them.

    Args:
        height, width: size of the octave in pixels.
        tile: most pixels a side of a piece (of its core, for `exact`).
        tiling: `roll` or `exact`.
        planes: the backbone.
    """
    cut = _equal if tiling == "roll" else _exact
    rows, columns = (cut(size, tile, axis) for size, axis in zip((height, width), planes.axes, strict=True))
    totals = [r * c for r, c in zip(_counted(rows), _counted(columns), strict=True)]
    return [Tile(r, c) for r, c in product(rows, columns)], totals


def _counted(spans: Sequence[Span]) -> list[int]:
    return [sum(stop - start for start, stop in cells) for cells in zip(*(s.cells for s in spans), strict=True)]


def _cuts(size: int, most: int, multiple: int = 1) -> list[int]:
    """0 .. size in pieces of at most `most`, equal to within one `multiple`: no slivers."""
    units = -(-size // multiple)
    pieces = -(-units // (most // multiple))
    return [*(units * i // pieces * multiple for i in range(pieces)), size]


def _equal(size: int, tile: int, axis: Axis) -> list[Span]:
    cuts = _cuts(size, tile)
    # A piece so small that a layer has no cell in it would see nothing: take larger ones. The first is the smallest.
    while len(cuts) > 2 and not all(axis.cells(cuts[1])):
        cuts = _cuts(size, -(-size // (len(cuts) - 2)))
    return [
        Span(start, stop, tuple((0, cells) for cells in axis.cells(stop - start))) for start, stop in pairwise(cuts)
    ]


def _exact(size: int, tile: int, axis: Axis) -> list[Span]:
    fields = axis.fields()
    stride = max(field.stride for field in fields)
    totals = axis.cells(size)
    spans = []
    for start, stop in pairwise(_cuts(size, max(tile, stride), stride)):
        own = [
            (min(start // field.stride, total), total if stop == size else min(stop // field.stride, total))
            for field, total in zip(fields, totals, strict=True)
        ]
        # Windows start at a multiple of the stride and end congruent to the image's end, so that strides and
        # the padding of "same" layers fall where they do in the whole image.
        first = min(a * field.stride + field.first for (a, _), field in zip(own, fields, strict=True))
        last = max((b - 1) * field.stride + field.last for (_, b), field in zip(own, fields, strict=True))
        low = max(0, first // stride * stride)
        high = size - max(0, (size - (last + 1)) // stride * stride)
        cells = tuple(
            (a - low // field.stride, b - low // field.stride) for (a, b), field in zip(own, fields, strict=True)
        )
        spans.append(Span(low, high, cells))
    return spans


def roll(images: Any, shifts: Sequence[tuple[int, int]]) -> Any:
    """Rolls each image of a batch (batch, height, width, 3) by its own (rows, columns)."""
    import tensorflow as tf

    if len(shifts) == 1:
        return tf.roll(images, shifts[0], axis=(1, 2))
    return tf.stack([tf.roll(i, s, axis=(0, 1)) for i, s in zip(tf.unstack(images), shifts, strict=True)])
