"""The errors that end a command: each is one line, without a traceback."""

import difflib
from collections.abc import Iterable


class UsageError(ValueError):
    """What was asked for cannot be done; the message is one line that says what would be right."""


class WorkError(RuntimeError):
    """The work was asked for rightly and could not be done; what is finished is kept."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """The end of an error message: the nearest of the `valid` names, then all of them."""
    names = list(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}valid: {', '.join(names)}"
