"""Compresses a trained network for dreaming: what its convolutions see, their weights in few bits, what that costs.

network = plain(model, "mixed8")
sampler = Sampler(network)
moments = sampler.moments(images, seeds)          # of photographs and of half-done dreams; they add up
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
from raydream.core.networks.backbones import MADE_UP, planes_of
from raydream.core.networks.folding import folded
from raydream.core.networks.geometry import nodes
from raydream.core.networks.quantization import Moments, Quantized
from raydream.errors import UsageError, nearest

Image = NDArray[np.float32]
Method = Callable[[NDArray[np.float32], NDArray[np.float32], int, Moments], Quantized]
_POSITIONS = 72  # patches of an image for each convolution
_TOGETHER = 16  # images whose patches are summed in one matrix product
_FIRST = 2  # convolutions next to the image, which keep 8 bits: they have few weights, and all others rest on them


def plain(model: Any, through: str) -> Any:
    """A copy of a Keras functional model up to a layer, its batch norms folded, all its convolutions with a bias.

    Layers whose names Keras made up are named for their place in the network: Keras counts them over the whole process,
    and a file must always be the same.

    Raises:
        UsageError: there is no such layer.
    """
    import keras

    planes = planes_of(model)
    if through not in planes:
        raise UsageError(f"{model.name} has no layer {through!r}: {nearest(through, planes)}")
    network = folded(keras.Model(model.inputs, planes[through]), "max", "float32")
    made_up = {layer.name: MADE_UP.fullmatch(layer.name) for layer in network.layers}
    names = {name: f"{found[1]}_{n}" if found else name for n, (name, found) in enumerate(made_up.items())}

    def clone(layer: Any) -> Any:
        bias = {"use_bias": True} if type(layer) is keras.layers.Conv2D else {}
        return type(layer).from_config(layer.get_config() | bias | {"name": names[layer.name]})

    entry = keras.Input((None, None, 3), name="image")
    copy = keras.models.clone_model(network, input_tensors=[entry], clone_function=clone)
    for layer in network.layers:
        if weights := layer.get_weights():
            if type(layer) is keras.layers.Conv2D and not layer.use_bias:
                weights.append(np.zeros(layer.filters, np.float32))
            copy.get_layer(names[layer.name]).set_weights(weights)
    return copy


def convolutions(network: Any) -> list[Any]:
    """The layers that are quantized: the convolutions that see all their input's channels."""
    import keras

    return [layer for layer in network.layers if type(layer) is keras.layers.Conv2D and layer.groups == 1]


class Sampler:
    """Looks at what the convolutions of a network see."""

    def __init__(self, network: Any) -> None:
        import keras
        import tensorflow as tf

        self._layers = convolutions(network)
        inputs = {operation.name: node.input_tensors[0] for operation, node in nodes(network) if node.input_tensors}
        look = keras.Model(network.inputs, [inputs[layer.name] for layer in self._layers])
        self._look = tf.function(lambda images: look([images], training=False), autograph=False, reduce_retracing=True)

    def moments(self, images: Iterable[Image], seeds: Iterable[int]) -> dict[str, Moments]:
        """Moments of the patches at some random positions of each image, for each convolution.

        Args:
            images: (height, width, 3) in [-1, 1], of any size.
            seeds: one for each image.
        """
        found: dict[str, Moments] = {}
        seen = (self._patches(image, np.random.default_rng(seed)) for image, seed in zip(images, seeds, strict=True))
        while some := list(islice(seen, _TOGETHER)):
            for layer, *patches in zip(self._layers, *some, strict=True):
                here = Moments.of(np.concatenate(patches))
                found[layer.name] = found[layer.name] + here if layer.name in found else here
        return found

    def _patches(self, image: Image, random: np.random.Generator) -> list[NDArray[np.float32]]:
        planes = self._look(image[None])
        planes = planes if isinstance(planes, list) else [planes]
        return [_patches(layer, np.asarray(p)[0], random) for layer, p in zip(self._layers, planes, strict=True)]


