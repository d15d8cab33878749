"""The map of a sweep: cells of motif scale, colour shift and strength, each with its best trial (MAP-Elites).

J.-B. Mouret and J. Clune, "Illuminating search spaces by mapping elites", 2015.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product
from typing import NamedTuple

from raydream.data.trials import Trial

# Borders between the cells. The first and the last cell of each axis have no outer border.
# Random recipes of the package's network on photographs of 224 pixels are spread about evenly over them.
MOTIF = (6.0, 8.0, 11.0, 15.0)  # pixels
COLOR_SHIFT = (2.0, 5.0, 9.0, 16.0)  # in the a*b* plane
STRENGTH = (0.05, 0.1, 0.2)  # of the range [-1, 1]
AXES: Mapping[str, tuple[float, ...]] = {"motif": MOTIF, "color_shift": COLOR_SHIFT, "strength": STRENGTH}


class Cell(NamedTuple):
    """The place of a cell along each axis, from 0."""

    motif: int
    color_shift: int
    strength: int

    @property
    def neighbours(self) -> Iterator[Cell]:
        """The cells beside it: one step along one axis."""
        for axis, step in product(range(3), (-1, 1)):
            place = [*self]
            place[axis] += step
            if 0 <= place[axis] <= len(tuple(AXES.values())[axis]):
                yield Cell(*place)


CELLS = math.prod(len(borders) + 1 for borders in AXES.values())


def cell_of(scores: Mapping[str, float]) -> Cell | None:
    """The cell of a trial with these scores; None if one of them is unknown."""
    values = [scores.get(axis, math.nan) for axis in AXES]
    if any(map(math.isnan, values)):
        return None
    return Cell(*(bisect_right(borders, value) for borders, value in zip(AXES.values(), values, strict=True)))


def best_of_cells(trials: Iterable[Trial], metric: Callable[[Trial], float]) -> dict[Cell, Trial]:
    """The trial with the largest metric in each cell that has any; only trials that are done count."""
    found: dict[Cell, Trial] = {}
    for trial in trials:
        cell = cell_of(trial.scores) if trial.status == "done" else None
        if cell is None or math.isnan(metric(trial)):
            continue
        if cell not in found or metric(trial) > metric(found[cell]):
            found[cell] = trial
    return found
