"""Writes the card, manifest and gallery of a data set when it is started and when it is finished."""

from __future__ import annotations

import json
from typing import Any

from raydream.data import joining, summary
from raydream.data.marks import marked, read_marks
from raydream.data.plan import Plan, passed_over
from raydream.data.rows import Failure
from raydream.data.storage import Folder
from raydream.data.summary import Summary
from raydream.pages import cards
from raydream.pages.exhibits import write_gallery

_MANIFEST = "manifest.json"


def begin(out: Folder, plan: Plan) -> None:
    """Writes the card and the recipe of a data set that is not finished, so that its parts can be opened."""
    if not out.exists(_MANIFEST):
        out.write("recipe.yaml", plan.job.recipe.dump().encode())
        out.write("README.md", cards.dataset(plan, None).encode())


def finish(out: Folder, plan: Plan, seconds: float) -> dict[str, Any]:
    """Joins the parts into data files; writes the card, the gallery and the manifest, and returns the manifest.

    It can be killed at any point and repeated. The parts are removed when the card no longer refers to them.

    Args:
        seconds: wall time of all runs.
    """
    found = read_marks(out, marked(out))
    made = Summary.of(found)
    manifest = summary.manifest(plan, made, seconds)
    _write_failures(out, [failure for mark in found for failure in mark.failures])
    joining.join(out, plan, found)
    out.write("recipe.yaml", plan.job.recipe.dump().encode())
    out.write("README.md", cards.dataset(plan, made).encode())
    write_gallery(out, plan, found)
    out.write(_MANIFEST, json.dumps(manifest, indent=2).encode())
    joining.remove_joined_parts(out, plan)
    out.remove_partial()
    return manifest


def _write_failures(out: Folder, failures: list[Failure]) -> None:
    skipped = [Failure(id=id, stage="list", error="not an image, by its file name") for id in passed_over(out)]
    if failures or skipped:
        out.write("failures.parquet", summary.failures_table([*failures, *skipped]))
