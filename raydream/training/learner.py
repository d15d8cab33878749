"""Learner: what a training job trains. `jobs.train.loop` runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from raydream.types import Image, Tensor, Variable

Batch = Mapping[str, Any]  # arrays whose first axis counts the examples


class Learner(Protocol):
    """Networks and optimizers, and how they learn.

    With several workers, each has the same learner and a part of each batch. The variables start equal and stay equal.
    """

    def variables(self) -> Mapping[str, Variable]:
        """Everything that training changes, by a name that is the same in each process."""

    def step(self, batch: Batch) -> Mapping[str, Tensor]:
        """One optimizer step; traced as a graph.

        Args:
            batch: this worker's part of a batch.

        Returns:
            Sums over the examples of this part, as scalars; `examples` is their number.
        """

    def evaluate(self) -> Mapping[str, float]:
        """Sums over this worker's part of the validation data; `examples` is their number."""

    def pictures(self) -> Sequence[Sequence[Image]]:
        """Rows of a grid of pictures (height, width, 3) in [-1, 1] that show the state; empty for none."""

    def export(self, folder: Path) -> None:
        """Writes the results to an empty folder."""
