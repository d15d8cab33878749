"""The three stages that a shard goes through: load (CPU tasks), dream (a pool of actors), write (CPU tasks).

A row of Ray Data is one shard: `{"shard": number, "payload": pickled items}`. Images of any size travel in one
column that way, and a shard is done as a whole or not at all.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raydream import assets
from raydream.data import codec, provenance, shards
from raydream.data.job import Format
from raydream.data.plan import Plan
from raydream.data.rows import Row, label_of, printable
from raydream.data.storage import Folder, fetch
from raydream.errors import UsageError
from raydream.jobs import cluster
from raydream.jobs.dreaming.items import Item
from raydream.jobs.dreaming.tries import guarded
from raydream.recipe import Recipe

_PAYLOAD_BYTES = 1_500_000_000  # a row of Arrow holds 2 GiB
_NAME_BYTES = 255  # most file systems take no longer name


@dataclass(frozen=True, kw_only=True)
class Work:
    """What the stages need to know: plain data, sent to every worker."""

    input: str
    output: str
    recipe: Recipe
    format: Format
    picture: str  # ending of the pictures' names
    keep_source: bool
    batch_size: int
    dreamer: str | None
    plan: Plan
    imagenet: str | None  # the driver's RAYDREAM_WEIGHTS: a worker has the environment of its node


def load(row: dict[str, Any], work: Work, tries: Any) -> dict[str, Any]:
    """Reads, decodes and resizes the images of a shard; a bad one becomes a failure and nothing more."""
    folder = Folder(work.input)
    items = [Item(id=id, name=name) for id, name in work.plan.read_shard(Folder(work.output), row["shard"])]
    loaded = guarded(
        tries,
        "load",
        row["shard"],
        items,
        lambda some: [_loaded(i, folder, work.recipe) for i in some],
    )
    room = _PAYLOAD_BYTES
    for index, item in enumerate(loaded):
        room -= 0 if item.image is None else item.image.nbytes
        if room < 0:
            loaded[index] = item.failed("load", "too many pixels for one shard: use --shard-size 1")
    return {"shard": row["shard"], "payload": pickle.dumps(loaded, protocol=5)}


def _loaded(item: Item, folder: Folder, recipe: Recipe) -> Item:
    try:
        data = folder.read(item.id)
    except Exception as error:  # each file system has its own errors
        return item.failed("load", f"cannot be read: {error}")
    try:
        image: NDArray[Any] = codec.fit(codec.decode(data), recipe.size)
    except (ValueError, MemoryError) as error:  # unreadable, or impossible to bring to the size
        return item.failed("load", str(error))
    pixels = codec.to_uint8(image)
    if np.array_equal(codec.from_uint8(pixels), image):
        image = pixels
    return replace(item, image=image, source_digest=hashlib.sha256(data).hexdigest())


class Dream:
    """The actor that dreams: loads the network once, then dreams shard after shard."""

    def __init__(self, work: Work, tries: Any) -> None:
        self._work, self._tries = work, tries
        cluster.keep_to_own_cores()
        if work.imagenet:
            os.environ["RAYDREAM_WEIGHTS"] = work.imagenet
        self._dream, self.device = dreaming(work.recipe, work.dreamer)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        items: list[Item] = pickle.loads(row["payload"])
        dreamed = guarded(self._tries, "dream", row["shard"], items, self._dreamed)
        payload = pickle.dumps((dreamed, self.device), protocol=5)
        return {"shard": row["shard"], "payload": payload}

    def _dreamed(self, items: list[Item]) -> list[Item]:
        by_id: dict[str, Item] = {}
        for batch in _batches(items, self._work.batch_size):
            by_id |= {item.id: item for item in self._batch(batch)}
        return [by_id.get(item.id, item) for item in items]

    def _batch(self, batch: list[Item]) -> list[Item]:
        try:
            return self._dream(batch)
        except Exception as error:
            # A batch may be too much, or one of its images: alone each gets its own verdict.
            if len(batch) > 1:
                return [item for one in batch for item in self._batch([one])]
            return [batch[0].failed("dream", _reason(error))]


def _reason(error: Exception) -> str:
    """Our own errors as they are; of others their kind and the last line, where TensorFlow says what was wrong."""
    if isinstance(error, UsageError):
        return str(error)
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"


def _batches(items: Sequence[Item], most: int) -> Iterator[list[Item]]:
    """Items that have an image, in batches of one size each."""
    loaded = [item for item in items if item.image is not None]
    by_size = sorted(loaded, key=lambda item: _shape(item)[:2])
    for _, group in groupby(by_size, key=lambda item: _shape(item)[:2]):
        same = list(group)
        yield from (same[i : i + most] for i in range(0, len(same), most))


def _shape(item: Item) -> tuple[int, ...]:
    return () if item.image is None else item.image.shape


def dreaming(recipe: Recipe, dreamer: str | None) -> tuple[Callable[[list[Item]], list[Item]], str]:
    """A function that dreams a batch of same-sized items, and the name of the device it runs on.

    The files of the recipe and the dreamer may be URLs.
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    if gpus:
        tf.config.experimental.enable_op_determinism()
        device = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
    else:
        device = f"CPU ({platform.machine()})"
    return (_one_pass(fetch(dreamer, "dreamer")) if dreamer else _ascent(assets.with_local_files(recipe))), device


