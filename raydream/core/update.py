"""The step of gradient ascent: turns a gradient into an update of the images, separately for each image."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from raydream.types import StepRule, Tensor


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


def direction(gradient: Tensor, rule: StepRule, smoothing: float, chroma: float, progress: Tensor | float) -> Tensor:
    """The direction of a step of unit size: the gradient with its colour scaled, blurred, and normalised.

    Args:
        gradient: (batch, height, width, 3).
        rule: see `normalize`.
        smoothing: blur in pixels; sigma grows within an octave as 0.5 + smoothing * progress; 0 for no blur.
        chroma: see `tint`.
        progress: (step + 1) / steps of the octave.
    """
    if chroma != 1.0:
        gradient = tint(gradient, chroma)
    if smoothing:
        gradient = smooth(gradient, 0.5 + smoothing * progress)
    return normalize(gradient, rule)


@lru_cache(maxsize=8)
def update(rule: StepRule, smoothing: float, chroma: float, dtype: str) -> Callable[..., Tensor]:
    """The traced update of a recipe: (images, gradient, step size, progress) -> images, clipped to [-1, 1]."""
    import tensorflow as tf

    def updated(images: Tensor, gradient: Tensor, step_size: Tensor, progress: Tensor) -> Tensor:
        step = step_size * direction(gradient, rule, smoothing, chroma, progress)
        return tf.clip_by_value(images + step, -1.0, 1.0)

    batch, number = tf.TensorSpec([None, None, None, 3], dtype), tf.TensorSpec([], dtype)
    signature = [batch, batch, number, number]
    return tf.function(updated, input_signature=signature, autograph=False)
