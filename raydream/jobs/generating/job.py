"""GanTraining: all settings of the job that trains a GAN; `data.job` explains how options are declared."""

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import typer

from raydream.errors import UsageError
from raydream.jobs.train.values import check_values
from raydream.models.gan import SIZES

Network = Literal["fastgan", "dcgan"]

_LEARNING = "Learning"
_METRICS = "Metrics"
_WORKERS = "Workers"
_LARGEST_DCGAN = 256


class Hyperparameters(NamedTuple):
    """The options whose defaults depend on the network."""

    learning_rate: float
    batch_size: int
    ema_decay: float
    augment: bool


# Defaults of these options. Those of dcgan are the seed project's.
_DEFAULTS = {"fastgan": Hyperparameters(2e-4, 16, 0.995, True), "dcgan": Hyperparameters(1e-4, 64, 0.0, False)}


@dataclass(frozen=True, kw_only=True)
class GanTraining:
    """The settings of the job that trains a GAN. The help texts of the options explain the fields."""

    data: Annotated[str, typer.Option(help="Data set of dreams, or a folder of pictures: a path or URL.")]
    output: Annotated[str, typer.Option(help="Folder for the GAN and its metrics: a path or URL.")]
    network: Annotated[
        Network, typer.Option(help="fastgan: FastGAN's generator, a projected critic. dcgan: the seed project's GAN.")
    ] = "fastgan"
    size: Annotated[
        int, typer.Option(metavar="PIXELS", help=f"Side of the pictures: {', '.join(map(str, SIZES))}.")
    ] = 128
    seed: Annotated[int, typer.Option(min=0, help="Seed of the initial weights, the crops and the noise.")] = 0
    epochs: Annotated[
        int, typer.Option(min=1, metavar="N", help="Maximum number of epochs.", rich_help_panel=_LEARNING)
    ] = 40
    steps: Annotated[int, typer.Option(min=1, metavar="N", help="Steps per epoch.", rich_help_panel=_LEARNING)] = 500
    patience: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="Stop after N epochs without a lower KID; 0 for never.", rich_help_panel=_LEARNING
        ),
    ] = 0
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Pictures per step, over all workers. Default: 16 for fastgan, 64 for dcgan.",
            rich_help_panel=_LEARNING,
        ),
    ] = None
    learning_rate: Annotated[
        float | None,
        typer.Option(
            min=1e-9,
            help="Adam's learning rate. Default: 0.0002 for fastgan, 0.0001 for dcgan.",
            rich_help_panel=_LEARNING,
        ),
    ] = None
    ema_decay: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=0.99999,
            help="Decay of the moving average of the generator's weights. Default: 0.995, or 0 for dcgan.",
            rich_help_panel=_LEARNING,
        ),
    ] = None
    augment: Annotated[
        bool | None,
        typer.Option(
            help="Translate the critic's pictures and cut a square out. Default: yes for fastgan, no for dcgan.",
            rich_help_panel=_LEARNING,
        ),
    ] = None
    backbone: Annotated[
        str,
        typer.Option(
            help="Network whose features the critic sees: inception_v3, vgg16, vgg19, or a .keras or .npz file.",
            rich_help_panel=_LEARNING,
        ),
    ] = "inception_v3"
    weights: Annotated[
        str | None,
        typer.Option(
            help="compact, imagenet, or a weights file. Default: compact, imagenet for VGG.", rich_help_panel=_LEARNING
        ),
    ] = None
    layers: Annotated[
        tuple[str, ...],
        typer.Option(
            metavar="A,B",
            help="Layers that the critic sees, besides early ones without a name. Default: three of increasing depth.",
            show_default=False,
            rich_help_panel=_LEARNING,
        ),
    ] = ()
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Recipe whose objective measures dreaminess. Default: that of the dreams.",
            rich_help_panel=_METRICS,
        ),
    ] = None
    samples: Annotated[
        int,
        typer.Option(min=16, metavar="N", help="Pictures to evaluate after each epoch.", rich_help_panel=_METRICS),
    ] = 512
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
        if self.size not in SIZES:
            raise UsageError(f"size {self.size}: must be one of {', '.join(map(str, SIZES))}")
        if self.network == "dcgan" and self.size > _LARGEST_DCGAN:
            raise UsageError(f"size {self.size}: dcgan makes at most {_LARGEST_DCGAN} pixels: use fastgan")
        check_values(vars(self), self.hyperparameters.batch_size)

    @property
    def hyperparameters(self) -> Hyperparameters:
        """The options that are given, and the defaults of the network for the others."""
        given = {name: value for name in Hyperparameters._fields if (value := getattr(self, name)) is not None}
        return _DEFAULTS[self.network]._replace(**given)
