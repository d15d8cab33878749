"""Lists the images of an input folder; file names decide what is an image."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from raydream.data import codec
from raydream.data.storage import Folder
from raydream.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Input:
    """What an input folder holds.

    Attributes:
        ids: paths of the images below the folder, sorted.
        sizes: size of each image's file in bytes; 0 if unknown.
        passed_over: files that are ignored, since their endings are not those of images.
    """

    ids: list[str]
    sizes: list[int]
    passed_over: list[str]

    def only(self, ids: Collection[str]) -> Input:
        """The same input with only some of its images."""
        if not ids:
            return replace(self, ids=[], sizes=[])
        kept = [(id, size) for id, size in zip(self.ids, self.sizes, strict=True) if id in ids]
        return replace(self, ids=[id for id, _ in kept], sizes=[size for _, size in kept])

    def first(self, number: int) -> Input:
        """The same input with only its first images."""
        return replace(self, ids=self.ids[:number], sizes=self.sizes[:number])


def list_input(url: str) -> Input:
    """Lists the images below a folder, without hidden files.

    Raises:
        UsageError: the folder holds no images.
    """
    found = Folder(url).files()
    ids, rest = images_among(found, codec.IMAGE_ENDINGS)
    if not ids:
        raise UsageError(f"input {url} {'holds no images' if found else 'is empty, or not a folder'}")
    return Input(ids=ids, sizes=[found[id] for id in ids], passed_over=rest)


def images_among(names: Iterable[str], endings: frozenset[str]) -> tuple[list[str], list[str]]:
    """Splits file names into images (names with one of the endings, or without any) and others; both sorted.

    Hidden files are in neither list.
    """
    images: list[str] = []
    others: list[str] = []
    for name in sorted(names):
        if not name.startswith(".") and "/." not in name:
            known = PurePosixPath(name).suffix.lower() in endings or not PurePosixPath(name).suffix
            (images if known else others).append(name)
    return images, others
