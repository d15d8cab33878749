"""Retraining: all settings of the retraining job; `data.job` explains how options are declared."""

from dataclasses import dataclass
from typing import Annotated

import typer

from raydream.errors import UsageError
from raydream.jobs.train.values import check_values

_HEAD = "Phase 1: a new head on the fixed backbone"
_TUNE = "Phase 2: the upper layers"
_WORKERS = "Workers"


@dataclass(frozen=True, kw_only=True)
class Retraining:
    """The settings of the retraining job. The help texts of the options explain the fields."""

    data: Annotated[
        str, typer.Option(help="Folder of class folders, table (CSV, TSV, Parquet) or data set: a path or URL.")
    ]
    output: Annotated[str, typer.Option(help="Folder for the networks and their figures: a path or URL.")]
    backbone: Annotated[
        str, typer.Option(help="inception_v3, vgg16, vgg19, or the path or URL of a .keras or .npz file.")
    ] = "inception_v3"
    weights: Annotated[
        str | None, typer.Option(help="compact, imagenet, or a weights file. Default: compact, imagenet for VGG.")
    ] = None
    through: Annotated[
        str | None, typer.Option(metavar="LAYER", help="The last layer to keep. Default: the network's last.")
    ] = None
    label_column: Annotated[str, typer.Option(metavar="NAME", help="Column of a table with the classes.")] = "label"
    image_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="Column of a data set with the images. Default: the first one.")
    ] = None
    shares: Annotated[
        tuple[float, float, float],
        typer.Option(metavar="A,B,C", help="Shares of training, validation and test.", show_default=False),
    ] = (0.8, 0.1, 0.1)
    size: Annotated[int, typer.Option(min=75, metavar="PIXELS", help="Side of the images.")] = 224
    batch_size: Annotated[int, typer.Option(min=1, metavar="N", help="Images per step, over all workers.")] = 32
    dropout: Annotated[float, typer.Option(min=0, max=0.9, help="Dropout before the head.")] = 0.2
    label_smoothing: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of the label that is spread over all classes.")
    ] = 0.1
    patience: Annotated[
        int, typer.Option(min=0, metavar="N", help="End a phase after N epochs without improvement; 0 for never.")
    ] = 5
    seed: Annotated[int, typer.Option(min=0, help="Seed of the split, the order and the random changes.")] = 0
    head_epochs: Annotated[
        int, typer.Option(min=1, metavar="N", help="Maximum number of epochs.", rich_help_panel=_HEAD)
    ] = 40
    head_learning_rate: Annotated[
        float, typer.Option(min=1e-9, help="AdamW's learning rate.", rich_help_panel=_HEAD)
    ] = 1e-3
    head_weight_decay: Annotated[float, typer.Option(min=0, help="AdamW's weight decay.", rich_help_panel=_HEAD)] = 1e-2
    epochs: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="Maximum number of epochs; 0 trains only the head.", rich_help_panel=_TUNE
        ),
    ] = 6
    learning_rate: Annotated[
        float,
        typer.Option(min=1e-9, help="Learning rate of SGD (momentum 0.9); it falls to 0.", rich_help_panel=_TUNE),
    ] = 5e-3
    unfreeze: Annotated[
        str | None,
        typer.Option(
            metavar="LAYER",
            help="The first layer to train. Default: the middle layer.",
            rich_help_panel=_TUNE,
        ),
    ] = None
    shear: Annotated[float, typer.Option(min=0, max=1, help="Largest random shear.", rich_help_panel=_TUNE)] = 0.2
    zoom: Annotated[
        float, typer.Option(min=0, max=0.5, help="Largest random change of the size.", rich_help_panel=_TUNE)
    ] = 0.2
    flip: Annotated[bool, typer.Option(help="Mirror half of the images.", rich_help_panel=_TUNE)] = True
    mixup: Annotated[
        float,
        typer.Option(min=0, help="Mix images: parameter of the beta distribution; 0 for off.", rich_help_panel=_TUNE),
    ] = 0.0
    dreams: Annotated[
        int, typer.Option(min=0, metavar="N", help="Test images to dream before and after; 0 for no dreams at all.")
    ] = 4
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Number of workers. Default: one per GPU, or one without GPUs.",
            rich_help_panel=_WORKERS,
        ),
    ] = None
    gpus_per_worker: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="N",
            help="GPUs per worker. Default: 1 if the cluster has GPUs, else 0.",
            rich_help_panel=_WORKERS,
        ),
    ] = None

    def __post_init__(self) -> None:
        if not (min(self.shares) > 0 and abs(sum(self.shares) - 1.0) <= 1e-6):  # also false for nan
            given = ",".join(f"{share:g}" for share in self.shares)
            raise UsageError(f"shares {given}: must be three numbers above 0 whose sum is 1, such as 0.8,0.1,0.1")
        check_values(vars(self), self.batch_size)
