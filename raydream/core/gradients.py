"""The objective and its gradient with respect to the pixels, tile by tile. Dreams use no other gradient tape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from raydream.core import tiles
from raydream.core.memory import tensor_of
from raydream.core.networks.backbones import Backbone
from raydream.core.objectives import Objective
from raydream.core.tiles import Tile
from raydream.errors import UsageError
from raydream.recipe import Recipe
from raydream.types import Images, Tensor


class Traced(NamedTuple):
    """Functions of (tile, crops, totals). One trace of each works for all image and batch sizes.

    `crops` are the positions of each layer that count (see `tiles.Tile.crops`), and `totals` is the number of such
    positions over the whole octave. `value` returns the tile's share of the objective. `gradient` returns the gradient
    of this share with respect to the tile's pixels, and the share.
    """

    value: Callable[..., Tensor]
    gradient: Callable[..., tuple[Tensor, Tensor]]


@lru_cache(maxsize=8)
def traced(backbone: Backbone, objective: Objective) -> Traced:
    """The objective on a backbone, as traced functions of one tile; raises a `UsageError` if it is not resolved."""
    import tensorflow as tf

    for term in objective.terms:
        if not term.layer:
            raise UsageError(
                f"class {term.class_name!r} has no channel yet: use the recipe that assets.resolve returns"
            )
    order = [backbone.layers.index(layer) for layer in objective.layers]

    def value(tile: Tensor, crops: Tensor, totals: Tensor) -> Tensor:
        maps = backbone.activations(tile)
        counted = [maps[i][:, crops[i, 0] : crops[i, 1], crops[i, 2] : crops[i, 3]] for i in order]
        return objective.value(counted, [totals[i] for i in order])

    def gradient(tile: Tensor, crops: Tensor, totals: Tensor) -> tuple[Tensor, Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(tile)
            share = value(tile, crops, totals)
        return tape.gradient(share, tile), share

    signature = [
        tf.TensorSpec([None, None, None, 3], backbone.dtype),
        tf.TensorSpec([len(backbone.layers), 4], tf.int32),
        tf.TensorSpec([len(backbone.layers)], tf.int32),
    ]
    return Traced(
        tf.function(value, input_signature=signature, autograph=False),
        tf.function(gradient, input_signature=signature, autograph=False),
    )


def gradient_of(
    images: Tensor, recipe: Recipe, backbone: Backbone, shifts: Sequence[tuple[int, int]]
) -> tuple[Tensor, Tensor]:
    """The gradient of the objective with respect to images (batch, height, width, 3), and its value (batch,).

    Each image is rolled by its shift (rows, columns) before it is cut into tiles. Its gradient is rolled back.
    """
    gradient, value = _of_rolled(images, recipe, backbone, shifts)
    return tiles.roll(gradient, [(-rows, -columns) for rows, columns in shifts]), value


def _of_rolled(
    images: Tensor, recipe: Recipe, backbone: Backbone, shifts: Sequence[tuple[int, int]]
) -> tuple[Tensor, Tensor]:
    """Like `gradient_of`, but the gradient is not rolled back."""
    gradient_at = traced(backbone, recipe.objective).gradient
    parts, totals = tiles.plan(images.shape[1], images.shape[2], recipe.tile, recipe.tiling, backbone)
    if len(parts) == 1:
        return gradient_at(tiles.roll(images, shifts), parts[0].crops, totals)
    whole, value = _summed(tiles.roll(images, shifts), parts, totals, gradient_at)
    return tensor_of(whole), value


def _summed(
    images: Tensor,
    parts: Sequence[Tile],
    totals: Sequence[int],
    gradient_at: Callable[..., tuple[Tensor, Tensor]],
) -> tuple[Images, Tensor]:
    """The gradients of all tiles, each added at its window, and the sum of their shares of the objective."""
    # A NumPy array, since TensorFlow copies a whole tf.Variable to read a slice or to add to it.
    whole = np.zeros(images.shape, images.dtype.as_numpy_dtype)
    shares = []
    for tile in parts:
        gradient, share = gradient_at(images[tile.window], tile.crops, totals)
        whole[tile.window] += np.asarray(gradient)
        shares.append(share)
    return whole, sum(shares[1:], start=shares[0])


def value_of(images: Images, recipe: Recipe, backbone: Backbone) -> NDArray[np.float64]:
    """The objective of each image (batch, height, width, 3), without rolling: (batch,)."""
    import tensorflow as tf

    value_at = traced(backbone, recipe.objective).value
    parts, totals = tiles.plan(images.shape[1], images.shape[2], recipe.tile, recipe.tiling, backbone)
    windows = (tf.constant(images[tile.window], backbone.dtype) for tile in parts)
    shares = [
        np.asarray(value_at(window, tile.crops, totals), np.float64)
        for window, tile in zip(windows, parts, strict=True)
    ]
    return np.asarray(np.sum(shares, axis=0))
