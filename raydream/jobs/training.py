"""What all training jobs share: workers that learn as one, checkpoints, metrics, picture grids, and runs that go on.

Ray Train starts the workers and TensorFlow's MultiWorkerMirroredStrategy adds up their gradients. The loop is each
job's own, since `model.fit` fails under that strategy with Keras 3 (keras-team/keras#20585).

    OUT/_raydream/run/...          Ray Train's own: checkpoints
    OUT/_raydream/settings.json    what the run was asked for
    OUT/metrics.jsonl              a line an epoch
    OUT/grids/epoch-00012.png      pictures
    OUT/tensorboard/...            the same for TensorBoard
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
import ray.train
from numpy.typing import NDArray

from raydream import codec, commands
from raydream.errors import UsageError, WorkError
from raydream.jobs import cluster
from raydream.storage import Folder

MAX_DEATHS = 8  # of workers, or errors: spot machines go, but what always fails shall not go on for ever
METRICS = "metrics.jsonl"
_SETTINGS = "_raydream/settings.json"
_STATE = "state.npz"


def fit(
    loop: Callable[[dict[str, Any]], None],
    settings: Mapping[str, Any],
    output: str,
    workers: int,
    datasets: Mapping[str, Any],
) -> None:
    """Runs the loop on the workers until it is done, and goes on with it where an earlier run was stopped.

    Args:
        loop: what each worker does, given `settings`; it begins with `strategy` and takes up `State.restored`.
        settings: plain data.
        output: a folder's path or URL.
        workers: how many, each with a GPU where there are any, else with its share of the cores.
        datasets: Ray Data sets; each worker gets its part of them.

    Raises:
        KeyboardInterrupt: on SIGINT or SIGTERM.
        WorkError: workers died, or the loop raised an error, more than `MAX_DEATHS` times.
    """
    commands.import_tensorflow_quietly()  # as Ray's trainer is about to do, with its greetings
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.tensorflow import TensorflowTrainer

    trainer = TensorflowTrainer(
        loop,
        train_loop_config=dict(settings),
        scaling_config=ScalingConfig(num_workers=workers, **_devices(workers)),
        run_config=RunConfig(
            name="run",
            storage_path=f"{output.rstrip('/')}/_raydream",
            failure_config=FailureConfig(max_failures=MAX_DEATHS),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
        ),
        datasets=dict(datasets),
    )
    try:
        with _sigterm_as_sigint(), _Told(Folder(output)):
            trainer.fit()
    except SystemExit as exited:
        raise KeyboardInterrupt from exited
    except ray.train.TrainingFailedError as error:
        raise WorkError(f"the training stopped: {cluster.cause(error)}") from error


@contextmanager
def _sigterm_as_sigint() -> Iterator[None]:
    """Ray's trainer ends its workers at SIGINT, and then this process; at SIGTERM it would leave them waiting."""
    handler = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


def workers(asked: int | None, batch: int) -> int:
    """How many workers: those asked for, else one a GPU, else one a core, but as many as can share a batch evenly."""
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    most = int(resources.get("GPU", 0)) or int(resources.get("CPU", 1))
    return asked or max(number for number in range(1, batch + 1) if batch % number == 0 and number <= max(1, most))


def _devices(workers: int) -> dict[str, Any]:
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    if resources.get("GPU"):
        return {"use_gpu": True}
    cores = max(1, int(resources.get("CPU", 1)) // workers)
    return {"resources_per_worker": {"CPU": cores - 0.1}}  # the loading of images squeezes in


def settle(output: str, settings: Mapping[str, Any]) -> None:
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
        self._shown = len(history(self._folder.url))
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._show()

    def _tell(self) -> None:
        while not self._over.wait(2.0):
            self._show()

    def _show(self) -> None:
        lines = history(self._folder.url)
        for line in lines[self._shown :]:
            print("  ".join(f"{k} {v:.4g}" for k, v in line.items()), file=sys.stderr, flush=True)
        self._shown = len(lines)


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
    """Everything that learning changes: the variables of networks and optimizers, and how many epochs are done."""

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
    """What one worker writes down for people: an epoch's metrics and pictures, as files and for TensorBoard."""

    def __init__(self, output: str, begun: int) -> None:
        """`begun` epochs are done; what an earlier run wrote of later ones, before its checkpoint, is dropped."""
        from tensorboardX import SummaryWriter

        self._folder = Folder(output)
        self._lines = [line for line in history(output) if line["epoch"] <= begun]
        self._logs = tempfile.TemporaryDirectory()  # to be copied: the output may be a URL
        self._writer = SummaryWriter(self._logs.name, filename_suffix=f".from-{begun}")

    def write(self, metrics: Mapping[str, float], rows: Sequence[Sequence[NDArray[np.float32]]]) -> None:
        """An epoch: its metrics, `epoch` among them; rows of pictures (height, width, 3) in [-1, 1] of one size."""
        epoch = int(metrics["epoch"])
        sheet = np.concatenate([np.concatenate(row, axis=1) for row in rows], axis=0)
        self._folder.write(f"grids/epoch-{epoch:05d}.png", codec.encode(sheet, "png"))
        self._lines.append(dict(metrics))
        self._folder.write(METRICS, b"".join(json.dumps(line).encode() + b"\n" for line in self._lines))
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.add_image("pictures", codec.to_uint8(sheet), epoch, dataformats="HWC")
        self._writer.flush()
        for file in Path(self._logs.name).iterdir():
            self._folder.write(f"tensorboard/{file.name}", file.read_bytes())
