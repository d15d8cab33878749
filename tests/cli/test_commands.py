"""commands: one-line errors and exit statuses, `--set`, options from a file."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from raydream.cli import commands
from raydream.errors import UsageError, WorkError, nearest

HOSTILE_VALUES = ["[1", "{a: 1", "!!int x", "2020-13-45", "0b_", "\x00", "[" * 500, "!!python/object:os.system x"]


# ---- nearest


def test_nearest_names_the_nearest_and_all() -> None:
    assert nearest("stps", ["steps", "seed"]) == "did you mean 'steps'? valid: steps, seed"
    assert nearest("zzz", ["steps", "seed"]) == "valid: steps, seed"
    assert nearest("", iter(())) == "valid: "


# ---- --set


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("20", 20),
        ("0.5", 0.5),
        ("-1", -1),
        ("[1, 2, 3]", [1, 2, 3]),
        ("mixed4", "mixed4"),
        ("{layer: mixed4, weight: 2}", {"layer": "mixed4", "weight": 2}),
        ("true", True),
        ("null", None),
        ("", None),
        ("'20'", "20"),
        ("gs://bucket/x.keras", "gs://bucket/x.keras"),
        ("a=b", "a=b"),
        ("夢", "夢"),
    ],
)
def test_values_are_yaml(text: str, value: Any) -> None:
    assert commands.changes([f"key={text}"]) == {"key": value}


def test_the_last_of_several_assignments_counts_and_spaces_around_a_key_do_not() -> None:
    assert commands.changes(["seed=1", " steps =5", "seed=2"]) == {"seed": 2, "steps": 5}
    assert commands.changes([]) == {}


@pytest.mark.parametrize("text", HOSTILE_VALUES, ids=range(len(HOSTILE_VALUES)))
def test_a_value_that_is_no_yaml_is_said_with_its_key(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--set steps: '.*' is not YAML$"):
        commands.changes([f"steps={text}"])


@pytest.mark.parametrize("text", ["steps", "", "steps:5"])
def test_an_assignment_without_equals_is_said(text: str) -> None:
    with pytest.raises(UsageError, match=f"^--set takes key=value, not '{text}'$"):
        commands.changes([text])


# ---- options from a file


def configured(path: Path, text: str | bytes, *arguments: str) -> dict[str, Any]:
    """What a command got that takes its options from a file with this text."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    got: dict[str, Any] = {}
    app = typer.Typer()

    @app.command()
    def work(
        input: Annotated[str, typer.Option()],
        shard_size: Annotated[int | None, typer.Option(min=1)] = None,
        set: Annotated[list[str] | None, typer.Option()] = None,
        keep_source: Annotated[bool, typer.Option("--keep-source")] = False,
        max_failures: Annotated[float, typer.Option()] = 0.05,
        config: Annotated[str | None, typer.Option(is_eager=True, callback=commands.options_from)] = None,
    ) -> None:
        got.update(input=input, shard_size=shard_size, set=set, keep_source=keep_source, max_failures=max_failures)

    app(["--config", str(path), *arguments], standalone_mode=False)
    return got


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "job.yaml"


def test_a_file_gives_the_options_with_dashes_or_underscores(path: Path) -> None:
    text = "input: photos\nshard-size: 4\nset: [steps=5, seed=1]\nkeep_source: true\nmax_failures: 1"
    assert configured(path, text) == {
        "input": "photos",
        "shard_size": 4,
        "set": ["steps=5", "seed=1"],
        "keep_source": True,
        "max_failures": 1.0,
    }


def test_the_command_line_goes_before_the_file(path: Path) -> None:
    got = configured(path, "input: photos\nshard_size: 4", "--shard-size", "9", "--input", "others")
    assert (got["shard_size"], got["input"]) == (9, "others")


def test_what_the_file_leaves_out_keeps_its_default(path: Path) -> None:
    got = configured(path, "input: photos\nshard_size: null")
    assert (got["shard_size"], got["max_failures"], got["set"]) == (None, 0.05, None)
    assert configured(path, "", "--input", "x")["input"] == "x"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("shard_sze: 4", "unknown option 'shard_sze': did you mean 'shard_size'?"),
        ("shard-sze: 4", "did you mean 'shard_size'?"),
        ("config: other.yaml", "unknown option 'config'"),
        ("help: true", "unknown option 'help'"),
        ("1: 2", "unknown option 1:"),
        ("- input", "must be a mapping"),
        ("just words", "must be a mapping"),
        ("input: [", "is not YAML"),
        ("input: 2020-13-45", "is not YAML"),
        ("input: !!python/object:os.system x", "is not YAML"),
        (b"\xff\xfe\x00", "is not YAML"),
        (b"input: \x00", "is not YAML"),
    ],
)
def test_a_file_that_cannot_be_meant_is_said_with_its_name(text: str | bytes, said: str, path: Path) -> None:
    with pytest.raises(UsageError) as error:
        configured(path, text, "--input", "x")
    assert str(error.value).startswith(f"config {path}")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["shard_size: many", "shard_size: 0", "keep_source: perhaps"])
