"""The trials of a sweep as files: one small JSON file for each finished trial, and one for the sweep itself."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from raydream.core.trade_off import TradeOff
from raydream.data import spaces
from raydream.data.marks import numbers
from raydream.data.spaces import Space
from raydream.data.storage import Folder
from raydream.errors import UsageError
from raydream.recipe import Recipe

SWEEP = "_raydream/sweep.json"
TRIALS = "_raydream/trials"
PICTURES = "pictures"

# done; stopped early, since others were better; failed, such as a killed worker; refused, since its recipe is invalid.
Status = Literal["done", "stopped", "failed", "refused"]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A finished trial.

    Attributes:
        number: its number, from 0.
        parameters: keys of the recipe -> values, as in the space.
        status: how it ended.
        recipe: its recipe as plain data, resolved if it is done.
        digest: the digest of the recipe; empty if it is not resolved.
        scores: the means of its scores over the probe images; empty if there are none.
        gains: layer -> mean gain.
        reports: (octaves done, metric) after each octave.
        pictures: id of the probe image -> file of its dream, below the output.
        seconds: time spent dreaming, all probe images together.
        device: name of the device that dreamed.
        error: why it failed or was refused; empty otherwise.
    """

    number: int
    parameters: Mapping[str, Any]
    status: Status
    recipe: Mapping[str, Any]
    digest: str = ""
    scores: Mapping[str, float]
    gains: Mapping[str, float]
    reports: tuple[tuple[int, float], ...] = ()
    pictures: Mapping[str, str]
    seconds: float = 0.0
    device: str = ""
    error: str = ""

    def dump(self) -> bytes:
        """The trial as JSON; NaN is null."""
        return json.dumps(_without_nan(asdict(self)), indent=1, allow_nan=False).encode()

    @classmethod
    def parse(cls, data: bytes) -> Trial:
        """Reads the JSON of `dump`."""
        values = json.loads(data)
        for key in ("scores", "gains"):
            values[key] = {name: _number(value) for name, value in values[key].items()}
        values["reports"] = tuple((int(octave), _number(metric)) for octave, metric in values["reports"])
        if not isinstance(values["number"], int) or not isinstance(values["parameters"], dict):
            raise ValueError("number or parameters have the wrong type")
        return cls(**values)

    @property
    def id(self) -> str:
        """The name of the trial in tables and pages: its number with four digits."""
        return f"{self.number:04d}"


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _without_nan(inside) for key, inside in value.items()}
    return [_without_nan(inside) for inside in value] if isinstance(value, list | tuple) else value


@dataclass(frozen=True, kw_only=True)
class Swept:
    """What is stored of a sweep for those who read it.

    Attributes:
        input: path or URL of the photographs.
        probes: ids of the probe images.
        trials: number of trials that the sweep has when it is complete.
        search: how the parameters were chosen.
        metric: the formula of the trade-off.
        base: the recipe that is varied, as plain data.
        space: the space, as in YAML.
        transfer: the other network that measures, as on the command line; None if there is none.
    """

    input: str
    probes: tuple[str, ...]
    trials: int
    search: str
    metric: str
    base: Mapping[str, Any]
    space: Mapping[str, Any]
    transfer: str | None = None

    @cached_property
    def trade_off(self) -> TradeOff:
        """The metric as a function of the scores."""
        return TradeOff(self.metric)

    @property
    def recipe(self) -> Recipe:
        """The recipe that is varied."""
        return Recipe.parse(self.base)

    @property
    def known_space(self) -> Space:
        """The space."""
        return spaces.parse(self.space)

    def metric_of(self, trial: Trial) -> float:
        """The metric of a trial; NaN if it has no scores."""
        return self.trade_off(trial.scores) if trial.scores else math.nan

    def best(self, trials: Sequence[Trial]) -> list[Trial]:
        """The trials that are done and have a metric, best first."""
        known = [trial for trial in trials if trial.status == "done" and not math.isnan(self.metric_of(trial))]
        return sorted(known, key=self.metric_of, reverse=True)


