"""Compares two sets of images, such as those of a GAN and real dreams, by their features in a trained network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raydream.core.networks.backbones import Backbone
from raydream.types import Images

Features = NDArray[np.float64]  # (images, channels)

_SIDE = 128  # pixels: smaller images are enlarged, since deep layers need some pixels
_BATCH = 32  # images
_NEIGHBOURS = 5  # as in the paper on density and coverage
_NEAR = 0.75  # of the usual distance to the nearest image


class Extractor:
    """Features of images (images, channels): the means of the layers of a backbone over all positions."""

    def __init__(self, backbone: Backbone) -> None:
        import tensorflow as tf

        def pooled(images: Any) -> Any:
            side = images.shape[1]
            if side < _SIDE:
                images = tf.image.resize(images, (_SIDE, _SIDE))
            return tf.concat([tf.reduce_mean(each, (1, 2)) for each in backbone.activations(images)], axis=1)

        self._pooled = tf.function(pooled, autograph=False)

    def __call__(self, images: Images) -> Features:
        """The features of images (n, side, side, 3) in [-1, 1]; smaller ones are enlarged to 128 pixels."""
        parts = (images[start : start + _BATCH] for start in range(0, len(images), _BATCH))
        return np.concatenate([np.asarray(self._pooled(part), np.float64) for part in parts])


def kid(made: Features, real: Features) -> float:
    """The kernel Inception distance of two sets (Bińkowski et al., "Demystifying MMD GANs", 2018): 0 if they are alike.

    It is the unbiased squared maximum mean discrepancy with the kernel (x·y / channels + 1)³, so it can be slightly
    negative. It depends on the features, so it cannot be compared with the values of papers.

    Raises:
        ValueError: a set has fewer than two images.
    """
    n, m = len(made), len(real)
    if min(n, m) < 2:
        raise ValueError("each set must have at least two images")

    def kernel(x: Features, y: Features) -> Features:
        return np.asarray((x @ y.T / x.shape[1] + 1.0) ** 3)

    own, other, between = kernel(made, made), kernel(real, real), kernel(made, real)
    inside = (own.sum() - np.trace(own)) / (n * (n - 1)) + (other.sum() - np.trace(other)) / (m * (m - 1))
    return float(inside - 2.0 * between.mean())


def density_and_coverage(made: Features, real: Features) -> tuple[float, float]:
    """Density and coverage (Naeem et al., "Reliable Fidelity and Diversity Metrics", 2020).

    A ball around each real image reaches to its fifth nearest real neighbour. Density is how many balls a made image
    lies in, divided by 5: near 1 if the sets are alike. Coverage is the share of balls with a made image inside: about
    0.97 if the sets are alike and of the same size.

    Raises:
        ValueError: there are fewer than six real images.
    """
    if len(real) <= _NEIGHBOURS:
        raise ValueError(f"there must be more than {_NEIGHBOURS} real images")
    radius = np.sqrt(np.partition(np.concatenate(list(_squares(real, real))), _NEIGHBOURS, axis=1)[:, _NEIGHBOURS])
    inside = np.sqrt(np.concatenate(list(_squares(made, real)))) <= radius
    return float(inside.sum() / (_NEIGHBOURS * len(made))), float(inside.any(axis=0).mean())


def nearest(images: Features, others: Features) -> NDArray[np.float64]:
    """The distance of each image to the nearest of the others: (n,)."""
    return np.sqrt(np.concatenate([part.min(axis=1) for part in _squares(images, others)]))


def near_copies(made: Features, learnt: Features, held_out: Features) -> float:
    """The share of made images that are near copies of training images.

    The distance of a near copy to its nearest training image is below three quarters of the median of that distance for
    held-out images.
    """
    usual = np.median(nearest(held_out, learnt))
    return float(np.mean(nearest(made, learnt) < _NEAR * usual))


def percentile(values: NDArray[np.floating[Any]], real: NDArray[np.floating[Any]]) -> float:
    """The mean percentile rank of values among the real ones: 50 if both have the same distribution."""
    ordered = np.sort(real)
    ranks = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    return float(100.0 * np.mean(ranks / (2.0 * len(ordered))))


def _squares(x: Features, y: Features, rows: int = 1024) -> Iterator[Features]:
    """Squared distances (rows, m) of some rows of x at a time to all rows of y."""
    norms = np.sum(y**2, axis=1)
    for start in range(0, len(x), rows):
        part = x[start : start + rows]
        yield np.maximum(np.sum(part**2, axis=1)[:, None] + norms - 2.0 * part @ y.T, 0.0)
