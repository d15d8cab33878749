"""A classifier on a backbone: a new head on its features, then its upper layers with it.

    head = Head(channels, classes=20, ...)      # phase 1: the backbone is fixed, so its features are, too
    tuner = Tuner(classifier(base, 20), ...)    # phase 2: the layers from a named one on

The logit of a class is a 1x1 convolution of the last feature map, averaged over all positions. So a classifier works at
any image size, and a class is a channel that a dream can amplify.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raydream.core.networks.classes import with_classes
from raydream.core.networks.graph import nodes, outputs_of
from raydream.core.objectives import CLASS_LAYER
from raydream.errors import UsageError, nearest
from raydream.training.learner import Batch
from raydream.types import Image, KerasModel, Tensor, Variable


def classifier(base: KerasModel, classes: int) -> KerasModel:
    """The base with a new head: logits (batch, classes) for images (batch, height, width, 3) in [-1, 1]."""
    import keras

    logits = keras.layers.Conv2D(classes, 1, name=CLASS_LAYER, kernel_initializer="zeros")(base.outputs[0])
    pooled_logits = keras.layers.GlobalAveragePooling2D(name="pooled_logits")(logits)
    model: KerasModel = keras.Model(base.inputs[0], pooled_logits)
    return model


def pooled(base: KerasModel) -> KerasModel:
    """A model that returns the mean of the last feature map over all positions: (batch, channels)."""
    import keras

    model: KerasModel = keras.Model(base.inputs[0], keras.layers.GlobalAveragePooling2D()(base.outputs[0]))
    return model


def unfreeze(model: KerasModel, first: str) -> None:
    """Makes the layers from a named one to the output trainable, and no others.

    Raises:
        UsageError: there is no such layer.
    """
    order = [layer.name for layer, _ in nodes(model)]
    if first not in order:
        named = [name for name in outputs_of(model) if name.startswith(("mixed", "block"))] or order
        raise UsageError(f"the network has no layer {first!r} to train from: {nearest(first, named)}")
    above = {first}
    for layer, inputs in nodes(model):  # inputs come before the layers that read them
        if above & set(inputs):
            above.add(layer.name)
    for part in model.layers:
        part.trainable = part.name in above  # type: ignore[attr-defined]


def cross_entropy(batch: Batch, logits: Tensor, smoothing: float) -> Tensor:
    """Cross entropy of each example (n,), in nats.

    Mixed images have two labels (Zhang et al., "mixup", 2018): `label` with the weight `share`, and `other`.

    Args:
        batch: `label` (n,), and for mixed images `other` (n,) and `share` (n,) in [0, 1].
        logits: (n, classes).
        smoothing: share of the label that is spread over all classes (Szegedy et al., 2016).
    """
    import tensorflow as tf

    classes = logits.shape[-1]
    wanted = tf.one_hot(batch["label"], classes)
    if "other" in batch:
        share = batch["share"][:, None]
        wanted = share * wanted + (1.0 - share) * tf.one_hot(batch["other"], classes)
    wanted = (1.0 - smoothing) * wanted + smoothing / classes
    losses: Tensor = tf.nn.softmax_cross_entropy_with_logits(wanted, logits)
    return losses


class Classifying(ABC):
    """What both phases share: a network that returns logits, its optimizer, and the step."""

    def __init__(
        self,
        network: KerasModel,
        optimizer: Any,
        batch_size: int,
        smoothing: float,
        validation: Callable[[], Iterable[Batch]],
    ) -> None:
        """`batch_size` counts the examples of all workers; `validation` gives this worker's batches."""
        import tensorflow as tf

        self.network, self._optimizer = network, optimizer
        optimizer.build(network.trainable_variables)  # type: ignore[attr-defined]
        self._batch_size, self._smoothing, self._validation = batch_size, smoothing, validation
        self._measure = tf.function(self._measured, autograph=False, reduce_retracing=True)

    def variables(self) -> Mapping[str, Variable]:
        """All variables that training changes; fixed layers come from the backbone."""
        weights = {f"network/{v.path}": v for v in self.network.trainable_variables}  # type: ignore[attr-defined]
        return weights | {f"optimizer/{v.path}": v for v in self._optimizer.variables}

    def step(self, batch: Batch) -> Mapping[str, Tensor]:
        """See `Learner.step`: `loss` and `correct` are sums."""
        import tensorflow as tf

        with tf.GradientTape() as tape:
            logits = self.logits(batch, training=True)
            losses = cross_entropy(batch, logits, self._smoothing)
            # The sum over the workers' parts, which the strategy takes, is the mean over the whole batch.
            loss = tf.reduce_sum(losses) / self._batch_size
        weights = self.network.trainable_variables  # type: ignore[attr-defined]
        self._optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return _sums(batch, logits, losses)

    @abstractmethod
    def logits(self, batch: Batch, training: bool) -> Tensor:
        """The logits (n, classes) of a batch."""

    def _measured(self, batch: Batch) -> Mapping[str, Tensor]:
        logits = self.logits(batch, training=False)
        return _sums(batch, logits, cross_entropy(batch, logits, 0.0))

    def evaluate(self) -> Mapping[str, float]:
        """See `Learner.evaluate`: `loss`, `correct`, `examples`."""
        total = {"loss": 0.0, "correct": 0.0, "examples": 0.0}
        for batch in self._validation():
            for key, value in self._measure(batch).items():
                total[key] += float(value)
        return total

    def pictures(self) -> Sequence[Sequence[Image]]:
        """No pictures."""
        return []


