"""Loads whole networks: Keras models by name or from a file, with the weights of a recipe."""

from __future__ import annotations

import sys
import warnings
import zipfile
import zlib
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from raydream.core.networks import compact
from raydream.errors import UsageError, nearest
from raydream.types import KerasModel

# backbone -> its name in keras.applications
ARCHITECTURES = {"inception_v3": "InceptionV3", "vgg16": "VGG16", "vgg19": "VGG19"}
# MD5 of Keras' files with the ImageNet weights, without the classifier.
_IMAGENET_MD5 = {
    "inception_v3": "bcbd6486424b2319ff4ef7d526e38f63",
    "vgg16": "6d6bbae143d832006294945121d1f1fc",
    "vgg19": "253f8cb515780f3b799900260a226db6",
}
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError)  # errors of a damaged archive
_IMAGENET_URL = "https://storage.googleapis.com/tensorflow/keras-applications"


class Network(NamedTuple):
    """A functional Keras model; `architecture` is its name in `ARCHITECTURES`, if it is one of those."""

    model: KerasModel
    architecture: str | None


def load(name: str, weights: str | None) -> Network:
    """The whole network of a backbone.

    Args:
        name: a name in `ARCHITECTURES`, or the path of a `.keras` or compact `.npz` file.
        weights: for a name: `compact`, `imagenet`, the path of a weights file, or None to leave them untrained.

    Raises:
        UsageError: there is no such network, or the weights are missing or do not fit.
    """
    if not is_file(name):
        return Network(_named(name, weights), name)
    if name.endswith(".npz"):
        found = compact.load(name, what="backbone")
        return Network(found.model, found.backbone if found.backbone in ARCHITECTURES else None)
    return Network(load_keras(name, what="backbone"), None)


def is_file(name: str) -> bool:
    """Whether a backbone is a file and not a name in `ARCHITECTURES`; raises a `UsageError` if it is neither."""
    if name in ARCHITECTURES:
        return False
    if not name.endswith((".keras", ".npz")):
        raise UsageError(f"unknown backbone {name!r}: {nearest(name, ARCHITECTURES)}, or a .keras or .npz file")
    return True


def weights_file(name: str, weights: str) -> str:
    """The file with the weights of a backbone in `ARCHITECTURES`; `imagenet` is downloaded by Keras and kept.

    Raises:
        UsageError: the package has no `compact` weights for this backbone, or the download failed.
    """
    if weights == "imagenet":
        return _downloaded(name)
    if weights != "compact":
        return weights
    path = Path(str(resources.files("raydream") / "weights" / f"{name}.npz"))
    if not path.is_file():
        raise UsageError(f"raydream has no compact weights for {name}: use weights: imagenet, or a weights file")
    return str(path)


def _named(name: str, weights: str | None) -> KerasModel:
    import keras

    build: Callable[..., KerasModel] = getattr(keras.applications, ARCHITECTURES[name])
    if weights is None:
        return build(include_top=False, weights=None)
    weights = weights_file(name, weights)
    if not weights.endswith(".npz"):
        return _with_weights(build(include_top=False, weights=None), Path(weights))
    found = compact.load(weights)
    if found.backbone != name:
        raise UsageError(f"weights file {weights} is for {found.backbone}, not for {name}")
    return found.model


def load_keras(path: str, what: str) -> KerasModel:
    """Loads a functional Keras model from a `.keras` file. No code inside the file is run.

    Args:
        path: path of the file.
        what: role of the file, such as `backbone`; the first word of error messages.

    Raises:
        UsageError: the file does not exist, or Keras cannot load it.
    """
    import keras

    if not Path(path).is_file():
        raise UsageError(f"{what} file {path} does not exist")
    if not zipfile.is_zipfile(path):
        raise UsageError(f"{what} file {path} is not a .keras file, or is incomplete")
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
        return _functional(model)
    except (ValueError, TypeError, OSError, KeyError, AttributeError, *_DAMAGE) as error:
        raise UsageError(f"{what} file {path} cannot be loaded: {_first_line(error)}") from error


def _functional(model: KerasModel) -> KerasModel:
    """The same network as a functional model; its layers are in no other graph."""
    import keras

    whole = keras.Model(model.inputs, model.outputs)
    if not isinstance(model, keras.Sequential):
        return whole
    # A `Sequential` model rebuilds its graph with each new layer, so `layer.output` may belong to another graph.
    copy = keras.models.clone_model(whole)
    copy.set_weights(whole.get_weights())
    return copy


def _downloaded(name: str) -> str:
    import keras

    file = f"{name}_weights_tf_dim_ordering_tf_kernels_notop.h5"
    origin = f"{_IMAGENET_URL}/{name}/{file}"
    try:
        with redirect_stdout(sys.stderr):  # for Keras' progress bar
            found = keras.utils.get_file(file, origin, cache_subdir="models", file_hash=_IMAGENET_MD5[name])
    except Exception as error:  # Keras raises a bare Exception for a download that fails
        raise UsageError(
            f"the ImageNet weights of {name} could not be downloaded ({_first_line(error)}): "
            "set RAYDREAM_WEIGHTS (inception_v3) or weights: to a weights file, "
            "or use backbone: inception_v3 with weights: compact, which needs no download"
        ) from error
    return str(found)


def _with_weights(model: KerasModel, path: Path) -> KerasModel:
    """The model with the file's weights. If the file holds only the first blocks, the model is cut after them."""
    if not path.is_file():
        raise UsageError(f"weights file {path} does not exist")
    chosen = _cut_like(path, model)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # Keras warns at length before it raises
            chosen.load_weights(path)
    except (ValueError, KeyError) as error:
        reason = _first_line(error).split(" Example error message")[0]
        raise UsageError(f"weights file {path} does not fit {model.name}: {reason}") from error
    return chosen


def _cut_like(path: Path, model: KerasModel) -> KerasModel:
    """The first part of a model, up to a block, that has the same number of layers with weights as the file."""
    import keras

    count = _layers_in(path, model.name)
    ends = [layer for layer in model.layers if type(layer).__name__ in ("Concatenate", "MaxPooling2D")]
    cuts = (keras.Model(model.inputs, end.output) for end in reversed(ends if count else []))
    return next((cut for cut in cuts if sum(1 for layer in cut.layers if layer.weights) == count), model)


def _layers_in(path: Path, name: str) -> int:
    """Number of layers with weights in a weights file; 0 for Keras' older format, which only holds whole networks."""
    import h5py

    try:
        with h5py.File(path) as file:
            if "layer_names" in file.attrs:
                return 0
            layers = file.get("layers") or file.get("_layer_checkpoint_dependencies") or {}
            return sum(1 for group in layers.values() if len(group.get("vars", ())))
    except OSError as error:
        raise UsageError(f"weights file {path} is not an HDF5 file, or is incomplete") from error
    except AttributeError as error:
        raise UsageError(f"weights file {path} does not fit {name}: it has no layers") from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
