"""Random rotation and scaling of the image before each step, which makes features robust and smooth.

(Olah et al., "Feature Visualization", 2017. The random roll of the tiles does what jitter does there.)
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from raydream.types import Size, Tensor


def draw(random: np.random.Generator, rotate: float, rescale: float, size: Size) -> list[float]:
    """A random transform as the 8 numbers of a projective map, from the result's pixels (x, y) to those of the image.

    Args:
        random: source of random numbers.
        rotate: largest angle, in degrees.
        rescale: largest change of the size: 0.1 is from 0.9 to 1.1 times.
        size: (height, width); its middle stays where it is.
    """
    angle = math.radians(random.uniform(-rotate, rotate))
    scale = 1.0 / random.uniform(1.0 - rescale, 1.0 + rescale)
    a, b = scale * math.cos(angle), scale * math.sin(angle)
    y, x = ((side - 1) / 2 for side in size)
    return [a, -b, x - a * x + b * y, b, a, y - b * x - a * y, 0.0, 0.0]


def apply(images: Tensor, transforms: Any) -> Tensor:
    """The transformed images (batch, height, width, channels); mirror images fill what is outside."""
    return _functions(images.dtype.name)[0](images, np.asarray(transforms, np.float32))


def backpropagate(images: Tensor, transforms: Any, gradient: Tensor) -> Tensor:
    """The gradient with respect to the images, from that with respect to the transformed images."""
    return _functions(images.dtype.name)[1](images, np.asarray(transforms, np.float32), gradient)


@lru_cache(maxsize=2)
def _functions(dtype: str) -> tuple[Any, Any]:
    import tensorflow as tf

    def moved(images: Tensor, transforms: Tensor) -> Tensor:
        """By bilinear interpolation of gathered pixels, so that TensorFlow has its exact gradient."""
        shape = tf.shape(images)
        y, x = tf.meshgrid(*(tf.cast(tf.range(n), tf.float32) for n in (shape[1], shape[2])), indexing="ij")
        a = tf.reshape(transforms, (-1, 8, 1, 1))
        across = a[:, 0] * x + a[:, 1] * y + a[:, 2]
        down = a[:, 3] * x + a[:, 4] * y + a[:, 5]
        left, top = tf.floor(across), tf.floor(down)
        result = tf.zeros_like(images)
        for right in (0, 1):
            for below in (0, 1):
                columns, rows = _mirrored(left + right, shape[2]), _mirrored(top + below, shape[1])
                share = tf.abs(1 - right - (across - left)) * tf.abs(1 - below - (down - top))
                corner = tf.gather_nd(images, tf.stack([rows, columns], axis=-1), batch_dims=1)
                result += tf.cast(share, images.dtype)[..., None] * corner
        return result

    def backpropagated(images: Tensor, transforms: Tensor, gradient: Tensor) -> Tensor:
        with tf.GradientTape() as tape:
            tape.watch(images)
            result = moved(images, transforms)
        return tape.gradient(result, images, output_gradients=gradient)

    pixels, numbers = tf.TensorSpec([None, None, None, None], dtype), tf.TensorSpec([None, 8], tf.float32)
    return (
        tf.function(moved, input_signature=[pixels, numbers], autograph=False),
        tf.function(backpropagated, input_signature=[pixels, numbers, pixels], autograph=False),
    )


def _mirrored(places: Tensor, count: Tensor) -> Tensor:
    """Integer places outside 0 .. count - 1, mirrored into it."""
    import tensorflow as tf

    last = tf.cast(tf.maximum(count - 1, 1), tf.float32)
    folded = tf.math.floormod(places, 2 * last)
    return tf.cast(tf.minimum(last - tf.abs(folded - last), tf.cast(count - 1, tf.float32)), tf.int32)
