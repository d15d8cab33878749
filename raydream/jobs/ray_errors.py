"""Finds the cause of an error in a Ray task; Ray wraps the original error several times, partly as text."""

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
_OWN = ("UsageError: ", "WorkError: ", "StorageError: ")  # their messages need no class name


def cause(error: BaseException) -> str:
    """The cause of an error in a worker, in one line of at most 500 characters.

    It is the error that Ray's errors wrap, such as `No space left on device: FILE`. If there are only errors of Ray, it
    is the first line of the innermost one.
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
    """An error and its causes: Ray's `cause`, the failures of Ray Train, and Python's `__cause__`."""
    seen: BaseException | None = error
    while seen:
        yield seen
        named = (getattr(seen, name, None) for name in ("cause", "controller_failure", "_base_exc"))
        failures = [*named, seen.__cause__, *getattr(seen, "worker_failures", {}).values()]
        seen = next(filter(None, failures), None)


def _in_traceback(text: str) -> str | None:
    """The last error in the text of a traceback that is not Ray's; Ray Data keeps the original error only as text."""
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
    """Removes line breaks, colours, the module of the error class, and the errno of an OSError."""
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())
    text = re.sub(r"^(?:\w+\.)+(?=\w+(?::|$))", "", text)
    for own in _OWN:
        text = text.removeprefix(own)
    if file := re.fullmatch(r"\w+: \[Errno \d+\] (.*?)(?:: '(.*)')?", text):
        text = ": ".join(filter(None, file.groups()))
    return text[:_MOST]
