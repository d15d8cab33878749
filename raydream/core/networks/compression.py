"""Compresses a trained network for dreaming: samples its convolutions' inputs, quantizes them, measures the loss.

network = plain(model, "mixed8")
sampler = Sampler(network)
moments = sampler.moments(images, seeds)          # of photographs and half-done dreams; moments can be added
parts = quantized(network, moments, bits=6)
figures = compare(network, restored(network, parts), [("mixed3", "mixed5")], held_out)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raydream.core.networks import quantization
from raydream.core.networks.backbones import GENERATED_NAME
from raydream.core.networks.folding import folded
from raydream.core.networks.graph import nodes, outputs_of
from raydream.core.networks.quantization import Moments, Quantized
from raydream.errors import UsageError, nearest
from raydream.types import Convolution, FeatureMap, Image, KerasModel, Layer, Tensor, Weight

Method = Callable[[Weight, Weight, int, Moments], Quantized]
Response = tuple[list[FeatureMap], list[FeatureMap]]  # a network's activations, and gradients at the image
_POSITIONS = 72  # patches per image and convolution
_TOGETHER = 16  # images whose patches are summed in one matrix product
_FIRST = 2  # convolutions at the input that keep 8 bits: they have few weights, and their error affects all others
_INPUT = "image"  # name of the input layer of plain networks


def plain(model: KerasModel, through: str) -> KerasModel:
    """A copy of a functional Keras model up to a layer, with folded batch norms and a bias in each convolution.

    Generated layer names are replaced by names with their position in the network. (Keras' names contain a counter of
    the whole process, but the same network must always give the same file.)

    Raises:
        UsageError: there is no such layer, it returns no feature map, or a layer has the name of the input, `image`.
    """
    import keras

    outputs = outputs_of(model)
    if through not in outputs:
        raise UsageError(f"{model.name} has no layer {through!r}: {nearest(through, outputs)}")
    if len(outputs[through].shape) != 4:
        raise UsageError(f"layer {through!r} of {model.name} returns no feature map: name a layer below it")
    network = folded(keras.Model(model.inputs, outputs[through]), "max", "float32")
    if any(layer.name == _INPUT and not isinstance(layer, keras.layers.InputLayer) for layer in network.layers):
        raise UsageError(f"{model.name} has a layer {_INPUT!r}, which is the name of the input: rename the layer")
    generated = {layer.name: GENERATED_NAME.fullmatch(layer.name) for layer in network.layers}
    names = {name: f"{found[1]}_{n}" if found else name for n, (name, found) in enumerate(generated.items())}

    def clone(layer: Layer) -> Layer:
        bias = {"use_bias": True} if type(layer) is keras.layers.Conv2D else {}
        return type(layer).from_config(layer.get_config() | bias | {"name": names[layer.name]})

    image = keras.Input((None, None, 3), name=_INPUT)
    copy = keras.models.clone_model(network, input_tensors=[image], clone_function=clone)
    for layer in network.layers:
        if weights := layer.get_weights():
            target = copy.get_layer(names[layer.name])
            if len(weights) < len(target.weights):  # a convolution that had no bias
                weights.append(np.zeros(target.filters, np.float32))
            target.set_weights(weights)
    return copy


def convolutions(network: KerasModel) -> list[Convolution]:
    """The layers that are quantized: convolutions over all channels of their input."""
    import keras

    found: list[Any] = [layer for layer in network.layers if type(layer) is keras.layers.Conv2D]
    return [layer for layer in found if layer.groups == 1]


class Sampler:
    """Samples patches of the inputs of a network's convolutions."""

    def __init__(self, network: KerasModel) -> None:
        import keras
        import tensorflow as tf

        self._layers = convolutions(network)
        outputs = outputs_of(network)
        inputs = {layer.name: outputs[read[0]] for layer, read in nodes(network) if read}
        seen = keras.Model(network.inputs, [inputs[layer.name] for layer in self._layers])
        self._seen = tf.function(lambda images: seen([images], training=False), autograph=False, reduce_retracing=True)

    def moments(self, images: Iterable[Image], seeds: Iterable[int]) -> dict[str, Moments]:
        """Moments of patches at random positions of each image, for each convolution.

        Args:
            images: (height, width, 3) in [-1, 1], of any size.
            seeds: one for each image.
        """
        found: dict[str, Moments] = {}
        sampled = (self._patches(image, np.random.default_rng(seed)) for image, seed in zip(images, seeds, strict=True))
        while some := list(islice(sampled, _TOGETHER)):
            for layer, *patches in zip(self._layers, *some, strict=True):
                here = Moments.of(np.concatenate(patches))
                found[layer.name] = found[layer.name] + here if layer.name in found else here
        return found

    def _patches(self, image: Image, random: np.random.Generator) -> list[NDArray[np.float32]]:
        maps = _as_list(self._seen(image[None]))
        return [_patches(layer, np.asarray(m)[0], random) for layer, m in zip(self._layers, maps, strict=True)]


