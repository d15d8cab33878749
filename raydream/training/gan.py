"""A generator and a critic that learn from each other; see `models.gan`.

In each step, both are updated from the same forward passes. The random numbers of a step are drawn for the whole batch,
and each worker takes its part of them, so that several workers learn as one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raydream.core.networks.saving import half_as_large
from raydream.training.learner import Batch
from raydream.types import Image, Images, KerasModel, Tensor, Variable

GENERATOR = "generator.keras"

# ---- losses: lower for a logit that is more on the side of "real"


def hinge(logits: Tensor) -> Tensor:
    """What the critic loses for each logit of a real image (Lim and Ye, "Geometric GAN", 2017)."""
    import tensorflow as tf

    loss: Tensor = tf.nn.relu(logits * -1.0 + 1.0)
    return loss


def negative(logits: Tensor) -> Tensor:
    """What the generator loses for each logit of its images, if the critic has the hinge loss."""
    return logits * -1.0


def cross_entropy(logits: Tensor) -> Tensor:
    """What both lose (Goodfellow et al., 2014): the critic for real images, the generator for its own."""
    import tensorflow as tf

    loss: Tensor = tf.nn.softplus(logits * -1.0)
    return loss


def _mean(losses: Sequence[Tensor]) -> Tensor:
    """The loss of each image (n,): the mean over all positions of a map, summed over the maps."""
    import tensorflow as tf

    total: Tensor = tf.add_n([tf.reduce_mean(loss, axis=tuple(range(1, len(loss.shape)))) for loss in losses])
    return total


# ---- random numbers


@dataclass(frozen=True, kw_only=True)
class Share:
    """This worker's share of each batch.

    Attributes:
        batch_size: images of a batch, over all workers.
        seed: seed of all random numbers.
        rank, workers: number of this worker, from 0, and of all workers.
    """

    batch_size: int
    seed: int
    rank: int = 0
    workers: int = 1

    def draw(self, kind: str, shape: Sequence[int], step: Tensor, use: int) -> Tensor:
        """Random numbers (n, *shape) for the n images of this worker.

        Args:
            kind: `normal` (mean 0, variance 1) or `uniform` (from 0 to 1).
            shape: shape for one image.
            step: number of the step.
            use: another one gives other numbers in the same step, from 0 to 7.
        """
        import tensorflow as tf

        function = {"normal": tf.random.stateless_normal, "uniform": tf.random.stateless_uniform}[kind]
        key = tf.stack([tf.constant(self.seed, tf.int64), 8 * tf.cast(step, tf.int64) + use])
        whole: Tensor = function((self.batch_size, *shape), key)
        return whole[self.rank :: self.workers]


def augmented(images: Tensor, numbers: Tensor, shift: float = 0.125, hole: float = 0.25) -> Tensor:
    """Moves each image, and covers a square of it with grey (Zhao et al., "DiffAugment", 2020); differentiable.

    A critic that only sees changed images cannot learn the training images by heart. Colours stay as they are, since
    those of a dream matter.

    Args:
        images: (n, side, side, 3) in [-1, 1].
        numbers: uniform random numbers (n, 4) in [0, 1): the shift and the place of the square.
        shift: the largest shift, as a share of the side; grey moves in.
        hole: side of the square, as a share of the side.
    """
    import tensorflow as tf

    side = images.shape[1]
    most, covered = round(shift * side), round(hole * side)
    places = tf.range(side)[None, None]  # (1, 1, side)
    first = tf.cast(numbers[:, :2] * (2 * most + 1), tf.int32)[..., None] + places  # (n, 2, side)
    images = tf.pad(images, [[0, 0], [most, most], [most, most], [0, 0]])
    for axis in (0, 1):
        images = tf.gather(images, first[:, axis], axis=axis + 1, batch_dims=1)
    corner = tf.cast(numbers[:, 2:] * (side + 1), tf.int32)[..., None] - covered // 2
    inside = (places >= corner) & (places < corner + covered)
    hidden = inside[:, 0, :, None] & inside[:, 1, None, :]
    result: Tensor = tf.where(hidden[..., None], 0.0, images)
    return result


def noise_of(generator: KerasModel, numbers: Sequence[int], seed: int) -> list[NDArray[np.float32]]:
    """The inputs of a generator for numbered images: each depends on its number and the seed alone."""
    streams = [np.random.default_rng((seed, number)) for number in numbers]
    shapes = [part.shape[1:] for part in generator.inputs]
    drawn = [[stream.standard_normal(shape, np.float32) for shape in shapes] for stream in streams]
    return [np.stack(part) for part in zip(*drawn, strict=True)]


# ---- the learner


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How both networks learn.

    Attributes:
        critic_loss: loss of the critic for each logit of a real image; for others, of the negative logit.
        generator_loss: loss of the generator for each logit of its images.
        average: the share of the averaged generator that stays at each step; it is what is used in the end.
        augment: whether the critic sees images that are changed at random; see `augmented`.
    """

    critic_loss: Callable[[Tensor], Tensor]
    generator_loss: Callable[[Tensor], Tensor]
    average: float
    augment: bool


