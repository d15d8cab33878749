"""Feature visualization: the picture that a channel of a network responds to most, dreamed from noise.

(Olah et al., "Feature Visualization", Distill 2017.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from raydream import assets
from raydream.data import codec, provenance
from raydream.data.storage import Folder
from raydream.errors import UsageError
from raydream.recipe import Recipe

if TYPE_CHECKING:
    from raydream.pages.atlas import Channel
    from raydream.types import Image

# Values that work for InceptionV3's layers: those of lucid, with fewer steps.
RECIPE: dict[str, Any] = {
    "size": 192,
    "octaves": 1,
    "steps": 128,
    "canvas": "fourier",
    "optimizer": "adam",
    "step_size": 0.05,
    "rotate": 5.0,
    "rescale": 0.1,
}
_ID = "noise"
# Of the noise: the smallest one with a response is used, since behind a ReLU there is no gradient without a response.
_CONTRASTS = (1.0, 4.0, 16.0, 64.0)


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
        numbers += range(int(first), int(last or first) + 1)
    if wrong := [n for n in numbers if n >= count]:
        raise UsageError(f"channels {text!r}: the layer has channels 0 to {count - 1}, not {wrong[0]}")
    if not numbers:
        raise UsageError(f"channels {text!r}: a range goes from a smaller to a larger number")
    return list(dict.fromkeys(numbers))


def recipe_for(layer: str, channel: int, values: dict[str, Any]) -> Recipe:
    """The recipe of a channel, from `RECIPE` and other values."""
    # A direction: another channel is no new trace.
    term = {"kind": "direction", "layer": layer, "channels": [channel], "values": [1.0], "power": 0.0}
    return Recipe.parse({**RECIPE, **values}, {"objective": [term]})


def pictures(out: Folder, layer: str, channels: Sequence[int], values: dict[str, Any]) -> Iterator[Channel]:
    """Makes the picture of each channel in a folder; pictures of an earlier run with the same recipe are kept.

    Args:
        out: the folder; it gets channel-0000.png and so on, with the recipe inside.
        layer: a layer of the backbone.
        channels: numbers of its channels.
        values: values of the recipe that differ from `RECIPE`.

    Raises:
        UsageError: the recipe or the network cannot be used.
    """
    from raydream.core import engine
    from raydream.pages.atlas import Channel

    for channel in channels:
        recipe, backbone = assets.load(recipe_for(layer, channel, values))
        name = f"channel-{channel:04d}.png"
        known = out.read(name) if out.exists(name) else b""
        if not _is_of(known, recipe):
            known = _dreamed(recipe, channel)
            out.write(name, known)
        image = codec.decode(known)[None]
        yield Channel(number=channel, picture=known, activation=float(engine.measure(image, recipe, backbone)[0]))


def _is_of(data: bytes, recipe: Recipe) -> bool:
    found = codec.read_metadata(data) if data else None
    return bool(found) and found.get("recipe_digest") == recipe.digest  # type: ignore[union-attr]


def _dreamed(recipe: Recipe, channel: int) -> bytes:
    """The picture of a channel as PNG, with its recipe inside."""
    from raydream.core import canvas, engine

    recipe, backbone = assets.load(recipe)
    width, height = recipe.size if isinstance(recipe.size, tuple) else (recipe.size, recipe.size)
    seed = recipe.seed_of(str(channel))
    for contrast in _CONTRASTS:
        noise = canvas.noise((int(height or 192), int(width or 192)), 1, seed, contrast)
        if engine.measure(noise, recipe, backbone)[0] > 0:
            break
    (dream,) = engine.dream(noise, recipe, backbone, [seed], assets.pictures(recipe))
    return codec.encode(dream, "png", provenance.inside(recipe, _ID, seed, provenance.digest_of_pixels(noise[0])))


def grid(found: Sequence[Channel]) -> Image:
    """The pictures in a grid that is about as wide as high: (height, width, 3) in [-1, 1]."""
    images = [codec.decode(channel.picture) for channel in found]
    columns = math.ceil(math.sqrt(len(images)))
    blank = np.full_like(images[0], -1.0)
    rows = [images[start : start + columns] for start in range(0, len(images), columns)]
    rows[-1] = [*rows[-1], *[blank] * (columns - len(rows[-1]))]
    return np.concatenate([np.concatenate(row, axis=1) for row in rows], axis=0)
