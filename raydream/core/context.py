"""What the terms of an objective need besides the image: weights, guides, masks, the photographs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from raydream.core.objectives import Objective, Term
from raydream.errors import UsageError
from raydream.types import Image, Tensor


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
    """What the terms of an objective need for an octave, besides its image.

    Attributes:
        weights: weights of the terms: (batch or 1, terms).
        constants: arrays that each term compares with; see `Term.constants`.
        masks: (1 or batch, height, width, masked terms) in [0, 1]; None without masks.
        source: the photographs (batch, height, width, 3) at the octave's size; None if no term needs them.
    """

    weights: Tensor
    constants: tuple[tuple[Tensor, ...], ...]
    masks: Tensor | None = None
    source: Tensor | None = None


def plain(objective: Objective, dtype: str) -> Context:
    """The context of an objective that only needs its weights."""
    return Context(weights(objective, dtype), tuple(() for _ in objective.terms))


def is_plain(objective: Objective) -> bool:
    """Whether an objective only needs its weights."""
    return not any(_needs_more(term) for term in objective.terms)


def _needs_more(term: Term) -> bool:
    own = type(term).constants is not Term.constants
    return own or term.masked or term.needs_source


def weights(objective: Objective, dtype: str) -> Tensor:
    """The weights of the terms: (1, terms)."""
    import tensorflow as tf

    return tf.constant([[term.weight for term in objective.terms]], dtype)


def totals(objective: Objective, context: Context, positions: Mapping[str, int]) -> Sequence[float]:
    """For each term with a layer, the number of its positions; with a mask, about the sum of the mask's values."""
    shares = iter([] if context.masks is None else np.asarray(context.masks).mean(axis=(0, 1, 2)).tolist())
    found = []
    for term in objective.terms:
        share = next(shares) if term.masked else 1.0
        if not term.on_pixels:
            found.append(max(share * positions[term.layer], 1.0) if term.masked else float(positions[term.layer]))
    return found
