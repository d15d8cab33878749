"""What keeps the memory of a dream low: a large image costs 3.8 float32 copies of itself at the peak.

`python -m tests.bench.memory` measures it (one image of 24 megapixels, tiles of 512). Each line is something that
the engine does, and how many float32 copies higher the peak was without it:

    `tensor_of` in place of `tf.convert_to_tensor`                                       1.0
    the engine drops the caller's array, and in the last octave the source               1.0 each
    a step ends with its function call, which drops the gradient before the next step    0.5
    the rolled image and the sum of the tiles' gradients end with their function calls   2.0 together
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from raydream.types import Tensor


def tensor_of(array: NDArray[Any]) -> Tensor:
    """A large array as a tensor, at the cost of one copy; the array must not change afterwards.

    `tf.convert_to_tensor` needs memory for two copies: 4.8 float32 copies of an image at the peak in place of 3.8.
    """
    import tensorflow as tf

    tensor = tf.raw_ops.Identity(input=array)
    tf.raw_ops.Identity(input=np.zeros(1))  # TensorFlow keeps the last array that it was given until the next one
    return tensor
