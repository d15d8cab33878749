"""Dreams a batch of images in an actor: with the recipe, or with a dreamer in one pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from raydream import assets
from raydream.data import codec
from raydream.data.job import Job
from raydream.errors import UsageError
from raydream.jobs.dreaming.items import Item
from raydream.recipe import Recipe

Dreaming = Callable[[list[Item]], list[Item]]  # takes items with images of the same size


def batches(items: Sequence[Item], most: int) -> Iterator[list[Item]]:
    """Groups the items that have an image into batches of the same image size."""
    loaded = [item for item in items if item.image is not None]
    by_size = sorted(loaded, key=lambda item: _shape(item)[:2])
    for _, group in groupby(by_size, key=lambda item: _shape(item)[:2]):
        same = list(group)
        yield from (same[i : i + most] for i in range(0, len(same), most))


def _shape(item: Item) -> tuple[int, ...]:
    return () if item.image is None else item.image.shape


def dreaming(job: Job) -> Dreaming:
    """The job's function that dreams a batch of items with images of the same size.

    Raises:
        UsageError: the weights or the dreamer are not those that the job started with.
    """
    return _one_pass(job) if job.dreamer else _ascent(job.recipe)


def _ascent(recipe: Recipe) -> Dreaming:
    from raydream.core import engine

    backbone, pictures = assets.load_for(recipe), assets.pictures(recipe)

    def dream(batch: list[Item]) -> list[Item]:
        began = time.monotonic()
        seeds = [recipe.seed_of(item.id) for item in batch]
        before = engine.measure(_images(batch), recipe, backbone, pictures)
        dreams = engine.dream(_images(batch), recipe, backbone, seeds, pictures)
        after = engine.measure(dreams, recipe, backbone, pictures, _source(recipe, batch))
        seconds = (time.monotonic() - began) / len(batch)
        return [
            replace(i, dream=codec.to_uint8(d), before=float(b), after=float(a), seconds=seconds)
            for i, d, b, a in zip(batch, dreams, before, after, strict=True)
        ]

    return dream


def _one_pass(job: Job) -> Dreaming:
    from raydream.core.networks.loading import load_keras

    path = assets.fetch(str(job.dreamer), "dreamer")
    if (found := assets.digest(path, "dreamer")) != job.dreamer_digest:
        wanted = str(job.dreamer_digest)
        raise UsageError(
            f"dreamer {job.dreamer} ({found[:12]}) is not the one that the job started with ({wanted[:12]})"
        )
    model = load_keras(path, what="dreamer")

    def dream(batch: list[Item]) -> list[Item]:
        began = time.monotonic()
        dreams = np.asarray(model([_images(batch)], training=False))
        seconds = (time.monotonic() - began) / len(batch)
        return [replace(i, dream=codec.to_uint8(d), seconds=seconds) for i, d in zip(batch, dreams, strict=True)]

    return dream


def _source(recipe: Recipe, batch: list[Item]) -> NDArray[np.float32] | None:
    """The photographs, if the objective compares with them."""
    return _images(batch) if any(term.needs_source for term in recipe.objective.terms) else None


def _images(batch: list[Item]) -> NDArray[np.float32]:
    images = [item.image for item in batch if item.image is not None]
    return np.stack([codec.from_uint8(i) if i.dtype == np.uint8 else i for i in images])
