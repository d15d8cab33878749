"""options: a command line from the fields of a dataclass."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import typer
from typer.testing import CliRunner

from raydream.cli import options


@dataclass(frozen=True, kw_only=True)
class Job:
    input: Annotated[str, typer.Option(help="Where from.")]
    count: Annotated[int, typer.Option(min=1, help="How many.")] = 7
    limit: Annotated[int | None, typer.Option(help="At most.")] = None
    pair: Annotated[tuple[int, int], typer.Option(metavar="N|MIN,MAX")] = (0, 0)
    names: Annotated[tuple[str, ...], typer.Option()] = ()
    format: Annotated[Literal["one", "two"], typer.Option()] = "one"
    keep: Annotated[bool, typer.Option()] = False
    inner: int = 1


def asked(*arguments: str, positional: tuple[str, ...] = ()) -> tuple[Job, str]:
    """The job that a command line makes, and its option of its own."""
    got: list[Any] = []

    def main(job: Callable[..., Job], recipe: Annotated[str, typer.Option()] = "classic") -> int:
        """Do it."""
        got.extend((job(inner=2), recipe))
        return 0

    app = typer.Typer()
    app.command()(options.command(Job, main, positional))
    app(args=arguments, standalone_mode=False)
    return got[0], got[1]


def test_what_is_left_out_has_the_fields_defaults() -> None:
    assert asked("--input", "x") == (Job(input="x", inner=2), "classic")


def test_options_have_the_fields_types() -> None:
    line = "--input x --count 3 --limit 4 --pair 1,8 --names a,b+c --format two --keep --recipe trip"
    expected = Job(input="x", count=3, limit=4, pair=(1, 8), names=("a", "b+c"), format="two", keep=True, inner=2)
    assert asked(*line.split()) == (expected, "trip")


def test_a_single_value_stands_for_all_of_a_tuple() -> None:
    assert asked("--input", "x", "--pair", "3")[0].pair == (3, 3)
    assert asked("--input", "x", "--names", "a")[0].names == ("a",)


def test_fields_may_be_positional() -> None:
    assert asked("x", "5", "--keep", positional=("input", "count"))[0] == Job(input="x", count=5, keep=True, inner=2)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--count 3", "--input"),
        ("--input x --count 0", "--count"),
        ("--input x --count many", "--count"),
        ("--input x --pair 1,2,3", "'1,2,3' must be 2 whole numbers with commas between them"),
        ("--input x --pair a,b", "--pair"),
        ("--input x --format three", "'one', 'two'"),
        ("--input x --inner 3", "--inner"),
    ],
)
def test_wrong_values_are_refused_with_the_option(line: str, said: str) -> None:
    with pytest.raises(typer.TyperException) as error:
        asked(*line.split())
    assert said in error.value.format_message()


def test_a_file_gives_options_and_the_command_line_comes_before_it(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("input: x\npair: 2\nnames: [a, b]\nkeep: true\ncount: 9\nrecipe: trip")
    got = Job(input="x", pair=(2, 2), names=("a", "b"), keep=True, count=9, inner=2)
    assert asked("--config", str(file)) == (got, "trip")
    file.write_text("input: x\npair: [1, 8]\nkeep: true")
    got, _ = asked("--config", str(file), "--no-keep", "--input", "y")
    assert (got.input, got.pair, got.keep) == ("y", (1, 8), False)


def test_the_help_shows_names_help_and_defaults() -> None:
    def main(job: Callable[..., Job]) -> int:
        """Do it."""
        return 0

    app = typer.Typer()
    app.command()(options.command(Job, main))
    text = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "120"}).output
    for word in ("Do it.", "--input", "Where from.", "[required]", "How many.", "[default: 7]", "MIN,MAX", "--config"):
        assert word in text
    assert "--inner" not in text


@pytest.mark.parametrize("job", ["dream_dataset", "compress_backbone"])
def test_the_jobs_help_loads_nothing_heavy(job: str) -> None:
    code = f"""if True:
        import sys
        from raydream.jobs import {job}
        try: {job}.app(args=["--help"])
        except SystemExit: pass
        heavy = {{"ray", "tensorflow", "keras", "numpy", "pyarrow", "pydantic", "fsspec"}} & set(sys.modules)
        assert not heavy, heavy"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--input" in done.stdout
