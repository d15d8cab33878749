"""classifier: a head whose logits are means over positions, the layers to train, the losses, and what is written."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from raydream import api
from raydream.core.networks import compression, loading
from raydream.core.networks.backbones import backbone_of
from raydream.core.networks.classes import classes_of
from raydream.data import codec
from raydream.errors import UsageError
from raydream.jobs.train import streams
from raydream.training import classifier
from tests.conftest import outputs

BATCH = {"label": np.array([0, 1, 2], np.int32)}
LOGITS = np.array([[2.0, 0.5, -1.0], [0.0, 0.0, 0.0], [-3.0, 1.0, 1.0]], np.float32)


@pytest.fixture
def base(tiny_path: str) -> Any:
    return compression.plain(loading.load_keras(tiny_path, what="backbone"), "high")


def cross_entropy(wanted: np.ndarray) -> np.ndarray:
    """By its definition."""
    logs = LOGITS - np.log(np.exp(LOGITS).sum(axis=1, keepdims=True))
    return np.asarray(-(wanted * logs).sum(axis=1))


def test_the_losses_are_those_of_the_definition() -> None:
    plain = np.eye(3)[BATCH["label"]]
    np.testing.assert_allclose(classifier.cross_entropy(BATCH, LOGITS, 0.0), cross_entropy(plain), rtol=1e-5)
    smooth = 0.7 * plain + 0.1
    np.testing.assert_allclose(classifier.cross_entropy(BATCH, LOGITS, 0.3), cross_entropy(smooth), rtol=1e-5)
    mixed = {**BATCH, "other": np.array([2, 1, 0], np.int32), "share": np.array([0.25, 0.5, 1.0], np.float32)}
    wanted = np.array([[0.25, 0, 0.75], [0, 1, 0], [0, 0, 1]])
    np.testing.assert_allclose(classifier.cross_entropy(mixed, LOGITS, 0.0), cross_entropy(wanted), rtol=1e-5)


def test_the_head_on_features_and_in_the_network_are_the_same(base: Any) -> None:
    random = np.random.default_rng(0)
    images = random.uniform(-1, 1, (2, 90, 110, 3)).astype(np.float32)
    kernel, bias = random.normal(size=(base.output.shape[-1], 4)).astype(np.float32), np.ones(4, np.float32)
    network = classifier.classifier(base, 4)
    classifier.set_head(network, kernel, bias)
    features = np.asarray(classifier.pooled(base)(images))
    np.testing.assert_allclose(network(images), features @ kernel + bias, atol=1e-4)


def test_the_layers_above_a_named_one_are_trained_and_no_others(base: Any) -> None:
    network = classifier.classifier(base, 4)
    classifier.unfreeze(network, "mix")
    trained = {variable.path.split("/")[0] for variable in network.trainable_variables}
    assert trained == {"high_conv", "class_logits"}
    classifier.unfreeze(network, "image")
    assert len(network.trainable_variables) == len(network.variables)
    with pytest.raises(UsageError, match="no layer 'mixx' to train from: did you mean 'mix'"):
        classifier.unfreeze(network, "mixx")


def tuner(base: Any, rate: float = 0.05, **dropout: Any) -> classifier.Tuner:
    network = classifier.classifier(base, 2)
    classifier.unfreeze(network, "mix")
    mask = classifier.Dropout(**{"share": 0.2, "seed": 3, **dropout})
    options = {"batch_size": 8, "smoothing": 0.0, "validation": lambda: [batch()]}
    return classifier.Tuner(network, keras.optimizers.SGD(rate), ("dark", "light"), mask, lambda network: [], **options)


def batch() -> dict[str, np.ndarray]:
    label = np.arange(8, dtype=np.int32) % 2
    noise = np.random.default_rng(0).integers(0, 100, (8, 76, 76, 3))
    return {"image": (noise + 150 * label[:, None, None, None]).astype(np.uint8), "label": label}


def test_a_step_lowers_the_loss_and_fixed_layers_stay(base: Any) -> None:
    learner = tuner(base)
    low = base.get_layer("stem_conv").get_weights()[0].copy()
    before = learner.evaluate()
    for _ in range(10):
        sums = learner.step({name: tf.constant(value) for name, value in batch().items()})
    after = learner.evaluate()
    assert before["examples"] == after["examples"] == 8
    assert float(sums["examples"]) == 8
    assert after["loss"] < before["loss"]
    assert after["correct"] == 8
    np.testing.assert_array_equal(base.get_layer("stem_conv").get_weights()[0], low)
    names = learner.variables()
    assert not any("stem_conv" in name for name in names)
    assert any("class_logits" in name for name in names)


def test_training_and_dreaming_prepare_pixels_alike(base: Any, tmp_path: Path) -> None:
    """From the same file, the network gets the same numbers: red, green and blue in [-1, 1]."""
    seen = []
    ramp = np.linspace(-1, 1, 80, dtype=np.float32)
    colours = np.stack([np.broadcast_to(ramp, (80, 80)), np.broadcast_to(-ramp[:, None], (80, 80)), -np.ones((80, 80))])
    (tmp_path / "x.png").write_bytes(codec.encode(np.ascontiguousarray(colours.transpose(1, 2, 0), np.float32)))
    trained = streams.picture(str(tmp_path), "x.png", 80)
    dreamed = api.photograph(str(tmp_path / "x.png")).image
    learner = tuner(base)
    network = learner._base
    learner._base = lambda images, training: seen.append(images) or network(images, training=training)
    logits = learner.logits({"image": trained[None]}, training=False)
    np.testing.assert_allclose(seen[0], dreamed[None], atol=1e-6)
    assert (dreamed.min(), dreamed.max()) == (-1, 1)
    backbone = backbone_of(learner.network, ["class_logits"], "classifier")
    (plane,) = backbone.activations(dreamed[None])
    np.testing.assert_allclose(np.mean(plane, axis=(1, 2)), logits, rtol=1e-4, atol=1e-5)


def test_parts_of_a_batch_are_dropped_as_the_whole_batch(base: Any) -> None:
    """So that the gradients of two workers add up to those of one."""
    images = {name: tf.constant(value) for name, value in batch().items()}
    head = [np.ones((base.output.shape[-1], 2), np.float32), np.zeros(2, np.float32)]

    def logits(rank: int, workers: int) -> Any:
        learner = tuner(base, share=0.5, rank=rank, workers=workers)
        classifier.set_head(learner.network, *head)
        part = {name: value[rank::workers] for name, value in images.items()}
        return np.asarray(learner.logits(part, training=True))

    whole = logits(0, 1)
    np.testing.assert_allclose(logits(0, 2), whole[0::2], rtol=1e-4)
    np.testing.assert_allclose(logits(1, 2), whole[1::2], rtol=1e-4)
    plain = tuner(base)
    classifier.set_head(plain.network, *head)
    assert np.abs(np.asarray(plain.logits(images, training=False)) - whole).max() > 1e-3


def test_the_files_hold_the_networks_and_the_names(base: Any, tmp_path: Path) -> None:
    learner = tuner(base)
    learner.export(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base.keras", "classifier.keras"]
    assert classes_of(str(tmp_path / "classifier.keras")) == ("dark", "light")
    whole = loading.load_keras(str(tmp_path / "classifier.keras"), what="classifier")
    images = tf.cast(batch()["image"], tf.float32) / 127.5 - 1.0
    wanted = np.asarray(tf.nn.softmax(learner.network(images)))
    np.testing.assert_allclose(outputs(whole, images), wanted, atol=1e-5)
    alone = loading.load_keras(str(tmp_path / "base.keras"), what="backbone")
    np.testing.assert_allclose(outputs(alone, images), outputs(base, images), atol=1e-5)
