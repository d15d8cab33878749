"""Provenance: the metadata inside a dream (recipe, seed, digests), which is enough to make it again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

import numpy as np

from raydream import __version__, assets
from raydream.data import codec, storage
from raydream.errors import UsageError
from raydream.recipe import DEFAULT_WEIGHTS, Recipe
from raydream.types import Image


def inside(recipe: Recipe, id: str, seed: int, source_digest: str, dreamer: str | None = None) -> dict[str, Any]:
    """The metadata in a dream's file, from which the dream can be made again with its photograph."""
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
    """Reads the metadata that `inside` makes from a dream's file.

    Raises:
        UsageError: the metadata are missing or incomplete, or the recipe alone did not make the picture.
    """
    found: Any = codec.read_metadata(data) or {}
    kinds = {"recipe": dict, "id": str, "seed": int, "source_sha256": str}
    if not all(isinstance(found.get(key), kind) for key, kind in kinds.items()) or found["seed"] < 0:
        raise UsageError(f"{name} has no recipe inside: it was not made by raydream, or its metadata are lost")
    if found.get("dreamer"):
        raise UsageError(f"{name} was made by the dreamer {found['dreamer']}, not by its recipe")
    if found.get("motion"):
        raise UsageError(f"{name} is a frame of a moving picture: it was not made from its photograph alone")
    return dict(found)


def photograph(image: str, source: str | None, inside: dict[str, Any]) -> bytes:
    """The bytes of the photograph of the dream `image`, checked against the digest inside the dream.

    `source` is the photograph, or a folder above it; None for the folder of the dream. Metadata can come from anyone,
    so an id that leads out of the folder is refused.

    Raises:
        UsageError: there is no photograph, its digest differs, or the id leads out of the folder.
    """
    place = source or storage.split(image)[0]
    if "://" in place or not Path(place).is_file():
        if not _is_below(inside["id"], place):
            raise UsageError(f"{image}: its id {inside['id']!r} leads out of the folder: name the file with --source")
        place = storage.join(place, inside["id"])
    data = storage.read(place, what="photograph")
    if inside["source_sha256"] != hashlib.sha256(data).hexdigest() and inside["source_sha256"] != _pixels_of(data):
        raise UsageError(f"{place} is not the photograph {inside['id']} that was dreamed: its digest differs")
    return data


def _is_below(id: str, folder: str) -> bool:
    """Whether an id stays below the path or URL of a folder; in a URL, `::` would chain another fsspec file system."""
    ways = PurePosixPath(id), PurePath(id)
    return not any(way.anchor or ".." in way.parts for way in ways) and not ("://" in folder and "::" in id)


def digest_of_pixels(image: Image) -> str:
    """SHA-256 of an image (height, width, 3) in [-1, 1], for photographs without a file."""
    pixels = np.ascontiguousarray(image, np.float32)
    return hashlib.sha256(f"{pixels.shape} float32\n".encode() + pixels.tobytes()).hexdigest()


def _pixels_of(data: bytes) -> str | None:
    try:
        return digest_of_pixels(codec.decode(data))
    except (ValueError, MemoryError):
        return None


def checked_recipe(inside: dict[str, Any], changes: Mapping[str, Any], image: str) -> Recipe:
    """The recipe inside a dream, with some values changed, if its network may be loaded.

    If the picture, and not the user, names the file of a network, the file must already be on this machine and have
    the digest that the picture states. Nothing is downloaded because of a picture.

    Raises:
        UsageError: the recipe is invalid, or the network's file is missing or has another digest.
    """
    recipe = Recipe.parse(inside["recipe"], changes, where="recipe inside")
    inner = Recipe.parse(inside["recipe"], where="recipe inside").pictures
    recipe = recipe.with_picture_files({
        name: (_known(name, recipe, image) if name in inner else name, d) for name, d in recipe.pictures.items()
    })  # fmt: skip
    key = "backbone" if recipe.backbone not in DEFAULT_WEIGHTS else "weights"
    file = str(getattr(recipe, key))
    if key in changes or file in ("compact", "imagenet"):
        return recipe
    known = (path for path in _copies(file, recipe.backbone) if assets.digest(path) == recipe.weights_digest)
    if (here := next(known, None)) is None:
        raise UsageError(
            f"{image} names the {key} {file!r}: no file with its digest is on this machine, and a picture may not "
            f"start a download: use --set {key}=..."
        )
    return recipe.changed(**{key: here})


def renamed(recipe: Recipe, named: Recipe) -> Recipe:
    """A recipe of `checked_recipe`, resolved, with the names of `named`, since its files may be copies."""
    files = zip(recipe.pictures.items(), named.pictures, strict=True)
    pictures = {here: (name, digest) for (here, digest), name in files}
    return recipe.changed(backbone=named.backbone, weights=named.weights).with_picture_files(pictures)


def _known(name: str, recipe: Recipe, image: str) -> str:
    """A local copy of a guide, style or mask; a `UsageError` if there is none, since a picture starts no download."""
    wanted = recipe.pictures[name]
    copies = map(str, assets.kept_copies(name)) if "://" in name else [] if is_remote(name) else [name]
    found = (path for path in copies if Path(path).is_file() and wanted in (None, assets.digest(path)))
    if (here := next(found, None)) is None:
        raise UsageError(f"{image} needs the picture {name!r}: no file with its digest is on this machine")
    return here


def _copies(file: str, backbone: str) -> list[str]:
    """Local files that may be the one in the recipe."""
    if "://" in file:
        return [str(path) for path in assets.kept_copies(file)]
    given = assets.named_weights(backbone, "imagenet")
    candidates = [file, *([given] if given and given != "imagenet" else [])]
    return [path for path in candidates if "://" not in path and not is_remote(path) and Path(path).is_file()]


def is_remote(path: str) -> bool:
    """Whether the path is on another machine (a UNC path of Windows)."""
    return path.replace("\\", "/").startswith("//")
