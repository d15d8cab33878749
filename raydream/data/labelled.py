"""Labelled images: listed from class folders or from a table, checked, and split by the hash of their files.

    found = list_labelled("photographs")                # photographs/banjo/1.jpg -> class `banjo`
    parts = split(found, digests, (0.8, 0.1, 0.1))      # name -> `train`, `validation` or `test`

A folder whose only folders are `train`, `validation` and `test` (or `val`) is already split, and stays so.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter, defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from raydream.data import codec
from raydream.data.inputs import images_among
from raydream.data.rows import printable
from raydream.data.storage import Folder
from raydream.data.storage import split as folder_of
from raydream.errors import UsageError, nearest

SPLITS = ("train", "validation", "test")
_SPLIT_FOLDERS = {**{name: name for name in SPLITS}, "valid": "validation", "val": "validation"}
_TABLES = (".csv", ".tsv", ".parquet")
_FEWEST = 3  # images of a class: one for each split
_PATH_COLUMNS = ("image", "file", "path", "filename", "file_name", "id")


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Images with a class each.

    Attributes:
        folder: path or URL of the folder of the images.
        names: paths of the images below the folder, sorted.
        labels: number of the class of each image.
        classes: names of the classes, sorted.
        given: the split of each image, if the input is already split; else empty.
    """

    folder: str
    names: tuple[str, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]
    given: tuple[str, ...] = ()

    def only(self, names: Container[str]) -> Labelled:
        """The same data with only some of its images; the classes stay."""
        kept = [n for n, name in enumerate(self.names) if name in names]
        return Labelled(
            folder=self.folder,
            names=tuple(self.names[n] for n in kept),
            labels=tuple(self.labels[n] for n in kept),
            classes=self.classes,
            given=tuple(self.given[n] for n in kept) if self.given else (),
        )


def list_labelled(source: str, label_column: str = "label") -> Labelled:
    """Lists labelled images. The images are not read.

    Args:
        source: path or URL of a folder of class folders, or of a CSV, TSV or Parquet table. A table names one image per
            row, by its path below the table's folder, in a column `image`, `file`, `path`, `filename`, `file_name` or
            `id`.
        label_column: the column of a table with the class.

    Raises:
        UsageError: there are no images or fewer than two classes, a class has too few images, two classes differ only
            by case, or a table lacks a column or has a value that is no class or no path below its folder.
    """
    found = find_labelled(source, label_column)
    check(source, found)
    return found


def find_labelled(source: str, label_column: str = "label") -> Labelled:
    """Like `list_labelled`, but the classes may have any number of images.

    Raises:
        UsageError: there are no images, an image is in no class folder, or a table lacks a column or has a value that
            is no class or no path below its folder.
    """
    return _from_table(source, label_column) if is_table(source) else _from_folders(source)


def is_table(source: str) -> bool:
    """Whether a path or URL is a table by its ending."""
    return PurePosixPath(source).suffix.lower() in _TABLES


def _from_folders(source: str) -> Labelled:
    folder = Folder(source)
    images, others = images_among(folder.files(), codec.IMAGE_ENDINGS)
    if not images:
        raise UsageError(f"{source} holds no images: it must hold a folder of images for each class")
    for name in images:
        if "/" not in name:
            raise UsageError(f"{source}: {name} is in no class folder: put each image into the folder of its class")
    split_already = all(name.partition("/")[0] in _SPLIT_FOLDERS for name in images)
    depth = 1 if split_already else 0
    for name in images:
        if name.count("/") <= depth:
            raise UsageError(f"{source}: {name} is in no class folder: put each image into the folder of its class")
    classes = [printable(name.split("/")[depth]) for name in images]
    empty = {name.split("/")[depth] for name in others if name.count("/") > depth} | _empty_folders(folder, depth)
    if missing := sorted(printable(name) for name in empty if printable(name) not in {*classes}):
        raise UsageError(f"{source}: class folder {missing[0]!r} holds no images: fill it or remove it")
    given = [_SPLIT_FOLDERS[name.partition("/")[0]] for name in images] if split_already else []
    return _numbered(source, images, classes, given)


def _empty_folders(folder: Folder, depth: int) -> set[str]:
    """Names of the class folders of a local folder; object stores have no empty folders."""
    if not folder.local:
        return set()
    pattern = "*/" * (depth + 1)
    return {path.name for path in Path(folder.path).glob(pattern) if not path.name.startswith(".")}


def _from_table(source: str, label_column: str) -> Labelled:
    folder, file = folder_of(source)
    table = _rows(source, Folder(folder).read(file) if Folder(folder).exists(file) else None)
    if not table:
        raise UsageError(f"table {source} has no rows: it must hold a row for each image")
    columns = [name for name in table[0] if isinstance(name, str)]
    if label_column not in columns:
        raise UsageError(f"{source} has no column {label_column!r}: {nearest(label_column, columns)}")
    path_column = next((name for name in _PATH_COLUMNS if name in columns and name != label_column), None)
    if path_column is None:
        raise UsageError(f"{source} has no column with the paths of images: name it {' or '.join(_PATH_COLUMNS)}")
    names, labels = _paths(source, table, path_column), _labels(source, table, label_column)
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UsageError(f"{source} names {twice[0]} in {Counter(names)[twice[0]]} rows: each image has one class")
    order = sorted(range(len(names)), key=names.__getitem__)
    return _numbered(folder, [names[n] for n in order], [labels[n] for n in order], [])


