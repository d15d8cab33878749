"""How the engine saves memory: at its peak, a large image needs the memory of 3.8 float32 copies of itself.

`python -m tests.bench.memory` measures this (one image of 24 megapixels, tiles of 512). Each line is a measure of the
engine, and the number of float32 copies that it saves:

    `tensor_of` instead of `tf.convert_to_tensor`                                             1.0
    the engine drops the caller's array, and the source in the last octave                    1.0 each
    each step is a function call, at whose end the gradient is dropped                        0.5
    the rolled image and the sum of the gradients are dropped at the end of function calls    2.0 together
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from raydream.types import Tensor


def tensor_of(array: NDArray[Any]) -> Tensor:
    """Converts a large array to a tensor with only one copy; the array must not change afterwards.

    `tf.convert_to_tensor` makes two copies: the peak would be 4.8 float32 copies of an image instead of 3.8.
    """
    import tensorflow as tf

    tensor = tf.raw_ops.Identity(input=array)
    tf.raw_ops.Identity(input=np.zeros(1))  # TensorFlow holds the last array until it gets another one
    return tensor
