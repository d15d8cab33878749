"""Lays out what the contenders read: the photographs, and the network for Keras and as plain data for PyTorch."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench import common
from tests.bench.common import Node

# Odd and even sizes: what "same" padding and strides do at the edges differs between them.
PROBES = ((299, 299), (254, 217))


def play(task: common.Task) -> dict[str, Any]:
    """Fills the task's folder; `round` is the number of photographs."""
    from raydream.core.networks import loading
    from raydream.data import codec

    (task.place / "photos").mkdir()
    for name, data in _photos(task.round):
        (task.place / "photos" / name).write_bytes(data)
    files = sorted((task.place / "photos").iterdir())
    images = [codec.fit(codec.decode(f.read_bytes()), (common.SIZE, common.SIZE)) for f in files]
    np.save(task.place / "images.npy", np.stack(images))

    import keras

    whole = loading.load("inception_v3", task.weights).model
    model = keras.Model(whole.inputs, [whole.get_layer(layer).output for layer in common.LAYERS])
    model.save(task.place / "network.keras")
    probes = [_probe(model, images[0][:height, :width][None]) for height, width in PROBES]
    (task.place / "network.pickle").write_bytes(pickle.dumps((_nodes(model), probes)))
    return {"photos": len(files), "source": "photographs" if _folder().is_dir() else "raydream.data.scenery"}


def _folder() -> Path:
    return common.SHARED / "images" / "photos"


def _photos(count: int) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of some photographs, spread over the folder; of generated scenes if there is no folder."""
    from raydream.data import codec, scenery

    if not _folder().is_dir():
        for name, image in scenery.collection(count):
            yield name.replace("/", "-"), codec.encode(image)
        return
    files = sorted(_folder().iterdir())
    for index in range(count):
        file = files[index * len(files) // count]
        yield file.name, file.read_bytes()


def _nodes(model: Any) -> list[Node]:
    """The layers in an order in which each comes after those it reads."""
    from raydream.core.networks import graph

    uses = graph.nodes(model)
    places = {layer.name: place for place, (layer, _) in enumerate(uses)}
    return [
        Node(
            name=layer.name,
            kind=type(layer).__name__,
            inputs=tuple(places[name] for name in inputs),
            config=layer.get_config(),
            weights=layer.get_weights(),
        )
        for layer, inputs in uses
    ]


def _probe(model: Any, image: Any) -> tuple[Any, list[Any]]:
    return image, [np.asarray(plane) for plane in model(image, training=False)]


if __name__ == "__main__":
    common.main(play)
