"""What dreams say of themselves: inside each picture, in the manifest (for programs), on the card (for people)."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from raydream import __version__, codec, storage
from raydream.errors import UsageError
from raydream.recipe import Recipe
from raydream.shards import Failure, Mark

if TYPE_CHECKING:
    from raydream.dataset import Plan

_WEBDATASET = "Pictures are in columns with their ending, such as `dream.png`; the others are inside `json`.\n\n"
_PACKAGES = ("tensorflow", "keras", "ray", "pillow", "pyarrow", "numpy")


def inside(recipe: Recipe, id: str, seed: int, source_digest: str, dreamer: str | None = None) -> dict[str, Any]:
    """What a dream carries inside its file, so that it can be made again from its photograph."""
    known = {
        "raydream": __version__,
        "id": id,
        "seed": seed,
        "source_sha256": source_digest,
        "recipe_digest": recipe.digest,
        "recipe": recipe.as_dict(),
    }
    return known | ({"dreamer": dreamer} if dreamer else {})


def found_inside(data: bytes, name: str) -> dict[str, Any]:
    """What `inside` put into a dream's file, if it is enough to make the dream again.

    Raises:
        UsageError: it is not; or a dreamer made it, not its recipe.
    """
    found: Any = codec.read_metadata(data) or {}
    kinds = {"recipe": dict, "id": str, "seed": int, "source_sha256": str}
    if not all(isinstance(found.get(key), kind) for key, kind in kinds.items()) or found["seed"] < 0:
        raise UsageError(f"{name} has no recipe inside: it was not made by raydream, or lost it")
    if found.get("dreamer"):
        raise UsageError(f"{name} was made by the dreamer {found['dreamer']}, not by its recipe")
    return dict(found)


def photograph(image: str, source: str | None, inside: dict[str, Any]) -> bytes:
    """The bytes of the photograph of a dream, `image`, checked against the digest inside the dream.

    It is at `source`, or below that folder; without one, below the folder of the dream.

    Raises:
        UsageError: there is none, or it is another one.
    """
    place = source or os.path.dirname(image) or "."
    if "://" in place or not Path(place).is_file():
        place = f"{place.rstrip('/')}/{inside['id']}"
    data = storage.read(place, what="photograph")
    if hashlib.sha256(data).hexdigest() != inside["source_sha256"]:
        raise UsageError(f"{place} is not the photograph {inside['id']} that was dreamed: its digest differs")
    return data


def manifest(
    plan: Plan, recipe: Recipe, found: Sequence[Mark], failures: Sequence[Failure], seconds: float
) -> dict[str, Any]:
    """Versions, digests, device, counts, seconds and failures of a data set, as plain data."""
    rows = [row for m in found for row in m.rows]
    return {
        "raydream": __version__,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
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
        "objective_before": _mean(rows, "objective_before"),
        "objective_after": _mean(rows, "objective_after"),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _mean(rows: Sequence[Mapping[str, Any]], key: str) -> float | None:
    values = [row[key] for row in rows if row[key] is not None]
    return sum(values) / len(values) if values else None


def facts(plan: Plan, found: Sequence[Mark]) -> dict[str, str]:
    """The essentials of a data set, for the gallery's head."""
    rows = [row for m in found for row in m.rows]
    failures = sum(len(m.failures) for m in found)
    shown = {"dreams": f"{len(rows):,}"} | ({"failures": f"{failures:,}"} if failures else {})
    before, after = _mean(rows, "objective_before"), _mean(rows, "objective_after")
    if before is not None and after is not None:
        shown["objective"] = f"{before:.3g} → {after:.3g}"
    devices = ", ".join(sorted({m.device for m in found}))
    return shown | {
        "recipe": plan.settings["recipe"][:12],
        "device": devices,
        "raydream": __version__,
    }


def readme(plan: Plan, recipe: Recipe, made: Mapping[str, Any]) -> str:
    """The data set card: a head that `datasets.load_dataset` reads, then words."""
    format = plan.settings["format"]
    files = {"parquet": "data/*.parquet", "webdataset": "data/*.tar", "files": "data/**"}[format]
    head = {
        "pretty_name": "Deep Dreams",
        "tags": ["deep-dream", "raydream"],
        "size_categories": [_size_category(made["images"])],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": files}]}],
    }
    lost = f"{made['failures']:,} could not be dreamed; failures.parquet says why." if made["failures"] else ""
    return f"""---
{yaml.safe_dump(head, sort_keys=False).strip()}
---
# Deep Dreams

{made["images"]:,} dreams of {made["images"] + made["failures"]:,} photographs, made by raydream {made["raydream"]}
with {recipe.backbone}. {lost}

`datasets.load_dataset("this/folder")` opens it; `index.html` shows it; `manifest.json` has versions, digests and
figures. The dreams carry recipe and seed inside: `raydream replay` makes one again from its photograph.

{_WEBDATASET if format == "webdataset" else ""}| column | what |
|---|---|
| id, label | path below the input folder, and its class folder |
| dream, source | the pictures; the source as it was dreamed, if kept |
| width, height | pixels |
| seed, recipe | of the random stream; digest of the recipe |
| objective_before, objective_after | of the photograph and of the dream |
| seconds | spent dreaming it |

Recipe `{made["recipe"][:12]}`:

```yaml
{recipe.dump().strip()}
```
"""


def network(name: str, about: str, command: str, rows: Sequence[Mapping[str, str]]) -> str:
    """The card of a network that a job made: what it is, the command that makes it, and its figures.

    Args:
        name, about: its name, and some Markdown on it.
        command: see `command`.
        rows: of a table, with the same keys.
    """
    head = {"library_name": "keras", "tags": ["deep-dream", "raydream"]}
    lines = [[*rows[0]], ["---"] * len(rows[0]), *([*row.values()] for row in rows)] if rows else []
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    packages = ", ".join(f"{package} {_version(package)}" for package in _PACKAGES if _version(package))
    return f"""---
{yaml.safe_dump(head, sort_keys=False).strip()}
---
# {name}

{about}

```sh
{command}
```

Made with raydream {__version__}, {packages}.

{table}
"""


def command(job: str, options: Mapping[str, Any]) -> str:
    """A job's command line, with the last parts of paths only: the others are this machine's own."""
    words = ["python -m", f"raydream.jobs.{job}"]
    for key, value in options.items():
        text = ",".join(value) if isinstance(value, tuple | list) else str(value)
        words.append(f"--{key.replace('_', '-')} {shlex.quote(last_part(text))}")
    return " ".join(words)


def last_part(path: str) -> str:
    """Of a path or URL; a name as it is."""
    return path.rstrip("/").rsplit("/", 1)[-1]


def _size_category(images: int) -> str:
    """Hugging Face's names for sizes of data sets."""
    steps = (
        (1_000, "n<1K"),
        (10_000, "1K<n<10K"),
        (100_000, "10K<n<100K"),
        (1_000_000, "100K<n<1M"),
    )
    return next((name for most, name in steps if images < most), "n>1M")