def _paths(source: str, table: Sequence[Mapping[str, Any]], column: str) -> list[str]:
    """The paths of the images, one for each row."""
    names = [row[column] for row in table]
    for row, name in enumerate(names, start=1):
        if not isinstance(name, str) or not name:
            raise UsageError(
                f"{source}: {column} of row {row} is no path: for images inside Parquet files, give the folder of "
                "the data set"
            )
        if name.startswith("/") or "://" in name:
            raise UsageError(
                f"{source}: {column} of row {row} is {name!r}: it must be a path below the folder of the table, such "
                "as banjo/1.jpg"
            )
    return names


def _labels(source: str, table: Sequence[Mapping[str, Any]], column: str) -> list[str]:
    """The classes, one for each row."""
    labels = [row[column] for row in table]
    for row, label in enumerate(labels, start=1):
        if not isinstance(label, str | int) or isinstance(label, bool) or label == "":
            raise UsageError(
                f"{source}: {column} of row {row} is {label!r}: it must be a class, as text or a whole number"
            )
    return [printable(str(label)) for label in labels]


def _rows(source: str, data: bytes | None) -> list[dict[str, Any]]:
    if data is None:
        raise UsageError(f"table {source} does not exist")
    try:
        if source.lower().endswith(".parquet"):
            import pyarrow.parquet as pq

            return list(pq.read_table(io.BytesIO(data)).to_pylist())
        delimiter = "\t" if source.lower().endswith(".tsv") else ","
        return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig")), delimiter=delimiter))
    except (ValueError, csv.Error, OSError) as error:
        raise UsageError(f"table {source} cannot be read: {' '.join(str(error).split())[:200]}") from error


def _numbered(folder: str, names: Sequence[str], classes: Sequence[str], given: Sequence[str]) -> Labelled:
    known = sorted({*classes})
    numbers = {name: number for number, name in enumerate(known)}
    return Labelled(
        folder=folder,
        names=tuple(names),
        labels=tuple(numbers[name] for name in classes),
        classes=tuple(known),
        given=tuple(given),
    )


def check(source: str, found: Labelled) -> None:
    """Raises the errors of `list_labelled` about the number of classes and of their images; `source` is named."""
    if len(found.classes) < 2:
        raise UsageError(f"{source} has {len(found.classes)} class: at least 2 are needed")
    folded: dict[str, str] = {}
    for name in found.classes:
        other = folded.setdefault(name.casefold(), name)
        if other != name:
            raise UsageError(f"{source}: the classes {other!r} and {name!r} differ only by case: rename one of them")
    counts = Counter(found.labels)
    for number, name in enumerate(found.classes):
        if counts[number] < _FEWEST:
            some = f"{counts[number]} image{'s' * (counts[number] != 1)}"
            raise UsageError(f"{source}: class {name!r} has {some}: at least {_FEWEST} are needed, one for each split")
    if not found.given:
        return
    seen = {(label, part) for label, part in zip(found.labels, found.given, strict=True)}
    for number, name in enumerate(found.classes):
        for part in SPLITS:
            if (number, part) not in seen:
                raise UsageError(f"{source}: class {name!r} has no image in {part}: each split needs every class")


def split(found: Labelled, digests: Mapping[str, str], shares: tuple[float, float, float], seed: int = 0) -> list[str]:
    """The split of each image: `train`, `validation` or `test`.

    In each class the images are ordered by the hash of their content, and cut by the shares, so that each class is in
    each split. The same files give the same splits, whatever their names, and equal files are in the same split.

    Args:
        found: the images.
        digests: SHA-256 of each image's file, in hexadecimal, by name.
        shares: the shares of training, validation and test; their sum is 1.
        seed: another seed gives other splits.

    Raises:
        UsageError: a class has too few different images.
    """
    if found.given:
        check(found.folder, found)  # some images may have been left out since the first check
        return list(found.given)
    groups: list[dict[str, list[int]]] = [defaultdict(list) for _ in found.classes]  # some may stay empty
    for n, (name, label) in enumerate(zip(found.names, found.labels, strict=True)):
        groups[label][_mixed(digests[name], seed)].append(n)
    parts = [""] * len(found.names)
    for label, group in enumerate(groups):
        if len(group) < _FEWEST:
            raise UsageError(
                f"{found.folder}: class {found.classes[label]!r} has {len(group)} different images that can be read: "
                f"at least {_FEWEST} are needed, one for each split"
            )
        for part, digest in zip(_cut(len(group), shares), sorted(group), strict=True):
            for n in group[digest]:
                parts[n] = part
    return parts


def _mixed(digest: str, seed: int) -> str:
    return hashlib.sha256(f"{seed} {digest}".encode()).hexdigest()


def _cut(count: int, shares: tuple[float, float, float]) -> list[str]:
    """`count` splits in order; each split has at least one image."""
    test = min(count - 2, max(1, round(count * shares[2])))
    validation = min(count - 1 - test, max(1, round(count * shares[1])))
    return ["test"] * test + ["validation"] * validation + ["train"] * (count - validation - test)
