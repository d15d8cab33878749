"""The image pyramid: sizes of the octaves, resizing, and the start image of each octave."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from raydream.types import Carry, Size, Tensor


def sizes(height: int, width: int, octaves: int, octave_scale: float) -> list[Size]:
    """(height, width) of each octave, from the smallest to full size; each is `octave_scale` times the previous one."""
    ratios = [octave_scale ** -(octaves - 1 - i) for i in range(octaves)]
    return [(max(1, round(height * r)), max(1, round(width * r))) for r in ratios]


def resize(images: Tensor, size: Size) -> Tensor:
    """Resizes (batch, height, width, 3) in float: antialiased Lanczos to shrink, bicubic to enlarge.

    Both can exceed the range a little at edges; `start` clips.
    """
    import tensorflow as tf

    height, width = images.shape[1:3]
    if (height, width) == size:
        return images
    shrinks = size[0] * size[1] < height * width
    resized = tf.image.resize(images, size, "lanczos3" if shrinks else "bicubic", antialias=shrinks)
    return tf.cast(resized, images.dtype)


def start(source: Tensor, size: Size, dream: Tensor | None, carry: Carry, blend: float) -> Tensor:
    """The image that an octave starts from.

    Args:
        source: the photographs at full size (batch, height, width, 3), in [-1, 1].
        size: (height, width) of the octave.
        dream: result of the previous octave; None for the first octave.
        carry: `blend` is `blend * source + (1 - blend) * enlarged dream` (as in the seed project); `detail` is the
            enlarged dream plus the detail that the source loses at the dream's size (Mordvintsev et al., 2015).
        blend: share of the source, for `blend`.
    """
    import tensorflow as tf

    shrunk = resize(source, size)
    if dream is None:
        return tf.clip_by_value(shrunk, -1.0, 1.0)
    if carry == "blend":
        return _mix(blend, source.dtype)(shrunk, dream, size)
    # Resizing is linear: enlarging the difference once gives the difference of the two enlarged images.
    difference = dream - resize(source, (dream.shape[1], dream.shape[2]))
    return _mix(None, source.dtype)(shrunk, difference, size)


@lru_cache(maxsize=8)
def _mix(blend: float | None, dtype: Any) -> Callable[[Tensor, Tensor, Size], Tensor]:
    """A traced function that enlarges a dream and mixes it with the source, or adds it if `blend` is None.

    Inside a traced function TensorFlow works in place, which saves copies of a large image.
    """
    import tensorflow as tf

    def mix(source: Tensor, dream: Tensor, size: Tensor) -> Tensor:
        enlarged = tf.cast(tf.image.resize(dream, size, "bicubic"), dtype)
        image = source + enlarged if blend is None else blend * source + (1.0 - blend) * enlarged
        return tf.clip_by_value(image, -1.0, 1.0)

    images = tf.TensorSpec([None, None, None, 3], dtype)
    signature = [images, images, tf.TensorSpec([2], tf.int32)]
    return tf.function(mix, input_signature=signature, autograph=False)
