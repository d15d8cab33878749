"""Backbones: trained networks that give named activations.

A backbone is the network cut at the deepest layer in use, batch norm folded into the convolutions, its weights
constants of the traced graph, preprocessing inside: images in [-1, 1] go in, activations come out.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from raydream.core.networks import loading
from raydream.core.networks.folding import folded
from raydream.core.networks.geometry import Axis, Field
from raydream.core.networks.graph import nodes, outputs_of
from raydream.errors import UsageError, nearest
from raydream.recipe import DEFAULT_WEIGHTS, Recipe
from raydream.types import KerasModel, Pooling, Tensor, Weight

# Names that Keras gives to layers without one. They count the layers of the whole process, so they change.
GENERATED_NAME = re.compile(r"(conv2d|batch_normalization|activation|concatenate|(max|average)_pooling2d)(_\d+)?")
_VGG = ("vgg16", "vgg19")
# The mean of ImageNet in the order and range that VGG was trained in (Simonyan & Zisserman, 2015): BGR, 0..255.
_VGG_MEAN = (103.939, 116.779, 123.68)


@dataclass(frozen=True, eq=False)
class Backbone:
    """A network ready to dream with.

    Attributes:
        name: as the recipe names it.
        layers: the layers whose activations it gives, in this order.
        model: the folded Keras model, whose outputs are those layers.
        values: its weights, in the order of `model.variables`.
        digest: SHA-256 of the weights in use (cut, folded, in float32), as hexadecimal; the same whatever file they
            came from, and whatever the precision.
        vgg: whether images must be converted to the range that VGG was trained on.
        dtype: of images and activations; the network's own is that of `values`.
    """

    name: str
    layers: tuple[str, ...]
    model: KerasModel
    values: tuple[Weight, ...]
    digest: str
    vgg: bool = False
    dtype: str = "float32"

    @cached_property
    def axes(self) -> tuple[Axis, Axis]:
        """Geometry of the layers along rows and columns."""
        return Axis(self.model, 0), Axis(self.model, 1)

    def channels(self, layer: str) -> int:
        """Number of channels of a layer."""
        return int(self.model.outputs[self.layers.index(layer)].shape[-1])

    def activations(self, images: Tensor) -> list[Tensor]:
        """Activations of `layers` for images (batch, height, width, 3) in [-1, 1]; call it inside a `tf.function`.

        The weights enter the traced graph as constants: oneDNN then lays them out once and not at every step,
        which is worth a tenth of the speed.
        """
        import tensorflow as tf

        if self.vgg:
            images = (images[..., ::-1] + 1.0) * 127.5 - tf.constant(_VGG_MEAN, images.dtype)
        constants = [tf.constant(value) for value in self.values]
        images = tf.cast(images, self.model.inputs[0].dtype)
        outputs, _ = self.model.stateless_call([], constants, [images], training=False)
        maps = list(outputs) if len(self.layers) > 1 else [outputs]
        return [tf.cast(feature_map, self.dtype) for feature_map in maps]


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
        name: `inception_v3`, `vgg16`, `vgg19`; or the path of a `.keras` file (a functional model that takes images in
            [-1, 1]; put its own preprocessing inside) or of a compact `.npz` file (see `compact`).
        layers: the layers whose activations are wanted.
        weights: of a named network: `compact` (inception_v3's default, shipped with this package), `imagenet` (the
            default of the others: $RAYDREAM_WEIGHTS if set, for inception_v3; else downloaded by Keras and cached),
            or the path of a weights file, which may end at any block, or of a compact `.npz` file.
        pooling: `average` replaces the network's max pooling, which makes smoother dreams (Gatys et al., 2015).
        dtype: in which the network computes: `float32`, `bfloat16` (images and activations are float32), or `float64`
            for checks (images and activations are float64, too).

    Raises:
        UsageError: unknown backbone or layer, weights missing or not fitting; one line that names what is valid.
    """
    import keras

    if weights is None and name in DEFAULT_WEIGHTS:
        weights = DEFAULT_WEIGHTS[name]
    whole, architecture = loading.load(name, weights)
    known = layer_names(whole)
    for layer in layers:
        _require_layer(layer, known, name, weights)
    outputs = outputs_of(whole)
    network = keras.Model(whole.inputs, [outputs[layer] for layer in layers])
    _require_plain(network, name)
    outside = "float32" if dtype == "bfloat16" else dtype
    network = folded(network, pooling, outside)
    digest = digest_of(network)
    if dtype != outside:
        network = folded(network, pooling, dtype)
    values = tuple(np.asarray(variable) for variable in network.variables)
    return Backbone(name, tuple(layers), network, values, digest, vgg=architecture in _VGG, dtype=outside)


