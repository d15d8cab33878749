"""The training of a generator and a critic; see `models.gan`.

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

from raydream.core.networks.saving import compressed_keras
from raydream.training.learner import Batch
from raydream.types import Image, Images, KerasModel, Tensor, Variable

GENERATOR = "generator.keras"

# ---- losses: element by element, for logits of any shape; they decrease as a logit increases, which means "real"


def hinge_loss(logits: Tensor) -> Tensor:
    """The critic's loss for real images: max(0, 1 - logit) (Lim and Ye, "Geometric GAN", 2017)."""
    import tensorflow as tf

    loss: Tensor = tf.nn.relu(1.0 - logits)
    return loss


def hinge_generator_loss(logits: Tensor) -> Tensor:
    """The generator's loss beside `hinge_loss`: -logit."""
    return -logits


def non_saturating_loss(logits: Tensor) -> Tensor:
    """The loss of both networks: log(1 + exp(-logit)) (Goodfellow et al., "Generative Adversarial Nets", 2014)."""
    import tensorflow as tf

    loss: Tensor = tf.nn.softplus(-logits)
    return loss


def _per_image(losses: Sequence[Tensor]) -> Tensor:
    """The loss of each image (n,): the mean over the positions of each map, summed over the maps."""
    import tensorflow as tf

    total: Tensor = tf.add_n([tf.reduce_mean(loss, axis=tuple(range(1, len(loss.shape)))) for loss in losses])
    return total


# ---- random numbers


