"""The loop of all training jobs: epochs of steps, validation, checkpoints, the best epoch, early stopping.

def train(settings):                                     # runs on each worker; see `fit`
    worker = loop.Worker.start(settings)
    with worker.strategy.scope():
        learner = ...
    loop.run(learner, stream, loop.Schedule(name="head", epochs=30), worker)

After each epoch, the first worker writes the metrics, and a checkpoint. If the metric has improved, it exports the
learner, so the results are always those of the best epoch. The next run continues after the last checkpoint.
"""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import ray
import ray.train

from raydream import runtime
from raydream.data.storage import Folder
from raydream.errors import WorkError
from raydream.jobs import cluster
from raydream.jobs.dreaming.lease import check_token
from raydream.jobs.train import checkpoints
from raydream.jobs.train.journal import Journal
from raydream.training.learner import Batch, Learner

_TELL = 0.5  # seconds between two messages to the driver
_CHECK = 2.0  # seconds between two checks of the loss; reading it waits for the steps


class Stream(Protocol):
    """The training data of this worker."""

    @property
    def steps(self) -> int:
        """Number of batches of an epoch; equal for all workers."""

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """This worker's parts of the batches of an epoch, counted from 0; the same each time."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long to train.

    Attributes:
        name: name of the phase.
        epochs: maximum number of epochs.
        patience: stop after this number of epochs without an improvement; 0 for never.
        metric: the validation metric that chooses the best epoch. Of equal epochs, the one with the lower validation
            loss is better, if there is a loss.
        lower_is_better: whether a lower value of the metric is better.
        export: folder in the output for the results of the best epoch.
        from_start: whether the state before the first epoch counts as an epoch: for learners that are already good.
    """

    name: str
    epochs: int
    patience: int = 0
    metric: str = "accuracy"
    lower_is_better: bool = False
    export: str = ""
    from_start: bool = False


@dataclass(frozen=True)
class Worker:
    """This process as one of the workers of a run.

    Attributes:
        strategy: TensorFlow's strategy; make variables in its scope.
        rank, workers: number of this worker, from 0, and of all workers.
        output: path or URL of the run's output.
        board: the actor that shows the progress on the driver.
        lease: token of the driver's lease on the output; empty for none.
    """

    strategy: Any
    rank: int
    workers: int
    output: str
    board: Any
    lease: str = ""

    @classmethod
    def start(cls, settings: Mapping[str, Any]) -> Worker:
        """Configures TensorFlow in this worker; call it before anything else uses TensorFlow."""
        os.environ.pop("TF_USE_LEGACY_KERAS", None)  # Ray Train sets it, but raydream's networks are Keras 3
        runtime.worker(round(cluster.own_cores()))
        import tensorflow as tf

        with runtime.quiet():
            strategy = tf.distribute.MultiWorkerMirroredStrategy()
        context = ray.train.get_context()
        place = settings["output"], settings["board"], settings.get("lease", "")
        return cls(strategy, context.get_world_rank(), context.get_world_size(), *place)

    def check_lease(self) -> None:
        """Raises a `WorkError` if another driver has taken the output over."""
        if self.lease:
            check_token(Folder(self.output), self.lease)

    def tell(self, message: str, *values: Any) -> None:
        """Sends a message to the driver; only the first worker does."""
        if not self.rank:
            getattr(self.board, message).remote(*values)

    def traced(self, function: Callable[..., Mapping[str, Any]]) -> Callable[..., Mapping[str, Any]]:
        """The function as a graph, run under the strategy."""
        import tensorflow as tf

        # With reduced retracing, a batch of another size would change the trace of all later batches.
        return tf.function(lambda *values: self.strategy.run(function, values), autograph=False)  # type: ignore[no-any-return]

    def summed(self, sums: Mapping[str, float]) -> dict[str, float]:
        """The sums over all workers of each worker's values."""
        import tensorflow as tf

        names = sorted(sums)
        mine = tf.constant([sums[name] for name in names], tf.float64)
        total = self.strategy.run(lambda x: tf.distribute.get_replica_context().all_reduce("SUM", x), (mine,))
        return dict(zip(names, map(float, total), strict=True))