def _sums(batch: Batch, logits: Tensor, losses: Tensor) -> dict[str, Tensor]:
    import tensorflow as tf

    right = tf.equal(tf.argmax(logits, -1, tf.int32), tf.cast(batch["label"], tf.int32))
    return {
        "loss": tf.reduce_sum(losses),
        "correct": tf.reduce_sum(tf.cast(right, tf.float32)),
        "examples": tf.cast(tf.shape(losses)[0], tf.float32),
    }


class Head(Classifying):
    """Phase 1: a linear classifier on the pooled features of a fixed backbone."""

    def __init__(self, channels: int, classes: int, rate: float, decay: float, **options: Any) -> None:
        """`decay` is Adam's decoupled weight decay; for `options` see `Classifying`."""
        import keras

        features = keras.Input((channels,))
        dense = keras.layers.Dense(classes, kernel_initializer="zeros", name=CLASS_LAYER)
        network = keras.Model(features, dense(features), name="head")
        optimizer = keras.optimizers.AdamW(rate, weight_decay=decay)
        super().__init__(network, optimizer, **options)

    def logits(self, batch: Batch, training: bool) -> Tensor:
        """See `Classifying.logits`; a batch holds `features` (n, channels)."""
        logits: Tensor = self.network(batch["features"], training=training)
        return logits

    def export(self, folder: Path) -> None:
        """Writes `head.npz` with the arrays `kernel` (channels, classes) and `bias` (classes,)."""
        kernel, bias = self.network.get_layer(CLASS_LAYER).get_weights()
        np.savez(folder / "head.npz", kernel=kernel, bias=bias)


@dataclass(frozen=True, kw_only=True)
class Dropout:
    """Dropout of whole channels of the last feature map (Tompson et al., 2015), before the head.

    The mask of a batch is drawn for all workers, so that several workers learn as one.

    Attributes:
        share: share of the channels that are dropped.
        seed: seed of the masks.
        rank, workers: number of this worker, from 0, and of all workers.
    """

    share: float
    seed: int
    rank: int = 0
    workers: int = 1

    def __call__(self, features: Tensor, batch_size: int, step: Tensor) -> Tensor:
        """The features (n, rows, columns, channels) of this worker's part of the batch at a step."""
        import tensorflow as tf

        seed = tf.stack([tf.cast(self.seed, tf.int64), tf.cast(step, tf.int64)])
        drawn = tf.random.stateless_uniform((batch_size, 1, 1, features.shape[-1]), seed)
        kept = drawn[self.rank :: self.workers] >= self.share
        dropped: Tensor = tf.where(kept, features / (1.0 - self.share), 0.0)
        return dropped


class Tuner(Classifying):
    """Phase 2: the upper layers of the backbone and the head."""

    def __init__(
        self,
        network: KerasModel,
        optimizer: Any,
        classes: Sequence[str],
        dropout: Dropout,
        show: Callable[[KerasModel], Sequence[Sequence[Image]]],
        **options: Any,
    ) -> None:
        """`classes` are their names, `show` makes `pictures` of the network; for `options` see `Classifying`."""
        import keras

        super().__init__(network, optimizer, **options)
        self._classes, self._dropout, self._show = tuple(classes), dropout, show
        self._base = keras.Model(network.inputs[0], outputs_of(network)[_below_head(network)])

    def logits(self, batch: Batch, training: bool) -> Tensor:
        """See `Classifying.logits`; images are uint8 and become floats in [-1, 1], as in a dream."""
        import tensorflow as tf

        features = self._base(tf.cast(batch["image"], tf.float32) / 127.5 - 1.0, training=training)
        if training and self._dropout.share:
            features = self._dropout(features, self._batch_size, self._optimizer.iterations)
        logits: Tensor = tf.reduce_mean(self.network.get_layer(CLASS_LAYER)(features), axis=(1, 2))
        return logits

    def pictures(self) -> Sequence[Sequence[Image]]:
        """See `Learner.pictures`."""
        return self._show(self.network)

    def export(self, folder: Path) -> None:
        """Writes `classifier.keras`, whose output is probabilities, and `base.keras`, the backbone without the head.

        The classifier's file also holds the names of the classes; see `core.networks.classes`.
        """
        import keras

        logits = self.network.outputs[0]
        probabilities = keras.layers.Softmax(name="probabilities")(logits)
        whole = folder / "classifier.keras"
        keras.Model(self.network.inputs[0], probabilities, name="classifier").save(whole)
        whole.write_bytes(with_classes(whole.read_bytes(), self._classes))
        before = outputs_of(self.network)[_below_head(self.network)]
        keras.Model(self.network.inputs[0], before, name="base").save(folder / "base.keras")


def _below_head(network: KerasModel) -> str:
    """The layer that the head reads."""
    return next(inputs[0] for layer, inputs in nodes(network) if layer.name == CLASS_LAYER)


def set_head(model: KerasModel, kernel: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
    """Puts the weights of `Head.export` into a classifier."""
    model.get_layer(CLASS_LAYER).set_weights([kernel[None, None], bias])