def _patches(layer: Any, plane: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """Patches (count, inputs) that a convolution sees at random positions of a plane (rows, columns, channels)."""
    offsets, starts, padding = [], [], []
    for axis in (0, 1):
        stride, spread = layer.strides[axis], layer.dilation_rate[axis]
        reach = (layer.kernel_size[axis] - 1) * spread + 1
        size = plane.shape[axis]
        cells = -(-size // stride) if layer.padding == "same" else (size - reach) // stride + 1
        missing = max(0, (cells - 1) * stride + reach - size)
        padding.append((missing // 2, missing - missing // 2))
        offsets.append(spread * np.arange(layer.kernel_size[axis]))
        starts.append(stride * np.arange(cells))
    places = random.choice(len(starts[0]) * len(starts[1]), _POSITIONS)
    rows, columns = starts[0][places // len(starts[1])], starts[1][places % len(starts[1])]
    padded = np.pad(plane, (*padding, (0, 0)))
    windows = padded[rows[:, None, None] + offsets[0][:, None], columns[:, None, None] + offsets[1]]
    return np.asarray(windows.reshape(len(places), -1))


def quantized(
    network: Any, moments: Mapping[str, Moments], bits: int, method: Method = quantization.gptq
) -> dict[str, Quantized]:
    """The convolutions of a network with weights of so many bits, the first two with 8."""
    parts = {}
    for place, layer in enumerate(convolutions(network)):
        kernel, bias = layer.get_weights()
        weights = kernel.reshape(-1, layer.filters)
        parts[layer.name] = method(weights, bias, 8 if place < _FIRST else bits, moments[layer.name])
    return parts


def restored(network: Any, parts: Mapping[str, Quantized]) -> Any:
    """A copy of the network with the quantized weights, back in float32."""
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
    full: Any, other: Any, objectives: Sequence[Sequence[str]], images: Iterable[Image]
) -> tuple[dict[str, float], dict[str, float]]:
    """How far another network's answers to images are from the full one's.

    Args:
        full, other: Keras models with the same layers.
        objectives: names of layers, of whose means the gradient is compared: the sum over an objective's layers.
        images: (height, width, 3) in [-1, 1], of any size.

    Returns:
        By layer the error: a channel's squared error over its square, both over all images; the mean over the
        channels that are ever active. By objective the mean cosine of the two gradients at the image.
    """
    layers = list(dict.fromkeys(layer for objective in objectives for layer in objective))
    places = [[layers.index(layer) for layer in objective] for objective in objectives]
    answers = [_answer(network, layers, places) for network in (full, other)]
    wrong, whole, cosines = [], [], []
    for image in images:
        (planes, gradients), (planes2, gradients2) = (answer(image[None]) for answer in answers)
        pairs = [(np.asarray(a), np.asarray(b)) for a, b in zip(planes, planes2, strict=True)]
        wrong.append([np.square(a - b).sum((0, 1, 2)) for a, b in pairs])
        whole.append([np.square(a).sum((0, 1, 2)) for a, _ in pairs])
        cosines.append([_cosine(np.asarray(a), np.asarray(b)) for a, b in zip(gradients, gradients2, strict=True)])
    errors = {}
    for layer, error, square in zip(layers, _summed(wrong), _summed(whole), strict=True):
        active = square > 1e-6 * square.mean()
        errors[layer] = float(np.mean(error[active] / square[active]))
    means = np.mean(cosines, axis=0).tolist()
    return errors, {"+".join(o): cosine for o, cosine in zip(objectives, means, strict=True)}


def _answer(network: Any, layers: Sequence[str], objectives: Sequence[Sequence[int]]) -> Callable[[Any], Any]:
    import keras
    import tensorflow as tf

    planes = planes_of(network)
    part = keras.Model(network.inputs, [planes[layer] for layer in layers])

    def answer(image: Any) -> Any:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(image)
            found = part([image], training=False)
            found = found if isinstance(found, list) else [found]
            values = [tf.add_n([tf.reduce_mean(found[place]) for place in places]) for places in objectives]
        return found, [tape.gradient(value, image) for value in values]

    traced: Callable[[Any], Any] = tf.function(answer, autograph=False, reduce_retracing=True)
    return traced


def _summed(rows: Sequence[Sequence[NDArray[Any]]]) -> list[NDArray[Any]]:
    return [np.sum(column, axis=0) for column in zip(*rows, strict=True)]


def _cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b) + 1e-30))
