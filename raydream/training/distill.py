"""Distillation: teaches a small network to answer as a trained one does (Hinton et al., 2015), so as to dream with it.

Two things are compared. The activations, as in FitNets (Romero et al., 2015): the squared error of each channel over
its mean square. And the gradients at the image, as in Sobolev training (Czarnecki et al., 2017), because gradients are
what dreams are made of: one minus their cosine, at several blurs. The widest alone would teach no fine detail, and a
dream of it is all blobs; the raw gradient alone is mostly what no small network can tell.

Dreams leave the photographs' distribution, so the network has to learn there, too: see `Memory`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from raydream import gradients
from raydream.backbones import Backbone
from raydream.geometry import Axis

BLURS = (0.0, 1.0, 2.0)  # pixels: sigma of the Gaussians after which gradients are compared
COSINES = tuple(f"cosine{sigma:g}" for sigma in BLURS)  # their names among the figures
_RARE = 0.01  # of a layer's mean square: a channel that is hardly ever awake counts as if it were so strong
_FLAT = 0.1  # of a usual image's square: an image that hardly wakes the layer counts as if it woke it so much


@dataclass(frozen=True, eq=False)
class Distillation:
    """A student that learns from a teacher.

    Attributes:
        student: a Keras model whose outputs are the teacher's layers.
        teacher: the trained network.
        squares: of each layer the teacher's mean square of each channel, (channels,): see `mean_squares`.
        optimizer: a Keras optimizer, built for the student's variables.
        batch: images in a step, over all workers.
        gradient_weight: what one minus the gradients' cosine counts, beside the sum of the layers' errors.
    """

    student: Any
    teacher: Backbone
    squares: Sequence[NDArray[np.float32]]
    optimizer: Any
    batch: int
    gradient_weight: float = 1.0

    def ask(self, images: Any, mix: Any, power: Any) -> Answer:
        """The teacher's answer; call it inside a `tf.function`.

        Args:
            images: (batch, height, width, 3) in [-1, 1].
            mix: (batch, layers): how much of each layer is in the objective that the gradient is of.
            power: (batch,): whether that objective is of the layers' means (0) or mean squares (1).
        """
        return self._answer(self.teacher.activations, images, mix, power)

    def step(self, images: Any, mix: Any, power: Any, teacher: Answer) -> dict[str, Any]:
        """One update from this worker's part of the batch; call it inside a `tf.function`, in `strategy.run`.

        Workers' gradients are added up, so the loss is this worker's sum over the size of the whole batch.
        Arguments as `ask`, with its answer; the result as `compare`.
        """
        import tensorflow as tf

        with tf.GradientTape() as tape:
            found = self.compare(images, mix, power, teacher)
            apart = 1.0 - tf.reduce_mean(found["cosine"], axis=1)
            each = tf.reduce_sum(found["error"], axis=1) + self.gradient_weight * apart
            loss = tf.reduce_sum(each) / self.batch
        variables = self.student.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return found

    def compare(self, images: Any, mix: Any, power: Any, teacher: Answer) -> dict[str, Any]:
        """The student against the teacher's answer; call it inside a `tf.function`.

        Returns:
            error: (batch, layers), the squared error over the teacher's square, each channel over its mean square;
            cosine: (batch, blurs), of the gradients after each of `BLURS`; gradient: the student's, as it is.
        """
        import tensorflow as tf

        planes, gradient = self._answer(self.student, images, mix, power)
        pairs = self._same_cells(planes, teacher.planes)
        errors = [_relative_error(*pair, usual) for pair, usual in zip(pairs, self.squares, strict=True)]
        return {
            "error": tf.stack(errors, axis=1),
            "cosine": _cosines(gradient, teacher.gradient),
            "gradient": gradient,
        }

    def figures(self, images: Sequence[NDArray[np.float32]], mix: Sequence[float], power: float) -> dict[str, float]:
        """What the student has learnt, told from images (height, width, 3) in [-1, 1] of one size.

        Returns:
            For each layer its error: a channel's squared error over its square, both over all images; the mean over
            the channels that the teacher ever wakes. And the mean cosines of the gradients of one
            objective, as `ask` has it: `cosine0` of the raw ones, `cosine2` after a blur of two pixels.
        """
        import tensorflow as tf

        objective = tf.constant([mix], tf.float32), tf.constant([power], tf.float32)
        told = [self._sums(tf.constant(image[None]), *objective) for image in images]
        wrong, whole, cosines = zip(*told, strict=True)
        found = dict(zip(COSINES, np.mean(cosines, axis=0).tolist(), strict=True))
        for index, layer in enumerate(self.teacher.layers):
            error, square = (np.sum([each[index] for each in sums], axis=0) for sums in (wrong, whole))
            awake = square > 1e-6 * np.mean(square)  # what the teacher never says cannot be wrong by a share of it
            found[layer] = float(np.mean(error[awake] / square[awake]))
        return found

    @cached_property
    def _sums(self) -> Callable[..., tuple[Any, Any, Any]]:
        """Of one image, traced: each layer's sums of squared errors and squares by channel, and the cosines."""
        import tensorflow as tf

        def sums(image: Any, mix: Any, power: Any) -> tuple[Any, Any, Any]:
            wanted = self.ask(image, mix, power)
            planes, gradient = self._answer(self.student, image, mix, power)
            pairs = self._same_cells(planes, wanted.planes)
            wrong = [tf.reduce_sum(tf.square(mine - theirs), (0, 1, 2)) for mine, theirs in pairs]
            whole = [tf.reduce_sum(tf.square(theirs), (0, 1, 2)) for _, theirs in pairs]
            return wrong, whole, _cosines(gradient, wanted.gradient)[0]

        traced: Callable[..., tuple[Any, Any, Any]] = tf.function(sums, autograph=False, reduce_retracing=True)
        return traced

    @cached_property
    def _offsets(self) -> list[tuple[int, ...]]:
        """For each layer, along rows and columns, which of the student's cells lies where the teacher's first does."""
        axes = [(Axis(self.student, axis).fields(), self.teacher.axes[axis].fields()) for axis in (0, 1)]
        along = [
            [round((t.first + t.last - s.first - s.last) / 2 / s.stride) for s, t in zip(*a, strict=True)] for a in axes
        ]
        return list(zip(*along, strict=True))

    def _same_cells(self, mine: Sequence[Any], theirs: Sequence[Any]) -> list[tuple[Any, Any]]:
        """Each layer's planes, of both, cut to the cells that both have."""
        pairs = []
        for student, teacher, (down, right) in zip(mine, theirs, self._offsets, strict=True):
            student = student[:, max(down, 0) :, max(right, 0) :]
            teacher = teacher[:, max(-down, 0) :, max(-right, 0) :]
            rows, columns = (min(student.shape[axis], teacher.shape[axis]) for axis in (1, 2))
            pairs.append((student[:, :rows, :columns], teacher[:, :rows, :columns]))
        return pairs

    def _answer(self, network: Any, images: Any, mix: Any, power: Any) -> Answer:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(images)
            answer = network(images)
            planes = answer if isinstance(answer, list) else [answer]  # Keras gives a single output bare
            values = [_objective(plane, usual, power) for plane, usual in zip(planes, self.squares, strict=True)]
            value = tf.reduce_sum(mix * tf.stack(values, axis=1))
        return Answer(planes, tape.gradient(value, images))


