"""Spaces of recipes: which values the keys of a recipe may have, as frozen data.

space = parse({"step_size": "loguniform(0.005, 0.05)", "objective": {"choice": ["mixed4", "mixed5"]}})
recipe_with(base, space.draw(seed=0, number=7))      # the recipe of trial 7
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np

from raydream.errors import UsageError, nearest
from raydream.recipe import Recipe

_CALL = re.compile(r"\s*(\w+)\s*\(([^()]*)\)\s*")
_RANGES = ("uniform", "loguniform", "randint")
_FORMS = "loguniform(low, high), uniform(low, high), randint(low, high), choice: [...] or grid: [...]"
_DIGITS = 4  # significant digits of drawn numbers: nobody can see more, and recipes stay readable


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included.

    Attributes:
        low, high: the ends.
        log: whether the logarithm is distributed evenly, not the number.
        whole: whether only whole numbers count.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    @property
    def examples(self) -> tuple[Any, ...]:
        """The ends."""
        return self.at(0.0), self.at(1.0)

    def at(self, share: float) -> Any:
        """The number at a share of the range, from 0 to 1."""
        if self.whole:
            return int(min(self.high, self.low + math.floor(share * (self.high - self.low + 1))))
        value = self.low * (self.high / self.low) ** share if self.log else self.low + share * (self.high - self.low)
        return float(min(self.high, max(self.low, float(f"{value:.{_DIGITS}g}"))))

    def share(self, value: Any) -> float:
        """The share of the range at which a number is; the reverse of `at`."""
        if self.whole:
            return float((value - self.low + 0.5) / (self.high - self.low + 1))
        if self.low == self.high:
            return 0.5
        return (
            math.log(value / self.low, self.high / self.low)
            if self.log
            else (value - self.low) / (self.high - self.low)
        )

    def vary(self, value: Any, width: float, random: np.random.Generator) -> Any:
        """A number near a number; `width` is the standard deviation as a share of the range."""
        share = self.share(value) + random.normal(0.0, width)
        return self.at(abs(share % 2.0 - 2.0) if share % 2.0 > 1.0 else share % 2.0)  # reflected at the ends

    def near(self, value: Any, width: float) -> Range:
        """The part of the range that is at most `width`, as a share of the range, from a number."""
        share = self.share(value)
        low, high = (self.at(min(1.0, max(0.0, end))) for end in (share - width, share + width))
        return Range(low, high, self.log, self.whole)

    def plain(self) -> Any:
        """As in YAML."""
        name = "randint" if self.whole else "loguniform" if self.log else "uniform"
        return f"{name}({_exact(self.low)}, {_exact(self.high)})"


@dataclass(frozen=True)
class Choice:
    """A list of values of any type, such as layers; `grid` if each value must come equally often."""

    values: tuple[Any, ...]
    grid: bool = False

    @property
    def examples(self) -> tuple[Any, ...]:
        """All values."""
        return self.values

    def at(self, share: float) -> Any:
        """The value at a share of the list, from 0 to 1."""
        return self.values[min(len(self.values) - 1, int(share * len(self.values)))]

    def vary(self, value: Any, width: float, random: np.random.Generator) -> Any:
        """The value or, with the probability `width`, any of the values."""
        return self.at(random.random()) if random.random() < width else value

    def near(self, value: Any, width: float) -> Choice:
        """Only the value: a list has no distances."""
        return Choice((value,), self.grid)

    def plain(self) -> Any:
        """As in YAML."""
        return {"grid" if self.grid else "choice": list(self.values)}


@dataclass(frozen=True)
class Space:
    """The keys of a recipe that a sweep varies, each with its values."""

    keys: tuple[tuple[str, Range | Choice], ...]

    def draw(self, seed: int, number: int) -> dict[str, Any]:
        """The parameters of a trial, from the seed and its number alone. Values of a grid take turns."""
        shares = np.random.default_rng([seed, number]).random(len(self.keys))
        drawn = {key: values.at(share) for (key, values), share in zip(self.keys, shares, strict=True)}
        return drawn | self._combination(number, [k for k, v in self.keys if isinstance(v, Choice) and v.grid])

    @property
    def combinations(self) -> int:
        """The number of combinations of all lists."""
        return math.prod(len(values.values) for _, values in self.keys if isinstance(values, Choice))

    def combination(self, number: int) -> dict[str, Any]:
        """The combination of all lists with this number; the last key changes fastest."""
        return self._combination(number, [key for key, _ in self.keys])

    def _combination(self, number: int, names: Sequence[str]) -> dict[str, Any]:
        found, known = {}, dict(self.keys)
        for key in reversed(names):
            values = known[key]
            assert isinstance(values, Choice)
            number, index = divmod(number, len(values.values))
            found[key] = values.values[index]
        return {key: found[key] for key in names}

    def vary(self, parameters: Mapping[str, Any], width: float, random: np.random.Generator) -> dict[str, Any]:
        """Parameters near given ones."""
        return {key: values.vary(parameters[key], width, random) for key, values in self.keys}

    def near(self, parameters: Mapping[str, Any], width: float) -> Space:
        """The part of the space around some parameters. Lists keep one value, but stay whole if there is no range."""
        if not any(isinstance(values, Range) and values.low < values.high for _, values in self.keys):
            return self
        return Space(tuple((key, values.near(parameters[key], width)) for key, values in self.keys))

    def examples(self) -> Iterator[dict[str, Any]]:
        """Parameters in which each list has each of its values, and each range its ends, at least once."""
        firsts = {key: values.examples[0] for key, values in self.keys}
        for key, values in self.keys:
            for value in values.examples:
                yield {**firsts, key: value}

    def plain(self) -> dict[str, Any]:
        """As in YAML; `parse` reads it."""
        return {key: values.plain() for key, values in self.keys}


def parse(values: Mapping[str, Any]) -> Space:
    """A space from plain data, as in YAML: key of a recipe -> its values.

    A key may lead into a list or a mapping: `objective.0.weight` is the weight of the first term. Values are
    `loguniform(low, high)`, `uniform(low, high)`, `randint(low, high)` (whole numbers, both ends included),
    `choice: [...]`, or `grid: [...]`, whose values come equally often.

    Raises:
        UsageError: the values of a key are something else, a list is empty, or a range is upside down.
    """
    if not values:
        raise UsageError(f"space: no key to vary: use --space KEY=VALUES, where VALUES are {_FORMS}")
    return Space(tuple((str(key), _values(f"space: {key}", given)) for key, given in values.items()))


def _values(where: str, given: Any) -> Range | Choice:
    if isinstance(given, Mapping) and len(given) == 1 and next(iter(given)) in ("choice", "grid"):
        ((kind, found),) = given.items()
        if not isinstance(found, list) or not found:
            raise UsageError(
                f"{where}: {kind} must be a list of at least one value, such as {kind}: [1, 2], not {found!r}"
            )
        return Choice(tuple(found), grid=kind == "grid")
    call = _CALL.fullmatch(given) if isinstance(given, str) else None
    if not call:
        raise UsageError(f"{where}: must be {_FORMS}, not {given!r}")
    if call[1] not in _RANGES:
        raise UsageError(f"{where}: unknown {call[1]!r}: {nearest(call[1], _RANGES)}, choice: [...], grid: [...]")
    return _range(where, call[1], call[2])


def _range(where: str, kind: str, text: str) -> Range:
    try:
        low, high = (float(part) for part in text.split(","))
        if not math.isfinite(high - low):
            raise ValueError("infinite, or not a number")
    except ValueError as error:
        raise UsageError(f"{where}: {kind}({text}) must have two numbers, as in {kind}(1, 4)") from error
    if low > high:
        raise UsageError(f"{where}: {kind}({text}) is upside down: the lower end comes first")
    if kind == "loguniform" and low <= 0:
        raise UsageError(f"{where}: {kind}({text}) must begin above 0, since the logarithm is distributed evenly")
    if kind == "randint" and not (low.is_integer() and high.is_integer()):
        raise UsageError(f"{where}: {kind}({text}) must have whole numbers")
    return Range(low, high, log=kind == "loguniform", whole=kind == "randint")


def _exact(number: float) -> str:
    """A number as a short text that is read as the same number."""
    short = f"{number:g}"
    return short if float(short) == number else repr(number)


def recipe_with(base: Recipe, parameters: Mapping[str, Any]) -> Recipe:
    """The recipe with the parameters of a trial; a key that leads into another is set after that one.

    Raises:
        UsageError: a key or a value is invalid; the message names it.
    """
    known = base.as_dict()
    changes = {key: deepcopy(value) for key, value in parameters.items() if "." not in key}
    for key in sorted((key for key in parameters if "." in key), key=lambda key: key.count(".")):
        root, *path = key.split(".")
        inside = changes.get(root, deepcopy(known.get(root)))
        inside = changes[root] = _terms(inside) if root == "objective" else inside
        _set(inside, path, deepcopy(parameters[key]), f"space: {key}")
    return Recipe.parse(known, changes, where="space")


def _terms(objective: Any) -> Any:
    """An objective as a list of mappings."""
    terms = objective if isinstance(objective, list) else [objective]
    return [{"layer": term} if isinstance(term, str) else term for term in terms]


def _set(inside: Any, path: Sequence[str], value: Any, where: str) -> None:
    """Sets the value at a path in lists and mappings; another image has another digest."""
    *above, last = path
    for step in above:
        inside = inside[_index(inside, step, where)]
    inside[_index(inside, last, where, new=True)] = value
    if isinstance(inside, dict):
        inside.pop(f"{last}_digest", None)


def _index(inside: Any, step: str, where: str, new: bool = False) -> Any:
    if isinstance(inside, list):
        if not (step.isdecimal() and int(step) < len(inside)):
            raise UsageError(f"{where}: {step!r} must be a number from 0 to {len(inside) - 1}")
        return int(step)
    if not isinstance(inside, dict):
        raise UsageError(f"{where}: {step!r} leads nowhere: there is {inside!r}, not a list or a mapping")
    if step not in inside and not new:
        raise UsageError(f"{where}: there is no {step!r}: {nearest(step, inside)}")
    return step
