"""Benchmarks of sweeps: the time of a sweep, ASHA against all trials, the atlas against random search, Tune's overhead.

    python -m tests.bench.sweeps time|asha|atlas|overhead PHOTOGRAPHS OUT

Each part prints its rows of the table in README.md. The sweeps are stored below OUT: the same command continues.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
CORES = 2
LAYERS = ["mixed4", "mixed5", ["mixed3", "mixed5"]]
SWEPT = {"step_size": "loguniform(0.005, 0.05)", "blend": "uniform(0.05, 0.5)", "objective": {"choice": LAYERS}}
WIDE = {
    "step_size": "loguniform(0.004, 0.06)",
    "objective": {"choice": ["mixed2", "mixed3", "mixed4", "mixed5", "mixed6"]},
    "octaves": "randint(1, 4)",
    "octave_scale": "uniform(1.2, 1.8)",
    "steps": "randint(3, 12)",
    "chroma": "uniform(0, 1)",
    "smoothing": "uniform(0, 2)",
}


def swept(photographs: str, out: Path, changes: Mapping[str, Any], space: Mapping[str, Any], **options: Any) -> Sweep:
    """A sweep around `quick`."""
    base = Recipe.load("quick", changes)
    return Sweep(input=photographs, output=str(out), base=base, space=spaces.parse(space), **options)


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
    took, dreaming = time.monotonic() - began, sum(trial.seconds for trial in trials)
    yield f"| {len(trials)} trials | {took:.0f} s | {dreaming:.0f} s of dreaming, all workers together |"


def of_asha(photographs: str, out: Path) -> Iterator[str]:
    """The best score and the work of ASHA, as shares of those of all trials."""
    for seed in SEEDS:
        found = {}
        for asha in (False, True):
            place = out / f"asha-{asha}-{seed}"
            changes = {"size": 160, "carry": "blend", "steps": 10}
            trials = sweep.run(swept(photographs, place, changes, SWEPT, trials=24, probes=1, seed=seed, asha=asha))
            found[asha] = best(place), sum(work(trial, 160, 213) for trial in trials)
        (full, cost), (early, less) = found[False], found[True]
        yield f"| {seed} | {full:.4f} | {early:.4f} | {early / full - 1:+.1%} | {less / cost:.0%} |"


def of_atlas(photographs: str, out: Path) -> Iterator[str]:
    """The cells that the atlas and random search fill with 80 trials each."""
    for seed in SEEDS:
        found = []
        for search in ("random", "atlas"):
            place = out / f"{search}-{seed}"
            trials = sweep.run(
                swept(
                    photographs, place, {"size": 128, "steps": 6}, WIDE, trials=80, probes=1, seed=seed, search=search
                )
            )
            metric = read_sweep(Folder(str(place))).metric_of
            cells = best_of_cells(trials, metric)
            quality = sum(max(0.0, metric(trial)) for trial in cells.values())
            found.append((len(cells), quality, sum(work(trial, 128, 170) for trial in trials)))
        (few, low, cost), (many, high, spent) = found
        yield f"| {seed} | {few} | {many} | {low:.2f} | {high:.2f} | {spent / cost:.0%} |"


def of_overhead(photographs: str, out: Path) -> Iterator[str]:
    """Trials of about 20 s, one after another on all cores: in a worker of Tune, and in a plain loop of this process.

    The first trial, with the start and the tracing, does not count.
    """
    space, whole = {"step_size": "uniform(0.01, 0.02)"}, {"cpus_per_trial": CORES, "trials": 6}
    job = swept(photographs, out / "overhead", {"size": 320}, space, **whole)
    began = time.time()
    trials = sweep.run(job)
    ends = sorted(file.stat().st_mtime for file in (out / "overhead" / "_raydream" / "trials").glob("*.json"))
    plan = prepare(job)
    looped = list(_loop(plan))
    yield f"| Tune, 1 worker | {ends[-1] - ends[0]:.1f} s for {len(ends) - 1} trials | {ends[0] - began:.0f} s before |"
    yield f"| plain loop | {sum(looped[1:]):.1f} s for {len(looped) - 1} trials | dreams of {trials[0].seconds:.0f} s |"


def _loop(plan: Plan) -> Iterator[float]:
    """Seconds of each trial of a plan, without Ray."""
    from raydream import runtime
    from raydream.jobs.sweeping.trial import read_probes, reports

    runtime.worker(CORES)
    probes = read_probes(plan)
    for number in range(plan.trials):
        began = time.monotonic()
        recipe = plan.recipe_of(plan.sweep.space.draw(plan.sweep.seed, number)).as_dict()
        list(reports(plan, probes, number, recipe))
        yield time.monotonic() - began


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
