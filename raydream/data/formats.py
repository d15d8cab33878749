"""The formats of data files: one module each, with the members of `DataFormat`. A new format is a new entry here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, Protocol

from raydream.data import files, parquet, webdataset
from raydream.data.job import Format
from raydream.data.rows import Row
from raydream.data.storage import Folder


class DataFormat(Protocol):
    """What a format can do with the rows of a shard."""

    ENDING: str  # of the files' names

    def encode(self, rows: Sequence[Row], shard: int) -> tuple[bytes, tuple[int, ...]]:
        """The part of a shard; and how many bytes of it each row takes, if `read` needs that."""

    def join(self, out: Folder, parts: Sequence[str], file: IO[bytes]) -> None:
        """Writes several parts as one file."""

    def read(self, out: Folder, name: str, sizes: Sequence[int], wanted: Sequence[int]) -> list[Row]:
        """The rows with these numbers, ascending, of a part or a joined file."""


BY_NAME: dict[Format, DataFormat] = {"parquet": parquet, "webdataset": webdataset, "files": files}
