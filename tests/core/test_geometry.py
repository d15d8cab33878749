"""geometry: counted positions and receptive fields against what the networks really do."""

import ast
from pathlib import Path

import keras
import numpy as np
import pytest

from raydream.core.networks import loading
from raydream.core.networks.folding import folded
from raydream.core.networks.geometry import Axis, Field
from raydream.core.networks.graph import nodes, output_names, outputs_of
from raydream.errors import UsageError
from tests.conftest import TINY_LAYERS, random_images, tiny_network


def shapes(network, height, width):
    """(rows, columns) of each output of a Keras model, by running it."""
    return [tuple(out.shape[1:3]) for out in network([np.zeros((1, height, width, 3), np.float32)])]


def counted(network, height, width):
    return list(zip(Axis(network, 0).positions(height), Axis(network, 1).positions(width), strict=True))


def cut(model, layers):
    return keras.Model(model.inputs, [model.get_layer(layer).output for layer in layers])


def positive(model):
    """All weights above zero (and no variance below), so that no path through the network cancels out."""
    for variable in model.variables:
        sign = -1.0 if variable.name == "moving_mean" else 1.0
        variable.assign(sign * (np.abs(variable.numpy()) + 0.01))
    return model


# ---------------------------------------------------------------- positions


def test_positions_of_the_tiny_network_for_every_small_size(tiny_backbone):
    rows, columns = tiny_backbone.axes
    for height in range(3, 60):
        width = 3 + (height * 7) % 57
        expected = shapes(tiny_backbone.model, height, width)
        assert list(zip(rows.positions(height), columns.positions(width), strict=True)) == expected


def test_no_positions_below_the_smallest_kernel(tiny_backbone):
    assert tiny_backbone.axes[0].positions(2) == (0, 0, 0)
    assert tiny_backbone.axes[0].positions(3) == (1, 1, 1)


@pytest.fixture(scope="module")
def inception_untrained():
    return cut(loading.load("inception_v3", None).model, [f"mixed{i}" for i in range(11)])


@pytest.mark.parametrize(("height", "width"), [(75, 96), (139, 107), (171, 299)])
def test_positions_of_inception(inception_untrained, height, width):
    assert counted(inception_untrained, height, width) == shapes(inception_untrained, height, width)


@pytest.mark.parametrize(("height", "width"), [(32, 47), (100, 77)])
def test_positions_of_vgg(height, width):
    names = ["block1_conv2", "block1_pool", "block3_conv3", "block4_pool", "block5_conv3", "block5_pool"]
    network = cut(loading.load("vgg16", None).model, names)
    assert counted(network, height, width) == shapes(network, height, width)


def test_zero_padding_and_dilation_are_counted():
    from keras import layers

    image = keras.Input((None, None, 3))
    x = layers.ZeroPadding2D(((1, 2), (3, 0)))(image)
    x = layers.Conv2D(2, 3, dilation_rate=2, name="wide")(x)
    x = layers.DepthwiseConv2D(3, strides=2, padding="same", name="each")(x)
    model = positive(keras.Model(image, x))
    network = folded(cut(model, ["wide", "each"]), "max", "float64")
    for size in range(8, 20):
        assert counted(network, size, size + 3) == shapes(network, size, size + 3)
    assert [axis.fields()[0] for axis in (Axis(network, 0), Axis(network, 1))] == [Field(1, -1, 3), Field(1, -3, 1)]


# ---------------------------------------------------------------- receptive fields


def seen(network, size, output, position):
    """(first, last) pixel along rows and along columns that moves a position of an output, by its gradient."""
    import tensorflow as tf

    image = tf.constant(random_images(size, size).astype(np.float64))
    with tf.GradientTape() as tape:
        tape.watch(image)
        outputs = network([image])
        value = tf.reduce_sum(outputs[output][:, position, position])
    moved = np.abs(tape.gradient(value, image).numpy()[0]).sum(axis=-1) > 0
    return [(int(lines[0]), int(lines[-1])) for lines in (np.flatnonzero(moved.any(axis=a)) for a in (1, 0))]


def expected(axis, output, position):
    field = axis.fields()[output]
    return position * field.stride + field.first, position * field.stride + field.last


def test_the_tiny_network_sees_no_pixel_outside_its_fields(tiny64):
    for output, position in ((0, 16), (1, 8), (2, 4)):
        for size in (70, 71, 73):
            for axis, (first, last) in zip(tiny64.axes, seen(tiny64.model, size, output, position), strict=True):
                low, high = expected(axis, output, position)
                assert low <= first <= last <= high


def test_fields_are_not_wider_than_they_must_be():
    """With positive weights and no max pooling every pixel of the field counts; "same" layers shift with the size."""
    network = folded(cut(tiny_network(positive=True), TINY_LAYERS), "average", "float64")
    axes = Axis(network, 0), Axis(network, 1)
    for output, position in ((0, 16), (1, 8), (2, 4)):
        found = [seen(network, size, output, position) for size in range(72, 80)]
        for axis, lines in zip(axes, zip(*found, strict=True), strict=True):
            assert (min(a for a, _ in lines), max(b for _, b in lines)) == expected(axis, output, position)


