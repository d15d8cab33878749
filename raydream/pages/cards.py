"""What dreams say of themselves: inside each picture, in the manifest (for programs), on the card (for people)."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import yaml

from raydream import __version__
from raydream.data import summary
from raydream.data.plan import Plan
from raydream.data.shards import Mark
from raydream.recipe import Recipe

if TYPE_CHECKING:
    from raydream.data.plan import Plan

_WEBDATASET = "Pictures are in columns with their ending, such as `dream.png`; the others are inside `json`.\n\n"


def facts(plan: Plan, found: Sequence[Mark]) -> dict[str, str]:
    """The essentials of a data set, for the gallery's head."""
    rows = [row for m in found for row in m.rows]
    failures = sum(len(m.failures) for m in found)
    shown = {"dreams": f"{len(rows):,}"} | ({"failures": f"{failures:,}"} if failures else {})
    before, after = summary.mean(rows, "objective_before"), summary.mean(rows, "objective_after")
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
    packages = ", ".join(
        f"{package} {summary.package_version(package)}"
        for package in summary.PACKAGES
        if summary.package_version(package)
    )
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
