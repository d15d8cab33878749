"""Runs the trials of a sweep on Ray Tune, and writes each one down when it ends.

Tune shares out the workers, keeps them for the next trial, tries failed trials again and, with ASHA, stops poor ones.
Its own files are temporary: what a sweep has done is in the output (see `data.trials`), and survives any death.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

from ray import tune
from ray.tune.error import TuneError
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from raydream import assets, runtime
from raydream.data.storage import Folder
from raydream.data.trials import Status, Trial, write_trial
from raydream.errors import UsageError, WorkError
from raydream.jobs import cluster
from raydream.jobs.dreaming.lease import Lease
from raydream.jobs.ray_errors import cause
from raydream.jobs.sweeping.prepare import Plan
from raydream.jobs.sweeping.search import Search, search_of
from raydream.jobs.sweeping.trial import METRIC, REPORT, RUNG, Report, Worker, comparable

_MOST_OCTAVES = 32  # the limit of a recipe


def run_trials(
    plan: Plan, earlier: Sequence[Trial], todo: Sequence[int], lease: Lease, done: Callable[[Trial], None]
) -> None:
    """Does the trials `todo`. The process must have joined a cluster.

    Args:
        plan: the sweep.
        earlier: the trials that are finished already, from which the search learns.
        todo: numbers of the trials to do.
        lease: the driver's lease.
        done: called with each trial when it is written.

    Raises:
        UsageError: this machine has fewer cores than a trial needs, or no GPU.
        WorkError: the cluster or the storage failed.
    """
    sweep = plan.sweep
    cluster.check_cores(sweep.cpus_per_trial, "--cpus-per-trial")
    gpus = cluster.devices(sweep.gpus_per_trial, "--gpus-per-trial").gpus
    runtime.advise_precision(sweep.base.precision, gpu=bool(gpus))
    search, scheduler = search_of(plan), _scheduler(plan, earlier)
    for trial in earlier:
        search.tell(trial)
    ledger = _Ledger(plan, search, lease, done)
    worker = tune.with_parameters(Worker, plan=plan, lease=lease.token)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        tuner = tune.Tuner(
            tune.with_resources(worker, {"cpu": sweep.cpus_per_trial, "gpu": gpus}),
            tune_config=tune.TuneConfig(
                search_alg=_Numbers(plan, search, todo, ledger),
                scheduler=scheduler,
                num_samples=len(todo),
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                storage_path=folder,
                callbacks=[ledger],
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=sweep.retries),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        try:
            tuner.fit()
        except TuneError as error:
            raise ledger.error or WorkError(f"Ray Tune failed: {cause(error)}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Tune without its log lines, tables, loggers and signal handlers: errors are reported in one line."""
    wanted = {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "TUNE_DISABLE_SIGINT_HANDLER": "1", "RAY_AIR_NEW_OUTPUT": "0"}
    before = {key: os.environ.get(key) for key in wanted}
    loggers = [logging.getLogger(name) for name in ("ray.tune", "ray.train", "ray.air")]
    levels = [logger.level for logger in loggers]
    os.environ.update(wanted)
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        for key, value in before.items():
            os.environ.pop(key)
            if value is not None:
                os.environ[key] = value


def _scheduler(plan: Plan, earlier: Sequence[Trial]) -> TrialScheduler:
    """What decides after each octave whether a trial goes on; ASHA knows the reports of earlier trials."""
    sweep = plan.sweep
    if not sweep.asha:
        return FIFOScheduler()  # type: ignore[no-untyped-call]
    most = int(sweep.reduction**_MOST_OCTAVES)
    scheduler: Any = ASHAScheduler(
        time_attr=RUNG, metric=METRIC, mode="max", max_t=most, reduction_factor=sweep.reduction
    )
    for trial in earlier:
        known: Any = _Earlier(f"earlier-{trial.id}")
        scheduler.on_trial_add(None, known)
        for octave, metric in trial.reports:
            scheduler.on_trial_result(None, known, comparable(plan, octave, metric))
        scheduler.on_trial_remove(None, known)
    return scheduler  # type: ignore[no-any-return]


