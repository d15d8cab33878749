"""backbones: whatever weights there are load or say in one line why not."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from raydream.core.networks import backbones, loading
from raydream.core.networks.backbones import describe, layer_names, load_backbone, with_vgg_range
from raydream.errors import UsageError
from raydream.recipe import Recipe
from tests.conftest import TINY_LAYERS, random_images, tiny_network


def refusal(call):
    """The one line with which a call is refused."""
    with pytest.raises(UsageError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


def save(model, path):
    model.save(path)
    return str(path)


def functional(build, shape=(None, None, 3)):
    image = keras.Input(shape)
    return keras.Model(image, build(image))


def activations(backbone, images):
    return [plane.numpy() for plane in backbone.activations(images)]


# ---------------------------------------------------------------- weights files


@pytest.fixture(scope="module")
def vgg():
    """VGG16 with weights of its own and not Keras' zeros for a bias."""
    model = loading.load("vgg16", None).model
    random = np.random.default_rng(0)
    for layer in model.layers:
        if layer.weights:
            layer.bias.assign(random.normal(0, 1, layer.bias.shape))
    return model


@pytest.fixture(scope="module")
def vgg_files(vgg, tmp_path_factory):
    """Weights files of VGG16 that end at a block."""
    folder = tmp_path_factory.mktemp("vgg")
    files = {}
    for block in ("block1_pool", "block2_pool", "block3_pool"):
        files[block] = str(folder / f"{block}.weights.h5")
        keras.Model(vgg.inputs, vgg.get_layer(block).output).save_weights(files[block])
    return files


@pytest.mark.parametrize("block", ["block1_pool", "block2_pool", "block3_pool"])
def test_a_weights_file_may_end_at_any_block(vgg, vgg_files, block):
    backbone = load_backbone("vgg16", [block], weights=vgg_files[block])
    images = random_images(33, 40)
    expected = keras.Model(vgg.inputs, vgg.get_layer(block).output)(
        [keras.applications.vgg16.preprocess_input((images + 1) * 127.5)]
    )
    np.testing.assert_allclose(activations(backbone, images)[0], expected, rtol=1e-4, atol=1e-3)


def test_a_vgg_network_for_images_in_the_common_range_computes_the_same(vgg, tmp_path):
    first = keras.Model(vgg.inputs, vgg.get_layer("block2_pool").output)
    path = tmp_path / "vgg.keras"
    with_vgg_range(first).save(path)
    images = random_images(33, 40)
    expected = first([keras.applications.vgg16.preprocess_input((images + 1) * 127.5)])
    for layer in ("block1_pool", "block2_pool"):
        backbone = load_backbone(str(path), [layer])
        assert not backbone.vgg
    np.testing.assert_allclose(activations(backbone, images)[0], expected, rtol=1e-4, atol=1e-3)


def test_layers_above_the_end_of_the_file_are_not_there(vgg_files):
    message = refusal(lambda: load_backbone("vgg16", ["block3_conv1"], weights=vgg_files["block2_pool"]))
    assert "no layer 'block3_conv1'" in message
    assert "did you mean 'block2_conv1'?" in message
    assert "block2_pool" in message.split("valid:")[1]


def test_inception_weights_may_end_at_any_block(tmp_path):
    whole = loading.load("inception_v3", None).model
    for variable in whole.variables:
        if variable.name == "moving_variance":
            variable.assign(np.random.default_rng(0).uniform(0.5, 2.0, variable.shape))
    part = keras.Model(whole.inputs, whole.get_layer("mixed1").output)
    file = str(tmp_path / "part.weights.h5")
    part.save_weights(file)
    backbone = load_backbone("inception_v3", ["mixed0", "mixed1"], weights=file)
    images = random_images(96, 83)
    found = activations(backbone, images)
    np.testing.assert_allclose(found[1], part([images]), rtol=1e-3, atol=1e-5)
    assert [plane.shape[-1] for plane in found] == [backbone.channels("mixed0"), backbone.channels("mixed1")]


