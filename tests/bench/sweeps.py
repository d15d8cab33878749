"""Benchmarks of sweeps: the time of a sweep, ASHA against all trials, the atlas against random search, Tune's overhead.

    python -m tests.bench.sweeps time|asha|atlas|overhead PHOTOGRAPHS OUT

Each part prints its rows of the table in README.md. The sweeps are stored below OUT: the same command continues.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from raydream.core import pyramid
from raydream.data import spaces
from raydream.data.cells import best_of_cells
from raydream.data.storage import Folder
from raydream.data.trials import Trial, read_sweep, read_trials
from raydream.jobs import sweep
from raydream.jobs.sweeping.job import Sweep
from raydream.jobs.sweeping.prepare import Plan, prepare
from raydream.recipe import Recipe

SEEDS = (0, 1, 2)
METRIC = "log(1 + gain) * ssim"  # that of the figures in README.md
CORES = 2
LAYERS = ["mixed4", "mixed5", ["mixed3", "mixed5"]]
SWEPT = {"step_size": "loguniform(0.005, 0.05)", "blend": "uniform(0.05, 0.5)", "objective": {"choice": LAYERS}}
WIDE = {
    "step_size": "loguniform(0.004, 0.06)",
    "objective": {"choice": ["mixed2", "mixed3", "mixed4"]},
    "octaves": "randint(1, 4)",
    "octave_scale": "uniform(1.2, 1.8)",
    "steps": "randint(2, 10)",
    "chroma": "uniform(0, 1)",
    "smoothing": "uniform(0, 2)",
}


def swept(photographs: str, out: Path, changes: Mapping[str, Any], space: Mapping[str, Any], **options: Any) -> Sweep:
    """A sweep around `quick`."""
    base = Recipe.load("quick", changes)
    return Sweep(input=photographs, output=str(out), base=base, space=spaces.parse(space), metric=METRIC, **options)


def work(trial: Trial, height: int, width: int) -> float:
    """Pixels times steps of the octaves that a trial has done, for each probe image."""
    recipe = Recipe.parse(trial.recipe)
    sizes = pyramid.sizes(height, width, recipe.octaves, recipe.octave_scale)[: len(trial.reports)]
    return float(sum(h * w * recipe.steps_of(octave, recipe.octaves) for octave, (h, w) in enumerate(sizes)))


def best(out: Path) -> float:
    """The best metric of a sweep."""
    stored = read_sweep(Folder(str(out)))
    return stored.metric_of(stored.best(read_trials(Folder(str(out))))[0])


def of_time(photographs: str, out: Path) -> Iterator[str]:
    """24 trials of step size, blend and layers on two photographs of 224 pixels."""
    began = time.monotonic()
    trials = sweep.run(swept(photographs, out / "time", {"size": 224, "carry": "blend"}, SWEPT, trials=24))
    took = time.monotonic() - began
    yield f"| {len(trials)} trials | {took:.0f} s | {_processor_seconds():.0f} s of a core, all processes together |"


def _processor_seconds() -> float:
    """What this process and the cluster that it started have used of the cores."""
    import psutil

    me = psutil.Process()
    times = [process.cpu_times() for process in (me, *me.children(recursive=True))]
    return float(sum(used.user + used.system for used in times))


def of_asha(photographs: str, out: Path) -> Iterator[str]:
    """The best score and the work of ASHA, as shares of those of all trials."""
    for seed in SEEDS:
        found = {}
        for asha in (False, True):
            place = out / f"asha-{asha}-{seed}"
            changes = {"size": 224, "carry": "blend", "steps": [20, 18, 8, 3]}
            trials = sweep.run(swept(photographs, place, changes, SWEPT, trials=24, probes=1, seed=seed, asha=asha))
            found[asha] = best(place), sum(work(trial, 224, 299) for trial in trials)
        (full, cost), (early, less) = found[False], found[True]
        yield f"| {seed} | {full:.4f} | {early:.4f} | {early / full - 1:+.1%} | {less / cost:.0%} |"


def of_atlas(photographs: str, out: Path) -> Iterator[str]:
    """The cells that the atlas and random search fill with 40 trials each, one after another and without Ray."""
    from raydream import runtime

    runtime.worker(CORES)
    for seed in SEEDS:
        found = []
        for search in ("random", "atlas"):
            options = {"trials": 40, "probes": 1, "seed": seed, "search": search}
            plan = prepare(swept(photographs, out / "none", {"size": 96, "steps": 6}, WIDE, **options))
            trials = list(_searched(plan))
            cells = best_of_cells(trials, plan.swept.metric_of)
            quality = sum(max(0.0, plan.swept.metric_of(trial)) for trial in cells.values())
            found.append((len(cells), quality, sum(work(trial, 96, 128) for trial in trials)))
        (few, low, cost), (many, high, spent) = found
        yield f"| {seed} | {few} | {many} | {low:.2f} | {high:.2f} | {spent / cost:.0%} |"


def _searched(plan: Plan) -> Iterator[Trial]:
    """The trials of a plan, in this process."""
    from raydream.jobs.sweeping.search import search_of
    from raydream.jobs.sweeping.trial import read_probes, reports
    from raydream.jobs.sweeping.tuning import trial_of

    search, probes = search_of(plan), read_probes(plan)
    for number in range(plan.trials):
        parameters = search.ask(number)
        recipe = plan.recipe_of(parameters).as_dict()
        config = {"number": number, "parameters": parameters, "recipe": recipe}
        trial = trial_of(config, "done", list(reports(plan, probes, number, recipe)))
        search.tell(trial)
        yield trial


def of_overhead(photographs: str, out: Path) -> Iterator[str]:
    """Six trials, one after another on all cores: in a worker of Tune, and in a plain loop of this process.

    The first trial, with the start and the tracing, does not count. Tune's share is the time between the end of an
    octave and the start of the next one, in the same worker. So it can be measured on a machine that is busy.
    """
    from raydream.jobs.sweeping import tuning

    space, whole = {"step_size": "uniform(0.01, 0.02)"}, {"cpus_per_trial": CORES, "trials": 6, "probes": 1}
    job = swept(photographs, out / "overhead", {"size": 160}, space, **whole)
    tuning.Worker = _timed(str(out / "steps.jsonl"))  # type: ignore[misc]
    sweep.run(job)
    steps = [json.loads(line) for line in (out / "steps.jsonl").read_text().splitlines()]
    first = sum(number == steps[0][0] for number, *_ in steps)
    busy = sum(end - start for _, start, end in steps[first:])
    idle = sum(after[1] - before[2] for before, after in pairwise(steps[first - 1 :]))
    looped = list(_loop(prepare(job)))[1:]
    each = idle / len(looped)
    yield f"| Tune, one worker | {busy:.1f} s | {each:.3f} s for each trial | {each / 20:.1%} of a trial of 20 s |"
    yield f"| plain loop | {sum(looped):.1f} s | - | - |"


def _timed(log: str) -> Any:
    """A worker that writes down when each octave began and ended."""
    from raydream.jobs.sweeping.trial import Worker

    class Timed(Worker):
        def step(self) -> dict[str, Any]:
            began = time.time()
            result = super().step()
            with open(log, "a") as file:
                file.write(f"{json.dumps([self._number, began, time.time()])}\n")
            return result

    return Timed


def _loop(plan: Plan) -> Iterator[float]:
    """Seconds of each trial of a plan, without Ray."""
    from raydream import runtime

    runtime.worker(CORES)
    began = time.monotonic()
    for _ in _searched(plan):
        yield time.monotonic() - began
        began = time.monotonic()


PARTS: Mapping[str, Callable[[str, Path], Iterator[str]]] = {
    "time": of_time,
    "asha": of_asha,
    "atlas": of_atlas,
    "overhead": of_overhead,
}


def main(arguments: Sequence[str]) -> None:
    """Runs one part."""
    part, photographs, out = arguments
    for row in PARTS[part](photographs, Path(out)):
        print(row, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
