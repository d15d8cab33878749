"""The formats of data files. Each is a module with the members of `DataFormat`; `BY_NAME` lists them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, Protocol

from raydream.data import files, parquet, webdataset
from raydream.data.job import Format
from raydream.data.rows import Row
from raydream.data.storage import Folder


class DataFormat(Protocol):
    """What a format must provide."""

    ENDING: str  # file ending, without a dot

    def encode(self, rows: Sequence[Row], shard: int) -> tuple[bytes, tuple[int, ...]]:
        """The part file of a shard, and the bytes that each row takes in it if `read` needs them."""

    def join(self, out: Folder, parts: Sequence[str], file: IO[bytes]) -> None:
        """Joins several parts into one file."""

    def read(self, out: Folder, name: str, sizes: Sequence[int], wanted: Sequence[int]) -> list[Row]:
        """Rows of a part or of a joined file; `wanted` holds their numbers, ascending."""


BY_NAME: dict[Format, DataFormat] = {"parquet": parquet, "webdataset": webdataset, "files": files}
