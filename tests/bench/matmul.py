"""Contender `matmul`: a plain float32 matrix product, 2048^3, all cores: the yardstick for GFLOP/s."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from tests.bench import common

SIDE, SECONDS = 2048, 3.0


def play(task: common.Task) -> dict[str, Any]:
    """GFLOP/s through NumPy and through TensorFlow with raydream's settings."""
    import raydream  # noqa: F401 -- the settings

    a, b = np.random.default_rng(task.round).standard_normal((2, SIDE, SIDE), np.float32)
    through_numpy = _rate(lambda: a @ b)
    import tensorflow as tf

    left, right = tf.constant(a), tf.constant(b)
    return {"numpy": through_numpy, "tensorflow": _rate(lambda: tf.matmul(left, right).numpy())}


def _rate(product: Callable[[], Any]) -> float:
    product()
    times, began = [], time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        start = time.perf_counter()
        product()
        times.append(time.perf_counter() - start)
    return 2 * SIDE**3 / 1e9 / median(times)


if __name__ == "__main__":
    common.main(play)
