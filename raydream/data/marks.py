"""The completion mark of a shard: a small JSON file with the sums that the data set's summary needs."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass

from raydream.data.rows import Failure
from raydream.data.storage import Folder
from raydream.errors import UsageError

MARKS = "_raydream/marks"


@dataclass(frozen=True, kw_only=True)
class Mark:
    """The sign that a shard is done, and what became of it.

    Attributes:
        shard: its number.
        images: dreams.
        failures: images that could not be dreamed.
        measured: dreams with an objective.
        objective_before, objective_after: sums over these.
        seconds: spent dreaming.
        device: that dreamed.
        part_bytes: of the part file.
        sizes: bytes of each row in the part file, for formats that cannot find a row without them.
    """

    shard: int
    images: int
    failures: tuple[Failure, ...]
    measured: int
    objective_before: float
    objective_after: float
    seconds: float
    device: str
    part_bytes: int
    sizes: tuple[int, ...]

    def dump(self) -> bytes:
        """As JSON."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()

    @classmethod
    def parse(cls, data: bytes) -> Mark:
        """From `dump`'s JSON."""
        values = json.loads(data)
        failures = tuple(Failure(**failure) for failure in values["failures"])
        mark = cls(**{**values, "failures": failures, "sizes": tuple(values["sizes"])})
        if not all(isinstance(number, int) for number in (mark.shard, mark.images, mark.part_bytes, *mark.sizes)):
            raise ValueError("counts must be whole numbers")
        return mark


def write_mark(out: Folder, mark: Mark) -> None:
    """Marks a shard as done; its part must be written already."""
    out.write(_name(mark.shard), mark.dump())


def _name(shard: int) -> str:
    return f"{MARKS}/{shard:07d}.json"


def marked(out: Folder) -> list[int]:
    """Numbers of the shards that have a mark, in order; no mark is read."""
    return numbers(out.files(MARKS), ".json")


def numbers(names: Collection[str], ending: str) -> list[int]:
    """The shards that files are named after, in order; other files are left out."""
    stems = [name.rpartition("/")[2].removesuffix(ending) for name in names if name.endswith(ending)]
    return sorted(int(stem) for stem in stems if stem.isdecimal())


def read_marks(out: Folder, shards: Collection[int]) -> list[Mark]:
    """The marks of these shards, in this order, read in parallel.

    Raises:
        UsageError: one is damaged.
    """
    names = [_name(shard) for shard in shards]
    return [_parsed(out, name, data) for name, data in zip(names, out.read_all(names), strict=True)]


def _parsed(out: Folder, name: str, data: bytes) -> Mark:
    try:
        return Mark.parse(data)
    except (ValueError, TypeError, KeyError) as error:
        again = "delete it and run the job again, which makes its shard again"
        raise UsageError(f"{out.place(name)} is damaged: {again}") from error
