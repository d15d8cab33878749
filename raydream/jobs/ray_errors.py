"""One line for what went wrong in a Ray task: the user's error, which Ray wraps several times and partly as text."""

from __future__ import annotations

import re
from collections.abc import Iterator

import ray
from ray.data.exceptions import SystemException

_MOST = 500  # characters
_LINK = re.compile(
    r"\n\n(?:The above exception was the direct cause of the following exception|"
    r"During handling of the above exception, another exception occurred):\n\n"
)
_OWN = ("UsageError: ", "WorkError: ")  # their messages say everything


def cause(error: BaseException) -> str:
    """What went wrong in a worker, in one line of at most 500 characters.

    It is the error below Ray's own; `No space left on device: FILE` for errors of a file. If only Ray's errors are
    there, it is the first line of the deepest.
    """
    chain = list(_chain(error))
    for below in reversed(chain):
        if not isinstance(below, ray.exceptions.RayError | SystemException):
            return _line(below)
    for below in reversed(chain):
        if told := _in_traceback(str(below)):
            return _tidy(told)
    return _tidy(next((line for e in reversed(chain) for line in str(e).splitlines() if line.strip()), repr(error)))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those that it passes on: Ray's `cause`, the failures of Ray Train, Python's own."""
    seen: BaseException | None = error
    while seen:
        yield seen
        named = (getattr(seen, name, None) for name in ("cause", "controller_failure", "_base_exc"))
        failures = [*named, seen.__cause__, *getattr(seen, "worker_failures", {}).values()]
        seen = next(filter(None, failures), None)


def _in_traceback(text: str) -> str | None:
    """The last error of a traceback that is not Ray's; Ray Data keeps the user's error only as such text."""
    for section in reversed(_LINK.split(text)):
        lines = section.rstrip().splitlines()
        code = max((n for n, line in enumerate(lines) if line.startswith(" ")), default=None)
        if code is None or code + 1 >= len(lines) or lines[code + 1].startswith("ray.exceptions."):
            continue
        return " ".join(lines[code + 1 :])
    return None


def _line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return _tidy(f"{error.strerror}: {error.filename}")
    return _tidy(f"{type(error).__name__}: {error}")


def _tidy(text: str) -> str:
    """A line without line breaks, colours, the module of an error, and what only programmers read of an OSError."""
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())
    text = re.sub(r"^(?:\w+\.)+(?=\w+(?::|$))", "", text)
    for own in _OWN:
        text = text.removeprefix(own)
    if file := re.fullmatch(r"\w+: \[Errno \d+\] (.*?)(?:: '(.*)')?", text):
        text = ": ".join(filter(None, file.groups()))
    return text[:_MOST]
