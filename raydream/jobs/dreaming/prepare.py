"""Prepares the data set job: checks and resolves its settings before any dreaming."""

from __future__ import annotations

from dataclasses import replace

from raydream import assets, runtime
from raydream.data import storage
from raydream.data.inputs import Input, list_input
from raydream.data.job import Job
from raydream.data.plan import PLAN, stored_plan
from raydream.data.storage import Folder
from raydream.errors import UsageError
from raydream.recipe import Recipe

_GPU_BATCH = 8  # images; on CPUs a batch is no faster


def prepare(job: Job) -> tuple[Job, Input]:
    """The job with absolute paths and digests, and the images of its input.

    Raises:
        UsageError: there are no images, or the network cannot be used.
    """
    job = replace(
        job,
        input=storage.absolute(job.input),
        output=storage.absolute(job.output),
        recipe=with_absolute_paths(job.recipe),
        dreamer=job.dreamer and storage.absolute(job.dreamer),
    )
    check_places(job.input, job.output)
    found = list_input(job.input)
    return _resolved(job), found


def with_absolute_paths(recipe: Recipe) -> Recipe:
    """The recipe with absolute paths of its files, since workers may run in another folder than the driver."""
    weights = recipe.weights and storage.absolute_if_file(recipe.weights)
    recipe = recipe.changed(backbone=storage.absolute_if_file(recipe.backbone), weights=weights)
    return recipe.with_picture_files({name: (storage.absolute(name), known) for name, known in recipe.pictures.items()})


def check_places(input: str, output: str) -> None:
    """Raises a `UsageError` if workers cannot use the input or the output, or if one is inside the other."""
    for folder in (input, output):
        if folder.startswith("memory://"):
            raise UsageError(f"{folder} is in the memory of one process: use a folder or URL that all workers can use")
    storage.check_apart(input, output)


def _resolved(job: Job) -> Job:
    """The job with the digests of its network. Problems with the files are found here, before any work."""
    runtime.driver()
    if not job.dreamer:
        return replace(job, recipe=assets.resolve(job.recipe))
    if job.recipe.pictures:
        raise UsageError("a dreamer knows no guides, styles and masks: leave them out, or dream without --dreamer")
    from raydream.core.networks import loading

    path = assets.fetch(job.dreamer, "dreamer")
    loading.load_keras(path, what="dreamer")
    # The recipe's own weights are not used.
    recipe = job.recipe.changed(precision=job.recipe.precision or "float32")
    return replace(job, recipe=recipe, dreamer_digest=assets.digest(path, "dreamer"))


def with_batch_size(job: Job) -> Job:
    """The job with its batch size: the given one, that of the existing data set, or one for the cluster's devices.

    The batch size may change the last bits of a dream, so it is fixed for the whole data set.
    """
    out = Folder(job.output)
    size = job.batch_size
    if size is None and out.exists(PLAN):
        size = stored_plan(out).job.batch_size
    if size is None:
        size = _GPU_BATCH if _gpus(job) else 1
    return replace(job, batch_size=size)


def _gpus(job: Job) -> float:
    """GPUs per actor; connects to the cluster only if the job does not set the number."""
    if job.gpus_per_actor is not None:
        return job.gpus_per_actor
    from raydream.jobs import cluster

    with cluster.joined():
        return cluster.devices(None).gpus
