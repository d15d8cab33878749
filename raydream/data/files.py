"""The format `files`: each picture a file, and a table of contents that `datasets` opens as an image folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import IO

from raydream.data.rows import Row
from raydream.data.storage import Folder

ENDING = "jsonl"


def encode(rows: Sequence[Row], shard: int) -> tuple[bytes, tuple[int, ...]]:
    """The table of contents of a shard; and no sizes of its rows: each is a line."""
    del shard
    return b"".join(map(_line, rows)), ()


def _line(row: Row) -> bytes:
    names = {f"{column}_file_name": f"{column}/{row.name}" for column, _ in row.pictures}
    return f"{json.dumps({**names, **row.facts})}\n".encode()


def picture(column: str, row: Row) -> str:
    """The path of a picture (`dream` or `source`) in the data set's folder."""
    return f"data/{column}/{row.name}"


def join(out: Folder, parts: Sequence[str], file: IO[bytes]) -> None:
    """Writes several tables of contents as one."""
    file.writelines(out.read_all(parts))


def read(out: Folder, name: str, sizes: Sequence[int], wanted: Sequence[int]) -> list[Row]:
    """The rows with these numbers of a table of contents, with their pictures."""
    del sizes
    lines = out.read(name).splitlines()
    return [_row(out, lines[number]) for number in wanted]


def _row(out: Folder, line: bytes) -> Row:
    facts = json.loads(line)
    dream = facts.pop("dream_file_name")
    source = facts.pop("source_file_name", None)
    kept = out.read(f"data/{source}") if source else None
    return Row(**facts, dream=out.read(f"data/{dream}"), source=kept)
