"""Finds the file that holds the rows of a shard: its part, or a joined data file once the data set is finished.

The name of a joined file contains its first and last shard: `data/train-0000000-0000127.parquet`. The file appears
complete. If it exists, these shards are joined, and parts that are left of them are ignored.
"""

from __future__ import annotations

import re
import tarfile
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pyarrow as pa

from raydream.data.formats import BY_NAME
from raydream.data.job import Format
from raydream.data.marks import Mark, marked, numbers, read_marks
from raydream.data.rows import Row
from raydream.data.shards import PARTS, part_name
from raydream.data.storage import Folder
from raydream.errors import UsageError

_THREADS = 8
_JOINED = re.compile(r"data/train-(\d+)-(\d+)\.\w+")


def joined_name(first: int, last: int, format: Format) -> str:
    """Name of the data file of the shards from `first` to `last`."""
    return f"data/train-{first:07d}-{last:07d}.{BY_NAME[format].ENDING}"


@dataclass(frozen=True)
class Layout:
    """The data files that exist.

    Attributes:
        format: format of the data files.
        parts: shards that have a part.
        joined: first and last shard of each joined file, in order.
    """

    format: Format
    parts: frozenset[int]
    joined: tuple[tuple[int, int], ...]
    _firsts: list[int] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_firsts", [first for first, _ in self.joined])

    @classmethod
    def of(cls, out: Folder, format: Format) -> Layout:
        """Lists the files that exist now."""
        parts = numbers(out.files(PARTS), f".{BY_NAME[format].ENDING}")
        # The format `files` is never joined, and its pictures are in `data`: the listing could be very long.
        names: Iterable[str] = () if format == "files" else out.files("data")
        ranges = [(int(found[1]), int(found[2])) for name in names if (found := _JOINED.fullmatch(name))]
        return cls(format, frozenset(parts), tuple(sorted(ranges)))

    def joined_file(self, shard: int) -> str | None:
        """The joined file that holds a shard; None if there is none."""
        index = bisect_right(self._firsts, shard) - 1
        if index < 0 or shard > self.joined[index][1]:
            return None
        return joined_name(*self.joined[index], self.format)

    def file(self, shard: int) -> str:
        """The file that holds the rows of a shard; the shard must have rows."""
        return self.joined_file(shard) or part_name(shard, self.format)


def remove_outdated(out: Folder, format: Format) -> None:
    """Removes joined files with a shard that has no mark: it may get other rows, so all their shards are remade.

    A user deletes a mark to try failed images again.
    """
    known = set(marked(out))
    for first, last in Layout.of(out, format).joined:
        if not known.issuperset(range(first, last + 1)):
            out.remove(joined_name(first, last, format))


def done(out: Folder, format: Format) -> set[int]:
    """The shards that are finished: they have a mark, and the file of their rows exists (if they have rows).

    So if a user deletes a damaged data file, the next run makes its shards again.
    """
    layout = Layout.of(out, format)
    found = marked(out)
    doubtful = [shard for shard in found if shard not in layout.parts and not layout.joined_file(shard)]
    empty = {mark.shard for mark in read_marks(out, doubtful) if not mark.images}
    return {*found} - ({*doubtful} - empty)


def read_rows(out: Folder, format: Format, found: Sequence[Mark], positions: Sequence[int]) -> list[Row]:
    """Reads some rows of a data set, finished or not, in parallel. Other rows are not read.

    Args:
        found: the marks, in the order of their shards.
        positions: indices of the rows, ascending; 0 is the first row of the first mark.
    """
    jobs = _lookups(Layout.of(out, format), found, positions)
    with ThreadPoolExecutor(_THREADS) as pool:
        pieces = pool.map(lambda lookup: _read(out, format, *lookup), jobs)
        return [row for piece in pieces for row in piece]


def _lookups(layout: Layout, found: Sequence[Mark], positions: Sequence[int]) -> list[tuple[str, list[int], list[int]]]:
    """(file, sizes of all its rows, numbers of the wanted rows) for each file with wanted rows."""
    files: dict[str, list[Mark]] = {}
    for mark in found:
        if mark.images:
            files.setdefault(layout.file(mark.shard), []).append(mark)
    lookups, first, at = [], 0, 0
    for name, marks in files.items():
        after = first + sum(mark.images for mark in marks)
        wanted = []
        while at < len(positions) and positions[at] < after:
            wanted.append(positions[at] - first)
            at += 1
        if wanted:
            lookups.append((name, [size for mark in marks for size in mark.sizes], wanted))
        first = after
    return lookups


def _read(out: Folder, format: Format, name: str, sizes: list[int], wanted: list[int]) -> list[Row]:
    try:
        return BY_NAME[format].read(out, name, sizes, wanted)
    except (ValueError, TypeError, KeyError, IndexError, tarfile.TarError, pa.ArrowException) as error:
        raise _damaged(out, name) from error
    except OSError as error:
        if type(error) is not OSError:  # a storage error names its file; Arrow raises a plain OSError for damaged data
            raise
        raise _damaged(out, name) from error


def _damaged(out: Folder, name: str) -> UsageError:
    return UsageError(f"{out.place(name)} is damaged: delete it and run the job again to make it again")