def _patches(layer: Convolution, feature_map: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """Patches (count, inputs) of a convolution's input (rows, columns, channels), at random positions."""
    offsets, starts, padding = [], [], []
    for axis in (0, 1):
        stride, dilation = layer.strides[axis], layer.dilation_rate[axis]
        reach = (layer.kernel_size[axis] - 1) * dilation + 1
        size = feature_map.shape[axis]
        count = -(-size // stride) if layer.padding == "same" else (size - reach) // stride + 1
        missing = max(0, (count - 1) * stride + reach - size)
        padding.append((missing // 2, missing - missing // 2))
        offsets.append(dilation * np.arange(layer.kernel_size[axis]))
        starts.append(stride * np.arange(count))
    places = random.choice(len(starts[0]) * len(starts[1]), _POSITIONS)
    rows, columns = starts[0][places // len(starts[1])], starts[1][places % len(starts[1])]
    padded = np.pad(feature_map, (*padding, (0, 0)))
    windows = padded[rows[:, None, None] + offsets[0][:, None], columns[:, None, None] + offsets[1]]
    return np.asarray(windows.reshape(len(places), -1))


def quantized(
    network: KerasModel, moments: Mapping[str, Moments], bits: int, method: Method = quantization.gptq
) -> dict[str, Quantized]:
    """The weights of a network's convolutions with the given number of bits; the first two have 8 bits.

    Args:
        network: a network that `plain` has returned.
        moments: moments of the input patches of each convolution, by layer name.
        bits: bits per weight, 2 to 8.
        method: `quantization.gptq` or `quantization.nearest`.
    """
    parts = {}
    for place, layer in enumerate(convolutions(network)):
        kernel, bias = layer.get_weights()
        weights = kernel.reshape(-1, layer.filters)
        parts[layer.name] = method(weights, bias, 8 if place < _FIRST else bits, moments[layer.name])
    return parts


def restored(network: KerasModel, parts: Mapping[str, Quantized]) -> KerasModel:
    """A copy of the network that computes with the quantized weights, in float32."""
    import keras

    copy = keras.models.clone_model(network)
    for layer in copy.layers:
        if layer.name in parts:
            part = parts[layer.name]
            layer.set_weights([part.weights.reshape(layer.kernel.shape), part.bias])
        elif layer.weights:
            layer.set_weights(network.get_layer(layer.name).get_weights())
    return copy


def compare(
    full: KerasModel, other: KerasModel, objectives: Sequence[Sequence[str]], images: Iterable[Image]
) -> tuple[dict[str, float], dict[str, float]]:
    """Compares another network's activations and gradients with those of the full one.

    Args:
        full, other: Keras models with the same layers.
        objectives: each is some layers; its value is the sum of the layers' mean activations.
        images: (height, width, 3) in [-1, 1], of any size.

    Returns:
        Errors by layer: a channel's squared error divided by its squared activations, both summed over all images;
        the mean over the active channels. Cosines by objective: between the two networks' gradients with respect to
        the image; the mean over the images.
    """
    layers = list(dict.fromkeys(layer for objective in objectives for layer in objective))
    places = [[layers.index(layer) for layer in objective] for objective in objectives]
    responses = [_response(network, layers, places) for network in (full, other)]
    wrong, whole, cosines = [], [], []
    for image in images:
        (maps, gradients), (maps2, gradients2) = (response(image) for response in responses)
        wrong.append([np.square(a - b).sum((0, 1, 2)) for a, b in zip(maps, maps2, strict=True)])
        whole.append([np.square(a).sum((0, 1, 2)) for a in maps])
        cosines.append([_cosine(a, b) for a, b in zip(gradients, gradients2, strict=True)])
    errors = {}
    for layer, error, square in zip(layers, _summed(wrong), _summed(whole), strict=True):
        active = square > 1e-6 * square.mean()
        errors[layer] = float(np.mean(error[active] / square[active]))
    means = np.mean(cosines, axis=0).tolist()
    return errors, {"+".join(o): cosine for o, cosine in zip(objectives, means, strict=True)}


def _response(
    network: KerasModel, layers: Sequence[str], objectives: Sequence[Sequence[int]]
) -> Callable[[Image], Response]:
    """A function of an image that returns the layers' activations, and each objective's gradient."""
    import keras
    import tensorflow as tf

    outputs = outputs_of(network)
    part = keras.Model(network.inputs, [outputs[layer] for layer in layers])

    def respond(images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(images)
            maps = _as_list(part([images], training=False))
            values = [tf.add_n([tf.reduce_mean(maps[place]) for place in places]) for places in objectives]
        return maps, [tape.gradient(value, images) for value in values]

    traced = tf.function(respond, autograph=False, reduce_retracing=True)

    def arrays(image: Image) -> Response:
        maps, gradients = traced(image[None])
        return [np.asarray(m) for m in maps], [np.asarray(g) for g in gradients]

    return arrays


def _as_list(outputs: Tensor | list[Tensor]) -> list[Tensor]:
    """The outputs of a Keras model as a list; a single output becomes a list of one."""
    return outputs if isinstance(outputs, list) else [outputs]


def _summed(rows: Sequence[Sequence[FeatureMap]]) -> list[FeatureMap]:
    return [np.sum(column, axis=0) for column in zip(*rows, strict=True)]


def _cosine(a: FeatureMap, b: FeatureMap) -> float:
    return float(np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b) + 1e-30))
