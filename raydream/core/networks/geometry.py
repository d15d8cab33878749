"""The geometry of a network's feature maps over the image, one axis at a time.

To cut tiles, one must know how many positions a layer has for n pixels, and which pixels a position depends on. Both
follow from the kernels, strides and paddings of the layers below (Araujo et al., "Computing Receptive Fields of
Convolutional Neural Networks", Distill 2019). The network is not run.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from raydream.core.networks.graph import nodes, output_names
from raydream.errors import UsageError
from raydream.types import KerasModel, Layer

# Keras layers in which output position p depends on a fixed window of inputs around p * stride.
# Any other layer may move or mix positions, so it is refused.
_WINDOWED = ("AveragePooling2D", "Conv2D", "DepthwiseConv2D", "MaxPooling2D", "SeparableConv2D", "ZeroPadding2D")
_POSITION_BY_POSITION = (
    *("Activation", "ELU", "LeakyReLU", "PReLU", "ReLU", "Softmax"),
    *("Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract"),
    *("BatchNormalization", "LayerNormalization", "Normalization", "Rescaling", "UnitNormalization"),
    *("ActivityRegularization", "AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise", "SpatialDropout2D"),
    *("Dense", "Identity", "InputLayer"),
)
_SUPPORTED = (
    f"{', '.join(_WINDOWED)}, and Keras' layers that work position by position "
    "(activations, merges, dropout, normalization over channels)"
)


@dataclass(frozen=True)
class Field:
    """Receptive field: position p depends on the pixels p * stride + first .. p * stride + last."""

    stride: int
    first: int
    last: int

    @property
    def width(self) -> int:
        """Width of the receptive field, in pixels."""
        return self.last - self.first + 1


@dataclass(frozen=True)
class _Window:
    """One layer along one axis; `before` and `after` are its padding, in positions of its input."""

    kernel: int = 1
    stride: int = 1
    same: bool = False
    before: int = 0
    after: int = 0

    def positions(self, n: int) -> int:
        if self.same:
            return -(-n // self.stride)
        return max(0, (n + self.before + self.after - self.kernel) // self.stride + 1)

    def field(self, below: Field) -> Field:
        # "same" pads kernel - stride to kernel - 1 positions, about half of them before. If the layer has a stride,
        # the exact number depends on the input's size, so the field covers all cases.
        most = (self.kernel - 1) // 2
        least = max(0, self.kernel - self.stride) // 2
        before, fewest = (most, least) if self.same else (self.before, self.before)
        first = below.first - before * below.stride
        last = below.last + (self.kernel - 1 - fewest) * below.stride
        return Field(below.stride * self.stride, first, last)


class Axis:
    """The geometry of a functional Keras model along one axis (0: rows, 1: columns).

    Raises:
        UsageError: the model has a layer without a fixed window of inputs.
    """

    def __init__(self, model: KerasModel, axis: int) -> None:
        self._layers = [(layer.name, inputs, _window(layer, axis)) for layer, inputs in nodes(model)]
        self._outputs = output_names(model)
        self.positions = lru_cache(maxsize=4096)(self._positions)
        self.fields = lru_cache(maxsize=1)(self._fields)

    def _positions(self, n: int) -> tuple[int, ...]:
        """Number of positions of each output for n pixels; 0 if n pixels are too few for one position."""
        counts: dict[str, int] = {}
        for name, inputs, window in self._layers:
            below = min((counts[i] for i in inputs), default=n)
            counts[name] = window.positions(below) if below else 0
        return tuple(counts[name] for name in self._outputs)

    def _fields(self) -> tuple[Field, ...]:
        """The receptive field of each output."""
        fields: dict[str, Field] = {}
        for name, inputs, window in self._layers:
            below = [fields[i] for i in inputs] or [Field(1, 0, 0)]
            union = Field(below[0].stride, min(f.first for f in below), max(f.last for f in below))
            fields[name] = window.field(union)
        return tuple(fields[name] for name in self._outputs)


def _window(layer: Any, axis: int) -> _Window:
    _require_supported(layer)
    kind = type(layer).__name__
    if kind not in _WINDOWED:
        return _Window()
    if kind == "ZeroPadding2D":
        before, after = layer.padding[axis]
        return _Window(before=before, after=after)
    size = getattr(layer, "kernel_size", None) or layer.pool_size
    dilation = getattr(layer, "dilation_rate", (1, 1))[axis]
    kernel = (size[axis] - 1) * dilation + 1
    return _Window(kernel, layer.strides[axis], layer.padding == "same")


def _require_supported(layer: Layer) -> None:
    """Raises a `UsageError` unless each position of the layer is known to depend on a fixed window of inputs."""
    import keras

    kind = type(layer)
    known = kind.__name__ in (*_WINDOWED, *_POSITION_BY_POSITION) and kind is getattr(keras.layers, kind.__name__)
    channels_last = getattr(layer, "data_format", "channels_last") == "channels_last"
    if not (known and channels_last and _only_over_channels(layer)):
        raise UsageError(
            f"layer {layer.name!r} ({kind.__name__}) has no fixed window on the image: "
            f"use a layer before it; supported are {_SUPPORTED}"
        )


def _only_over_channels(layer: Any) -> bool:
    """Whether a layer with an axis works along the channels, and shares its weights over all positions."""
    if type(layer).__name__ == "PReLU":
        return {1, 2} <= set(layer.shared_axes or ())
    axis = getattr(layer, "axis", -1)
    return all(one in (-1, 3) for one in (axis if isinstance(axis, list | tuple) else [axis]))
