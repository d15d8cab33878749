"""Backbones: trained networks that give named activations.

A backbone is a network that is cut at the deepest used layer. Its batch norms are folded into the convolutions, and its
weights are constants of the traced graph. It includes the preprocessing: its input is images in [-1, 1], its output is
activations.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from raydream.core.networks import loading
from raydream.core.networks.folding import folded
from raydream.core.networks.geometry import Axis, Field
from raydream.core.networks.graph import nodes, outputs_of
from raydream.core.objectives import Objective
from raydream.errors import UsageError, nearest
from raydream.recipe import DEFAULT_WEIGHTS
from raydream.types import KerasModel, Pooling, Tensor, Weight

# Names that Keras generates for layers without a name. They contain a counter of the whole process, so they change.
GENERATED_NAME = re.compile(r"(conv2d|batch_normalization|activation|concatenate|(max|average)_pooling2d)(_\d+)?")
_VGG = ("vgg16", "vgg19")
# The mean of ImageNet in VGG's channel order and range (Simonyan & Zisserman, 2015): BGR, 0..255.
_VGG_MEAN = (103.939, 116.779, 123.68)


@dataclass(frozen=True, eq=False)
class Backbone:
    """A network ready to dream with.

    Attributes:
        name: its name in the recipe.
        layers: the layers whose activations it returns, in this order.
        model: the folded Keras model, whose outputs are these layers.
        values: its weights, in the order of `model.variables`.
        vgg: whether images must be converted to VGG's range.
        dtype: type of images and activations; the network computes in the type of `values`.
    """

    name: str
    layers: tuple[str, ...]
    model: KerasModel
    values: tuple[Weight, ...]
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

        The weights are constants of the traced graph: oneDNN then reorders them once instead of at every step, which
        makes it a tenth faster.
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
        layers: the layers whose activations it returns.
        weights: weights of a named network: `compact` (the default of inception_v3; part of this package), `imagenet`
            (the default of the others; downloaded and cached by Keras), the path of a compact `.npz` file, or the path
            of a weights file, which may end at any block.
        pooling: `average` replaces the network's max pooling, which makes smoother dreams (Gatys et al., 2015).
        dtype: type in which the network computes: `float32`, `bfloat16` (images and activations are float32), or
            `float64` for checks (images and activations are float64, too).

    Raises:
        UsageError: an unknown backbone or layer, or weights that are missing or do not fit; the message names valid
            values.
    """
    if weights is None and name in DEFAULT_WEIGHTS:
        weights = DEFAULT_WEIGHTS[name]
    whole, architecture = loading.load(name, weights)
    known = layer_names(whole)
    for layer in layers:
        _require_layer(layer, known, name, weights)
    return replace(backbone_of(whole, layers, name, pooling, dtype), vgg=is_vgg(architecture))


def is_vgg(architecture: str | None) -> bool:
    """Whether an architecture in `loading.ARCHITECTURES` takes images in VGG's range."""
    return architecture in _VGG


def backbone_of(
    whole: KerasModel, layers: Sequence[str], name: str, pooling: Pooling = "max", dtype: str = "float32"
) -> Backbone:
    """A backbone from a functional Keras model, with its weights as they are now.

    Args:
        whole: the model, which takes images in [-1, 1].
        layers: the layers whose activations the backbone returns; the model must have them.
        name: the name of the model for error messages.
        pooling, dtype: see `load_backbone`.

    Raises:
        UsageError: the model does not take one image, or is not a flat graph of layers.
    """
    import keras

    outputs = outputs_of(whole)
    network = keras.Model(whole.inputs, [outputs[layer] for layer in layers])
    require_plain(network, name)
    outside = "float32" if dtype == "bfloat16" else dtype
    network = folded(network, pooling, outside)
    if dtype != outside:
        network = folded(network, pooling, dtype)
    values = tuple(np.asarray(variable) for variable in network.variables)
    return Backbone(name, tuple(layers), network, values, dtype=outside)


def with_vgg_range(model: KerasModel) -> KerasModel:
    """A copy of a VGG network for images in [-1, 1]: its first layer, `vgg_range`, converts them."""
    import keras

    first = nodes(model)[1].layer
    convert = keras.layers.Conv2D(3, 1, name="vgg_range", trainable=False)

    def call(layer: Any, *args: Tensor, **kwargs: Any) -> Tensor:
        return layer(convert(*args) if layer.name == first.name else args[0], **kwargs)

    image = keras.Input((None, None, 3), name="image")
    copy = keras.models.clone_model(model, input_tensors=[image], call_function=call)
    convert.set_weights([127.5 * np.eye(3)[None, None, ::-1], 127.5 - np.array(_VGG_MEAN)])
    for layer in model.layers:
        if layer.weights:
            copy.get_layer(layer.name).set_weights(layer.get_weights())
    return copy


def require_plain(model: KerasModel, name: str) -> None:
    """Raises a `UsageError` unless the model can be folded: one image as input, and only layers, each used once."""
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


def check_objective(objective: Objective, channels: Mapping[str, int], name: str, weights: str | None = None) -> None:
    """Raises a `UsageError` if a layer or channel of the objective is not in `channels` (layer -> number)."""
    for term in objective.features:
        _require_layer(term.layer, channels, name, weights)
        count, asked = channels[term.layer], getattr(term, "channels", None)
        if not all(0 <= channel < count for channel in asked or ()):
            raise UsageError(f"layer {term.layer!r} has channels 0 to {count - 1}, not {asked}")


def _require_layer(layer: str, known: Iterable[str], name: str, weights: str | None) -> None:
    if layer not in known:
        more = "weights: imagenet has more layers; " if weights == "compact" else ""
        raise UsageError(f"backbone {name!r} has no layer {layer!r}: {more}{nearest(layer, known)}")


def layer_names(model: KerasModel) -> list[str]:
    """Layers of a Keras model that an objective can name: they return a feature map, and Keras did not name them."""
    return [
        layer.name
        for layer in model.layers
        if len(getattr(layer.output, "shape", ())) == 4
        and type(layer).__name__ != "InputLayer"
        and not GENERATED_NAME.fullmatch(layer.name)
    ]


def channels_of(name: str, weights: str | None = None) -> dict[str, int]:
    """Layer -> number of channels, for all layers of a backbone; arguments as for `load_backbone`.

    This is faster than loading the backbone, since nothing is cut or folded.
    """
    model = loading.load(name, weights).model
    outputs = outputs_of(model)
    return {layer: int(outputs[layer].shape[-1]) for layer in layer_names(model)}


def describe(name: str, weights: str | None = None) -> list[tuple[str, int, Field]]:
    """(layer, channels, receptive field) for all layers of a backbone; arguments as for `load_backbone`.

    Nothing is downloaded, since the ImageNet weights are not needed.
    """
    import keras

    if name in DEFAULT_WEIGHTS:
        weights = weights or DEFAULT_WEIGHTS[name]
    model = loading.load(name, None if weights == "imagenet" else weights).model
    names, outputs = layer_names(model), outputs_of(model)
    whole = keras.Model(model.inputs, [outputs[layer] for layer in names])
    require_plain(whole, name)
    channels = [int(output.shape[-1]) for output in whole.outputs]
    return list(zip(names, channels, Axis(whole, 1).fields(), strict=True))
