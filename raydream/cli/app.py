"""The `raydream` command. Each group of its commands is in its own module."""

from __future__ import annotations

from typing import Annotated

import typer

from raydream import __version__
from raydream.cli import commands, datasets, images, imagine, lazy, motion, networks, pictures, style, visualize

app = typer.Typer(
    cls=lazy.Group,
    add_completion=True,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Turn photographs into Deep Dreams: single photographs with `dream`, whole folders with `dataset`.",
)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


for group in (pictures, style, imagine, networks, visualize, datasets):
    for command, example in group.COMMANDS.items():
        app.command(epilog=f"Example: raydream {example}")(command)
for name, (command, example) in motion.COMMANDS.items():
    app.command(name, epilog=f"Example: raydream {name} {example}")(command)
app.add_typer(images.app, name="images")


def main() -> None:
    """Runs the `raydream` command."""
    commands.run(app, "raydream")
