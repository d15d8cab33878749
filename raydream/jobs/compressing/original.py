"""The network to compress, and its half-done dreams."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from raydream import runtime
from raydream.data import storage, summary
from raydream.errors import UsageError
from raydream.jobs.compressing.job import Compression
from raydream.jobs.trained_network import TrainedNetwork, absolute
from raydream.types import Image

STEPS = (2, 6, 12)  # steps of the last octave after which a half-done dream is taken


def prepare(job: Compression) -> Compression:
    """The job with absolute paths and the weights filled in; configures TensorFlow for the driver."""
    from raydream.core.networks import loading

    runtime.driver()
    weights = job.weights or ("imagenet" if job.backbone in loading.ARCHITECTURES else None)
    if job.backbone.endswith(".npz") or weights == "compact" or (weights or "").endswith(".npz"):
        raise UsageError("a compact network cannot be compressed again: use the weights that it was made from")
    network: dict[str, Any] = absolute(job, weights)
    job = replace(job, input=storage.absolute(job.input), output=storage.absolute(job.output), **network)
    storage.check_apart(job.input, job.output, "the next run would read its own output")
    return job


@dataclass(frozen=True)
class Original(TrainedNetwork):
    """The network to compress; the driver and each actor load it."""

    job: Compression

    @property
    def name(self) -> str:
        """Its architecture if that is known (VGG needs images in another range), else the name of its file."""
        return self.whole.architecture or summary.last_part(self.job.backbone)

    @cached_property
    def network(self) -> Any:
        """The network up to `through`, folded."""
        return self.up_to(self.job.through or self.layers_with_names[-1])

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """Layers for the dreams, spread over the upper 60 % of the network."""
        from raydream.core.networks.backbones import layer_names

        names = layer_names(self.network)
        return tuple(dict.fromkeys(names[round(share * (len(names) - 1))] for share in (0.4, 0.6, 0.8, 1.0)))

    @cached_property
    def backbone(self) -> Any:
        """The network as a backbone with these layers."""
        from raydream.core.networks.backbones import load_backbone

        return load_backbone(self.files.backbone, self.layers, weights=self.files.weights)

    def half_done(self, image: Image, number: int) -> list[Image]:
        """Half-done dreams of an image, after each number of steps in `STEPS`; `number` selects layer and seed."""
        from raydream.core import engine
        from raydream.recipe import Recipe

        objective = self.layers[number % len(self.layers)]
        recipe = Recipe(objective=objective, octaves=2, steps=STEPS[-1])  # type: ignore[arg-type]
        steps = engine.dream_steps(image[None], recipe, self.backbone, [number])
        return [step.images[0] for step in steps if step.octave == step.octaves - 1 and step.step + 1 in STEPS]