class Answer(NamedTuple):
    """What a network makes of images: each layer's (batch, rows, columns, channels), and an objective's gradient."""

    planes: list[Any]
    gradient: Any


def _objective(plane: Any, squares: Any, power: Any) -> Any:
    """The mean of a layer, or its mean square, each in units of what photographs give."""
    import tensorflow as tf

    usual = float(np.mean(squares))
    mean = tf.reduce_mean(plane, (1, 2, 3)) / usual**0.5
    square = tf.reduce_mean(tf.square(plane), (1, 2, 3)) / usual
    return (1.0 - power) * mean + power * square


def _relative_error(mine: Any, theirs: Any, squares: Any) -> Any:
    import tensorflow as tf

    weights = 1.0 / (squares + _RARE * np.mean(squares))
    error = tf.reduce_mean(tf.square(mine - theirs) * weights, (1, 2, 3))
    return error / (tf.reduce_mean(tf.square(theirs) * weights, (1, 2, 3)) + _FLAT)


def _cosines(a: Any, b: Any) -> Any:
    """Cosines of gradients (batch, height, width, 3) after each of `BLURS`: (batch, blurs)."""
    import tensorflow as tf

    pairs = [(gradients.blur(a, sigma), gradients.blur(b, sigma)) if sigma else (a, b) for sigma in BLURS]
    return tf.stack([_cosine(*pair) for pair in pairs], axis=1)


def _cosine(a: Any, b: Any) -> Any:
    import tensorflow as tf

    size = tf.reduce_sum(a * a, (1, 2, 3)) * tf.reduce_sum(b * b, (1, 2, 3))
    return tf.reduce_sum(a * b, (1, 2, 3)) * tf.math.rsqrt(size + 1e-30)


