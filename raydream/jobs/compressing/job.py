"""Compression: all settings of the compression job; `data.job` explains how options are declared."""

from dataclasses import dataclass
from typing import Annotated

import typer

_WORKERS = "Workers"
_STATISTICS = "Statistics and figures"


@dataclass(frozen=True, kw_only=True)
class Compression:
    """The settings of the compression job. The help texts of the options explain the fields."""

    input: Annotated[str, typer.Option(help="Folder of photographs: a path or URL.")]
    output: Annotated[str, typer.Option(help="Folder for the network and its card: a path or URL.")]
    backbone: Annotated[str, typer.Option(help="inception_v3, vgg16, vgg19, or the path or URL of a .keras file.")] = (
        "inception_v3"
    )
    weights: Annotated[
        str | None, typer.Option(help="imagenet, or a weights file of the named backbone. Default: imagenet.")
    ] = None
    through: Annotated[
        str | None, typer.Option(metavar="LAYER", help="The last layer to keep. Default: the network's last.")
    ] = None
    bits: Annotated[int, typer.Option(min=2, max=8, help="Bits per weight. Another run can use another number.")] = 6
    photographs: Annotated[
        int, typer.Option(min=1, metavar="N", help="Photographs for the statistics.", rich_help_panel=_STATISTICS)
    ] = 300
    dreams: Annotated[
        int, typer.Option(min=0, metavar="N", help="How many of these are also dreamed.", rich_help_panel=_STATISTICS)
    ] = 40
    crop: Annotated[
        int,
        typer.Option(min=96, metavar="PIXELS", help="Side of the square crops.", rich_help_panel=_STATISTICS),
    ] = 224
    held_out: Annotated[
        int, typer.Option(min=1, metavar="N", help="Held-out photographs to measure with.", rich_help_panel=_STATISTICS)
    ] = 60
    objectives: Annotated[
        tuple[str, ...],
        typer.Option(
            metavar="A,B+C",
            help="Objectives to measure, such as mixed3+mixed5,mixed7. Default: four layers.",
            show_default=False,
            rich_help_panel=_STATISTICS,
        ),
    ] = ()
    seed: Annotated[int, typer.Option(min=0, help="Seed of the crops and dreams.", rich_help_panel=_STATISTICS)] = 0
    actors: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Default: one per GPU, or per core without GPUs.", rich_help_panel=_WORKERS
        ),
    ] = None
    gpus_per_actor: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="N",
            help="GPUs per actor, also a fraction. Default: 1 if the cluster has GPUs, else 0.",
            rich_help_panel=_WORKERS,
        ),
    ] = None
