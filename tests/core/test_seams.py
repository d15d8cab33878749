"""seams: they are found where they are, and tiled dreams have none."""

import numpy as np
import pytest

from raydream.core import gradients, update
from raydream.core.engine import dream
from raydream.core.metrics import seam_score
from raydream.recipe import Recipe


def noise(height=64, width=80, seed=0):
    return np.random.default_rng(seed).standard_normal((height, width, 3))


# ---------------------------------------------------------------- the score


def test_an_image_without_seams_scores_one():
    scores = [seam_score(noise(seed=seed), [16, 32, 48], [20, 40, 60]) for seed in range(20)]
    assert np.mean(scores) == pytest.approx(1.0, abs=0.03)


def test_the_score_by_hand():
    """Differences of 1 everywhere down the rows, and of 3 across row 2."""
    image = np.zeros((4, 3, 3)) + np.array([0.0, 1.0, 4.0, 5.0])[:, None, None]
    assert seam_score(image, [2], []) == pytest.approx(9.0)
    assert seam_score(image, [1], []) == pytest.approx(1.0 / 5.0)


@pytest.mark.parametrize("line", [1, 40, 79])
def test_a_step_across_a_column_is_a_seam_there_only(line):
    image = noise()
    image[:, line:] += 2.0
    assert seam_score(image, [], [line]) > 2.0
    other = 20 if line == 40 else 40
    assert seam_score(image, [], [other]) < 1.3
    assert seam_score(image, [other], []) < 1.3


def test_rows_and_columns_count_alike():
    image = noise()
    image[32:] += 2.0
    assert seam_score(image, [32], []) == pytest.approx(seam_score(image.transpose(1, 0, 2), [], [32]))


def test_content_that_runs_one_way_is_no_seam():
    """Stripes along the rows differ down the columns only; lines of both kinds must not mix the two."""
    image = np.repeat(noise(64, 1), 80, axis=1) + 0.01 * noise()
    scores = [seam_score(np.roll(image, shift, axis=0), [8, 16, 24, 32], [40]) for shift in range(64)]
    assert np.mean(scores) == pytest.approx(1.0, abs=0.1)


def test_the_range_does_not_matter():
    image = noise()
    assert seam_score(image * 127.5 + 127.5, [32], [40]) == pytest.approx(seam_score(image, [32], [40]))
    levels = np.clip(image * 40 + 128, 0, 255).astype(np.uint8)
    assert seam_score(levels, [32], [40]) == pytest.approx(seam_score(levels.astype(float), [32], [40]))


def test_flat_images():
    flat = np.zeros((8, 8, 3))
    assert seam_score(flat, [4], [4]) == 1.0
    flat[4:] = 1.0
    assert seam_score(flat, [4], [4]) == np.inf


@pytest.mark.parametrize(
    ("shape", "rows", "columns"),
    [
        ((8, 8), [4], []),
        ((8, 8, 1), [4], []),
        ((8, 8, 3), [], []),
        ((8, 8, 3), [0], []),
        ((8, 8, 3), [8], []),
        ((8, 9, 3), [], [9]),
        ((2, 8, 3), [1], []),
    ],
)
def test_what_has_no_score(shape, rows, columns):
    with pytest.raises(ValueError, match=r"must be|name|every"):
        seam_score(np.zeros(shape), rows, columns)


# ---------------------------------------------------------------- dreams


def sky(side):
    """A smooth gradient (1, side, side, 3), on which any seam would show."""
    y, x = np.mgrid[0:side, 0:side] / side
    return np.stack([0.8 * x - 0.4, 0.6 * y - 0.5, 0.5 - 0.5 * (x + y)], axis=-1).astype(np.float32)[None]


def borders(side, tile):
    return [side * i // -(-side // tile) for i in range(1, -(-side // tile))]


def unrolled(images, recipe, backbone):
    """The same ascent of the full size with its tile borders always in the same place: how seams come about."""
    for _ in range(recipe.steps):
        gradient, _ = gradients.gradient_of(images, recipe, backbone, [(0, 0)])
        step = update.normalize(gradient, recipe.step_rule).numpy()
        images = np.clip(images + recipe.step_size * step, -1.0, 1.0)
    return images


def scores(side, recipe, backbone, count):
    """Mean seam score at the tile borders over `count` dreams, and the score of the unrolled ascent; both printed."""
    lines = borders(side, recipe.tile)
    each = []
    for first in range(0, count, 4):
        dreams = dream(np.repeat(sky(side), 4, axis=0), recipe, backbone, range(first, first + 4))
        each += [seam_score(image, lines, lines) for image in dreams]
    fixed = seam_score(unrolled(sky(side), recipe, backbone)[0], lines, lines)
    error = np.std(each) / count**0.5
    print(f"seam score of rolled tiles {np.mean(each):.3f} +- {error:.3f}, of tiles that stay {fixed:.3f}")
    return np.mean(each), fixed


def test_tiny_dreams_have_no_seams(tiny_backbone):
    """One octave: enlarging the one before leaves a pattern of its own, seven pixels wide, in this network's dreams."""
    recipe = Recipe(objective=["low", "high"], octaves=1, steps=10, tile=96)
    rolled, fixed = scores(288, recipe, tiny_backbone, 24)
    assert rolled == pytest.approx(1.0, abs=0.05)
    assert fixed < 0.5  # cells at the borders of tiles see padding, so less of the push arrives there


@pytest.mark.slow
def test_dreams_have_no_seams(inception):
    """Eight dreams, as one scatters by 0.08: measured 0.99 +- 0.03 with 10 steps an octave, too."""
    recipe = Recipe(octaves=3, steps=5, tile=128)
    rolled, fixed = scores(384, recipe, inception, 8)
    assert rolled == pytest.approx(1.0, abs=0.05)
    assert fixed < 0.5
