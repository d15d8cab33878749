"""The commands in README.md and docs/: each one exists, with the options that are shown."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "jobs/README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands(page: Path) -> list[str]:
    """The command lines in a page's shell blocks, continued lines joined, comments left out."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [part.strip() for line in lines for part in line.split("  #")[0].split("&&") if part.strip()]


ALL = [(page.name, line) for page in PAGES for line in commands(page)]


def words_of(line: str, program: str) -> list[str] | None:
    """The arguments of a command line that runs `program`, at its start or after `--`; None if it does not."""
    start = line.split(" -- ")[-1].strip()
    return shlex.split(start.removeprefix(program)) if start.startswith(program) else None


@pytest.mark.parametrize(("page", "line"), [pair for pair in ALL if words_of(pair[1], "raydream ") is not None])
def test_raydream_takes_these_words(page: str, line: str) -> None:
    from raydream.cli.app import app

    command: Any = typer.main.get_command(app)
    name, arguments = "raydream", words_of(line, "raydream ") or [""]
    while hasattr(command, "get_command"):  # a group, such as `raydream images`
        context = command.make_context(name, [], resilient_parsing=True)
        name, *arguments = arguments or [""]
        command = command.get_command(context, name)
        assert command, f"there is no command {name}"
    assert command.make_context(name, arguments)


@pytest.mark.parametrize(("page", "line"), [pair for pair in ALL if "python -m raydream.jobs." in pair[1]])
def test_jobs_take_these_words(page: str, line: str) -> None:
    import importlib

    program, *arguments = words_of(line, "python -m ") or [""]
    command = typer.main.get_command(importlib.import_module(program).app)
    assert command.make_context(program, arguments), line


def test_make_has_every_target_that_is_named() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {words[0] for _, line in ALL if (words := words_of(line, "make "))}
    assert named <= targets
    assert {"install", "demo", "test"} <= named


def test_links_lead_to_files() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_page_of_presets_shows_all_of_them_with_their_recipes_and_pictures() -> None:
    import sys
    from importlib import import_module

    from raydream.recipe import presets

    sys.path.insert(0, str(ROOT / "docs"))
    try:
        pictures = import_module("pictures")
    finally:
        sys.path.pop(0)
    page = (ROOT / "docs/presets.md").read_text()
    assert sorted(re.findall(r"<summary>([\w-]+)\.yaml</summary>", page)) == presets()
    assert pictures.with_recipes(page) == page, "run `make pictures`"
    readme, gans = (ROOT / "README.md").read_text().replace("docs/", ""), (ROOT / "docs/gans.md").read_text()
    shown = set(re.findall(r"\(pictures/([\w-]+)\.\w+\)", page + readme + gans))
    assert shown == {*pictures.makers(), *pictures.MOVIES}
