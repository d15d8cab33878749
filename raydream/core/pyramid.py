"""The image pyramid: sizes of the octaves, resizing, and what crosses from one octave to the next."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from raydream.types import Carry, Size


def sizes(height: int, width: int, octaves: int, octave_scale: float) -> list[Size]:
    """(height, width) of each octave, smallest first; each is `octave_scale` times the one before, the last full."""
    ratios = [octave_scale ** -(octaves - 1 - i) for i in range(octaves)]
    return [(max(1, round(height * r)), max(1, round(width * r))) for r in ratios]


def resize(images: Any, size: Size) -> Any:
    """Resizes (batch, height, width, 3) in float: Lanczos when it shrinks (antialiased), bicubic when it grows.

    Both overshoot the range at edges a little: `start` clips.
    """
    import tensorflow as tf

    height, width = images.shape[1:3]
    if (height, width) == size:
        return images
    shrinks = size[0] * size[1] < height * width
    resized = tf.image.resize(images, size, "lanczos3" if shrinks else "bicubic", antialias=shrinks)
    return tf.cast(resized, images.dtype)


def start(source: Any, size: Size, dream: Any | None, carry: Carry, blend: float) -> Any:
    """The image that an octave starts from.

    Args:
        source: the photographs at full size (batch, height, width, 3), in [-1, 1].
        size: of the octave that starts.
        dream: the result of the octave before; None for the first.
        carry: `blend`: `blend * source + (1 - blend) * enlarged dream` (the seed project's); `detail`: the enlarged
            dream plus what the source lost when it was as small (Mordvintsev et al., 2015).
        blend: the source's share, for `blend`.
    """
    import tensorflow as tf

    if dream is None:
        return tf.clip_by_value(resize(source, size), -1.0, 1.0)
    here = resize(source, size)
    if carry == "detail":  # resizing is linear: the enlarged difference is the difference of the enlarged
        dream = dream - resize(source, (dream.shape[1], dream.shape[2]))
    share = blend if carry == "blend" else None
    return _joined(share, source.dtype)(here, dream, size)


@lru_cache(maxsize=8)
def _joined(blend: float | None, dtype: Any) -> Any:
    """Enlarges a dream and mixes it with the source, or adds it where `blend` is None.

    Traced, as TensorFlow then works in place: of a large image each copy counts.
    """
    import tensorflow as tf

    def joined(here: Any, dream: Any, size: Any) -> Any:
        enlarged = tf.cast(tf.image.resize(dream, size, "bicubic"), dtype)
        image = here + enlarged if blend is None else blend * here + (1.0 - blend) * enlarged
        return tf.clip_by_value(image, -1.0, 1.0)

    plane = tf.TensorSpec([None, None, None, 3], dtype)
    return tf.function(joined, input_signature=[plane, plane, tf.TensorSpec([2], tf.int32)], autograph=False)
