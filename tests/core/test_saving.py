"""Saving: a file of half the size is a plain Keras file of nearly the same network."""

from pathlib import Path

import keras
import numpy as np

from raydream.core.networks.saving import compressed_keras, rounded
from tests.conftest import outputs


def test_values_are_rounded_to_eleven_bits() -> None:
    random = np.random.default_rng(0)
    values = (random.normal(size=10_000) * 10.0 ** random.integers(-30, 30, 10_000)).astype(np.float32)
    found = rounded(values)
    assert np.max(np.abs(found / values - 1.0)) <= 1 / 2048
    assert np.mean(found / values - 1.0) < 1e-5, "not always up or down"
    assert np.array_equal(rounded(found), found)
    assert len(np.unique(found.view(np.uint32) & 0x1FFF)) == 1
    exact = np.array([0.0, -0.0, 1.0, -2.5, np.inf], np.float32)
    assert np.array_equal(rounded(exact), exact)


def test_the_file_is_half_as_large_and_keras_reads_it(tmp_path: Path) -> None:
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, keras.layers.Conv2D(256, 8, name="wide")(keras.layers.Conv2D(32, 1)(image)))
    data = compressed_keras(model)
    model.save(tmp_path / "plain.keras")
    assert len(data) < 0.6 * (tmp_path / "plain.keras").stat().st_size
    (tmp_path / "small.keras").write_bytes(data)
    loaded = keras.saving.load_model(tmp_path / "small.keras", safe_mode=True)
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(outputs(loaded, images), outputs(model, images), atol=3e-3)
    assert not np.array_equal(outputs(loaded, images), outputs(model, images))
