"""Cuts an octave into tiles: the parts that go through the network at once.

There are two ways. `roll`: before each step, the image is rolled by a random shift and cut into equal tiles. The
borders are at other places in each step, so there are no seams. `exact`: each tile is read with a halo as wide as the
network's receptive field, and only the positions of the tile itself count, as in the gradient of the untiled image.

In both ways, the objective is a mean over the positions of all tiles, so the gradient at a pixel does not depend on the
size of its tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Protocol

from raydream.core.networks.geometry import Axis
from raydream.types import Tensor, Tiling


class HasAxes(Protocol):
    """What tiles need from a backbone: its geometry along rows and columns."""

    @property
    def axes(self) -> tuple[Axis, Axis]: ...


@dataclass(frozen=True)
class Span:
    """A tile along one axis: the pixels that it reads, and the range of positions that count in each layer."""

    start: int
    stop: int
    positions: tuple[tuple[int, int], ...]


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
        """The positions that count in each layer: [top, bottom, left, right]."""
        return [[*r, *c] for r, c in zip(self.rows.positions, self.columns.positions, strict=True)]


def plan(height: int, width: int, tile: int, tiling: Tiling, backbone: HasAxes) -> tuple[list[Tile], list[int]]:
    """The tiles of an octave, and for each layer the number of positions that count in all tiles.

    Args:
        height, width: size of the octave in pixels.
        tile: maximum side of a tile in pixels (for `exact`, without its halo).
        tiling: `roll` or `exact`.
        backbone: the network that the tiles go through.
    """
    cut = _equal if tiling == "roll" else _exact
    rows, columns = (cut(size, tile, axis) for size, axis in zip((height, width), backbone.axes, strict=True))
    totals = [r * c for r, c in zip(_counts(rows), _counts(columns), strict=True)]
    return [Tile(r, c) for r, c in product(rows, columns)], totals


def borders(height: int, width: int, tile: int, tiling: Tiling, backbone: HasAxes) -> tuple[list[int], list[int]]:
    """The borders between the tiles of an image that is not rolled, as row and column numbers; arguments as for `plan`.

    A border n is between the pixels n - 1 and n.
    """
    rows, columns = (
        _borders(size, tile, tiling, axis) for size, axis in zip((height, width), backbone.axes, strict=True)
    )
    return rows, columns


def _borders(size: int, tile: int, tiling: Tiling, axis: Axis) -> list[int]:
    if tiling == "roll":
        return [span.start for span in _equal(size, tile, axis)][1:]
    stride = max(field.stride for field in axis.fields())
    return _cuts(size, max(tile, stride), stride)[1:-1]


def _counts(spans: Sequence[Span]) -> list[int]:
    """For each layer, the number of positions that count in all spans."""
    return [sum(stop - start for start, stop in layer) for layer in zip(*(s.positions for s in spans), strict=True)]


def _cuts(size: int, most: int, multiple: int = 1) -> list[int]:
    """Borders of spans of at most `most` pixels, from 0 to size. Sizes differ by at most one `multiple`: no slivers."""
    units = -(-size // multiple)
    spans = -(-units // (most // multiple))
    return [*(units * i // spans * multiple for i in range(spans)), size]


def _equal(size: int, tile: int, axis: Axis) -> list[Span]:
    cuts = _cuts(size, tile)
    # If a span is so small that a layer has no position, the gradient would be NaN: use larger spans then.
    # The first span is the smallest.
    while len(cuts) > 2 and not all(axis.positions(cuts[1])):
        cuts = _cuts(size, -(-size // (len(cuts) - 2)))
    return [Span(start, stop, tuple((0, n) for n in axis.positions(stop - start))) for start, stop in pairwise(cuts)]


def _exact(size: int, tile: int, axis: Axis) -> list[Span]:
    stride = max(field.stride for field in axis.fields())
    return [_with_halo(start, stop, size, axis) for start, stop in pairwise(_cuts(size, max(tile, stride), stride))]


def _with_halo(start: int, stop: int, size: int, axis: Axis) -> Span:
    """The span with its own pixels start .. stop, and a halo of all pixels that its own positions depend on."""
    fields, totals = axis.fields(), axis.positions(size)
    own = [
        (min(start // field.stride, total), total if stop == size else min(stop // field.stride, total))
        for field, total in zip(fields, totals, strict=True)
    ]
    first = min(a * field.stride + field.first for (a, _), field in zip(own, fields, strict=True))
    last = max((b - 1) * field.stride + field.last for (_, b), field in zip(own, fields, strict=True))
    # The span's start, and its distance from the end of the image, are multiples of the largest stride. So the strides
    # and the padding of "same" layers are at the same places as in the whole image.
    stride = max(field.stride for field in fields)
    low = max(0, first // stride * stride)
    high = size - max(0, (size - (last + 1)) // stride * stride)
    positions = tuple(
        (a - low // field.stride, b - low // field.stride) for (a, b), field in zip(own, fields, strict=True)
    )
    return Span(low, high, positions)


def roll(images: Tensor, shifts: Sequence[tuple[int, int]]) -> Tensor:
    """Rolls each image of a batch (batch, height, width, 3) by its own (rows, columns)."""
    import tensorflow as tf

    if len(shifts) == 1:
        return tf.roll(images, shifts[0], axis=(1, 2))
    return tf.stack([tf.roll(i, s, axis=(0, 1)) for i, s in zip(tf.unstack(images), shifts, strict=True)])