def test_weights_of_the_older_hdf5_format_load(vgg, tmp_path):
    """As the seed project's retrained networks are kept."""
    import h5py
    from keras.src.legacy.saving import legacy_h5_format

    path = str(tmp_path / "retrained.hdf5")
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, vgg)
    backbone = load_backbone("vgg16", ["block1_conv1"], weights=path)
    np.testing.assert_array_equal(backbone.values[1], vgg.get_layer("block1_conv1").bias)


def test_a_file_of_another_network_is_refused(vgg_files):
    message = refusal(lambda: load_backbone("vgg19", ["block1_pool"], weights=vgg_files["block3_pool"]))
    assert "does not fit vgg19" in message
    assert vgg_files["block3_pool"] in message


def test_a_missing_file_is_named(tmp_path):
    path = str(tmp_path / "gone.weights.h5")
    assert refusal(lambda: load_backbone("vgg16", ["block1_pool"], weights=path)) == (
        f"weights file {path} does not exist"
    )


@pytest.mark.parametrize("part", [0, 100, 5000])
def test_what_is_not_all_of_an_hdf5_file_is_refused(vgg_files, tmp_path, part):
    path = tmp_path / "half.weights.h5"
    path.write_bytes(Path(vgg_files["block1_pool"]).read_bytes()[:part])
    assert refusal(lambda: load_backbone("vgg16", ["block1_pool"], weights=str(path))) == (
        f"weights file {path} is not an HDF5 file, or is incomplete"
    )


@pytest.mark.parametrize("name", ["measurements", "layers"])
def test_hdf5_of_something_else_is_refused(tmp_path, name):
    import h5py

    path = str(tmp_path / "other.weights.h5")
    with h5py.File(path, "w") as file:
        file[name] = np.zeros(3)
    assert "does not fit vgg16" in refusal(lambda: load_backbone("vgg16", ["block1_pool"], weights=path))


def test_the_environment_is_not_looked_at(monkeypatch, tmp_path):
    """It is the driver's to resolve; a worker has the environment of its node."""
    monkeypatch.setenv("RAYDREAM_WEIGHTS", str(tmp_path / "mine.weights.h5"))
    monkeypatch.setattr(loading, "_downloaded", lambda name: str(tmp_path / "keras.h5"))
    message = refusal(lambda: load_backbone("inception_v3", ["mixed0"], weights="imagenet"))
    assert message == f"weights file {tmp_path / 'keras.h5'} does not exist"


def test_a_download_that_fails_says_what_to_do(monkeypatch):
    import keras

    def get_file(*_, **__):
        raise Exception("URL fetch failure on https://example.org: 404\nmore")

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    message = refusal(lambda: loading.weights_file("vgg16", "imagenet"))
    assert "URL fetch failure" in message
    assert "weights:" in message


def test_what_keras_prints_of_a_download_goes_to_stderr(monkeypatch, capsys):
    import keras

    def get_file(*_, **__):
        print("Downloading data from https://example.org")
        return "file.h5"

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    assert loading.weights_file("vgg16", "imagenet") == "file.h5"
    out, err = capsys.readouterr()
    assert out == ""
    assert "Downloading data" in err


def gradient(backbone, image):
    """Of mean(mixed3) + mean(mixed5), at an image."""
    import tensorflow as tf

    image = tf.constant(image[None])
    with tf.GradientTape() as tape:
        tape.watch(image)
        value = tf.add_n([tf.reduce_mean(plane) for plane in backbone.activations(image)])
    return np.ravel(tape.gradient(value, image))


@pytest.mark.real_weights
def test_what_comes_along_dreams_as_the_full_network(weights, inception, landscapes):
    full = load_backbone("inception_v3", ["mixed3", "mixed5"], weights=weights)
    pairs = [(gradient(full, image), gradient(inception, image)) for image in landscapes]
    cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairs]
    print(cosines)
    assert np.mean(cosines) >= 0.9


# ---------------------------------------------------------------- names


def test_unknown_layers_name_the_nearest(tiny_path):
    message = refusal(lambda: load_backbone(tiny_path, ["hihg"]))
    assert "no layer 'hihg': did you mean 'high'? valid: " in message


