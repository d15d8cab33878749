"""Names for what is passed around: arrays, and the values that a recipe's keys may have."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]  # (height, width, 3), sRGB, in [-1, 1]
Images = NDArray[np.floating[Any]]  # (batch, height, width, 3), sRGB, in [-1, 1]
Pixels = NDArray[np.uint8]  # (height, width, 3), sRGB
Size = tuple[int, int]  # (height, width) in pixels

Carry = Literal["blend", "detail"]
Pooling = Literal["max", "average"]
Precision = Literal["float32", "bfloat16"]
StepRule = Literal["std", "mean_abs"]
Tiling = Literal["roll", "exact"]
