"""Backbones: trained networks that give named activations.

A backbone is the network cut at the deepest layer in use, batch norm folded into the convolutions, its weights
constants of the traced graph, preprocessing inside: images in [-1, 1] go in, activations come out.
"""

from __future__ import annotations

import hashlib
import os
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from raydream.errors import UsageError, nearest
from raydream.folding import Pooling, folded
from raydream.geometry import Axis, Field, nodes

if TYPE_CHECKING:
    from raydream.recipe import Recipe

_MADE_UP = re.compile(r"(conv2d|batch_normalization|activation|concatenate|(max|average)_pooling2d)(_\d+)?")
# The mean of ImageNet in the order and range that VGG was trained in (Simonyan & Zisserman, 2015): BGR, 0..255.
_VGG_MEAN = (103.939, 116.779, 123.68)


@dataclass(frozen=True)
class _Architecture:
    application: str  # its name in keras.applications
    vgg: bool = False


SHIPPED = ("lite",)  # in weights/
ARCHITECTURES = {
    "inception_v3": _Architecture("InceptionV3"),
    "vgg16": _Architecture("VGG16", vgg=True),
    "vgg19": _Architecture("VGG19", vgg=True),
}


@dataclass(frozen=True, eq=False)
class Backbone:
    """A network ready to dream with.

    Attributes:
        name: as the recipe names it.
        layers: the layers it gives, in this order.
        model: the folded Keras model, whose outputs are those layers.
        values: its weights, in the order of `model.variables`.
        vgg: whether images must be brought into VGG's own range.
        dtype: of images and activations.
    """

    name: str
    layers: tuple[str, ...]
    model: Any
    values: tuple[np.ndarray[Any, Any], ...]
    vgg: bool = False
    dtype: str = "float32"

    @cached_property
    def axes(self) -> tuple[Axis, Axis]:
        """Geometry of the layers along rows and columns."""
        return Axis(self.model, 0), Axis(self.model, 1)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the weights in use (cut, folded), as hexadecimal; the same whatever file they came from."""
        return digest_of(self.model)

    def channels(self, layer: str) -> int:
        """Number of channels of a layer."""
        return int(self.model.outputs[self.layers.index(layer)].shape[-1])

    def activations(self, images: Any) -> list[Any]:
        """Activations of `layers` for images (batch, height, width, 3) in [-1, 1]; call it inside a `tf.function`.

        The weights enter the traced graph as constants: oneDNN then lays them out once and not at every step,
        which is worth a tenth of the speed.
        """
        import tensorflow as tf

        if self.vgg:
            images = (images[..., ::-1] + 1.0) * 127.5 - tf.constant(_VGG_MEAN, images.dtype)
        constants = [tf.constant(value) for value in self.values]
        outputs, _ = self.model.stateless_call([], constants, [images], training=False)
        return list(outputs) if len(self.layers) > 1 else [outputs]


def load_backbone(
    name: str,
    layers: Sequence[str],
    *,
    weights: str | None = None,
    pooling: Pooling = "max",
    dtype: str = "float32",
) -> Backbone:
    """Loads a backbone cut at the given layers.

    Args:
        name: `lite`, which comes with raydream; `inception_v3`, `vgg16`, `vgg19`; or the path of a `.keras` file (a
            functional model that takes images in [-1, 1]; put its own preprocessing inside).
        layers: the layers to give.
        weights: of Keras' networks: `imagenet`, as by default ($RAYDREAM_WEIGHTS if set, for inception_v3; else
            downloaded by Keras and cached), or the path of a weights file, which may end at any block.
        pooling: `average` replaces the network's max pooling, which makes smoother dreams (Gatys et al., 2015).
        dtype: `float32`, or `float64` for checks.

    Raises:
        UsageError: unknown backbone or layer, weights missing or not fitting; one line that names what is valid.
    """
    model = load_model(name, weights or "imagenet")
    known = layer_names(model)
    for layer in layers:
        if layer not in known:
            more = "; backbone: inception_v3 has more" if name in SHIPPED else ""
            raise UsageError(f"backbone {name!r} has no layer {layer!r}: {nearest(layer, known)}{more}")
    import keras

    planes = _planes(model)
    network = keras.Model(model.inputs, [planes[layer] for layer in layers])
    _require_plain(network, name)
    network = folded(network, pooling, dtype)
    architecture = ARCHITECTURES.get(name)
    values = tuple(variable.numpy() for variable in network.variables)
    vgg = bool(architecture and architecture.vgg)
    return Backbone(name, tuple(layers), network, values, vgg, dtype)


def _require_plain(model: Any, name: str) -> None:
    """A UsageError unless the model is a graph of layers, each used once, on one image: what can be folded."""
    import keras

    if len(model.inputs) != 1 or model.inputs[0].shape[-1] != 3:
        raise UsageError(f"backbone {name!r} does not take one image of 3 channels")
    uses = Counter(id(node.operation) for nodes in model._nodes_by_depth.values() for node in nodes)
    for part in model.operations:
        if isinstance(part, keras.Model) or not isinstance(part, keras.Layer) or uses[id(part)] > 1:
            raise UsageError(
                f"backbone {name!r} must be a flat graph of Keras layers, each used once: "
                f"{part.name!r} ({type(part).__name__}) is a model, a bare operation or used again"
            )


def load_for(recipe: Recipe, dtype: str = "float32") -> Backbone:
    """The backbone of a recipe, cut at the layers of its objective.

    Raises:
        UsageError: as `load_backbone`; a channel the layer does not have; weights that are not the recipe's.
    """
    layers = recipe.objective.layers
    backbone = load_backbone(recipe.backbone, layers, weights=recipe.weights, pooling=recipe.pooling, dtype=dtype)
    for term in recipe.objective.terms:
        count = backbone.channels(term.layer)
        if not all(0 <= channel < count for channel in term.channels or ()):
            raise UsageError(f"layer {term.layer!r} has channels 0 to {count - 1}, not {term.channels}")
    if dtype == "float32" and recipe.weights_digest not in (None, backbone.digest):
        raise UsageError(
            f"the weights of {recipe.backbone} ({backbone.digest[:12]}) are not "
            f"those of the recipe ({str(recipe.weights_digest)[:12]})"
        )
    return backbone


def digest_of(model: Any) -> str:
    """SHA-256 of a Keras model's weights, as hexadecimal."""
    sha = hashlib.sha256()
    for variable in model.weights:  # not `variables`: they count the random state of dropout, new at each load
        value = np.ascontiguousarray(variable)
        sha.update(f"{variable.path.split('/')[-1]} {value.shape} {value.dtype}".encode())
        sha.update(value.data)
    return sha.hexdigest()


