"""compact: a network in one small file, and the one that ships."""

import hashlib
from importlib import resources
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from raydream.core.networks import compact, compression, loading
from raydream.core.networks.backbones import describe, load_backbone
from raydream.core.networks.quantization import nearest
from raydream.errors import UsageError
from tests.conftest import outputs, random_images, tiny_network


def rounded(network, bits=8):
    return compression.quantized(network, dict.fromkeys(layer.name for layer in network.layers), bits, nearest)


def write(model, path, backbone, through):
    network = compression.plain(model, through)
    path.write_bytes(compact.dump(network, rounded(network), backbone, {"through": through, "bits": 8}))
    return str(path)


def refusal(call):
    with pytest.raises(UsageError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_network_comes_back(tmp_path):
    network = compression.plain(tiny_network(), "high")
    parts = rounded(network)
    data = compact.dump(network, parts, "tiny", {"through": "high", "bits": 8})
    assert data == compact.dump(network, parts, "tiny", {"through": "high", "bits": 8})
    (tmp_path / "tiny.npz").write_bytes(data)
    found = compact.load(str(tmp_path / "tiny.npz"))
    assert (found.backbone, found.about) == ("tiny", {"through": "high", "bits": 8})
    assert [layer.name for layer in found.model.layers] == [layer.name for layer in network.layers]
    images = random_images(60, 51)
    np.testing.assert_array_equal(outputs(found.model, images), outputs(compression.restored(network, parts), images))
    np.testing.assert_allclose(outputs(found.model, images), outputs(tiny_network(), images), atol=0.1)


def test_layers_that_are_not_quantized_keep_their_weights(tmp_path):
    image = keras.Input((None, None, 3))
    x = layers.DepthwiseConv2D(3, name="depthwise")(layers.BatchNormalization(name="norm")(image))
    model = keras.Model(image, layers.Conv2D(4, 1, name="last", use_bias=False)(x))
    found = compact.load(write(model, tmp_path / "odd.npz", "odd", "last")).model
    for name in ("norm", "depthwise"):
        for one, other in zip(found.get_layer(name).get_weights(), model.get_layer(name).get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)


def test_it_is_a_backbone(tmp_path, tiny_backbone):
    path = write(tiny_network(), tmp_path / "tiny.npz", "tiny", "mix")
    backbone = load_backbone(path, ["low", "mix"])
    images = random_images(60, 51)
    expected = tiny_backbone.activations(images)
    for one, other in zip(backbone.activations(images), expected, strict=False):
        np.testing.assert_allclose(one, other, atol=0.1)
    assert [name for name, *_ in describe(path)][-1] == "mix"
    assert "no layer 'high'" in refusal(lambda: load_backbone(path, ["high"]))


def test_one_made_from_vgg_is_given_images_as_vgg_is(tmp_path):
    model = loading.load("vgg16", None).model
    path = write(model, tmp_path / "mine.npz", "vgg16", "block1_pool")
    assert load_backbone(path, ["block1_pool"]).vgg
    named = load_backbone("vgg16", ["block1_pool"], weights=path)
    images = random_images(40, 40)
    cut = keras.Model(model.inputs, model.get_layer("block1_pool").output)
    expected = outputs(cut, keras.applications.vgg16.preprocess_input((images + 1) * 127.5))
    np.testing.assert_allclose(named.activations(images)[0], expected, rtol=0.1, atol=1.0)


@pytest.mark.parametrize("part", [0, 100, 3000])
def test_half_a_file_is_refused(tmp_path, part):
    path = write(tiny_network(), tmp_path / "tiny.npz", "tiny", "high")
    (tmp_path / "half.npz").write_bytes(Path(path).read_bytes()[:part])
    assert "is not a compact network, or is incomplete" in refusal(lambda: compact.load(str(tmp_path / "half.npz")))


def test_other_files_are_refused(tmp_path):
    assert refusal(lambda: load_backbone("gone.npz", ["a"])) == "backbone file gone.npz does not exist"
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    np.savez(tmp_path / "pickle.npz", about=np.array([{"format": 1}], object))
    for name in ("other", "pickle"):
        assert "is not a compact network" in refusal(lambda name=name: compact.load(str(tmp_path / f"{name}.npz")))
    path = write(tiny_network(), tmp_path / "tiny.npz", "tiny", "high")
    message = refusal(lambda: load_backbone("inception_v3", ["mixed3"], weights=path))
    assert message == f"weights file {path} is for tiny, not for inception_v3"
    assert "no compact weights for vgg16" in refusal(lambda: load_backbone("vgg16", ["block1_pool"], weights="compact"))


@pytest.mark.parametrize(
    "about",
    [
        "5",
        '{"format": 1, "network": {"class_name": "ReLU", "module": "keras.layers", "config": {}}, "backbone": "a"}',
        '{"format": 1, "network": "abc", "backbone": "a"}',
        "[" * 100_000,
    ],
)
def test_a_damaged_description_is_refused(tmp_path, about):
    np.savez(tmp_path / "odd.npz", about=np.frombuffer(about.encode(), np.uint8))
    assert "is not a compact network" in refusal(lambda: compact.load(str(tmp_path / "odd.npz")))


@pytest.mark.parametrize("scales", [np.ones(1, np.float16), np.full(8, np.nan, np.float16)])
def test_damaged_scales_are_refused(tmp_path, scales):
    path = write(tiny_network(), tmp_path / "tiny.npz", "tiny", "high")
    with np.load(path) as file:
        arrays = {name: file[name] for name in file}
    arrays["high_conv/scales"] = scales
    np.savez(path, **arrays)
    assert "is not a compact network" in refusal(lambda: compact.load(path))


def test_code_in_a_file_is_not_run(tmp_path):
    ran = tmp_path / "ran"
    code = f"lambda t: (t, __import__('pathlib').Path({str(ran)!r}).touch())[0]"
    image = keras.Input((None, None, 3))
    model = keras.Model(image, layers.Conv2D(2, 3, name="a")(layers.Lambda(eval(code))(image)))
    (tmp_path / "lambda.npz").write_bytes(compact.dump(model, {}, "tiny", {}))
    ran.unlink()  # building the model ran it
    assert "is not a compact network" in refusal(lambda: compact.load(str(tmp_path / "lambda.npz")))
    assert not ran.exists()


def test_what_ships_is_small_and_has_a_card():
    folder = resources.files("raydream") / "weights"
    data = (folder / "inception_v3.npz").read_bytes()
    assert len(data) < 8_000_000
    digest = hashlib.sha256(data).hexdigest()
    assert digest.startswith("b9b5d39735a30a11"), "another file: say so on its card and in the changelog"
    assert "python -m raydream.jobs.compress_backbone" in (folder / "inception_v3.md").read_text()
    assert [name for name, *_ in describe("inception_v3")] == [f"mixed{n}" for n in range(9)]
    assert "weights: imagenet has more" in refusal(lambda: load_backbone("inception_v3", ["mixed9"]))
