"""Sweep: all settings of the sweep job; `data.job` explains how options are declared."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from raydream.errors import UsageError, nearest

if TYPE_CHECKING:
    from raydream.data.spaces import Space
    from raydream.recipe import Recipe

Search = Literal["random", "grid", "optuna", "atlas"]

_SCORES = "Scores"
_WORKERS = "Workers"


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """The settings of the sweep job. The help texts of the options explain the fields.

    Attributes:
        base: the recipe that is varied. Preparing the job makes its paths absolute.
        space: the keys of the recipe that are varied, each with its values.

    Raises:
        UsageError: a value is invalid.
    """

    input: Annotated[str, typer.Option(help="Folder of photographs: a path or URL.")]
    output: Annotated[str, typer.Option(help="Folder of the sweep: a path or URL.")]
    base: "Recipe"
    space: "Space"
    search: Annotated[
        Search,
        typer.Option(
            metavar="KIND",
            help="random; grid: every combination; optuna: learns from the trials (needs the extra `sweep`); "
            "atlas: looks for recipes that differ as much as possible.",
        ),
    ] = "random"
    trials: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Number of trials. Default: 24; for a grid, all combinations."),
    ] = None
    asha: Annotated[
        bool, typer.Option(help="Stop recipes that are poor after their first octaves; saves half of the work.")
    ] = False
    reduction: Annotated[
        float, typer.Option(min=1.1, max=100, metavar="X", help="With --asha, one of X trials goes on after an octave.")
    ] = 3.0
    seed: Annotated[int, typer.Option(min=0, help="Seed of the parameters.")] = 0
    probes: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Photographs that each trial dreams, evenly spread over the folder.",
            rich_help_panel=_SCORES,
        ),
    ] = 2
    metric: Annotated[
        str,
        typer.Option(
            metavar="FORMULA",
            help="What is best: a formula of gain, transfer, ssim, color_shift, seam, motif, strength and seconds.",
            rich_help_panel=_SCORES,
        ),
    ] = "log(1 + gain) * sqrt(ssim)"
    transfer: Annotated[
        str | None,
        typer.Option(
            metavar="NETWORK:LAYERS",
            help="Another network that measures the dreams, such as vgg16:block4_conv3+block5_conv3.",
            rich_help_panel=_SCORES,
        ),
    ] = None
    cpus_per_trial: Annotated[
        float, typer.Option(min=0.01, metavar="N", help="Cores per trial, also a fraction.", rich_help_panel=_WORKERS)
    ] = 1.0
    gpus_per_trial: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="N",
            help="GPUs per trial, also a fraction. Default: 1 if the cluster has GPUs, else 0.",
            rich_help_panel=_WORKERS,
        ),
    ] = None
    retries: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="How often a trial is tried again if it fails.", rich_help_panel=_WORKERS
        ),
    ] = 2

    def __post_init__(self) -> None:
        if self.search not in get_args(Search):
            raise UsageError(f"unknown search {self.search!r}: {nearest(self.search, get_args(Search))}")
        if self.asha and self.search == "atlas":
            raise UsageError("--asha stops trials that an atlas needs: leave one of them out")

    @property
    def adaptive(self) -> bool:
        """Whether trials depend on the metric of other trials."""
        return self.asha or self.search in ("optuna", "atlas")
