"""Errors that end a command with a one-line message, without a traceback."""

import difflib
from collections.abc import Iterable


class UsageError(ValueError):
    """Wrong usage: an option, recipe or file cannot be used. The one-line message says what would be valid."""


class WorkError(RuntimeError):
    """The usage was correct, but the work failed. Finished work is kept."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """The end of an error message: the most similar of the `valid` names, then all of them."""
    names = list(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}valid: {', '.join(names)}"
