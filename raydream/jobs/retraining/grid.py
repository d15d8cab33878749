"""The grid of an epoch: some validation images, and below each one its dream with the network as it is now."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from raydream.data import codec
from raydream.jobs.retraining.plan import Plan
from raydream.jobs.train.streams import picture
from raydream.types import Image, KerasModel

_COLUMNS = 6
_STEPS = 16  # some seconds on two cores


def layers(plan: Plan, network: KerasModel) -> list[str]:
    """Layers to dream with: those of the preset `quick`, or else the first one that is trained and the last one."""
    from raydream.core.networks.backbones import layer_names
    from raydream.recipe import Recipe

    wanted = Recipe.load("quick").objective.layers
    if {*wanted} <= {*layer_names(network)}:
        return [*wanted]
    return list(dict.fromkeys([str(plan.job.unfreeze), str(plan.job.through)]))


def grid(plan: Plan, network: KerasModel) -> Sequence[Sequence[Image]]:
    """Two rows of images (size, size, 3) in [-1, 1]; none if the job makes no dreams."""
    from raydream.core import engine, octave
    from raydream.core.networks.backbones import backbone_of
    from raydream.recipe import Recipe

    if not plan.job.dreams:
        return []
    names = [plan.found.names[n] for n in plan.spread("validation", _COLUMNS)]
    images = np.stack([codec.from_uint8(picture(plan.found.folder, name, plan.job.size)) for name in names])
    objective = layers(plan, network)
    recipe = Recipe.load("quick", {"objective": objective, "octaves": 1, "steps": _STEPS, "step_size": 0.03})
    backbone = backbone_of(network, objective, "classifier")
    dreams = engine.dream(images, recipe, backbone, [recipe.seed_of(name) for name in names])
    octave.forget()  # else the networks of the last epochs stay in memory
    return [[*images], [*dreams]]
