"""The three stages that a shard goes through: load (CPU tasks), dream (a pool of actors), write (CPU tasks).

A row of Ray Data is one shard: `{"shard": number, "payload": pickled items}`. So one column can hold images of any
size, and a shard is done completely or not at all.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raydream import runtime
from raydream.data import codec, provenance, shards
from raydream.data.job import Job
from raydream.data.plan import Plan
from raydream.data.rows import Row, label_of, printable
from raydream.data.shards import Shard
from raydream.data.storage import Folder
from raydream.errors import UsageError, WorkError
from raydream.jobs import cluster
from raydream.jobs.dreaming.attempts import SHARD_DEATHS, Attempt, Work, of_workers, pass_over_fatal
from raydream.jobs.dreaming.batches import batches, dreaming
from raydream.jobs.dreaming.items import Item
from raydream.jobs.dreaming.lease import check_token
from raydream.recipe import Recipe

_PAYLOAD_BYTES = 1_500_000_000  # Arrow's limit for a row is 2 GiB
_NAME_BYTES = 255  # the limit of most file systems


def load(row: dict[str, Any], plan: Plan, attempts: Any) -> dict[str, Any]:
    """Reads, decodes and resizes the images of a shard. A bad image becomes a failure; the others are not affected."""
    job = plan.job
    folder = Folder(job.input)
    items = [Item(id=id, name=name) for id, name in plan.read_shard(Folder(job.output), row["shard"])]
    loaded = pass_over_fatal(
        attempts, "load", row["shard"], items, lambda some: [_loaded(i, folder, job.recipe) for i in some]
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
    except Exception as error:  # each file system has its own error classes
        return item.failed("load", f"cannot be read: {error}")
    try:
        image: NDArray[Any] = codec.fit(codec.decode(data), recipe.size)
    except (ValueError, MemoryError) as error:  # unreadable, or impossible to resize
        return item.failed("load", str(error))
    pixels = codec.to_uint8(image)
    if np.array_equal(codec.from_uint8(pixels), image):
        image = pixels
    return replace(item, image=image, source_digest=hashlib.sha256(data).hexdigest())


class Dream:
    """The actor that dreams: loads the network once, then dreams one shard after another."""

    def __init__(self, job: Job, attempts: Any) -> None:
        self._batch_size, self._attempts = job.batch_size or 1, attempts
        runtime.worker(cluster.own_cores())
        self.device = runtime.device()
        self._dream = dreaming(job)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        items: list[Item] = pickle.loads(row["payload"])
        dreamed = pass_over_fatal(self._attempts, "dream", row["shard"], items, self._dreamed)
        return {"shard": row["shard"], "payload": pickle.dumps((dreamed, self.device), protocol=5)}

    def _dreamed(self, items: list[Item]) -> list[Item]:
        by_id: dict[str, Item] = {}
        for batch in batches(items, self._batch_size):
            by_id |= {item.id: item for item in self._batch(batch)}
        return [by_id.get(item.id, item) for item in items]

    def _batch(self, batch: list[Item]) -> list[Item]:
        try:
            return self._dream(batch)
        except Exception as error:
            # The batch may be too large, or one image may be bad: dream each image alone to find out.
            if len(batch) > 1:
                return [item for one in batch for item in self._batch([one])]
            return [batch[0].failed("dream", _reason(error))]


def _reason(error: Exception) -> str:
    """The message of a UsageError; for other errors the class and the last line, where TensorFlow states the cause."""
    if isinstance(error, UsageError):
        return str(error)
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"


def write(row: dict[str, Any], job: Job, attempts: Any, lease: str) -> dict[str, Any]:
    """Encodes the dreams, writes the shard's file, then its mark. Raises a WorkError if the driver's lease is lost."""
    shard: int = row["shard"]
    items, device = pickle.loads(row["payload"])
    encoded = pass_over_fatal(attempts, "write", shard, items, lambda some: [_encoded(i, job) for i in some])
    rows = [item.row for item in encoded if item.row]
    failures = tuple(item.failure for item in encoded if item.failure)
    out = Folder(job.output)
    with Attempt(attempts, Work("write file", shard)) as deaths:
        if (died := of_workers(deaths)) >= SHARD_DEATHS:
            attempts.forget.remote(shard)  # the same command tries again
            raise WorkError(f"workers died {died} times while writing the file of shard {shard}: use smaller shards")
        check_token(out, lease)
        seconds = sum(item.seconds for item in encoded)
        made = Shard(number=shard, rows=rows, failures=failures, device=device, seconds=seconds)
        shards.write(out, made, job.format)
    attempts.forget.remote(shard)
    return {"images": len(rows), "failures": len(failures)}


def _encoded(item: Item, job: Job) -> Item:
    if item.failure:
        return item
    try:
        return replace(item, image=None, dream=None, row=_row(item, job))
    except (ValueError, MemoryError) as error:  # too large for the format, or the dream diverged
        return item.failed("write", str(error))


def _row(item: Item, job: Job) -> Row:
    assert item.image is not None
    assert item.dream is not None
    if job.format == "files" and max(len(os.fsencode(part)) for part in item.name.split("/")) > _NAME_BYTES:
        raise ValueError(f"its dream's name would be longer than {_NAME_BYTES} bytes")
    id = printable(item.id)
    seed, recipe = job.recipe.seed_of(item.id), job.recipe
    inside = provenance.inside(recipe, id, seed, item.source_digest, job.dreamer)
    picture = codec.FORMATS[f".{job.picture}"]
    height, width = item.dream.shape[:2]
    return Row(
        id=id,
        label=label_of(item.id),
        name=printable(item.name),
        dream=codec.encode(item.dream, picture, inside),
        source=codec.encode(item.image, picture) if job.keep_source else None,
        width=width,
        height=height,
        seed=seed,
        recipe=recipe.digest,
        objective_before=item.before,
        objective_after=item.after,
    )
