"""What is done to a gradient before it becomes a step: colour, smoothing, normalisation. All act per image."""

from __future__ import annotations

from typing import Any

from raydream.types import StepRule


def normalize(gradient: Any, rule: StepRule) -> Any:
    """Divides each gradient (batch, height, width, 3) by its size.

    `std` divides by the standard deviation (the seed project's rule), `mean_abs` by the mean of the absolute values
    (Mordvintsev et al., 2015). No epsilon is added: the mean objective's gradient shrinks with the image, and an
    epsilon would make large images dream less. A gradient of zeros stays zeros.
    """
    import tensorflow as tf

    if rule == "mean_abs":
        size = tf.reduce_mean(tf.abs(gradient), axis=(1, 2, 3), keepdims=True)
    else:
        size = tf.math.reduce_std(gradient, axis=(1, 2, 3), keepdims=True)
    return tf.math.divide_no_nan(gradient, size)


def smooth(gradient: Any, sigma: Any) -> Any:
    """Mean of three Gaussian blurs, of sigma / 2, sigma and 2 sigma pixels (Hvass Pedersen, 2016).

    Unlike the widespread 9 x 9 version the kernel reaches 3 sigma, so the widest Gaussian is not cut off.
    """
    return (blur(gradient, sigma / 2) + blur(gradient, sigma) + blur(gradient, sigma * 2)) / 3.0


def blur(images: Any, sigma: Any) -> Any:
    """Gaussian blur of (batch, height, width, channels); `sigma` in pixels; edges are mirrored."""
    import tensorflow as tf

    sigma = tf.convert_to_tensor(sigma, images.dtype)
    shape = tf.shape(images)
    room = tf.minimum(shape[1], shape[2]) - 1
    radius = tf.minimum(tf.cast(tf.math.ceil(3.0 * sigma), tf.int32), room)
    offsets = tf.cast(tf.range(-radius, radius + 1), images.dtype)
    kernel = tf.exp(-0.5 * tf.square(offsets / sigma))
    kernel = kernel / tf.reduce_sum(kernel)
    padding = [[0, 0], [radius, radius], [radius, radius], [0, 0]]
    planes = tf.transpose(tf.pad(images, padding, "REFLECT"), (0, 3, 1, 2))
    rows, columns = shape[1] + 2 * radius, shape[2] + 2 * radius
    planes = tf.reshape(planes, (-1, rows, columns, 1))
    planes = tf.nn.conv2d(planes, kernel[:, None, None, None], 1, "VALID")
    planes = tf.nn.conv2d(planes, kernel[None, :, None, None], 1, "VALID")
    planes = tf.reshape(planes, (shape[0], shape[3], shape[1], shape[2]))
    return tf.transpose(planes, (0, 2, 3, 1))


def tint(gradient: Any, chroma: float) -> Any:
    """Keeps `chroma` of the gradient's colour: 1 all of it, 0 none, so that the photograph keeps its own colours."""
    import tensorflow as tf

    grey = tf.reduce_mean(gradient, axis=-1, keepdims=True)
    return grey + chroma * (gradient - grey)


def condition(gradient: Any, rule: StepRule, smoothing: float, chroma: float, progress: Any) -> Any:
    """The gradient as a step of unit size.

    Args:
        gradient: (batch, height, width, 3).
        rule: see `normalize`.
        smoothing: widest sigma in pixels; the blur grows within an octave as 0.5 + smoothing * progress, sharp
            first, smooth last; 0 for none.
        chroma: see `tint`.
        progress: (step + 1) / steps of the octave.
    """
    if chroma != 1.0:
        gradient = tint(gradient, chroma)
    if smoothing:
        gradient = smooth(gradient, 0.5 + smoothing * progress)
    return normalize(gradient, rule)
