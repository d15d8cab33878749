"""Figures of two sets of images: each against its definition, and on sets whose figures are known."""

import numpy as np
import pytest

from raydream.core import distributions
from raydream.core.distributions import Extractor
from raydream.core.networks.backbones import Backbone


def points(count: int, mean: float = 0.0, seed: int = 0, channels: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1.0, (count, channels))


def test_kid_is_the_unbiased_estimate_of_the_definition() -> None:
    made, real = points(7, 0.5, seed=1), points(9, seed=2)

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / 8 + 1) ** 3)

    own = np.mean([kernel(x, y) for i, x in enumerate(made) for j, y in enumerate(made) if i != j])
    other = np.mean([kernel(x, y) for i, x in enumerate(real) for j, y in enumerate(real) if i != j])
    between = np.mean([kernel(x, y) for x in made for y in real])
    assert distributions.kid(made, real) == pytest.approx(own + other - 2 * between)


def test_kid_is_near_zero_for_equal_distributions_and_grows_with_the_distance() -> None:
    values = [distributions.kid(points(400, mean, seed=1), points(400, seed=2)) for mean in (0.0, 0.5, 1.0)]
    assert abs(values[0]) < 0.02
    assert values[0] < 0.1 * values[1] < 0.1 * values[2]
    with pytest.raises(ValueError, match="at least two"):
        distributions.kid(points(1), points(5))


def test_density_and_coverage() -> None:
    real = points(300, seed=1)
    density, coverage = distributions.density_and_coverage(points(300, seed=2), real)
    assert density == pytest.approx(1.0, abs=0.2)
    assert coverage > 0.9
    density, coverage = distributions.density_and_coverage(np.repeat(real[:1], 50, axis=0), real)
    assert coverage < 0.1, "one image again and again covers little"
    assert density > 1 / 5
    assert distributions.density_and_coverage(points(50, mean=20.0), real) == (0.0, 0.0)
    with pytest.raises(ValueError, match="more than 5"):
        distributions.density_and_coverage(real, real[:5])


def test_coverage_by_hand() -> None:
    """Real points 0, 1, ..., 11 on a line: the ball around 0 reaches to 5, that around 6 to 3 and 9 or so."""
    real = np.arange(12.0)[:, None]
    density, coverage = distributions.density_and_coverage(np.array([[-4.0]]), real)
    assert (density, coverage) == (pytest.approx(1 / 5), pytest.approx(1 / 12))


def test_the_percentile_is_50_for_equal_values_and_counts_ties_half() -> None:
    real = np.arange(100.0)
    assert distributions.percentile(real, real) == pytest.approx(50.0)
    assert distributions.percentile(np.array([-1.0]), real) == 0.0
    assert distributions.percentile(np.array([1000.0]), real) == 100.0
    assert distributions.percentile(np.array([3.0]), np.full(5, 3.0)) == 50.0


def test_near_copies_are_found_and_new_images_are_none() -> None:
    """With 64 channels, since distances vary little if there are many, as there are in a network."""
    learnt, held_out = (points(count, seed=count, channels=64) for count in (500, 100))
    copies = learnt[:30] + np.random.default_rng(3).normal(0, 0.1, (30, 64))
    made = np.concatenate([copies, points(70, seed=4, channels=64)])
    assert distributions.near_copies(made, learnt, held_out) == pytest.approx(0.3, abs=0.02)
    assert distributions.near_copies(held_out, learnt, held_out) < 0.02


def test_distances_do_not_depend_on_the_rows_that_are_compared_at_once() -> None:
    made, real = points(2500, seed=1, channels=3), points(40, seed=2, channels=3)
    plain = np.linalg.norm(made[:, None] - real[None], axis=-1).min(axis=1)
    np.testing.assert_allclose(distributions.nearest(made, real), plain, atol=1e-6)


def test_features_are_means_over_positions_for_any_number_of_images(tiny_backbone: Backbone) -> None:
    import tensorflow as tf

    images = np.random.default_rng(0).uniform(-1, 1, (35, 130, 130, 3)).astype(np.float32)
    found = Extractor(tiny_backbone)(images)
    maps = tf.function(tiny_backbone.activations)(images[33:])
    plain = np.concatenate([np.mean(each, axis=(1, 2)) for each in maps], axis=1)
    np.testing.assert_allclose(found[33:], plain, rtol=1e-4, atol=1e-5)
    small = Extractor(tiny_backbone)(images[:3, :40, :40])
    assert small.shape == (3, found.shape[1])
