"""metrics and trade_off: each score on pictures whose score is known."""

import math
from dataclasses import replace

import numpy as np
import pytest

from raydream.core import engine, gradients, metrics
from raydream.core.metrics import NAMES, Network, Score, score
from raydream.core.trade_off import TradeOff
from raydream.errors import UsageError
from raydream.recipe import Recipe
from tests.conftest import random_images

SIDE = 96


@pytest.fixture(scope="module")
def own(tiny_backbone):
    return Network(Recipe(backbone="tiny", objective=["low", "mix", "high"], octaves=1, steps=8), tiny_backbone)


def photograph(seed=0):
    return 0.5 * random_images(SIDE, SIDE, seed=seed)[0]


def stripes(wavelength, side=SIDE, amplitude=0.2):
    wave = amplitude * np.cos(2 * np.pi * np.arange(side) / wavelength)
    return np.broadcast_to(wave[None, :, None], (side, side, 3)).astype(np.float32)


def test_the_photograph_itself(own):
    found = score(photograph(), photograph(), own)
    assert found.gains == {"low": 0.0, "mix": 0.0, "high": 0.0}
    assert found.ssim == pytest.approx(1.0)
    assert (found.gain, found.color_shift, found.strength, found.seam) == (0.0, 0.0, 0.0, 1.0)
    assert math.isnan(found.motif)
    assert found.transfer is None


def test_a_dream_gains_and_a_stronger_one_gains_more(own):
    image, recipe = photograph()[None], own.recipe
    weak, strong = (
        score(engine.dream(image, replace(recipe, step_size=size), own.backbone, [0])[0], image[0], own)
        for size in (0.01, 0.04)
    )
    assert 0 < weak.gain < strong.gain
    assert 1 > weak.ssim > strong.ssim
    assert 0 < weak.strength < strong.strength
    assert 0 < weak.color_shift < strong.color_shift
    assert weak.gain == pytest.approx(np.mean(list(weak.gains.values())))


def test_the_gain_is_the_change_of_the_objective_over_that_of_the_photograph(own, tiny_backbone):
    one = Network(Recipe(backbone="tiny", objective="low"), tiny_backbone)
    source, dream = photograph(), photograph(1)
    before, after = (float(gradients.value_of(i[None], one.recipe, tiny_backbone)[0]) for i in (source, dream))
    assert metrics.gains(dream, source, one)["low"] == pytest.approx((after - before) / abs(before), rel=1e-4)


def test_a_term_that_suppresses_gains_by_falling(tiny_backbone):
    plus, minus = (
        Network(Recipe(backbone="tiny", objective=[{"layer": "low", "weight": w}]), tiny_backbone) for w in (1, -2)
    )
    found = [metrics.gains(photograph(1), photograph(), network)["low"] for network in (plus, minus)]
    assert found[0] == pytest.approx(-found[1])
    assert found[0] != 0


def test_terms_that_compare_with_the_photograph(tiny_backbone):
    """The difference gains if the picture changes; content, which only keeps, does not count."""
    terms = [{"kind": "difference", "layer": "low"}, {"kind": "content", "layer": "high"}, {"layer": "mix"}]
    network = Network(Recipe.parse({"objective": terms}), tiny_backbone)
    found = metrics.gains(photograph(1), photograph(), network)
    assert set(found) == {"low", "mix"}
    assert found["low"] > 1.0
    only = Network(Recipe.parse({"objective": terms[1]}), tiny_backbone)
    assert np.isnan(metrics.score(photograph(1), photograph(), only).gain)


def test_another_network_measures_the_transfer(own, tiny_backbone):
    other = Network(Recipe(backbone="tiny", objective="high"), tiny_backbone)
    found = score(photograph(1), photograph(), own, other)
    assert found.transfer == pytest.approx(found.gains["high"])


@pytest.mark.parametrize("wavelength", [4, 8, 12, 24])
def test_the_motif_is_the_wavelength_of_what_was_added(wavelength):
    source = photograph()
    assert metrics.motif(source + stripes(wavelength), source) == pytest.approx(wavelength, rel=0.06)


