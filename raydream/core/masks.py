"""Masks: where a term counts, or where a picture may change. 1 is yes, 0 is no."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from raydream.core.objectives import HALVES
from raydream.errors import UsageError
from raydream.types import FeatureMap, Image, Size, Tensor

_RAMP = 0.3  # width of the soft border between two halves, as a share of the side
_TOLERANCE = 0.03  # largest relative difference between the aspect ratios of a mask and a photograph


def mask(name: str, size: Size, images: Mapping[str, Image]) -> FeatureMap:
    """A mask (height, width) in [0, 1] by its name in a recipe, at the size of an octave.

    Args:
        name: one of `objectives.HALVES`, or the name of an image.
        size: (height, width).
        images: the images that the recipe names.

    Raises:
        UsageError: the image is missing, has another shape than the octave, or is black.
    """
    import tensorflow as tf

    check(name, size, images)
    if name in HALVES:
        return half(name, size)
    small = tf.image.resize(_brightness(images[name])[..., None], size, "bilinear", antialias=True)
    return np.clip(np.asarray(small)[..., 0], 0.0, 1.0)


def check(name: str, size: Size, images: Mapping[str, Image]) -> None:
    """Raises the errors of `mask`."""
    if name in HALVES:
        return
    if name not in images:
        raise UsageError(f"mask {name!r} is not loaded: see assets.pictures")
    height, width = images[name].shape[:2]
    if abs(np.log((height / width) / (size[0] / size[1]))) > _TOLERANCE + 1.0 / min(size):
        raise UsageError(
            f"mask {name} has {width}x{height} pixels, a different shape from the picture's {size[1]}x{size[0]}: "
            "use a mask of the same size or aspect ratio"
        )
    check_white(name, images)


def check_white(name: str, images: Mapping[str, Image]) -> None:
    """Raises a `UsageError` if a mask is black."""
    if name not in HALVES and not _brightness(images[name]).max() > 1 / 255:
        raise UsageError(f"mask {name} is all black: it must be white where it counts")


def _brightness(image: Image) -> FeatureMap:
    return (image.mean(axis=-1) + 1.0) / 2.0


def half(name: str, size: Size) -> FeatureMap:
    """A soft half (height, width): 1 on one side, 0 on the other, with a smooth border.

    Two opposite halves add up to 1.
    """
    along = size[1] if name in ("left", "right") else size[0]
    place = np.clip(((np.arange(along) + 0.5) / along - 0.5) / _RAMP + 0.5, 0.0, 1.0)
    rising = place * place * (3.0 - 2.0 * place)
    ramp = rising if name in ("right", "bottom") else 1.0 - rising
    return np.broadcast_to(ramp if name in ("left", "right") else ramp[:, None], size).copy()


def rectangle(size: Size, middle: Size, sides: Size) -> FeatureMap:
    """1 in a rectangle of `sides` around a pixel (row, column), 0 elsewhere: (height, width)."""
    found = np.zeros(size)
    starts = [min(max(0, p - s // 2), max(0, n - s)) for p, n, s in zip(middle, size, sides, strict=True)]
    found[starts[0] : starts[0] + sides[0], starts[1] : starts[1] + sides[1]] = 1.0
    return found


def at_positions(masks: Tensor, shape: Tensor, strides: Size, offsets: Size) -> Tensor:
    """Masks of pixels (batch, height, width, count) at the positions of a layer: (batch, rows, columns, count).

    Args:
        masks: the masks of a tile.
        shape: (rows, columns) of the layer on this tile.
        strides: pixels between two positions, along rows and columns.
        offsets: the middle pixel of the first position's receptive field, along rows and columns.
    """
    import tensorflow as tf

    for axis in (0, 1):
        places = offsets[axis] + strides[axis] * tf.range(shape[axis])
        places = tf.clip_by_value(places, 0, tf.shape(masks)[axis + 1] - 1)
        masks = tf.gather(masks, places, axis=axis + 1)
    return masks