def test_rows_and_columns_have_their_own_fields(tiny_backbone):
    rows, columns = (axis.fields()[1] for axis in tiny_backbone.axes)
    assert (rows.stride, columns.stride) == (4, 4)
    assert columns.width == rows.width + 2 * 4  # the 3 x 5 kernel over positions of 4 pixels


def test_fields_of_inception_are_exact():
    network = folded(
        cut(positive(loading.load("inception_v3", None).model), ["mixed0", "mixed3"]), "average", "float64"
    )
    for output, position in ((0, 9), (1, 5)):
        rows, columns = seen(network, 203, output, position)
        assert rows == columns == expected(Axis(network, 0), output, position)
    assert [field.width for field in Axis(network, 0).fields()] == [63, 159]


# ---------------------------------------------------------------- layers that do not keep positions in place


class Thin(keras.layers.Layer):
    """Every second position: strided, but without a kernel size."""

    strides = (2, 2)

    def call(self, inputs):
        return inputs[:, ::2, ::2]

    def compute_output_spec(self, inputs):
        return keras.KerasTensor((None, None, None, inputs.shape[-1]), inputs.dtype)


class Conv2D(keras.layers.Conv2D):
    """Has the name of a supported layer, and does something else."""

    def call(self, inputs):
        return super().call(inputs)[:, ::-1]


REFUSED = {
    "Conv2DTranspose": lambda: keras.layers.Conv2DTranspose(4, 3, strides=2, name="odd"),
    "UpSampling2D": lambda: keras.layers.UpSampling2D(name="odd"),
    "GlobalAveragePooling2D": lambda: keras.layers.GlobalAveragePooling2D(keepdims=True, name="odd"),
    "Cropping2D": lambda: keras.layers.Cropping2D(1, name="odd"),
    "GroupNormalization": lambda: keras.layers.GroupNormalization(2, name="odd"),
    "Permute": lambda: keras.layers.Permute((2, 1, 3), name="odd"),
    "Resizing": lambda: keras.layers.Resizing(8, 8, name="odd"),
    "Thin": lambda: Thin(name="odd"),
    "Conv2D": lambda: Conv2D(4, 3, name="odd"),
    "Softmax": lambda: keras.layers.Softmax(axis=1, name="odd"),
    "LayerNormalization": lambda: keras.layers.LayerNormalization(axis=(-2, -1), name="odd"),
    "MaxPooling2D": lambda: keras.layers.MaxPooling2D(data_format="channels_first", name="odd"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_layers_that_are_not_known_to_keep_positions_in_place_are_refused(kind):
    size = 16 if kind == "LayerNormalization" else None
    image = keras.Input((size, size, 3))
    x = REFUSED[kind]()(keras.layers.Conv2D(4, 3, name="plain", padding="same")(image))
    model = keras.Model(image, x)
    with pytest.raises(UsageError, match=f"'odd' \\({kind}\\)") as caught:
        Axis(model, 0)
    assert "\n" not in str(caught.value)
    assert "supported are AveragePooling2D, Conv2D, DepthwiseConv2D" in str(caught.value)
    assert Axis(cut(model, ["plain"]), 0).positions(10) == (10,)


def test_layers_that_work_position_by_position_are_accepted():
    image = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(2.0)(image)
    x = keras.layers.Conv2D(4, 3, strides=2)(x)
    x = keras.layers.LayerNormalization()(keras.layers.PReLU(shared_axes=(1, 2))(x))
    x = keras.layers.Concatenate()([keras.layers.Dense(2)(x), keras.layers.Softmax()(x)])
    x = keras.layers.SeparableConv2D(2, 3, padding="same")(keras.layers.Dropout(0.5)(x))
    model = keras.Model([image], [x])
    assert Axis(model, 0).positions(11) == (5,) == shapes(model, 11, 11)[0][:1]
    assert Axis(model, 0).fields() == (Field(2, -2, 4),)


# ---------------------------------------------------------------- the graph


def test_the_graph_names_what_each_layer_reads():
    model = tiny_network()
    graph = {layer.name: inputs for layer, inputs in nodes(model)}
    assert graph["mix"] == ("narrow", "wide", "pooled")
    assert graph["low"] == ("stem",)
    (entry,) = [name for name, inputs in graph.items() if not inputs]
    assert graph["stem_conv"] == (entry,)
    done = set()
    for name, inputs in graph.items():
        assert done.issuperset(inputs), "a layer comes after those it reads"
        done.add(name)
    assert output_names(cut(model, ["mix", "low"])) == ["mix", "low"]
    assert output_names(model) == ["high"]
    assert outputs_of(model)["high"] is model.outputs[0]


def test_no_private_name_of_keras_is_used():
    """What Keras does not document may change in any release."""
    private = {"_nodes_by_depth", "_inbound_nodes", "_outbound_nodes", "_keras_history", "_nodes", "_layers"}
    for path in Path(loading.__file__).parents[2].rglob("*.py"):
        used = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
        own = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)
               and isinstance(node.value, ast.Name) and node.value.id == "self"}  # fmt: skip
        assert not (used - own) & private, path
        assert "keras.src" not in path.read_text(), path
