"""The figures of a classifier on its test images: accuracy, its interval, and the confusion matrix as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from raydream.data import codec

_CELL, _NAMES = 18, 60  # pixels of a cell; above this number of classes, cells are smaller and have no names
_LONGEST = 32  # characters of a name
_PAPER, _INK = (255, 255, 255), (30, 30, 40)


def interval(right: int, count: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share (Wilson, 1927).

    Args:
        right, count: the number of successes, and of trials (at least 1).
    """
    z = 1.959964
    share, square = right / count, z * z / count
    middle = (share + square / 2) / (1 + square)
    half = z * math.sqrt(share * (1 - share) / count + square / (4 * count)) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


def matrix(labels: NDArray[np.int32], predicted: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Counts (classes, classes): the rows are the true classes, the columns the predicted ones."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels, predicted), 1)
    return counts


def figures(counts: NDArray[np.int64], classes: Sequence[str]) -> dict[str, Any]:
    """The figures of a confusion matrix, as plain data."""
    count, right = int(counts.sum()), int(np.trace(counts))
    low, high = interval(right, count)
    each = {}
    for name, row, hit in zip(classes, counts, np.diag(counts), strict=True):
        each[name] = {"images": int(row.sum()), "accuracy": float(hit / row.sum()) if row.sum() else None}
    return {
        "images": count,
        "accuracy": right / count,
        "interval": [low, high],
        "chance": 1 / len(classes),
        "classes": each,
        "confusion": counts.tolist(),
    }


def picture(counts: NDArray[np.int64], classes: Sequence[str]) -> bytes:
    """The confusion matrix as a PNG: a row for each true class, dark where many of its images were put."""
    names = [_short(name) for name in classes] if len(classes) <= _NAMES else []
    cell = _CELL if names else max(3, 1080 // len(classes))
    font = ImageFont.load_default(size=12)
    margin = 16 + max((int(font.getlength(name)) for name in names), default=0)
    side = cell * len(classes)
    canvas = Image.new("RGB", (margin + side + 8, margin + side + 8), _PAPER)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    levels = np.rint(255 - shares[..., None] * (255 - np.array([20, 40, 110]))).astype(np.uint8)
    canvas.paste(Image.fromarray(levels).resize((side, side), Image.Resampling.NEAREST), (margin, margin))
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((margin - 1, margin - 1, margin + side, margin + side), outline=_INK)
    if names:
        for n, name in enumerate(names):
            place = margin + n * cell + cell // 2
            draw.text((margin - 6, place), name, fill=_INK, font=font, anchor="rm")
        canvas.paste(_upright(names, cell, margin, side, font), (margin, 0))
    return codec.encode(np.asarray(canvas), "png")


def _short(name: str) -> str:
    """The name in one line, and cut if it is so long that it would leave no room for the matrix."""
    line = " ".join(name.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."


def _upright(names: Sequence[str], cell: int, margin: int, side: int, font: Any) -> Image.Image:
    """The names above the columns, turned by 90 degrees."""
    strip = Image.new("RGB", (margin - 2, side), _PAPER)
    draw = ImageDraw.Draw(strip)
    for n, name in enumerate(names):
        draw.text((6, n * cell + cell // 2), name, fill=_INK, font=font, anchor="lm")
    return strip.transpose(Image.Transpose.ROTATE_90)
