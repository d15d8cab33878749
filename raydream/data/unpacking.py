"""Unpacks the images inside Parquet and tar files, for training.

Data sets of raydream, and those of Hugging Face's `datasets`, hold their images as a column of bytes. Training reads
its images in another order in each epoch, so they are first written as single files: OUT/CLASS/FILE-ROW.png, or
OUT/FILE-KEY.png for tar files.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
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
_CHUNK = 1 << 20  # bytes of a tar file that are read together

Columns = tuple[str | None, str | None]  # of the images, and of their classes


def parquet_files(source: str) -> list[str]:
    """The Parquet files of a folder, if it holds a data set with images inside: below the folder, sorted; else none."""
    if is_table(source):
        return []
    names = Folder(source).files()
    found = sorted(name for name in names if name.endswith(".parquet") and name.startswith("data/"))
    return [name for name in found if any(map(_is_image, _opened(source, name).schema_arrow))]


def image_columns(source: str, name: str) -> list[str]:
    """The columns of a Parquet file that hold images."""
    return [field.name for field in _opened(source, name).schema_arrow if _is_image(field)]


def _opened(source: str, name: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(RangedFile(Folder(source), name))
    except pa.ArrowInvalid as error:
        raise UsageError(f"{source.rstrip('/')}/{name} is not a Parquet file, or is incomplete") from error


def _is_image(field: pa.Field) -> bool:
    kind = field.type
    inside = pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
    return bool(inside or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


@contextmanager
def _damage_named(source: str, name: str) -> Iterator[None]:
    """Makes errors of damaged Parquet data one line that names the file."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and type(error) is not OSError:  # an error of storage, which names its file
            raise
        raise UsageError(f"{source.rstrip('/')}/{name} is damaged") from error


def check_parquet(source: str, columns: tuple[str | None, str]) -> None:
    """Checks the columns and the labels of a data set in Parquet files, without reading its images.

    Raises:
        UsageError: see `unpack` and `labelled.check`.
    """
    labels = []
    for name in parquet_files(source):
        file = _opened(source, name)
        _columns(source, name, file, columns)
        column = columns[1]
        with _damage_named(source, name):
            rows = list(chain.from_iterable(b.column(0).to_pylist() for b in file.iter_batches(columns=[column])))
        labels += [_class(label, f"{column} of row {n} of {source.rstrip('/')}/{name}") for n, label in enumerate(rows)]
    classes = tuple(sorted({*labels}))
    numbers = {name: number for number, name in enumerate(classes)}
    check(source, Labelled(folder=source, names=(), labels=tuple(numbers[c] for c in labels), classes=classes))


def unpack_once(source: str, out: Folder, columns: Columns, say: Callable[[str], None]) -> str:
    """Unpacks the images of a data set into the output of a job, unless that is done; returns their folder.

    Args and errors are those of `unpack`; `say` is called with a line of progress.
    """
    packed = {name: size for name, size in Folder(source).files().items() if name.endswith((".parquet", ".tar"))}
    digest = hashlib.sha256(json.dumps([source, *columns, packed], sort_keys=True).encode()).hexdigest()[:12]
    name = f"_raydream/images-{digest}"
    if not out.exists(f"{name}.done"):
        say(f"unpacking the images of {source}")
        unpack(source, out.place(name), columns)
        out.write(f"{name}.done", b"")
    return out.place(name)


def unpack(source: str, output: str, columns: Columns) -> None:
    """Writes the images of a data set as single files; those that are already there are left alone.

    Args:
        source: folder of the data set.
        output: folder for the images, or for their class folders.
        columns: columns of the images (None for the first one) and of the classes (None for no class folders).

    Raises:
        UsageError: a file is damaged, a column is missing, or a label is not a class name.
    """
    out, done = Folder(output), {*Folder(output).files()}
    with ThreadPoolExecutor(_THREADS) as pool:
        for name in parquet_files(source):
            file = _opened(source, name)
            column, label = _columns(source, name, file, columns)
            with _damage_named(source, name):
                for rows in _groups(file, [column, label] if label else [column]):
                    images = list(_images(name, rows, column, label))
                    list(pool.map(lambda image: out.write(*image), [i for i in images if i[0] not in done]))
        for name in tar_files(source):
            for image in _in_tar(source, name, columns[0]):
                if image[0] not in done:
                    out.write(*image)


def tar_files(source: str) -> list[str]:
    """The tar files of a data set in the format `webdataset`: below its folder, sorted; else none."""
    names = [] if is_table(source) else Folder(source).files()
    return sorted(name for name in names if name.startswith("data/") and name.endswith(".tar"))


def _in_tar(source: str, name: str, column: str | None) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of each image of a column (None for `dream`); in the tar file, it is called KEY.COLUMN.ENDING."""
    reader = io.BufferedReader(RangedFile(Folder(source), name), _CHUNK)
    try:
        with tarfile.open(fileobj=reader, mode="r:") as tar:
            for info in tar:
                folder, _, base = info.name.removeprefix("./").rpartition("/")
                key, _, rest = base.partition(".")
                member = tar.extractfile(info) if rest.startswith(f"{column or 'dream'}.") else None
                if member:
                    stem = "-".join([_stem(name), *filter(None, folder.split("/")), key])
                    yield f"{stem}.{rest.rpartition('.')[2]}", member.read()
            reader.seek(tar.offset)
            if reader.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):  # `tarfile` takes any damage as the end
                raise tarfile.ReadError
    except tarfile.TarError as error:
        raise UsageError(f"{source.rstrip('/')}/{name} is not an uncompressed tar file, or is incomplete") from error


def _stem(file: str) -> str:
    """The name of a data file, as a part of the names of its images."""
    return file.removeprefix("data/").rpartition(".")[0].replace("/", "-")


def _class(label: Any, where: str) -> str:
    if not isinstance(label, str | int) or isinstance(label, bool):
        raise UsageError(f"{where} is {label!r}: it must be a class, as text or a whole number")
    check_folder_name(str(label), where)
    return str(label)


def _columns(source: str, name: str, file: pq.ParquetFile, columns: Columns) -> tuple[str, str | None]:
    """The columns of the images and of the classes; raises a `UsageError` if one is missing."""
    (image_column, label_column), schema = columns, file.schema_arrow
    place, images = f"{source.rstrip('/')}/{name}", [field.name for field in schema if _is_image(field)]
    if label_column is not None and label_column not in schema.names:
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


def _images(
    file: str, rows: list[tuple[int, dict[str, Any]]], column: str, label: str | None
) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of each image; data that are not an image get the ending `.png`, and the training lists them."""
    for number, row in rows:
        data = row[column]["bytes"] if isinstance(row[column], dict) else row[column]
        try:
            ending = codec.ending(data or b"")
        except ValueError:
            ending = ".png"
        folder = f"{_class(row[label], f'{label} of row {number} of {file}')}/" if label else ""
        yield f"{folder}{_stem(file)}-{number:06d}{ending}", data or b""
