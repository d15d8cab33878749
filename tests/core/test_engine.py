"""engine: the dream rises, is the same for the same seed, and is not moved by how it is cut or batched."""

import dataclasses
import weakref

import numpy as np
import pytest

from raydream.assets import load_for
from raydream.core import context, gradients, tiles
from raydream.core.engine import dream, dream_steps, measure, usable_sizes
from raydream.core.gradients import gradient_of
from raydream.core.networks.backbones import load_backbone
from raydream.core.objectives import l2, mean
from raydream.core.update import Conditioning, update
from raydream.errors import UsageError
from raydream.recipe import Recipe
from tests.conftest import random_images


def refusal(call):
    with pytest.raises(UsageError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------- the objective rises

RISES = {
    "mean": {"objective": "high"},
    "l2": {"objective": {"layer": "mix", "kind": "l2"}},
    "channels": {"objective": {"layer": "high", "channels": [1, 6]}},
    "suppressed": {"objective": {"layer": "low", "weight": -1.0}, "steps": 8},
    "several": {"objective": ["low", {"layer": "mix", "kind": "l2", "weight": 0.1}, "high"]},
    "mean_abs": {"step_rule": "mean_abs"},
    "smoothing": {"smoothing": 1.5},
    "grey": {"chroma": 0.0},
    "blend": {"carry": "blend"},
    "exact": {"tiling": "exact"},
}


@pytest.mark.parametrize("changes", RISES.values(), ids=RISES)
def test_the_objective_rises(tiny_backbone, changes):
    recipe = Recipe(**({"objective": ["low", "high"], "octaves": 2, "steps": 4, "tile": 96} | changes))
    images = random_images(110, 121, batch=2)
    result = dream(images, recipe, tiny_backbone, [1, 2])
    gain = measure(result, recipe, tiny_backbone) - measure(images, recipe, tiny_backbone)
    assert (gain > 0.01 * np.abs(measure(images, recipe, tiny_backbone))).all()
    assert result.shape == images.shape
    assert result.dtype == np.float32
    assert np.isfinite(result).all()
    assert np.abs(result).max() <= 1.0


def test_an_objective_and_its_opposite_part_ways(tiny_backbone):
    recipe = Recipe(objective="high", octaves=1, steps=3, tile=96)
    opposite = recipe.changed(objective={"layer": "high", "weight": -1.0})
    images = random_images(90, 90)
    up, down = (measure(dream(images, r, tiny_backbone, [1]), recipe, tiny_backbone) for r in (recipe, opposite))
    assert down < measure(images, recipe, tiny_backbone) < up


def test_no_chroma_keeps_the_colours(tiny_backbone):
    images = 0.5 * random_images(60, 60)  # far enough from the ends of the range for nothing to be clipped
    recipe = Recipe(objective="high", octaves=1, steps=3, chroma=0.0, tile=96)
    result = dream(images, recipe, tiny_backbone, [1])
    assert np.abs(result - images).max() > 0.05
    np.testing.assert_allclose(np.diff(result), np.diff(images), atol=1e-5)


# ---------------------------------------------------------------- seeds and batches


def test_the_same_seed_gives_the_same_bytes(tiny_backbone, tiny_recipe):
    images = random_images(130, 101)
    one, two, other = (dream(images, tiny_recipe, tiny_backbone, [seed]) for seed in (7, 7, 8))
    assert one.tobytes() == two.tobytes()
    assert one.tobytes() != other.tobytes()


def test_seeds_may_be_as_large_as_recipes_make_them(tiny_backbone, tiny_recipe):
    seed = tiny_recipe.seed_of("class/image.jpg")
    assert 2**40 < seed < 2**63
    dream(random_images(30, 30), tiny_recipe, tiny_backbone, [seed])


def test_a_batch_is_only_a_faster_way_to_do_the_same_work(tiny64, tiny_recipe):
    """In float64, so that rounding does not grow over the steps; the images differ in contrast a hundredfold."""
    images = random_images(130, 101, batch=2).astype(np.float64)
    images[1] *= 0.01
    together = dream(images, tiny_recipe, tiny64, [7, 8])
    for index in range(2):
        alone = dream(images[index : index + 1], tiny_recipe, tiny64, [7 + index])
        np.testing.assert_allclose(together[index], alone[0], atol=1e-10)


def test_a_batch_in_float32_agrees_to_rounding(tiny_backbone, tiny_recipe):
    images = random_images(60, 71, batch=2)
    together = dream(images, tiny_recipe, tiny_backbone, [7, 8])
    for index in range(2):
        alone = dream(images[index : index + 1], tiny_recipe, tiny_backbone, [7 + index])
        assert np.abs(together[index] - alone[0]).mean() < 1e-4


def test_the_images_given_are_not_changed(tiny_backbone, tiny_recipe):
    images = random_images(40, 40)
    kept = images.copy()
    dream(images, tiny_recipe, tiny_backbone, [1])
    np.testing.assert_array_equal(images, kept)


def test_float64_all_the_way(tiny64, tiny_recipe):
    images = random_images(50, 50).astype(np.float64)
    (*_, last) = dream_steps(images, tiny_recipe, tiny64, [1])
    assert last.images.dtype == np.float64
    single = dream(images.astype(np.float32), tiny_recipe, tiny64, [1])
    np.testing.assert_allclose(last.images, single, atol=1e-3)
    assert measure(images, tiny_recipe, tiny64).dtype == np.float64


# ---------------------------------------------------------------- steps


def test_step_events(tiny_backbone):
    recipe = Recipe(objective="high", octaves=3, octave_scale=1.5, steps=(1, 3, 2), tile=96)
    images = random_images(90, 60, batch=2)
    events = list(dream_steps(images, recipe, tiny_backbone, [1, 2]))
    assert [(e.octave, e.step, e.steps) for e in events] == [
        (0, 0, 1), (1, 0, 3), (1, 1, 3), (1, 2, 3), (2, 0, 2), (2, 1, 2)
    ]  # fmt: skip
    assert {e.octaves for e in events} == {3}
    assert [e.size for e in events] == [(40, 27)] + [(60, 40)] * 3 + [(90, 60)] * 2
    for event in events:
        assert event.images.shape == (2, *event.size, 3)
        assert len(event.objective) == 2
        assert all(type(value) is float for value in event.objective)
    np.testing.assert_array_equal(events[-1].images, dream(images, recipe, tiny_backbone, [1, 2]))
    with pytest.raises(dataclasses.FrozenInstanceError):
        events[0].step = 5


def test_a_steps_objective_is_that_before_it(tiny_backbone):
    """A flat image is the same however it is rolled, so the first step's is that of the image itself."""
    recipe = Recipe(objective=["low", "high"], octaves=1, steps=2, tile=96)
    images = np.stack([np.full((80, 80, 3), level, np.float32) for level in (-0.3, 0.6)])
    first, second = (event.objective for event in dream_steps(images, recipe, tiny_backbone, [1, 2]))
    np.testing.assert_allclose(first, measure(images, recipe, tiny_backbone), rtol=1e-4)
    assert np.not_equal(second, first).all()


def test_a_step_has_the_length_the_recipe_says(tiny_backbone):
    images = 0.2 * random_images(80, 80)
    for rule, size in (("std", np.std), ("mean_abs", lambda move: np.abs(move).mean())):
        recipe = Recipe(objective="high", octaves=1, steps=1, step_size=0.03, step_rule=rule, tile=96)
        assert size(dream(images, recipe, tiny_backbone, [1]) - images) == pytest.approx(0.03, rel=1e-3)


def test_every_step_is_rolled_by_a_shift_of_its_own(tiny_backbone, monkeypatch):
    seen = []
    real = tiles.roll
    monkeypatch.setattr(tiles, "roll", lambda images, shifts: seen.append(tuple(shifts)) or real(images, shifts))
    recipe = Recipe(objective="high", octaves=1, steps=6, tile=96)
    dream(random_images(100, 60, batch=2), recipe, tiny_backbone, [1, 2])
    there, back = seen[::2], seen[1::2]
    assert len(set(there)) == 6
    assert all(one != two for one, two in there)
    assert back == [tuple((-rows, -columns) for rows, columns in shifts) for shifts in there]


def test_reading_nothing_does_nothing(tiny_backbone, tiny_recipe):
    """An iterator: whoever stops reading stops the work."""
    steps = dream_steps(random_images(60, 60), tiny_recipe, tiny_backbone, [1])
    assert next(steps).step == 0
    steps.close()


# ---------------------------------------------------------------- memory


def test_the_given_array_is_released_by_the_last_octave(tiny_backbone, tiny_recipe):
    """A large image would cost another copy. Until then TensorFlow may share its memory, if it is aligned."""
    images = random_images(60, 60)
    given = weakref.ref(images)
    steps = dream_steps(images, tiny_recipe, tiny_backbone, [1])
    del images
    next(step for step in steps if step.octave == step.octaves - 1)
    assert given() is None
    steps.close()


def test_bad_images_are_refused_before_the_first_step(tiny_backbone, tiny_recipe):
    with pytest.raises(UsageError, match="must be"):
        dream_steps(np.zeros((8, 8, 3), np.float32), tiny_recipe, tiny_backbone, [1])


# ---------------------------------------------------------------- tracing


def test_one_trace_for_all_sizes_batches_and_images(tiny_path):
    backbone = load_backbone(tiny_path, ["low", "high"])
    recipe = Recipe(objective=["low", "high"], octaves=4, octave_scale=1.3, steps=1, tile=96)
    for height, width, batch in ((130, 97, 1), (101, 210, 2), (40, 41, 3)):
        for tiling in ("roll", "exact"):
            chosen = recipe.changed(tiling=tiling)
            images = random_images(height, width, batch=batch)
            dream(images, chosen, backbone, list(range(batch)))
            measure(images, chosen, backbone)
    functions = gradients.traced(backbone, recipe.objective, context.plain(recipe.objective, "float32"))
    for function in (functions.value, functions.gradient, functions.statistics):
        assert function.experimental_get_tracing_count() == 1
    ascend = update(Conditioning(), "float32")
    assert ascend.experimental_get_tracing_count() == 1


# ---------------------------------------------------------------- sizes


def test_octaves_too_small_for_the_backbone_are_left_out(tiny_backbone):
    """The steps of those that are left are the last ones of the list."""
    recipe = Recipe(objective="high", octaves=6, octave_scale=2.0, steps=(6, 5, 4, 3, 2, 1), tile=96)
    assert usable_sizes(40, 64, recipe, tiny_backbone) == [(5, 8), (10, 16), (20, 32), (40, 64)]
    events = list(dream_steps(random_images(40, 64), recipe, tiny_backbone, [1]))
    assert [event.octave for event in events] == [0] * 4 + [1] * 3 + [2] * 2 + [3]
    assert {event.octaves for event in events} == {4}


def test_an_image_too_small_is_refused_in_one_line(tiny_backbone, tiny_recipe):
    message = refusal(lambda: dream(np.zeros((1, 2, 50, 3), np.float32), tiny_recipe, tiny_backbone, [1]))
    assert "50x2 pixels" in message
    assert "at least 3 pixels per side" in message
    assert dream(np.zeros((1, 3, 50, 3), np.float32), tiny_recipe, tiny_backbone, [1]).shape == (1, 3, 50, 3)


def test_a_tile_just_smaller_than_the_image_has_something_to_see():
    """Halves of 50 pixels would have no cell in a layer that needs 75, and the dream would be NaN."""
    import keras

    from raydream.core.networks.backbones import Backbone
    from raydream.core.networks.folding import folded

    image = keras.Input((None, None, 3))
    deep = keras.layers.Conv2D(4, 75, strides=32, name="deep")(image)
    network = folded(keras.Model([image], [deep]), "max", "float32")
    backbone = Backbone("deep", ("deep",), network, tuple(v.numpy() for v in network.variables))
    recipe = Recipe(objective="deep", octaves=1, steps=2, tile=96)
    images = random_images(100, 130)
    result = dream(images, recipe, backbone, [1])
    assert np.isfinite(result).all()
    assert np.std(result - images) > 0.01


BAD = {
    "one image": (np.zeros((8, 8, 3), np.float32), [1], "must be (batch, height, width, 3)"),
    "grey": (np.zeros((1, 8, 8, 1), np.float32), [1], "must be (batch, height, width, 3)"),
    "none": (np.zeros((0, 8, 8, 3), np.float32), [], "must be (batch, height, width, 3)"),
    "bytes": (np.zeros((1, 8, 8, 3), np.uint8), [1], "floating point in [-1, 1]"),
    "0..255": (np.full((1, 8, 8, 3), 128.0), [1], "floating point in [-1, 1]"),
    "nan": (np.full((1, 8, 8, 3), np.nan), [1], "floating point in [-1, 1]"),
    "seeds": (np.zeros((2, 8, 8, 3), np.float32), [1], "2 images need 2 seeds, not 1"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_are_no_images_is_refused(tiny_backbone, tiny_recipe, what):
    images, seeds, reason = BAD[what]
    assert reason in refusal(lambda: dream(images, tiny_recipe, tiny_backbone, seeds))


# ---------------------------------------------------------------- nothing to go by


@pytest.mark.parametrize("level", [-1.0, 0.0, 1.0])
def test_flat_images_dream_without_nan(tiny_backbone, tiny_recipe, level):
    images = np.full((1, 70, 70, 3), level, np.float32)
    for event in dream_steps(images, tiny_recipe, tiny_backbone, [1]):
        assert np.isfinite(event.images).all()
        assert np.isfinite(event.objective).all()


def test_an_objective_without_gradient_changes_nothing(tiny_backbone, tiny_recipe):
    images = random_images(40, 44)
    recipe = tiny_recipe.changed(objective={"layer": "high", "weight": 0.0})
    np.testing.assert_allclose(dream(images, recipe, tiny_backbone, [1]), images, atol=1e-6)


# ---------------------------------------------------------------- tiles


def test_a_pixels_push_does_not_depend_on_the_size_of_its_tile(tiny64):
    """In the middle of a flat image a pixel sees the same whatever its tile; only the cells of the octave count."""
    images = np.full((1, 240, 240, 3), 0.2)
    pushes = []
    for tile in (96, 120, 240):
        recipe = Recipe(objective="high", tile=tile)
        _, totals = tiles.plan(240, 240, tile, "roll", tiny64)
        gradient, _ = gradient_of(images, recipe, tiny64, [(0, 0)])
        pushes.append(gradient.numpy()[0, 32:48, 32:48] * totals[2])
    assert np.abs(pushes[0]).max() > 1e-3
    for push in pushes[1:]:
        np.testing.assert_allclose(push, pushes[0], rtol=1e-9)


def test_equal_tiles_push_as_one_of_them_does(tiny64):
    """Four tiles with the same picture: each has the gradient of one alone, over four times the cells."""
    image = random_images(96, 96).astype(np.float64)
    recipe = Recipe(objective=["low", "high"], tile=96)
    one, value = gradient_of(image, recipe, tiny64, [(0, 0)])
    four, value4 = gradient_of(np.tile(image, (1, 2, 2, 1)), recipe, tiny64, [(0, 0)])
    np.testing.assert_allclose(four, np.tile(one, (1, 2, 2, 1)) / 4.0, atol=1e-18, rtol=1e-9)
    np.testing.assert_allclose(value4, value, rtol=1e-12)


def test_unequal_tiles_push_alike(tiny64):
    """193 pixels make tiles of 96 and 97: a mean over each tile's own cells would push the smaller one harder."""
    images = np.full((1, 193, 193, 3), 0.2)
    gradient, _ = gradient_of(images, Recipe(objective="low", tile=97), tiny64, [(0, 0)])
    small, large = (gradient[0, start + 24 : start + 64, start + 24 : start + 64].numpy() for start in (0, 96))
    assert np.abs(small).max() > 1e-6
    np.testing.assert_allclose(small, large, rtol=1e-9)
    assert tiny64.axes[0].positions(96)[0] != tiny64.axes[0].positions(97)[0]


def test_measure_is_the_objective_of_the_whole_image(tiny64):
    images = random_images(150, 131, batch=2).astype(np.float64)
    objective = mean("low") + 0.5 * l2("high", [3])
    low, _, high = (plane.numpy() for plane in tiny64.activations(images))
    expected = low.mean(axis=(1, 2, 3)) + 0.5 * (high[..., 3] ** 2).mean(axis=(1, 2))
    for recipe in (Recipe(objective=objective, tile=512), Recipe(objective=objective, tile=96, tiling="exact")):
        np.testing.assert_allclose(measure(images, recipe, tiny64), expected, rtol=1e-9)
    rolled = Recipe(objective=objective, tile=96)
    np.testing.assert_allclose(measure(images, rolled, tiny64), expected, rtol=0.1)


# ---------------------------------------------------------------- precision


def test_bfloat16_dreams_alike_and_the_same_each_time(tiny_recipe):
    images = random_images(70, 60)
    half = tiny_recipe.changed(precision="bfloat16")
    full, *rough = (dream(images, r, load_for(r), [1]) for r in (tiny_recipe, half, half))
    np.testing.assert_array_equal(*rough)
    assert rough[0].dtype == np.float32
    apart, moved = np.abs(rough[0] - full).mean(), np.abs(full - images).mean()
    assert 0 < apart < 0.5 * moved


# ---------------------------------------------------------------- the real network


def test_a_landscape_dreams(inception, landscapes):
    """What the seed's dreams show: activations at the dreamed layers go up, and soon."""
    image = landscapes[0][None, :160, :160]
    recipe = Recipe(octaves=2, steps=5)
    assert recipe.objective.layers == inception.layers
    result = dream(image, recipe, inception, [1])
    assert measure(result, recipe, inception) > 1.25 * measure(image, recipe, inception)