class _Earlier(NamedTuple):
    """A trial of an earlier run, as far as ASHA asks."""

    trial_id: str


class _Unstored:
    """An object that Tune stores without its contents: the output holds all that is needed to continue."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Numbers(_Unstored, Searcher):
    """Gives Tune the trials to do, one after another.

    The recipe is resolved here: its errors end no worker, and all workers use the weights that the driver has found.
    """

    def __init__(self, plan: Plan, search: Search, todo: Sequence[int], ledger: _Ledger) -> None:
        super().__init__(metric=METRIC, mode="max")
        self._plan, self._search, self._todo, self._ledger = plan, search, list(todo), ledger

    def suggest(self, trial_id: str) -> Any:
        """The next trial; a recipe that is invalid is written down as refused."""
        while self._todo:
            number = self._todo.pop(0)
            parameters = self._search.ask(number)
            try:
                recipe = assets.resolve(self._plan.recipe_of(parameters)).as_dict()
            except UsageError as error:
                self._ledger.refuse(number, parameters, str(error))
                continue
            return {"number": number, "parameters": parameters, "recipe": recipe}
        return Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Nothing: the ledger tells the search."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing; see `_Unstored`."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing; see `_Unstored`."""


class _Ledger(_Unstored, tune.Callback):
    """Writes down each trial when it ends, and tells the search."""

    def __init__(self, plan: Plan, search: Search, lease: Lease, done: Callable[[Trial], None]) -> None:
        self._plan, self._search, self._lease, self._done = plan, search, lease, done
        self._reports: dict[str, list[Report]] = {}
        self.error: Exception | None = None  # why nothing more can be written; Tune keeps it only as text

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
        """Keeps a report; a trial that is tried again begins with its first octave."""
        report: Report = result[REPORT]
        known = [earlier for earlier in self._reports.get(trial.trial_id, []) if earlier.octave < report.octave]
        self._reports[trial.trial_id] = [*known, report]

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """A trial has done its last octave, or is stopped."""
        found = self._reports.pop(trial.trial_id)
        last = found[-1]
        if last.refused:
            self.refuse(trial.config["number"], trial.config["parameters"], last.refused)
        else:
            self._write(trial_of(trial.config, "done" if last.last else "stopped", found))

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """A trial has failed for the last time."""
        error = trial.get_pickled_error()
        found = self._reports.pop(trial.trial_id, [])
        self._write(replace(trial_of(trial.config, "failed", found), error=cause(error) if error else "it failed"))

    def refuse(self, number: int, parameters: dict[str, Any], reason: str) -> None:
        """A recipe that cannot be used."""
        config = {"number": number, "parameters": parameters, "recipe": {}}
        self._write(replace(trial_of(config, "refused", []), error=reason))

    def _write(self, trial: Trial) -> None:
        try:
            self._lease.check()
            write_trial(Folder(self._plan.sweep.output), trial)
        except (WorkError, OSError) as error:
            self.error = error
            raise
        self._search.tell(trial)
        self._done(trial)


def trial_of(config: dict[str, Any], status: Status, found: Sequence[Report]) -> Trial:
    """What is written down of a trial.

    Args:
        config: its number, its parameters and its recipe.
        status: how it ended.
        found: its reports, in order.
    """
    last = found[-1] if found else None
    score = last.score if last else None
    return Trial(
        number=config["number"],
        parameters=config["parameters"],
        status=status,
        recipe=last.recipe if last and last.recipe else config["recipe"],
        digest=last.digest if last else "",
        scores=score.numbers if score else {},
        gains=score.gains if score else {},
        reports=tuple((report.octave, report.metric) for report in found),
        pictures=last.pictures if last else {},
        seconds=last.seconds if last else 0.0,
        device=last.device if last else "",
    )
