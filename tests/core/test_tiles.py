"""tiles: nothing twice, nothing left out, and with a halo exactly the untiled gradient."""

import numpy as np
import pytest

from raydream.core import context, gradients, tiles
from raydream.core.networks.backbones import load_backbone
from raydream.core.objectives import l2, mean
from raydream.recipe import Recipe
from tests.conftest import TINY_LAYERS, random_images

OBJECTIVES = {
    "mean": mean("high"),
    "several strides": mean("low") + 0.3 * l2("mix", [0, 5]) + -0.5 * mean("high", [2]) + l2("high"),
}


def untiled(images, objective, backbone):
    """The objective's gradient and value in one piece, without tiles."""
    import tensorflow as tf

    images = tf.constant(images, backbone.dtype)
    with tf.GradientTape() as tape:
        tape.watch(images)
        planes = dict(zip(backbone.layers, backbone.activations(images), strict=True))
        value = 0.0
        for term in objective.terms:
            plane = planes[term.layer]
            plane = plane if term.channels is None else tf.gather(plane, term.channels, axis=-1)
            value += term.weight * tf.reduce_mean(plane if term.kind == "mean" else plane**2, axis=(1, 2, 3))
    return tape.gradient(value, images).numpy(), value.numpy()


def exact(images, objective, backbone, tile):
    """The same, tile by tile; `tile` may be smaller than recipes allow."""
    import tensorflow as tf

    plain = context.plain(objective, backbone.dtype)
    ascent = gradients.traced(backbone, objective, plain).gradient
    empty = tf.zeros([1, 1, 1, 3], backbone.dtype), tf.zeros([1, 1, 1, 0], backbone.dtype)
    parts, counts = tiles.plan(images.shape[1], images.shape[2], tile, "exact", backbone)
    totals = np.asarray(
        context.totals(objective, plain, dict(zip(backbone.layers, counts, strict=True))), backbone.dtype
    )
    gradient, value = np.zeros(images.shape, backbone.dtype), 0.0
    for part in parts:
        view = (tf.constant(images[part.window], backbone.dtype), part.crops, *empty)
        found, part_value = ascent(view, plain.constants, totals, plain.weights)
        gradient[part.window] += found.numpy()
        value = value + part_value.numpy()
    return gradient, value


def error(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


# ---------------------------------------------------------------- cutting


@pytest.mark.parametrize("size", [1, 95, 96, 97, 191, 192, 193, 500, 1001])
@pytest.mark.parametrize("multiple", [1, 8, 32])
def test_spans_are_equal_and_at_most_the_tile(size, multiple):
    cuts = tiles._cuts(size, 96, multiple)
    spans = np.diff(cuts)
    assert (cuts[0], cuts[-1]) == (0, size)
    assert spans.max() <= 96
    assert spans.max() - spans.min() <= multiple
    assert all(cut % multiple == 0 for cut in cuts[:-1])


@pytest.mark.parametrize(("height", "width"), [(96, 96), (97, 250), (200, 96), (301, 333)])
def test_rolled_tiles_cover_every_pixel_once(tiny_backbone, height, width):
    parts, _ = tiles.plan(height, width, 96, "roll", tiny_backbone)
    painted = np.zeros((1, height, width, 3), int)
    sides = []
    for part in parts:
        painted[part.window] += 1
        sides.append((part.rows.stop - part.rows.start, part.columns.stop - part.columns.start))
    assert (painted == 1).all()
    assert np.ptp(sides, axis=0).max() <= 1
    assert np.max(sides) <= 96


def test_rolled_tiles_count_the_positions_they_give(tiny_backbone):
    parts, totals = tiles.plan(201, 130, 96, "roll", tiny_backbone)
    given = np.zeros(3, int)
    for part in parts:
        planes = tiny_backbone.activations(np.zeros((1, 201, 130, 3), np.float32)[part.window])
        assert part.crops == [[0, p.shape[1], 0, p.shape[2]] for p in planes]
        given += [p.shape[1] * p.shape[2] for p in planes]
    assert totals == given.tolist()


def test_no_tile_is_too_small_to_have_a_position(inception_like):
    """Two tiles of 50 pixels would each be too small for a layer that needs 75."""
    parts, totals = tiles.plan(100, 310, 96, "roll", inception_like)
    assert min(totals) > 0
    assert all(min(b - a for a, b in part.rows.positions + part.columns.positions) > 0 for part in parts)
    assert {part.rows.stop - part.rows.start for part in parts} == {100}


@pytest.fixture(scope="module")
def inception_like():
    """The geometry of a layer that needs 75 pixels, as InceptionV3's `mixed8` does."""
    import keras

    from raydream.core.networks.geometry import Axis

    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Conv2D(1, 75, strides=32)(image))

    class Backbone:
        axes = Axis(model, 0), Axis(model, 1)

    return Backbone()


