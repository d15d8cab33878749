"""How a sweep chooses the parameters of its trials: at random, as a grid, with Optuna, or to fill the map."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from raydream.data.cells import AXES, Cell, best_of_cells, cell_of
from raydream.data.spaces import Choice, Range, Space
from raydream.data.trials import Trial
from raydream.jobs.sweeping.prepare import Plan

_START = 0.15  # share of the trials of an atlas that are random
_WIDTH = 0.35  # how far a variation is from the trial that it varies, as a share of each range
_CANDIDATES = 100  # of each kind
_FAR = 1_000_000  # the numbers of random candidates, which are not those of trials, begin here
_RIDGE = 0.1  # weight of the penalty on the coefficients
_LEAST = 0.01  # is added before the logarithm: a colour shift may be 0


class Search(Protocol):
    """A way to choose parameters. Numbers may be asked for while earlier trials still run."""

    def ask(self, number: int) -> dict[str, Any]:
        """The parameters of the trial with this number."""

    def tell(self, trial: Trial) -> None:
        """Takes a finished trial into account."""


def search_of(plan: Plan) -> Search:
    """The search of a sweep. It knows no trial yet."""
    sweep = plan.sweep
    match sweep.search:
        case "optuna":
            return _Optuna(plan)
        case "atlas":
            return _Atlas(plan)
        case "grid":
            return _Listed(sweep.space.combination)
        case _:
            return _Listed(lambda number: sweep.space.draw(sweep.seed, number))


class _Listed:
    """Random and grid search: the parameters follow from the number alone, so a list continues where it stopped."""

    def __init__(self, parameters: Any) -> None:
        self._parameters = parameters

    def ask(self, number: int) -> dict[str, Any]:
        """See `Search`."""
        return dict(self._parameters(number))

    def tell(self, trial: Trial) -> None:
        """See `Search`."""


class _Atlas:
    """MAP-Elites, assisted by a model (Gaier, Asteroth and Mouret, "Data-efficient design exploration", 2018).

    After some random trials, a model of all trials predicts the cells of many candidates: random ones, and variations
    of the trials on the map. The next trial is a candidate whose cell is empty, beside one that is not, if there is
    such a candidate; else the variation of a trial. Unlike in the paper, the model is a quadratic polynomial, and it
    predicts the cell and not the metric.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._map: dict[Cell, Trial] = {}
        self._known: list[Trial] = []

    def ask(self, number: int) -> dict[str, Any]:
        """See `Search`."""
        space, seed = self._plan.sweep.space, self._plan.sweep.seed
        if number < _START * self._plan.trials or not self._map:
            return space.draw(seed, number)
        random = np.random.default_rng([seed, number])
        elites = [self._map[cell].parameters for cell in sorted(self._map)]
        drawn = [space.draw(seed, _FAR + number * _CANDIDATES + n) for n in range(_CANDIDATES)]
        varied = [space.vary(elites[random.integers(len(elites))], _WIDTH, random) for _ in range(_CANDIDATES)]
        cells = self._predicted([*drawn, *varied])
        empty = [(one, cell) for one, cell in zip([*drawn, *varied], cells, strict=True) if cell not in self._map]
        beside = [one for one, cell in empty if cell and any(other in self._map for other in cell.neighbours)]
        chosen = beside or [one for one, _ in empty] or varied
        return chosen[random.integers(len(chosen))]

    def _predicted(self, candidates: Sequence[Mapping[str, Any]]) -> list[Cell | None]:
        """The cells that a ridge regression of the known trials predicts."""
        space = self._plan.sweep.space
        known, asked = (
            np.array([_features(space, parameters) for parameters in some])
            for some in ([trial.parameters for trial in self._known], candidates)
        )
        targets = np.log([[trial.scores[axis] + _LEAST for axis in AXES] for trial in self._known])
        middle = targets.mean(axis=0)
        square = known.T @ known + _RIDGE * np.eye(known.shape[1])
        found = np.exp(asked @ np.linalg.solve(square, known.T @ (targets - middle)) + middle) - _LEAST
        return [cell_of(dict(zip(AXES, row, strict=True))) for row in found.tolist()]

    def tell(self, trial: Trial) -> None:
        """See `Search`."""
        if (cell := cell_of(trial.scores)) is not None:
            self._known.append(trial)
            here = [known for known in (self._map.get(cell), trial) if known]
            self._map |= best_of_cells(here, self._plan.swept.metric_of)


def _features(space: Space, parameters: Mapping[str, Any]) -> list[float]:
    """Parameters as numbers: shares of ranges, their squares and products, and one number for each value of a list."""
    shares = [v.share(parameters[k]) for k, v in space.keys if isinstance(v, Range)]
    lists = [(v, parameters[k]) for k, v in space.keys if isinstance(v, Choice)]
    chosen = [float(value == one) for values, value in lists for one in values.values]
    return [1.0, *shares, *(a * b for n, a in enumerate(shares) for b in shares[n:]), *chosen]


class _Optuna:
    """Optuna's default sampler, a tree-structured Parzen estimator. Lists are categories, by their index."""

    def __init__(self, plan: Plan) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._plan, self._space = plan, plan.sweep.space
        # Each run has its own numbers, since a sampler cannot be stored.
        self._study: Any = None
        self._asked: dict[int, Any] = {}
        self._earlier: list[Trial] = []

    def ask(self, number: int) -> dict[str, Any]:
        """See `Search`."""
        study = self._study = self._study or self._started(number)
        self._asked[number] = trial = study.ask(_distributions(self._space))
        return _decoded(self._space, trial.params)

    def tell(self, trial: Trial) -> None:
        """See `Search`."""
        if self._study is None:
            self._earlier.append(trial)
            return
        value = self._plan.swept.metric_of(trial)
        state = _state(trial, value)
        self._study.tell(self._asked.pop(trial.number), value if state.name == "COMPLETE" else None, state=state)

    def _started(self, number: int) -> Any:
        """A study that knows the earlier trials."""
        import optuna

        sampler = optuna.samplers.TPESampler(seed=self._plan.sweep.seed + number)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        distributions = _distributions(self._space)
        for trial in self._earlier:
            value = self._plan.swept.metric_of(trial)
            state = _state(trial, value)
            known = _encoded(self._space, trial.parameters)
            study.add_trial(
                optuna.trial.create_trial(
                    params=known,
                    distributions=distributions,
                    value=value if state.name == "COMPLETE" else None,
                    state=state,
                )
            )
        return study


def _state(trial: Trial, value: float) -> Any:
    from optuna.trial import TrialState

    if trial.status == "done" and not math.isnan(value):
        return TrialState.COMPLETE
    return TrialState.PRUNED if trial.status == "stopped" else TrialState.FAIL


def _distributions(space: Space) -> dict[str, Any]:
    from optuna import distributions as kinds

    found: dict[str, Any] = {}
    for key, values in space.keys:
        if isinstance(values, Choice):
            found[key] = kinds.CategoricalDistribution(tuple(range(len(values.values))))
        elif values.whole:
            found[key] = kinds.IntDistribution(int(values.low), int(values.high))
        else:
            found[key] = kinds.FloatDistribution(values.low, values.high, log=values.log)
    return found


def _decoded(space: Space, found: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters from Optuna's, where a value of a list is its index."""
    known = dict(space.keys)
    values = {key: known[key] for key in found}
    return {k: v.values[found[k]] if isinstance(v, Choice) else v.at(v.share(found[k])) for k, v in values.items()}


def _encoded(space: Space, parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: values.values.index(parameters[key]) if isinstance(values, Choice) else parameters[key]
        for key, values in space.keys
    }
