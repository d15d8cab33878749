"""The cards of data sets and networks: Markdown with YAML metadata for the Hugging Face Hub."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from raydream import __version__
from raydream.data import parquet, summary
from raydream.data.formats import BY_NAME
from raydream.data.plan import Plan
from raydream.data.shards import PARTS
from raydream.data.summary import Summary
from raydream.recipe import Recipe

_WEBDATASET = "The names of the picture columns include the file ending (`dream.png`); all other columns are in `json`."


def facts(plan: Plan, made: Summary) -> dict[str, str]:
    """The main facts of a data set, for the header of the gallery."""
    shown = {"dreams": f"{made.images:,}"} | ({"failures": f"{made.failures:,}"} if made.failures else {})
    if made.objective_before is not None and made.objective_after is not None:
        shown["objective"] = f"{made.objective_before:.3g} → {made.objective_after:.3g}"
    return shown | {
        "recipe": recipe_name(plan.job.recipe),
        "device": ", ".join(made.devices),
        "raydream": __version__,
    }


def recipe_name(recipe: Recipe) -> str:
    """The name of the preset, if the recipe is one, and the beginning of the digest."""
    preset = summary.preset_of(recipe)
    return f"{preset} ({recipe.digest[:12]})" if preset else recipe.digest[:12]


def dataset(plan: Plan, made: Summary | None) -> str:
    """The data set card: metadata that `datasets.load_dataset` reads, then text.

    Args:
        made: the sums of a finished data set; None if it is not finished, so that the card refers to its parts.
    """
    recipe = plan.job.recipe
    head = yaml.safe_dump(_head(plan, made), sort_keys=False, allow_unicode=True).strip()
    webdataset = f"{_WEBDATASET}\n\n" if plan.job.format == "webdataset" else ""
    return f"""---
{head}
---
# Deep Dreams

{_counts(plan, made)}

`datasets.load_dataset("this/folder")` opens it; `index.html` shows it; `manifest.json` has versions, digests and
figures. Each dream file contains its recipe and seed: `raydream replay` makes it again from its photograph.

{webdataset}| column | content |
|---|---|
| id | path of the photograph below the input folder |
| label | class folder of the photograph |
| dream, source | the dream; the photograph at the same size, if it was kept |
| width, height | size of both pictures in pixels |
| seed | seed of the dream's random numbers |
| recipe | digest of the recipe |
| objective_before, objective_after | objective of the photograph and of the dream |

Recipe {recipe_name(recipe)}:

```yaml
{recipe.dump().strip()}
```
"""


def _counts(plan: Plan, made: Summary | None) -> str:
    network = summary.last_part(plan.job.recipe.backbone)
    if made is None:
        return f"Not finished: {plan.images:,} photographs are being dreamed with {network}."
    photographs = made.images + made.failures
    text = f"{made.images:,} dreams of {photographs:,} photographs, made by raydream {__version__}\nwith {network}."
    return f"{text} {made.failures:,} could not be dreamed: see failures.parquet." if made.failures else text


def _head(plan: Plan, made: Summary | None) -> dict[str, Any]:
    """The metadata for the Hugging Face Hub and for `datasets`."""
    format = plan.job.format
    finished = {"parquet": "data/*.parquet", "webdataset": "data/*.tar", "files": "data/**"}[format]
    parts = f"{PARTS}/*.{BY_NAME[format].ENDING}"
    path = parts if made is None else finished
    head: dict[str, Any] = {
        "pretty_name": "Deep Dreams",
        "license": plan.job.license,
        "tags": ["deep-dream", "raydream"],
        "size_categories": [_size_category(plan.images if made is None else made.images)],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": path}]}],
    }
    if format == "parquet" and plan.labels:
        head["dataset_info"] = {"features": _features(plan.labels, plan.job.keep_source)}
    return head


def _features(labels: Sequence[str], keep_source: bool) -> list[dict[str, Any]]:
    """The columns, with the labels as classes: `datasets` converts the text in the files to class numbers."""
    names = {str(number): label for number, label in enumerate(labels)}
    found = []
    for name, feature in parquet.features(keep_source).items():
        kind: Any = "image" if feature["_type"] == "Image" else feature["dtype"]
        found.append({"name": name, "dtype": {"class_label": {"names": names}} if name == "label" else kind})
    return found


def network(name: str, about: str, command: str, rows: Sequence[Mapping[str, str]]) -> str:
    """The card of a network that a job made: a description, the command that makes it, and its figures.

    Args:
        name, about: name of the network, and its description in Markdown.
        command: the command that makes it; see `command`.
        rows: rows of the table of figures, all with the same keys.
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
    """A job's command line, with only the last part of each path, since paths are local."""
    words = ["python -m", f"raydream.jobs.{job}"]
    for key, value in options.items():
        name = key.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
            continue
        text = ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
        words.append(f"--{name} {shlex.quote(summary.last_part(text))}")
    return " ".join(words)


def _size_category(images: int) -> str:
    """Hugging Face's name for the size of a data set."""
    steps = (
        (1_000, "n<1K"),
        (10_000, "1K<n<10K"),
        (100_000, "10K<n<100K"),
        (1_000_000, "100K<n<1M"),
    )
    return next((name for most, name in steps if images < most), "n>1M")
