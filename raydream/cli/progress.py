"""Progress for people: one moving line on a terminal, now and then a plain line elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

_PLAIN_EVERY = 10.0  # seconds


def duration(seconds: float) -> str:
    """Seconds as `40 s`, `12 min` or `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


class Progress:
    """Counts units of work; says how many are done, how fast, how long it will take, and what failed.

    Args:
        total: units in all.
        unit: their name, plural.
        clock: seconds; for tests.
    """

    def __init__(self, total: int, unit: str = "images", clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.unit, self._clock = total, unit, clock
        self.done = self.failures = 0
        self._first: tuple[float, int] | None = None
        self._shown = clock()
        self._later: threading.Timer | None = None
        self._moves = sys.stderr.isatty()

    def advance(self, done: int, failures: int = 0) -> None:
        """Adds units that are done, and how many of them failed."""
        self.done += done
        self.failures += failures
        now = self._clock()
        # The first result carries the start-up; speed is counted from there.
        self._first = self._first or (now, self.done)
        if self._moves:
            print(f"\r\x1b[2K{self.line()}", end="", file=sys.stderr, flush=True)
        elif now - self._shown >= _PLAIN_EVERY or self.done == self.total:
            self._say()
        elif not self._later:
            # The next result may be long in coming: what is known is said when its time has come.
            self._later = threading.Timer(_PLAIN_EVERY - (now - self._shown), self._say)
            self._later.daemon = True
            self._later.start()

    def _say(self) -> None:
        self._hush()
        print(self.line(), file=sys.stderr, flush=True)
        self._shown = self._clock()

    def _hush(self) -> None:
        if self._later:
            self._later.cancel()
        self._later = None

    def line(self) -> str:
        """The state in one line."""
        parts = [f"{self.done:,} of {self.total:,} {self.unit}"]
        since, before = self._first or (0.0, self.done)
        elapsed = self._clock() - since
        if self.done > before and elapsed >= 1.0:  # below that it is chance
            rate = (self.done - before) / elapsed
            parts.append(f"{rate:.3g} {self.unit}/s")
            if self.done < self.total:
                parts.append(f"{duration((self.total - self.done) / rate)} left")
        if self.failures:
            parts.append(f"{self.failures:,} failed")
        return ", ".join(parts)

    def close(self) -> None:
        """Ends the moving line; nothing more is said."""
        self._hush()
        if self._moves and self.done:
            print(file=sys.stderr, flush=True)
