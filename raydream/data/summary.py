"""How far a data set is, and what was made: marks, logs and the manifest."""

from __future__ import annotations

import io
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from raydream import __version__
from raydream.data.plan import Plan
from raydream.data.shards import MARKS, Failure, Mark, printable
from raydream.data.storage import Folder
from raydream.errors import UsageError
from raydream.recipe import Recipe

LOGS = "_raydream/logs"

PACKAGES = ("tensorflow", "keras", "ray", "pillow", "pyarrow", "numpy")


def done(out: Folder) -> set[int]:
    """Numbers of the shards that have their mark."""
    stems = [name.rsplit("/", 1)[-1].removesuffix(".json") for name in out.files(MARKS) if name.endswith(".json")]
    return {int(stem) for stem in stems if stem.isdecimal()}


def marks(out: Folder) -> list[Mark]:
    """The marks of the finished shards, in order; UsageError if one cannot be read."""
    return [_mark(out, f"{MARKS}/{shard:05d}.json") for shard in sorted(done(out))]


def _mark(out: Folder, name: str) -> Mark:
    try:
        return Mark.parse(out.read(name))
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{out.url}: {name} is damaged: without it, its shard is made again") from error


def mark(out: Folder, what: Mark) -> None:
    """Marks a shard as done; its file must be written already."""
    out.write(f"{MARKS}/{what.shard:05d}.json", what.dump())


def log(out: Folder, entry: dict[str, Any]) -> None:
    """Notes how a run went; a file each, since object stores cannot append."""
    when = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    out.write(f"{LOGS}/{when}.json", json.dumps({"ended": when, **entry}).encode())


def logged_seconds(out: Folder) -> float:
    """Seconds that the runs before this one took, of those that could say so."""
    whole = [name for name in out.files(LOGS) if name.endswith(".json")]
    return float(sum(json.loads(out.read(name))["seconds"] for name in whole))


def manifest(
    plan: Plan, recipe: Recipe, found: Sequence[Mark], failures: Sequence[Failure], seconds: float
) -> dict[str, Any]:
    """Versions, digests, device, counts, seconds and failures of a data set, as plain data."""
    rows = [row for m in found for row in m.rows]
    return {
        "raydream": __version__,
        "python": platform.python_version(),
        "versions": {name: package_version(name) for name in PACKAGES},
        "input": plan.input,
        "recipe": recipe.digest,
        "weights": recipe.weights_digest,
        "settings": plan.settings,
        "devices": sorted({m.device for m in found}),
        "shards": len(plan.shards),
        "images": len(rows),
        "labels": len({row["label"] for row in rows if row["label"]}),
        "failures": len(failures),
        "passed_over": len(plan.passed_over),
        "seconds": round(seconds, 1),
        "dream_seconds": round(sum(row["seconds"] for row in rows), 1),
        "objective_before": mean(rows, "objective_before"),
        "objective_after": mean(rows, "objective_after"),
    }


def package_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def mean(rows: Sequence[Mapping[str, Any]], key: str) -> float | None:
    values = [row[key] for row in rows if row[key] is not None]
    return sum(values) / len(values) if values else None


def failures_table(failures: Sequence[Failure]) -> bytes:
    sink = io.BytesIO()
    records = [{k: printable(v) for k, v in asdict(failure).items()} for failure in failures]
    schema = pa.schema([(name, pa.string()) for name in ("id", "stage", "error")])
    pq.write_table(pa.Table.from_pylist(records, schema), sink)
    return sink.getvalue()
