"""What a dream amplifies: a weighted sum of terms over activations, as plain data.

`mean("mixed3") + 0.5 * l2("mixed5", channels=(7, 12))` is an `Objective`: frozen, hashable, and the same thing in
a recipe's YAML. Terms add up cell by cell, so an octave's objective is the sum of its tiles' parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

Kind = Literal["mean", "l2"]


@dataclass(frozen=True, kw_only=True)
class Term:
    """One summand: `weight` times the mean of an activation plane, or of its squares.

    Attributes:
        layer: name of a layer of the backbone.
        kind: `mean` raises weak and strong features alike (the seed project's objective); `l2`, the mean of the
            squares, makes the strong ones stronger (Mordvintsev et al., 2015).
        channels: channels of the layer to look at; all of them if not given.
        weight: factor; negative to suppress.
    """

    layer: str
    kind: Kind = "mean"
    channels: tuple[int, ...] | None = None
    weight: float = 1.0

    def value(self, activations: Any, cells: Any) -> Any:
        """This term's part for the cells given, of an octave that has `cells` cells in all.

        Args:
            activations: tensor (batch, rows, columns, channels) of this term's layer.
            cells: number of cells (rows x columns) of the whole octave at this layer.

        Returns:
            Tensor (batch,).
        """
        import tensorflow as tf

        if self.channels is not None:
            activations = tf.gather(activations, self.channels, axis=-1)
        if self.kind == "l2":
            activations = tf.square(activations)
        per_cell = tf.reduce_mean(activations, axis=-1)
        return self.weight * tf.reduce_sum(per_cell, axis=(1, 2)) / tf.cast(cells, per_cell.dtype)


@dataclass(frozen=True)
class Objective:
    """A sum of terms. `+` joins objectives, `*` scales them; both give new ones."""

    terms: tuple[Term, ...] = field(default=())

    def __add__(self, other: Objective) -> Objective:
        return Objective(self.terms + other.terms)

    def __mul__(self, factor: float) -> Objective:
        return Objective(tuple(replace(term, weight=term.weight * factor) for term in self.terms))

    __rmul__ = __mul__

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers looked at, each once, in the order of their first term."""
        return tuple(dict.fromkeys(term.layer for term in self.terms))

    def value(self, activations: Sequence[Any], cells: Sequence[Any] | Any) -> Any:
        """Sum of the terms; `activations` and `cells` in the order of `layers`. Returns a tensor (batch,)."""
        at = {layer: index for index, layer in enumerate(self.layers)}
        values = [t.value(activations[at[t.layer]], cells[at[t.layer]]) for t in self.terms]
        return sum(values[1:], start=values[0])


def mean(layer: str, channels: Sequence[int] | None = None) -> Objective:
    """Mean activation of a layer, or of some of its channels."""
    return Objective((Term(layer=layer, channels=_channels(channels)),))


def l2(layer: str, channels: Sequence[int] | None = None) -> Objective:
    """Mean squared activation of a layer, or of some of its channels."""
    return Objective((Term(layer=layer, kind="l2", channels=_channels(channels)),))


def _channels(channels: Sequence[int] | None) -> tuple[int, ...] | None:
    return None if channels is None else tuple(int(c) for c in np.atleast_1d(channels))