def test_unknown_backbones_name_the_nearest():
    message = refusal(lambda: load_backbone("inceptionv3", ["mixed3"]))
    assert message == (
        "unknown backbone 'inceptionv3': did you mean 'inception_v3'? "
        "valid: inception_v3, vgg16, vgg19, or a .keras or .npz file"
    )


def test_layers_that_can_be_dreamed_of(tiny_path):
    names = layer_names(loading.load(tiny_path, None).model)
    assert set(TINY_LAYERS) <= set(names)
    assert not [name for name in names if "input" in name]


def test_names_that_keras_makes_up_are_no_names():
    names = layer_names(loading.load("inception_v3", None).model)
    assert names == [f"mixed{i}" for i in range(9)] + ["mixed9_0", "mixed9", "mixed9_1", "mixed10"]


def test_describe_gives_channels_and_fields(tiny_path):
    rows = {name: (channels, field.stride, field.width) for name, channels, field in describe(tiny_path)}
    assert rows["low"] == (8, 2, 7)
    assert rows["mix"][:2] == (12, 4)
    assert rows["high"][:2] == (8, 8)


def test_describe_needs_no_weights():
    rows = {name: (channels, field.stride, field.width) for name, channels, field in describe("vgg16")}
    assert rows["block1_conv1"] == (64, 1, 3)
    assert rows["block5_conv3"] == (512, 16, 196)


def test_activations_come_in_the_order_asked_for(tiny_path):
    backbone = load_backbone(tiny_path, ["high", "low"])
    images = random_images(40, 51)
    assert [plane.shape[-3:] for plane in activations(backbone, images)] == [(5, 7, 8), (19, 25, 8)]
    (alone,) = activations(load_backbone(tiny_path, ["high"]), images)
    np.testing.assert_array_equal(alone, activations(backbone, images)[0])


def test_a_backbone_is_cut_at_the_deepest_layer(tiny_path):
    backbone = load_backbone(tiny_path, ["low"])
    assert not {"mix", "high", "pool"} & {layer.name for layer in backbone.model.layers}


def test_pooling_is_passed_on(tiny_path):
    images = random_images(40, 51)
    found = [activations(load_backbone(tiny_path, ["high"], pooling=p), images)[0] for p in ("max", "average")]
    assert np.abs(found[0] - found[1]).max() > 1e-3


# ---------------------------------------------------------------- .keras files


def test_a_missing_keras_file_is_named(tmp_path):
    path = str(tmp_path / "gone.keras")
    assert refusal(lambda: load_backbone(path, ["a"])) == f"backbone file {path} does not exist"


@pytest.mark.parametrize("part", [0, 20, 2000])
def test_a_keras_file_that_is_none_or_half_of_one_is_refused(tiny_path, tmp_path, part):
    path = tmp_path / "half.keras"
    path.write_bytes(Path(tiny_path).read_bytes()[:part])
    assert "is not a .keras file, or is incomplete" in refusal(lambda: load_backbone(str(path), ["high"]))


def test_a_zip_of_something_else_is_refused(tmp_path):
    import zipfile

    path = str(tmp_path / "other.keras")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("holiday.txt", "sunny")
    assert "cannot be loaded" in refusal(lambda: load_backbone(path, ["high"]))


def test_code_in_a_keras_file_is_not_run(tmp_path):
    ran = tmp_path / "ran"
    code = f"lambda t: (t, __import__('pathlib').Path({str(ran)!r}).touch())[0]"
    model = functional(lambda x: layers.Conv2D(2, 3, name="a")(layers.Lambda(eval(code))(x)))
    path = save(model, tmp_path / "lambda.keras")
    ran.unlink()  # building the model ran it
    message = refusal(lambda: load_backbone(path, ["a"]))
    assert "Lambda" in message
    assert not ran.exists()


