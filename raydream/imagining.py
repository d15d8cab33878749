"""Dreams from noise: the photograph is noise with the spectrum and the colours of natural images.

The id of such a photograph is `noise:NUMBER:CONTRAST`. With the size and the seed of a dream, it is enough to make the
noise again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from raydream import api
from raydream.api import Dream, Photograph
from raydream.core.networks.backbones import Backbone
from raydream.data import codec, provenance
from raydream.data.storage import Folder
from raydream.recipe import Recipe
from raydream.types import Size

CONTRAST = 40.0  # of the noise, relative to that of lucid's start images: soft shapes in pale colours
_SIDE = 512  # pixels, if the recipe has no size
_ID = re.compile(r"noise:\d+:(\d+(?:\.\d+)?)")


def is_noise(id: str) -> bool:
    """Whether the id of a photograph is that of noise."""
    return _ID.fullmatch(id) is not None


def noise(id: str, seed: int, size: Size) -> Photograph:
    """The noise with an id and a seed as a photograph; `size` is (height, width) in pixels."""
    from raydream.core import canvas

    match = _ID.fullmatch(id)
    assert match, id
    (image,) = canvas.noise(size, 1, seed, float(match[1]))
    return Photograph(id, image, provenance.digest_of_pixels(image))


def size_of(recipe: Recipe) -> Size:
    """The size (height, width) of a dream from noise; a square unless the recipe has a width and a height."""
    width, height = recipe.size if isinstance(recipe.size, tuple) else (recipe.size or _SIDE, recipe.size or _SIDE)
    return height, width


def dreamed(
    recipe: Recipe, backbone: Backbone, number: int, contrasts: Sequence[float] = (CONTRAST,), progress: bool = True
) -> Dream:
    """Dreams noise.

    Args:
        recipe, backbone: a resolved recipe and its backbone.
        number: another number gives another noise.
        contrasts: contrasts of the noise, lowest first. The first one on which the objective is above 0 is used, since
            a ReLU that gives 0 also has a gradient of 0.
        progress: whether to show a progress bar.
    """
    from raydream.core import engine

    for contrast in contrasts:
        id = f"noise:{number}:{contrast:g}"
        photograph = noise(id, recipe.seed_of(id), size_of(recipe))
        if len(contrasts) > 1 and engine.measure(photograph.image[None], recipe, backbone)[0] > 0:
            break
    return api.dreamed(photograph, recipe, backbone, progress=progress)


def kept(folder: Folder, name: str, inside: Mapping[str, Any]) -> bytes | None:
    """The file in the folder if its metadata have these values, such as the digest of its recipe; else None."""
    data = folder.read(name) if folder.exists(name) else b""
    found = (codec.read_metadata(data) if data else None) or {}
    return data if data and all(found.get(key) == value for key, value in inside.items()) else None
