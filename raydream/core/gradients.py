"""The objective and its gradient with respect to the pixels, tile by tile.

If the objective is linear in its statistics, or there is only one tile, one pass over the tiles is enough. Otherwise a
first pass sums the statistics of all tiles. A second one backpropagates the objective's gradient at these sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from raydream.core import context as contexts
from raydream.core import masks, tiles
from raydream.core.context import Context
from raydream.core.memory import tensor_of
from raydream.core.networks.backbones import Backbone
from raydream.core.objectives import Mean, Objective, Reading
from raydream.core.tiles import Tile
from raydream.errors import UsageError
from raydream.recipe import Recipe
from raydream.types import Images, Tensor

View = tuple[Tensor, Any, Tensor, Tensor]  # a tile: pixels, crops, the photographs' pixels there, masks there


class Traced(NamedTuple):
    """Functions of an objective on a backbone. One trace of each works for all image sizes, weights, guides and masks.

    Arguments: a `View` of a tile; the constants of the terms; `totals`, the number of positions of each term over the
    whole octave; `weights` (batch or 1, terms). A view's crops are the positions of each layer that count (see
    `tiles.Tile.crops`).

    Attributes:
        statistics: (view, constants) -> the statistics of each term.
        value: (statistics, totals, weights, constants) -> the objective (batch,).
        slopes: (statistics, totals, weights, constants) -> the objective's gradient with respect to the statistics.
        gradient: (view, constants, totals, weights) -> the gradient of the tile's share of the objective with respect
            to the tile's pixels, and the share; only for one tile, or for a linear objective.
        backpropagated: (view, constants, slopes) -> the gradient with respect to the tile's pixels, from these slopes.
        penalty: (images, source, masks, weights) -> the gradient and the value of the terms on pixels.
    """

    statistics: Callable[..., list[Tensor]]
    value: Callable[..., Tensor]
    slopes: Callable[..., list[Tensor]]
    gradient: Callable[..., tuple[Tensor, Tensor]]
    backpropagated: Callable[..., Tensor]
    penalty: Callable[..., tuple[Tensor, Tensor]]


def traced(backbone: Backbone, objective: Objective, context: Context) -> Traced:
    """The functions of an objective; raises a `UsageError` if it is not resolved."""
    for term in objective.terms:
        if isinstance(term, Mean) and not term.layer:
            raise UsageError(
                f"class {term.class_name!r} has no channel yet: use the recipe that assets.resolve returns"
            )
    ranks = tuple(tuple(len(array.shape) for array in arrays) for arrays in context.constants)
    return _traced(backbone, objective.shape, ranks)


def forget() -> None:
    """Drops all traced functions, and with them the backbones that they hold; see `octave.forget`."""
    _traced.cache_clear()


@lru_cache(maxsize=8)
def _traced(backbone: Backbone, objective: Objective, ranks: tuple[tuple[int, ...], ...]) -> Traced:
    import tensorflow as tf

    pixels, numbers = tf.TensorSpec([None, None, None, 3], backbone.dtype), partial(tf.TensorSpec, dtype=backbone.dtype)
    view = (pixels, tf.TensorSpec([len(backbone.layers), 4], tf.int32), pixels, numbers([None] * 4))
    constants = tuple(tuple(numbers([None] * rank) for rank in term) for term in ranks)
    totals, weights = numbers([len(objective.features)]), numbers([None, len(objective.terms)])
    statistics = [numbers([None, *term.statistics_shape(backbone.channels(term.layer))]) for term in objective.features]
    functions = _Functions(backbone, objective)

    def trace(function: Callable[..., Any], *signature: Any) -> Callable[..., Any]:
        return tf.function(function, input_signature=signature, autograph=False)

    return Traced(
        trace(functions.statistics, view, constants),
        trace(functions.value, statistics, totals, weights, constants),
        trace(functions.slopes, statistics, totals, weights, constants),
        trace(functions.gradient, view, constants, totals, weights),
        trace(functions.backpropagated, view, constants, statistics),
        trace(functions.penalty, pixels, pixels, numbers([None] * 4), weights),
    )


class _Functions:
    """The functions of `Traced` before they are traced."""

    def __init__(self, backbone: Backbone, objective: Objective) -> None:
        self._backbone = backbone
        numbered = list(enumerate(objective.terms))
        self._features = [(number, term) for number, term in numbered if not term.on_pixels]
        self._penalties = [(number, term) for number, term in numbered if term.on_pixels]
        masked = [number for number, term in numbered if term.masked]
        self._mask = {number: place for place, number in enumerate(masked)}  # term -> mask

    def statistics(self, view: View, constants: Any) -> list[Tensor]:
        tile, crops, source, masks_here = view
        maps = self._backbone.activations(tile)
        needed = any(term.needs_source for _, term in self._features)
        sources = self._backbone.activations(source) if needed else None
        found = []
        for number, term in self._features:
            at = self._backbone.layers.index(term.layer)
            crop = partial(_cropped, crops=crops[at])
            mask = self._mask_at(at, maps[at], masks_here[..., self._mask[number]]) if term.masked else None
            reading = Reading(
                crop(maps[at]),
                crop(sources[at]) if sources and term.needs_source else None,
                None if mask is None else crop(mask),
                constants[number],
            )
            found.append(term.statistics(reading))
        return found

    def _mask_at(self, layer: int, feature_map: Tensor, mask: Tensor) -> Tensor:
        import tensorflow as tf

        fields = [axis.fields()[layer] for axis in self._backbone.axes]
        strides = (fields[0].stride, fields[1].stride)
        middles = ((fields[0].first + fields[0].last) // 2, (fields[1].first + fields[1].last) // 2)
        return masks.at_positions(mask[..., None], tf.shape(feature_map)[1:3], strides, middles)[..., 0]

    def value(self, statistics: Sequence[Tensor], totals: Tensor, weights: Tensor, constants: Any) -> Tensor:
        values = []
        for place, (number, term) in enumerate(self._features):
            values.append(weights[:, number] * term.value(statistics[place], totals[place], constants[number]))
        return sum(values[1:], start=values[0])

    def slopes(self, statistics: Sequence[Tensor], totals: Tensor, weights: Tensor, constants: Any) -> list[Tensor]:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(statistics)
            value = self.value(statistics, totals, weights, constants)
        return tape.gradient(value, statistics)

    def gradient(self, view: View, constants: Any, totals: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(view[0])
            share = self.value(self.statistics(view, constants), totals, weights, constants)
        return tape.gradient(share, view[0]), share

    def backpropagated(self, view: View, constants: Any, slopes: Sequence[Tensor]) -> Tensor:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(view[0])
            statistics = self.statistics(view, constants)
        return tape.gradient(statistics, view[0], output_gradients=slopes)

    def penalty(self, images: Tensor, source: Tensor, masks_here: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        import tensorflow as tf

        positions = tf.cast(tf.shape(images)[1] * tf.shape(images)[2], images.dtype)
        with tf.GradientTape() as tape:
            tape.watch(images)
            values = [tf.zeros(tf.shape(images)[:1], images.dtype)]
            for number, term in self._penalties:
                mask = masks_here[..., self._mask[number]] if term.masked else None
                statistics = term.statistics(Reading(images, source, mask))
                values.append(weights[:, number] * term.value(statistics, positions, ()))
            value = sum(values[1:], start=values[0])
        return tape.gradient(value, images, unconnected_gradients="zero"), value


def _cropped(feature_map: Tensor, crops: Tensor) -> Tensor:
    return feature_map[:, crops[0] : crops[1], crops[2] : crops[3]]


def gradient_of(
    images: Tensor,
    recipe: Recipe,
    backbone: Backbone,
    shifts: Sequence[tuple[int, int]],
    context: Context | None = None,
) -> tuple[Tensor, Tensor]:
    """The gradient of the objective with respect to images (batch, height, width, 3), and its value (batch,).

    Each image is rolled by its shift (rows, columns) before it is cut into tiles. Its gradient is rolled back.
    `context` is that of the octave; None if the objective only needs its weights.
    """
    context = context or contexts.plain(recipe.objective, backbone.dtype)
    gradient, value = _of_rolled(images, recipe, backbone, shifts, context)
    gradient = tiles.roll(gradient, [(-rows, -columns) for rows, columns in shifts])
    if recipe.objective.penalties:
        penalty = traced(backbone, recipe.objective, context).penalty
        source, masks_here = _or_empty(images, context.source, context.masks)
        more, cost = penalty(images, source, masks_here, context.weights)
        return gradient + more, value + cost
    return gradient, value


def _or_empty(images: Tensor, source: Tensor | None, masks_here: Tensor | None) -> tuple[Tensor, Tensor]:
    """The photographs and masks, or dummies, since a traced function always gets both."""
    import tensorflow as tf

    nothing = tf.zeros([1, 1, 1, 3], images.dtype)
    return nothing if source is None else source, nothing[..., :0] if masks_here is None else masks_here


def _of_rolled(
    images: Tensor, recipe: Recipe, backbone: Backbone, shifts: Sequence[tuple[int, int]], context: Context
) -> tuple[Tensor, Tensor]:
    """Like `gradient_of`, but the gradient is not rolled back, and without penalties."""
    functions = traced(backbone, recipe.objective, context)
    parts, totals = _plan(images, recipe.objective, recipe, backbone, context)
    rolled = _rolled(context, shifts)
    if len(parts) == 1:
        (view,) = _views(tiles.roll(images, shifts), parts, rolled)
        return functions.gradient(view, context.constants, totals, context.weights)
    # A NumPy array, since TensorFlow copies a whole tf.Variable to read a slice or to add to it.
    whole = np.zeros(images.shape, backbone.dtype)
    work = _Tiles(functions, parts, totals, context)
    added = work.one_pass if recipe.objective.linear else work.two_passes
    # The rolled images have no name here, so that they are dropped before the sum is copied; see `memory`.
    value = added(whole, partial(_views, tiles.roll(images, shifts), parts, rolled))
    return tensor_of(whole), value


class _Tiles(NamedTuple):
    """Adds the gradients of the tiles of an octave to an array, each at its window; returns the objective (batch,)."""

    functions: Traced
    parts: Sequence[Tile]
    totals: NDArray[np.float64]
    context: Context

    def one_pass(self, whole: Images, views: Callable[[], Iterator[View]]) -> Tensor:
        """For an objective that is linear in its statistics."""
        shares = []
        for tile, view in zip(self.parts, views(), strict=True):
            gradient, share = self.functions.gradient(view, self.context.constants, self.totals, self.context.weights)
            whole[tile.window] += np.asarray(gradient)
            shares.append(share)
        return sum(shares[1:], start=shares[0])

    def two_passes(self, whole: Images, views: Callable[[], Iterator[View]]) -> Tensor:
        """For any objective."""
        constants = self.context.constants
        statistics = _sums(self.functions.statistics(view, constants) for view in views())
        known = statistics, self.totals, self.context.weights, constants
        slopes = self.functions.slopes(*known)
        for tile, view in zip(self.parts, views(), strict=True):
            whole[tile.window] += np.asarray(self.functions.backpropagated(view, constants, slopes))
        return self.functions.value(*known)


def _plan(
    images: Tensor, objective: Objective, recipe: Recipe, backbone: Backbone, context: Context
) -> tuple[list[Tile], NDArray[np.float64]]:
    """The tiles of an octave, and the number of positions of each term in all of them."""
    parts, counts = tiles.plan(images.shape[1], images.shape[2], recipe.tile, recipe.tiling, backbone)
    positions = dict(zip(backbone.layers, counts, strict=True))
    return parts, np.asarray(contexts.totals(objective, context, positions), backbone.dtype)


def _rolled(context: Context, shifts: Sequence[tuple[int, int]]) -> tuple[Tensor | None, Tensor | None]:
    """The photographs and masks, rolled as the images are."""
    import tensorflow as tf

    source, masks_here = context.source, context.masks
    if source is not None:
        source = tiles.roll(source, shifts)
    if masks_here is not None:
        masks_here = tiles.roll(tf.repeat(masks_here, len(shifts) // masks_here.shape[0], axis=0), shifts)
    return source, masks_here


def _views(images: Tensor, parts: Sequence[Tile], rolled: tuple[Tensor | None, Tensor | None]) -> Iterator[View]:
    source, masks_here = _or_empty(images, *rolled)
    for tile in parts:
        window = tile.window if len(parts) > 1 else ...
        here = source if rolled[0] is None else source[window]
        mask = masks_here if rolled[1] is None else masks_here[window]
        yield images[window] if len(parts) > 1 else images, tile.crops, here, mask


def _sums(found: Iterator[Sequence[Tensor]]) -> list[Tensor]:
    """The sums of the statistics of all tiles."""
    total = list(next(found))
    for statistics in found:
        total = [a + b for a, b in zip(total, statistics, strict=True)]
    return total


def value_of(images: Images, recipe: Recipe, backbone: Backbone, context: Context | None = None) -> NDArray[np.float64]:
    """The objective of each image (batch, height, width, 3), without rolling: (batch,)."""
    images = images.astype(backbone.dtype, copy=False)
    context = context or contexts.plain(recipe.objective, backbone.dtype)
    functions = traced(backbone, recipe.objective, context)
    statistics, totals = statistics_of(images, recipe.objective, recipe, backbone, context)
    value = functions.value(statistics, totals, context.weights, context.constants)
    if recipe.objective.penalties:
        empty = _or_empty(images, context.source, context.masks)
        value += functions.penalty(images, *empty, context.weights)[1]
    return np.asarray(value, np.float64)


def values_of(images: Images, recipe: Recipe, backbone: Backbone, context: Context) -> Tensor:
    """The value of each term without its weight, for each image: (batch, terms); 1 for terms on pixels."""
    import tensorflow as tf

    statistics, totals = statistics_of(images, recipe.objective, recipe, backbone, context)
    value, count = traced(backbone, recipe.objective, context).value, len(recipe.objective.terms)
    found = []
    for number, term in enumerate(recipe.objective.terms):
        only = tf.one_hot([number], count, dtype=backbone.dtype)
        one = tf.ones(len(images), backbone.dtype)
        found.append(one if term.on_pixels else value(statistics, totals, only, context.constants))
    return tf.stack(found, axis=1)


def statistics_of(
    images: Tensor, objective: Objective, recipe: Recipe, backbone: Backbone, context: Context
) -> tuple[list[Tensor], NDArray[np.float64]]:
    """The statistics of each term over all tiles of images (batch, height, width, 3), and the totals.

    The objective can differ from the recipe's, but must have the same layers. The tiles are those of the recipe.
    """
    functions = traced(backbone, objective, context)
    parts, totals = _plan(images, objective, recipe, backbone, context)
    views = _views(images, parts, _rolled(context, [(0, 0)] * images.shape[0]))
    return _sums(functions.statistics(view, context.constants) for view in views), totals
