"""The summary of a data set: sums over its shards, logs of its runs, and the manifest."""

from __future__ import annotations

import io
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from raydream import __version__
from raydream.data.marks import Mark
from raydream.data.plan import Plan
from raydream.data.rows import Failure, printable
from raydream.data.storage import Folder
from raydream.recipe import Recipe, presets

LOGS = "_raydream/logs"

PACKAGES = ("tensorflow", "keras", "ray", "pillow", "pyarrow", "numpy")


@dataclass(frozen=True)
class Summary:
    """Sums over the finished shards."""

    shards: int
    images: int
    failures: int
    seconds: float  # spent dreaming
    devices: tuple[str, ...]
    objective_before: float | None  # mean
    objective_after: float | None

    @classmethod
    def of(cls, found: Sequence[Mark]) -> Summary:
        """The summary of some shards, from their marks."""
        measured = sum(mark.measured for mark in found)
        before, after = (sum(getattr(mark, f"objective_{when}") for mark in found) for when in ("before", "after"))
        return cls(
            shards=len(found),
            images=sum(mark.images for mark in found),
            failures=sum(len(mark.failures) for mark in found),
            seconds=sum(mark.seconds for mark in found),
            devices=tuple(sorted({mark.device for mark in found})),
            objective_before=before / measured if measured else None,
            objective_after=after / measured if measured else None,
        )


def log(out: Folder, entry: dict[str, Any]) -> None:
    """Logs how a run ended. Each run has its own file, since object stores cannot append."""
    when = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    out.write(f"{LOGS}/{when}.json", json.dumps({"ended": when, **entry}).encode())


def logged_seconds(out: Folder) -> float:
    """Total seconds of the earlier runs, without killed ones."""
    whole = [name for name in out.files(LOGS) if name.endswith(".json")]
    return float(sum(json.loads(data)["seconds"] for data in out.read_all(whole)))


def manifest(plan: Plan, made: Summary, seconds: float) -> dict[str, Any]:
    """Versions, digests, devices, counts, seconds and failures of a data set, as plain data.

    It contains no local paths: data sets are often published, and paths may reveal who made them.

    Args:
        seconds: wall time of all runs.
    """
    job = plan.job
    return {
        "raydream": __version__,
        "python": platform.python_version(),
        "versions": {name: package_version(name) for name in PACKAGES},
        "input": last_part(job.input),
        "preset": preset_of(job.recipe),
        "recipe": job.recipe.digest,
        "weights": job.recipe.weights_digest,
        "dreamer": job.dreamer and last_part(job.dreamer),
        "dreamer_digest": job.dreamer_digest,
        "format": job.format,
        "picture": job.picture,
        "keep_source": job.keep_source,
        "batch_size": job.batch_size,
        "limit": job.limit,
        "license": job.license,
        "devices": list(made.devices),
        "shards": plan.shards,
        "images": made.images,
        "labels": None if plan.labels is None else len(plan.labels),
        "failures": made.failures,
        "passed_over": plan.passed_over,
        "seconds": round(seconds, 1),
        "dream_seconds": round(made.seconds, 1),
        "objective_before": made.objective_before,
        "objective_after": made.objective_after,
    }


def preset_of(recipe: Recipe) -> str | None:
    """The preset that equals a recipe, apart from values that were filled in by resolving it; None if there is none."""

    def given(recipe: Recipe) -> dict[str, Any]:
        return {**recipe.as_dict(), "weights_digest": None, "precision": recipe.precision or "float32"}

    return next((name for name in presets() if given(Recipe.load(name)) == given(recipe)), None)


def last_part(path: str) -> str:
    """The last part of a path or URL; a plain name is returned unchanged."""
    return path.rstrip("/").rpartition("/")[2]


def package_version(package: str) -> str | None:
    """The installed version of a package; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def failures_table(failures: Sequence[Failure]) -> bytes:
    """A Parquet file with the columns id, stage and error."""
    sink = io.BytesIO()
    records = [{k: printable(v) for k, v in asdict(failure).items()} for failure in failures]
    schema = pa.schema([(name, pa.string()) for name in ("id", "stage", "error")])
    pq.write_table(pa.Table.from_pylist(records, schema), sink)
    return sink.getvalue()
