"""augmentation: random, but fixed by the generator; of the same size; what comes from outside is a mirror image."""

import numpy as np
import pytest

from raydream.training.augmentation import Augmentation


def ramp(height: int = 40, width: int = 60) -> np.ndarray:
    """Grey that grows to the right, and a white square in the middle."""
    image = np.broadcast_to(np.linspace(40, 160, width, dtype=np.uint8)[None, :, None], (height, width, 3)).copy()
    image[height // 2 - 5 : height // 2 + 5, width // 2 - 5 : width // 2 + 5] = 255
    return image


def square(image: np.ndarray) -> tuple[float, float, float]:
    """(middle row, middle column, area) of the white square."""
    rows, columns = np.nonzero(image[..., 0] > 200)
    return float(rows.mean()), float(columns.mean()), float(len(rows))


def test_the_middle_stays_and_the_size_changes_as_asked() -> None:
    areas = []
    for seed in range(40):
        changed = Augmentation(shear=0, zoom=0.2, flip=False)(ramp(), np.random.default_rng(seed))
        assert changed.shape == (40, 60, 3)
        row, column, area = square(changed)
        assert row == pytest.approx(19.5, abs=0.6)
        assert column == pytest.approx(29.5, abs=0.6)
        areas.append(area)
    assert 55 < min(areas) < 80
    assert 115 < max(areas) < 150


def test_shear_moves_rows_against_each_other() -> None:
    sheared = [Augmentation(shear=0.2, zoom=0, flip=False)(ramp(), np.random.default_rng(n)) for n in range(20)]
    shifts = []
    for image in sheared:
        top, bottom = (np.nonzero(image[row, :, 0] > 200)[0].mean() for row in (16, 23))
        shifts.append((bottom - top) / 7)
    assert max(map(abs, shifts)) > 0.12
    assert max(map(abs, shifts)) < 0.3
    assert min(shifts) < 0 < max(shifts)


def test_half_are_mirrored() -> None:
    flips = [
        Augmentation(shear=0, zoom=0)(ramp(), np.random.default_rng(n))[0, 0, 0] == ramp()[0, -1, 0] for n in range(60)
    ]
    assert 15 < sum(flips) < 45


def test_nothing_is_black_at_the_borders_and_the_generator_decides() -> None:
    change = Augmentation(shear=0.5, zoom=0.4)
    for seed in range(20):
        one, other = (change(ramp(), np.random.default_rng(seed)) for _ in range(2))
        np.testing.assert_array_equal(one, other)
        assert one.min() >= 40