@pytest.mark.parametrize(("height", "width"), [(96, 40), (97, 250), (203, 161)])
@pytest.mark.parametrize("tile", [8, 33, 96])
def test_exact_tiles_count_every_position_once(tiny_backbone, height, width, tile):
    parts, totals = tiles.plan(height, width, tile, "exact", tiny_backbone)
    axes = tiny_backbone.axes
    planes = list(zip(axes[0].positions(height), axes[1].positions(width), strict=True))
    strides = [field.stride for field in axes[0].fields()]
    assert totals == [rows * columns for rows, columns in planes]
    for layer, (plane, stride) in enumerate(zip(planes, strides, strict=True)):
        painted = np.zeros(plane, int)
        for part in parts:
            top, bottom, left, right = part.crops[layer]
            row, column = part.rows.start // stride, part.columns.start // stride
            assert min(top, left) >= 0
            painted[row + top : row + bottom, column + left : column + right] += 1
        assert (painted == 1).all()


def test_exact_tiles_are_no_larger_than_their_halo_asks_for(tiny_backbone):
    """A tile's window: its own pixels, the receptive field around them, and one stride for alignment."""
    parts, _ = tiles.plan(400, 400, 96, "exact", tiny_backbone)
    widest = max(field.width for field in tiny_backbone.axes[0].fields())
    assert len(parts) == 25
    assert max(part.rows.stop - part.rows.start for part in parts) <= 96 + widest + 2 * 8


# ---------------------------------------------------------------- rolling


def test_each_image_rolls_by_its_own_shift_and_back():
    images = random_images(7, 9, batch=3)
    shifts = [(2, 5), (0, 8), (6, 0)]
    rolled = tiles.roll(images, shifts)
    for image, shift, found in zip(images, shifts, rolled.numpy(), strict=True):
        np.testing.assert_array_equal(found, np.roll(image, shift, axis=(0, 1)))
    back = tiles.roll(rolled, [(-rows, -columns) for rows, columns in shifts])
    np.testing.assert_array_equal(back.numpy(), images)


def test_a_single_image_rolls_alike():
    images = random_images(7, 9)
    np.testing.assert_array_equal(tiles.roll(images, [(3, 4)]).numpy()[0], np.roll(images[0], (3, 4), axis=(0, 1)))


# ---------------------------------------------------------------- exact tiling


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
@pytest.mark.parametrize(("height", "width"), [(41, 64), (67, 90), (101, 83), (128, 55)])
@pytest.mark.parametrize("tile", [16, 30, 41])
def test_exact_tiling_gives_the_untiled_gradient(tiny64, objective, height, width, tile):
    images = random_images(height, width, batch=2).astype(np.float64)
    found, value = exact(images, objective, tiny64, tile)
    expected, expected_value = untiled(images, objective, tiny64)
    assert error(found, expected) <= 1e-9
    np.testing.assert_allclose(value, expected_value, rtol=1e-12)


@pytest.mark.parametrize("layer", TINY_LAYERS)
def test_exact_tiling_with_one_layer_alone(tiny_path, layer):
    backbone = load_backbone(tiny_path, [layer], dtype="float64")
    images = random_images(75, 98)
    found, _ = exact(images, mean(layer), backbone, 25)
    assert error(found, untiled(images, mean(layer), backbone)[0]) <= 1e-9


def test_rolled_tiling_is_another_gradient(tiny64):
    """What the halo buys: without it the positions at the borders see padding and not their neighbours."""
    images = random_images(203, 250).astype(np.float64)
    expected, _ = untiled(images, OBJECTIVES["several strides"], tiny64)
    found = {}
    for tiling in ("roll", "exact"):
        recipe = Recipe(objective=OBJECTIVES["several strides"], tile=96, tiling=tiling)
        gradient, _ = gradients.gradient_of(images, recipe, tiny64, [(0, 0)])
        found[tiling] = error(gradient.numpy(), expected)
    assert found["exact"] <= 1e-9
    assert found["roll"] > 1e-2


def test_exact_tiling_of_a_rolled_batch(tiny64):
    images = random_images(203, 131, batch=2).astype(np.float64)
    shifts = [(17, 100), (202, 3)]
    recipe = Recipe(objective=OBJECTIVES["several strides"], tile=96, tiling="exact")
    found, value = gradients.gradient_of(images, recipe, tiny64, shifts)
    for index, shift in enumerate(shifts):
        rolled = np.roll(images[index], shift, axis=(0, 1))[None]
        expected, expected_value = untiled(rolled, recipe.objective, tiny64)
        back = np.roll(expected[0], (-shift[0], -shift[1]), axis=(0, 1))
        assert error(found[index].numpy(), back) <= 1e-9
        np.testing.assert_allclose(value[index], expected_value[0], rtol=1e-12)


@pytest.mark.parametrize(
    ("dtype", "height", "width"),
    [
        ("float32", 420, 331),
        pytest.param("float64", 107, 901, marks=pytest.mark.slow),
    ],  # so long that no window is the whole image
)
def test_exact_tiling_of_inception(dtype, height, width):
    backbone = load_backbone("inception_v3", ["mixed3", "mixed5"], dtype=dtype)
    objective = mean("mixed3") + l2("mixed5")
    images = random_images(height, width).astype(dtype)
    found, expected = (
        np.float64(g[0]) for g in (exact(images, objective, backbone, 160), untiled(images, objective, backbone))
    )
    cosine = (found * expected).sum() / np.linalg.norm(found) / np.linalg.norm(expected)
    print(f"{dtype}: cosine {cosine:.9f}, relative error {error(found, expected):.2e}")
    assert cosine >= 0.9999
    assert dtype == "float32" or error(found, expected) <= 1e-9
