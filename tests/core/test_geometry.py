"""geometry: counted cells and fields of view against what the networks really do."""

import numpy as np
import pytest

from raydream.core.networks import loading
from raydream.core.networks.folding import folded
from raydream.core.networks.geometry import Axis, Field
from raydream.errors import UsageError
from tests.conftest import TINY_LAYERS, random_images, tiny_network


def shapes(network, height, width):
    """(rows, columns) of each output of a Keras model, by running it."""
    return [tuple(out.shape[1:3]) for out in network([np.zeros((1, height, width, 3), np.float32)])]


def counted(network, height, width):
    return list(zip(Axis(network, 0).cells(height), Axis(network, 1).cells(width), strict=True))


def cut(model, layers):
    import keras

    return keras.Model(model.inputs, [model.get_layer(layer).output for layer in layers])


def positive(model):
    """All weights above zero (and no variance below), so that no path through the network cancels out."""
    for variable in model.variables:
        sign = -1.0 if variable.name == "moving_mean" else 1.0
        variable.assign(sign * (np.abs(variable.numpy()) + 0.01))
    return model


# ---------------------------------------------------------------- cells


def test_cells_of_the_tiny_network_for_every_small_size(tiny_backbone):
    rows, columns = tiny_backbone.axes
    for height in range(3, 60):
        width = 3 + (height * 7) % 57
        expected = shapes(tiny_backbone.model, height, width)
        assert list(zip(rows.cells(height), columns.cells(width), strict=True)) == expected


def test_no_cells_below_the_smallest_kernel(tiny_backbone):
    assert tiny_backbone.axes[0].cells(2) == (0, 0, 0)
    assert tiny_backbone.axes[0].cells(3) == (1, 1, 1)


@pytest.fixture(scope="module")
def inception_untrained():
    return cut(loading.load("inception_v3", None).model, [f"mixed{i}" for i in range(11)])


@pytest.mark.parametrize(("height", "width"), [(75, 96), (139, 107), (171, 299)])
def test_cells_of_inception(inception_untrained, height, width):
    assert counted(inception_untrained, height, width) == shapes(inception_untrained, height, width)


@pytest.mark.parametrize(("height", "width"), [(32, 47), (100, 77)])
def test_cells_of_vgg(height, width):
    names = ["block1_conv2", "block1_pool", "block3_conv3", "block4_pool", "block5_conv3", "block5_pool"]
    network = cut(loading.load("vgg16", None).model, names)
    assert counted(network, height, width) == shapes(network, height, width)


def test_zero_padding_and_dilation_are_counted():
    import keras
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


def seen(network, size, plane, cell):
    """(first, last) pixel along rows and along columns that moves a cell of an output, by its gradient."""
    import tensorflow as tf

    image = tf.constant(random_images(size, size).astype(np.float64))
    with tf.GradientTape() as tape:
        tape.watch(image)
        outputs = network([image])
        value = tf.reduce_sum(outputs[plane][:, cell, cell])
    moved = np.abs(tape.gradient(value, image).numpy()[0]).sum(axis=-1) > 0
    return [(int(lines[0]), int(lines[-1])) for lines in (np.flatnonzero(moved.any(axis=a)) for a in (1, 0))]


def expected(axis, plane, cell):
    field = axis.fields()[plane]
    return cell * field.stride + field.first, cell * field.stride + field.last


def test_the_tiny_network_sees_no_pixel_outside_its_fields(tiny64):
    for plane, cell in ((0, 16), (1, 8), (2, 4)):
        for size in (70, 71, 73):
            for axis, (first, last) in zip(tiny64.axes, seen(tiny64.model, size, plane, cell), strict=True):
                low, high = expected(axis, plane, cell)
                assert low <= first <= last <= high


def test_fields_are_not_wider_than_they_must_be():
    """With positive weights and no max pooling every pixel of the field counts; "same" layers shift with the size."""
    network = folded(cut(tiny_network(positive=True), TINY_LAYERS), "average", "float64")
    axes = Axis(network, 0), Axis(network, 1)
    for plane, cell in ((0, 16), (1, 8), (2, 4)):
        found = [seen(network, size, plane, cell) for size in range(72, 80)]
        for axis, lines in zip(axes, zip(*found, strict=True), strict=True):
            assert (min(a for a, _ in lines), max(b for _, b in lines)) == expected(axis, plane, cell)


def test_rows_and_columns_have_their_own_fields(tiny_backbone):
    rows, columns = (axis.fields()[1] for axis in tiny_backbone.axes)
    assert (rows.stride, columns.stride) == (4, 4)
    assert columns.width == rows.width + 2 * 4  # the 3 x 5 kernel over cells of 4 pixels


def test_fields_of_inception_are_exact():
    network = folded(
        cut(positive(loading.load("inception_v3", None).model), ["mixed0", "mixed3"]), "average", "float64"
    )
    for plane, cell in ((0, 9), (1, 5)):
        rows, columns = seen(network, 203, plane, cell)
        assert rows == columns == expected(Axis(network, 0), plane, cell)
    assert [field.width for field in Axis(network, 0).fields()] == [63, 159]


# ---------------------------------------------------------------- what has no place on the image


def unplaced(name):
    from keras import layers

    return {
        "Conv2DTranspose": layers.Conv2DTranspose(4, 3, strides=2, name="odd"),
        "UpSampling2D": layers.UpSampling2D(name="odd"),
        "GlobalAveragePooling2D": layers.GlobalAveragePooling2D(keepdims=True, name="odd"),
        "Cropping2D": layers.Cropping2D(1, name="odd"),
        "GroupNormalization": layers.GroupNormalization(2, name="odd"),
        "Permute": layers.Permute((2, 1, 3), name="odd"),
        "Resizing": layers.Resizing(8, 8, name="odd"),
    }[name]


@pytest.mark.parametrize(
    "kind",
    ["Conv2DTranspose", "UpSampling2D", "GlobalAveragePooling2D", "Cropping2D", "GroupNormalization", "Permute",
     "Resizing"],
)  # fmt: skip
def test_layers_that_do_not_keep_cells_in_place_are_refused(kind):
    import keras
    from keras import layers

    image = keras.Input((None, None, 3))
    x = unplaced(kind)(layers.Conv2D(4, 3, name="plain")(image))
    model = keras.Model(image, layers.Conv2D(4, 1, name="after")(x))
    with pytest.raises(UsageError, match=f"'odd' \\({kind}\\)") as caught:
        Axis(model, 0)
    assert "\n" not in str(caught.value)
    assert Axis(cut(model, ["plain"]), 0).cells(10) == (8,)
