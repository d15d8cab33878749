"""Checkpoints of a training run: named variables and the state of the loop, saved by one worker, restored by all."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import ray.train

from raydream.errors import UsageError
from raydream.types import Variable

_FILE = "state.npz"
_STATE = "loop"


Quality = tuple[float, ...]  # higher is better; if the first numbers are equal, the next ones decide


@dataclass(frozen=True, kw_only=True)
class State:
    """The state of the loop.

    Attributes:
        phase: name of the schedule.
        epochs: number of finished epochs.
        best: the best quality so far; None before the first epoch.
        best_epoch: the epoch, from 1, of the best quality; 0 for none.
    """

    phase: str
    epochs: int = 0
    best: Quality | None = None
    best_epoch: int = 0

    @classmethod
    def parse(cls, data: bytes) -> State:
        """Reads the JSON of a checkpoint."""
        values = json.loads(data)
        return cls(**{**values, "best": values["best"] and tuple(values["best"])})

    def after(self, quality: Quality) -> State:
        """The state after one more epoch of this quality."""
        state = replace(self, epochs=self.epochs + 1)
        if self.best is None or quality > self.best:
            state = replace(state, best=quality, best_epoch=state.epochs)
        return state


def restored(variables: Mapping[str, Variable], phase: str) -> State:
    """Restores the variables from the last checkpoint of a phase; without one, returns the state of a new run.

    Raises:
        UsageError: the checkpoint lacks a variable, or one has another shape.
    """
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return State(phase=phase)
    with checkpoint.as_directory() as folder, np.load(Path(folder) / _FILE) as saved:
        state = State.parse(saved[_STATE].tobytes())
        if state.phase != phase:
            return State(phase=phase)
        for name, variable in variables.items():
            if name not in saved:
                raise UsageError(f"the checkpoint of this run has no variable {name}: use another output")
            if saved[name].shape != tuple(variable.shape):
                raise UsageError(
                    f"the checkpoint of this run has {name} of shape {saved[name].shape}, not {tuple(variable.shape)}: "
                    "use the settings of the run, or another output"
                )
        for name, variable in variables.items():
            variable.assign(saved[name])
    return state


def reached(phase: str) -> bool:
    """Whether the last checkpoint is of this phase."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return False
    with checkpoint.as_directory() as folder, np.load(Path(folder) / _FILE) as saved:
        return bool(json.loads(saved[_STATE].tobytes())["phase"] == phase)


def report(variables: Mapping[str, Variable], state: State, metrics: Mapping[str, Any]) -> None:
    """Reports an epoch's metrics with a checkpoint; every worker must call it."""
    if ray.train.get_context().get_world_rank():
        ray.train.report(dict(metrics))
        return
    with tempfile.TemporaryDirectory() as folder:
        arrays: dict[str, Any] = {name: np.asarray(variable) for name, variable in variables.items()}
        arrays[_STATE] = np.frombuffer(json.dumps(asdict(state)).encode(), np.uint8)
        np.savez(Path(folder) / _FILE, **arrays)
        ray.train.report(dict(metrics), checkpoint=ray.train.Checkpoint.from_directory(folder))
