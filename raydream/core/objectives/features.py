"""Terms about the activations of a layer: means, squares, single positions, directions, picked channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from raydream.core.objectives.terms import Objective, Reading, Term, summed
from raydream.types import FeatureMap, Tensor

CLASS_LAYER = "class_logits"  # the layer of a classifier with one channel for each class
Which = Literal["strongest", "middle", "weakest"]


@dataclass(frozen=True, kw_only=True)
class Mean(Term):
    """The mean of a layer's activations (the objective of the seed project): raises weak and strong features equally.

    It names a layer or a class (`class` in YAML). The class of a classifier is one channel of its layer `class_logits`,
    whose mean is the logit of the class. Resolving the recipe fills in this layer and this channel; see
    `networks.classes`.

    Attributes:
        channels: channels of the layer that are used, from 0; None for all.
        class_name: name of a class of the classifier, instead of a layer; None for a layer.
    """

    kind: Literal["mean"] = "mean"
    channels: tuple[int, ...] | None = None
    class_name: str | None = None

    @property
    def problem(self) -> str:
        """See `Term.problem`."""
        if self.class_name is None:
            return "" if self.layer else "layer or class is missing"
        filled_in = self.layer == CLASS_LAYER and len(self.channels or ()) == 1  # in a resolved recipe
        if not self.class_name:
            return "class must not be empty"
        if not (filled_in or (not self.layer and self.channels is None)):
            return f"class {self.class_name!r} decides the layer, channels and kind: leave them out"
        return ""

    def statistics(self, reading: Reading) -> Tensor:
        """See `Term.statistics`."""
        import tensorflow as tf

        return summed(tf.reduce_mean(_chosen(reading.activations, self.channels), axis=-1), reading)


@dataclass(frozen=True, kw_only=True)
class L2(Term):
    """The mean of the squared activations: favours strong features (Mordvintsev et al., 2015).

    Attributes:
        channels: channels of the layer that are used, from 0; None for all.
    """

    kind: Literal["l2"] = "l2"
    channels: tuple[int, ...] | None = None

    def statistics(self, reading: Reading) -> Tensor:
        """See `Term.statistics`."""
        import tensorflow as tf

        squares = tf.square(_chosen(reading.activations, self.channels))
        return summed(tf.reduce_mean(squares, axis=-1), reading)


@dataclass(frozen=True, kw_only=True)
class Neuron(Term):
    """The activation at one position of a layer: a feature at one place of the picture.

    Attributes:
        position: (across, down) from 0 to 1, from the top left corner.
        channels: channels of the layer that are used, from 0; None for all.
    """

    kind: Literal["neuron"] = "neuron"
    position: tuple[float, float] = (0.5, 0.5)
    channels: tuple[int, ...] | None = None

    arguments: ClassVar[tuple[str, ...]] = ("weight", "position")

    @property
    def masked(self) -> bool:
        """Its mask is 1 at the position."""
        return True

    @property
    def problem(self) -> str:
        """See `Term.problem`."""
        if self.mask is not None:
            return "a neuron has a position: leave mask out"
        if not all(0.0 <= place <= 1.0 for place in self.position):
            return f"position must be two numbers from 0 to 1, across and down, not {list(self.position)}"
        return super().problem

    def statistics(self, reading: Reading) -> Tensor:
        """See `Term.statistics`."""
        import tensorflow as tf

        return summed(tf.reduce_mean(_chosen(reading.activations, self.channels), axis=-1), reading)


@dataclass(frozen=True, kw_only=True)
class Direction(Term):
    """How far the activations point in a direction: the mean of (a . v) * max(0.1, cos(a, v)) ** power.

    (`direction` in lucid, the library of Olah et al.)

    Attributes:
        channels: the channels in which v is not zero.
        values: the values of v there; it is scaled to length 1.
        power: 0 for the plain product; higher powers prefer activations that point nowhere else.
    """

    kind: Literal["direction"] = "direction"
    channels: tuple[int, ...] = ()
    values: tuple[float, ...] = ()
    power: float = 1.0

    arguments: ClassVar[tuple[str, ...]] = ("weight", "channels", "values")

    @property
    def problem(self) -> str:
        """See `Term.problem`."""
        if not self.channels or len(self.channels) != len(self.values) or not any(self.values):
            return "a direction needs channels and one value for each; not all values can be 0"
        if not all(map(math.isfinite, self.values)):
            return f"values must be finite numbers, not {list(self.values)}"
        if not 0.0 <= self.power <= 16.0:
            return f"power must be from 0 to 16, not {self.power}"
        return super().problem

    def constants(self, known: Sequence[FeatureMap], channels: int) -> tuple[FeatureMap, ...]:
        """v: (channels,)."""
        vector = np.zeros(channels)
        vector[list(self.channels)] = self.values
        return (vector / np.linalg.norm(vector),)

    def statistics(self, reading: Reading) -> Tensor:
        """See `Term.statistics`."""
        import tensorflow as tf

        (vector,) = reading.constants
        along = tf.tensordot(reading.activations, vector, 1)
        if self.power:
            # The length has a small constant, since the gradient of a length of zero is not a number.
            length = tf.sqrt(tf.reduce_sum(tf.square(reading.activations), axis=-1) + 1e-12)
            along = along * tf.maximum(along / length, 0.1) ** self.power
        return summed(along, reading)


@dataclass(frozen=True, kw_only=True)
class Picked(Term):
    """The mean of some channels, picked by their mean activations on the photograph (ProGamerGov, 2020).

    Attributes:
        which: which channels are picked: the `strongest`, `middle` or `weakest` ones.
        count: number of channels; not more than the layer has.
    """

    kind: Literal["picked"] = "picked"
    which: Which = "strongest"
    count: int = 8

    of_source: ClassVar[bool] = True

    @property
    def problem(self) -> str:
        """See `Term.problem`."""
        return super().problem if self.count >= 1 else f"count must be at least 1, not {self.count}"

    arguments: ClassVar[tuple[str, ...]] = ("weight", "which", "count")

    @property
    def measured(self) -> Term:
        """The channel means."""
        return _ChannelMeans(layer=self.layer)

    def constants(self, known: Sequence[FeatureMap], channels: int) -> tuple[FeatureMap, ...]:
        """The weight of each channel for each photograph: (batch, channels)."""
        (means,) = known
        count = min(self.count, channels)
        start = {"strongest": channels - count, "middle": (channels - count) // 2, "weakest": 0}[self.which]
        shares = np.zeros(means.shape)
        picked = np.argsort(means, axis=1, kind="stable")[:, start : start + count]
        np.put_along_axis(shares, picked, 1.0 / count, axis=1)
        return (shares,)

    def statistics(self, reading: Reading) -> Tensor:
        """See `Term.statistics`."""
        import tensorflow as tf

        (shares,) = reading.constants
        return summed(tf.reduce_sum(reading.activations * shares[:, None, None], axis=-1), reading)


@dataclass(frozen=True, kw_only=True)
class _ChannelMeans(Term):
    """The mean of each channel. It is only measured, since its value is not one number."""

    def statistics_shape(self, channels: int) -> tuple[int, ...]:
        """See `Term.statistics_shape`."""
        return (channels,)

    def statistics(self, reading: Reading) -> Tensor:
        """See `Term.statistics`."""
        import tensorflow as tf

        return tf.reduce_sum(reading.activations, axis=(1, 2))


def _chosen(activations: Tensor, channels: tuple[int, ...] | None) -> Tensor:
    import tensorflow as tf

    return activations if channels is None else tf.gather(activations, channels, axis=-1)


def mean(layer: str, channels: Sequence[int] | None = None) -> Objective:
    """Mean activation of a layer, or of some of its channels."""
    return Objective((Mean(layer=layer, channels=_tuple(channels)),))


def l2(layer: str, channels: Sequence[int] | None = None) -> Objective:
    """Mean squared activation of a layer, or of some of its channels."""
    return Objective((L2(layer=layer, channels=_tuple(channels)),))


def logit(class_name: str) -> Objective:
    """Logit of a class, for a backbone that is a classifier."""
    return Objective((Mean(class_name=class_name),))


def _tuple(channels: Sequence[int] | None) -> tuple[int, ...] | None:
    return None if channels is None else tuple(int(c) for c in np.atleast_1d(channels))
