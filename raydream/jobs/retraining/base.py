"""The backbone to retrain."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from raydream import runtime
from raydream.core.objectives import CLASS_LAYER
from raydream.data import storage
from raydream.data.labelled import is_table
from raydream.errors import UsageError
from raydream.jobs.retraining.job import Retraining
from raydream.jobs.trained_network import TrainedNetwork, absolute
from raydream.recipe import DEFAULT_WEIGHTS
from raydream.types import KerasModel


def prepare(job: Retraining) -> Retraining:
    """The job with absolute paths, and with the weights and layers filled in; configures TensorFlow for the driver.

    Raises:
        UsageError: the network cannot be used, or has no such layer.
    """
    from raydream.training.classifier import unfreeze

    runtime.driver()
    network: dict[str, Any] = absolute(job, DEFAULT_WEIGHTS.get(job.backbone))
    job = replace(job, data=storage.absolute(job.data), output=storage.absolute(job.output), **network)
    storage.check_writable(job.output)
    if not is_table(job.data):  # of a table's folder, only the images that it names are read
        storage.check_apart(job.data, job.output, "the next run would read its own output")
    if job.through == CLASS_LAYER:
        raise UsageError(f"--through {CLASS_LAYER}: the head is replaced: name a layer below it")
    base = Base(replace(job, through=Base(job).through))
    job = replace(base.job, unfreeze=job.unfreeze or base.middle)
    unfreeze(base.network, str(job.unfreeze))  # raises if there is no such layer
    return job


@dataclass(frozen=True)
class Base(TrainedNetwork):
    """The backbone of a job; the driver and each worker load it."""

    job: Retraining

    @property
    def through(self) -> str:
        """The last layer that is kept."""
        names = [name for name in self.layers_with_names if name != CLASS_LAYER]
        if not names:
            raise UsageError(f"backbone {self.job.backbone} has no layer below its head")
        return self.job.through or names[-1]

    @property
    def middle(self) -> str:
        """The layer in the middle of those that have a name of their own."""
        from raydream.core.networks.backbones import layer_names

        names = layer_names(self.network)
        return names[(len(names) - 1) // 2]

    @cached_property
    def network(self) -> KerasModel:
        """The network up to `through`, with its batch norms folded: images in [-1, 1] to a feature map."""
        from raydream.core.networks import backbones

        network = self.up_to(self.through)
        return backbones.with_vgg_range(network) if backbones.is_vgg(self.whole.architecture) else network
