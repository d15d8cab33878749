"""canvas, transforms and Adam: there and back, gradients by finite differences, and what they are for."""

import numpy as np
import pytest
import tensorflow as tf

from raydream.core import canvas, engine, transforms
from raydream.core.context import NO_PICTURES
from raydream.core.update import Adam
from raydream.errors import UsageError
from raydream.recipe import Recipe
from tests.conftest import random_images

IMAGES = random_images(40, 51, batch=2).astype(np.float64)


@pytest.mark.parametrize("size", [(40, 51), (33, 64)])
def test_a_photograph_comes_back_from_the_fourier_canvas(size):
    images = random_images(*size, batch=2).astype(np.float64)
    fourier = canvas.Fourier(size, "float64")
    found = fourier.images(fourier.coefficients(tf.constant(images))).numpy()
    np.testing.assert_allclose(found, 0.98 * images, atol=1e-9)


def test_the_gradient_of_the_coefficients_is_that_of_the_images():
    fourier = canvas.Fourier((40, 51), "float64")
    coefficients = fourier.coefficients(tf.constant(IMAGES))
    random = np.random.default_rng(0)
    weights, direction = random.standard_normal(IMAGES.shape), random.standard_normal(coefficients.shape)
    slope = (fourier.backpropagate(coefficients, tf.constant(weights)).numpy() * direction).sum()
    h = 1e-6
    high, low = ((fourier.images(coefficients + s * h * direction).numpy() * weights).sum() for s in (1, -1))
    assert slope == pytest.approx((high - low) / (2 * h), rel=1e-5)


def test_noise_is_nearly_grey_and_smooth():
    noise = canvas.noise((64, 64), 3, seed=1)
    assert noise.shape == (3, 64, 64, 3)
    assert 0.005 < noise.std() < 0.3
    assert np.abs(np.diff(noise, axis=1)).mean() < 0.7 * noise.std()
    np.testing.assert_array_equal(noise, canvas.noise((64, 64), 3, seed=1))


def test_no_transform_is_the_image_and_a_half_turn_is_a_half_turn():
    still = [[1, 0, 0, 0, 1, 0, 0, 0]] * 2
    np.testing.assert_allclose(transforms.apply(tf.constant(IMAGES), still), IMAGES)
    turned = [[-1, 0, 50, 0, -1, 39, 0, 0]] * 2
    np.testing.assert_allclose(transforms.apply(tf.constant(IMAGES), turned), IMAGES[:, ::-1, ::-1], atol=1e-12)


def test_a_drawn_transform_keeps_the_middle_and_its_limits():
    for seed in range(20):
        a, b, c, d, e, f, *_ = transforms.draw(np.random.default_rng(seed), 10.0, 0.1, (40, 51))
        np.testing.assert_allclose([a * 25 + b * 19.5 + c, d * 25 + e * 19.5 + f], [25, 19.5])
        assert 1 / 1.1 - 1e-9 <= np.hypot(a, d) <= 1 / 0.9 + 1e-9
        assert abs(np.degrees(np.arctan2(d, a))) <= 10


def test_the_backpropagated_gradient_is_the_transposed_transform():
    random = np.random.default_rng(0)
    drawn = [transforms.draw(random, 30.0, 0.2, (40, 51)) for _ in range(2)]
    a, b = random.standard_normal((2, *IMAGES.shape))
    there = (transforms.apply(tf.constant(a), drawn).numpy() * b).sum()
    back = (transforms.backpropagate(tf.constant(a), drawn, tf.constant(b)).numpy() * a).sum()
    assert there == pytest.approx(back, rel=1e-9)


def test_adam_is_that_of_the_paper():
    keras = pytest.importorskip("keras")
    optimizer, values = keras.optimizers.Adam(0.1, epsilon=1e-8), keras.Variable(np.ones(5, np.float32))
    adam, mine = Adam(0.1), tf.ones(5)
    for step in range(5):
        gradient = np.random.default_rng(step).standard_normal(5).astype(np.float32)
        optimizer.apply_gradients([(-gradient, values)])
        mine = adam(mine, gradient)
    np.testing.assert_allclose(mine, values.numpy(), rtol=1e-5)


@pytest.mark.parametrize("changes", [
    {"canvas": "fourier", "optimizer": "adam", "step_size": 0.02},
    {"canvas": "fourier"},
    {"optimizer": "adam"},
    {"rotate": 10, "rescale": 0.1},
    {"bands": [1, 1, 1]},
])  # fmt: skip
def test_the_objective_rises_with_each_way_of_changing_the_image(changes, tiny_backbone):
    images = random_images(110, 97)
    recipe = Recipe(objective="high", octaves=2, steps=8, **changes)
    dream = engine.dream(images, recipe, tiny_backbone, [1])
    assert np.abs(dream).max() <= 1.0
    before, after = (engine.measure(each, recipe, tiny_backbone)[0] for each in (images, dream))
    assert after > before + 0.02
    np.testing.assert_array_equal(dream, engine.dream(images, recipe, tiny_backbone, [1]))


def test_pixels_at_the_end_of_the_range_come_back_at_once(tiny_backbone):
    """Adam's values stay inside the range: what goes beyond it would have to come all the way back."""
    white = np.ones((1, 40, 40, 3), np.float32)
    recipe = Recipe(objective="high", octaves=1, steps=3, optimizer="adam", step_size=0.5)
    ascent = engine.Ascent.start(engine.tensor_of(white), engine.tensor_of(white), recipe, tiny_backbone, NO_PICTURES)
    for step in range(3):
        images, _ = ascent.step([np.random.default_rng(step)], 1.0)
        np.testing.assert_array_equal(ascent._coefficients, images)
    assert np.abs(images).max() == 1.0


def test_masks_need_pixels():
    with pytest.raises(UsageError, match="mask and keep need canvas: pixels and optimizer: ascent"):
        Recipe.parse({"canvas": "fourier", "mask": "left"})
