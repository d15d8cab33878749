"""Finds dreams to learn from: those of a data set in any format, or the pictures of a folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from raydream.data import codec
from raydream.data.inputs import images_among
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
        why = "is an unfinished data set: finish it first" if _unfinished(source) else "holds no dreams"
        raise UsageError(f"data {source} {why}")
    return Dreams(folder=folder, names=names)


def _unfinished(source: str) -> bool:
    return bool(Folder(source).files("_raydream"))


def find_recipe(source: str, found: Dreams) -> Recipe | None:
    """The recipe of a data set's dreams: that of the data set, or else the one inside the first dream; None if neither.

    Raises:
        UsageError: the recipe is invalid.
    """
    if Folder(source).exists(_RECIPE):
        return Recipe.load(f"{source.rstrip('/')}/{_RECIPE}")
    inside = codec.read_metadata(Folder(found.folder).read(found.names[0])) or {}
    recipe = inside.get("recipe")
    return Recipe.parse(recipe, where=f"recipe inside {found.names[0]}") if isinstance(recipe, dict) else None
