"""Job: everything that the data set job is asked to do, as frozen data.

The fields that carry a `typer.Option` are options of the command line (see `cli.options`): a field is the one place
for an option's name, type, default, range and help. Annotations are evaluated here, so `Recipe` stays in quotes: the
command line answers `--help` without loading it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from raydream.errors import UsageError, nearest

if TYPE_CHECKING:
    from raydream.recipe import Recipe

Format = Literal["parquet", "webdataset", "files"]
Picture = Literal["png", "jpg", "webp"]

_SHARE_FROM = 50  # images: of fewer, a share says nothing (one of 14 is 7 % already)
_WORKERS = "Workers"
_DATA_SET = "Data set"


@dataclass(frozen=True, kw_only=True)
class Job:
    """What `dream_dataset` is asked to do. The plan holds it, the workers get it, the manifest tells it.

    Attributes:
        input, output: folders; absolute paths or URLs once the job is prepared.
        recipe: resolved, with the digest of its weights, once the job is prepared.
        dreamer: path or URL of a network that does the recipe in one pass; None to run the recipe itself.
        dreamer_digest: SHA-256 of the dreamer's file, as hexadecimal.
        shard_size: images of a shard; None to choose.
        actors: (fewest, most); 0 most means one for each device.
        gpus_per_actor: None for 1 where the cluster has GPUs, else 0.
        batch_size: images dreamed together; None to choose.
        format: of the data files.
        picture: file ending of the dreams, without a dot.
        keep_source: whether the photographs, as they are dreamed, go into the data set.
        limit: most images to take, None for all.
        license: of the dreams, as the Hugging Face Hub names licenses; for the data set card.
        max_failures: failed images with which the job still succeeds; see `allowed_failures`.

    Raises:
        UsageError: a value that cannot be used.
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
            metavar="FORMAT", help="Of the data files: parquet, webdataset or files.", rich_help_panel=_DATA_SET
        ),
    ] = "parquet"
    picture: Annotated[
        Picture, typer.Option(metavar="FORMAT", help="Of the dreams: png, jpg or webp.", rich_help_panel=_DATA_SET)
    ] = "png"
    keep_source: Annotated[
        bool, typer.Option(help="Keep the photographs beside their dreams.", rich_help_panel=_DATA_SET)
    ] = False
    limit: Annotated[
        int | None, typer.Option(min=1, help="Take only the first N images.", metavar="N", rich_help_panel=_DATA_SET)
    ] = None
    license: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Of the dreams, as the Hugging Face Hub names licenses; for the data set card.",
            rich_help_panel=_DATA_SET,
        ),
    ] = "other"
    max_failures: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="N",
            help=f"Failed images that are allowed: a number; or below 1 a share of the images, taken as at least "
            f"{_SHARE_FROM}.",
            rich_help_panel=_DATA_SET,
        ),
    ] = 0.05
    shard_size: Annotated[
        int | None,
        typer.Option(min=1, help="Images in a shard. Default: chosen.", metavar="N", rich_help_panel=_WORKERS),
    ] = None
    actors: Annotated[
        tuple[int, int],
        typer.Option(
            metavar="N|MIN,MAX",
            help="Actors that dream. Default: one for each GPU, or else for each core.",
            show_default=False,
            rich_help_panel=_WORKERS,
        ),
    ] = (0, 0)
    gpus_per_actor: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="May be a fraction. Default: 1 where the cluster has GPUs, else 0.",
            metavar="N",
            rich_help_panel=_WORKERS,
        ),
    ] = None
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Images dreamed together. Default: 8 on GPUs, else 1.", metavar="N", rich_help_panel=_WORKERS
        ),
    ] = None

    def __post_init__(self) -> None:
        for name, kind in (("format", Format), ("picture", Picture)):
            if (value := getattr(self, name)) not in get_args(kind):
                raise UsageError(f"unknown {name} {value!r}: {nearest(value, get_args(kind))}")
        fewest, most = self.actors
        if not (1 <= fewest <= most or (fewest, most) == (0, 0)):
            raise UsageError(f"actors {fewest},{most}: must be a number, or MIN,MAX with 1 <= MIN <= MAX")
        for name in ("shard_size", "batch_size", "limit"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, not {value}")

    def decisive(self) -> dict[str, Any]:
        """What decides the bytes of the data: resuming with other values is refused."""
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
        """How many of so many images may fail; never all of them."""
        share = self.max_failures * max(images, _SHARE_FROM)
        return min(images - 1, int(share if self.max_failures < 1 else self.max_failures))
