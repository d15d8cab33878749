"""The completion mark of a shard: a small JSON file with the sums for the summary of the data set."""

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
    """Says that a shard is done, with its results.

    Attributes:
        shard: number of the shard.
        images: number of dreams.
        failures: images that could not be dreamed.
        measured: number of dreams with a measured objective.
        objective_before, objective_after: sums of the objective over the measured dreams.
        seconds: time spent dreaming.
        device: name of the device that dreamed.
        part_bytes: size of the part file.
        sizes: bytes of each row in the part file, for formats that need them to find a row.
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
        """The mark as JSON."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()

    @classmethod
    def parse(cls, data: bytes) -> Mark:
        """Reads the JSON of `dump`."""
        values = json.loads(data)
        failures = tuple(Failure(**failure) for failure in values["failures"])
        mark = cls(**{**values, "failures": failures, "sizes": tuple(values["sizes"])})
        if not all(isinstance(number, int) for number in (mark.shard, mark.images, mark.part_bytes, *mark.sizes)):
            raise ValueError("counts must be whole numbers")
        return mark


def write_mark(out: Folder, mark: Mark) -> None:
    """Marks a shard as done. Write its part first."""
    out.write(_name(mark.shard), mark.dump())


def _name(shard: int) -> str:
    return f"{MARKS}/{shard:07d}.json"


def marked(out: Folder) -> list[int]:
    """Numbers of the shards that have a mark, ascending. The marks are not read."""
    return numbers(out.files(MARKS), ".json")


def numbers(names: Collection[str], ending: str) -> list[int]:
    """The shard numbers in file names, ascending; other files are ignored."""
    stems = [name.rpartition("/")[2].removesuffix(ending) for name in names if name.endswith(ending)]
    return sorted(int(stem) for stem in stems if stem.isdecimal())


def read_marks(out: Folder, shards: Collection[int]) -> list[Mark]:
    """Reads the marks of some shards in parallel; returns them in the order of `shards`.

    Raises:
        UsageError: a mark is damaged.
    """
    names = [_name(shard) for shard in shards]
    return [_parsed(out, name, data) for name, data in zip(names, out.read_all(names), strict=True)]


def _parsed(out: Folder, name: str, data: bytes) -> Mark:
    try:
        return Mark.parse(data)
    except (ValueError, TypeError, KeyError) as error:
        again = "delete it and run the job again to make its shard again"
        raise UsageError(f"{out.place(name)} is damaged: {again}") from error
