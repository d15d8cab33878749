"""The kinds of terms: each rises under ascent, has the gradient of its value, and is the same with any tiles."""

import numpy as np
import pytest

from raydream.core import context as contexts
from raydream.core import engine, gradients, octave
from raydream.core.context import Pictures
from raydream.core.networks.backbones import backbone_of
from raydream.core.objectives import (
    KINDS,
    Content,
    Difference,
    Direction,
    Guide,
    Likeness,
    Mean,
    Neuron,
    Objective,
    Picked,
    Smoothness,
    Style,
    l2,
    mean,
)
from raydream.errors import UsageError
from raydream.recipe import Recipe
from tests.conftest import random_images

SOURCE = random_images(150, 131, seed=3).astype(np.float64)
IMAGES = np.clip(SOURCE + 0.2 * np.random.default_rng(4).standard_normal(SOURCE.shape), -0.9, 0.9)
PICTURES = Pictures({
    "guide": random_images(100, 120, seed=8)[0],
    "mask": np.tile(np.linspace(-1, 1, 131, dtype=np.float32)[None, :, None], (150, 1, 3)),
})  # fmt: skip
TERMS = {
    "mean": Mean(layer="high", weight=2.0),
    "l2": l2("mix", [0, 3]).terms[0],
    "neuron": Neuron(layer="mix", position=(0.3, 0.6), channels=(1,)),
    "direction": Direction(layer="high", channels=(0, 2), values=(1.0, -0.5), power=2.0),
    "picked": Picked(layer="mix", which="middle", count=2),
    "guide": Guide(layer="high", guide="guide"),
    "mix": Guide(layer="high", guide="guide", match="mix", mask="mask"),
    "difference": Difference(layer="mix"),
    "content": Content(layer="high"),
    "style": Style(layer="mix", style="guide"),
    "smoothness": Smoothness(),
    "likeness": Likeness(),
    "masked": Mean(layer="high", mask="mask"),
    "half": Mean(layer="mix", mask="left"),
}


def objective_of(term):
    """The term; on pixels, with a little of a layer, since an objective needs one."""
    return Objective((term,)) + (1e-6 * mean("low") if term.on_pixels else Objective())


def context_of(recipe, backbone, source=SOURCE):
    import tensorflow as tf

    return octave.context_of(tf.constant(source), source.shape[1:3], recipe, backbone, PICTURES)


def test_each_kind_is_tested():
    assert {term.kind for term in TERMS.values()} == {*KINDS}


@pytest.mark.parametrize("name", TERMS)
def test_its_gradient_is_that_of_its_value(name, tiny64):
    """By finite differences, in a random direction, in float64."""
    recipe = Recipe(objective=objective_of(TERMS[name]))
    context = context_of(recipe, tiny64)
    direction = np.random.default_rng(0).standard_normal(IMAGES.shape)
    gradient, value = gradients.gradient_of(IMAGES, recipe, tiny64, [(0, 0)], context)
    assert value.numpy() == pytest.approx(gradients.value_of(IMAGES, recipe, tiny64, context), rel=1e-9)
    h = 1e-6
    high, low = (gradients.value_of(IMAGES + s * h * direction, recipe, tiny64, context) for s in (1, -1))
    assert (gradient.numpy() * direction).sum() == pytest.approx(((high - low) / (2 * h)).item(), rel=1e-3)


@pytest.mark.parametrize("name", TERMS)
def test_tiles_do_not_change_it(name, tiny64):
    results = []
    for tile in (96, 512):
        recipe = Recipe(objective=objective_of(TERMS[name]), tile=tile, tiling="exact")
        context = context_of(recipe, tiny64)
        gradient, value = gradients.gradient_of(IMAGES, recipe, tiny64, [(0, 0)], context)
        results.append((gradient.numpy(), value.numpy()))
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-9)
    size = np.abs(results[1][0]).max()
    np.testing.assert_allclose(results[0][0], results[1][0], atol=1e-9 * size)


