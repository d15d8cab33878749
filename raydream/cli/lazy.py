"""Commands that run the jobs. A job's module is imported only when its command is used: `--help` stays fast."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from raydream.cli import options


@dataclass(frozen=True)
class Job:
    """A job on the command line: its module has a function `main`; `options` names its dataclass of options."""

    module: str
    options: str
    help: str
    example: str
    arguments: tuple[str, str] = ("input", "output")


JOBS = {
    "dataset": Job(
        "raydream.jobs.dream_dataset",
        "Job",
        "Dream a folder of photographs into a data set. The same command continues where it stopped.",
        "photographs dreams --recipe classic",
    ),
    "compress": Job(
        "raydream.jobs.compress_backbone",
        "Compression",
        "Compress a trained network into a few megabytes for dreaming. The same command continues where it stopped.",
        "photographs compressed --through mixed8",
    ),
    "retrain": Job(
        "raydream.jobs.retrain",
        "Retraining",
        "Retrain a network on labelled images, so that it dreams of their subjects. "
        "The same command continues where it stopped.",
        "photographs retrained --size 224",
        ("data", "output"),
    ),
    "gan": Job(
        "raydream.jobs.train_gan",
        "GanTraining",
        "Train a GAN on dreams, which makes new dreams from noise. The same command continues where it stopped.",
        "dreams trained --size 64",
        ("data", "output"),
    ),
    "sweep": Job(
        "raydream.jobs.sweep",
        "Sweep",
        "Find the best recipe: dream a few photographs with many recipes. The same command continues where it stopped.",
        'photographs swept --recipe quick --space "step_size=loguniform(0.005, 0.05)"',
    ),
}


class Group(TyperGroup):
    """A group of commands that includes those of `JOBS`."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of all commands."""
        return [*super().list_commands(ctx), *JOBS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command with this name; for a job, a placeholder without its module."""
        if cmd_name in JOBS:
            return _Placeholder(name=cmd_name, help=JOBS[cmd_name].help)
        return super().get_command(ctx, cmd_name)


class _Placeholder(TyperCommand):
    """Represents a job's command in lists; the real command is created when it is called."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        return _command(str(self.name), JOBS[str(self.name)]).make_context(info_name, args, parent=parent, **extra)


def _command(name: str, job: Job) -> Any:
    """A job's command, with its input and output as arguments."""
    module = import_module(job.module)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    function = options.command(getattr(module, job.options), module.main, positional=job.arguments)
    app.command(name, epilog=f"Example: raydream {name} {job.example}")(function)
    return typer.main.get_command(app)
