"""How long a data set will take, from a few steps on one of its images."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Any

from raydream import assets
from raydream.cli import commands
from raydream.cli.progress import duration
from raydream.core import engine
from raydream.core.networks.backbones import Backbone, load_for
from raydream.data import codec
from raydream.data.storage import Folder
from raydream.errors import UsageError
from raydream.recipe import Recipe

_PROBE_STEPS = 4  # the first one, which traces, is not counted


def as_an_actor() -> None:
    """Gives this process one thread, as an actor has, if TensorFlow has not started yet."""
    commands.import_tensorflow_quietly()
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)


def estimate(url: str, ids: Sequence[str], recipe: Recipe) -> str:
    """Dreams a few steps of the first good image, and says what that means for all of them."""
    recipe = assets.with_local_files(recipe)
    backbone = load_for(recipe)
    image = _probe(url, ids, recipe, backbone)
    height, width = image.shape[:2]
    sizes = engine.usable_sizes(height, width, recipe, backbone)
    work = sum(h * w * recipe.steps_of(i, len(sizes)) for i, (h, w) in enumerate(sizes))
    quick = recipe.changed(octaves=1, steps=_PROBE_STEPS)
    times = [time.monotonic()]
    for step in engine.dream_steps(image[None], quick, backbone, [0]):
        assert step.objective  # waits for the device
        times.append(time.monotonic())
    seconds = (times[-1] - times[1]) / (_PROBE_STEPS - 1) / (height * width) * work
    total = len(ids) * seconds
    return (
        f"about {duration(seconds)} an image ({width}x{height}, on one core of this machine), "
        f"{duration(total)} for all on one actor, {duration(total / 2)} on two, {duration(total / 8)} on eight"
    )


def _probe(url: str, ids: Sequence[str], recipe: Recipe, backbone: Backbone) -> Any:
    """The first image that can be dreamed."""
    source = Folder(url)
    for id in ids:
        try:
            image = codec.fit(codec.decode(source.read(id)), recipe.size)
            engine.usable_sizes(image.shape[0], image.shape[1], recipe, backbone)
            return image
        except (UsageError, ValueError, MemoryError, OSError):
            continue
    raise UsageError(f"none of the {len(ids)} images of {url} can be dreamed")
