"""Objectives and their terms. A term is a sum over positions, so an octave's objective is the sum over its tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from raydream.types import Tensor

Kind = Literal["mean", "l2"]
CLASS_LAYER = "class_logits"  # the layer of a classifier with one channel for each class


@dataclass(frozen=True, kw_only=True)
class Term:
    """One term of an objective: `weight` times the mean of a layer's activations, or of their squares.

    It names a layer or a class. The class of a classifier is one channel of its layer `class_logits`, whose mean is the
    logit of the class. Resolving the recipe fills in this layer and this channel; see `networks.classes`.

    Attributes:
        layer: name of a layer of the backbone; empty for a class until the recipe is resolved.
        kind: `mean` raises weak and strong features equally (the objective of the seed project); `l2`, the mean of the
            squares, favours strong features (Mordvintsev et al., 2015).
        channels: channels of the layer that are used, from 0; None for all.
        weight: factor; a negative one suppresses the features.
        class_name: name of a class, `class` in YAML; None for a layer.
    """

    layer: str = ""
    kind: Kind = "mean"
    channels: tuple[int, ...] | None = None
    weight: float = 1.0
    class_name: str | None = None

    def value(self, activations: Tensor, positions: Tensor | int) -> Tensor:
        """This term's share of an octave's objective, from the activations of one tile.

        Args:
            activations: (batch, rows, columns, channels) of this term's layer.
            positions: number of positions (rows x columns) of the layer over the whole octave.

        Returns:
            Tensor (batch,).
        """
        import tensorflow as tf

        if self.channels is not None:
            activations = tf.gather(activations, self.channels, axis=-1)
        if self.kind == "l2":
            activations = tf.square(activations)
        per_position = tf.reduce_mean(activations, axis=-1)
        total = tf.reduce_sum(per_position, axis=(1, 2))
        return self.weight * total / tf.cast(positions, total.dtype)


@dataclass(frozen=True)
class Objective:
    """A sum of terms. `+` adds objectives, `*` scales them; both return a new objective."""

    terms: tuple[Term, ...] = field(default=())

    def __add__(self, other: Objective) -> Objective:
        return Objective(self.terms + other.terms)

    def __mul__(self, factor: float) -> Objective:
        return Objective(tuple(replace(term, weight=term.weight * factor) for term in self.terms))

    __rmul__ = __mul__

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers of the terms without duplicates, in the order of the terms."""
        return tuple(dict.fromkeys(term.layer for term in self.terms))

    def value(self, activations: Sequence[Tensor], positions: Sequence[Tensor | int]) -> Tensor:
        """Sum of the terms' values; `activations` and `positions` in the order of `layers`. Returns (batch,)."""
        at = {layer: index for index, layer in enumerate(self.layers)}
        values = [t.value(activations[at[t.layer]], positions[at[t.layer]]) for t in self.terms]
        return sum(values[1:], start=values[0])


def mean(layer: str, channels: Sequence[int] | None = None) -> Objective:
    """Mean activation of a layer, or of some of its channels."""
    return Objective((Term(layer=layer, channels=_channels(channels)),))


def l2(layer: str, channels: Sequence[int] | None = None) -> Objective:
    """Mean squared activation of a layer, or of some of its channels."""
    return Objective((Term(layer=layer, kind="l2", channels=_channels(channels)),))


def logit(class_name: str) -> Objective:
    """Logit of a class, for a backbone that is a classifier."""
    return Objective((Term(class_name=class_name),))


def _channels(channels: Sequence[int] | None) -> tuple[int, ...] | None:
    return None if channels is None else tuple(int(c) for c in np.atleast_1d(channels))