def test_values_of_a_file_are_checked_as_those_of_the_command_line(text: str, path: Path) -> None:
    option = text.partition(":")[0].replace("_", "-")
    with pytest.raises(typer.TyperException) as error:
        configured(path, text, "--input", "x")
    assert f"'--{option}'" in error.value.format_message()


def test_a_missing_file_is_said(path: Path) -> None:
    with pytest.raises(UsageError, match=r"config .*none\.yaml does not exist"):
        configured(path, "", "--config", str(path.with_name("none.yaml")))


# ---- run


def outcome(work: Any, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[Any, str, str]:
    """(exit status, stdout, stderr) of a command that does `work`."""
    app = typer.Typer()
    app.command()(work)
    with pytest.raises(SystemExit) as end:
        commands.run(app, "tool", arguments)
    return end.value.code, *capsys.readouterr()


@pytest.mark.parametrize(("returned", "status"), [(None, 0), (0, 0), (1, 1), (130, 130), ("text", 0)])
def test_the_status_is_what_the_command_returns(returned: Any, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(lambda: returned, capsys) == (status, "", "")


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (UsageError("this is\n  wrong"), 2, "tool: this is wrong\n"),
        (WorkError("this went\n  wrong"), 1, "tool: this went wrong\n"),
        (FileNotFoundError(2, "No such file", "x.png"), 1, "tool: No such file: x.png\n"),
        (OSError(28, "No space left on device"), 1, "tool: No space left on device\n"),
        (
            OSError(28, "No space left on device", "out/data/1.png"),
            1,
            "tool: No space left on device: out/data/1.png\n",
        ),
        (OSError("of a kind\nwithout a number"), 1, "tool: of a kind without a number\n"),
        (ConnectionError(), 1, "tool: ConnectionError\n"),
        (typer.BadParameter("not so"), 2, "tool: Invalid value: not so\n"),
        (KeyboardInterrupt(), 130, ""),
        (typer.Abort(), 130, "tool: interrupted\n"),
        (EOFError(), 1, "\ntool: a file ends too early\n"),
        (UsageError("\x1b[31mred\x07.jpg"), 2, "tool: \\x1b[31mred\\x07.jpg\n"),
        (typer.Exit(3), 3, ""),
    ],
)
def test_an_error_is_one_line_and_its_status_says_whose_it_is(
    error: BaseException, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        raise error

    assert outcome(work, capsys) == (status, "", said)


def test_a_fault_of_ours_keeps_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        outcome(work, capsys)


def test_wrong_options_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def work(count: int) -> None:
        """Nothing."""

    for arguments in ([], ["many"], ["1", "2"], ["1", "--bogus"]):
        status, out, err = outcome(work, capsys, *arguments)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert err.startswith("tool: ")


PRINTER = """
import os, sys, typer
from raydream.cli import commands
app = typer.Typer()
@app.command()
def work(count: int) -> None:
    for _ in range(count):
        print(os.fsdecode(b"caf\\xe9 " + "夢".encode()))
commands.run(app, "tool", sys.argv[1:])
"""


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_who_leaves_early_causes_no_noise(unbuffered: str) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-c", PRINTER, "5"]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, env=environment, check=False)
    os.close(write)
    assert done.stderr == b""
    assert done.returncode == commands.FAILED


def test_names_that_are_no_text_are_printed_as_they_are_where_python_would_refuse() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run([sys.executable, "-c", PRINTER, "1"], capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"caf\xe9 " + "夢\n".encode()


def test_lists_stand_for_what_may_be_repeated_and_for_what_has_commas(path: Path) -> None:
    assert configured(path, "input: x\nset: steps=5")["set"] == ["steps=5"]
    assert configured(path, "input: [1, 8]")["input"] == "1,8"
    with pytest.raises(UsageError, match="input takes a value or a list of values"):
        configured(path, "input: [[1]]")
