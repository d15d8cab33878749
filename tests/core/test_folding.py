"""folding: the same network with fewer layers, in values and in gradients."""

import keras.applications.vgg16
import numpy as np
import pytest
from keras import layers

from raydream.core.networks.backbones import Backbone
from raydream.core.networks.folding import folded
from tests.conftest import TINY_LAYERS, random_images, tiny_network


def cut(model, names):
    return keras.Model(model.inputs, [model.get_layer(name).output for name in names])


def unfolded(model):
    """The model as it is, in float64."""

    def clone(layer):
        return type(layer).from_config(layer.get_config() | {"dtype": "float64"})

    entry = [keras.Input((None, None, 3), dtype="float64")]
    copy = keras.models.clone_model(model, input_tensors=entry, clone_function=clone)
    copy.set_weights(model.get_weights())
    return copy


def run(network, images):
    """Activations, and the gradient of the sum of their squares."""
    import tensorflow as tf

    images = tf.constant(images, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(images)
        planes = network([images], training=False)
        planes = planes if isinstance(planes, list) else [planes]
        value = tf.add_n([tf.reduce_sum(plane**2) for plane in planes])
    return [plane.numpy() for plane in planes], tape.gradient(value, images).numpy()


def assert_same(model, other, size=(45, 38)):
    """Activations and gradients agree to 1e-10 of their size."""
    images = random_images(*size, batch=2)
    (planes, gradient), (planes2, gradient2) = run(model, images), run(other, images)
    for one, two in zip([*planes, gradient], [*planes2, gradient2], strict=True):
        assert one.shape == two.shape
        assert np.abs(one).max() > 0
        assert np.linalg.norm(one - two) <= 1e-10 * np.linalg.norm(one)


def kinds(model):
    return [type(layer).__name__ for layer in model.layers]


def small(build, seed=0):
    """A functional model with random weights; `build` takes the image."""
    image = keras.Input((None, None, 3))
    model = keras.Model([image], [build(image)])
    random = np.random.default_rng(seed)
    for variable in model.variables:
        low = 0.3 if variable.name in ("gamma", "moving_variance") else -1.0
        variable.assign(random.uniform(low, 1.5, variable.shape))
    return model


def test_the_tiny_network_stays_the_same():
    model = cut(tiny_network(), TINY_LAYERS)
    network = folded(model, "max", "float64")
    assert kinds(model).count("BatchNormalization") == 4
    assert "BatchNormalization" not in kinds(network)
    assert_same(unfolded(model), network)


def test_float32_is_kept_where_asked_for():
    network = folded(cut(tiny_network(), ["high"]), "max", "float32")
    assert {variable.dtype for variable in network.variables} == {"float32"}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("scale", [True, False])
def test_every_kind_of_batch_norm(bias, center, scale):
    def build(x):
        x = layers.Conv2D(4, 3, use_bias=bias)(x)
        return layers.BatchNormalization(center=center, scale=scale, epsilon=0.1)(x)

    model = small(build)
    network = folded(model, "max", "float64")
    assert kinds(network) == ["InputLayer", "Conv2D"]
    assert_same(unfolded(model), network)


def test_grouped_convolutions():
    model = small(lambda x: layers.BatchNormalization()(layers.Conv2D(6, 3, groups=3)(x)))
    network = folded(model, "max", "float64")
    assert kinds(network) == ["InputLayer", "Conv2D"]
    assert_same(unfolded(model), network)


def test_a_convolution_without_batch_norm_is_left_alone():
    model = small(lambda x: layers.Conv2D(4, 3, activation="relu", name="plain")(x))
    network = folded(model, "max", "float64")
    for mine, original in zip(network.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, original)
    assert_same(unfolded(model), network)


def test_a_convolution_with_two_readers_is_not_folded():
    def build(x):
        x = layers.Conv2D(4, 3)(x)
        return layers.Add()([layers.BatchNormalization()(x), x])

    model = small(build)
    network = folded(model, "max", "float64")
    assert "BatchNormalization" in kinds(network)
    assert_same(unfolded(model), network)


def test_a_convolution_that_is_dreamed_of_is_not_folded():
    model = small(lambda x: layers.BatchNormalization(name="norm")(layers.Conv2D(4, 3, name="conv")(x)))
    network = folded(cut(model, ["conv", "norm"]), "max", "float64")
    assert "BatchNormalization" in kinds(network)
    assert_same(unfolded(cut(model, ["conv", "norm"])), network)


def test_a_batch_norm_after_an_activation_is_not_folded():
    model = small(lambda x: layers.BatchNormalization()(layers.Conv2D(4, 3, activation="relu")(x)))
    network = folded(model, "max", "float64")
    assert "BatchNormalization" in kinds(network)
    assert_same(unfolded(model), network)


def test_a_depthwise_convolution_is_not_folded():
    model = small(lambda x: layers.BatchNormalization()(layers.DepthwiseConv2D(3)(x)))
    assert_same(unfolded(model), folded(model, "max", "float64"))


def test_sequential_models_fold():
    """Built one by one, a `Sequential` leaves its layers in several graphs."""
    steps = [layers.Conv2D(4, 3, strides=2), layers.BatchNormalization(), layers.ReLU(), layers.Conv2D(4, 3)]
    model = keras.Sequential([keras.Input((None, None, 3)), *steps])
    random = np.random.default_rng(0)
    for variable in model.variables:
        variable.assign(random.uniform(0.2, 1.0, variable.shape))
    model = keras.Model(model.inputs, model.outputs)
    network = folded(model, "max", "float64")
    assert kinds(network) == ["InputLayer", "Conv2D", "ReLU", "Conv2D"]
    assert_same(unfolded(model), network)


def test_average_pooling_takes_the_place_of_max_pooling():
    def build(pool):
        return lambda x: pool(3, strides=2, padding="same")(layers.Conv2D(4, 3, activation="relu")(x))

    model, average = small(build(layers.MaxPooling2D)), small(build(layers.AveragePooling2D))
    assert_same(unfolded(average), folded(model, "average", "float64"))
    assert_same(unfolded(model), folded(model, "max", "float64"))
    with pytest.raises(AssertionError):
        assert_same(unfolded(model), folded(model, "average", "float64"))


def test_models_of_a_fixed_size_take_any_size():
    image = keras.Input((32, 32, 3))
    model = keras.Model([image], [layers.Conv2D(4, 3)(image)])
    assert folded(model, "max", "float32")([np.zeros((1, 50, 41, 3), np.float32)]).shape == (1, 48, 39, 4)


def test_vgg_preprocessing_is_that_of_keras():
    """Through a network that hands its input on: what VGG gets is what `preprocess_input` makes of 0..255."""
    image = keras.Input((None, None, 3))
    model = keras.Model([image], [layers.ReLU(name="same", negative_slope=1.0)(image)])
    network = folded(model, "max", "float64")
    backbone = Backbone("vgg16", ("same",), network, (), vgg=True, dtype="float64")
    images = random_images(9, 11, batch=2).astype(np.float64)
    (found,) = backbone.activations(images)
    expected = keras.applications.vgg16.preprocess_input((images + 1.0) * 127.5)
    np.testing.assert_allclose(found, expected, atol=1e-4)  # Keras computes its own in float32
