"""The trained network that a job starts from: found in the driver, loaded in the driver and in each worker."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from raydream import assets
from raydream.data import storage
from raydream.errors import UsageError

if TYPE_CHECKING:
    from raydream.core.networks.loading import Network
    from raydream.types import KerasModel


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

    @property
    def layers_with_names(self) -> list[str]:
        """The layers with a feature map and a name of their own; raises a `UsageError` if there are none."""
        from raydream.core.networks.backbones import layer_names

        if names := layer_names(self.whole.model):
            return names
        raise UsageError(f"backbone {self.job.backbone} has no convolution with a name of its own: name its layers")

    def up_to(self, layer: str) -> KerasModel:
        """A copy of the network up to a layer, with its batch norms folded; see `compression.plain`.

        Raises:
            UsageError: there is no such layer, or the network is no flat graph of layers.
        """
        import keras

        from raydream.core.networks import backbones, compression
        from raydream.core.networks.graph import outputs_of

        model, outputs = self.whole.model, outputs_of(self.whole.model)
        if layer in outputs:
            backbones.require_plain(keras.Model(model.inputs, outputs[layer]), self.job.backbone)
        return compression.plain(model, layer)