def mean_squares(teacher: Backbone, images: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Of each layer the mean square of each channel, over images (height, width, 3) in [-1, 1] of any size."""
    import tensorflow as tf

    answer = tf.function(teacher.activations, reduce_retracing=True)
    squares = [[np.mean(np.square(plane), (0, 1, 2)) for plane in answer(tf.constant(i[None]))] for i in images]
    return [np.mean(layer, axis=0, dtype=np.float32) for layer in zip(*squares, strict=True)]


class Memory:
    """Crops of photographs with the teacher's answers to them, which dream on while a student learns from them.

    A round renews the oldest. Half of the places are for photographs: a fresh crop each time. In the others a crop
    moves on by a step along the teacher's or the student's gradient (the student's leads to where its own dreams go;
    DAgger: Ross et al., 2011), is rolled as in the engine, now and then enlarged as from one octave to the next, or
    makes way for a fresh one. The student learns from each answer several times, since the teacher's work is what
    costs (replay, as in Mnih et al., 2015).
    """

    def __init__(
        self,
        fresh: Iterator[NDArray[np.uint8]],
        ask: Callable[[Any, Any, Any], Answer],
        layers: int,
        size: int,
        random: np.random.Generator,
    ) -> None:
        """`fresh` gives crops (side, side, 3), for ever; `ask` is the traced `Distillation.ask`; `size` are kept."""
        self._fresh, self._ask, self._layers, self._random = fresh, ask, layers, random
        self._oldest = 0
        self.images = np.stack([self._start() for _ in range(size)])
        self.mine = np.zeros_like(self.images)
        parts = [self._answers(self.images[start : start + 8]) for start in range(0, size, 8)]
        self.kept = [np.concatenate(part) for part in zip(*parts, strict=True)]

    def renew(self, count: int) -> None:
        """Moves the `count` oldest crops on, or makes them fresh, and asks the teacher about them."""
        where = (self._oldest + np.arange(count)) % len(self.images)
        self._oldest = (self._oldest + count) % len(self.images)
        for i in where:
            fresh = i % 2 == 0 or self._random.random() < 0.05
            self.images[i] = self._start() if fresh else self._moved(self.images[i], self.kept[-1][i], self.mine[i])
        self.mine[where] = 0.0
        for kept, new in zip(self.kept, self._answers(self.images[where]), strict=True):
            kept[where] = new

    def sample(self, count: int) -> tuple[NDArray[np.intp], tuple[Any, ...]]:
        """Where they are, and the arguments of `Distillation.step` for `count` crops."""
        import tensorflow as tf

        where = self._random.choice(len(self.images), count, replace=False)
        images, mix, power, *planes, gradient = (tf.constant(part[where]) for part in (self.images, *self.kept))
        return where, (images, mix, power, Answer(planes, gradient))

    def _answers(self, images: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """A new objective for each image, and the teacher's answer: mix, power, planes, gradient."""
        import tensorflow as tf

        mix = self._random.exponential(size=(len(images), self._layers)).astype(np.float32)
        power = self._random.integers(0, 2, len(images)).astype(np.float32)
        planes, gradient = self._ask(tf.constant(images), tf.constant(mix), tf.constant(power))
        return [mix, power, *(np.asarray(plane) for plane in planes), np.asarray(gradient)]

    def _moved(self, image: Any, teacher: Any, student: Any) -> NDArray[np.float32]:
        gradient = student if student.any() and self._random.random() < 0.5 else teacher
        step = self._random.uniform(0.02, 0.3) / (gradient.std() + 1e-12)
        moved = np.asarray(np.clip(image + step * gradient, -1.0, 1.0), np.float32)
        moved = np.roll(moved, self._random.integers(0, moved.shape[0], 2), (0, 1))
        return _enlarged(moved, self._random) if self._random.random() < 0.08 else moved

    def _start(self) -> NDArray[np.float32]:
        """A fresh crop, its contrast and brightness changed at random, perhaps mirrored."""
        image = next(self._fresh).astype(np.float32) / 127.5 - 1.0
        if self._random.random() < 0.5:
            image = image[:, ::-1]
        contrast, light = self._random.uniform(0.6, 1.4), self._random.uniform(-0.15, 0.15)
        mean = image.mean((0, 1), keepdims=True)
        return np.asarray(np.clip(mean + contrast * (image - mean) + light, -1.0, 1.0), np.float32)


def _enlarged(image: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """A window of the image, a fifth to two fifths smaller, at the image's size."""
    import tensorflow as tf

    side = round(image.shape[0] / random.uniform(1.2, 1.6))
    top, left = random.integers(0, image.shape[0] - side, 2)
    window = tf.image.resize(image[top : top + side, left : left + side], image.shape[:2], "bicubic")
    return np.asarray(np.clip(window, -1.0, 1.0), np.float32)