def layer_names(model: Any) -> list[str]:
    """Layers of a Keras model that can be dreamed of: those that give a plane of channels and have a name.

    Names that Keras makes up (`conv2d_7`) count the layers of the whole process, so they name nothing for sure.
    """
    planes = _planes(model)
    return [
        layer.name
        for layer in model.layers
        if len(getattr(planes[layer.name], "shape", ())) == 4
        and type(layer).__name__ != "InputLayer"
        and not _MADE_UP.fullmatch(layer.name)
    ]


def _planes(model: Any) -> dict[str, Any]:
    """Layer -> its output in this model's own graph (a `Sequential` leaves its layers in others, too)."""
    return {operation.name: node.output_tensors[0] for operation, node in nodes(model)}


def describe(name: str) -> list[tuple[str, int, Field]]:
    """(layer, channels, receptive field) of each layer that a backbone offers; no weights are needed."""
    import keras

    model = load_model(name, weights=None)
    names = layer_names(model)
    planes = _planes(model)
    whole = keras.Model(model.inputs, [planes[layer] for layer in names])
    _require_plain(whole, name)
    channels = [int(output.shape[-1]) for output in whole.outputs]
    return list(zip(names, channels, Axis(whole, 1).fields(), strict=True))


def load_model(name: str, weights: str | None) -> Any:
    """The whole Keras model of a backbone; `weights` None leaves those of `ARCHITECTURES` untrained."""
    import keras

    if name in ARCHITECTURES:
        build = getattr(keras.applications, ARCHITECTURES[name].application)
        if weights is None:
            return build(include_top=False, weights=None)
        if weights == "imagenet" and name == "inception_v3":
            weights = os.environ.get("RAYDREAM_WEIGHTS") or weights
        if weights == "imagenet":
            return _downloaded(name, build)
        return _with_weights(build(include_top=False, weights=None), Path(weights))
    if name in SHIPPED:
        with resources.as_file(resources.files("raydream") / "weights" / f"{name}.keras") as path:
            return load_keras(str(path), what="backbone")
    if not name.endswith(".keras"):
        raise UsageError(f"unknown backbone {name!r}: {nearest(name, [*SHIPPED, *ARCHITECTURES])}, or a .keras file")
    return load_keras(name, what="backbone")


def load_keras(path: str, what: str) -> Any:
    """A functional Keras model from a `.keras` file, without running code that the file may carry.

    Raises:
        UsageError: there is no such file, or it is no such model; `what` is what it was to be.
    """
    import keras

    if not Path(path).is_file():
        raise UsageError(f"{what} file {path} does not exist")
    if not zipfile.is_zipfile(path):
        raise UsageError(f"{what} file {path} is not a .keras file, or not all of one")
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
        return keras.Model(model.inputs, model.outputs)
    except (ValueError, TypeError, OSError, KeyError, AttributeError) as error:
        raise UsageError(f"{what} file {path} cannot be loaded: {_first_line(error)}") from error


def _downloaded(name: str, build: Callable[..., Any]) -> Any:
    try:
        return build(include_top=False, weights="imagenet")
    except Exception as error:  # Keras raises a bare Exception for a download that fails
        raise UsageError(
            f"the ImageNet weights of {name} could not be downloaded ({_first_line(error)}): "
            "set RAYDREAM_WEIGHTS (inception_v3) or weights: to a weights file, "
            "or leave backbone and weights out to dream with lite, which needs none"
        ) from error


def _with_weights(model: Any, path: Path) -> Any:
    """The model with the file's weights, cut where the file ends if it ends early."""
    import h5py
    import keras

    if not path.is_file():
        raise UsageError(f"weights file {path} does not exist")
    try:
        with h5py.File(path) as file:
            legacy = "layer_names" in file.attrs
            layers = file.get("layers") or file.get("_layer_checkpoint_dependencies") or {}
            count = sum(1 for group in layers.values() if len(group.get("vars", ())))
    except OSError as error:
        raise UsageError(f"weights file {path} is not an HDF5 file, or not all of one") from error
    except AttributeError as error:
        raise UsageError(f"weights file {path} does not fit {model.name}: it has no layers") from error
    ends = [layer for layer in model.layers if type(layer).__name__ in ("Concatenate", "MaxPooling2D")]
    cuts = (keras.Model(model.inputs, end.output) for end in reversed([] if legacy else ends))
    fitting = (cut for cut in cuts if sum(1 for layer in cut.layers if layer.weights) == count)
    chosen = next(fitting, model)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # Keras warns at length before it raises
            chosen.load_weights(path)
    except (ValueError, KeyError) as error:
        reason = _first_line(error).split(" Example error message")[0]
        raise UsageError(f"weights file {path} does not fit {model.name}: {reason}") from error
    return chosen


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
