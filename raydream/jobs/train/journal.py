"""The journal of a training run: metrics, picture grids and TensorBoard files."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from raydream.data import codec
from raydream.data.storage import Folder
from raydream.types import Image

METRICS = "metrics.jsonl"


def history(output: str) -> list[dict[str, Any]]:
    """The metrics of each finished epoch."""
    folder = Folder(output)
    return [json.loads(line) for line in folder.read(METRICS).splitlines()] if folder.exists(METRICS) else []


class Journal:
    """Writes the metrics and pictures of each epoch, also for TensorBoard; one worker uses it."""

    def __init__(self, output: str, phase: str, finished: int) -> None:
        """Continues after the `finished` epochs of the checkpoint; later lines of an earlier run are removed."""
        from tensorboardX import SummaryWriter

        self._folder = Folder(output)
        lines = history(output)
        first = next((n for n, line in enumerate(lines) if line["phase"] == phase), len(lines))
        self._lines = lines[: first + finished]
        self._logs = tempfile.TemporaryDirectory()  # copied to the output, which may be a URL
        done = len(self._lines)
        self._writer = SummaryWriter(self._logs.name, filename_suffix=f".from-{done}", purge_step=done + 1)

    def write(self, metrics: Mapping[str, Any], rows: Sequence[Sequence[Image]]) -> None:
        """Writes an epoch.

        Args:
            metrics: metrics of the epoch; they include `phase`, and `epoch`, counted from 1 in each phase.
            rows: rows of a grid of pictures (height, width, 3) in [-1, 1], all of the same size; empty for none.
        """
        self._lines.append(dict(metrics))
        epoch = len(self._lines)
        for name, value in metrics.items():
            if isinstance(value, float):
                self._writer.add_scalar(name, value, epoch)
        if rows:
            grid = np.concatenate([np.concatenate(row, axis=1) for row in rows], axis=0)
            self._folder.write(f"grids/epoch-{epoch:05d}.png", codec.encode(grid, "png"))
            self._writer.add_image("grid", codec.to_uint8(grid), epoch, dataformats="HWC")
        self._writer.flush()
        for file in Path(self._logs.name).iterdir():
            self._folder.write(f"tensorboard/{file.name}", file.read_bytes())
        self._folder.write(METRICS, b"".join(json.dumps(line).encode() + b"\n" for line in self._lines))
