"""lite: the network that ships."""

from importlib import resources

import keras
import numpy as np
import pytest

from raydream import backbones
from raydream.backbones import load_backbone, load_model
from raydream.errors import UsageError
from raydream.geometry import Axis
from raydream.models import lite


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
