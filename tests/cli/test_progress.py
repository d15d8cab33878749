"""progress: what people see of a long job, by a clock that stands still until it is told."""

import io
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from raydream.cli.progress import Progress, duration


class Clock:
    """Seconds, as set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def no_timer_outlives_its_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    begun: list[threading.Timer] = []
    monkeypatch.setattr("threading.Timer.start", lambda timer: (begun.append(timer), threading.Thread.start(timer)))
    yield
    for timer in begun:
        timer.cancel()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (40, "40 s"),
        (89.4, "89 s"),
        (90, "2 min"),
        (12 * 60, "12 min"),
        (89 * 60, "89 min"),
        (90 * 60, "1 h 30 min"),
        (3 * 3600 + 20 * 60, "3 h 20 min"),
        (2 * 3600 + 29, "2 h 00 min"),
        (100 * 3600, "100 h 00 min"),
    ],
)
def test_durations_have_the_unit_that_one_would_use(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_speed_and_time_left_count_from_the_first_result_not_from_the_start(clock: Clock) -> None:
    progress = Progress(104, clock=clock)
    assert progress.line() == "0 of 104 images"
    clock.now += 500  # start-up
    progress.advance(4)
    assert progress.line() == "4 of 104 images"
    clock.now += 10
    progress.advance(20)
    assert progress.line() == "24 of 104 images, 2 images/s, 40 s left"
    clock.now += 30  # nothing for a while: the line that is shown later knows
    assert progress.line() == "24 of 104 images, 0.5 images/s, 3 min left"


def test_failures_are_said_once_there_are_some_and_the_end_has_no_time_left(clock: Clock) -> None:
    progress = Progress(2000, unit="tiles", clock=clock)
    progress.advance(1000, failures=1)
    clock.now += 100
    progress.advance(1000, failures=2)
    assert progress.line() == "2,000 of 2,000 tiles, 10 tiles/s, 3 failed"
    assert "failed" not in Progress(1, clock=clock).line()


def test_no_time_has_passed_and_nothing_to_do_are_no_errors(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(3, clock=clock)
    progress.advance(1)
    progress.advance(1)
    assert progress.line() == "2 of 3 images"
    progress.advance(0)
    nothing = Progress(0, clock=clock)
    nothing.advance(0)
    assert nothing.line() == "0 of 0 images"


def test_elsewhere_than_on_a_terminal_a_plain_line_now_and_then_and_at_the_end(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress(33, clock=clock)
    for _ in range(33):
        clock.now += 1
        progress.advance(1)
    progress.close()
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "10 of 33 images, 1 images/s, 23 s left",
        "20 of 33 images, 1 images/s, 13 s left",
        "30 of 33 images, 1 images/s, 3 s left",
        "33 of 33 images, 1 images/s",
    ]
    assert "\x1b" not in err
    assert "\r" not in err


def test_one_unit_is_singular(clock: Clock) -> None:
    assert Progress(1, clock=clock).line() == "0 of 1 image"
    assert Progress(1, "photographs", clock=clock).line() == "0 of 1 photograph"


def test_elsewhere_a_phase_is_a_plain_line_at_once(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(2, clock=clock)
    progress.phase("starting Ray")
    assert capsys.readouterr().err == "starting Ray\n"
    progress.advance(2)
    assert capsys.readouterr().err == "2 of 2 images\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(terminal: Terminal) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Puts a terminal in place of stderr; in the test, since pytest puts its own there after the fixtures."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    return terminal


def test_on_a_terminal_the_phase_and_then_a_bar(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    progress = Progress(2, clock=clock)
    progress.phase("starting Ray")
    assert "starting Ray" in shown(terminal)
    progress.advance(1)
    clock.now += 1
    progress.advance(1, failures=1)
    progress.close()
    assert "1 of 2 images" in shown(terminal)
    assert shown(terminal).rstrip().endswith("2 of 2 images, 1 images/s, 1 failed")
    assert terminal.getvalue().endswith("\x1b[?25h")  # the cursor is back
    assert not terminal.closed


def test_a_terminal_sees_nothing_of_a_job_without_results(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    Progress(2, clock=clock).close()
    assert terminal.getvalue() == ""


def test_the_bar_still_shows_while_libraries_are_silenced() -> None:
    code = """
from raydream.cli.progress import Progress
from raydream.runtime import quiet
progress = Progress(3)
progress.phase("starting Ray")
with quiet():
    progress.phase("still starting")
progress.close()
"""
    master, slave = os.openpty()
    subprocess.run([sys.executable, "-c", code], stderr=slave, check=True, env={**os.environ, "TERM": "xterm"})
    assert b"still starting" in os.read(master, 100_000)
    os.close(master)
    os.close(slave)


def test_a_plain_line_held_back_is_printed_when_its_time_has_come(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("raydream.cli.progress._PERIOD", 0.2)
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    progress = Progress(9)
    progress.advance(2)
    assert capsys.readouterr().err == ""
    time.sleep(0.6)
    assert capsys.readouterr().err.startswith("2 of 9 images")
    progress.advance(1)
    assert capsys.readouterr().err.startswith("3 of 9 images")
    progress.advance(1)
    progress.close()
    time.sleep(0.4)
    assert capsys.readouterr().err == ""
