"""Shows the progress of one dream: a bar on a terminal, a moving line in a notebook, plain lines otherwise."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

from raydream.cli.progress import duration

if TYPE_CHECKING:
    from rich.console import Console

    from raydream.core.engine import Step

_PLAIN_EVERY = 10.0  # seconds


class _Display(Protocol):
    def show(self, text: str, share: float) -> None:
        """Shows the progress; `share` is the finished part of the work, from 0 to 1."""


@contextlib.contextmanager
def loading(name: str) -> Iterator[None]:
    """Prints on stderr that a network is being loaded; on a terminal, the line is removed afterwards."""
    if not sys.stderr.isatty():
        print(f"loading {name}", file=sys.stderr, flush=True)
        yield
        return
    print(f"loading {name} ...", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        print("\r\x1b[2K", end="", file=sys.stderr, flush=True)


def watch(steps: Iterable[Step], work: int, title: str) -> Step:
    """Runs a dream to its end and shows its progress; returns the last step.

    Args:
        steps: the iterator of `engine.dream_steps`; it has at least one step.
        work: total number of pixels over all steps.
        title: name of the photograph.
    """
    step, done = None, 0
    with _display(title) as display:
        for step in steps:
            height, width = step.size
            done += height * width
            text = f"{title}  octave {step.octave + 1}/{step.octaves} {width}x{height}  {step.objective[0]:.3g}"
            display.show(text, done / work)
    assert step is not None
    return step


@contextlib.contextmanager
def _display(title: str) -> Iterator[_Display]:
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_jupyter:
        yield (line := _MovingLine())
        line.clear()
    elif not console.is_terminal:
        yield _PlainLines()
    else:
        with _Bar(console, title) as bar:
            yield bar


class _Bar:
    """A bar on a terminal."""

    def __init__(self, console: Console, title: str) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console)
        self._task = self._progress.add_task(title, total=1.0)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, text: str, share: float) -> None:
        self._progress.update(self._task, completed=share, description=text)


class _MovingLine:
    """A line that is overwritten, and removed at the end; notebooks can show this."""

    def __init__(self) -> None:
        self._width = 0

    def show(self, text: str, share: float) -> None:
        filled = round(20 * share)
        self._write(f"{'█' * filled}{'░' * (20 - filled)} {text}")

    def clear(self) -> None:
        self._write("")
        print("\r", end="", flush=True)

    def _write(self, line: str) -> None:
        print(f"\r{line.ljust(self._width)}", end="", flush=True)
        self._width = len(line)


class _PlainLines:
    """A line every ten seconds, for logs; none for a short dream."""

    def __init__(self) -> None:
        self._began = self._said = time.monotonic()

    def show(self, text: str, share: float) -> None:
        now = time.monotonic()
        if now - self._said < _PLAIN_EVERY or share >= 1.0:
            return
        self._said = now
        left = (now - self._began) / share * (1.0 - share)
        print(f"{text}, {duration(left)} left", file=sys.stderr, flush=True)
