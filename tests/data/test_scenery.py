"""Generated skies and landscapes: repeatable, in range, each its own, rich enough to dream on."""

import itertools
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from raydream.data import scenery

Image = NDArray[np.float32]


@cache
def view(kind: str, seed: int = 0) -> Image:
    return scenery.scene(kind, seed, 160, 120)


def soften(image: Image, size: int) -> Image:
    """Means of blocks of size x size pixels."""
    height, width = (n // size * size for n in image.shape[:2])
    blocks = image[:height, :width].reshape(height // size, size, width // size, size, 3)
    return blocks.mean((1, 3))


def test_there_are_enough_kinds() -> None:
    assert len(scenery.KINDS) >= 6
    assert len(set(scenery.KINDS)) == len(scenery.KINDS)


@pytest.mark.parametrize("kind", scenery.KINDS)
def test_range_type_and_light(kind: str) -> None:
    image = view(kind)
    assert image.shape == (120, 160, 3)
    assert image.dtype == np.float32
    assert np.isfinite(image).all()
    assert image.min() >= -1
    assert image.max() <= 1
    assert -0.7 < image.mean() < 0.7
    assert (np.abs(image) >= 1).all(-1).mean() < 0.15  # neither burnt out nor drowned


@pytest.mark.parametrize("kind", scenery.KINDS)
def test_structure_at_every_scale(kind: str) -> None:
    image = view(kind)
    assert image.std() > 0.15
    for size in (1, 2, 4, 10):
        fine, coarse = soften(image, size), soften(image, 2 * size)
        assert (fine - np.kron(coarse, np.ones((2, 2, 1)))).std() > 0.02, size


@pytest.mark.parametrize("kind", scenery.KINDS)
def test_no_bands_of_equal_colour(kind: str) -> None:
    codes = np.round((view(kind) + 1) * 127.5).astype(np.int32)
    flat = (codes[:, 1:] == codes[:, :-1]).all(-1) & (codes[:, 1:] < 250).any(-1)
    assert flat.mean() < 0.2
    assert len(np.unique(codes.reshape(-1, 3), axis=0)) > 2000


def test_seeds_and_kinds_differ() -> None:
    looks = {(kind, seed): soften(view(kind, seed), 8) for kind in scenery.KINDS for seed in (0, 1)}
    for a, b in itertools.combinations(looks, 2):
        assert np.abs(looks[a] - looks[b]).mean() > 0.02, (a, b)


@pytest.mark.parametrize("kind", ["mountains", "sea"])
def test_a_seed_keeps_its_composition_at_every_size(kind: str) -> None:
    large = soften(scenery.scene(kind, 0, 320, 240), 16)
    assert np.abs(large - soften(view(kind), 8)).mean() < 0.05


@pytest.mark.parametrize("kind", scenery.KINDS)
def test_equal_arguments_give_equal_bytes_at_an_odd_size(kind: str) -> None:
    image = scenery.scene(kind, 3, 37, 91)
    assert image.shape == (91, 37, 3)
    assert image.tobytes() == scenery.scene(kind, 3, 37, 91).tobytes()


@pytest.mark.parametrize("kind", ["sea", "dunes"])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (90, 5)])
def test_tiny_pictures(kind: str, width: int, height: int) -> None:
    image = scenery.scene(kind, 3, width, height)
    assert image.shape == (height, width, 3)
    assert np.isfinite(image).all()


def test_an_unknown_kind_is_told_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'plasma'") as error:
        scenery.scene("plasma", 0)
    assert "\n" not in str(error.value)
    assert all(kind in str(error.value) for kind in scenery.KINDS)


def test_a_collection_takes_the_kinds_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    _, image = next(scenery.collection(1, seed=5, width=32, height=24))
    assert np.array_equal(image, scenery.scene(scenery.KINDS[0], 5, 32, 24))
    monkeypatch.setattr(scenery, "scene", lambda *arguments: arguments)
    pictures = dict(scenery.collection(2 * len(scenery.KINDS), seed=5, width=32, height=24))
    assert len(set(pictures.values())) == len(pictures) == 2 * len(scenery.KINDS)
    assert pictures["sea/sea_00.png"] == ("sea", 5, 32, 24)
    assert pictures["sea/sea_01.png"] == ("sea", 6, 32, 24)
    assert list(scenery.collection(0)) == []
