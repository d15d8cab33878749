"""Explains the keys of recipes and the kinds of terms, with the texts of their docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from raydream.core.objectives import KINDS, Term
from raydream.recipe import KEYS, Recipe

_FOR_PROGRAMMERS = re.compile(r";? see `[\w.]+`")


def show(console: Console) -> None:
    """Prints a table of the keys of a recipe, and one of the kinds of terms and their keys."""
    table = Table("key", "meaning", "default", title="Recipe")
    for key, meaning, default in _keys(Recipe):
        table.add_row(key, Text(meaning), Text(default))
    console.print(table)
    table = Table("kind", "key", "meaning", "default", title="Terms of the objective")
    kinds: dict[str, type] = {"(all)": Term, **KINDS}
    for kind, term in kinds.items():
        table.add_section()
        summary = "Keys of all kinds." if term is Term else str(inspect.getdoc(term)).partition("\n\n")[0]
        table.add_row(kind, "", Text(summary.replace("\n", " ")))
        for key, meaning, default in _keys(term):
            table.add_row("", key, Text(meaning), Text(default))
    console.print(table)


def _keys(described: type) -> Iterator[tuple[str, str, str]]:
    """The keys that a class documents, each with its meaning and default; digests are filled in, not written."""
    defaults: dict[str, Any] = {f.name: "" if f.default is MISSING else f.default for f in fields(described)}
    _, _, listed = str(inspect.getdoc(described)).partition("\nAttributes:\n")
    for name, meaning in re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", listed, re.MULTILINE):
        if not name.endswith("_digest"):
            default = "" if defaults[name] in (None, (), "") or name == "objective" else str(defaults[name])
            yield KEYS.get(name, name), _in_yaml(meaning), default


def _in_yaml(meaning: str) -> str:
    """A text about a Python attribute as one about a YAML key."""
    return re.sub(r"\bNone\b", "null", _FOR_PROGRAMMERS.sub("", re.sub(r"\s+", " ", meaning)))
