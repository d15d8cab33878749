"""update: normalising, blurring and colour, against NumPy and per image."""

import numpy as np
import pytest

from raydream.core import update
from raydream.core.update import Conditioning


def random(height=12, width=17, batch=2, seed=0):
    """Gradients of very different size in one batch."""
    images = np.random.default_rng(seed).standard_normal((batch, height, width, 3))
    return images * 10.0 ** -(3.0 * np.arange(batch))[:, None, None, None] + 1e-5


def gaussian(sigma, radius):
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return kernel / kernel.sum()


def blurred(images, sigma):
    """The same blur in NumPy: mirrored edges, three sigma wide."""
    radius = int(np.ceil(3 * sigma))
    kernel = gaussian(sigma, radius)
    padded = np.pad(images, [(0, 0), (radius, radius), (radius, radius), (0, 0)], "reflect")
    for axis in (1, 2):
        padded = np.apply_along_axis(np.convolve, axis, padded, kernel, "valid")
    return padded


# ---------------------------------------------------------------- size


def test_std_divides_each_gradient_by_its_own_deviation():
    gradient = random()
    found = update.normalize(gradient, "std").numpy()
    np.testing.assert_allclose(found, gradient / gradient.std(axis=(1, 2, 3), keepdims=True), rtol=1e-12)
    np.testing.assert_allclose(found.std(axis=(1, 2, 3)), 1.0, rtol=1e-12)


def test_mean_abs_divides_each_gradient_by_its_own_mean():
    gradient = random()
    found = update.normalize(gradient, "mean_abs").numpy()
    np.testing.assert_allclose(np.abs(found).mean(axis=(1, 2, 3)), 1.0, rtol=1e-12)
    np.testing.assert_allclose(found[1] / gradient[1], 1.0 / np.abs(gradient[1]).mean(), rtol=1e-9)


@pytest.mark.parametrize("rule", ["std", "mean_abs"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_gradient_is_no_step(rule, dtype):
    gradient = random().astype(dtype)
    gradient[0] = 0.0
    found = update.normalize(gradient, rule).numpy()
    assert not found[0].any()
    assert found[1].any()
    assert found.dtype == dtype


@pytest.mark.parametrize("rule", ["std", "mean_abs"])
def test_the_size_of_the_gradient_does_not_matter(rule):
    """However small: an epsilon in the division would make large images dream less."""
    gradient = random(batch=1)
    expected = update.normalize(gradient, rule)
    np.testing.assert_allclose(update.normalize(gradient * 1e-12, rule), expected, rtol=1e-9)


# ---------------------------------------------------------------- blur


@pytest.mark.parametrize("sigma", [0.25, 0.5, 1.3, 2.0])
def test_blur_is_a_gaussian(sigma):
    images = random(20, 23)
    np.testing.assert_allclose(update.blur(images, sigma), blurred(images, sigma), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("sigma", [0.5, 3.0, 40.0])
def test_blur_keeps_the_mean(sigma):
    flat = np.full((1, 9, 14, 3), 0.3)
    np.testing.assert_allclose(update.blur(flat, sigma), flat, rtol=1e-12)


def test_blur_spreads_a_point_and_loses_nothing():
    point = np.zeros((1, 31, 35, 3))
    point[0, 15, 17] = [1.0, 2.0, -3.0]
    found = update.blur(point, 2.0).numpy()
    np.testing.assert_allclose(found.sum(axis=(1, 2)), [[1.0, 2.0, -3.0]], rtol=1e-12)
    rows = found[0, :, :, 0].sum(axis=1)
    assert (rows * (np.arange(31) - 15) ** 2).sum() == pytest.approx(4.0, rel=0.03)  # sigma squared, cut at 3 sigma


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (4, 4)])
def test_blur_of_an_image_smaller_than_the_kernel(size):
    found = update.blur(random(*size), 64.0).numpy()
    assert found.shape == (2, *size, 3)
    assert np.isfinite(found).all()


def test_smooth_is_the_mean_of_three_gaussians():
    images = random(40, 40)
    expected = (blurred(images, 0.8) + blurred(images, 1.6) + blurred(images, 3.2)) / 3.0
    np.testing.assert_allclose(update.smooth(images, 1.6), expected, rtol=1e-10, atol=1e-14)


# ---------------------------------------------------------------- colour


def test_no_chroma_pushes_all_channels_alike():
    """So the differences between an image's channels, its colours, stay."""
    gradient = random()
    found = update.tint(gradient, 0.0).numpy()
    np.testing.assert_allclose(found, np.repeat(gradient.mean(axis=-1, keepdims=True), 3, axis=-1), rtol=1e-9)
    image = random(seed=1)
    np.testing.assert_allclose(np.diff(image + found), np.diff(image), atol=1e-12)


def test_full_chroma_changes_nothing_and_half_is_half():
    gradient = random()
    np.testing.assert_allclose(update.tint(gradient, 1.0), gradient, rtol=1e-9)
    half = (gradient + update.tint(gradient, 0.0)) / 2.0
    np.testing.assert_allclose(update.tint(gradient, 0.5), half, rtol=1e-9)


# ---------------------------------------------------------------- together


@pytest.mark.parametrize("bands", [(), (1.0, 2.0, 0.5)])
@pytest.mark.parametrize("smoothing", [0.0, 2.0])
@pytest.mark.parametrize("chroma", [1.0, 0.3])
@pytest.mark.parametrize("rule", ["std", "mean_abs"])
def test_every_step_has_unit_size_whatever_came_before(rule, smoothing, chroma, bands):
    conditioning = Conditioning(rule=rule, smoothing=smoothing, chroma=chroma, bands=bands)
    found = update.direction(random(30, 30), conditioning, 0.5).numpy()
    size = found.std(axis=(1, 2, 3)) if rule == "std" else np.abs(found).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(size, 1.0, rtol=1e-9)


def test_images_of_a_batch_do_not_touch_each_other():
    gradient = random(20, 20, batch=3)
    conditioning = Conditioning(smoothing=1.5, chroma=0.5, bands=(1.0, 1.0))
    together = update.direction(gradient, conditioning, 0.5).numpy()
    for index in range(3):
        alone = update.direction(gradient[index : index + 1], conditioning, 0.5).numpy()
        np.testing.assert_allclose(together[index], alone[0], rtol=1e-9)


def test_the_blur_grows_with_the_progress():
    gradient = random(40, 40, batch=1)

    def roughness(progress):
        return np.abs(np.diff(update.direction(gradient, Conditioning(smoothing=3.0), progress), axis=1)).mean()

    assert roughness(0.1) > 1.2 * roughness(0.5) > 1.4 * roughness(1.0)
    expected = update.normalize(update.smooth(gradient, 0.5 + 3.0 * 0.4), "std")
    np.testing.assert_allclose(update.direction(gradient, Conditioning(smoothing=3.0), 0.4), expected, rtol=1e-9)
