"""What the objective must know about an octave besides its image: weights, guides, masks, the photographs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from raydream.core import masks, pyramid
from raydream.core.networks.backbones import Backbone
from raydream.core.objectives import Difference, Neuron, Objective, Style, Term
from raydream.errors import UsageError
from raydream.types import FeatureMap, Image, Size, Tensor

_GUIDE = 224  # short side of a guide image in pixels: small enough that its features are those of whole things
_NOISE = 0.02  # standard deviation of the noise on the photograph for `Difference`, in units of the range [-1, 1]


@dataclass(frozen=True, eq=False)
class Pictures:
    """The images that a recipe names: guides, styles and masks, each (height, width, 3) in [-1, 1]."""

    images: Mapping[str, Image] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Image:
        if name not in self.images:
            raise UsageError(f"picture {name!r} of the objective is not loaded: see assets.pictures")
        return self.images[name]


NO_PICTURES = Pictures()


@dataclass(frozen=True, eq=False)
class Context:
    """What the terms of an objective read of an octave, besides its image.

    Attributes:
        weights: (batch or 1, terms).
        constants: of each term; see `Term.constants`.
        masks: (1 or batch, height, width, masked terms) in [0, 1]; None without masks.
        source: the photographs (batch, height, width, 3) at the octave's size; None if no term needs them.
    """

    weights: Tensor
    constants: tuple[tuple[Tensor, ...], ...]
    masks: Tensor | None = None
    source: Tensor | None = None


def plain(objective: Objective, dtype: str) -> Context:
    """The context of an objective that only needs its weights."""
    return Context(_weights(objective, dtype), tuple(() for _ in objective.terms))


def is_plain(objective: Objective) -> bool:
    """Whether an objective only needs its weights."""
    return not any(_needs_more(term) for term in objective.terms)


def _needs_more(term: Term) -> bool:
    own = type(term).constants is not Term.constants
    return own or term.masked or term.needs_source


def of_octave(source: Tensor, size: Size, objective: Objective, backbone: Backbone, pictures: Pictures) -> Context:
    """The context of an octave.

    Args:
        source: the photographs (batch, height, width, 3), of any size.
        size: (height, width) of the octave.
        objective: the objective, resolved.
        backbone: the network, cut at the objective's layers.
        pictures: the images that the objective names.

    Raises:
        UsageError: an image is missing, or a mask has another shape than the photograph.
    """
    if is_plain(objective):
        return plain(objective, backbone.dtype)
    small = pyramid.resize(source, size)
    means = _means(small, objective, backbone)
    return Context(
        _weights(objective, backbone.dtype),
        tuple(_constants(term, size, means, backbone, pictures) for term in objective.terms),
        _masks(objective, size, backbone, pictures),
        _noisy(small, objective) if any(term.needs_source for term in objective.terms) else None,
    )


def _weights(objective: Objective, dtype: str) -> Tensor:
    import tensorflow as tf

    return tf.constant([[term.weight for term in objective.terms]], dtype)


def _noisy(source: Tensor, objective: Objective) -> Tensor:
    import tensorflow as tf

    if not any(isinstance(term, Difference) for term in objective.terms):
        return source
    noise = np.random.default_rng(0).normal(0.0, _NOISE, source.shape[1:])
    return source + tf.constant(noise, source.dtype)


def _means(source: Tensor, objective: Objective, backbone: Backbone) -> dict[str, FeatureMap]:
    """Layer -> the photographs' channel means (batch, channels), for the layers that need them."""
    wanted = {term.layer for term in objective.features if term.needs_means}
    maps = _activations(backbone, source) if wanted else []
    return {
        layer: np.asarray(feature_map).mean(axis=(1, 2))
        for layer, feature_map in zip(backbone.layers, maps, strict=False)
        if layer in wanted
    }


def _constants(
    term: Term, size: Size, means: Mapping[str, FeatureMap], backbone: Backbone, pictures: Pictures
) -> tuple[Tensor, ...]:
    import tensorflow as tf

    if term.on_pixels:
        return ()
    side = min(size) if isinstance(term, Style) else _GUIDE
    maps = [_maps(backbone, pictures, name, side)[backbone.layers.index(term.layer)] for name in term.pictures]
    found = term.constants(maps, means.get(term.layer), backbone.channels(term.layer))
    return tuple(tf.constant(array, backbone.dtype) for array in found)


@lru_cache(maxsize=32)
def _maps(backbone: Backbone, pictures: Pictures, name: str, side: int) -> list[FeatureMap]:
    """The activations (rows, columns, channels) of an image with this short side, for each layer."""
    import tensorflow as tf

    image = pictures[name]
    height, width = image.shape[:2]
    scale = side / min(height, width)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    small = tf.clip_by_value(pyramid.resize(tf.constant(image[None], backbone.dtype), size), -1.0, 1.0)
    if not all(min(axis.positions(n)) for axis, n in zip(backbone.axes, size, strict=True)):
        raise UsageError(f"{name}: an image of {size[1]}x{size[0]} pixels is too small for {backbone.name}")
    return [np.asarray(feature_map)[0] for feature_map in _activations(backbone, small)]


def _activations(backbone: Backbone, images: Tensor) -> list[Tensor]:
    return _traced(backbone)(images)


@lru_cache(maxsize=8)
def _traced(backbone: Backbone) -> Callable[[Tensor], list[Tensor]]:
    import tensorflow as tf

    signature = [tf.TensorSpec([None, None, None, 3], backbone.dtype)]
    return tf.function(backbone.activations, input_signature=signature, autograph=False)


def _masks(objective: Objective, size: Size, backbone: Backbone, pictures: Pictures) -> Tensor | None:
    import tensorflow as tf

    found = [_mask(term, size, backbone, pictures) for term in objective.terms if term.masked]
    return tf.constant(np.stack(found, axis=-1)[None], backbone.dtype) if found else None


def _mask(term: Term, size: Size, backbone: Backbone, pictures: Pictures) -> FeatureMap:
    if isinstance(term, Neuron):
        at = backbone.layers.index(term.layer)
        strides = [axis.fields()[at].stride for axis in backbone.axes]
        return masks.square(size, term.position, (strides[0], strides[1]))
    return masks.mask(str(term.mask), size, pictures.images)


def totals(objective: Objective, context: Context, positions: Mapping[str, int]) -> Sequence[float]:
    """For each term with a layer, the number of its positions; with a mask, about the sum of the mask's values."""
    shares = iter([] if context.masks is None else np.asarray(context.masks).mean(axis=(0, 1, 2)).tolist())
    found = []
    for term in objective.terms:
        share = next(shares) if term.masked else 1.0
        if not term.on_pixels:
            found.append(max(share * positions[term.layer], 1.0) if term.masked else float(positions[term.layer]))
    return found
