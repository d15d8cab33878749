"""The step of gradient ascent: turns a gradient into an update of the images, separately for each image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from raydream.types import Keep, StepRule, Tensor

# The kernel of the Laplacian pyramid (Burt & Adelson, 1983).
_BINOMIAL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256.0
Numbers = tuple[Tensor, Tensor]  # step size, progress
_LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue in the brightness (ITU-R BT.601)


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """What is done to a gradient before a step, and to the image after it; see `Recipe` for the attributes."""

    rule: StepRule = "std"
    bands: tuple[float, ...] = ()
    smoothing: float = 0.0
    chroma: float = 1.0
    keep: Keep = "none"
    masked: bool = False


def normalize(gradient: Tensor, rule: StepRule) -> Tensor:
    """Divides each gradient (batch, height, width, 3) by its size.

    `std` divides by the standard deviation (as in the seed project), `mean_abs` by the mean of the absolute values
    (Mordvintsev et al., 2015). No epsilon is added: the gradient of a mean is smaller for larger images, so an epsilon
    would weaken their dreams. A gradient of zeros stays zero.
    """
    import tensorflow as tf

    if rule == "mean_abs":
        size = tf.reduce_mean(tf.abs(gradient), axis=(1, 2, 3), keepdims=True)
    else:
        size = tf.math.reduce_std(gradient, axis=(1, 2, 3), keepdims=True)
    return tf.math.divide_no_nan(gradient, size)


def equalize(gradient: Tensor, bands: tuple[float, ...]) -> Tensor:
    """Divides each frequency band of the gradient by its root mean square, and multiplies it by its gain.

    The bands are those of a Laplacian pyramid (Mordvintsev's TensorFlow example, 2015). Then features of all sizes grow
    at the same rate, instead of mostly the finest.

    Args:
        gradient: (batch, height, width, 3).
        bands: the gains, finest band first; the last one is for everything coarser than the other bands.
    """
    import tensorflow as tf

    shape = tf.shape(gradient)
    planes = tf.reshape(tf.transpose(gradient, (0, 3, 1, 2)), (-1, shape[1], shape[2], 1))
    kernel = tf.constant(_BINOMIAL[:, :, None, None], gradient.dtype)
    parts = []
    for _ in bands[1:]:
        coarse = tf.nn.conv2d(planes, kernel, 2, "SAME")
        parts.append(planes - tf.nn.conv2d_transpose(coarse, 4.0 * kernel, tf.shape(planes), 2))
        planes = coarse
    parts.append(planes)
    parts = [gain * _unit(part, shape[3]) for gain, part in zip(bands, parts, strict=True)]
    whole = parts.pop()
    while parts:
        finer = parts.pop()
        whole = finer + tf.nn.conv2d_transpose(whole, 4.0 * kernel, tf.shape(finer), 2)
    return tf.transpose(tf.reshape(whole, (shape[0], shape[3], shape[1], shape[2])), (0, 2, 3, 1))


def _unit(planes: Tensor, channels: Tensor) -> Tensor:
    """Planes (batch * channels, rows, columns, 1), divided by the root mean square of each image's planes."""
    import tensorflow as tf

    shape = tf.shape(planes)
    images = tf.reshape(planes, (-1, channels, shape[1], shape[2]))
    size = tf.sqrt(tf.reduce_mean(tf.square(images), axis=(1, 2, 3), keepdims=True))
    return tf.reshape(tf.math.divide_no_nan(images, size), shape)


def smooth(gradient: Tensor, sigma: Tensor | float) -> Tensor:
    """Mean of three Gaussian blurs, of sigma / 2, sigma and 2 sigma pixels (Hvass Pedersen, 2016).

    The kernel extends to 3 sigma. (The common version is 9 x 9, which truncates the widest Gaussian.)
    """
    return (blur(gradient, sigma / 2) + blur(gradient, sigma) + blur(gradient, sigma * 2)) / 3.0


def blur(images: Tensor, sigma: Tensor | float) -> Tensor:
    """Gaussian blur of (batch, height, width, channels); `sigma` in pixels; edges are mirrored."""
    import tensorflow as tf

    sigma = tf.convert_to_tensor(sigma, images.dtype)
    shape = tf.shape(images)
    largest = tf.minimum(shape[1], shape[2]) - 1  # limit of mirrored edges
    radius = tf.minimum(tf.cast(tf.math.ceil(3.0 * sigma), tf.int32), largest)
    offsets = tf.cast(tf.range(-radius, radius + 1), images.dtype)
    kernel = tf.exp(-0.5 * tf.square(offsets / sigma))
    kernel = kernel / tf.reduce_sum(kernel)
    padding = [[0, 0], [radius, radius], [radius, radius], [0, 0]]
    channels = tf.transpose(tf.pad(images, padding, "REFLECT"), (0, 3, 1, 2))
    channels = tf.reshape(channels, (-1, shape[1] + 2 * radius, shape[2] + 2 * radius, 1))
    channels = tf.nn.conv2d(channels, kernel[:, None, None, None], 1, "VALID")
    channels = tf.nn.conv2d(channels, kernel[None, :, None, None], 1, "VALID")
    channels = tf.reshape(channels, (shape[0], shape[3], shape[1], shape[2]))
    return tf.transpose(channels, (0, 2, 3, 1))


def tint(gradient: Tensor, chroma: float) -> Tensor:
    """Scales the colour of the gradient by `chroma`: 1 keeps it; 0 removes it, so the image keeps its own colours."""
    import tensorflow as tf

    grey = tf.reduce_mean(gradient, axis=-1, keepdims=True)
    return grey + chroma * (gradient - grey)


def direction(gradient: Tensor, conditioning: Conditioning, progress: Tensor | float) -> Tensor:
    """The direction of a step of unit size: the gradient with its colour scaled, blurred, and normalised.

    Args:
        gradient: (batch, height, width, 3).
        conditioning: what to do; the blur grows within an octave as 0.5 + smoothing * progress pixels.
        progress: (step + 1) / steps of the octave.
    """
    if conditioning.chroma != 1.0:
        gradient = tint(gradient, conditioning.chroma)
    if conditioning.smoothing:
        gradient = smooth(gradient, 0.5 + conditioning.smoothing * progress)
    if conditioning.bands:
        gradient = equalize(gradient, conditioning.bands)
    return normalize(gradient, conditioning.rule)


def kept(images: Tensor, source: Tensor, keep: Keep) -> Tensor:
    """The images with the `color` or the `brightness` of the photographs; the rest stays their own."""
    import tensorflow as tf

    luma = tf.constant(_LUMA, images.dtype)
    brighter = tf.reduce_sum((images - source) * luma, axis=-1, keepdims=True)
    return source + brighter if keep == "color" else images - brighter


@lru_cache(maxsize=8)
def update(conditioning: Conditioning, dtype: str) -> Callable[..., Tensor]:
    """The traced update: (images, gradient, (step size, progress), mask, source) -> images, clipped to [-1, 1].

    `mask` (1, height, width, 1) is where images may change, and `source` are the photographs; both are only read if the
    conditioning needs them.
    """
    import tensorflow as tf

    def updated(images: Tensor, gradient: Tensor, numbers: Numbers, mask: Tensor, source: Tensor) -> Tensor:
        step_size, progress = numbers
        step = step_size * direction(gradient, conditioning, progress)
        if conditioning.masked:
            step = mask * step
        images = images + step
        if conditioning.keep != "none":
            images = kept(images, source, conditioning.keep)
        return tf.clip_by_value(images, -1.0, 1.0)

    return tf.function(updated, input_signature=_signature(dtype), autograph=False)


def _signature(dtype: str) -> list[Any]:
    import tensorflow as tf

    batch, number = tf.TensorSpec([None, None, None, 3], dtype), tf.TensorSpec([], dtype)
    return [batch, batch, (number, number), tf.TensorSpec([None, None, None, 1], dtype), batch]


@lru_cache(maxsize=8)
def conditioned(conditioning: Conditioning, dtype: str) -> Callable[..., Tensor]:
    """The traced `direction`: (gradient, progress) -> direction."""
    import tensorflow as tf

    signature = [tf.TensorSpec([None, None, None, 3], dtype), tf.TensorSpec([], dtype)]
    return tf.function(
        lambda gradient, progress: direction(gradient, conditioning, progress),
        input_signature=signature,
        autograph=False,
    )


class Adam:
    """Adam (Kingma & Ba, 2015) for maximising; it takes tensors of any shape."""

    def __init__(self, rate: float) -> None:
        self._rate, self._count = rate, 0
        self._moments: tuple[Tensor, Tensor] | None = None

    def __call__(self, values: Tensor, gradient: Tensor) -> Tensor:
        """The values after one step."""
        import tensorflow as tf

        first, second = self._moments or (tf.zeros_like(gradient), tf.zeros_like(gradient))
        self._count += 1
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * tf.square(gradient)
        self._moments = first, second
        unbiased = first / (1.0 - 0.9**self._count), second / (1.0 - 0.999**self._count)
        return values + self._rate * unbiased[0] / (tf.sqrt(unbiased[1]) + 1e-8)
