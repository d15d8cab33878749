"""The format `webdataset`: tar files with KEY.dream.png, KEY.source.png and KEY.json for each row.

A key is the number of the shard and the number of the row in it, so it is unique in the data set.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from itertools import accumulate
from pathlib import PurePosixPath
from typing import IO

from raydream.data.ranges import RangedFile
from raydream.data.rows import Row
from raydream.data.storage import Folder

ENDING = "tar"
_CHUNK = 8_000_000  # bytes copied at once


def encode(rows: Sequence[Row], shard: int) -> tuple[bytes, tuple[int, ...]]:
    """The tar file of a shard, and the bytes that each row takes in it, with which `read` finds a row.

    A missing label is "" instead of null: `datasets` infers the types of a whole data set from its first rows.
    """
    sink = io.BytesIO()
    ends = []
    with tarfile.open(fileobj=sink, mode="w") as tar:
        for number, row in enumerate(rows):
            _add(tar, f"{shard:07d}-{number:06d}", row)
            ends.append(tar.offset)
    sizes = tuple(end - start for start, end in zip([0, *ends], ends, strict=False))
    return sink.getvalue(), sizes


def _add(tar: tarfile.TarFile, key: str, row: Row) -> None:
    ending = PurePosixPath(row.name).suffix
    members = [(f"{column}{ending}", data) for column, data in row.pictures]
    facts = json.dumps({**row.facts, "label": row.label or ""}).encode()
    for extension, data in [*members, ("json", facts)]:
        info = tarfile.TarInfo(f"{key}.{extension}")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))


def join(out: Folder, parts: Sequence[str], file: IO[bytes]) -> None:
    """Joins several tar files into one."""
    for part in parts:
        source = RangedFile(out, part)
        left = _end(source)
        source.seek(0)
        while left > 0:
            data = source.read(min(left, _CHUNK))
            file.write(data)
            left -= len(data)
    file.write(bytes(2 * tarfile.BLOCKSIZE))  # the end of a tar file


def _end(file: RangedFile) -> int:
    """The offset at which the members of a tar file end and the empty blocks begin."""
    with tarfile.open(fileobj=file) as tar:
        tar.getmembers()
        return int(tar.offset)


def read(out: Folder, name: str, sizes: Sequence[int], wanted: Sequence[int]) -> list[Row]:
    """Rows of a file; `wanted` holds their numbers, `sizes` the bytes of all rows. Other rows are not read."""
    starts = [0, *accumulate(sizes)]
    return [_row(out.read(name, starts[number], starts[number + 1])) for number in wanted]


def _row(data: bytes) -> Row:
    pictures: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for info in tar:
            member = tar.extractfile(info)
            pictures[info.name.split(".")[1]] = member.read() if member else b""
    facts = json.loads(pictures["json"])
    facts["label"] = facts["label"] or None
    return Row(**facts, dream=pictures["dream"], source=pictures.get("source"))
