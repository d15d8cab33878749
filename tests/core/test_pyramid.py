"""pyramid: sizes, and what crosses from one octave to the next, by the formulas."""

import numpy as np
import pytest

from raydream.core import pyramid
from tests.conftest import random_images


def test_sizes_of_natural_dreams():
    """The seed project's: 299, and 0.85 of it, twice."""
    assert pyramid.sizes(299, 299, 3, 1.1764706) == [(216, 216), (254, 254), (299, 299)]


def test_sizes_keep_the_shape_and_end_at_the_full_size():
    assert pyramid.sizes(300, 451, 3, 1.5) == [(133, 200), (200, 301), (300, 451)]
    assert pyramid.sizes(300, 451, 1, 1.5) == [(300, 451)]
    assert pyramid.sizes(4, 9, 5, 8.0)[0] == (1, 1)


def test_resize_to_the_same_size_changes_nothing():
    images = random_images(20, 30)
    assert pyramid.resize(images, (20, 30)) is images


@pytest.mark.parametrize("size", [(10, 15), (41, 64), (10, 90)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_resize_keeps_flat_images_and_type(size, dtype):
    images = np.full((2, 20, 30, 3), 0.7, dtype)
    resized = pyramid.resize(images, size).numpy()
    assert (resized.shape, resized.dtype) == ((2, *size, 3), np.dtype(dtype))
    np.testing.assert_allclose(resized, 0.7, atol=1e-5)


@pytest.mark.parametrize("carry", ["blend", "detail"])
def test_an_octave_starts_within_the_range(carry):
    edges = np.where(random_images(40, 52) > 0, 1.0, -1.0).astype("float32")
    assert np.abs(pyramid.resize(edges, (30, 39))).max() > 1.0  # the filters overshoot
    for dream in (None, edges[:, :20, :26]):
        assert np.abs(pyramid.start(edges, (30, 39), dream, carry, 0.15)).max() <= 1.0


def test_shrinking_is_antialiased():
    """Stripes finer than the small image's pixels become grey; picking pixels would keep them or move them."""
    stripes = np.ones((1, 64, 64, 3), np.float32)
    stripes[:, :, ::2] = -1.0
    assert np.abs(pyramid.resize(stripes, (24, 24)).numpy()).max() < 0.2


def test_the_first_octave_starts_from_the_photograph():
    source = random_images(40, 52)
    for carry in ("blend", "detail"):
        first = pyramid.start(source, (20, 26), None, carry, 0.15)
        np.testing.assert_array_equal(first, np.clip(pyramid.resize(source, (20, 26)), -1, 1))


def test_blend():
    source, dream = random_images(40, 52), random_images(20, 26, seed=1)
    found = pyramid.start(source, (30, 39), dream, "blend", 0.15)
    expected = 0.15 * pyramid.resize(source, (30, 39)) + 0.85 * pyramid.resize(dream, (30, 39))
    np.testing.assert_allclose(found, np.clip(expected, -1, 1), atol=1e-6)


def test_blend_of_one_is_the_photograph_and_of_none_the_dream():
    source, dream = random_images(40, 52), random_images(20, 26, seed=1)
    np.testing.assert_allclose(pyramid.start(source, (40, 52), dream, "blend", 1.0), source, atol=1e-6)
    alone = pyramid.start(source, (40, 52), dream, "blend", 0.0)
    np.testing.assert_allclose(alone, pyramid.resize(dream, (40, 52)), atol=1e-6)


def test_detail():
    """The enlarged dream, and what the photograph lost when it was as small."""
    source, dream = random_images(40, 52), random_images(20, 26, seed=1)
    found = pyramid.start(source, (30, 39), dream, "detail", 0.15)
    small = pyramid.resize(pyramid.resize(source, (20, 26)), (30, 39))
    expected = pyramid.resize(dream, (30, 39)) + pyramid.resize(source, (30, 39)) - small
    np.testing.assert_allclose(found, np.clip(expected, -1, 1), atol=1e-6)


def test_detail_brings_an_untouched_photograph_back_whole():
    source = random_images(40, 52)
    for size in ((30, 39), (40, 52)):
        found = pyramid.start(source, size, pyramid.resize(source, (20, 26)), "detail", 0.15)
        np.testing.assert_allclose(found, pyramid.resize(source, size), atol=1e-6)


def test_detail_stays_in_range():
    source = np.where(random_images(40, 52) > 0, 1.0, -1.0).astype(np.float32)
    dream = np.where(random_images(20, 26, seed=1) > 0, 1.0, -1.0).astype(np.float32)
    assert np.abs(pyramid.start(source, (40, 52), dream, "detail", 0.15)).max() <= 1.0