@pytest.mark.parametrize("name", TERMS)
def test_it_rises_under_ascent(name, tiny64):
    recipe = Recipe(objective=objective_of(TERMS[name]), octaves=1, steps=12, step_size=0.01)
    source = IMAGES if name == "smoothness" else SOURCE
    start = source if name not in ("content", "likeness") else IMAGES
    context = context_of(recipe, tiny64, source)
    ascent = engine.Ascent.start(engine.tensor_of(start.copy()), engine.tensor_of(source), recipe, tiny64, PICTURES)
    for step in range(12):
        dreams, _ = ascent.step([np.random.default_rng(step)], 1.0)
    before = gradients.value_of(start, recipe, tiny64, context)
    assert gradients.value_of(dreams.numpy(), recipe, tiny64, context) > before


def test_other_weights_guides_and_masks_are_no_new_trace(tiny64):
    other = Pictures({name: image[:, ::-1] for name, image in PICTURES.images.items()})
    first = [Guide(layer="high", guide="guide", weight=2.0, mask="mask"), Style(layer="mix", style="guide", weight=0.1)]
    second = [Guide(layer="high", guide="mask", weight=-1.0, mask="left"), Style(layer="mix", style="mask", weight=3)]
    counts = []
    for terms, pictures in ((first, PICTURES), (second, other)):
        recipe = Recipe(objective=Objective(tuple(terms)), octaves=1, steps=1)
        engine.dream(SOURCE, recipe, tiny64, [1], pictures)
        context = context_of(recipe, tiny64)
        function = gradients.traced(tiny64, recipe.objective, context).gradient
        counts.append((id(function), function.experimental_get_tracing_count()))
    assert counts[0] == counts[1] == (counts[0][0], 1)


def test_best_matches_are_those_of_the_definition(tiny64):
    """The gradient at a position is the guide's position of the largest product, and chunks change nothing."""
    import tensorflow as tf

    from raydream.core.objectives import Reading, references

    random = np.random.default_rng(0)
    activations, guide = random.standard_normal((2, 7, 5, 6)), random.standard_normal((11, 6))
    wanted = np.argmax(activations @ guide.T, axis=-1)
    for chunk in (2_000_000, 40):
        references._CHUNK = chunk
        found = references._best_match(tf.constant(activations), tf.constant(guide))
        np.testing.assert_array_equal(found, wanted)
    references._CHUNK = 2_000_000
    term = Guide(layer="high", guide="guide", match="positions")
    with tf.GradientTape() as tape:
        maps = tf.constant(activations)
        tape.watch(maps)
        total = term.statistics(Reading(maps, constants=(tf.constant(guide),)))
    np.testing.assert_allclose(tape.gradient(total, maps), guide[wanted] / 6)


def test_masks_divide_the_picture(tiny64):
    """A channel grows where it is wanted, and shrinks where it is not."""
    wanted = Mean(layer="mix", channels=(3,), mask="left")
    terms = (wanted, Mean(layer="mix", channels=(3,), mask="right", weight=-1.0))
    recipe = Recipe(objective=Objective(terms), octaves=1, steps=10, step_size=0.02)
    dream = engine.dream(SOURCE, recipe, tiny64, [1], PICTURES)
    before, after = (np.asarray(tiny64.activations(images)[1])[0] for images in (SOURCE, dream))
    rise, third = after - before, before.shape[1] // 3
    assert rise[:, :third, 3].mean() > 0.1
    assert rise[:, -third:, 3].mean() < 0.0


def test_balanced_layers_count_alike(tiny64):
    """A layer scaled by a factor does not count for more; without balance, it does."""
    values = []
    for weight in (1.0, 1000.0):
        recipe = Recipe(objective=mean("low") + mean("high"), balance="source")
        context = contexts.plain(recipe.objective * weight, tiny64.dtype)
        values.append(gradients.values_of(SOURCE, recipe, tiny64, context).numpy())
    np.testing.assert_allclose(values[0], values[1])
    recipe = Recipe(objective=mean("low") + mean("high"), balance="source", octaves=1, steps=1)
    (step,) = engine.dream_steps(SOURCE, recipe, tiny64, [1])
    assert step.objective[0] == pytest.approx(np.sign(values[0]).sum(), rel=0.05)


