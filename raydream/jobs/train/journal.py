"""The journal of a training run: metrics, picture grids and TensorBoard files."""

from __future__ import annotations

import json
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from raydream.data import codec
from raydream.data.storage import Folder
from raydream.types import Image

METRICS = "metrics.jsonl"
_SECONDS = 2.0  # between two checks for new metrics


def history(output: str) -> list[dict[str, float]]:
    """The metrics of each finished epoch."""
    folder = Folder(output)
    return [json.loads(line) for line in folder.read(METRICS).splitlines()] if folder.exists(METRICS) else []


class Journal:
    """Writes the metrics and pictures of each epoch, and the metrics for TensorBoard; one worker uses it."""

    def __init__(self, output: str, finished: int) -> None:
        """Continues after the `finished` epochs of the checkpoint; later epochs of an earlier run are removed."""
        from tensorboardX import SummaryWriter

        self._folder = Folder(output)
        self._lines = [line for line in history(output) if line["epoch"] <= finished]
        self._logs = tempfile.TemporaryDirectory()  # copied to the output, which may be a URL
        self._writer = SummaryWriter(self._logs.name, filename_suffix=f".from-{finished}", purge_step=finished + 1)

    def write(self, metrics: Mapping[str, float], rows: Sequence[Sequence[Image]]) -> None:
        """Writes an epoch.

        Args:
            metrics: metrics of the epoch; they include `epoch`, counted from 1.
            rows: rows of a grid of pictures (height, width, 3) in [-1, 1], all of the same size.
        """
        epoch = int(metrics["epoch"])
        grid = np.concatenate([np.concatenate(row, axis=1) for row in rows], axis=0)
        self._folder.write(f"grids/epoch-{epoch:05d}.png", codec.encode(grid, "png"))
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()
        for file in Path(self._logs.name).iterdir():
            self._folder.write(f"tensorboard/{file.name}", file.read_bytes())
        self._lines.append(dict(metrics))
        self._folder.write(METRICS, b"".join(json.dumps(line).encode() + b"\n" for line in self._lines))


class MetricsPrinter:
    """A context manager that prints each epoch's metrics to stderr during the run."""

    def __init__(self, output: str) -> None:
        self._output, self._finished = output, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._printed = history(self._output)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._finished.set()
        self._thread.join()

    def _watch(self) -> None:
        finished = False
        while not finished:
            finished = self._finished.wait(_SECONDS)
            with suppress(Exception):  # no storage error may end the training; each file system has its own classes
                self._print_new()

    def _print_new(self) -> None:
        for line in history(self._output):
            if line not in self._printed:  # a repeated epoch has other seconds and is printed again
                print("  ".join(f"{name} {value:.4g}" for name, value in line.items()), file=sys.stderr, flush=True)
                self._printed.append(line)