def _ascent(recipe: Recipe) -> Callable[[list[Item]], list[Item]]:
    from raydream.core import engine
    from raydream.core.networks.backbones import load_for

    backbone = load_for(recipe)

    def dream(batch: list[Item]) -> list[Item]:
        began = time.monotonic()
        seeds = [recipe.seed_of(item.id) for item in batch]
        before = engine.measure(_images(batch), recipe, backbone)
        dreams = engine.dream(_images(batch), recipe, backbone, seeds)
        after = engine.measure(dreams, recipe, backbone)
        seconds = (time.monotonic() - began) / len(batch)
        return [
            replace(i, dream=codec.to_uint8(d), before=float(b), after=float(a), seconds=seconds)
            for i, d, b, a in zip(batch, dreams, before, after, strict=True)
        ]

    return dream


def _one_pass(path: str) -> Callable[[list[Item]], list[Item]]:
    from raydream.core.networks.loading import load_keras

    model = load_keras(path, what="dreamer")

    def dream(batch: list[Item]) -> list[Item]:
        began = time.monotonic()
        dreams = np.asarray(model([_images(batch)], training=False))
        seconds = (time.monotonic() - began) / len(batch)
        return [replace(i, dream=codec.to_uint8(d), seconds=seconds) for i, d in zip(batch, dreams, strict=True)]

    return dream


def _images(batch: list[Item]) -> NDArray[np.float32]:
    images = [item.image for item in batch if item.image is not None]
    return np.stack([codec.from_uint8(i) if i.dtype == np.uint8 else i for i in images])


def write(row: dict[str, Any], work: Work) -> dict[str, Any]:
    """Encodes the dreams, writes the shard's file, then its mark."""
    items, device = pickle.loads(row["payload"])
    rows, failures = [], []
    for item in items:
        try:
            if not item.failure:
                rows.append(_row(item, work))
        except (ValueError, MemoryError) as error:  # more than the format holds, or no picture
            item = item.failed("write", str(error))
        if item.failure:
            failures.append(item.failure)
    seconds = sum(item.seconds for item in items)
    shard = shards.Shard(number=row["shard"], rows=rows, failures=failures, device=device, seconds=seconds)
    shards.write(Folder(work.output), shard, work.format)
    return {"images": len(rows), "failures": len(failures)}


def _row(item: Item, work: Work) -> Row:
    assert item.image is not None
    assert item.dream is not None
    if work.format == "files" and max(len(os.fsencode(part)) for part in item.name.split("/")) > _NAME_BYTES:
        raise ValueError(f"its dream's name would be longer than {_NAME_BYTES} bytes")
    id = printable(item.id)
    seed, recipe = work.recipe.seed_of(item.id), work.recipe
    inside = provenance.inside(recipe, id, seed, item.source_digest, work.dreamer)
    picture = codec.FORMATS[work.picture]
    height, width = item.dream.shape[:2]
    return Row(
        id=id,
        label=label_of(item.id),
        name=printable(item.name),
        dream=codec.encode(item.dream, picture, inside),
        source=codec.encode(item.image, picture) if work.keep_source else None,
        width=width,
        height=height,
        seed=seed,
        recipe=recipe.digest,
        objective_before=item.before,
        objective_after=item.after,
    )
