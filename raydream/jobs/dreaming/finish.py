"""What a finished data set says of itself: manifest, card, gallery."""

from __future__ import annotations

import json
from typing import Any

from raydream.data import shards, summary
from raydream.data.plan import Plan
from raydream.data.shards import Failure
from raydream.data.storage import Folder
from raydream.pages import cards
from raydream.pages.exhibits import write_gallery
from raydream.recipe import Recipe


def finish(out: Folder, plan: Plan, recipe: Recipe, seconds: float) -> dict[str, Any]:
    """Writes what a finished data set says of itself; returns the manifest.

    Args:
        seconds: wall time of the runs that made it.
    """
    found = summary.marks(out)
    skipped = tuple(Failure(id=id, stage="list", error="not an image by its name") for id in plan.passed_over)
    failures = [failure for m in found for failure in m.failures]
    manifest = summary.manifest(plan, recipe, found, failures, seconds)
    out.write("recipe.yaml", recipe.dump().encode())
    if failures or skipped:
        out.write("failures.parquet", summary.failures_table([*failures, *skipped]))
    if plan.settings["format"] == "files":
        contents = [shards.data_name(m.shard, "files") for m in found if m.rows]
        out.write("data/metadata.jsonl", b"".join(out.read(name) for name in contents))
    out.write("README.md", cards.readme(plan, recipe, manifest).encode())
    write_gallery(out, plan)
    out.write("manifest.json", json.dumps(manifest, indent=2).encode())
    out.remove_partial()
    return manifest
