"""What the tests share: a small network that has every kind of layer that matters, and the real weights if at hand."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import raydream  # sets TensorFlow's environment, so it comes before any import of TensorFlow
from raydream.core.networks.backbones import Backbone, load_backbone
from raydream.core.networks.classes import with_classes
from raydream.data import scenery
from raydream.recipe import Recipe

SHARED = Path(__file__).resolve().parents[2] / "shared"
TINY_LAYERS = ("low", "mix", "high")
TINY_CLASSES = ("banjo", "fig", "夢 </i>", "7")

assert raydream.__version__


def pytest_configure(config: pytest.Config) -> None:
    """Ctrl-C as on a terminal; and Keras' own way of saving weights, which NumPy 2 will not take for ever."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in a shell's background: what we start would too
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("filterwarnings", "ignore:__array__ implementation:DeprecationWarning:keras")


def tiny_network(positive: bool = False) -> Any:
    """A Keras model with layers `low` (stride 2), `mix` (4, an Inception-like block) and `high` (8).

    Its weights are always the same; `positive` makes every one of them more than zero, so that nothing cancels out
    and no ReLU is ever shut.
    """
    import keras
    from keras import layers

    def block(x: Any, filters: int, size: int, name: str, **options: Any) -> Any:
        x = layers.Conv2D(filters, size, use_bias=False, name=f"{name}_conv", **options)(x)
        x = layers.BatchNormalization(name=f"{name}_norm", scale=name != "wide")(x)
        return layers.ReLU(name=name)(x)

    image = keras.Input((None, None, 3))
    x = block(image, 6, 3, "stem", strides=2)
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="low")(x)
    x = layers.MaxPooling2D(3, strides=2, padding="same", name="pool")(x)
    narrow = block(x, 4, 1, "narrow")
    wide = block(x, 4, (3, 5), "wide", padding="same")
    pooled = layers.AveragePooling2D(3, strides=1, padding="same", name="blurred")(x)
    pooled = layers.Conv2D(4, 1, name="pooled")(pooled)
    x = layers.Concatenate(name="mix")([narrow, wide, pooled])
    x = block(x, 8, 3, "high", strides=2, padding="same")
    model = keras.Model(image, x)
    random = np.random.default_rng(0)
    for variable in model.variables:
        variable.assign(_weight(variable.name, variable.shape, random, positive))
    return model


def _weight(name: str, shape: tuple[int, ...], random: np.random.Generator, positive: bool) -> Any:
    if name in ("gamma", "moving_variance"):
        return random.uniform(0.5, 2.0, shape)
    if positive:
        return random.uniform(0.1, 1.0, shape) * (-1 if name == "moving_mean" else 1)
    if name == "kernel":
        return random.normal(0.0, 1.5 / np.sqrt(np.prod(shape[:-1])), shape)
    return random.normal(0.0, 0.3, shape)


def tiny_classifier() -> Any:
    """The tiny network with a head for `TINY_CLASSES`, as `raydream retrain` makes it."""
    import keras
    from keras import layers

    base = tiny_network()
    x = layers.Dropout(0.2)(base.output)
    x = layers.Conv2D(len(TINY_CLASSES), 1, name="class_logits")(x)
    x = layers.GlobalAveragePooling2D(name="logits")(x)
    model = keras.Model(base.input, layers.Softmax(name="probabilities")(x))
    kernel, bias = model.get_layer("class_logits").weights
    kernel.assign(np.random.default_rng(5).normal(0, 1, kernel.shape))
    bias.assign([0.5, -0.5, 1, -1])
    return model


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tiny classifier as a `.keras` file with the names of its classes."""
    path = tmp_path_factory.mktemp("classifier") / "classifier.keras"
    tiny_classifier().save(path)
    path.write_bytes(with_classes(path.read_bytes(), TINY_CLASSES))
    return str(path)


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tiny network as a `.keras` file, for `backbone:`."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.keras"
    tiny_network().save(path)
    return str(path)


@pytest.fixture(scope="session")
def tiny_backbone(tiny_path: str) -> Backbone:
    """The tiny network ready to dream with, cut at `low`, `mix` and `high`."""
    return load_backbone(tiny_path, TINY_LAYERS)


@pytest.fixture(scope="session")
def tiny64(tiny_path: str) -> Backbone:
    """`tiny_backbone` in float64, for what must agree to the last digits."""
    return load_backbone(tiny_path, TINY_LAYERS, dtype="float64")


@pytest.fixture(scope="session")
def tiny_recipe(tiny_path: str) -> Recipe:
    """A short recipe on the tiny network: two octaves of two steps."""
    return Recipe(backbone=tiny_path, objective=["low", "high"], octaves=2, steps=2, tile=96)


@pytest.fixture(scope="session")
def weights() -> str:
    """The full weights of InceptionV3 up to `mixed8`, from beside the project."""
    path = SHARED / "weights" / "inception_v3_imagenet_mixed8.weights.h5"
    if not path.is_file():
        pytest.skip(f"no InceptionV3 weights at {path}")
    return str(path)


@pytest.fixture(scope="session")
def landscapes() -> list[np.ndarray]:
    """Four painted landscapes of 299x299 pixels: (299, 299, 3) in [-1, 1]."""
    return [image for _, image in scenery.collection(4, 0, 299, 299)]


@pytest.fixture(scope="session")
def inception() -> Backbone:
    """The InceptionV3 that ships with the package, cut at `mixed3` and `mixed5`."""
    return load_backbone("inception_v3", ["mixed3", "mixed5"])


@pytest.fixture(scope="module")
def ray_folder() -> Iterator[str]:
    """A folder of our own for Ray: short, because sockets' paths are limited to 107 characters."""
    folder = tempfile.mkdtemp(prefix="rd-", dir="/tmp")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def cluster(ray_folder: str, request: pytest.FixtureRequest) -> Iterator[None]:
    """One local cluster of two cores for the module."""
    import ray

    from raydream.jobs import connection

    connection.start_local(num_cpus=2, _temp_dir=ray_folder)
    # What is in the test's file travels by value: the workers do not know the tests.
    ray.cloudpickle.register_pickle_by_value(request.module)
    yield
    ray.shutdown()


@pytest.fixture
def environment(ray_folder: str) -> dict[str, str]:
    """The environment of a command that starts a local cluster of its own."""
    others = {key: value for key, value in os.environ.items() if key != "RAY_AUTH_TOKEN"}  # of the tests' own cluster
    return {**others, "RAY_TMPDIR": tempfile.mkdtemp(dir=ray_folder)}


def outputs(model: Any, images: np.ndarray) -> np.ndarray:
    """A Keras model's only output for images, however the model wants them wrapped."""
    import keras

    found = keras.Model(model.inputs, model.outputs)([images])
    return np.asarray(found[0] if isinstance(found, list) else found)


def random_images(height: int, width: int, batch: int = 1, seed: int = 0) -> np.ndarray:
    """Smooth random images (batch, height, width, 3) in [-1, 1], float32."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    images = 0.1 * random.standard_normal((batch, height, width, 3))
    for image in images:
        for channel in range(3):
            for fy, fx in random.uniform(-0.3, 0.3, (6, 2)):
                image[..., channel] += 0.12 * np.cos(fy * y + fx * x + random.uniform(0, 6.28))
    return np.clip(images, -1, 1).astype(np.float32)
