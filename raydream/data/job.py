"""Job: everything that the data set job is asked to do, as frozen data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from raydream.recipe import Recipe

Format = Literal["parquet", "webdataset", "files"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """What `dream_dataset` is asked to do. The plan holds it, the workers get it, the manifest tells it.

    Attributes:
        input, output: folders, as absolute paths or URLs.
        recipe: resolved: with the digest of its weights.
        dreamer: path or URL of a network that does the recipe in one pass; None to run the recipe itself.
        dreamer_digest: SHA-256 of the dreamer's file.
        shard_size: images of a shard; None to choose.
        actors: (fewest, most); 0 most means one for each device.
        gpus_per_actor: None for 1 where the cluster has GPUs, else 0.
        batch_size: images dreamed together; None to choose.
        format: of the data files.
        picture: file ending of the dreams, without a dot: png, jpg or webp.
        keep_source: whether the photographs, as they are dreamed, go into the data set.
        limit: most images to take, None for all.
        max_failures: largest share of failed images with which the job still succeeds.
        license: of the dreams, as the Hugging Face Hub names licenses; for the data set card.
    """

    input: str
    output: str
    recipe: Recipe
    dreamer: str | None = None
    dreamer_digest: str | None = None
    shard_size: int | None = None
    actors: tuple[int, int] = (0, 0)
    gpus_per_actor: float | None = None
    batch_size: int | None = None
    format: Format = "parquet"
    picture: str = "png"
    keep_source: bool = False
    limit: int | None = None
    max_failures: float = 0.05
    license: str = "other"

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
