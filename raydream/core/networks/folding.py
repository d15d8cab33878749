"""Folds batch norms into the convolutions before them, which halves the number of layers to run."""

from __future__ import annotations

from typing import Any

import numpy as np

from raydream.core.networks.graph import nodes, output_names
from raydream.types import KerasModel, Layer, Pooling, Tensor, Weight


def folded(model: KerasModel, pooling: Pooling, dtype: str) -> KerasModel:
    """A copy with the given pooling and dtype, whose batch norms are folded into the convolutions before them.

    In y = gamma * (w x - mean) / sqrt(variance + epsilon) + beta, the factor of x becomes the new kernel, and the rest
    becomes the bias.
    """
    import keras

    folds = _folds(model)
    norms = {norm.name for norm in folds.values()}

    def clone(layer: Layer) -> Layer:
        config = layer.get_config() | {"dtype": dtype}
        kind = type(layer)
        if pooling == "average" and kind is keras.layers.MaxPooling2D:
            kind = keras.layers.AveragePooling2D
        if layer.name in folds:
            config["use_bias"] = True
        return kind.from_config(config)

    def call(layer: Any, *args: Tensor, **kwargs: Any) -> Tensor:
        return args[0] if layer.name in norms else layer(*args, **kwargs)

    image = keras.Input((None, None, 3), dtype=dtype)
    copy = keras.models.clone_model(model, input_tensors=[image], clone_function=clone, call_function=call)
    copy.trainable = False
    for layer in copy.layers:
        if layer.weights:
            original = model.get_layer(layer.name)
            norm = folds.get(layer.name)
            layer.set_weights(_fold(original, norm) if norm else original.get_weights())
    return copy


def _folds(model: KerasModel) -> dict[str, Layer]:
    """Convolution name -> batch norm, if nothing else reads the convolution's output."""
    import keras

    readers: dict[str, list[Layer]] = {}
    graph = nodes(model)
    for layer, inputs in graph:
        for name in inputs:
            readers.setdefault(name, []).append(layer)
    outputs = output_names(model)
    folds = {}
    for layer, _ in graph:
        reader = readers.get(layer.name, [])
        alone = len(reader) == 1 and layer.name not in outputs
        if alone and _is_linear(layer) and type(reader[0]) is keras.layers.BatchNormalization:
            folds[layer.name] = reader[0]
    return folds


def _is_linear(layer: Any) -> bool:
    """Whether a layer is a convolution without an activation of its own."""
    import keras

    return type(layer) is keras.layers.Conv2D and layer.activation is keras.activations.linear


def _fold(convolution: Layer, norm: Any) -> list[Weight]:
    kernel, *bias = (np.asarray(w, np.float64) for w in convolution.get_weights())
    scale = 1.0 / np.sqrt(np.asarray(norm.moving_variance, np.float64) + norm.epsilon)
    if norm.gamma is not None:
        scale = scale * np.asarray(norm.gamma, np.float64)
    shift = (bias[0] if bias else 0.0) - np.asarray(norm.moving_mean, np.float64)
    offset = 0.0 if norm.beta is None else np.asarray(norm.beta, np.float64)
    return [kernel * scale, shift * scale + offset]
