"""How visible the tile borders are in a picture, for tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def seam_score(image: NDArray[np.floating[Any]], rows: Sequence[int], columns: Sequence[int]) -> float:
    """How much more neighbouring pixels differ across the given lines than elsewhere.

    The mean squared difference across the lines over the mean elsewhere, along each axis that has lines, so that a
    picture whose content runs one way scores no seam. 1.0 means no seam, more an edge along the lines, less that
    they are smoother than the rest (as where tiles push their borders less). A line is few pixels: scores of single
    dreams scatter by a tenth, so take the mean of some.

    Args:
        image: (height, width, 3), any range.
        rows: horizontal lines: y is the border between the pixel rows y - 1 and y, from 1 to height - 1.
        columns: vertical lines, likewise from 1 to width - 1.

    Returns:
        The score, at least 0; 1.0 for an image that is flat at the lines and elsewhere.

    Raises:
        ValueError: not such an image, no lines, a line outside the image, or no place without a line.
    """
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image must be (height, width, 3), not {image.shape}")
    if not (len(rows) or len(columns)):
        raise ValueError("name at least one row or column")
    pixels = np.asarray(image, np.float64)
    pairs = [_across(pixels, axis, lines) for axis, lines in enumerate((rows, columns)) if len(lines)]
    across, elsewhere = (sum(part) for part in zip(*pairs, strict=True))
    if elsewhere == 0.0:
        return 1.0 if across == 0.0 else math.inf
    return float(across / elsewhere)


def _across(pixels: NDArray[np.float64], axis: int, lines: Sequence[int]) -> tuple[float, float]:
    """Mean squared difference of neighbours along an axis: across the lines, and elsewhere."""
    length = pixels.shape[axis]
    if min(lines) < 1 or max(lines) > length - 1:
        raise ValueError(f"lines must be from 1 to {length - 1}, not {list(lines)}")
    squares = np.mean(np.diff(pixels, axis=axis) ** 2, axis=(1 - axis, 2))
    chosen = np.zeros(length - 1, bool)
    chosen[np.asarray(lines) - 1] = True
    if chosen.all():
        raise ValueError("every line is named: nothing is left to compare with")
    return float(squares[chosen].mean()), float(squares[~chosen].mean())
