"""What the driver of the retraining job has found out, for the workers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raydream.data.labelled import Labelled
from raydream.jobs.retraining.job import Retraining

HEAD_FOLDER = "_raydream/head"
TEST = "_raydream/test.npz"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The images and their splits.

    Attributes:
        job: the settings.
        found: all images, readable or not.
        parts: the split of each image: `train`, `validation`, `test`, or empty if it cannot be read.
    """

    job: Retraining
    found: Labelled
    parts: tuple[str, ...]

    def members(self, part: str) -> NDArray[np.int64]:
        """The numbers of the images of a split."""
        return np.flatnonzero(np.asarray(self.parts) == part)

    def labels(self, part: str) -> NDArray[np.int32]:
        """The classes of the images of a split."""
        return np.asarray(self.found.labels, np.int32)[self.members(part)]

    def spread(self, part: str, number: int) -> list[int]:
        """The numbers of some images of a split, spread over the classes."""
        ranks: dict[int, int] = {}
        order = []
        for n in self.members(part).tolist():
            label = self.found.labels[n]
            ranks[label] = ranks.get(label, -1) + 1
            order.append((ranks[label], label, n))
        first = sorted(order)[: max(number, len(self.found.classes))]
        step = max(1, len(first) // number) if number else 1
        return [n for _, _, n in first[::step]][:number]