def test_more_saturated_colours_shift_and_lightness_does_not():
    grey = np.full((SIDE, SIDE, 3), -0.2, np.float32)
    assert metrics.color_shift(grey + 0.3, grey) == pytest.approx(0.0, abs=0.02)
    red = grey + np.array([0.4, 0, 0], np.float32)
    assert metrics.color_shift(red, grey) > 10
    # Pure red in CIELAB is a* 80.1, b* 67.2.
    pure = np.broadcast_to(np.array([1.0, -1.0, -1.0], np.float32), (4, 4, 3))
    assert metrics.color_shift(pure, np.zeros((4, 4, 3), np.float32)) == pytest.approx(math.hypot(80.1, 67.2), rel=0.01)


def test_an_image_of_several_tiles_is_looked_at_along_their_borders(tiny_backbone):
    recipe = Recipe(backbone="tiny", objective="low", tile=96)
    image = random_images(192, 192)[0]
    step = image.copy()
    step[:, 96:] += 0.5
    step = np.clip(step, -1, 1)
    network = Network(recipe, tiny_backbone)
    assert score(step, image, network).seam > score(image, image, network).seam + 0.5
    exact = Network(replace(recipe, tiling="exact"), tiny_backbone)
    assert score(step, image, exact).seam > 1.3


def test_the_mean_of_scores(own):
    found = [score(photograph(seed), photograph(9), own) for seed in (1, 2)]
    mean = Score.mean(found)
    for name in NAMES:
        values = [getattr(one, name) for one in found]
        assert getattr(mean, name) == (None if name == "transfer" else pytest.approx(np.mean(values)))
    assert mean.gains["low"] == pytest.approx(np.mean([one.gains["low"] for one in found]))


def test_shapes_are_checked(own):
    with pytest.raises(ValueError, match="must both be"):
        score(photograph()[:-1], photograph(), own)


# ---------------------------------------------------------------- the trade-off

SCORES = {"gain": 3.0, "ssim": 0.5, "seconds": 10.0}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("gain", 3.0),
        ("log(1 + gain) * sqrt(ssim)", math.log(4) * 0.5**0.5),
        ("gain - 2 * seconds / 10", 1.0),
        ("-ssim ** 2", -0.25),
        ("max(gain, seconds) + min(ssim, 0.1)", 10.1),
        ("sqrt(abs(0 - gain - 1))", 2.0),
    ],
)
def test_formulas(text, value):
    assert TradeOff.parse(text, SCORES)(SCORES) == pytest.approx(value)


@pytest.mark.parametrize(
    "text", ["log(-gain)", "gain / (ssim - 0.5)", "(0 - gain) ** 0.5", "gain * log()", "gain ** 9999", "gain + 9e999"]
)
def test_a_formula_without_a_value_is_nan(text):
    assert math.isnan(TradeOff.parse(text, SCORES)(SCORES))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gian * ssim", r"unknown name 'gian': did you mean 'gain'\? valid: gain, ssim, seconds"),
        ("logg(gain)", r"unknown name 'logg': did you mean 'log'\?"),
        ("gain *", "is not a formula such as"),
        ("", "is not a formula such as"),
        ("gain.__class__", "Attribute is not allowed"),
        ("__import__('os')", "unknown name '__import__'"),
        ("[gain]", "List is not allowed"),
        ("'gain'", "Constant is not allowed"),
        ("gain if ssim else 0", "IfExp is not allowed"),
        ("(" * 220 + "gain" + ")" * 220, "is not a formula such as"),
        ("gain" + " " * 500 + "* nothing", "metric has 513 characters: use at most 500"),
        ("1/0", "metric '1/0' has no score: use some of gain, ssim, seconds"),
        ("max(1, 2)", "has no score"),
    ],
)
def test_what_is_no_formula_is_one_line(text, message):
    with pytest.raises(UsageError, match=message) as error:
        TradeOff.parse(text, SCORES)
    assert "\n" not in str(error.value)
