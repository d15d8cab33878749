"""confusion: the interval of a share, the matrix, and its picture."""

import numpy as np
import pytest

from raydream.data import codec
from raydream.pages import confusion


def test_the_interval_is_wilsons() -> None:
    """Figures of statsmodels' proportion_confint(method="wilson")."""
    assert confusion.interval(45, 50) == pytest.approx((0.78640, 0.95652), abs=1e-4)
    assert confusion.interval(0, 10) == pytest.approx((0.0, 0.27753), abs=1e-4)
    assert confusion.interval(10, 10) == pytest.approx((0.72247, 1.0), abs=1e-4)


def test_rows_are_the_true_classes() -> None:
    counts = confusion.matrix(np.array([0, 0, 1], np.int32), np.array([0, 1, 1]), 3)
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    figures = confusion.figures(counts, ["a", "b", "c"])
    assert figures["accuracy"] == pytest.approx(2 / 3)
    assert figures["classes"] == {
        "a": {"images": 2, "accuracy": 0.5},
        "b": {"images": 1, "accuracy": 1.0},
        "c": {"images": 0, "accuracy": None},
    }


@pytest.mark.parametrize("classes", [3, 200])
def test_the_picture_is_dark_where_images_are(classes: int) -> None:
    counts = np.zeros((classes, classes), np.int64)
    counts[0, 2] = 5
    image = codec.decode(confusion.picture(counts, [f"class {n}" for n in range(classes)]))
    dark = np.argwhere(image[..., 0] < -0.7)
    rows, columns = dark[:, 0].max(), dark[:, 1].max()
    assert max(image.shape) < 1300
    assert image.shape[0] == image.shape[1]
    cell = np.argwhere((image[..., 2] < 0) & (image[..., 2] > -0.5) & (image[..., 0] < -0.7))
    assert len(cell), "a cell in the dark blue of a full row"
    (top, left), (bottom, right) = cell.min(axis=0), cell.max(axis=0)
    margin = rows - (bottom - top + 1) * classes
    assert left > top >= margin - 2
    assert right < columns


def test_a_long_name_leaves_room_for_the_matrix() -> None:
    counts = np.eye(3, dtype=np.int64)
    long, short = (codec.decode(confusion.picture(counts, ["a", "b", name])) for name in ("x" * 5000, "x" * 32))
    assert max(long.shape) <= 1.1 * max(short.shape)
    lines, plain = (confusion.picture(counts, ["a", "b", name]) for name in ("c\nd", "c d"))
    assert lines == plain
