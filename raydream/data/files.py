"""The format `files`: one file for each picture, and a table of contents that `datasets` opens as an image folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import IO

from raydream.data.rows import Row
from raydream.data.storage import Folder

ENDING = "jsonl"


def encode(rows: Sequence[Row], shard: int) -> tuple[bytes, tuple[int, ...]]:
    """The table of contents of a shard. The sizes stay empty: each row is a line."""
    del shard
    return b"".join(map(_line, rows)), ()


def _line(row: Row) -> bytes:
    names = {f"{column}_file_name": f"{column}/{row.name}" for column, _ in row.pictures}
    return f"{json.dumps({**names, **row.facts})}\n".encode()


def picture(column: str, row: Row) -> str:
    """Path of a picture in the data set's folder; `column` is `dream` or `source`."""
    return f"data/{column}/{row.name}"


def join(out: Folder, parts: Sequence[str], file: IO[bytes]) -> None:
    """Joins several tables of contents into one."""
    file.writelines(out.read_all(parts))


def read(out: Folder, name: str, sizes: Sequence[int], wanted: Sequence[int]) -> list[Row]:
    """Rows of a table of contents, by number, with their pictures."""
    del sizes
    lines = out.read(name).splitlines()
    return [_row(out, lines[number]) for number in wanted]


def _row(out: Folder, line: bytes) -> Row:
    facts = json.loads(line)
    dream = facts.pop("dream_file_name")
    source = facts.pop("source_file_name", None)
    kept = out.read(f"data/{source}") if source else None
    return Row(**facts, dream=out.read(f"data/{dream}"), source=kept)
