"""GanTraining: all settings of the job that trains a GAN; `data.job` explains how options are declared."""

from dataclasses import dataclass
from math import isfinite
from typing import Annotated, Literal, NamedTuple

import typer

from raydream.errors import UsageError
from raydream.models.gan import SIZES

Network = Literal["fastgan", "dcgan"]

_LEARNING = "Learning"
_MEASURES = "Figures and pictures"
_WORKERS = "Workers"
_LARGEST_DCGAN = 256


class Method(NamedTuple):
    """How a network learns; see the options of these names."""

    learning_rate: float
    batch_size: int
    average: float
    augment: bool


# What is used for options that are not given; the seed project trained its DCGAN so.
_METHODS = {"fastgan": Method(2e-4, 16, 0.995, True), "dcgan": Method(1e-4, 64, 0.0, False)}


@dataclass(frozen=True, kw_only=True)
class GanTraining:
    """The settings of the job that trains a GAN. The help texts of the options explain the fields."""

    data: Annotated[str, typer.Option(help="Data set of dreams, or a folder of pictures: a path or URL.")]
    output: Annotated[str, typer.Option(help="Folder for the GAN and its figures: a path or URL.")]
    network: Annotated[
        Network, typer.Option(help="fastgan: FastGAN's generator, a projected critic. dcgan: the seed project's GAN.")
    ] = "fastgan"
    size: Annotated[
        int, typer.Option(metavar="PIXELS", help=f"Side of the pictures: {', '.join(map(str, SIZES))}.")
    ] = 128
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first weights, the crops and the noise.")] = 0
    epochs: Annotated[
        int, typer.Option(min=1, metavar="N", help="Maximum number of epochs.", rich_help_panel=_LEARNING)
    ] = 40
    steps: Annotated[int, typer.Option(min=1, metavar="N", help="Steps of an epoch.", rich_help_panel=_LEARNING)] = 500
    patience: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="End after N epochs without a lower KID; 0 for never.", rich_help_panel=_LEARNING
        ),
    ] = 0
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Pictures per step, over all workers. Default: 16, DCGAN 64.",
            rich_help_panel=_LEARNING,
        ),
    ] = None
    learning_rate: Annotated[
        float | None,
        typer.Option(min=1e-9, help="Adam's learning rate. Default: 0.0002, DCGAN 0.0001.", rich_help_panel=_LEARNING),
    ] = None
    average: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=0.99999,
            help="Share of the averaged generator that stays at each step. Default: 0.995, DCGAN 0.",
            rich_help_panel=_LEARNING,
        ),
    ] = None
    augment: Annotated[
        bool | None,
        typer.Option(
            help="Show the critic moved and partly covered pictures. Default: yes, DCGAN no.", rich_help_panel=_LEARNING
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
            help="Layers that the critic sees, besides unnamed ones of fine details. Default: three at growing depth.",
            show_default=False,
            rich_help_panel=_LEARNING,
        ),
    ] = ()
    samples: Annotated[
        int,
        typer.Option(min=16, metavar="N", help="Pictures to measure after each epoch.", rich_help_panel=_MEASURES),
    ] = 512
    workers: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Default: one per GPU, or one without GPUs.", rich_help_panel=_WORKERS),
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
        batch = self.method.batch_size
        if self.workers and batch % self.workers:
            more = -(-batch // self.workers) * self.workers
            raise UsageError(f"batch_size {batch} cannot be shared by {self.workers} workers evenly: {more} can")
        if self.seed >= 2**63:  # TensorFlow's integers are smaller
            raise UsageError(f"seed {self.seed}: must be below 2**63")
        for name, value in vars(self).items():
            if isinstance(value, float) and not isfinite(value):
                raise UsageError(f"{name} {value}: must be a finite number")

    @property
    def method(self) -> Method:
        """How the network learns: the options that are given, and the defaults of the network for the others."""
        given = {name: value for name in Method._fields if (value := getattr(self, name)) is not None}
        return _METHODS[self.network]._replace(**given)
