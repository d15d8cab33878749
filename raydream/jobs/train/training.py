"""What all training jobs share: workers that learn as one, checkpoints, metrics, picture grids, and runs that go on.

Ray Train starts the workers and TensorFlow's MultiWorkerMirroredStrategy adds up their gradients. The loop is each
job's own, since `model.fit` fails under that strategy with Keras 3 (keras-team/keras#20585).

    OUT/_raydream/run/...          Ray Train's own: checkpoints
    OUT/_raydream/settings.json    what the run was asked for
    OUT/metrics.jsonl              a line an epoch
    OUT/grids/epoch-00012.png      pictures
    OUT/tensorboard/...            the metrics for TensorBoard
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
import ray.train
from numpy.typing import NDArray
from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig

from raydream.cli import commands
from raydream.data import codec
from raydream.data.storage import Folder
from raydream.errors import UsageError, WorkError
from raydream.jobs import cluster
from raydream.jobs.ray_errors import cause

MAX_DEATHS = 8  # of workers, or errors: spot machines go, but what always fails shall not go on for ever
METRICS = "metrics.jsonl"
_SETTINGS = "_raydream/settings.json"
_STATE = "state.npz"


def fit(
    loop: Callable[[dict[str, Any]], None],
    settings: Mapping[str, Any],
    output: str,
    scaling: ScalingConfig,
    datasets: Mapping[str, Any],
) -> None:
    """Runs the loop on the workers until it is done, and goes on with it where an earlier run was stopped.

    Args:
        loop: what each worker does, given `settings`; it begins with `strategy` and takes up `State.restored`.
        settings: plain data.
        output: a folder's path or URL.
        scaling: the workers; see `workers`.
        datasets: Ray Data sets; each worker gets its part of them.

    Raises:
        KeyboardInterrupt: on SIGINT or SIGTERM.
        WorkError: workers died, or the loop raised an error, more than `MAX_DEATHS` times.
    """
    commands.import_tensorflow_quietly()  # as Ray's trainer is about to do, with its greetings
    from ray.train.tensorflow import TensorflowTrainer

    trainer = TensorflowTrainer(
        loop,
        train_loop_config=dict(settings),
        scaling_config=scaling,
        run_config=_run_config(output),
        datasets=dict(datasets),
    )
    try:
        with _signals(), _Told(Folder(output)):
            trainer.fit()
    except SystemExit as exited:
        raise KeyboardInterrupt from exited
    except (ray.train.TrainingFailedError, ray.exceptions.RayError) as error:
        raise WorkError(f"the training stopped: {cause(error)}") from error


def _run_config(output: str) -> RunConfig:
    """Checkpoints in the output, through our file systems: any URL, and whole or not at all."""
    filesystem, path = Folder(output).arrow()
    return RunConfig(
        name="run",
        storage_path=f"{path}/_raydream",
        storage_filesystem=filesystem,
        failure_config=FailureConfig(max_failures=MAX_DEATHS),
        checkpoint_config=CheckpointConfig(num_to_keep=2),
    )


@contextmanager
def _signals() -> Iterator[None]:
    """Both signals end the training, and mean what they meant when it is over.

    At SIGINT Ray's trainer ends its workers, and then this process; at SIGTERM it would leave them waiting.
    """
    before = {which: signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)


def workers(asked: int | None, batch: int, gpus_per_worker: float | None) -> ScalingConfig:
    """The workers: as many as asked for, else one a GPU or core, but so many that they share a batch evenly.

    Without GPUs they share out the cores, less a tenth of one each, so that the loading of images squeezes in.

    Raises:
        UsageError: this machine has no room for them. A cluster may grow: there they wait, and we say so.
    """
    gpus, room = cluster.devices(gpus_per_worker, "--gpus-per-worker")
    number = asked or max(n for n in range(1, batch + 1) if batch % n == 0 and n <= max(1, room))
    if number > room:
        if cluster.started_here():
            raise UsageError(f"--workers {number}: this machine has room for {room}")
        print(f"the cluster has room for {room} of {number} workers: waiting for it to grow", file=sys.stderr)
    resources = {"GPU": gpus} if gpus else {"CPU": _share(number) - 0.1}
    return ScalingConfig(num_workers=number, use_gpu=bool(gpus), resources_per_worker=resources)


def _share(workers: int) -> int:
    """The most cores that each worker can have; a worker is on one node."""
    nodes = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    shares = range(1, max(nodes, default=0) + 1)
    return max((share for share in shares if sum(cores // share for cores in nodes) >= workers), default=1)


def check_or_store_settings(output: str, settings: Mapping[str, Any]) -> None:
    """Writes down what a new run is asked for, or makes sure that an earlier one was asked for the same.

    Raises:
        UsageError: it was not; the message names the first difference.
    """
    folder, data = Folder(output), json.dumps(dict(settings), indent=1).encode()
    if not folder.exists(_SETTINGS):
        folder.write(_SETTINGS, data)
        return
    before = json.loads(folder.read(_SETTINGS))
    for key, value in json.loads(data).items():
        if before.get(key) != value:
            raise UsageError(
                f"{output} holds a run with {key} {before.get(key)!r}, not {value!r}: "
                f"say the same to go on with it, or choose another output"
            )


def history(output: str) -> list[dict[str, float]]:
    """The metrics of each epoch so far."""
    folder = Folder(output)
    return [json.loads(line) for line in folder.read(METRICS).splitlines()] if folder.exists(METRICS) else []


class _Told:
    """Prints each epoch's metrics while a run is going on."""

    def __init__(self, folder: Folder) -> None:
        self._folder, self._over = folder, threading.Event()
        self._thread = threading.Thread(target=self._tell, daemon=True)

    def __enter__(self) -> None:
        self._told = history(self._folder.url)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _tell(self) -> None:
        while True:
            over = self._over.wait(2.0)
            with suppress(Exception):  # of a file system, each of which has its own; the training goes on untold
                for line in history(self._folder.url):
                    if line not in self._told:  # an epoch that is done again has taken other seconds
                        print("  ".join(f"{k} {v:.4g}" for k, v in line.items()), file=sys.stderr, flush=True)
                        self._told.append(line)
            if over:
                return


