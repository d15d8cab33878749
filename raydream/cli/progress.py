"""Shows progress on stderr: as a bar on a terminal, otherwise as a line every ten seconds."""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

_PERIOD = 10.0  # seconds between two plain lines
_BAR_WIDTH = 24  # characters


def duration(seconds: float) -> str:
    """Formats seconds as `40 s`, `12 min` or `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


class Progress:
    """Counts units of work; shows how many are done, the speed, the time left, and how many failed.

    Before the first unit is done, it shows the current phase.

    Args:
        total: total number of units.
        unit: name of the units, in the plural; it must end in `s`.
        clock: returns seconds; for tests.
    """

    def __init__(self, total: int, unit: str = "images", clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.unit, self._clock = total, unit, clock
        self.done = self.failures = 0
        self._phase = ""
        self._first: tuple[float, int] | None = None
        self._printed = clock()
        self._timer: threading.Timer | None = None
        self._bar: Bar | None = None
        self._terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def phase(self, text: str) -> None:
        """Shows the current phase, such as `starting Ray`."""
        self._phase = text
        if self._terminal:
            self._show()
        else:
            print(text, file=sys.stderr, flush=True)

    def restart(self, total: int) -> None:
        """Counts from 0 to a new total: the next part of the work."""
        self.total, self.done, self.failures, self._first = total, 0, 0, None

    def say(self, text: str) -> None:
        """Prints a line; on a terminal, above the bar."""
        if self._bar:
            self._bar.console.print(text, highlight=False, markup=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def advance(self, done: int, failures: int = 0) -> None:
        """Adds `done` finished units, of which `failures` failed."""
        self.done += done
        self.failures += failures
        self._phase = ""
        now = self._clock()
        # The first result includes the start-up time, so the speed is measured from then on.
        self._first = self._first or (now, self.done)
        if self._terminal:
            self._show()
        elif now - self._printed >= _PERIOD or self.done == self.total:
            self._print()
        elif not self._timer:
            # The next result may take long: a timer prints this one.
            self._timer = threading.Timer(_PERIOD - (now - self._printed), self._print)
            self._timer.daemon = True
            self._timer.start()

    def line(self) -> str:
        """The state in one line."""
        parts = [f"{self.done:,} of {self._units(self.total)}"]
        since, before = self._first or (0.0, self.done)
        elapsed = self._clock() - since
        if self.done > before and elapsed >= 1.0:  # a rate over less time is not reliable
            rate = (self.done - before) / elapsed
            parts.append(f"{rate:.3g} {self.unit}/s")
            if self.done < self.total:
                parts.append(f"{duration((self.total - self.done) / rate)} left")
        if self.failures:
            parts.append(f"{self.failures:,} failed")
        return ", ".join(parts)

    def close(self) -> None:
        """Stops the display; the last state of the bar stays on the terminal."""
        self._cancel()
        if self._bar:
            self._bar.stop()
            self._bar = None

    def _units(self, number: int) -> str:
        return f"{number:,} {self.unit.removesuffix('s') if number == 1 else self.unit}"

    def _print(self) -> None:
        self._cancel()
        print(self.line(), file=sys.stderr, flush=True)
        self._printed = self._clock()

    def _cancel(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = None

    def _show(self) -> None:
        if not self._bar:
            self._bar = _bar(self)
            self._bar.add_task("", total=None)  # a bar that pulses, for the phases
            self._bar.start()
        total = None if self._phase else self.total
        self._bar.update(self._bar.task_ids[0], completed=self.done, total=total, refresh=True)

    def text(self) -> str:
        """The text beside the bar: the phase, or else the state."""
        return self._phase or self.line()


def _bar(progress: Progress) -> Bar:
    from rich.console import Console
    from rich.progress import BarColumn, ProgressColumn, SpinnerColumn
    from rich.progress import Progress as Bar
    from rich.text import Text

    class State(ProgressColumn):
        def render(self, task: Any) -> Text:
            return Text(progress.text(), overflow="ellipsis", no_wrap=True)

    console = Console(file=_own_stderr(), force_terminal=True)
    return Bar(SpinnerColumn(), BarColumn(_BAR_WIDTH), State(), console=console)


def _own_stderr() -> TextIO:
    """A copy of stderr that still works while the output of libraries is dropped (`runtime.quiet`)."""
    try:
        return os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding=sys.stderr.encoding, errors="replace")
    except io.UnsupportedOperation:  # stderr is not a file, as in a notebook
        return sys.stderr
