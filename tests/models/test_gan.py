"""The networks of GANs: their shapes, what of them learns, and that their files need nothing but Keras."""

import ast
import inspect
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from raydream.models import gan

SHAPES = ((7, 7, 6), (3, 3, 8))


def noise(model: Any, count: int = 2, seed: int = 0) -> list[Any]:
    random = np.random.default_rng(seed)
    return [random.standard_normal((count, *part.shape[1:])).astype(np.float32) for part in model.inputs]


def outputs(model: Any, *inputs: Any) -> Any:
    return np.asarray(model(list(inputs)))


@pytest.mark.parametrize("size", gan.SIZES)
def test_fastgan_makes_images_of_each_size(size: int) -> None:
    model = gan.fastgan(size)
    assert [part.shape for part in model.inputs] == [(None, 128), (None, size, size, 1)]
    assert model.output_shape == (None, size, size, 3)
    assert model.count_params() < 1_800_000
    assert not [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2DTranspose)]


def test_latents_and_noise_both_change_the_image() -> None:
    model = gan.fastgan(32)
    strengths = [layer for layer in model.layers if layer.name.endswith("_noise")]
    assert len(strengths) == 4, "two convolutions at 8, one at 16 and at 32 pixels"
    latents, noise_map = noise(model)
    images = outputs(model, latents, noise_map)
    assert np.array_equal(images, outputs(model, latents, -noise_map)), "at first, noise has no strength"
    for layer in strengths:
        layer.set_weights([np.ones_like(layer.get_weights()[0])])
    assert np.abs(outputs(model, latents, noise_map) - outputs(model, latents, -noise_map)).max() > 1e-3
    assert np.abs(images[0] - images[1]).max() > 1e-3
    assert np.abs(images).max() <= 1.0


def test_the_dcgan_is_the_seed_projects() -> None:
    """3.70 million parameters, of which 57 % are in the dense layer; the critic has 0.41 million."""
    generator, critic = gan.dcgan(256), gan.dcgan_critic(256)
    assert (generator.count_params(), critic.count_params()) == (3_704_632, 408_993)
    dense = generator.get_layer("start")
    assert dense.count_params() / generator.count_params() == pytest.approx(0.57, abs=0.005)
    channels = [layer.filters for layer in generator.layers if isinstance(layer, keras.layers.Conv2DTranspose)]
    assert channels == [256, 128, 64, 32, 16, 8, 3]
    assert np.std(dense.get_weights()[0]) == pytest.approx(0.2, rel=0.01)
    assert gan.dcgan(64).output_shape == (None, 64, 64, 3)
    assert gan.dcgan_critic(64).output_shape == (None, 1)


def test_a_generators_file_needs_only_keras(tmp_path: Path) -> None:
    for model in (gan.fastgan(32), gan.dcgan(32)):
        model.save(tmp_path / "generator.keras")
        loaded = keras.saving.load_model(tmp_path / "generator.keras", safe_mode=True)
        assert {type(part).__module__.split(".")[0] for part in loaded.operations} == {"keras"}
        np.testing.assert_array_equal(outputs(loaded, *noise(model)), outputs(model, *noise(model)))


def test_the_networks_use_keras_alone() -> None:
    tree = ast.parse(inspect.getsource(gan))
    names = [
        getattr(node, "module", None) or node.names[0].name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert {name.split(".")[0] for name in names} == {
        "__future__",
        "keras",
        "math",
        "zlib",
        "collections",
        "typing",
        "raydream",
    }


def test_the_projected_critic_has_a_map_of_logits_for_each_layer_and_learns_in_its_heads_only() -> None:
    critic = gan.projected_critic(SHAPES, width=8, seed=1)
    assert [part.shape[1:] for part in critic.outputs] == [(7, 7, 1), (3, 3, 1)]
    assert {weight.path.split("_")[0] for weight in critic.trainable_variables} == {"head"}
    fixed = {
        layer.name: layer.get_weights()[0] for layer in critic.layers if layer.name.startswith(("mixed", "joined"))
    }
    assert set(fixed) == {"mixed_0", "mixed_1", "joined_0"}
    same, other = (gan.projected_critic(SHAPES, width=8, seed=seed) for seed in (1, 2))
    assert np.array_equal(same.get_layer("mixed_0").get_weights()[0], fixed["mixed_0"])
    assert not np.array_equal(other.get_layer("mixed_0").get_weights()[0], fixed["mixed_0"])


def test_deep_maps_reach_the_logits_of_larger_ones_but_not_the_other_way() -> None:
    critic = gan.projected_critic(SHAPES, width=8)
    large, small = noise(critic)
    before = [np.asarray(part) for part in critic([large, small])]
    other_small = [np.asarray(part) for part in critic([large, -small])]
    other_large = [np.asarray(part) for part in critic([-large, small])]
    assert np.abs(before[0] - other_small[0]).max() > 1e-4
    assert np.array_equal(before[1], other_large[1])
    assert np.abs(before[0] - other_large[0]).max() > 1e-4


def test_the_heads_are_spectrally_normalised_and_large_maps_are_halved() -> None:
    critic = gan.projected_critic([(30, 30, 4)], width=8)
    assert critic.outputs[0].shape[1:] == (8, 8, 1)
    inputs = noise(critic)
    for _ in range(20):  # of the power iteration
        critic(inputs, training=True)
    kernel = critic.get_layer("head_0_last").get_weights()
    matrix = max(kernel, key=np.size)
    singular = np.linalg.svd(matrix.reshape(-1, matrix.shape[-1]), compute_uv=False)
    assert singular.max() == pytest.approx(1.0, abs=0.1)
