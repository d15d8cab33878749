"""Compression: everything that the compression job is asked to do; see `data.job` for how its options are declared."""

from dataclasses import dataclass
from typing import Annotated

import typer

_WORKERS = "Workers"
_STATISTICS = "Statistics and figures"


@dataclass(frozen=True, kw_only=True)
class Compression:
    """What `compress_backbone` is asked to do; the help of its options says what each is."""

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
    bits: Annotated[int, typer.Option(min=2, max=8, help="Bits of a weight. May be changed later.")] = 6
    photographs: Annotated[
        int, typer.Option(min=1, metavar="N", help="Photographs to take statistics of.", rich_help_panel=_STATISTICS)
    ] = 300
    dreams: Annotated[
        int, typer.Option(min=0, metavar="N", help="How many of them to dream of, too.", rich_help_panel=_STATISTICS)
    ] = 40
    crop: Annotated[
        int,
        typer.Option(min=96, metavar="PIXELS", help="Side of the crop of a photograph.", rich_help_panel=_STATISTICS),
    ] = 224
    held_out: Annotated[
        int, typer.Option(min=1, metavar="N", help="Other photographs to measure with.", rich_help_panel=_STATISTICS)
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
    seed: Annotated[int, typer.Option(min=0, rich_help_panel=_STATISTICS)] = 0
    actors: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Default: one for each GPU, or else for each core.", rich_help_panel=_WORKERS
        ),
    ] = None
    gpus_per_actor: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="N",
            help="May be a fraction. Default: 1 where the cluster has GPUs, else 0.",
            rich_help_panel=_WORKERS,
        ),
    ] = None
