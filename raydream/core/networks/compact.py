"""Compact networks: a network and its quantized weights in one `.npz` file.

    about                JSON as bytes: format, backbone, through, bits, and the network as its Keras configuration
    LAYER/codes          int8, shaped as the convolution's kernel
    LAYER/scales         float16 (outputs,): kernel = codes * scales
    LAYER/bias           float32 (outputs,)
    LAYER/0, LAYER/1     float32: the weights of a layer that is not quantized, as Keras orders them

Before compression, a code takes one byte. zlib, which `.npz` uses, compresses the codes almost to their entropy, so
packing them into fewer bits would save nothing. Nothing is pickled.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from raydream.core.networks.quantization import Quantized
from raydream.errors import UsageError
from raydream.types import KerasModel, Layer, Weight

_FORMAT = 1


@dataclass(frozen=True, eq=False)
class Compact:
    """A compact network.

    Attributes:
        model: a functional Keras model with float32 weights.
        backbone: the backbone it was made from: a name such as `inception_v3`, or the name of a file.
        about: other facts in the file: `through` (the last layer) and `bits`.
    """

    model: KerasModel
    backbone: str
    about: dict[str, Any]


def dump(model: KerasModel, quantized: Mapping[str, Quantized], backbone: str, about: Mapping[str, Any]) -> bytes:
    """The bytes of a compact file; equal arguments give equal bytes.

    Args:
        model: a functional Keras model.
        quantized: weights of its convolutions, by layer name; the weights of other layers stay in float32.
        backbone, about: see `Compact`.
    """
    network = json.loads(model.to_json())
    network["config"]["name"] = backbone  # Keras' own names contain a counter of the process, so they change
    known = {"format": _FORMAT, "backbone": backbone, **about, "network": network}
    arrays: dict[str, Any] = {"about": np.frombuffer(json.dumps(known).encode(), np.uint8)}
    for layer in model.layers:
        if layer.name in quantized:
            part = quantized[layer.name]
            arrays[f"{layer.name}/codes"] = part.codes.reshape(layer.weights[0].shape)
            arrays[f"{layer.name}/scales"] = part.scales
            arrays[f"{layer.name}/bias"] = part.bias
        else:
            arrays |= {f"{layer.name}/{i}": np.asarray(w, np.float32) for i, w in enumerate(layer.get_weights())}
    sink = io.BytesIO()
    np.savez_compressed(sink, **arrays)
    return sink.getvalue()


def load(path: str, what: str = "weights") -> Compact:
    """Reads a compact file. No code inside the file is run.

    Args:
        path: path of the file.
        what: role of the file, such as `backbone`; the first word of error messages.

    Raises:
        UsageError: the file does not exist, is not a compact network, or is incomplete.
    """
    import keras

    if not Path(path).is_file():
        raise UsageError(f"{what} file {path} does not exist")
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            about = json.loads(file["about"].tobytes())
            if about.pop("format") != _FORMAT:
                raise UsageError(f"{what} file {path} has a format that this version of raydream does not read")
            model = keras.saving.deserialize_keras_object(about.pop("network"), safe_mode=True)
            for layer in model.layers:
                if layer.weights:
                    layer.set_weights(_weights(file, layer))
            return Compact(model, about.pop("backbone"), about)
    except UsageError:
        raise
    except Exception as error:  # damaged bytes make NumPy, zipfile and Keras raise nearly anything
        raise UsageError(f"{what} file {path} is not a compact network, or is incomplete") from error


def _weights(file: Mapping[str, Any], layer: Layer) -> list[Weight]:
    if f"{layer.name}/codes" not in file:
        return [file[f"{layer.name}/{i}"] for i in range(len(layer.weights))]
    codes, scales, bias = (file[f"{layer.name}/{part}"] for part in ("codes", "scales", "bias"))
    if scales.shape != bias.shape or not np.isfinite(scales).all():
        raise ValueError(f"the scales of {layer.name} are damaged")
    return [codes.astype(np.float32) * scales.astype(np.float32), bias]
