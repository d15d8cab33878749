"""What the command lines share: one-line errors, exit statuses, `--set`, and options from a file."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import typer
import yaml

from raydream.errors import UsageError, WorkError, nearest

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def run(app: typer.Typer, name: str, arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs a command line and exits; whatever the user can mend is one line on stderr and status 2."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # file names may have bytes that are no text
    try:
        with interruptible():
            status = app(args=arguments, prog_name=name, standalone_mode=False)
            sys.stdout.flush()
    except BrokenPipeError:
        # Who read our output wants no more of it; what is left must not fail again when Python flushes it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = FAILED
    except (UsageError, OSError, typer.TyperException) as error:
        message = error.format_message() if isinstance(error, typer.TyperException) else str(error)
        if message:  # none after the help that a bare command gets
            print(f"{name}: {' '.join(message.split())}", file=sys.stderr)
        status = USAGE
    except WorkError as error:
        print(f"{name}: {' '.join(str(error).split())}", file=sys.stderr)
        status = FAILED
    except (KeyboardInterrupt, typer.Abort):
        print(f"{name}: interrupted", file=sys.stderr)
        status = INTERRUPTED
    sys.exit(status if isinstance(status, int) else OK)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Lets SIGTERM, like SIGINT, raise KeyboardInterrupt; at the end both mean what they meant before.

    A signal that is ignored stays so. Only the main thread may set handlers; in another this does nothing.
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


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Drops what C++ libraries print to stderr while they start, before they can be told not to."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def import_tensorflow_quietly() -> None:
    """Imports TensorFlow without its greetings."""
    with quiet_libraries():
        import tensorflow as tf

        tf.config.list_physical_devices("GPU")


def changes(assignments: Sequence[str]) -> dict[str, Any]:
    """`key=value` strings of `--set` as recipe values; the value is YAML."""
    values = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise UsageError(f"--set takes key=value, not {assignment!r}")
        try:
            values[key.strip()] = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise UsageError(f"--set {key}: {text!r} is not YAML") from error
    return values


def options_from(context: typer.Context, file: str | None) -> str | None:
    """Takes defaults of a command's options from a YAML file; for an eager `--config` option."""
    if file is None:
        return None
    from raydream.data import storage

    data = storage.read(file, what="config")
    try:
        values = yaml.safe_load(data) or {}
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"config {file} is not YAML: {' '.join(str(error).split())}") from error
    known = {p.name for p in context.command.params if p.name} - {"config", "help"}
    if not isinstance(values, dict):
        raise UsageError(f"config {file} must be a mapping of options to values")
    for key in values:
        if str(key).replace("-", "_") not in known:
            raise UsageError(f"config {file}: unknown option {key!r}: {nearest(str(key), sorted(known))}")
    lists = {p.name for p in context.command.params if getattr(p, "multiple", False)}
    context.default_map = {}
    for key, value in values.items():
        parts = value if isinstance(value, list) else [value]
        if any(isinstance(part, list | dict) for part in parts):
            raise UsageError(f"config {file}: {key} takes a value or a list of values")
        option = str(key).replace("-", "_")
        joined = ",".join(map(str, parts)) if isinstance(value, list) else value
        context.default_map[option] = parts if option in lists else joined
    return file
