"""The shard: the unit of distributed work. It is a few images; its results are one part file and one mark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from raydream.data import files
from raydream.data.formats import BY_NAME
from raydream.data.job import Format
from raydream.data.marks import Mark, write_mark
from raydream.data.rows import Failure, Row
from raydream.data.storage import Folder

PARTS = "_raydream/parts"


@dataclass(frozen=True, kw_only=True)
class Shard:
    """The results of a shard: rows, failures, the device, and the seconds spent dreaming."""

    number: int
    rows: Sequence[Row]
    failures: Sequence[Failure]
    device: str
    seconds: float


def part_name(shard: int, format: Format) -> str:
    """Name of a shard's part file, which exists until the data set is finished."""
    return f"{PARTS}/{shard:07d}.{BY_NAME[format].ENDING}"


def write(out: Folder, shard: Shard, format: Format) -> Mark:
    """Writes the part of a shard (unless it has no rows), then its mark."""
    if format == "files":
        for row in shard.rows:
            for column, picture in row.pictures:
                out.write(files.picture(column, row), picture)
    data, sizes = BY_NAME[format].encode(shard.rows, shard.number) if shard.rows else (b"", ())
    if shard.rows:
        out.write(part_name(shard.number, format), data)
    measured = [row for row in shard.rows if row.objective_before is not None and row.objective_after is not None]
    mark = Mark(
        shard=shard.number,
        images=len(shard.rows),
        failures=tuple(shard.failures),
        measured=len(measured),
        objective_before=sum(row.objective_before or 0.0 for row in measured),
        objective_after=sum(row.objective_after or 0.0 for row in measured),
        seconds=round(shard.seconds, 3),
        device=shard.device,
        part_bytes=len(data),
        sizes=sizes,
    )
    write_mark(out, mark)
    return mark