def strategy() -> Any:
    """TensorFlow's strategy for this worker; to be called before anything else of TensorFlow is used."""
    os.environ.pop("TF_USE_LEGACY_KERAS", None)  # Ray Train sets it; our networks are Keras 3
    commands.import_tensorflow_quietly()
    import tensorflow as tf

    cores = ray.get_runtime_context().get_assigned_resources().get("CPU", 1.0)  # type: ignore[no-untyped-call]
    tf.config.threading.set_intra_op_parallelism_threads(max(1, round(cores)))
    tf.config.threading.set_inter_op_parallelism_threads(1)
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    with commands.quiet_libraries():
        return tf.distribute.MultiWorkerMirroredStrategy()


def rank() -> int:
    """The number of this worker, from 0."""
    return int(ray.train.get_context().get_world_rank())


@dataclass(frozen=True)
class State:
    """What a checkpoint has: the variables of networks and optimizers, and how many epochs are done."""

    variables: Sequence[Any]

    def restored(self) -> int:
        """Takes up the last checkpoint, if there is one; returns how many epochs it has behind it."""
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            return 0
        with checkpoint.as_directory() as folder, np.load(Path(folder) / _STATE) as saved:
            for index, variable in enumerate(self.variables):
                variable.assign(saved[str(index)])
            return int(saved["epochs"])

    def report(self, epochs: int, metrics: Mapping[str, float]) -> None:
        """Reports an epoch's metrics with a checkpoint; every worker must call it."""
        if rank():
            ray.train.report(dict(metrics))
            return
        with tempfile.TemporaryDirectory() as folder:
            values: Any = {str(index): np.asarray(variable) for index, variable in enumerate(self.variables)}
            np.savez(Path(folder) / _STATE, epochs=np.asarray(epochs), **values)
            ray.train.report(dict(metrics), checkpoint=ray.train.Checkpoint.from_directory(folder))


class Journal:
    """What one worker writes down for people: an epoch's metrics and pictures, and the metrics for TensorBoard."""

    def __init__(self, output: str, begun: int) -> None:
        """`begun` epochs are done; what an earlier run wrote of later ones, before its checkpoint, is dropped."""
        from tensorboardX import SummaryWriter

        self._folder = Folder(output)
        self._lines = [line for line in history(output) if line["epoch"] <= begun]
        self._logs = tempfile.TemporaryDirectory()  # to be copied: the output may be a URL
        self._writer = SummaryWriter(self._logs.name, filename_suffix=f".from-{begun}", purge_step=begun + 1)

    def write(self, metrics: Mapping[str, float], rows: Sequence[Sequence[NDArray[np.float32]]]) -> None:
        """An epoch: its metrics, `epoch` among them; rows of pictures (height, width, 3) in [-1, 1] of one size."""
        epoch = int(metrics["epoch"])
        sheet = np.concatenate([np.concatenate(row, axis=1) for row in rows], axis=0)
        self._folder.write(f"grids/epoch-{epoch:05d}.png", codec.encode(sheet, "png"))
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()
        for file in Path(self._logs.name).iterdir():
            self._folder.write(f"tensorboard/{file.name}", file.read_bytes())
        self._lines.append(dict(metrics))
        self._folder.write(METRICS, b"".join(json.dumps(line).encode() + b"\n" for line in self._lines))
