"""Estimates how long a data set will take, from a few steps on one of its images."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from raydream import assets
from raydream.cli.progress import duration
from raydream.core import engine
from raydream.core.networks.backbones import Backbone
from raydream.data import codec
from raydream.data.job import Job
from raydream.data.storage import Folder
from raydream.errors import UsageError
from raydream.recipe import Recipe

_PROBE_STEPS = 4  # the first one traces the graph and is not counted


def estimate(job: Job, ids: Sequence[str]) -> str:
    """Times a few steps on the first usable image; says how long it and all images will take."""
    recipe = job.recipe
    backbone = assets.load_for(recipe)
    image = _probe(job, ids, recipe, backbone)
    height, width = image.shape[:2]
    sizes = engine.usable_sizes(height, width, recipe, backbone)
    work = sum(h * w * recipe.steps_of(i, len(sizes)) for i, (h, w) in enumerate(sizes))
    quick = recipe.changed(octaves=1, steps=_PROBE_STEPS)
    times = [time.monotonic()]
    for step in engine.dream_steps(image[None], quick, backbone, [0], assets.pictures(recipe)):
        assert step.objective  # waits for the device
        times.append(time.monotonic())
    seconds = (times[-1] - times[1]) / (_PROBE_STEPS - 1) / (height * width) * work
    total = len(ids) * seconds
    return (
        f"about {duration(seconds)} per image ({width}x{height}, on one core of this machine), "
        f"{duration(total)} for all on one actor, {duration(total / 2)} on two, {duration(total / 8)} on eight"
    )


def _probe(job: Job, ids: Sequence[str], recipe: Recipe, backbone: Backbone) -> Any:
    """The first image that can be dreamed."""
    source = Folder(job.input)
    for id in ids:
        try:
            image = codec.fit(codec.decode(source.read(id)), recipe.size)
            engine.usable_sizes(image.shape[0], image.shape[1], recipe, backbone)
            return image
        except (UsageError, ValueError, MemoryError, OSError):
            continue
    raise UsageError(f"none of the {len(ids)} images of {job.input} can be dreamed")
