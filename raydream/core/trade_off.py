"""A trade-off: a formula over the scores of a dream, such as `log(1 + gain) * sqrt(ssim)`. Larger is better."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from raydream.errors import UsageError, nearest

_FUNCTIONS: dict[str, Callable[..., float]] = {
    "log": math.log,
    "sqrt": math.sqrt,
    "abs": abs,
    "min": min,
    "max": max,
}
_OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_LONGEST = 500  # characters: a deeper formula would exceed Python's recursion


@dataclass(frozen=True)
class TradeOff:
    """A formula over scores.

    Attributes:
        text: the formula: score names, numbers, + - * / **, brackets, and the functions log, sqrt, abs, min and max.
    """

    text: str

    @classmethod
    def parse(cls, text: str, known: Collection[str]) -> TradeOff:
        """Checks a formula.

        Args:
            text: the formula.
            known: the names of the scores.

        Raises:
            UsageError: it is no such formula, or too long, a name is unknown, or no score is used.
        """
        if len(text) > _LONGEST:
            raise UsageError(f"metric has {len(text):,} characters: use at most {_LONGEST}")
        try:
            tree = ast.parse(text, mode="eval")
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            raise UsageError(f"metric {text!r} is not a formula such as 'log(1 + gain) * sqrt(ssim)'") from error
        called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Name):
                valid = _FUNCTIONS if id(node) in called else known
                if node.id not in valid:
                    raise UsageError(f"metric {text!r}: unknown name {node.id!r}: {nearest(node.id, valid)}")
            elif not _allowed(node):
                raise UsageError(f"metric {text!r}: {type(node).__name__} is not allowed: use + - * / ** and functions")
        if not any(isinstance(node, ast.Name) and id(node) not in called for node in ast.walk(tree)):
            raise UsageError(f"metric {text!r} has no score: use some of {', '.join(known)}")
        return cls(text)

    def __call__(self, scores: Mapping[str, float]) -> float:
        """The value for the scores; NaN if it has none, as for the logarithm of 0, or is infinite."""
        try:
            value = _value(ast.parse(self.text, mode="eval").body, scores)
        except (ArithmeticError, ValueError, TypeError):
            return math.nan
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else math.nan


def _allowed(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int | float) and not isinstance(node.value, bool)
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and not node.keywords
    return isinstance(node, ast.Expression | ast.BinOp | ast.UnaryOp | ast.Load) or type(node) in _OPERATORS


def _value(node: Any, scores: Mapping[str, float]) -> Any:
    if isinstance(node, ast.Constant):
        return float(ast.literal_eval(node))
    if isinstance(node, ast.Name):
        return scores[node.id]
    if isinstance(node, ast.Call):
        return _FUNCTIONS[ast.unparse(node.func)](*(_value(argument, scores) for argument in node.args))
    if isinstance(node, ast.UnaryOp):
        return _OPERATORS[type(node.op)](_value(node.operand, scores))
    return _OPERATORS[type(node.op)](_value(node.left, scores), _value(node.right, scores))
