"""What a dream says of itself: its recipe and seed inside the picture, enough to make it again."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from raydream import __version__
from raydream.data import codec, storage
from raydream.errors import UsageError
from raydream.recipe import Recipe


def inside(recipe: Recipe, id: str, seed: int, source_digest: str, dreamer: str | None = None) -> dict[str, Any]:
    """What a dream carries inside its file, so that it can be made again from its photograph."""
    known = {
        "raydream": __version__,
        "id": id,
        "seed": seed,
        "source_sha256": source_digest,
        "recipe_digest": recipe.digest,
        "recipe": recipe.as_dict(),
    }
    return known | ({"dreamer": dreamer} if dreamer else {})


def found_inside(data: bytes, name: str) -> dict[str, Any]:
    """What `inside` put into a dream's file, if it is enough to make the dream again.

    Raises:
        UsageError: it is not; or a dreamer made it, not its recipe.
    """
    found: Any = codec.read_metadata(data) or {}
    kinds = {"recipe": dict, "id": str, "seed": int, "source_sha256": str}
    if not all(isinstance(found.get(key), kind) for key, kind in kinds.items()) or found["seed"] < 0:
        raise UsageError(f"{name} has no recipe inside: it was not made by raydream, or lost it")
    if found.get("dreamer"):
        raise UsageError(f"{name} was made by the dreamer {found['dreamer']}, not by its recipe")
    return dict(found)


def photograph(image: str, source: str | None, inside: dict[str, Any]) -> bytes:
    """The bytes of the photograph of a dream, `image`, checked against the digest inside the dream.

    It is at `source`, or below that folder; without one, below the folder of the dream.

    Raises:
        UsageError: there is none, or it is another one.
    """
    place = source or os.path.dirname(image) or "."
    if "://" in place or not Path(place).is_file():
        place = f"{place.rstrip('/')}/{inside['id']}"
    data = storage.read(place, what="photograph")
    if hashlib.sha256(data).hexdigest() != inside["source_sha256"]:
        raise UsageError(f"{place} is not the photograph {inside['id']} that was dreamed: its digest differs")
    return data