ODD = {
    "a grey image": (lambda: functional(layers.Conv2D(2, 3, name="a"), (None, None, 1)), "one image of 3 channels"),
    "a model inside": (lambda: functional(keras.Sequential([layers.Conv2D(2, 3)], name="a")), "'a' (Sequential)"),
    "a bare operation": (lambda: functional(lambda x: layers.Conv2D(2, 3, name="a")(x[:, 1:])), "GetItem"),
    "two images": (lambda: _two_images(), "one image of 3 channels"),
    "a layer twice": (lambda: _twice(), "'twice' (Conv2D)"),
}


def _two_images():
    images = [keras.Input((None, None, 3)) for _ in range(2)]
    return keras.Model(images, layers.Conv2D(2, 3, name="a")(layers.Add()(images)))


def _twice():
    twice = layers.Conv2D(3, 3, name="twice")
    return functional(lambda x: layers.ReLU(name="a")(twice(twice(x))))


@pytest.mark.parametrize("what", ODD)
def test_networks_that_are_no_flat_graph_on_one_image_are_refused(tmp_path, what):
    build, reason = ODD[what]
    path = save(build(), tmp_path / "odd.keras")
    message = refusal(lambda: load_backbone(path, ["a"]))
    assert reason in message
    assert path in message


def test_sequential_files_give_all_their_layers(tmp_path):
    steps = [layers.Conv2D(4, 3, strides=2, name="a"), layers.BatchNormalization(), layers.ReLU(name="b")]
    model = keras.Sequential([keras.Input((None, None, 3)), *steps, layers.Conv2D(5, 3, name="c")])
    path = save(model, tmp_path / "steps.keras")
    assert [name for name, _, _ in describe(path)] == ["a", "b", "c"]
    images = random_images(31, 40)
    a, c = activations(load_backbone(path, ["a", "c"]), images)
    assert a.shape == (1, 15, 19, 4)
    np.testing.assert_allclose(c, model(images), rtol=1e-4, atol=1e-6)


# ---------------------------------------------------------------- precision


def test_in_bfloat16_images_and_activations_stay_float32(tiny_path, tiny_backbone):
    half = load_backbone(tiny_path, TINY_LAYERS, dtype="bfloat16")
    assert half.dtype == "float32"
    assert {str(value.dtype) for value in half.values} == {"bfloat16"}
    images = random_images(60, 51)
    for rough, plane in zip(activations(half, images), activations(tiny_backbone, images), strict=True):
        assert rough.dtype == np.float32
        assert 0 < np.linalg.norm(rough - plane) < 0.02 * np.linalg.norm(plane)


def test_dropout_changes_no_activations(tmp_path):
    model = functional(lambda x: layers.Conv2D(2, 3, name="a")(layers.Dropout(0.5)(x)))
    path = save(model, tmp_path / "dropout.keras")
    one, two = (load_backbone(path, ["a"]) for _ in range(2))
    images = random_images(20, 20)
    np.testing.assert_array_equal(activations(one, images)[0], activations(two, images)[0])


# ---------------------------------------------------------------- objectives


def test_channels_are_told_without_cutting_or_folding(tiny_path, tiny_backbone):
    channels = backbones.channels_of(tiny_path)
    assert {layer: channels[layer] for layer in TINY_LAYERS} == {"low": 8, "mix": 12, "high": 8}
    assert list(channels) == layer_names(tiny_network())


@pytest.mark.parametrize("channels", [[8], [0, 99]])
def test_channels_that_a_layer_does_not_have_are_refused(channels):
    objective = Recipe(objective={"layer": "high", "channels": channels}).objective
    message = refusal(lambda: backbones.check_objective(objective, {"high": 8}, "net"))
    assert message == f"layer 'high' has channels 0 to 7, not {tuple(channels)}"


def test_an_objective_with_a_layer_that_the_backbone_lacks_is_refused():
    objective = Recipe(objective="hihg").objective
    message = refusal(lambda: backbones.check_objective(objective, {"low": 8, "high": 8}, "net"))
    assert message == "backbone 'net' has no layer 'hihg': did you mean 'high'? valid: low, high"
    message = refusal(lambda: backbones.check_objective(objective, {"high": 8}, "net", weights="compact"))
    assert "weights: imagenet has more layers; did you mean" in message
