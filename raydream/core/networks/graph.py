"""The graph of a Keras model, read through Keras' public API: the configuration with which Keras saves models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from raydream.types import KerasModel, Layer, Tensor


class Node(NamedTuple):
    """One use of a layer; `inputs` names the layers whose outputs it reads."""

    layer: Layer
    inputs: tuple[str, ...]


def nodes(model: KerasModel) -> list[Node]:
    """Each use of each layer of a functional model, in the order of execution: inputs before their readers."""
    by_name = {operation.name: operation for operation in model.operations}
    return [
        Node(by_name[entry["name"]], tuple(_names(use)))
        for entry in model.get_config()["layers"]
        for use in entry["inbound_nodes"] or [None]  # an input layer has no inbound nodes
    ]


def output_names(model: KerasModel) -> list[str]:
    """The layers of a functional model's outputs, in order."""
    outputs = model.get_config()["output_layers"]
    return [outputs[0]] if isinstance(outputs[0], str) else [name for name, *_ in outputs]


def outputs_of(model: KerasModel) -> dict[str, Tensor]:
    """Layer -> its symbolic output. The model must be the first graph of its layers, as in a loaded model."""
    return {layer.name: layer.output for layer in model.layers}


def _names(saved: Any) -> Iterator[str]:
    """Names of the layers whose outputs are in the saved arguments of a layer's call."""
    if isinstance(saved, dict) and saved.get("class_name") == "__keras_tensor__":
        yield saved["config"]["keras_history"][0]
    elif isinstance(saved, dict | list | tuple):
        for part in saved.values() if isinstance(saved, dict) else saved:
            yield from _names(part)
