"""How a network's planes of activations lie over the image, one axis at a time.

Tiles need to know how many cells a layer has for n pixels, and which pixels a cell sees. Both follow from the
kernels, strides and paddings on the way (Araujo et al., "Computing Receptive Fields of Convolutional Neural
Networks", Distill 2019); nothing is run.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from raydream.errors import UsageError

# Layers whose output is no plane of cells that each see a fixed window of the image, at a fixed stride.
_UNPLACED = (
    "Conv2DTranspose",
    "UpSampling",
    "Flatten",
    "Reshape",
    "Permute",
    "Global",
    "Resizing",
    "Cropping",
    "GroupNormalization",
)


@dataclass(frozen=True)
class Field:
    """What the cells of a layer see: cell c depends on pixels c * stride + first .. c * stride + last."""

    stride: int
    first: int
    last: int

    @property
    def width(self) -> int:
        """Width of the receptive field, in pixels."""
        return self.last - self.first + 1


@dataclass(frozen=True)
class _Window:
    """One layer along one axis; `before` and `after` are its padding, in cells of its input."""

    inputs: tuple[int, ...]
    kernel: int = 1
    stride: int = 1
    same: bool = False
    before: int = 0
    after: int = 0

    def cells(self, n: int) -> int:
        if self.same:
            return -(-n // self.stride)
        return max(0, (n + self.before + self.after - self.kernel) // self.stride + 1)

    def field(self, below: Field) -> Field:
        # "same" pads kernel - stride to kernel - 1 cells, less of them before: when it strides, the size decides.
        most = (self.kernel - 1) // 2
        least = max(0, self.kernel - self.stride) // 2
        before, fewest = (most, least) if self.same else (self.before, self.before)
        first = below.first - before * below.stride
        last = below.last + (self.kernel - 1 - fewest) * below.stride
        return Field(below.stride * self.stride, first, last)


class Axis:
    """The geometry of a Keras functional model along one axis (0: rows, 1: columns)."""

    def __init__(self, model: Any, axis: int) -> None:
        self._nodes: list[_Window] = []
        places: dict[int, int] = {}
        for operation, node in nodes(model):
            inputs = tuple(places[id(t)] for t in node.input_tensors)
            places[id(node.output_tensors[0])] = len(self._nodes)
            self._nodes.append(_window(operation, axis, inputs))
        self._outputs = [places[id(tensor)] for tensor in model.outputs]
        self.cells = lru_cache(maxsize=4096)(self._cells)

    def _cells(self, n: int) -> tuple[int, ...]:
        """Cells of each output for n pixels; 0 where the layer has none for so few."""
        counts: list[int] = []
        for node in self._nodes:
            below = min((counts[i] for i in node.inputs), default=n)
            counts.append(node.cells(below) if below else 0)
        return tuple(counts[i] for i in self._outputs)

    def fields(self) -> tuple[Field, ...]:
        """The receptive field of each output."""
        fields: list[Field] = []
        for node in self._nodes:
            below = [fields[i] for i in node.inputs] or [Field(1, 0, 0)]
            union = Field(below[0].stride, min(f.first for f in below), max(f.last for f in below))
            fields.append(node.field(union))
        return tuple(fields[i] for i in self._outputs)


def nodes(model: Any) -> list[tuple[Any, Any]]:
    """(operation, its node in this model's graph) in the order in which they run; an operation may be in others."""
    own = {id(node.operation): node for level in model._nodes_by_depth.values() for node in level}
    return [(operation, own[id(operation)]) for operation in model.operations]


def _window(operation: Any, axis: int, inputs: tuple[int, ...]) -> _Window:
    kind = type(operation).__name__
    if kind.startswith(_UNPLACED):
        raise UsageError(f"layer {operation.name!r} ({kind}) has no fixed window on the image: name one before it")
    if kind == "ZeroPadding2D":
        before, after = operation.padding[axis]
        return _Window(inputs, before=before, after=after)
    size = getattr(operation, "kernel_size", None) or getattr(operation, "pool_size", None)
    if size is None:
        return _Window(inputs)
    dilation = getattr(operation, "dilation_rate", (1, 1))[axis]
    kernel = (size[axis] - 1) * dilation + 1
    return _Window(inputs, kernel, operation.strides[axis], operation.padding == "same")
