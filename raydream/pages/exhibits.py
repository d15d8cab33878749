"""Writes the gallery page of a data set: selects the dreams and collects their facts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from raydream.data import files
from raydream.data.layout import read_rows
from raydream.data.marks import Mark, marked, read_marks
from raydream.data.plan import Plan
from raydream.data.rows import Row
from raydream.data.storage import Folder
from raydream.data.summary import Summary
from raydream.pages import cards, gallery, parts
from raydream.pages.gallery import Exhibit

_BATCH = 64  # rows in memory at a time


def write_gallery(out: Folder, plan: Plan, found: Sequence[Mark] | None = None, rows: int = 500) -> None:
    """Writes the gallery page with all finished dreams, or with `rows` of them, evenly spread.

    Args:
        found: the marks, in the order of their shards; None to read them.
    """
    found = read_marks(out, marked(out)) if found is None else found
    made = Summary.of(found)
    positions = evenly_spread(made.images, rows)
    shown = (
        Exhibit(**_exhibit(row, plan))
        for start in range(0, len(positions), _BATCH)
        for row in read_rows(out, plan.job.format, found, positions[start : start + _BATCH])
    )
    side = parts.side_for(2 * len(positions))
    page = gallery.page(shown, title="Deep Dreams", facts=cards.facts(plan, made), total=made.images, side=side)
    out.write("index.html", page.encode())


def evenly_spread(total: int, most: int) -> list[int]:
    """At most `most` of the numbers below `total`, ascending."""
    return [i * total // most for i in range(most)] if total > most else list(range(total))


def _exhibit(row: Row, plan: Plan) -> dict[str, Any]:
    numbers = {"size": f"{row.width} × {row.height}", "seed": str(row.seed)}
    if row.objective_before is not None and row.objective_after is not None:
        numbers["objective"] = f"{row.objective_before:.3g} → {row.objective_after:.3g}"
    keys = ("id", "label", "dream", "source", "width", "height")
    link = quote(files.picture("dream", row)) if plan.job.format == "files" else None
    return {**{key: getattr(row, key) for key in keys}, "numbers": numbers, "link": link}