def is_sweep(out: Folder) -> bool:
    """Whether a folder is the output of a sweep."""
    return out.exists(SWEEP)


def write_sweep(out: Folder, swept: Swept) -> None:
    """Stores the sweep itself."""
    out.write(SWEEP, json.dumps(asdict(swept), indent=1).encode())


def read_sweep(out: Folder) -> Swept:
    """Reads the sweep in an output.

    Raises:
        UsageError: there is none, or its file is damaged.
    """
    if not is_sweep(out):
        raise UsageError(f"{out.url} is not a sweep of raydream: it has no {SWEEP}")
    try:
        values = json.loads(out.read(SWEEP))
        return Swept(**{**values, "probes": tuple(values["probes"])})
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{out.url}: its {SWEEP} is damaged, or from another version of raydream") from error


def write_trial(out: Folder, trial: Trial) -> None:
    """Marks a trial as finished. Write its pictures first."""
    out.write(_name(trial.number), trial.dump())


def _name(number: int) -> str:
    return f"{TRIALS}/{number:07d}.json"


def read_trials(out: Folder) -> list[Trial]:
    """The finished trials of a sweep, by number.

    Raises:
        UsageError: the file of a trial is damaged.
    """
    names = [_name(number) for number in numbers(out.files(TRIALS), ".json")]
    return [_parsed(out, name, data) for name, data in zip(names, out.read_all(names), strict=True)]


def _parsed(out: Folder, name: str, data: bytes) -> Trial:
    try:
        return Trial.parse(data)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"{out.place(name)} is damaged: delete it and run the sweep again") from error


def front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """For each point, whether it is on the Pareto front: no other is as large in both values and larger in one."""
    known = {point for point in points if not any(map(math.isnan, point))}
    best = {p for p in known if not any(q[0] >= p[0] and q[1] >= p[1] and q != p for q in known)}
    return [point in best for point in points]


def table(swept: Swept, trials: Sequence[Trial]) -> bytes:
    """A Parquet file with a row for each trial: number, status, metric, scores, and parameters as JSON and as columns.

    The column of a parameter is a number if all its values are numbers; otherwise it is JSON.
    """
    on_front = front([front_point(trial) for trial in trials])
    rows = [_row(swept, trial, best) for trial, best in zip(trials, on_front, strict=True)]
    columns: dict[str, pa.Array] = {key: pa.array([row.get(key) for row in rows]) for key in _keys(rows)}
    for key in swept.space:
        columns[f"parameter.{key}"] = _column([trial.parameters.get(key) for trial in trials])
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def front_point(trial: Trial) -> tuple[float, float]:
    """Where a trial is among all trade-offs: its gain (that in the other network if there is one) and its likeness."""
    if trial.status != "done":
        return math.nan, math.nan
    return trial.scores.get("transfer", trial.scores.get("gain", math.nan)), trial.scores.get("ssim", math.nan)


def _keys(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row))


def _row(swept: Swept, trial: Trial, on_front: bool) -> dict[str, Any]:
    scores = {**trial.scores, **{f"gain.{layer}": gain for layer, gain in trial.gains.items()}}
    return {
        "number": trial.number,
        "status": trial.status,
        "metric": swept.metric_of(trial),
        "pareto": on_front,
        **{name: value for name, value in scores.items() if name != "seconds"},
        "seconds": trial.seconds,
        "octaves": len(trial.reports),
        "recipe": trial.digest or None,
        "recipe_json": json.dumps(trial.recipe),
        "pictures": list(trial.pictures.values()),
        "error": trial.error or None,
    }


def _column(values: Sequence[Any]) -> pa.Array:
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        whole = all(isinstance(value, int) for value in values)
        return pa.array(values, pa.int64() if whole else pa.float64())
    return pa.array([json.dumps(value) for value in values], pa.string())