def test_balance_leaves_comparisons_with_the_photograph_alone(tiny64):
    """Their value on the photograph is 0, which would make their weight 0 or infinite."""
    terms = (Mean(layer="high"), Content(layer="high", weight=7.0), Difference(layer="mix", weight=5.0))
    recipe = Recipe(objective=Objective(terms), balance="source", octaves=1, steps=1)
    ascent = engine.Ascent.start(engine.tensor_of(IMAGES), engine.tensor_of(SOURCE), recipe, tiny64, PICTURES)
    weights = np.asarray(ascent._context.weights)[0]
    assert weights[0] == pytest.approx(1.0 / abs(np.asarray(tiny64.activations(SOURCE)[2]).mean()), rel=1e-6)
    np.testing.assert_array_equal(weights[1:], [7.0, 5.0])


@pytest.mark.parametrize(
    ("position", "place"), [((0.0, 0.0), (0, 0)), ((1.0, 1.0), (4, 5)), ((0.01, 0.99), (4, 0)), ((0.5, 0.5), (2, 2))]
)
def test_a_neuron_at_the_border_is_the_nearest_position(position, place):
    """A network that pads nothing has no positions near the border, so that the neuron would show nothing."""
    import keras

    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Conv2D(4, 25, strides=8, name="deep")(image))
    backbone = backbone_of(model, ["deep"], "deep", dtype="float64")
    images = IMAGES[:, :60, :65]  # positions at the pixels 12, 20, ...
    plane = np.asarray(backbone.activations(images)[0])[0].mean(axis=-1)
    assert plane.shape == (5, 6)
    recipe = Recipe(objective=[{"kind": "neuron", "layer": "deep", "position": position}])
    assert engine.measure(images, recipe, backbone)[0] == pytest.approx(plane[place], rel=1e-9)


def test_a_style_of_a_layer_that_shows_nothing_is_no_nan():
    import tensorflow as tf

    nothing = tf.zeros([1, 4, 4])
    assert Style(layer="a", style="s").value(nothing + 1.0, 1.0, (nothing[0],)).numpy() == 0.0


def test_the_algebra_of_objectives():
    a, b = mean("a"), l2("b")
    assert sum([a, b, a]) == a + b + a
    assert a - b == a + (-1.0) * b
    assert -a == a * -1.0
    assert -(a - b) == -a + b
    with pytest.raises(TypeError):
        1 + a


@pytest.mark.parametrize(
    ("shape", "said"),
    [((100, 40), "mask m has 40x100 pixels, a different shape from the picture's 131x150"), (None, "mask 'm' is not")],
)
def test_a_mask_that_does_not_fit_is_one_line(shape, said, tiny64):
    pictures = Pictures({"m": np.ones((*shape, 3), np.float32)} if shape else {})
    recipe = Recipe(objective=[{"layer": "high", "mask": "m"}])
    with pytest.raises(UsageError, match=said):
        engine.dream(SOURCE, recipe, tiny64, [1], pictures)
    with pytest.raises(UsageError, match=said):
        engine.dream(SOURCE, Recipe(objective="high", mask="m"), tiny64, [1], pictures)


def test_a_black_mask_is_one_line(tiny64):
    recipe = Recipe(objective=[{"layer": "high", "mask": "m"}])
    with pytest.raises(UsageError, match="mask m is all black: it must be white where it counts"):
        engine.dream(SOURCE, recipe, tiny64, [1], Pictures({"m": -np.ones((150, 131, 3), np.float32)}))


def test_a_protected_region_does_not_change(tiny64):
    dream = engine.dream(SOURCE, Recipe(objective="high", mask="left", octaves=2, steps=3), tiny64, [1])
    assert np.abs(dream - SOURCE)[:, :, -20:].max() < 1e-3
    assert np.abs(dream - SOURCE)[:, :, :40].mean() > 0.01


@pytest.mark.parametrize("keep", ["color", "brightness"])
def test_what_is_kept_is_kept(keep, tiny64):
    source = 0.4 * SOURCE  # so that nothing is clipped
    dream = engine.dream(source, Recipe(objective="high", keep=keep, octaves=2, steps=5), tiny64, [1])
    change = dream - source
    luma = (change * (0.299, 0.587, 0.114)).sum(axis=-1, keepdims=True)
    assert np.abs(change).mean() > 0.01
    if keep == "color":
        np.testing.assert_allclose(change, np.broadcast_to(luma, change.shape), atol=1e-6)
    else:
        np.testing.assert_allclose(luma, 0.0, atol=1e-6)