@dataclass(frozen=True, kw_only=True)
class WorkerRandom:
    """Random numbers for this worker's part of each batch; they are drawn for the whole batch.

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
        """Random numbers (n, *shape) for the n images of this worker in a step.

        Args:
            kind: `normal` (mean 0, variance 1) or `uniform` (from 0 to 1).
            shape: shape for one image.
            step: number of the step.
            use: which draw of the step it is, from 0 to 7.
        """
        import tensorflow as tf

        function = {"normal": tf.random.stateless_normal, "uniform": tf.random.stateless_uniform}[kind]
        key = tf.stack([tf.constant(self.seed, tf.int64), 8 * tf.cast(step, tf.int64) + use])
        whole: Tensor = function((self.batch_size, *shape), key)
        return whole[self.rank :: self.workers]


def augmented(images: Tensor, numbers: Tensor, shift: float = 0.125, hole: float = 0.25) -> Tensor:
    """Translation and cutout of DiffAugment, which are differentiable.

    They keep the critic from memorizing the training images (Zhao et al., "Differentiable Augmentation for
    Data-Efficient GAN Training", 2020). Colours stay as they are, since the generator is to learn those of dreams.

    Args:
        images: (n, side, side, 3) in [-1, 1].
        numbers: uniform random numbers (n, 4) in [0, 1): the translation and the place of the cutout.
        shift: the largest translation, as a fraction of the side; grey moves in.
        hole: side of the square that becomes grey, as a fraction of the side.

    Returns:
        Images (n, side, side, 3) in [-1, 1].
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


def generator_inputs(generator: KerasModel, numbers: Sequence[int], seed: int) -> list[NDArray[np.float32]]:
    """The inputs of a generator, for images with these numbers: each depends on its number and the seed alone."""
    streams = [np.random.default_rng((seed, number)) for number in numbers]
    shapes = [part.shape[1:] for part in generator.inputs]
    drawn = [[stream.standard_normal(shape, np.float32) for shape in shapes] for stream in streams]
    return [np.stack(part) for part in zip(*drawn, strict=True)]


# ---- the learner


@dataclass(frozen=True, kw_only=True)
class GanOptions:
    """How both networks learn.

    Attributes:
        critic_loss: the critic's loss for the logits of real images; for generated images, it gets the negated logits.
        generator_loss: the generator's loss for the logits of its images.
        ema_decay: decay of the exponential moving average of the generator's weights, which is what is exported.
        augment: whether the critic sees images that are changed at random; see `augmented`.
    """

    critic_loss: Callable[[Tensor], Tensor]
    generator_loss: Callable[[Tensor], Tensor]
    ema_decay: float
    augment: bool


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How the averaged generator is evaluated after each epoch.

    Attributes:
        metrics: its metrics; zeros on all workers but the first.
        pictures: rows of a grid of its images.
    """

    metrics: Callable[[KerasModel], Mapping[str, float]]
    pictures: Callable[[KerasModel], Sequence[Sequence[Image]]]


class GanLearner:
    """A `Learner`: a generator, its moving average, and a critic."""

    def __init__(
        self,
        networks: tuple[KerasModel, KerasModel],
        features: Callable[[Tensor], Any],
        optimizers: tuple[Any, Any],
        options: GanOptions,
        random: WorkerRandom,
        evaluation: Evaluation,
    ) -> None:
        """Starts with new networks.

        Args:
            networks: the generator and the critic.
            features: maps images (n, size, size, 3) in [-1, 1] to the inputs of the critic.
            optimizers: those of the generator and of the critic.
            options, random, evaluation: see their classes.
        """
        import keras

        self.generator, self.critic = self._networks = networks
        self._features, self._optimizers = features, optimizers
        self._options, self._random, self._evaluation = options, random, evaluation
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

        number = tf.convert_to_tensor(self._optimizers[0].iterations)  # before it is incremented
        inputs = [self._random.draw("normal", x.shape[1:], number, use) for use, x in enumerate(self.generator.inputs)]
        real = tf.cast(batch["image"], tf.float32) / 127.5 - 1.0
        with tf.GradientTape(persistent=True) as tape:
            fake = self.generator(inputs, training=True)
            real_logits, fake_logits = self._logits(real, number, 2), self._logits(fake, number, 3)
            generator_losses = _per_image([self._options.generator_loss(logits) for logits in fake_logits])
            critic_losses = _per_image([self._options.critic_loss(logits) for logits in real_logits])
            critic_losses += _per_image([self._options.critic_loss(-logits) for logits in fake_logits])
            # The sum over the workers' parts, which the strategy takes, is the mean over the whole batch.
            losses = [tf.reduce_sum(each) / self._random.batch_size for each in (generator_losses, critic_losses)]
        weights = [list(network.trainable_variables) for network in self._networks]  # type: ignore[attr-defined]
        gradients = [tape.gradient(*pair) for pair in zip(losses, weights, strict=True)]
        for optimizer, *pair in zip(self._optimizers, gradients, weights, strict=True):
            optimizer.apply_gradients(zip(*pair, strict=True))
        rate = 1.0 - self._decay(number)
        for mean, now in zip(self.averaged.variables, self.generator.variables, strict=True):
            mean.assign(mean + (now - mean) * rate)
        return {
            "generator loss": tf.reduce_sum(generator_losses),
            "critic loss": tf.reduce_sum(critic_losses),
            "examples": tf.cast(tf.shape(critic_losses)[0], tf.float32),
        }

    def _decay(self, step: Tensor) -> Tensor:
        """Decay of the average: smaller in the first steps, so that the initial weights are soon forgotten."""
        import tensorflow as tf

        done = tf.cast(step, tf.float32)
        decay: Tensor = tf.minimum(self._options.ema_decay, (done + 1.0) / (done + 10.0))
        return decay

    def _logits(self, images: Tensor, step: Tensor, use: int) -> list[Tensor]:
        """The critic's logits, a map for each feature map."""
        if self._options.augment:
            images = augmented(images, self._random.draw("uniform", (4,), step, use))
        logits = self.critic(self._features(images), training=True)
        return logits if isinstance(logits, list) else [logits]

    def evaluate(self) -> Mapping[str, float]:
        """See `Learner.evaluate`."""
        return self._evaluation.metrics(self.averaged)

    def pictures(self) -> Sequence[Sequence[Image]]:
        """See `Learner.pictures`."""
        return self._evaluation.pictures(self.averaged)

    def export(self, folder: Path) -> None:
        """Writes `generator.keras`, the averaged generator."""
        (folder / GENERATOR).write_bytes(compressed_keras(self.averaged))


def generate(generator: KerasModel, inputs: Sequence[NDArray[np.float32]], batch_size: int = 32) -> Images:
    """The images (n, size, size, 3) in [-1, 1] that a generator makes of its inputs; see `generator_inputs`."""
    starts = range(0, len(inputs[0]), batch_size)
    made = (generator([part[n : n + batch_size] for part in inputs], training=False) for n in starts)
    # Keras loads a model from its file with a list of outputs.
    return np.concatenate([np.asarray(each[0] if isinstance(each, list) else each, np.float32) for each in made])
