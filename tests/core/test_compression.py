"""compression: patches are what a convolution sees, names are always the same, and what differs is measured."""

import keras
import numpy as np
import pytest
from keras import layers

from raydream.core.networks import compact, compression
from raydream.core.networks.compression import Sampler, compare, convolutions, plain, quantized, restored
from raydream.core.networks.quantization import nearest
from raydream.errors import UsageError
from tests.conftest import outputs, random_images, tiny_network

KINDS = {
    "valid": {"kernel_size": 3},
    "same": {"kernel_size": (1, 5), "padding": "same"},
    "same, strides": {"kernel_size": 3, "padding": "same", "strides": 2},
    "valid, strides": {"kernel_size": (5, 3), "strides": (2, 1)},
    "dilated": {"kernel_size": 3, "dilation_rate": 2, "padding": "same"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_patches_are_what_the_convolution_sees(kind):
    image = keras.Input((None, None, 3))
    layer = layers.Conv2D(2, name="a", **KINDS[kind])
    model = keras.Model(image, layer(image))
    (plane,) = random_images(24, 31)
    found = compression._patches(layer, plane, np.random.default_rng(7)) @ layer.kernel.numpy().reshape(-1, 2)
    expected = outputs(model, plane[None]).reshape(-1, 2)
    places = np.random.default_rng(7).choice(len(expected), len(found))
    np.testing.assert_allclose(found, expected[places], rtol=1e-4, atol=1e-5)


def test_the_plain_network_is_the_network_up_to_a_layer():
    network = plain(tiny_network(), "mix")
    images = random_images(60, 51)
    model = tiny_network()
    expected = outputs(keras.Model(model.inputs, model.get_layer("mix").output), images)
    np.testing.assert_allclose(outputs(network, images), expected, rtol=1e-4, atol=1e-5)
    assert not [layer for layer in network.layers if isinstance(layer, layers.BatchNormalization)]
    assert all(layer.use_bias for layer in convolutions(network))
    with pytest.raises(UsageError, match="no layer 'mxi': did you mean 'mix'"):
        plain(tiny_network(), "mxi")


def test_what_cannot_be_the_end_of_a_network_or_a_name_is_refused():
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, name="low")(image)
    x = keras.layers.Conv2D(4, 3, name="image")(x)
    network = keras.Model(image, keras.layers.GlobalAveragePooling2D(name="logits")(x))
    with pytest.raises(UsageError, match=r"layer 'logits' of .* returns no feature map: name a layer below it"):
        plain(network, "logits")
    with pytest.raises(UsageError, match="has a layer 'image', which is the name of the input: rename the layer"):
        plain(network, "image")


def test_names_do_not_depend_on_what_was_built_before():
    def build():
        image = keras.Input((None, None, 3))
        return plain(keras.Model(image, layers.Conv2D(2, 3, name="end")(layers.Conv2D(4, 3)(image))), "end")

    one, two = build(), build()
    assert [layer.name for layer in one.layers] == [layer.name for layer in two.layers]
    one.set_weights(two.get_weights())
    assert compact.dump(one, {}, "mine", {}) == compact.dump(two, {}, "mine", {})


def test_moments_add_up_whatever_the_images_size():
    network = plain(tiny_network(), "high")
    images = [random_images(n, n + 5, seed=n)[0] for n in range(70, 90)]
    sampler, seeds = Sampler(network), range(20)
    whole = sampler.moments(images, seeds)
    first, second = sampler.moments(images[:3], seeds[:3]), sampler.moments(images[3:], seeds[3:])
    assert [*whole] == [layer.name for layer in convolutions(network)]
    for name, part in whole.items():
        both = first[name] + second[name]
        assert part.count == both.count
        np.testing.assert_allclose(part.square, both.square, rtol=1e-9, atol=1e-9)


def test_the_first_two_keep_eight_bits():
    network = plain(tiny_network(), "high")
    parts = quantized(network, dict.fromkeys(layer.name for layer in network.layers), 3, nearest)
    most = [np.abs(part.codes.astype(int)).max() for part in parts.values()]
    assert min(most[:2]) > 60
    assert max(most[2:]) <= 3


def test_a_network_differs_from_itself_in_nothing_and_from_a_rough_one_in_much():
    network = plain(tiny_network(), "high")
    images = [random_images(60, 51)[0], random_images(64, 64, seed=1)[0]]
    objectives = [["low", "mix"], ["high"]]
    errors, cosines = compare(network, network, objectives, images)
    assert errors == {"low": 0.0, "mix": 0.0, "high": 0.0}
    assert cosines == pytest.approx({"low+mix": 1.0, "high": 1.0})
    parts = quantized(network, dict.fromkeys(layer.name for layer in network.layers), 2, nearest)
    errors, cosines = compare(network, restored(network, parts), objectives, images)
    assert 0 < errors["low"] < errors["high"]
    assert cosines["high"] < 0.99
