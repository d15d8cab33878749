"""Feature visualization: the picture that a channel of a network responds to most, dreamed from noise.

(Olah et al., "Feature Visualization", Distill 2017.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from raydream import assets, imagining
from raydream.data import codec
from raydream.data.storage import Folder
from raydream.errors import UsageError
from raydream.recipe import Recipe

if TYPE_CHECKING:
    from raydream.pages.atlas import Channel
    from raydream.types import Image

_CONTRASTS = (1.0, 4.0, 16.0, 64.0)  # see `imagining.dreamed`


def chosen(text: str, count: int) -> list[int]:
    """The channels in a text such as `0-15,40` or `all`, of a layer with `count` channels.

    Raises:
        UsageError: the text is wrong, or names a channel that the layer does not have.
    """
    if text == "all":
        return list(range(count))
    numbers: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not (first.isdecimal() and (last or first).isdecimal()):
            raise UsageError(f"channels {text!r}: must be numbers and ranges such as 0-15,40, or all")
        start, end = int(first), int(last or first)
        if max(start, end) >= count:
            raise UsageError(f"channels {text!r}: the layer has channels 0 to {count - 1}, not {max(start, end)}")
        numbers += range(start, end + 1)
    if not numbers:
        raise UsageError(f"channels {text!r}: a range goes from a smaller to a larger number")
    return list(dict.fromkeys(numbers))


def recipe_for(layer: str, channel: int, values: Mapping[str, Any]) -> Recipe:
    """The recipe of a channel: the preset `channel`, with some values changed."""
    # A direction, since its channel is an argument of the traced functions: another channel needs no new trace.
    term = {"kind": "direction", "layer": layer, "channels": [channel], "values": [1.0], "power": 0.0}
    return Recipe.load("channel", {**values, "objective": [term]})


def pictures(out: Folder, layer: str, channels: Sequence[int], values: Mapping[str, Any]) -> Iterator[Channel]:
    """Makes the picture of each channel in a folder; pictures of an earlier run with the same recipe are kept.

    Args:
        out: the folder; it gets LAYER/channel-0000.png and so on, with the recipe inside.
        layer: a layer of the backbone.
        channels: numbers of its channels.
        values: values of the recipe that differ from the preset `channel`.

    Raises:
        UsageError: the recipe or the network cannot be used.
    """
    from raydream.core import engine
    from raydream.pages.atlas import Channel

    for channel in channels:
        recipe, backbone = assets.load(recipe_for(layer, channel, values))
        name = f"{layer}/channel-{channel:04d}.png"
        picture = imagining.kept(out, name, {"recipe_digest": recipe.digest})
        if picture is None:
            picture = imagining.dreamed(recipe, backbone, channel, _CONTRASTS, progress=False).encoded()
            out.write(name, picture)
        image = codec.decode(picture)[None]
        yield Channel(number=channel, picture=picture, activation=float(engine.measure(image, recipe, backbone)[0]))


def grid(found: Sequence[Channel]) -> Image:
    """The pictures in a grid that is about as wide as high: (height, width, 3) in [-1, 1]."""
    images = [codec.decode(channel.picture) for channel in found]
    columns = math.ceil(math.sqrt(len(images)))
    blank = np.full_like(images[0], -1.0)
    rows = [images[start : start + columns] for start in range(0, len(images), columns)]
    rows[-1] = [*rows[-1], *[blank] * (columns - len(rows[-1]))]
    return np.concatenate([np.concatenate(row, axis=1) for row in rows], axis=0)
