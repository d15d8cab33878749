"""lite: the network that ships."""

from importlib import resources

import keras
import numpy as np
import pytest

from raydream import backbones, codec
from raydream.backbones import load_backbone, load_for, load_model
from raydream.engine import dream, measure
from raydream.errors import UsageError
from raydream.geometry import Axis
from raydream.models import lite
from raydream.recipe import Recipe
from raydream.training.distill import Distillation

# What weights/lite.md says, with room for the few photographs that are looked at here.
FIGURES = {"mixed2": 0.58, "mixed3": 0.53, "mixed5": 0.8}
COSINE, GAIN = 0.17, 1.4


@pytest.fixture(scope="module")
def untrained():
    return lite.build()


@pytest.fixture(scope="module")
def inception():
    whole = load_model("inception_v3", None)
    return keras.Model(whole.inputs, [whole.get_layer(name).output for name in lite.LAYERS])


def test_layers_are_named_for_what_they_stand_for(untrained, inception):
    assert [tensor.shape[-1] for tensor in untrained.outputs] == [channels for _, channels in lite.LAYERS.values()]
    assert [tensor.shape[-1] for tensor in untrained.outputs] == [tensor.shape[-1] for tensor in inception.outputs]
    assert backbones.layer_names(untrained) == list(lite.LAYERS)


@pytest.mark.parametrize("axis", [0, 1])
def test_cells_lie_where_those_of_inception_do(untrained, inception, axis):
    mine, theirs = Axis(untrained, axis), Axis(inception, axis)
    assert all(mine.cells(n) == theirs.cells(n) for n in range(75, 700))
    for a, b in zip(mine.fields(), theirs.fields(), strict=True):
        assert (a.stride, a.first + a.last) == (b.stride, b.first + b.last)


def test_layers_of_other_networks():
    network = lite.build({"a": (2, 5), "b": (4, 6), "c": (8, 7), "d": (16, 8), "e": (16, 9), "f": (16, 10)})
    fields = Axis(network, 0).fields()
    assert [field.stride for field in fields] == [2, 4, 8, 16, 16, 16]
    assert len({field.width for field in fields}) == 6, "each layer has a plane of its own"
    with pytest.raises(UsageError, match=r"layer 'x' has a stride of 32 pixels: lite has planes of \[2, 4, 8, 16\]"):
        lite.build({"x": (32, 5)})


def test_what_ships_is_small_and_has_a_card():
    folder = resources.files("raydream") / "weights"
    assert (folder / "lite.keras").stat().st_size < 3_000_000
    card = (folder / "lite.md").read_text()
    assert "python -m raydream.jobs.distill_backbone" in card


def test_what_ships_is_this_plan(untrained):
    shipped = load_model("lite", None)
    assert [v.shape for v in shipped.variables] == [v.shape for v in untrained.variables]
    assert backbones.layer_names(shipped) == list(lite.LAYERS)


def test_it_is_a_backbone():
    backbone = load_backbone("lite", ["mixed5", "mixed2"])
    assert [backbone.channels(layer) for layer in backbone.layers] == [768, 288]
    image = np.zeros((1, 96, 80, 3), np.float32)
    high, low = backbone.activations(image)
    assert high.shape[-1] == 768
    assert low.shape[-1] == 288
    with pytest.raises(UsageError, match=r"backbone 'lite' has no layer 'mixed4'.*inception_v3 has more"):
        load_backbone("lite", ["mixed4"])


@pytest.fixture(scope="module")
def held_out(photographs):
    """Some of those that lite never learnt from: each eighth."""
    names = photographs[::8][::12]
    return [codec.fit(codec.decode(name.read_bytes()), (299, 299)) for name in names]


@pytest.mark.real_weights
def test_it_answers_as_inception_does(weights, held_out):
    teacher = load_backbone("inception_v3", list(lite.LAYERS), weights=weights)
    units = [np.ones(channels, np.float32) for _, channels in lite.LAYERS.values()]
    learner = Distillation(load_model("lite", None), teacher, units, optimizer=None, batch=1)
    found = learner.figures(held_out, [0.0, 1.0, 1.0], power=0.0)
    print(found)
    for layer, most in FIGURES.items():
        assert found[layer] < most
    assert found["cosine2"] > COSINE


@pytest.mark.real_weights
def test_its_dreams_are_dreams_to_inception_too(weights, held_out):
    """Natural Dreams with a quarter of the steps: what lite amplifies is what InceptionV3 sees more of."""
    mine = Recipe.load("natural-dreams", {"steps": 25})
    theirs = Recipe.load("natural-dreams", {"weights": weights})
    judge = load_for(theirs)
    images = np.stack(held_out[:4])
    dreams = dream(images, mine, load_for(mine), [1, 2, 3, 4])
    gain = measure(dreams, theirs, judge).mean() / measure(images, theirs, judge).mean()
    print(gain)
    assert gain > GAIN
