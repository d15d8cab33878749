"""Finds dreams to learn from: those of a data set in any format, or the pictures of a folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from raydream.data import codec
from raydream.data.inputs import images_among
from raydream.data.provenance import checked_recipe
from raydream.data.storage import Folder
from raydream.data.unpacking import image_columns, parquet_files, tar_files, unpack_once
from raydream.errors import UsageError
from raydream.recipe import Recipe

_RECIPE = "recipe.yaml"


@dataclass(frozen=True, kw_only=True)
class Dreams:
    """Dreams as single image files.

    Attributes:
        folder: path or URL of their folder.
        names: paths of the images below it, sorted.
    """

    folder: str
    names: list[str]


def find_dreams(source: str, out: Folder, say: Callable[[str], None]) -> Dreams:
    """The dreams of a data set, or the images of a folder.

    Args:
        source: path or URL of the folder.
        out: output of the job, into which the images inside Parquet or tar files are written first.
        say: called with a line of progress.

    Raises:
        UsageError: there are none.
    """
    folder = source.rstrip("/")
    if files := parquet_files(source):
        columns = image_columns(source, files[0])
        folder = unpack_once(source, out, ("dream" if "dream" in columns else columns[0], None), say)
    elif tar_files(source):
        folder = unpack_once(source, out, (None, None), say)
    elif Folder(source).files("data/dream"):
        folder = f"{folder}/data/dream"
    names, _ = images_among(Folder(folder).files(), codec.IMAGE_ENDINGS)
    if not names:
        there = Folder(source).files()
        unfinished = any(name.startswith("_raydream/") for name in there)
        why = "is an unfinished data set: finish it first" if unfinished else "holds no dreams"
        raise UsageError(f"data {source} {why if there else 'is empty, or not a folder'}")
    return Dreams(folder=folder, names=names)


def find_recipe(source: str, found: Dreams, name: str) -> Recipe | None:
    """The recipe of a data set's dreams: that of the data set, or else that inside a dream; None if neither has one.

    No file that it names is downloaded; see `provenance.checked_recipe`.

    Args:
        source: path or URL of the data set.
        found: its dreams.
        name: the dream to look into.

    Raises:
        UsageError: the recipe is invalid, or its network is not on this machine.
    """
    if Folder(source).exists(_RECIPE):
        place = f"{source.rstrip('/')}/{_RECIPE}"
        return checked_recipe({"recipe": Recipe.load(place).as_dict()}, {}, place)
    inside = codec.read_metadata(Folder(found.folder).read(name)) or {}
    return checked_recipe(inside, {}, name) if isinstance(inside.get("recipe"), dict) else None
