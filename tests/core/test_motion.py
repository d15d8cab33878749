"""motion: sampling, zooming and warping to the pixel, and a flow that is trusted only where it is right."""

import numpy as np
import pytest

from raydream.core import motion
from tests.conftest import random_images


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return random_images(60, 80)[0]


def smooth(height: int = 96, width: int = 128) -> np.ndarray:
    """A pattern without repetition that optical flow can follow."""
    random = np.random.default_rng(3)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    waves = [np.cos(fx * x + fy * y + p) for fx, fy, p in random.uniform(-0.4, 0.4, (12, 3))]
    return np.repeat((np.mean(waves, axis=0) * 2).clip(-1, 1)[..., None], 3, axis=2).astype(np.float32)


def test_whole_positions_give_the_pixels_and_beyond_the_edges_a_mirror(image: np.ndarray) -> None:
    y, x = np.mgrid[0:60, 0:80].astype(np.float32)
    np.testing.assert_array_equal(motion.sampled(image, x, y), image)
    np.testing.assert_array_equal(motion.sampled(image, x + 3, y)[:, -3:], image[:, [-2, -3, -4]])
    np.testing.assert_array_equal(motion.sampled(image, x, y - 2)[:2], image[[2, 1]])
    one = np.full((1, 1, 3), 0.5, np.float32)
    np.testing.assert_allclose(motion.sampled(one, x, y), 0.5, atol=1e-6)


def test_fractional_positions_are_exact_for_a_parabola() -> None:
    """Keys' kernel reproduces polynomials of the second degree; a bilinear one does not."""
    y, x = np.mgrid[0:20, 0:20].astype(np.float32)
    image = (x**2 / 400 + x * y / 800)[..., None]
    x, y = x[5:15, 5:15] + np.float32(0.3), y[5:15, 5:15] - np.float32(0.4)
    np.testing.assert_allclose(motion.sampled(image, x, y)[..., 0], x**2 / 400 + x * y / 800, atol=1e-5)


def test_zoom_enlarges_around_the_middle_and_turns_clockwise(image: np.ndarray) -> None:
    np.testing.assert_array_equal(motion.zoomed(image, 1.0), image)
    odd = image[:59, :79]
    twice = motion.zoomed(odd, 2.0)
    assert twice.shape == odd.shape
    np.testing.assert_allclose(twice[1::2, 1::2], odd[15:44, 20:59], atol=1e-6)
    square = image[:, :60]
    np.testing.assert_allclose(motion.zoomed(square, 1.0, 90.0), np.rot90(square, -1), atol=1e-4)
    small = motion.zoomed(odd, 0.5)
    np.testing.assert_allclose(small[15:44, 20:59], odd[1:58:2, 1:78:2], atol=1e-6)
    assert np.abs(small).max() <= 1


def test_an_image_gets_the_colours_of_another_one(image: np.ndarray) -> None:
    palette = np.clip(random_images(30, 30, seed=5)[0] * (0.5, 0.8, 0.3) + (0.1, -0.2, 0), -1, 1).astype(np.float32)
    dull = (0.4 * image + 0.3).astype(np.float32)
    found = motion.with_colours_of(palette, dull)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.mean(axis=(0, 1)), palette.mean(axis=(0, 1)), atol=0.01)
    np.testing.assert_allclose(np.cov(found.reshape(-1, 3).T), np.cov(palette.reshape(-1, 3).T), atol=0.002)
    np.testing.assert_allclose(motion.with_colours_of(palette, palette), palette, atol=1e-4)


def test_one_colour_does_not_stop_the_dream(image: np.ndarray) -> None:
    found = motion.with_colours_of(np.zeros_like(image), image)
    assert found.std() == pytest.approx(0.03, rel=0.1)
    assert np.isfinite(motion.with_colours_of(image, np.zeros_like(image))).all()


def test_a_warp_moves_what_the_flow_says(image: np.ndarray) -> None:
    flow = np.zeros((60, 80, 2), np.float32)
    flow[..., 0], flow[..., 1] = 4, -3
    np.testing.assert_array_equal(motion.warped(image, flow)[3:, :-4], image[:-3, 4:])


def test_the_flow_of_a_shift_is_the_shift_and_is_not_trusted_where_it_leaves_the_frame() -> None:
    pytest.importorskip("cv2")
    scene = smooth()
    one, other = scene[:90, :120], scene[2:92, 5:125]  # the content moves 5 to the left and 2 up
    there, back = motion.flow(one, other), motion.flow(other, one)
    assert np.abs(there[10:-10, 15:-10] - (-5, -2)).mean() < 0.2
    trusted = motion.trusted(back, there)
    assert trusted.shape == (90, 120, 1)
    assert trusted[10:-10, 10:-15].mean() > 0.95
    assert trusted[:, -4:].mean() < 0.2  # just come in at the right
    np.testing.assert_array_equal(there, motion.flow(one, other))


def test_a_flow_whose_way_back_leads_elsewhere_is_not_trusted() -> None:
    there = np.full((40, 40, 2), 3, np.float32)
    assert motion.trusted(there, -there)[:30, :30].min() == 1
    assert motion.trusted(there, -there)[-3:].max() == 0  # outside of the other frame
    wrong = -there
    wrong[10:20, 10:20] += 4
    share = motion.trusted(there, wrong)[..., 0]
    assert share[8:16, 8:16].max() == 0
    assert share[:5, :5].min() == 1


def test_frames_too_small_for_a_flow_are_taken_for_still() -> None:
    pytest.importorskip("cv2")
    tiny = random_images(20, 40)[0]
    assert not motion.flow(tiny, tiny).any()
