"""What is optimised: the pixels, or the Fourier coefficients of an image in decorrelated colours.

A canvas turns its coefficients into images and a gradient of the images into one of the coefficients. With Fourier
coefficients, each step changes all frequencies alike; with pixels, mostly the highest (Olah et al., "Feature
Visualization", 2017, and lucid, its library).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from raydream.types import Images, Size, Tensor

# The square root of the covariance of the colours of ImageNet's pixels (lucid), scaled to a largest column length of 1.
_COLORS = np.array([[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]])
_COLORS /= np.linalg.norm(_COLORS, axis=0).max()
_INSIDE = 0.98  # photographs are scaled by this for the Fourier canvas, whose images never reach -1 and 1
_DAMPING = 4.0  # divisor of the coefficients, as in lucid


class Canvas(Protocol):
    """A parameterisation of images."""

    def coefficients(self, images: Tensor) -> Tensor:
        """The coefficients of images (batch, height, width, 3) in [-1, 1]."""

    def images(self, coefficients: Tensor) -> Tensor:
        """The images of coefficients."""

    def backpropagate(self, coefficients: Tensor, gradient: Tensor) -> Tensor:
        """The gradient with respect to the coefficients, from that with respect to the images."""

    def limited(self, coefficients: Tensor) -> Tensor:
        """The coefficients, limited to those of images in [-1, 1]."""


class Pixels:
    """The pixels themselves."""

    def coefficients(self, images: Tensor) -> Tensor:
        """The images."""
        return images

    def images(self, coefficients: Tensor) -> Tensor:
        """The coefficients."""
        return coefficients

    def backpropagate(self, coefficients: Tensor, gradient: Tensor) -> Tensor:
        """The gradient."""
        return gradient

    def limited(self, coefficients: Tensor) -> Tensor:
        """Clipped to [-1, 1], so that no pixel goes far out of the range and takes many steps to return."""
        import tensorflow as tf

        return tf.clip_by_value(coefficients, -1.0, 1.0)


class Fourier:
    """Coefficients (batch, 3, height, width // 2 + 1, 2): real and imaginary parts for each decorrelated colour.

    The image is tanh(x / 2), where x is the inverse Fourier transform of the coefficients, each divided by its
    frequency, with the decorrelated colours mixed so that they vary together as in natural images.
    """

    def __init__(self, size: Size, dtype: str) -> None:
        self._functions = _fourier(dtype)
        self._width, self._scale = size[1], _scale(size).astype(dtype)

    def coefficients(self, images: Tensor) -> Tensor:
        """See `Canvas.coefficients`."""
        return self._functions[2](images, self._scale)

    def images(self, coefficients: Tensor) -> Tensor:
        """See `Canvas.images`."""
        return self._functions[0](coefficients, self._scale, self._width)

    def backpropagate(self, coefficients: Tensor, gradient: Tensor) -> Tensor:
        """See `Canvas.backpropagate`."""
        return self._functions[1](coefficients, gradient, self._scale, self._width)

    def limited(self, coefficients: Tensor) -> Tensor:
        """Unchanged: any coefficients give an image in [-1, 1]."""
        return coefficients


def noise(size: Size, count: int, seed: int, contrast: float = 1.0) -> Images:
    """Images (count, height, width, 3) in [-1, 1] with the spectrum of natural images; nearly grey for contrast 1."""
    import tensorflow as tf

    random = np.random.default_rng(seed)
    shape = (count, 3, size[0], size[1] // 2 + 1, 2)
    coefficients = tf.constant(random.normal(0.0, 0.01 * contrast, shape).astype(np.float32))
    return np.asarray(Fourier(size, "float32").images(coefficients))


def _scale(size: Size) -> NDArray[np.float64]:
    """The factor of each frequency, (height, width // 2 + 1): 1 / f, times the square root of the number of pixels."""
    rows, columns = np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1])[None]
    frequencies = np.sqrt(rows**2 + columns**2)
    factor: NDArray[np.float64] = np.sqrt(size[0] * size[1]) / np.maximum(frequencies, 1.0 / max(size)) / _DAMPING
    return factor


@lru_cache(maxsize=2)
def _fourier(dtype: str) -> tuple[Callable[..., Tensor], ...]:
    """Traced functions: coefficients to images, their gradients, and images to coefficients."""
    import tensorflow as tf

    colors = tf.constant(_COLORS, dtype)

    def images(coefficients: Any, scale: Any, width: Any) -> Any:
        spectrum = tf.complex(coefficients[..., 0] * scale, coefficients[..., 1] * scale)
        height = tf.shape(coefficients)[2]
        planes = tf.signal.irfft2d(spectrum, [height, width])
        return tf.tanh(tf.einsum("bchw,dc->bhwd", planes, colors) / 2.0)

    def backpropagate(coefficients: Any, gradient: Any, scale: Any, width: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(coefficients)
            result = images(coefficients, scale, width)
        return tape.gradient(result, coefficients, output_gradients=gradient)

    def coefficients(pictures: Any, scale: Any) -> Any:
        flat = 2.0 * tf.atanh(_INSIDE * pictures)
        planes = tf.einsum("bhwd,cd->bchw", flat, tf.linalg.inv(colors))
        spectrum = tf.signal.rfft2d(planes)
        return tf.stack([tf.math.real(spectrum) / scale, tf.math.imag(spectrum) / scale], axis=-1)

    pixels, numbers = tf.TensorSpec([None, None, None, 3], dtype), tf.TensorSpec([None, 3, None, None, 2], dtype)
    scale, width = tf.TensorSpec([None, None], dtype), tf.TensorSpec([], tf.int32)
    return (
        tf.function(images, input_signature=[numbers, scale, width], autograph=False),
        tf.function(backpropagate, input_signature=[numbers, pixels, scale, width], autograph=False),
        tf.function(coefficients, input_signature=[pixels, scale], autograph=False),
    )
