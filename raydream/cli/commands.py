"""What all command lines have in common: one-line errors, exit statuses, `--set`, and options from a file."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, NoReturn

import typer
import yaml

from raydream.errors import UsageError, WorkError, nearest

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


Guide = Annotated[
    list[str] | None,
    typer.Option(
        metavar="IMAGE",
        help="Dream what the photograph and this image have in common. Can be repeated; "
        "IMAGE:mask=left:weight=2 limits it to a part (left, right, top, bottom, or a black and white image) and "
        "doubles its weight.",
    ),
]


def run(app: typer.Typer, name: str, arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs a command line and exits with its status; an error is one line on stderr.

    The status is 2 for wrong usage, and 1 if the work failed.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # file names may hold bytes that are not UTF-8
    try:
        with interruptible():
            status = app(args=arguments, prog_name=name, standalone_mode=False)
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader of stdout has closed it. Python flushes the rest when it exits, which must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = FAILED
    except (UsageError, typer.TyperException) as error:
        status = _fail(name, error.format_message() if isinstance(error, typer.TyperException) else str(error), USAGE)
    except (WorkError, OSError) as error:
        status = _fail(name, _reason(error), FAILED)
    except MemoryError:
        status = _fail(name, "not enough memory: choose a smaller size", FAILED)
    except (KeyboardInterrupt, typer.Abort) as error:
        if isinstance(error.__cause__, EOFError):  # Click takes it for the end of the user's input
            status = _fail(name, "a file ends too early", FAILED)
        else:
            status = _fail(name, "interrupted", INTERRUPTED)
    sys.exit(status if isinstance(status, int) else OK)


def _fail(name: str, message: str, status: int) -> int:
    """Prints an error message of the command in one line; returns the status."""
    if message:  # it is empty if a command without arguments has printed its help
        print(one_line(f"{name}: {message}"), file=sys.stderr)
    return status


def one_line(text: str) -> str:
    """Text in one line for a terminal. Control characters, which a file name may hold, are shown as escapes."""
    joined = " ".join(text.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in joined)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """A context in which SIGTERM, like SIGINT, raises KeyboardInterrupt; the old handlers are restored at its end.

    Ignored signals stay ignored. Only the main thread can set handlers; in other threads this does nothing.
    """
    signals = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {which: signal.getsignal(which) for which in signals}
    try:
        for which in (w for w, handler in before.items() if handler is not signal.SIG_IGN):
            signal.signal(which, _interrupt)
        yield
    finally:
        for which, handler in before.items():
            signal.signal(which, signal.SIG_DFL if handler is None else handler)  # None: not set from Python


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _reason(error: Exception) -> str:
    """The reason of an error, and its file: `No space left on device: dreams/data/00000.parquet`."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def changes(assignments: Sequence[str], option: str = "--set") -> dict[str, Any]:
    """The values in `key=value` strings of `--set`, or of another option like it; the value is YAML."""
    values = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise UsageError(f"{option} takes key=value, not {assignment!r}")
        values[key.strip()] = yaml_value(f"{option} {key}", text)
    return values


def yaml_value(option: str, text: str) -> Any:
    """The value of an option that takes YAML."""
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"{option}: {text!r} is not YAML") from error


def options_from(context: typer.Context, file: str | None) -> str | None:
    """Reads defaults of a command's options from a YAML file; the callback of the eager `--config` option.

    Raises:
        UsageError: the file does not exist, is not YAML, or has an unknown option.
    """
    if file is None:
        return None
    parameters = {p.name: p for p in context.command.params if p.name and p.name not in ("config", "help")}
    context.default_map = {}
    for key, value in _mapping(file).items():
        name = str(key).replace("-", "_")
        if name not in parameters:
            raise UsageError(f"config {file}: unknown option {key!r}: {nearest(str(key), sorted(parameters))}")
        repeatable = getattr(parameters[name], "multiple", False)
        if repeatable and isinstance(value, dict):  # as KEY=VALUE; JSON is YAML
            value = [f"{inside}={json.dumps(given)}" for inside, given in value.items()]
        parts = value if isinstance(value, list) else [value]
        if any(isinstance(part, list | dict) for part in parts):
            raise UsageError(f"config {file}: {key} takes a value or a list of values")
        text = ",".join(map(str, parts)) if isinstance(value, list) else value
        context.default_map[name] = parts if repeatable else text
    return file


def _mapping(file: str) -> dict[Any, Any]:
    """The YAML mapping at a path or URL."""
    from raydream.data import storage

    data = storage.read(file, what="config")
    try:
        values = yaml.safe_load(data) or {}
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"config {file} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise UsageError(f"config {file} must be a mapping of options to values")
    return values
