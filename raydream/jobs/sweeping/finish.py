"""Writes what people and other commands read of a sweep: the table, the best recipe, the page."""

from __future__ import annotations

from collections.abc import Sequence

from raydream.data import trials as files
from raydream.data.storage import Folder
from raydream.data.trials import Swept, Trial
from raydream.pages import sweep as page
from raydream.recipe import Recipe

TABLE, BEST = "trials.parquet", "best.yaml"


def finish(out: Folder, swept: Swept, trials: Sequence[Trial]) -> Trial | None:
    """Writes `trials.parquet`, `best.yaml` and `sweep.html`; returns the best trial, if one is done.

    It can be killed at any point and repeated.
    """
    out.write(TABLE, files.table(swept, trials))
    best = next(iter(swept.best(trials)), None)
    if best:
        out.write(BEST, Recipe.parse(best.recipe).dump().encode())
    else:  # another metric, which no trial has, may have come after an earlier run
        out.remove(BEST)
    page.write(out, swept, trials)
    out.remove_partial()
    return best
