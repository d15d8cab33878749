"""The plan of a data set: the job, and its shards with their images.

`_raydream/plan.json` holds the job and counts. `_raydream/plan/00000.parquet` holds the images, with one row group for
each shard, so that a worker reads only its own shard. Images that are added to the input later are stored in
`00001.parquet`, and so on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from raydream.data.job import Format, Job
from raydream.data.ranges import RangedFile
from raydream.data.storage import Folder
from raydream.errors import UsageError
from raydream.recipe import Recipe

PLAN = "_raydream/plan.json"
_IMAGES = "_raydream/plan"
_PASSED_OVER = f"{_IMAGES}/passed-over.parquet"
_SCHEMA = pa.schema([("shard", pa.int32()), ("id", pa.binary()), ("name", pa.binary())])
MOST_LABELS = 10_000  # no list is kept of more: so many folders are not classes


class PlannedImage(NamedTuple):
    """An image of a shard: the path of the photograph below the input, and the path of its dream."""

    id: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Part:
    """The numbers of shards and images that were planned at one time; one file of the plan."""

    shards: int
    images: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a data set is made of. It is small for any number of images, so each worker gets a copy.

    Attributes:
        job: the settings of the last run.
        parts: parts of the plan, in the order of their shards.
        passed_over: number of files in the input that are not images.
        labels: class folders of all images, sorted; None if there are more than `MOST_LABELS`.
    """

    job: Job
    parts: tuple[Part, ...] = ()
    passed_over: int = 0
    labels: tuple[str, ...] | None = ()

    @property
    def shards(self) -> int:
        """Number of shards."""
        return sum(part.shards for part in self.parts)

    @property
    def images(self) -> int:
        """Number of images."""
        return sum(part.images for part in self.parts)

    def part_of(self, shard: int) -> int:
        """The number of the part that contains a shard."""
        return self._place(shard)[0]

    def _place(self, shard: int) -> tuple[int, int]:
        left = shard
        for number, part in enumerate(self.parts):
            if left < part.shards:
                return number, left
            left -= part.shards
        raise IndexError(f"no shard {shard} among {self.shards}")

    def count(self, out: Folder, shards: Sequence[int]) -> int:
        """Number of images in some shards."""
        wanted = {*shards}
        if len(wanted) == self.shards:
            return self.images
        return sum(len(images) for shard, images in self.read_shards(out) if shard in wanted)

    def read_shard(self, out: Folder, shard: int) -> list[PlannedImage]:
        """The images of a shard. Other shards are not read."""
        number, group = self._place(shard)
        return _images(pq.ParquetFile(RangedFile(out, _part_name(number))).read_row_group(group))

    def read_shards(self, out: Folder) -> Iterator[tuple[int, list[PlannedImage]]]:
        """All shards with their images, in order. One shard at a time is decoded."""
        shard = 0
        for number, part in enumerate(self.parts):
            file = pq.ParquetFile(pa.BufferReader(out.read(_part_name(number))))
            for group in range(part.shards):
                yield shard, _images(file.read_row_group(group))
                shard += 1

    def dump(self) -> bytes:
        """The plan as JSON."""
        job = {**vars(self.job), "recipe": self.job.recipe.as_dict()}
        return json.dumps({**vars(self), "job": job, "parts": [asdict(part) for part in self.parts]}, indent=1).encode()

    @classmethod
    def parse(cls, data: bytes) -> Plan:
        """Reads the JSON of `dump`."""
        values = json.loads(data)
        job = {**values["job"], "recipe": Recipe.parse(values["job"]["recipe"])}
        job["actors"] = tuple(job["actors"])
        if job["format"] not in get_args(Format):
            raise ValueError("unknown format")
        parts = tuple(Part(**part) for part in values["parts"])
        labels = values["labels"] and tuple(values["labels"])
        return cls(job=Job(**job), parts=parts, passed_over=int(values["passed_over"]), labels=labels)


def _part_name(number: int) -> str:
    return f"{_IMAGES}/{number:05d}.parquet"


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # file names need not be UTF-8


def _decoded(column: pa.ChunkedArray) -> list[str]:
    return [value.decode("utf-8", "surrogatepass") for value in column.to_pylist()]


def _images(table: pa.Table) -> list[PlannedImage]:
    return list(map(PlannedImage, _decoded(table.column("id")), _decoded(table.column("name"))))


def stored_plan(out: Folder) -> Plan:
    """Reads the plan of a data set, finished or not.

    Raises:
        UsageError: there is no plan, or it cannot be read.
    """
    if not out.exists(PLAN):
        raise UsageError(f"{out.url} is not a data set of raydream: it has no {PLAN}")
    try:
        return Plan.parse(out.read(PLAN))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"{out.url}: its {PLAN} is damaged, or from another version of raydream") from error


def passed_over(out: Folder) -> list[str]:
    """The files of the input that were not images when it was planned."""
    if not out.exists(_PASSED_OVER):
        return []
    return _decoded(pq.read_table(pa.BufferReader(out.read(_PASSED_OVER))).column("id"))


def write_images(out: Folder, part: int, first: int, shards: Iterator[list[PlannedImage]]) -> None:
    """Writes the images of a part of the plan; `first` is the number of its first shard."""
    with out.create(_part_name(part)) as file, pq.ParquetWriter(file, _SCHEMA) as writer:
        for shard, images in enumerate(shards, first):
            ids, names = ([*map(_encoded, column)] for column in zip(*images, strict=True))
            writer.write_table(pa.table({"shard": [shard] * len(images), "id": ids, "name": names}, _SCHEMA))


def write_passed_over(out: Folder, names: Sequence[str]) -> None:
    """Stores the names of the files in the input that are not images."""
    with out.create(_PASSED_OVER) as file:
        pq.write_table(pa.table({"id": pa.array(map(_encoded, names), pa.binary())}), file)
