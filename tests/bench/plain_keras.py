"""Contender `plain-keras`: the seed's method, written as TensorFlow's own tutorial would, with its default settings.

The Keras model as it is (batch norm kept); one `tf.function` that rolls the image, and takes the gradient of the
rolled image tile by tile; the blend recursion around it. It must not import raydream, which sets oneDNN on.
"""

import os
import sys
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tests.bench import common
from tests.bench.common import BLEND, RESCALE, STEP_SIZE, TILE


class TiledGradients(tf.Module):
    """The gradient of the summed mean activations, over its standard deviation."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    @tf.function(input_signature=[tf.TensorSpec([None, None, 3], tf.float32)])
    def __call__(self, image: Any) -> Any:
        shift = tf.random.uniform([2], -TILE, TILE, tf.int32)
        rolled = tf.roll(image, shift, axis=[0, 1])
        gradients = tf.zeros_like(rolled)
        height, width = tf.shape(image)[0], tf.shape(image)[1]
        for y in tf.range(0, height, TILE):
            for x in tf.range(0, width, TILE):
                with tf.GradientTape() as tape:
                    tape.watch(rolled)
                    value = self.objective(rolled[y : y + TILE, x : x + TILE])
                gradients += tape.gradient(value, rolled)
        gradients = tf.roll(gradients, -shift, axis=[0, 1])
        return gradients / (tf.math.reduce_std(gradients) + 1e-8)

    def objective(self, tile: Any) -> Any:
        """Sum over the layers of their mean activation."""
        activations = self.model(tile[None], training=False)
        return tf.add_n([tf.reduce_mean(plane) for plane in activations])


def dream(image: Any, gradients: TiledGradients, depth: int, steps: int) -> Any:
    """The recursion: dream a smaller one, enlarge it, blend it in, go on from there."""
    if depth > 0:
        height, width = image.shape[:2]
        smaller = tf.image.resize(image, [round(height * RESCALE), round(width * RESCALE)], antialias=True)
        inner = dream(smaller, gradients, depth - 1, steps)
        image = BLEND * image + (1 - BLEND) * tf.image.resize(inner, [height, width], "bicubic")
    for _ in range(steps):
        image = tf.clip_by_value(image + STEP_SIZE * gradients(image), -1.0, 1.0)
    return image


def play(task: common.Task) -> dict[str, Any]:
    """Seconds of one dream."""
    assert "raydream" not in sys.modules
    assert "TF_ENABLE_ONEDNN_OPTS" not in os.environ
    tf.random.set_seed(task.round)
    model = keras.saving.load_model(task.place / "network.keras", compile=False)
    gradients, image = TiledGradients(model), tf.constant(task.image())
    seconds, dreamed = common.timed(
        lambda steps: np.asarray(dream(image, gradients, common.OCTAVES - 1, steps)), task.steps
    )
    return {"seconds": seconds, "objective": float(gradients.objective(dreamed))}


if __name__ == "__main__":
    common.main(play)
