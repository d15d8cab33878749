"""Starts the workers of a training run, and runs its loop on them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray
import ray.train
from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig

from raydream import runtime
from raydream.data.storage import Folder
from raydream.errors import UsageError, WorkError
from raydream.jobs import cluster
from raydream.jobs.ray_errors import cause
from raydream.jobs.train.journal import MetricsPrinter

MAX_FAILURES = 8  # of workers: enough for preempted spot machines, and a limit for errors that always occur


def fit(
    loop: Callable[[dict[str, Any]], None],
    settings: Mapping[str, Any],
    output: str,
    scaling: ScalingConfig,
    datasets: Mapping[str, Any],
) -> None:
    """Runs the loop on the workers until it is done; continues an earlier run in the same output.

    Args:
        loop: function of `settings` that each worker runs; it starts with `strategy`, then `State.restored`.
        settings: plain data.
        output: a folder's path or URL.
        scaling: the workers; see `workers`.
        datasets: Ray data sets by name; each worker gets a part of each.

    Raises:
        KeyboardInterrupt: on SIGINT or SIGTERM.
        WorkError: workers died, or the loop raised an error, more than `MAX_FAILURES` times.
    """
    runtime.import_tensorflow()  # Ray's trainer imports it, too, but with TensorFlow's messages
    from ray.train.tensorflow import TensorflowTrainer

    trainer = TensorflowTrainer(
        loop,
        train_loop_config=dict(settings),
        scaling_config=scaling,
        run_config=_run_config(output),
        datasets=dict(datasets),
    )
    try:
        with _signals(), MetricsPrinter(output):
            trainer.fit()
    except SystemExit as exited:
        raise KeyboardInterrupt from exited
    except (ray.train.TrainingFailedError, ray.exceptions.RayError) as error:
        raise WorkError(f"the training stopped: {cause(error)}") from error


def _run_config(output: str) -> RunConfig:
    """Checkpoints are stored in the output, through `Folder`: at any URL, and atomically."""
    filesystem, path = Folder(output).arrow()
    return RunConfig(
        name="run",
        storage_path=f"{path}/_raydream",
        storage_filesystem=filesystem,
        failure_config=FailureConfig(max_failures=MAX_FAILURES),
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


def strategy() -> Any:
    """TensorFlow's strategy for this worker; call it before anything else uses TensorFlow."""
    os.environ.pop("TF_USE_LEGACY_KERAS", None)  # Ray Train sets it, but raydream's networks are Keras 3
    runtime.worker(round(cluster.own_cores()), deterministic=False)
    import tensorflow as tf

    with runtime.quiet():
        return tf.distribute.MultiWorkerMirroredStrategy()
