"""Properties that other tools for Deep Dreams lack. Each test is about a defect that was found by reading them.

Some are tested where they belong: a weight changes only its own term (`test_weights_do_not_compound`, for statistics);
uneven tiles do not push harder (`test_unequal_tiles_push_alike`, and `test_tiles_do_not_change_it` for each kind of
term); failed shards are tried again and reported (`test_an_image_that_kills_its_worker_is_passed_over`).
"""

import numpy as np
import pytest
import tensorflow as tf

from raydream.core import engine, gradients, tiles
from raydream.core.objectives import l2, mean
from raydream.recipe import Recipe
from tests.conftest import random_images


def test_the_roll_reaches_the_whole_height_and_width(tiny_backbone, monkeypatch):
    """Not only as many pixels as there are colours, nor the height in both directions."""
    height, width = 12, 40
    seen = []

    def still(images, recipe, backbone, shifts, context):
        seen.extend(shifts)
        return tf.zeros_like(images), tf.zeros(1)

    monkeypatch.setattr(gradients, "gradient_of", still)
    engine.dream(random_images(height, width), Recipe(objective="low", octaves=1, steps=500), tiny_backbone, [1])
    rows, columns = zip(*seen, strict=True)
    assert {*rows} == {*range(height)}
    assert {*columns} == {*range(width)}


def test_octaves_are_of_the_whole_image_so_that_large_things_cross_tiles(tiny_backbone, monkeypatch):
    seen = {}
    views = gradients._views

    def watched(images, *given):
        for view in views(images, *given):
            seen.setdefault(tuple(images.shape[1:3]), set()).add(tuple(view[0].shape[1:3]))
            yield view

    monkeypatch.setattr(gradients, "_views", watched)
    recipe = Recipe(objective="low", octaves=3, octave_scale=2.0, steps=1, tile=96)
    engine.dream(random_images(380, 300), recipe, tiny_backbone, [1])
    assert seen == {(95, 75): {(95, 75)}, (190, 150): {(95, 75)}, (380, 300): {(95, 75)}}


@pytest.mark.parametrize("changes", [
    {}, {"carry": "blend"}, {"optimizer": "adam"}, {"canvas": "fourier"}, {"canvas": "fourier", "optimizer": "adam"},
    {"keep": "color"}, {"keep": "brightness"}, {"mask": "left"}, {"bands": [1, 1]}, {"rotate": 20, "rescale": 0.3},
])  # fmt: skip
def test_the_image_is_always_inside_the_range(changes, tiny_backbone):
    """After every step, not only in the end, and with steps that are much too long."""
    recipe = Recipe(objective="high", octaves=2, steps=3, step_size=3.0, **changes)
    steps = engine.dream_steps(random_images(60, 50), recipe, tiny_backbone, [1])
    largest = [np.abs(step.images).max() for step in steps]
    assert len(largest) == 6
    assert max(largest) <= 1.0
    assert min(largest) > 0.9  # the steps do push against the ends of the range


def test_a_photograph_on_the_fourier_canvas_reaches_the_network_unchanged(tiny_backbone, monkeypatch):
    """Within two per cent, in [-1, 1]: not in another range, or darker."""
    seen = []
    gradient_of = gradients.gradient_of
    monkeypatch.setattr(
        gradients, "gradient_of", lambda images, *more: seen.append(images) or gradient_of(images, *more)
    )
    photograph = random_images(61, 50)
    recipe = Recipe(objective="low", octaves=1, steps=1, canvas="fourier")
    engine.dream(photograph, recipe, tiny_backbone, [1])
    assert np.abs(np.asarray(seen[0]) - photograph).max() <= 0.02 + 1e-5


def test_a_weight_changes_only_its_own_term(tiny64):
    """In the value and in the gradient, wherever the term stands."""
    images = random_images(60, 70).astype(np.float64)
    terms = mean("low"), l2("mix", [1]), mean("high")
    parts = [gradients.gradient_of(images, Recipe(objective=term), tiny64, [(0, 0)]) for term in terms]
    for weights in ((1, 1, 1), (1, 1, 10), (5, 1, 1), (1, -2, 0)):
        whole = sum(term * weight for term, weight in zip(terms, weights, strict=True))
        found = gradients.gradient_of(images, Recipe(objective=whole), tiny64, [(0, 0)])
        for got, each in zip(found, zip(*parts, strict=True), strict=True):
            wanted = sum(weight * np.asarray(part) for weight, part in zip(weights, each, strict=True))
            np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-15)


def test_the_tiles_of_an_image_are_of_one_size(tiny_backbone):
    """No slivers are left over at the ends, however badly the tile divides the image."""
    for side in (513, 1000, 1025, 1537):
        parts, _ = tiles.plan(side, side, 512, "roll", tiny_backbone)
        sides = {part.rows.stop - part.rows.start for part in parts}
        assert max(sides) - min(sides) <= 1
