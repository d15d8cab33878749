"""app: help, version, one line for what is asked wrongly, and what happens in a process of its own."""

import io
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import raydream
from raydream.cli.app import app, commands
from raydream.data import codec
from tests.cli.conftest import NOT_UTF8, Cli, listed, wrong


def test_version(cli: Cli) -> None:
    assert cli("--version") == (0, f"{raydream.__version__}\n", "")


def test_help_names_every_command_and_each_ends_with_an_example_that_parses(cli: Cli) -> None:
    _, out, _ = cli("--help")
    names = [str(command.name or command.callback.__name__) for command in app.registered_commands if command.callback]
    made = {"dream", "layers", "recipes", "inspect", "gallery", "replay", "scenery", "style", "imagine", "visualize"}
    assert set(names) == made | {"walk", "zoom", "morph", "video"}
    names += ["dataset", "compress", "gan"]
    for name in names:
        assert name in out
        code, text, err = cli(name, "--help")
        assert (code, err) == (0, "")
        assert f"Example: raydream {name}" in text


def test_nothing_asked_is_answered_with_the_help_alone(cli: Cli) -> None:
    code, out, err = cli()
    assert code == 2
    assert "Usage: raydream" in out + err
    assert "raydream: " not in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bogus"], "No such command 'bogus'"),
        (["dream"], "Missing argument 'IMAGE...'"),
        (["--bogus"], "No such option: --bogus"),
        (["layers", "nothing"], "unknown backbone 'nothing'"),
        (["layers", "none.keras"], "backbone file none.keras does not exist"),
        (["scenery", "out", "--count", "0"], "--count"),
        (["scenery", "out", "--count", "many"], "--count"),
        (["gallery", "out", "--rows", "0"], "--rows"),
        (["replay", "none.png"], "dream none.png does not exist"),
    ],
)
def test_other_commands_asked_wrongly_are_one_line(arguments: list[str], said: str, cli: Cli) -> None:
    assert said in wrong(cli(*arguments))


def started(*arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "raydream", *arguments]
    return subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_libraries_add_nothing_to_what_is_printed(here: Path) -> None:
    Path("dog.png").rename(NOT_UTF8)
    arguments = ("dream", "broken.jpg", "cat.jpg", NOT_UTF8, "-r", "tiny.yaml", "-o", "out")
    with started(*arguments, PYTHONIOENCODING="utf-8") as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert out == b"out/cat-dream.png\nout/caf\xe9-dream.png\n"
    loading, broken = err.splitlines()
    assert re.fullmatch(rb"loading .*net\.keras", loading)
    assert broken.startswith(b"raydream: broken.jpg: ")


def test_interrupting_ends_quietly_with_130_and_no_half_picture(here: Path) -> None:
    with started("scenery", "many", "--count", "100000") as process:
        deadline = time.monotonic() + 30
        while not listed(here / "many") and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == commands.INTERRUPTED
    assert b"Traceback" not in err
    for name in listed(here / "many"):
        codec.decode((here / "many" / name).read_bytes())


COLOURS = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;\d+)*m")


def help_on_terminal(**environment: str) -> str:
    """What `--help` shows on a terminal."""
    main, sub = pty.openpty()
    command = [sys.executable, "-m", "raydream", "--help"]
    environment = {**os.environ, "TERM": "xterm-256color", **environment}
    with subprocess.Popen(command, env=environment, stdin=sub, stdout=sub, stderr=sub) as process:
        os.close(sub)
        seen = b""
        try:
            while piece := os.read(main, 65536):
                seen += piece
        except OSError:  # how a terminal ends on Linux
            pass
    os.close(main)
    assert process.returncode == 0
    return seen.decode()


def test_no_color_is_respected_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert COLOURS.search(help_on_terminal())
    plain = help_on_terminal(NO_COLOR="1")
    assert "dream" in plain
    assert not COLOURS.search(plain)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("no_color", [None, "1"])
def test_on_a_terminal_a_bar_moves_and_names_are_shown_as_they_are(
    no_color: str | None, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "TERM", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", no_color)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    Path("cat.jpg").rename("[bold]cat.jpg")
    with pytest.raises(SystemExit) as end:
        commands.run(app, "raydream", ["dream", "[bold]cat.jpg", "-r", "tiny.yaml"])
    assert end.value.code == 0
    assert "[bold]cat.jpg  octave 1/1 60x40" in terminal.getvalue()
    assert "\x1b[" in terminal.getvalue()
    assert bool(COLOURS.search(terminal.getvalue())) == (no_color is None)
