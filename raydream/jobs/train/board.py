"""Shows the progress of a training run on the driver: a bar on a terminal, otherwise plain lines."""

from __future__ import annotations

import threading
from contextlib import suppress

import ray

from raydream.cli.progress import Progress

_PERIOD = 0.5  # seconds between two looks


@ray.remote(num_cpus=0)
class Board:
    """An actor that keeps what the first worker tells until the driver reads it."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._step: tuple[str, int, int] | None = None

    def say(self, line: str) -> None:
        """Keeps a line to print."""
        self._lines.append(line)

    def step(self, phase: str, total: int, done: int) -> None:
        """Keeps the number of finished steps of a phase."""
        self._step = phase, total, done

    def news(self) -> tuple[list[str], tuple[str, int, int] | None]:
        """The lines since the last call, and the steps."""
        lines, self._lines = self._lines, []
        return lines, self._step


class Watch:
    """A context manager that shows what is on the board."""

    def __init__(self, progress: Progress) -> None:
        self.board = Board.remote()  # type: ignore[attr-defined]
        self._progress, self._finished = progress, threading.Event()
        self._thread = threading.Thread(target=self._watch, name="board", daemon=True)
        self._phase = ""

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._finished.set()
        self._thread.join()
        self._progress.close()

    def _watch(self) -> None:
        finished = False
        while not finished:
            finished = self._finished.wait(_PERIOD)
            with suppress(Exception):  # the board may be gone with its cluster, which the training reports
                self._show(*ray.get(self.board.news.remote(), timeout=5.0))

    def _show(self, lines: list[str], step: tuple[str, int, int] | None) -> None:
        for line in lines:
            self._progress.say(line)
        if step:
            phase, total, done = step
            if phase != self._phase:
                self._progress.restart(total)
                self._phase = phase
            if done > self._progress.done:
                self._progress.advance(done - self._progress.done)
