"""Starts the workers of a training run, and runs its loop on them."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, Protocol

import ray
import ray.train
from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.v2._internal.exceptions import RayTrainError

from raydream import runtime
from raydream.cli.progress import Progress
from raydream.data.storage import Folder
from raydream.errors import UsageError, WorkError
from raydream.jobs import cluster
from raydream.jobs.ray_errors import cause
from raydream.jobs.train.board import Watch

MAX_DEATHS = 8  # of workers: enough for preempted spot machines, and a limit for deaths that always occur


class Job(Protocol):
    """The settings of a job that trains on workers."""

    @property
    def output(self) -> str:
        """Path or URL of a folder."""

    @property
    def workers(self) -> int | None:
        """Number of workers; None for one per GPU, or one without GPUs."""

    @property
    def gpus_per_worker(self) -> float | None:
        """GPUs of each worker; None for 1 if there are GPUs, else 0."""


def run(train: Callable[[dict[str, Any]], None], settings: Mapping[str, Any], job: Job, batch_size: int) -> None:
    """Joins the cluster, or starts one on this machine, and runs a function on the workers that the job asks for.

    Args:
        train, settings: see `fit`.
        job: says how many workers.
        batch_size: examples of a step, which the workers share evenly.

    Raises:
        UsageError, WorkError, KeyboardInterrupt: see `fit` and `workers`.
    """
    progress = Progress(1, "steps")
    with closing(progress), cluster.joined(progress.phase):
        progress.phase("starting the workers")
        gpus, _ = cluster.devices(job.gpus_per_worker, "--gpus-per-worker")
        asked = job.workers or (None if gpus else 1)  # one worker uses all cores, with less work than several
        scaling = workers(asked, batch_size, job.gpus_per_worker)
        fit(train, settings, job.output, scaling, progress)


def fit(
    train: Callable[[dict[str, Any]], None],
    settings: Mapping[str, Any],
    output: str,
    scaling: ScalingConfig,
    progress: Progress | None = None,
) -> None:
    """Runs a function on the workers until it is done; continues an earlier run in the same output.

    If a worker dies, all are started again from the last checkpoint. An error that the function raises ends the run.

    Args:
        train: function of the settings that each worker runs; it calls `loop.run`.
        settings: plain data; `output` and `board`, which `loop.Worker` needs, are added.
        output: a folder's path or URL.
        scaling: the workers; see `workers`.
        progress: shows the steps and the epochs.

    Raises:
        KeyboardInterrupt: on SIGINT or SIGTERM.
        WorkError: the function raised an error, or workers died more than `MAX_DEATHS` times.
    """
    runtime.import_tensorflow()  # Ray's trainer imports it, too, but with TensorFlow's messages
    from ray.train.tensorflow import TensorflowTrainer

    with _signals(), Watch(progress := progress or Progress(1, "steps")) as watch:
        trainer_settings = {**settings, "output": output, "board": watch.board}
        for deaths in range(MAX_DEATHS + 1):
            trainer = TensorflowTrainer(
                train, train_loop_config=trainer_settings, scaling_config=scaling, run_config=_run_config(output)
            )
            try:
                trainer.fit()
                return
            except SystemExit as exited:
                raise KeyboardInterrupt from exited
            except (ray.train.TrainingFailedError, ray.exceptions.RayError) as error:
                if deaths == MAX_DEATHS or not _died(error):
                    raise WorkError(f"the training stopped: {cause(error)}") from error
                progress.say("a worker died: continuing after the last checkpoint")


def _died(error: Exception) -> bool:
    """Whether a worker or its node died. The errors that this causes in the other workers do not count."""
    failures = getattr(error, "worker_failures", None)
    if failures is None:
        return not isinstance(error, ray.train.TrainingFailedError)
    if any(isinstance(failure, UsageError | WorkError) for failure in failures.values()):
        return False
    return any(_is_death(failure) for failure in failures.values())


def _is_death(failure: BaseException) -> bool:
    lost = ("UnavailableError", "AbortedError", "CancelledError")  # TensorFlow: the connection to a worker is lost
    while isinstance(failure, ray.exceptions.RayTaskError) and failure.cause:  # an error in a task of a worker
        failure = failure.cause
    if isinstance(failure, ray.exceptions.UserCodeException):
        return False
    return isinstance(failure, ray.exceptions.RayError | RayTrainError) or type(failure).__name__ in lost


def _run_config(output: str) -> RunConfig:
    """Checkpoints are stored in the output, through `Folder`: at any URL, and atomically."""
    filesystem, path = Folder(output).arrow()
    return RunConfig(
        name="run",
        storage_path=f"{path}/_raydream",
        storage_filesystem=filesystem,
        failure_config=FailureConfig(max_failures=0),  # `fit` counts the deaths
        checkpoint_config=CheckpointConfig(num_to_keep=2),
    )


@contextmanager
def _signals() -> Iterator[None]:
    """Makes SIGTERM end the training as SIGINT does; restores both handlers afterwards.

    On SIGINT, Ray's trainer ends its workers and then this process. On SIGTERM, it would leave the workers running.
    """
    before = {which: signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)


def workers(asked: int | None, batch: int, gpus_per_worker: float | None) -> ScalingConfig:
    """The workers: the number `asked`, or one for each GPU or core, as far as they divide a batch evenly.

    Without GPUs, they share the cores, except a tenth of a core each, which is left for loading images.

    Raises:
        UsageError: they do not fit on this machine. (On a cluster they wait for it to grow, and stderr says so.)
    """
    gpus, room = cluster.devices(gpus_per_worker, "--gpus-per-worker")
    number = asked or max(n for n in range(1, batch + 1) if batch % n == 0 and n <= max(1, room))
    if number > room:
        if cluster.started_here():
            raise UsageError(f"--workers {number}: this machine has room for {room}")
        print(f"the cluster has room for {room} of {number} workers: waiting for it to grow", file=sys.stderr)
    resources = {"GPU": gpus} if gpus else {"CPU": _cores_each(number) - 0.1}
    return ScalingConfig(num_workers=number, use_gpu=bool(gpus), resources_per_worker=resources)


def _cores_each(workers: int) -> int:
    """The largest number of cores that each worker can have; all cores of a worker are on one node."""
    nodes = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    candidates = range(1, max(nodes, default=0) + 1)
    return max((n for n in candidates if sum(cores // n for cores in nodes) >= workers), default=1)
