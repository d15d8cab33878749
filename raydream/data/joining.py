"""Joins the parts of a finished data set into data files of a few hundred megabytes.

Only the plan and the marks decide which shards go into a file, so the files have the same bytes even if runs were
killed. A run that is killed at any step can be continued: a joined file appears complete, and its parts are removed
only after that.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from raydream.data.formats import BY_NAME
from raydream.data.layout import Layout, joined_name
from raydream.data.marks import Mark
from raydream.data.plan import Plan
from raydream.data.shards import part_name
from raydream.data.storage import Folder

FILE_BYTES = 256_000_000
CONTENTS = "data/metadata.jsonl"  # where `datasets` looks for the table of contents of an image folder
_THREADS = 4  # one thread can copy as fast as a disk


def join(out: Folder, plan: Plan, found: Sequence[Mark]) -> None:
    """Joins all parts that are not joined yet. The parts stay until `remove_joined_parts` removes them.

    Args:
        found: the marks of all shards, in order.
    """
    format = plan.job.format
    if format == "files":
        with out.create(CONTENTS) as file:
            BY_NAME[format].join(out, [part_name(mark.shard, format) for mark in found if mark.images], file)
        return
    groups = _groups(Layout.of(out, format), plan, found)
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(partial(_join, out, plan), groups))


def remove_joined_parts(out: Folder, plan: Plan) -> None:
    """Removes the parts that are in a joined file."""
    layout = Layout.of(out, plan.job.format)
    names = [part_name(shard, layout.format) for shard in sorted(layout.parts) if layout.joined_file(shard)]
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(out.remove, names))


def _groups(layout: Layout, plan: Plan, found: Sequence[Mark]) -> list[list[int]]:
    """The shards for each new file: consecutive, of the same part of the plan, and together up to `FILE_BYTES`."""
    groups: list[list[int]] = []
    room, before = 0, None
    for mark in found:
        if layout.joined_file(mark.shard):
            before = None
        elif mark.images:
            planned = plan.part_of(mark.shard)
            if planned != before or mark.part_bytes > room:
                groups.append([])
                room, before = FILE_BYTES, planned
            groups[-1].append(mark.shard)
            room -= mark.part_bytes
    return groups


def _join(out: Folder, plan: Plan, shards: list[int]) -> None:
    format = plan.job.format
    names = [part_name(shard, format) for shard in shards]
    target = joined_name(shards[0], shards[-1], format)
    if len(names) == 1:
        out.move(names[0], target)
        return
    with out.create(target) as file:
        BY_NAME[format].join(out, names, file)
