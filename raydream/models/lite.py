"""`lite`: a small network that learns to answer as a trained one does: InceptionV3 at mixed2, mixed3 and mixed5.

In plan a much narrower Inception (Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2015);
a 1x1 convolution on top of a block gives all the channels of the layer whose name it bears. Cells lie where
InceptionV3's lie (the same strides and paddings), so that the two can be compared cell by cell and a recipe means the
same on both. A few wide convolutions rather than many small ones, since those keep a CPU busy, and few channels where
planes are large, since there they cost most.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from raydream.errors import UsageError

LAYERS = {"mixed2": (8, 288), "mixed3": (16, 768), "mixed5": (16, 768)}


def build(layers: Mapping[str, tuple[int, int]] = LAYERS) -> Any:
    """The untrained network: images (batch, height, width, 3) in [-1, 1] -> activations of `layers`, in that order.

    Args:
        layers: name -> stride in pixels (2, 4, 8 or 16), channels; from the image upwards.

    Raises:
        UsageError: there is no plane of such a stride.
    """
    import keras

    images = keras.Input((None, None, 3))
    planes: dict[int, list[Any]] = {}
    for stride, plane in _trunk(images):
        planes.setdefault(stride, []).append(plane)
    answers = []
    for name, (stride, channels) in layers.items():
        if stride not in planes:
            raise UsageError(f"layer {name!r} has a stride of {stride} pixels: lite has planes of {list(planes)}")
        alike = [other for other, (same, _) in layers.items() if same == stride]
        # Of several layers of a stride the last is on the last plane and the first on the first.
        place = alike.index(name) / (len(alike) - 1) if len(alike) > 1 else 1.0
        plane = planes[stride][round(place * (len(planes[stride]) - 1))]
        answers.append(_convolution(plane, channels, 1, name=name))
    return keras.Model(images, answers, name="lite")


def _trunk(images: Any) -> Iterator[tuple[int, Any]]:
    """(stride, plane) from the image upwards."""
    plane = _convolution(images, 8, 3, stride=2, padding="valid")
    plane = _convolution(plane, 16, 3, padding="valid")
    yield 2, plane
    plane = _convolution(_halved(plane), 40, 3, padding="valid")
    yield 4, plane
    plane = _halved(plane)
    for _ in range(2):
        plane = _block(plane, 16, 40, 16, 16)
        yield 8, plane
    plane = _joined(_convolution(plane, 88, 3, stride=2, padding="valid"), _halved(plane))
    yield 16, plane
    for _ in range(2):
        plane = _block(plane, 40, 80, 32, 40)
        yield 16, plane


def _block(plane: Any, direct: int, near: int, narrow: int, far: int) -> Any:
    """Channels that see a cell, its neighbours, and (a row of 7, then a column of 7) those further away."""
    cross = _convolution(_convolution(_convolution(plane, narrow, 1), narrow, (1, 7)), far, (7, 1))
    return _joined(_convolution(plane, direct, 1), _convolution(plane, near, 3), cross)


def _convolution(  # noqa: PLR0913 -- Keras' own
    plane: Any,
    channels: int,
    size: int | tuple[int, int],
    stride: int = 1,
    padding: str = "same",
    name: str | None = None,
) -> Any:
    """A convolution with ReLU; without batch norm, whose statistics would differ between workers."""
    import keras

    layer = keras.layers.Conv2D(
        channels, size, stride, padding, activation="relu", kernel_initializer="he_normal", name=name
    )
    return layer(plane)


def _halved(plane: Any) -> Any:
    import keras

    return keras.layers.MaxPooling2D(3, 2)(plane)


def _joined(*planes: Any) -> Any:
    import keras

    return keras.layers.Concatenate()(list(planes))
