"""Job: all settings of the data set job, as frozen data.

Fields with a `typer.Option` are options of the command line (see `cli.options`). The field alone defines the option's
name, type, default, range and help. Annotations are evaluated in this module; `Recipe` is in quotes so that `--help`
does not import it.
"""

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from raydream.errors import UsageError, nearest

if TYPE_CHECKING:
    from raydream.recipe import Recipe

Format = Literal["parquet", "webdataset", "files"]
Picture = Literal["png", "jpg", "webp"]

_SHARE_FROM = 50  # a share of fewer images says little: one of 14 is already 7 %
_WORKERS = "Workers"
_DATA_SET = "Data set"


@dataclass(frozen=True, kw_only=True)
class Job:
    """The settings of the data set job.

    Attributes:
        input, output: folders: paths or URLs. Preparing the job makes paths absolute.
        recipe: the recipe. Preparing the job resolves it and fills in the digest of its weights.
        dreamer: path or URL of a network that does the recipe in one pass; None to run the recipe itself.
        dreamer_digest: SHA-256 of the dreamer's file, in hexadecimal.
        shard_size: images per shard; None for automatic.
        actors: (minimum, maximum) number of actors; (0, 0) for one per device.
        gpus_per_actor: GPUs per actor; None for 1 if the cluster has GPUs, else 0.
        batch_size: images that are dreamed together; None for automatic.
        format: format of the data files.
        picture: file ending of the dreams, without a dot.
        keep_source: whether the data set also holds the photographs, at the size of the dreams.
        limit: maximum number of images; None for all.
        license: license of the dreams, as the Hugging Face Hub names it, for the data set card.
        max_failures: how many images may fail before the job fails; see `allowed_failures`.

    Raises:
        UsageError: a value is invalid.
    """

    input: Annotated[str, typer.Option(help="Folder of photographs: a path or URL.")]
    output: Annotated[str, typer.Option(help="Folder of the data set: a path or URL.")]
    recipe: "Recipe"
    dreamer: Annotated[
        str | None,
        typer.Option(help="A .keras network that does the recipe in one pass (images to images in [-1, 1])."),
    ] = None
    dreamer_digest: str | None = None
    format: Annotated[
        Format,
        typer.Option(
            metavar="FORMAT", help="Format of the data: parquet, webdataset or files.", rich_help_panel=_DATA_SET
        ),
    ] = "parquet"
    picture: Annotated[
        Picture, typer.Option(metavar="FORMAT", help="Dreams as png, jpg or webp.", rich_help_panel=_DATA_SET)
    ] = "png"
    keep_source: Annotated[
        bool, typer.Option(help="Store the photographs with their dreams.", rich_help_panel=_DATA_SET)
    ] = False
    limit: Annotated[
        int | None, typer.Option(min=1, help="Take only the first N images.", metavar="N", rich_help_panel=_DATA_SET)
    ] = None
    license: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="License of the dreams for the data set card, as the Hugging Face Hub names it.",
            rich_help_panel=_DATA_SET,
        ),
    ] = "other"
    max_failures: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="N",
            help=f"How many images may fail: a number, or below 1 a share of the images (counted as at least "
            f"{_SHARE_FROM}).",
            rich_help_panel=_DATA_SET,
        ),
    ] = 0.05
    shard_size: Annotated[
        int | None,
        typer.Option(min=1, help="Images per shard. Default: automatic.", metavar="N", rich_help_panel=_WORKERS),
    ] = None
    actors: Annotated[
        tuple[int, int],
        typer.Option(
            metavar="N|MIN,MAX",
            help="Number of actors that dream. Default: one per GPU, or per core without GPUs.",
            show_default=False,
            rich_help_panel=_WORKERS,
        ),
    ] = (0, 0)
    gpus_per_actor: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="GPUs per actor, also a fraction. Default: 1 if the cluster has GPUs, else 0.",
            metavar="N",
            rich_help_panel=_WORKERS,
        ),
    ] = None
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Images dreamed together. Default: 8 on a GPU, else 1.", metavar="N", rich_help_panel=_WORKERS
        ),
    ] = None

    def __post_init__(self) -> None:
        for name, kind in (("format", Format), ("picture", Picture)):
            if (value := getattr(self, name)) not in get_args(kind):
                raise UsageError(f"unknown {name} {value!r}: {nearest(value, get_args(kind))}")
        fewest, most = self.actors
        if not (1 <= fewest <= most or (fewest, most) == (0, 0)):
            raise UsageError(f"actors {fewest},{most}: must be a number, or MIN,MAX with 1 <= MIN <= MAX")
        if not self.input or not self.output:
            raise UsageError(f"{'output' if self.input else 'input'} is empty: it must be a path or URL")
        if self.gpus_per_actor is not None and not 0 <= self.gpus_per_actor < inf:
            raise UsageError(f"gpus_per_actor must be a number of GPUs, not {self.gpus_per_actor:g}")
        for name in ("shard_size", "batch_size", "limit"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, not {value}")

    def decisive(self) -> dict[str, Any]:
        """The settings that change the bytes of the data. A job cannot be resumed with other values."""
        return {
            "input": self.input,
            "recipe": self.recipe.digest,
            "dreamer": self.dreamer_digest,
            "batch_size": self.batch_size,
            "format": self.format,
            "picture": self.picture,
            "keep_source": self.keep_source,
        }

    def allowed_failures(self, images: int) -> int:
        """How many images may fail, out of a total of `images`; never all of them."""
        share = self.max_failures * max(images, _SHARE_FROM)
        return min(images - 1, int(share if self.max_failures < 1 else self.max_failures))