def run(learner: Learner, data: Stream, schedule: Schedule, worker: Worker) -> None:
    """Trains until the schedule ends; continues after the last checkpoint of this phase.

    Raises:
        UsageError: the checkpoint does not fit the learner.
        WorkError: a metric is not finite; the results stay those of the best epoch before.
    """
    variables = learner.variables()
    state = checkpoints.restored(variables, schedule.name)
    journal = None if worker.rank else Journal(worker.output, schedule.name, state.epochs)
    step = worker.traced(learner.step)
    if schedule.from_start and state.best is None:
        state = replace(state, best=_quality(_validated(learner, schedule, worker, "start"), schedule))
        _export(learner, schedule, worker)
    while state.epochs < schedule.epochs and not _stale(state, schedule):
        began = time.monotonic()
        metrics = _means(worker.summed(_epoch(step, data, state.epochs, schedule, worker)))
        _require_finite(metrics, schedule.name, f"epoch {state.epochs + 1}")
        validated = _validated(learner, schedule, worker, f"epoch {state.epochs + 1}")
        metrics = metrics | {f"validation {name}": value for name, value in validated.items()}
        state = state.after(_quality(validated, schedule))
        if state.best_epoch == state.epochs:
            _export(learner, schedule, worker)
        line = {"phase": schedule.name, "epoch": state.epochs, **metrics, "seconds": time.monotonic() - began}
        if journal:
            worker.check_lease()
            journal.write(line, learner.pictures())
        values = ", ".join(f"{name} {value:.4g}" for name, value in line.items() if isinstance(value, float))
        worker.tell("say", f"{schedule.name}, epoch {state.epochs}: {values}")
        checkpoints.report(variables, state, metrics)


def _validated(learner: Learner, schedule: Schedule, worker: Worker, when: str) -> dict[str, float]:
    """The means of the validation data of all workers."""
    means = _means(worker.summed(learner.evaluate()))
    _require_finite({f"validation {name}": value for name, value in means.items()}, schedule.name, when)
    return means


def _quality(validated: Mapping[str, float], schedule: Schedule) -> checkpoints.Quality:
    value = validated[schedule.metric]
    return -value if schedule.lower_is_better else value, -validated.get("loss", 0.0)


def _stale(state: checkpoints.State, schedule: Schedule) -> bool:
    return bool(schedule.patience) and state.epochs - state.best_epoch >= schedule.patience


def _epoch(
    step: Callable[[Batch], Mapping[str, Any]], data: Stream, epoch: int, schedule: Schedule, worker: Worker
) -> dict[str, float]:
    """The steps of an epoch; returns this worker's sums of the metrics."""
    total: dict[str, Any] = {}
    told = checked = time.monotonic()
    for number, batch in enumerate(data.epoch(epoch), start=1):
        for name, value in step(batch).items():
            total[name] = total[name] + value if name in total else value
        now = time.monotonic()
        if now - checked > _CHECK:
            _require_finite(_means(_numbers(total)), schedule.name, f"epoch {epoch + 1}, step {number}")
            checked = now
        if now - told > _TELL or number == data.steps:
            worker.tell("step", schedule.name, schedule.epochs * data.steps, epoch * data.steps + number)
            told = now
    return _numbers(total)


def _numbers(total: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in total.items()}


def _means(sums: Mapping[str, float]) -> dict[str, float]:
    """Means over the examples; `correct` becomes `accuracy`."""
    count = max(sums["examples"], 1.0)
    names = {"correct": "accuracy"}
    return {names.get(name, name): value / count for name, value in sums.items() if name != "examples"}


def _require_finite(metrics: Mapping[str, float], phase: str, when: str) -> None:
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise WorkError(
                f"{phase}, {when}: {name} is {value}: the training has diverged: use a lower learning rate and another "
                "output. The results of the best epoch are kept"
            )


def _export(learner: Learner, schedule: Schedule, worker: Worker) -> None:
    """Writes the results to the output; only the first worker does."""
    if worker.rank:
        return
    worker.check_lease()
    out = Folder(worker.output)
    with tempfile.TemporaryDirectory() as place:
        learner.export(Path(place))
        for file in sorted(Path(place).iterdir()):
            out.write(f"{schedule.export}/{file.name}" if schedule.export else file.name, file.read_bytes())
