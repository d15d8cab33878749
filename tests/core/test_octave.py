"""The context of an octave: what terms compare with is measured tile by tile, and is that of the whole image."""

import numpy as np
import pytest

from raydream.core import gradients, octave
from raydream.core.context import Pictures
from raydream.core.engine import tensor_of
from raydream.core.objectives import Guide, Objective, Picked, Style
from raydream.errors import UsageError
from raydream.recipe import Recipe
from tests.conftest import random_images

SIZE = (203, 250)
SOURCE = random_images(*SIZE, batch=2, seed=1).astype(np.float64) * [[[[1]]], [[[-0.3]]]] + [[[[0]]], [[[0.6]]]]
STYLE = random_images(*SIZE, seed=2)[0]  # of the octave's size, so that it is not resized
TERMS = (Style(layer="low", style="s"), Style(layer="high", style="s"), Picked(layer="mix", count=3))


def constants(backbone, tiling, tile=96, terms=TERMS, images=None):
    recipe = Recipe(objective=Objective(terms), tile=tile, tiling=tiling)
    pictures = Pictures(images or {"s": STYLE})
    return octave.context_of(tensor_of(SOURCE), SIZE, recipe, backbone, pictures).constants


@pytest.mark.parametrize("tile", [96, 512])
def test_styles_and_picked_channels_are_those_of_the_whole_image(tile, tiny64):
    (low,), (high,), (shares,) = constants(tiny64, "exact", tile)
    for found, plane in ((low, 0), (high, 2)):
        rows = np.asarray(tiny64.activations(STYLE[None].astype(np.float64))[plane]).reshape(-1, found.shape[-1])
        np.testing.assert_allclose(found, rows.T @ rows / len(rows), rtol=1e-9, atol=1e-12)
    means = np.asarray(tiny64.activations(SOURCE)[1]).mean(axis=(1, 2))
    wanted = [{*np.argsort(row)[-3:]} for row in means]
    assert wanted[0] != wanted[1]  # each photograph picks its own
    assert [{*np.flatnonzero(row)} for row in np.asarray(shares)] == wanted
    np.testing.assert_allclose(np.sum(shares, axis=1), 1.0)


@pytest.mark.parametrize(("tiling", "most"), [("roll", 96), ("exact", 170)])
def test_no_more_than_a_tile_goes_through_the_network(tiling, most, tiny64, monkeypatch):
    """Memory does not grow with the style or the photograph."""
    sizes = []
    views = gradients._views

    def watched(*given):
        for view in views(*given):
            sizes.append(tuple(view[0].shape[1:3]))
            yield view

    monkeypatch.setattr(gradients, "_views", watched)
    monkeypatch.setattr(
        octave, "_guide_activations", lambda *given: pytest.fail("a whole image goes through the network")
    )
    constants(tiny64, tiling)
    assert len(sizes) == 18  # nine tiles of the photographs, nine of the style, which two terms share
    assert max(max(size) for size in sizes) <= most


def test_a_style_is_measured_at_the_size_of_the_octave_and_only_once(tiny64, monkeypatch):
    measured = []
    statistics = gradients.statistics_of
    monkeypatch.setattr(
        gradients, "statistics_of", lambda images, *more: measured.append(images.shape) or statistics(images, *more)
    )
    recipe = Recipe(objective=Objective(TERMS[:2]), tile=512)
    pictures = Pictures({"s": STYLE[:, :203]})
    for size in ((60, 80), (60, 80), (90, 80)):
        octave.context_of(tensor_of(SOURCE), size, recipe, tiny64, pictures)
    assert measured == [(1, 60, 60, 3), (1, 80, 80, 3)]


def test_a_guide_that_is_a_strip_stays_small(tiny64, monkeypatch):
    sizes = []
    resize = octave.pyramid.resize
    monkeypatch.setattr(octave.pyramid, "resize", lambda i, size: sizes.append(size) or resize(i, size))
    strip = np.zeros((10, 3000, 3), np.float32)
    constants(tiny64, "roll", terms=(Guide(layer="low", guide="g"),), images={"g": strip})
    assert sizes == [SIZE, (6, 1792)]
    with pytest.raises(UsageError, match="g: an image of 1792x1 pixels is too small"):
        constants(tiny64, "roll", terms=(Guide(layer="low", guide="g"),), images={"g": strip[:1]})
