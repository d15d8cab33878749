"""Terms about the pixels: how much neighbours differ, and how far the dream is from the photograph.

They read the whole octave at once, since that costs little beside the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from raydream.core.objectives.terms import Reading, Term, summed
from raydream.types import Tensor


@dataclass(frozen=True, kw_only=True)
class Smoothness(Term):
    """Minus the mean squared difference of neighbouring pixels: a total variation (Rudin et al., 1992), but squared."""

    kind: Literal["smoothness"] = "smoothness"

    on_pixels: ClassVar[bool] = True

    def statistics(self, reading: Reading) -> Tensor:
        """See `Term.statistics`; the activations are the pixels (batch, height, width, 3)."""
        import tensorflow as tf

        image = reading.activations
        down = tf.pad(tf.square(image[:, 1:] - image[:, :-1]), [[0, 0], [0, 1], [0, 0], [0, 0]])
        across = tf.pad(tf.square(image[:, :, 1:] - image[:, :, :-1]), [[0, 0], [0, 0], [0, 1], [0, 0]])
        return -1.0 * summed(tf.reduce_mean(down + across, axis=-1), reading)


@dataclass(frozen=True, kw_only=True)
class Likeness(Term):
    """Minus the mean squared difference from the photograph's pixels: keeps the dream near the photograph."""

    kind: Literal["likeness"] = "likeness"

    on_pixels: ClassVar[bool] = True
    needs_source: ClassVar[bool] = True

    def statistics(self, reading: Reading) -> Tensor:
        """See `Term.statistics`; the activations are the pixels (batch, height, width, 3)."""
        import tensorflow as tf

        change = tf.square(reading.activations - reading.source)  # type: ignore[operator]
        return -1.0 * summed(tf.reduce_mean(change, axis=-1), reading)
