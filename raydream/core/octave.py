"""Makes the context of an octave: guides, styles, masks and photographs, at the octave's size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np

from raydream.core import context as contexts
from raydream.core import gradients, masks, pyramid
from raydream.core.context import Context, Pictures
from raydream.core.networks.backbones import Backbone
from raydream.core.objectives import Difference, Neuron, Objective, Term
from raydream.errors import UsageError
from raydream.recipe import Recipe
from raydream.types import FeatureMap, Size, Tensor

_GUIDE_SIDE = 224  # short side of a guide image in pixels: small enough that features show whole objects
_GUIDE_RATIO = 8  # largest long side of a guide, in short sides: a longer one is shrunk, which saves memory
_NOISE = 0.02  # standard deviation of the noise on the photograph for `Difference`, in units of the range [-1, 1]


def context_of(source: Tensor, size: Size, recipe: Recipe, backbone: Backbone, pictures: Pictures) -> Context:
    """The context of an octave.

    Args:
        source: the photographs (batch, height, width, 3), of any size.
        size: (height, width) of the octave.
        recipe: the recipe, resolved.
        backbone: the network, cut at the layers of the recipe's objective.
        pictures: the images that the recipe names.

    Raises:
        UsageError: an image is missing, or a mask has another shape than the photograph.
    """
    objective = recipe.objective
    if contexts.is_plain(objective):
        return contexts.plain(objective, backbone.dtype)
    small = pyramid.resize(source, size)
    return Context(
        contexts.weights(objective, backbone.dtype),
        _constants(small, recipe, backbone, pictures),
        _masks(objective, size, backbone, pictures),
        _noisy(small, objective) if any(term.needs_source for term in objective.terms) else None,
    )


def _noisy(source: Tensor, objective: Objective) -> Tensor:
    import tensorflow as tf

    if not any(isinstance(term, Difference) for term in objective.terms):
        return source
    noise = np.random.default_rng(0).normal(0.0, _NOISE, source.shape[1:])
    return source + tf.constant(noise, source.dtype)


def forget() -> None:
    """Drops everything that is kept for the next octave, and with it the backbones that it holds in memory."""
    for cached in (_measured_picture, _guide_activations, _activations):
        cached.cache_clear()
    gradients.forget()


# ---- constants


def _constants(
    source: Tensor, recipe: Recipe, backbone: Backbone, pictures: Pictures
) -> tuple[tuple[Tensor, ...], ...]:
    """The constants of each term."""
    import tensorflow as tf

    side = min(source.shape[1:3])
    of_source = _measured(source, recipe, backbone) if any(t.of_source for t in recipe.objective.terms) else {}

    def known(term: Term) -> list[FeatureMap]:
        if term.of_source:
            return [of_source[term.measured]]
        if term.measured:
            return [
                _measured_picture(backbone, pictures, name, side, recipe)[term.measured][0] for name in term.pictures
            ]
        return [
            _guide_activations(backbone, pictures, name)[backbone.layers.index(term.layer)] for name in term.pictures
        ]

    found = []
    for term in recipe.objective.terms:
        arrays = () if term.on_pixels else term.constants(known(term), backbone.channels(term.layer))
        found.append(tuple(tf.constant(array, backbone.dtype) for array in arrays))
    return tuple(found)


def _measured(images: Tensor, recipe: Recipe, backbone: Backbone) -> Mapping[Term | None, FeatureMap]:
    """For each `Term.measured`, its statistics on images, divided by the number of positions: (batch, ...)."""
    wanted = dict.fromkeys(term.measured for term in recipe.objective.features if term.measured)
    objective = Objective(tuple(wanted))
    plain = contexts.plain(objective, backbone.dtype)
    statistics, totals = gradients.statistics_of(images, objective, recipe, backbone, plain)
    return {term: np.asarray(s) / total for term, s, total in zip(wanted, statistics, totals, strict=True)}


@lru_cache(maxsize=32)
def _measured_picture(
    backbone: Backbone, pictures: Pictures, name: str, side: int, recipe: Recipe
) -> Mapping[Term | None, FeatureMap]:
    """`_measured` of an image with this short side."""
    return _measured(_resized(backbone, pictures, name, side, np.inf), recipe, backbone)


@lru_cache(maxsize=32)
def _guide_activations(backbone: Backbone, pictures: Pictures, name: str) -> list[FeatureMap]:
    """The activations (rows, columns, channels) of a guide, for each layer."""
    found = _activations(backbone)(_resized(backbone, pictures, name, _GUIDE_SIDE, _GUIDE_RATIO * _GUIDE_SIDE))
    return [np.asarray(feature_map)[0] for feature_map in found]


@lru_cache(maxsize=8)
def _activations(backbone: Backbone) -> Callable[[Tensor], list[Tensor]]:
    import tensorflow as tf

    signature = [tf.TensorSpec([None, None, None, 3], backbone.dtype)]
    return tf.function(backbone.activations, input_signature=signature, autograph=False)


def _resized(backbone: Backbone, pictures: Pictures, name: str, side: int, longest: float) -> Tensor:
    """An image with this short side, but not larger than `longest`: (1, height, width, 3)."""
    import tensorflow as tf

    image = pictures[name]
    height, width = image.shape[:2]
    scale = min(side / min(height, width), longest / max(height, width))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    small = tf.clip_by_value(pyramid.resize(tf.constant(image[None], backbone.dtype), size), -1.0, 1.0)
    if not all(min(axis.positions(n)) for axis, n in zip(backbone.axes, size, strict=True)):
        raise UsageError(f"{name}: an image of {size[1]}x{size[0]} pixels is too small for {backbone.name}")
    return small


# ---- masks


def _masks(objective: Objective, size: Size, backbone: Backbone, pictures: Pictures) -> Tensor | None:
    import tensorflow as tf

    found = [_mask(term, size, backbone, pictures) for term in objective.terms if term.masked]
    return tf.constant(np.stack(found, axis=-1)[None], backbone.dtype) if found else None


def _mask(term: Term, size: Size, backbone: Backbone, pictures: Pictures) -> FeatureMap:
    if isinstance(term, Neuron):
        return _neuron(term, size, backbone)
    return masks.mask(str(term.mask), size, pictures.images)


def _neuron(term: Neuron, size: Size, backbone: Backbone) -> FeatureMap:
    """1 in a square around the position of the layer that is nearest to that of the term, 0 elsewhere."""
    at = backbone.layers.index(term.layer)
    places, strides = [], []
    for place, side, axis in zip(reversed(term.position), size, backbone.axes, strict=True):
        field, count = axis.fields()[at], axis.positions(side)[at]
        first = (field.first + field.last) // 2  # the borders of an image have no positions where nothing is padded
        places.append(min(max(round(place * side), first), first + field.stride * (count - 1)))
        strides.append(field.stride)
    return masks.rectangle(size, (places[0], places[1]), (strides[0], strides[1]))
