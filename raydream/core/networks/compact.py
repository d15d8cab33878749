"""Compact networks: a network and its weights of few bits in one `.npz` file that needs no other.

    about                JSON as bytes: format, backbone, through, bits, and the network as a Keras configuration
    LAYER/codes          int8, shaped as the convolution's kernel
    LAYER/scales         float16 (outputs,): kernel = codes * scales
    LAYER/bias           float32 (outputs,)
    LAYER/0, LAYER/1     float32: the weights of a layer that is not quantized, as Keras orders them

zlib, which `.npz` uses, comes close to the entropy of the codes, so they are not packed. Nothing is pickled.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from raydream.core.networks.quantization import Quantized
from raydream.errors import UsageError

_FORMAT = 1


@dataclass(frozen=True, eq=False)
class Compact:
    """A compact network.

    Attributes:
        model: a Keras functional model, its weights back in float32.
        backbone: the name of the backbone it was made from, as `inception_v3`, or its file's name.
        about: what else the file says: `through` (its last layer) and `bits`.
    """

    model: Any
    backbone: str
    about: dict[str, Any]


def dump(model: Any, quantized: Mapping[str, Quantized], backbone: str, about: Mapping[str, Any]) -> bytes:
    """The bytes of a compact file; the same for the same arguments.

    Args:
        model: the network, a Keras functional model.
        quantized: by the names of its convolutions; other layers are kept in float32.
        backbone, about: see `Compact`.
    """
    network = json.loads(model.to_json())
    network["config"]["name"] = backbone  # not the one that Keras made up: it counts the models of the whole process
    known = {"format": _FORMAT, "backbone": backbone, **about, "network": network}
    arrays: dict[str, Any] = {"about": np.frombuffer(json.dumps(known).encode(), np.uint8)}
    for layer in model.layers:
        if layer.name in quantized:
            part = quantized[layer.name]
            arrays[f"{layer.name}/codes"] = part.codes.reshape(layer.kernel.shape)
            arrays[f"{layer.name}/scales"] = part.scales
            arrays[f"{layer.name}/bias"] = part.bias
        else:
            arrays |= {f"{layer.name}/{i}": np.asarray(w, np.float32) for i, w in enumerate(layer.get_weights())}
    sink = io.BytesIO()
    np.savez_compressed(sink, **arrays)
    return sink.getvalue()


def load(path: str, what: str = "weights") -> Compact:
    """Reads a compact file, without running code that it may carry.

    Raises:
        UsageError: there is no such file, or it is not such a file, or not all of one.
    """
    import keras

    if not Path(path).is_file():
        raise UsageError(f"{what} file {path} does not exist")
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            about = json.loads(file["about"].tobytes())
            if about.pop("format") != _FORMAT:
                raise UsageError(f"{what} file {path} is of another version of raydream")
            model = keras.saving.deserialize_keras_object(about.pop("network"), safe_mode=True)
            for layer in model.layers:
                if layer.weights:
                    layer.set_weights(_weights(file, layer))
    except (ValueError, TypeError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{what} file {path} is not a compact network, or not all of one") from error
    return Compact(model, about.pop("backbone"), about)


def _weights(file: Mapping[str, Any], layer: Any) -> list[Any]:
    if f"{layer.name}/codes" not in file:
        return [file[f"{layer.name}/{i}"] for i in range(len(layer.weights))]
    codes, scales, bias = (file[f"{layer.name}/{part}"] for part in ("codes", "scales", "bias"))
    return [codes.astype(np.float32) * scales.astype(np.float32), bias]