def _require_layer(layer: str, known: Iterable[str], name: str, weights: str | None) -> None:
    if layer not in known:
        more = "; weights: imagenet has more" if weights == "compact" else ""
        raise UsageError(f"backbone {name!r} has no layer {layer!r}: {nearest(layer, known)}{more}")


def _require_plain(model: KerasModel, name: str) -> None:
    """Raises a `UsageError` unless the model is what can be folded: layers on one image, each used once."""
    import keras

    if len(model.inputs) != 1 or model.inputs[0].shape[-1] != 3:
        raise UsageError(f"backbone {name!r} does not take one image of 3 channels")
    uses = Counter(layer.name for layer, _ in nodes(model))
    for part in model.operations:
        if isinstance(part, keras.Model) or not isinstance(part, keras.Layer) or uses[part.name] > 1:
            raise UsageError(
                f"backbone {name!r} must be a flat graph of Keras layers, each used once: "
                f"{part.name!r} ({type(part).__name__}) is a model, not a layer, or used twice"
            )


def load_for(recipe: Recipe, dtype: str | None = None) -> Backbone:
    """The backbone of a recipe, cut at the layers of its objective; `dtype` in place of the recipe's precision.

    Raises:
        UsageError: as `load_backbone`; a channel the layer does not have; weights that are not the recipe's.
    """
    backbone = load_backbone(
        recipe.backbone,
        recipe.objective.layers,
        weights=recipe.weights,
        pooling=recipe.pooling,
        dtype=dtype or recipe.precision or "float32",
    )
    for term in recipe.objective.terms:
        count = backbone.channels(term.layer)
        if not all(0 <= channel < count for channel in term.channels or ()):
            raise UsageError(f"layer {term.layer!r} has channels 0 to {count - 1}, not {term.channels}")
    if dtype is None and recipe.weights_digest not in (None, backbone.digest):
        raise UsageError(
            f"the weights of {recipe.backbone} ({backbone.digest[:12]}) are not "
            f"those of the recipe ({str(recipe.weights_digest)[:12]})"
        )
    return backbone


def digest_of(model: KerasModel) -> str:
    """SHA-256 of a Keras model's weights, as hexadecimal."""
    sha = hashlib.sha256()
    for variable in model.weights:  # not `variables`: they include dropout's random state, which is new at each load
        value = np.ascontiguousarray(variable)
        sha.update(f"{variable.path.split('/')[-1]} {value.shape} {value.dtype}".encode())
        sha.update(value.data)
    return sha.hexdigest()


def layer_names(model: KerasModel) -> list[str]:
    """Layers of a Keras model that an objective can name: they give a feature map and have a name of their own."""
    return [
        layer.name
        for layer in model.layers
        if len(getattr(layer.output, "shape", ())) == 4
        and type(layer).__name__ != "InputLayer"
        and not GENERATED_NAME.fullmatch(layer.name)
    ]


def describe(name: str, weights: str | None = None) -> list[tuple[str, int, Field]]:
    """(layer, channels, receptive field) of each layer that a backbone offers; arguments as `load_backbone`.

    Nothing is downloaded: Keras' own weights are not needed for it.
    """
    import keras

    if name in DEFAULT_WEIGHTS:
        weights = weights or DEFAULT_WEIGHTS[name]
    model = loading.load(name, None if weights == "imagenet" else weights).model
    names, outputs = layer_names(model), outputs_of(model)
    whole = keras.Model(model.inputs, [outputs[layer] for layer in names])
    _require_plain(whole, name)
    channels = [int(output.shape[-1]) for output in whole.outputs]
    return list(zip(names, channels, Axis(whole, 1).fields(), strict=True))
