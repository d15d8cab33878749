"""The trained network that a job starts from: found in the driver, loaded in the driver and in each worker."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from raydream import assets
from raydream.data import storage
from raydream.errors import UsageError

if TYPE_CHECKING:
    from raydream.core.networks.loading import Network


class Job(Protocol):
    """What is read of a job's settings."""

    @property
    def backbone(self) -> str: ...
    @property
    def weights(self) -> str | None: ...


def absolute(job: Job, default: str | None) -> dict[str, str | None]:
    """`backbone` and `weights` of a job with absolute paths, since workers run in other folders.

    Args:
        job: the settings, as the user gave them.
        default: the weights, if the user gave none; None if the backbone is a file.

    Raises:
        UsageError: the backbone is a file, so that it contains its own weights, but there are others.
    """
    if job.weights and job.backbone.endswith((".keras", ".npz")):
        raise UsageError(f"--weights: {job.backbone} contains its own weights: leave the option out")
    weights = assets.named_weights(job.backbone, job.weights or default)
    if weights and weights not in ("imagenet", "compact"):
        weights = storage.absolute_if_file(weights)
    return {"backbone": storage.absolute_if_file(job.backbone), "weights": weights}


class TrainedNetwork:
    """The network of a job; a subclass has the attribute `job`."""

    job: Job

    @cached_property
    def files(self) -> assets.Files:
        """Its files on this machine."""
        return assets.locate(self.job.backbone, self.job.weights)

    @property
    def digest(self) -> str:
        """SHA-256 of the file of its weights, in hexadecimal."""
        return assets.digest(self.files.trained)

    @cached_property
    def whole(self) -> Network:
        """The whole network, as it was trained."""
        from raydream.core.networks import loading

        return loading.load(self.files.backbone, self.files.weights)
