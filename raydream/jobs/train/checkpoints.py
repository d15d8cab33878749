"""Checkpoints of a training run: the variables, saved by one worker and restored by all."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray.train

from raydream.types import Variable

_STATE = "state.npz"


def rank() -> int:
    """The number of this worker, from 0."""
    return int(ray.train.get_context().get_world_rank())


@dataclass(frozen=True)
class State:
    """What a checkpoint holds: the variables of networks and optimizers, and the number of finished epochs."""

    variables: Sequence[Variable]

    def restored(self) -> int:
        """Restores the last checkpoint, if there is one; returns the number of finished epochs."""
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
