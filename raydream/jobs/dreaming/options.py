"""What the data set job is asked for, checked: its options with the recipe resolved, and the plan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import get_args

from raydream import assets
from raydream.cli import commands
from raydream.data import codec, storage
from raydream.data.inputs import Input, list_input
from raydream.data.job import Format, Job
from raydream.errors import UsageError, nearest
from raydream.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Options:
    """The job's options; see `--help`. `actors` is (fewest, most); 0 most means one for each device."""

    input: str
    output: str
    recipe: Recipe
    dreamer: str | None = None
    shard_size: int | None = None
    actors: tuple[int, int] = (0, 0)
    gpus_per_actor: float | None = None
    batch_size: int | None = None
    format: str = "parquet"
    picture: str = "png"
    keep_source: bool = False
    limit: int | None = None
    max_failures: float = 0.05


def prepared(options: Options) -> tuple[Options, Job, Input]:
    """The options with their recipe checked and the digest of its weights filled in, the job they ask for, its images.

    Raises:
        UsageError: nothing to dream, or nothing to dream it with.
    """
    if options.format not in get_args(Format):
        raise UsageError(f"unknown format {options.format!r}: {nearest(options.format, get_args(Format))}")
    if f".{options.picture}" not in codec.FORMATS:
        endings = [ending[1:] for ending in codec.FORMATS]
        raise UsageError(f"unknown picture {options.picture!r}: {nearest(options.picture, endings)}")
    # Workers may run in another folder than we do.
    recipe = options.recipe
    weights = recipe.weights and storage.absolute_if_file(recipe.weights)
    recipe = recipe.changed(backbone=storage.absolute_if_file(recipe.backbone), weights=weights)
    options = replace(
        options,
        input=storage.absolute(options.input),
        output=storage.absolute(options.output),
        dreamer=options.dreamer and storage.absolute(options.dreamer),
    )
    storage.check_apart(options.input, options.output)
    found = list_input(options.input)
    recipe = recipe.resolved(_weights_digest(replace(options, recipe=recipe)))
    batch_size = options.batch_size or (8 if options.gpus_per_actor else 1)
    options = replace(options, recipe=recipe)
    return options, Job(**{**vars(options), "batch_size": batch_size}), found


def _weights_digest(options: Options) -> str:
    commands.import_tensorflow_quietly()
    import tensorflow as tf

    from raydream.core.networks import backbones, loading

    # The driver only looks at the network: the devices are the actors'.
    tf.config.set_visible_devices([], "GPU")
    if options.dreamer:
        path = storage.fetch(options.dreamer, "dreamer")
        return backbones.digest_of(loading.load_keras(path, what="dreamer"))
    return backbones.load_for(assets.with_local_files(options.recipe)).digest
