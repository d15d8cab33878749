"""The rows of a data set that its gallery shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from raydream.data import shards, summary
from raydream.data.plan import Plan
from raydream.data.shards import Format, Mark
from raydream.data.storage import Folder
from raydream.pages import cards, gallery
from raydream.pages.gallery import Exhibit


def write_gallery(out: Folder, plan: Plan, rows: int = 500) -> None:
    """Writes the gallery page: all dreams there are, or so many rows evenly spread."""
    found = summary.marks(out)
    total = sum(len(m.rows) for m in found)
    shown = exhibits(out, plan.settings["format"], found, rows)
    page = gallery.page(shown, title="Deep Dreams", facts=cards.facts(plan, found), total=total)
    out.write("index.html", page.encode())


def exhibits(out: Folder, format: Format, found: Sequence[Mark], most: int) -> list[Any]:
    """Rows for the gallery: all, or `most` of them evenly spread."""
    total = sum(len(m.rows) for m in found)
    wanted = {i * total // most for i in range(most)} if total > most else set(range(total))
    shown, position = [], 0
    for m in found:
        picked = [i for i in range(len(m.rows)) if position + i in wanted]
        rows = shards.read(out, m.shard, format) if picked else []
        shown += [Exhibit(**_exhibit(rows[i])) for i in picked]
        position += len(m.rows)
    return shown


def _exhibit(row: shards.Row) -> dict[str, Any]:
    numbers = {"seed": str(row.seed), "seconds": f"{row.seconds:.1f}"}
    if row.objective_before is not None and row.objective_after is not None:
        numbers["objective"] = f"{row.objective_before:.3g} → {row.objective_after:.3g}"
    keys = ("id", "label", "dream", "source", "width", "height")
    return {**{key: getattr(row, key) for key in keys}, "numbers": numbers}