@dataclass(frozen=True, kw_only=True)
class Measures:
    """What is done with the averaged generator after each epoch.

    Attributes:
        evaluate: its figures; empty sums on all workers but the first.
        pictures: rows of a grid of its images.
    """

    evaluate: Callable[[KerasModel], Mapping[str, float]]
    pictures: Callable[[KerasModel], Sequence[Sequence[Image]]]


class Adversaries:
    """A `Learner`: a generator, its moving average, and a critic."""

    def __init__(
        self,
        networks: tuple[KerasModel, KerasModel],
        features: Callable[[Tensor], Any],
        optimizers: tuple[Any, Any],
        rules: Rules,
        share: Share,
        measures: Measures,
    ) -> None:
        """Starts with new networks.

        Args:
            networks: the generator and the critic.
            features: what the critic gets of images (n, size, size, 3) in [-1, 1].
            optimizers: those of the generator and of the critic.
            rules, share, measures: see there.
        """
        import keras

        self.generator, self.critic = self._networks = networks
        self._features, self._optimizers = features, optimizers
        self._rules, self._share, self._measures = rules, share, measures
        self.averaged = keras.models.clone_model(self.generator)
        self.averaged.set_weights(self.generator.get_weights())
        self.averaged.trainable = False
        for network, optimizer in zip(networks, optimizers, strict=True):
            optimizer.build(network.trainable_variables)  # type: ignore[attr-defined]

    def variables(self) -> Mapping[str, Variable]:
        """See `Learner.variables`: both networks, both optimizers, and the averaged generator."""
        groups = {
            "generator": self.generator,
            "critic": self.critic,
            "averaged": self.averaged,
            "generator optimizer": self._optimizers[0],
            "critic optimizer": self._optimizers[1],
        }
        return {f"{name}/{v.path}": v for name, group in groups.items() for v in group.variables}

    def step(self, batch: Batch) -> Mapping[str, Tensor]:
        """See `Learner.step`; `image` is uint8 (n, size, size, 3)."""
        import tensorflow as tf

        number = tf.convert_to_tensor(self._optimizers[0].iterations)  # before it is counted up
        inputs = [self._share.draw("normal", x.shape[1:], number, use) for use, x in enumerate(self.generator.inputs)]
        real = tf.cast(batch["image"], tf.float32) / 127.5 - 1.0
        with tf.GradientTape(persistent=True) as tape:
            made = self.generator(inputs, training=True)
            of_real, of_made = self._judged(real, number, 2), self._judged(made, number, 3)
            generator = _mean([self._rules.generator_loss(logits) for logits in of_made])
            critic = _mean([self._rules.critic_loss(logits) for logits in of_real])
            critic = critic + _mean([self._rules.critic_loss(logits * -1.0) for logits in of_made])
            # The sum over the workers' parts, which the strategy takes, is the mean over the whole batch.
            totals = [tf.reduce_sum(losses) / self._share.batch_size for losses in (generator, critic)]
        pairs = [(total, network.trainable_variables) for total, network in zip(totals, self._networks, strict=True)]  # type: ignore[attr-defined]
        gradients = [tape.gradient(total, weights) for total, weights in pairs]
        for (_, weights), gradient, optimizer in zip(pairs, gradients, self._optimizers, strict=True):
            optimizer.apply_gradients(zip(gradient, weights, strict=True))
        moved = self._stays(number) * -1.0 + 1.0
        for mean, now in zip(self.averaged.variables, self.generator.variables, strict=True):
            mean.assign(mean + (now - mean) * moved)
        return {
            "generator loss": tf.reduce_sum(generator),
            "critic loss": tf.reduce_sum(critic),
            "examples": tf.cast(tf.shape(critic)[0], tf.float32),
        }

    def _stays(self, step: Tensor) -> Tensor:
        """The share of the average that stays; less in the first steps, which would weigh too much."""
        import tensorflow as tf

        done = tf.cast(step, tf.float32)
        share: Tensor = tf.minimum(self._rules.average, (done + 1.0) / (done + 10.0))
        return share

    def _judged(self, images: Tensor, step: Tensor, use: int) -> list[Tensor]:
        """The critic's logits, a map for each feature map."""
        if self._rules.augment:
            images = augmented(images, self._share.draw("uniform", (4,), step, use))
        logits = self.critic(self._features(images), training=True)
        return logits if isinstance(logits, list) else [logits]

    def evaluate(self) -> Mapping[str, float]:
        """See `Learner.evaluate`."""
        return self._measures.evaluate(self.averaged)

    def pictures(self) -> Sequence[Sequence[Image]]:
        """See `Learner.pictures`."""
        return self._measures.pictures(self.averaged)

    def export(self, folder: Path) -> None:
        """Writes `generator.keras`, the averaged generator."""
        (folder / GENERATOR).write_bytes(half_as_large(self.averaged))


def images_of(generator: KerasModel, inputs: Sequence[NDArray[np.float32]], together: int = 32) -> Images:
    """The images (n, size, size, 3) in [-1, 1] of a generator's inputs; `together` are made at once."""
    starts = range(0, len(inputs[0]), together)
    made = (generator([part[n : n + together] for part in inputs], training=False) for n in starts)
    return np.concatenate([np.asarray(each[0] if isinstance(each, list) else each, np.float32) for each in made])
