"""Terms about likeness to other images: guides, styles, and the photograph itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from raydream.core.objectives.terms import Reading, Term, summed
from raydream.types import FeatureMap, Tensor

_CHUNK = 2_000_000  # products that are computed at once, so that memory does not grow with the image


@dataclass(frozen=True, kw_only=True)
class Guide(Term):
    """What the photograph and a guide image have in common.

    Attributes:
        guide: path or URL of the guide image.
        guide_digest: SHA-256 of its file; filled in when a recipe is resolved.
        match: `channels` weights each channel with its mean activation on the guide (the seed project). `positions`
            multiplies the activations at each position with those at the guide's position that gives the largest
            product (Mordvintsev et al., 2015); the guide's are scaled to length 1, so that the position with
            the largest activations does not always win. `mix` also wants the channels in the guide's proportions, so
            channels that the guide lacks stay weak. Its value is (m . g) * max(0.1, cos(m, g)) ** 2, with the channel
            means m of the dream and g of the guide, g of length 1 (like lucid's `direction`, but of the means).
    """

    kind: Literal["guide"] = "guide"
    guide: str = ""
    guide_digest: str | None = None
    match: Literal["channels", "positions", "mix"] = "channels"

    arguments: ClassVar[tuple[str, ...]] = ("weight", "guide", "guide_digest")

    @property
    def pictures(self) -> tuple[str, ...]:
        """The guide."""
        return (self.guide,)

    @property
    def linear(self) -> bool:
        """See `Term.linear`."""
        return self.match != "mix"

    def constants(self, known: Sequence[FeatureMap], channels: int) -> tuple[FeatureMap, ...]:
        """The weights of the channels, (channels,), or the guide's activations, (positions, channels)."""
        (guide,) = known
        if self.match == "positions":
            activations = guide.reshape(-1, channels)
            return (activations / np.maximum(np.linalg.norm(activations, axis=1, keepdims=True), 1e-12),)
        means = guide.mean(axis=(0, 1))
        return (means / max(np.linalg.norm(means, 2 if self.match == "mix" else 1), 1e-12),)

    def statistics_shape(self, channels: int) -> tuple[int, ...]:
        """See `Term.statistics_shape`."""
        return (channels,) if self.match == "mix" else ()

    def statistics(self, reading: Reading) -> Tensor:
        """See `Term.statistics`; for `mix`, the sum of each channel."""
        import tensorflow as tf

        (guide,) = reading.constants
        if self.match == "mix":
            mask = 1.0 if reading.mask is None else reading.mask[..., None]
            return tf.reduce_sum(reading.activations * mask, axis=(1, 2))
        if self.match == "channels":
            return summed(tf.tensordot(reading.activations, guide, 1), reading)
        best = tf.stop_gradient(tf.gather(guide, _best_match(reading.activations, guide)))
        return summed(tf.reduce_mean(reading.activations * best, axis=-1), reading)

    def value(self, statistics: Tensor, positions: Tensor, constants: tuple[Tensor, ...]) -> Tensor:
        """See `Term.value`."""
        import tensorflow as tf

        if self.match != "mix":
            return super().value(statistics, positions, constants)
        means = statistics / tf.cast(positions, statistics.dtype)
        along = tf.linalg.matvec(means, constants[0])
        # The length has a small constant, since the gradient of a length of zero is not a number.
        length = tf.sqrt(tf.reduce_sum(tf.square(means), axis=-1) + 1e-12)
        return along * tf.square(tf.maximum(along / length, 0.1))


def _best_match(activations: Tensor, guide: Tensor) -> Tensor:
    """For each position, the number of the position in the guide (positions, channels) with the largest product."""
    import tensorflow as tf

    shape = tf.shape(activations)
    rows = tf.reshape(activations, (-1, shape[3]))
    count, step = tf.shape(rows)[0], tf.maximum(1, _CHUNK // tf.shape(guide)[0])
    found = tf.TensorArray(tf.int32, 0, dynamic_size=True, infer_shape=False, element_shape=[None])

    def match(start: Tensor, number: Tensor, found: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        products = tf.matmul(rows[start : start + step], guide, transpose_b=True)
        best = tf.argmax(products, axis=-1, output_type=tf.int32)
        return start + step, number + 1, found.write(number, best)  # type: ignore[attr-defined]

    _, _, found = tf.while_loop(lambda start, *_: start < count, match, (0, 0, found), parallel_iterations=1)
    return tf.reshape(found.concat(), shape[:3])


@dataclass(frozen=True, kw_only=True)
class Difference(Term):
    """The mean squared difference from the photograph's activations: strengthens whatever the dream changes.

    The difference is taken from a copy of the photograph with a little noise. Without it, the first gradient is 0.

    Attributes:
        channels: channels of the layer that are used, from 0; None for all.
    """

    kind: Literal["difference"] = "difference"
    channels: tuple[int, ...] | None = None

    needs_source: ClassVar[bool] = True

    def statistics(self, reading: Reading) -> Tensor:
        """See `Term.statistics`."""
        import tensorflow as tf

        change = reading.activations - reading.source  # type: ignore[operator]
        if self.channels is not None:
            change = tf.gather(change, self.channels, axis=-1)
        return summed(tf.reduce_mean(tf.square(change), axis=-1), reading)


@dataclass(frozen=True, kw_only=True)
class Content(Term):
    """Keeps what the photograph shows: minus the squared difference of the activations, relative to the photograph's.

    (Gatys et al., "Image Style Transfer", 2016; there, the difference is not relative.)
    """

    kind: Literal["content"] = "content"

    needs_source: ClassVar[bool] = True

    @property
    def linear(self) -> bool:
        """See `Term.linear`."""
        return False

    def statistics_shape(self, channels: int) -> tuple[int, ...]:
        """See `Term.statistics_shape`."""
        return (2,)

    def statistics(self, reading: Reading) -> Tensor:
        """The sums of the squared differences and of the photograph's squares: (batch, 2)."""
        import tensorflow as tf

        change = tf.reduce_mean(tf.square(reading.activations - reading.source), axis=-1)  # type: ignore[operator]
        size = tf.reduce_mean(tf.square(reading.source), axis=-1)
        return tf.stack([summed(change, reading), summed(size, reading)], axis=1)

    def value(self, statistics: Tensor, positions: Tensor, constants: tuple[Tensor, ...]) -> Tensor:
        """See `Term.value`."""
        import tensorflow as tf

        return -1.0 * tf.math.divide_no_nan(statistics[:, 0], statistics[:, 1])


@dataclass(frozen=True, kw_only=True)
class Style(Term):
    """Takes on the style of an image: minus the squared difference of the Gram matrices, relative to the image's.

    A Gram matrix holds the mean product of each pair of channels (Gatys et al., 2016; there, the difference is not
    relative).

    Attributes:
        style: path or URL of the image.
        style_digest: SHA-256 of its file; filled in when a recipe is resolved.
    """

    kind: Literal["style"] = "style"
    style: str = ""
    style_digest: str | None = None

    arguments: ClassVar[tuple[str, ...]] = ("weight", "style", "style_digest")

    @property
    def linear(self) -> bool:
        """See `Term.linear`."""
        return False

    @property
    def pictures(self) -> tuple[str, ...]:
        """The image with the style."""
        return (self.style,)

    @property
    def measured(self) -> Term:
        """This term: its statistics of the image are the Gram matrix."""
        return Style(layer=self.layer)

    def constants(self, known: Sequence[FeatureMap], channels: int) -> tuple[FeatureMap, ...]:
        """The Gram matrix: (channels, channels)."""
        return tuple(known)

    def statistics_shape(self, channels: int) -> tuple[int, ...]:
        """See `Term.statistics_shape`."""
        return (channels, channels)

    def statistics(self, reading: Reading) -> Tensor:
        """The sums of the products of each pair of channels: (batch, channels, channels)."""
        import tensorflow as tf

        activations = reading.activations
        if reading.mask is not None:
            activations = activations * tf.sqrt(reading.mask)[..., None]
        return tf.einsum("brcx,brcy->bxy", activations, activations)

    def value(self, statistics: Tensor, positions: Tensor, constants: tuple[Tensor, ...]) -> Tensor:
        """See `Term.value`."""
        import tensorflow as tf

        (wanted,) = constants
        change = statistics / tf.cast(positions, statistics.dtype) - wanted
        apart = tf.reduce_sum(tf.square(change), axis=(1, 2))
        return -1.0 * tf.math.divide_no_nan(apart, tf.reduce_sum(tf.square(wanted)))
