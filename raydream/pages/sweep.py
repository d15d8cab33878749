"""The page of a sweep: a contact sheet of all trials, plots, and the map; one HTML file that loads nothing.

Its structure, style and script are in sweep.html.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from PIL import Image

from raydream import __version__
from raydream.core.metrics import NAMES
from raydream.data import cells, codec
from raydream.data.spaces import Choice, Range
from raydream.data.storage import Folder
from raydream.data.summary import last_part, preset_of
from raydream.data.trials import Swept, Trial, front, front_point
from raydream.pages import parts
from raydream.recipe import Recipe

NAME = "sweep.html"
_KEYS = "← → trials &ensp; ↑ ↓ photographs &ensp; Esc back"
# What the page calls the scores, and which direction is better; 0 if it depends on what one wants.
_SCORES: Mapping[str, tuple[str, int]] = {
    "gain": ("gain", 1),
    "transfer": ("transfer", 1),
    "ssim": ("likeness (SSIM)", 1),
    "color_shift": ("colour shift", -1),
    "seam": ("seam", 0),
    "motif": ("motif scale, pixels", 0),
    "strength": ("strength", 0),
    "seconds": ("seconds", -1),
}


def write(out: Folder, swept: Swept, trials: Sequence[Trial]) -> None:
    """Writes the page to the file `NAME`. Pictures that are gone are left out."""
    side = parts.side_for((len(trials) + 1) * len(swept.probes))
    photographs = [_photograph(swept, id, side) for id in swept.probes]
    rows = [_row(out, swept, trial, side) for trial in trials]
    for row, on_front in zip(rows, front([front_point(trial) for trial in trials]), strict=True):
        row["front"] = on_front
    data = {
        "probes": [{"id": id, "picture": p} for id, p in zip(swept.probes, photographs, strict=True)],
        "trials": rows,
        "best": next((trial.number for trial in swept.best(trials)), None),
        "parameters": [_parameter(key, values) for key, values in swept.known_space.keys],
        "scores": _scores(trials),
        "axes": [{"name": name, "label": _SCORES[name][0], "borders": b} for name, b in cells.AXES.items()],
        "command": f"raydream sweep {_word(swept.input)} OUT --around {_word(out.url)}:",
    }
    out.write(NAME, page(data, facts(swept, trials)).encode())


def page(data: Mapping[str, Any], shown: Mapping[str, str]) -> str:
    """The whole page, from the data that its script reads."""
    count = len(data["trials"])
    probes = len(data["probes"])
    content = {
        "head": parts.head("Sweep"),
        "title": "Sweep",
        "notice": f"{count:,} trial{'s' * (count != 1)} on {probes} photograph{'s' * (probes != 1)}",
        "facts": parts.facts(shown),
        "lightbox": parts.filled("lightbox.html", {"keys": _KEYS}),
        "data": parts.json_text(data),
    }
    return parts.filled("sweep.html", content)


def facts(swept: Swept, trials: Sequence[Trial]) -> dict[str, str]:
    """The main facts of a sweep."""
    best, recipe = next(iter(swept.best(trials)), None), swept.recipe
    counts = {status: sum(trial.status == status for trial in trials) for status in ("stopped", "failed", "refused")}
    found = cells.best_of_cells(trials, swept.metric_of)
    return {
        "best": f"trial {best.number}: {swept.metric_of(best):.3g}" if best else "none",
        "metric": swept.metric,
        **{status: f"{count:,}" for status, count in counts.items() if count},
        "cells of the map": f"{len(found)} of {cells.CELLS}",
        "search": swept.search,
        "recipe": preset_of(recipe) or recipe.digest[:12],
        "raydream": __version__,
    }


def _scores(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    known = [name for name in NAMES if any(name in trial.scores for trial in trials)]
    first = {"name": "metric", "label": "metric", "better": 1}
    return [first, *({"name": n, "label": _SCORES[n][0], "better": _SCORES[n][1]} for n in known)]


def _parameter(key: str, values: Range | Choice) -> dict[str, Any]:
    if isinstance(values, Choice):
        return {"key": key, "values": [_text(value) for value in values.values]}
    return {"key": key, "low": values.low, "high": values.high, "log": values.log}


def _text(value: Any) -> str:
    """A value as a short text: layers and weights of terms, numbers, or YAML."""
    if isinstance(value, Mapping):
        term = dict(value)
        name = str(term.pop("layer", "") or term.pop("class", ""))
        rest = ", ".join(f"{key} {_text(inside)}" for key, inside in term.items())
        return f"{name} ({rest})" if name and rest else name or rest
    if isinstance(value, list | tuple):
        mark = " + " if any(isinstance(inside, str | Mapping) for inside in value) else ", "
        return mark.join(_text(inside) for inside in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _row(out: Folder, swept: Swept, trial: Trial, side: int) -> dict[str, Any]:
    metric = swept.metric_of(trial)
    scores = {"metric": metric, **trial.scores}
    cell = cells.cell_of(trial.scores) if trial.status == "done" else None
    names = [trial.pictures.get(id) for id in swept.probes]
    return {
        "number": trial.number,
        "status": trial.status,
        "scores": _known(scores),
        "gains": _known(trial.gains),
        "parameters": dict(trial.parameters),
        "texts": {key: _text(value) for key, value in trial.parameters.items()},
        "octaves": len(trial.reports),
        "cell": cell,
        "pictures": [name and _picture(partial(out.read, name), side) for name in names],
        "files": names,
        "recipe": Recipe.parse(trial.recipe).dump() if trial.recipe else "",
        "error": trial.error,
    }


def _known(numbers: Mapping[str, float]) -> dict[str, float | None]:
    """Numbers for JSON, which has no NaN."""
    return {name: value if math.isfinite(value) else None for name, value in numbers.items()}


def _word(path: str) -> str:
    """The last part of a path or URL as a word of a command line."""
    return shlex.quote(last_part(path))


def _photograph(swept: Swept, id: str, side: int) -> dict[str, Any] | None:
    """A photograph as it is dreamed: upright, and at the size of the recipe."""

    def read() -> bytes:
        image = codec.decode(Folder(swept.input).read(id))
        return codec.encode(codec.fit(image, swept.recipe.size))

    return _picture(read, side)


def _picture(read: Callable[[], bytes], side: int) -> dict[str, Any] | None:
    """A picture for the page; None if it is gone or cannot be read."""
    try:
        image = parts.thumbnail(read(), side)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # Pillow calls broken PNG a SyntaxError
        return None
    return {
        "src": parts.data_uri(image),
        "width": image.width,
        "height": image.height,
        "colour": parts.colour(image),
    }
