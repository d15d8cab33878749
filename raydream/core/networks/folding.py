"""Folds batch norms into the convolutions before them: the same network with half as many layers to run."""

from __future__ import annotations

from typing import Any

import numpy as np

from raydream.core.networks.geometry import nodes
from raydream.types import Pooling


def folded(model: Any, pooling: Pooling, dtype: str) -> Any:
    """A copy whose batch norms are folded into the convolutions before them, with the pooling and dtype given.

    With y = gamma * (w x - mean) / sqrt(variance + epsilon) + beta, the scale goes into w and the rest is a bias.
    """
    import keras

    folds = _folds(model)
    norms = {norm.name for norm in folds.values()}

    def clone(layer: Any) -> Any:
        config = layer.get_config() | {"dtype": dtype}
        kind = type(layer)
        if pooling == "average" and kind is keras.layers.MaxPooling2D:
            kind = keras.layers.AveragePooling2D
        if layer.name in folds:
            config["use_bias"] = True
        return kind.from_config(config)

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        return args[0] if layer.name in norms else layer(*args, **kwargs)

    entry = keras.Input((None, None, 3), dtype=dtype)
    copy = keras.models.clone_model(model, input_tensors=[entry], clone_function=clone, call_function=call)
    copy.trainable = False
    for layer in copy.layers:
        if layer.weights:
            original = model.get_layer(layer.name)
            norm = folds.get(layer.name)
            layer.set_weights(_fold(original, norm) if norm else original.get_weights())
    return copy


def _folds(model: Any) -> dict[str, Any]:
    """Convolution name -> the batch norm that is its only reader."""
    import keras

    readers: dict[int, list[Any]] = {}
    graph = nodes(model)
    for operation, node in graph:
        for tensor in node.input_tensors:
            readers.setdefault(id(tensor), []).append(operation)
    outputs = {id(tensor) for tensor in model.outputs}
    folds = {}
    for layer, node in graph:
        if type(layer) is not keras.layers.Conv2D or layer.activation is not keras.activations.linear:
            continue
        plane = id(node.output_tensors[0])
        following = readers.get(plane, [])
        alone = len(following) == 1 and plane not in outputs
        if alone and type(following[0]) is keras.layers.BatchNormalization:
            folds[layer.name] = following[0]
    return folds


def _fold(convolution: Any, norm: Any) -> list[np.ndarray[Any, Any]]:
    kernel, *bias = (np.asarray(w, np.float64) for w in convolution.get_weights())
    scale = 1.0 / np.sqrt(np.asarray(norm.moving_variance, np.float64) + norm.epsilon)
    if norm.gamma is not None:
        scale = scale * np.asarray(norm.gamma, np.float64)
    shift = (bias[0] if bias else 0.0) - np.asarray(norm.moving_mean, np.float64)
    offset = 0.0 if norm.beta is None else np.asarray(norm.beta, np.float64)
    return [kernel * scale, shift * scale + offset]
