"""Sweeps recipes, on Ray Tune: dreams the same photographs with many recipes, and finds the best.

    python -m raydream.jobs.sweep --input photographs --output swept --recipe quick \\
        --space "step_size=loguniform(0.005, 0.05)" --space "objective=choice: [mixed4, mixed5]"

Each trial dreams a few probe images, octave by octave, and gets scores. The same command continues where it stopped.

    OUT/sweep.html                 all trials: contact sheet, plots, map; one file, no network
    OUT/best.yaml                  the best recipe, for `raydream dataset --recipe`
    OUT/trials.parquet             parameters and scores of all trials
    OUT/pictures/0007/cat.png      the dreams of each trial
    OUT/_raydream/...              one file for each finished trial, settings, lease
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raydream.cli import commands, options
from raydream.cli.progress import Progress
from raydream.core.trade_off import TradeOff
from raydream.errors import UsageError
from raydream.jobs.sweeping.job import Sweep

if TYPE_CHECKING:
    from raydream.data.spaces import Space
    from raydream.data.storage import Folder
    from raydream.data.trials import Trial
    from raydream.jobs.dreaming.lease import Lease
    from raydream.jobs.sweeping.prepare import Plan

_NEAR = 0.15  # how much of a range is near a trial, to both sides
_WORDS = {"done": "done", "stopped": "stopped early", "failed": "failed", "refused": "refused"}  # by status


def run(sweep: Sweep) -> list[Trial]:
    """Sweeps, or continues an earlier run.

    Returns:
        All trials, by number.

    Raises:
        UsageError: an option, a key of the space, a recipe or an image cannot be used.
        WorkError: the work failed, or another driver works on this output.
        KeyboardInterrupt: on SIGINT or SIGTERM; finished trials are kept.
    """
    from raydream.jobs.dreaming.lease import Lease
    from raydream.jobs.sweeping.prepare import prepare

    plan = prepare(sweep)
    with Lease(plan.sweep.output) as lease:
        return _make(plan, lease)


def _make(plan: Plan, lease: Lease) -> list[Trial]:
    """Does the missing trials, then writes the results."""
    from raydream.data.storage import Folder
    from raydream.data.trials import read_trials, write_sweep
    from raydream.jobs.sweeping.finish import finish
    from raydream.jobs.train import settings

    out = Folder(plan.sweep.output)
    settings.check_or_store(plan.sweep.output, plan.decisive())
    before = read_trials(out)
    swept = replace(plan.swept, trials=max([plan.trials, *(trial.number + 1 for trial in before)]))
    write_sweep(out, swept)
    earlier = [trial for trial in before if trial.status != "failed"]
    known = {trial.number for trial in earlier}
    todo = [number for number in range(plan.trials) if number not in known]
    if earlier:
        _say(f"{len(known):,} of {swept.trials:,} trials are already done")
    if todo:
        _tune(plan, earlier, todo, lease)
    lease.check()
    trials = read_trials(out)
    finish(out, swept, trials)
    return trials


def _tune(plan: Plan, earlier: Sequence[Trial], todo: Sequence[int], lease: Lease) -> None:
    """Does the trials `todo`, with a progress bar."""
    from raydream.jobs import cluster

    progress = Progress(len(todo), "trials")
    try:
        with cluster.joined(progress.phase):
            from raydream.jobs.sweeping.tuning import run_trials

            progress.phase("loading the network")
            run_trials(plan, earlier, todo, lease, lambda trial: progress.advance(1, trial.status == "failed"))
    finally:
        progress.close()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(
    job: Callable[..., Sweep],
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe", "-r", help="What is varied: a preset, or the path or URL of a .yaml file. Default: quick."
        ),
    ] = None,
    set: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Change a value of the recipe.")] = None,
    space: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUES",
            help="Vary a key: loguniform(0.005, 0.05), uniform(0, 1), randint(2, 5), choice: [...] or grid: [...].",
        ),
    ] = None,
    around: Annotated[
        str | None,
        typer.Option(metavar="OUT:NUMBER", help="Vary a trial of another sweep: its recipe, and a part of its space."),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print the counts as a line of JSON, on a terminal, too.")
    ] = False,
) -> int:
    """Find the best recipe: dream a few photographs with many recipes. The same command continues where it stopped.

    Exit status: 0 done, 1 no trial could be done or scored, or the whole job failed, 2 wrong usage, 130 interrupted.
    """
    varied = commands.changes(space or [], "--space")
    asked = job(**_varied(recipe, commands.changes(set or []), varied, around))
    try:
        trials = run(asked)
    except KeyboardInterrupt:
        _say("interrupted: finished trials are kept, the same command continues")
        return commands.INTERRUPTED
    if json or not sys.stdout.isatty():
        _print_counts(trials)
    return _report(asked, trials)


def _varied(recipe: str | None, changes: dict[str, Any], space: dict[str, Any], around: str | None) -> dict[str, Any]:
    """The base recipe and the space, as the options say."""
    from raydream.data import spaces
    from raydream.data.storage import Folder
    from raydream.data.trials import read_sweep
    from raydream.recipe import Recipe

    if around is None:
        return {"base": Recipe.load(recipe or "quick", changes), "space": spaces.parse(space)}
    folder, _, number = around.rpartition(":")
    if recipe or space or not folder or not number.isdecimal():
        raise UsageError(f"--around {around}: must be OUT:NUMBER of another sweep, without --recipe and --space")
    swept = read_sweep(Folder(folder))
    base = Recipe.parse(swept.base, changes)
    return {"base": base, "space": _near(Folder(folder), swept.known_space, int(number))}


def _near(out: Folder, space: Space, number: int) -> Space:
    """The part of a space around a trial."""
    from raydream.data.trials import read_trials

    trial = next((trial for trial in read_trials(out) if trial.number == number), None)
    if trial is None:
        raise UsageError(f"--around {out.url}:{number}: this sweep has no trial {number}")
    return space.near(trial.parameters, _NEAR)


def _print_counts(trials: Sequence[Trial]) -> None:
    counts = {status: sum(trial.status == status for trial in trials) for status in _WORDS}
    print(json.dumps({"trials": len(trials), **counts}))


def _report(asked: Sweep, trials: Sequence[Trial]) -> int:
    """Prints how the sweep ended; returns the exit status."""
    place = asked.output.rstrip("/")
    counts = [(word, sum(trial.status == status for trial in trials)) for status, word in _WORDS.items()]
    _say(f"{', '.join(f'{count:,} {word}' for word, count in counts if count)}: open {place}/sweep.html")
    for trial in (trial for trial in trials if trial.error):
        _say(f"trial {trial.number} {_WORDS[trial.status]}: {commands.one_line(trial.error)}")
    done, metric = [trial for trial in trials if trial.status == "done"], TradeOff(asked.metric)
    if all(math.isnan(metric(trial.scores)) for trial in done):
        if done:
            _say(f"there is no best recipe, since no trial has a value of --metric '{asked.metric}'")
        return commands.FAILED
    _say(f"the best recipe is in {place}/best.yaml")
    return commands.OK


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command(
    epilog='Example: python -m raydream.jobs.sweep --input photographs --output swept --space "steps=randint(5, 30)"'
)(options.command(Sweep, main))

if __name__ == "__main__":
    commands.run(app, "sweep")
