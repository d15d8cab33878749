"""Unpacks the images inside Parquet files into class folders, for training.

Data sets of raydream, and those of Hugging Face's `datasets`, hold their images as a column of bytes. Training reads
its images in another order in each epoch, so they are first written as single files: OUT/CLASS/FILE-ROW.png.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from raydream.data import codec
from raydream.data.labelled import Labelled, check, is_table
from raydream.data.names import check_folder_name
from raydream.data.ranges import RangedFile
from raydream.data.storage import Folder
from raydream.errors import UsageError, nearest

_THREADS = 8  # they wait for the disk or the network
_TOGETHER = 64  # images in memory


def packed_files(source: str) -> list[str]:
    """The Parquet files of a folder, if it holds a data set with images inside: below the folder, sorted; else none."""
    if is_table(source):
        return []
    names = Folder(source).files()
    found = sorted(name for name in names if name.endswith(".parquet") and name.startswith("data/"))
    return [name for name in found if any(map(_is_image, _opened(source, name).schema_arrow))]


def _opened(source: str, name: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(RangedFile(Folder(source), name))
    except pa.ArrowInvalid as error:
        raise UsageError(f"{source.rstrip('/')}/{name} is not a Parquet file, or is incomplete") from error


def _is_image(field: pa.Field) -> bool:
    kind = field.type
    inside = pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
    return bool(inside or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def check_packed(source: str, columns: tuple[str | None, str]) -> None:
    """Raises the errors of `unpack`, and those of `labelled.check`; only the labels are read."""
    labels = []
    for name in packed_files(source):
        file = _opened(source, name)
        _, column = _columns(source, name, file, columns)
        rows = chain.from_iterable(batch.column(0).to_pylist() for batch in file.iter_batches(columns=[column]))
        labels += [_class(label, f"{column} of row {n} of {source.rstrip('/')}/{name}") for n, label in enumerate(rows)]
    classes = tuple(sorted({*labels}))
    numbers = {name: number for number, name in enumerate(classes)}
    check(source, Labelled(folder=source, names=(), labels=tuple(numbers[c] for c in labels), classes=classes))


def unpack(source: str, output: str, columns: tuple[str | None, str]) -> None:
    """Writes the images of a data set into class folders; those that are already there are left alone.

    Args:
        source: folder of the data set.
        output: folder for the class folders.
        columns: columns of the images (None for the first one) and of the classes.

    Raises:
        UsageError: a column is missing, or a label is no class.
    """
    out, done = Folder(output), {*Folder(output).files()}
    with ThreadPoolExecutor(_THREADS) as pool:
        for name in packed_files(source):
            file = _opened(source, name)
            column, label = _columns(source, name, file, columns)
            for rows in _groups(file, [column, label]):
                images = list(_images(name, rows, column, label))
                list(pool.map(lambda image: out.write(*image), [i for i in images if i[0] not in done]))


def _class(label: Any, where: str) -> str:
    if not isinstance(label, str | int) or isinstance(label, bool):
        raise UsageError(f"{where} is {label!r}: it must be a class, as text or a whole number")
    check_folder_name(str(label), where)
    return str(label)


def _columns(source: str, name: str, file: pq.ParquetFile, columns: tuple[str | None, str]) -> tuple[str, str]:
    """The columns of the images and of the classes; raises a `UsageError` if one is missing."""
    (image_column, label_column), schema = columns, file.schema_arrow
    place, images = f"{source.rstrip('/')}/{name}", [field.name for field in schema if _is_image(field)]
    if label_column not in schema.names:
        raise UsageError(f"{place} has no column {label_column!r}: {nearest(label_column, schema.names)}")
    if image_column is not None and image_column not in images:
        raise UsageError(f"{place} has no images in a column {image_column!r}: {nearest(image_column, images)}")
    return image_column or images[0], label_column


def _groups(file: pq.ParquetFile, columns: list[str]) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    """(number, row) of some rows at a time."""
    first = 0
    for batch in file.iter_batches(_TOGETHER, columns=columns):
        yield list(enumerate(batch.to_pylist(), start=first))
        first += len(batch)


def _images(file: str, rows: list[tuple[int, dict[str, Any]]], column: str, label: str) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of each image; one that is no image keeps the ending `.png`, and the training lists it."""
    stem = file.removeprefix("data/").removesuffix(".parquet").replace("/", "-")
    for number, row in rows:
        data = row[column]["bytes"] if isinstance(row[column], dict) else row[column]
        try:
            ending = codec.ending(data or b"")
        except ValueError:
            ending = ".png"
        yield f"{_class(row[label], f'{label} of row {number} of {file}')}/{stem}-{number:06d}{ending}", data or b""
