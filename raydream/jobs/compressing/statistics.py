"""Collects statistics of the convolutions' inputs, for photographs and half-done dreams, shard by shard."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import ray

from raydream import runtime
from raydream.cli.progress import Progress
from raydream.core.networks.quantization import Moments
from raydream.data import codec
from raydream.data.storage import Folder
from raydream.errors import UsageError, WorkError
from raydream.jobs import cluster
from raydream.jobs.compressing.job import Compression
from raydream.jobs.compressing.original import Original
from raydream.jobs.dreaming import attempts
from raydream.jobs.dreaming.attempts import SHARD_DEATHS, Attempt, Work, of_workers
from raydream.jobs.dreaming.lease import check_token
from raydream.types import Image

if TYPE_CHECKING:
    from raydream.jobs.train.photographs import Photographs

STATISTICS = "_raydream/statistics"
SHARD = 32  # photographs

Shard = Sequence[tuple[str, bool]]  # (photograph, whether it is dreamed, too)


def shards(job: Compression, found: Photographs) -> list[Shard]:
    """The photographs for the statistics, spread evenly over those that are not held out."""
    count = min(job.photographs, len(found.learnt))
    dreams = min(job.dreams, count)
    chosen = [found.learnt[i * len(found.learnt) // count] for i in range(count)]
    rows = [(name, (i + 1) * dreams // count > i * dreams // count) for i, name in enumerate(chosen)]
    return [rows[start : start + SHARD] for start in range(0, count, SHARD)]


def name(shard: int) -> str:
    """Path of a shard's statistics in the output."""
    return f"{STATISTICS}/{shard:05d}.npz"


def collect(job: Compression, shards: Sequence[Shard], todo: Sequence[int], lease: str) -> None:
    """Collects the statistics of the shards `todo` on the cluster; `lease` is the token of the driver's lease.

    Raises:
        WorkError: the work failed.
    """
    progress = Progress(sum(len(shards[n]) for n in todo), "photographs")
    with closing(progress), cluster.joined(progress.phase):
        progress.phase("loading the network")
        record = attempts.shared(job.output, lease)
        try:
            for result in _dataset(job, shards, todo, lease, record).iter_rows():
                progress.advance(result["photographs"] + result["failures"], result["failures"])
        finally:
            attempts.close(record)


def _dataset(job: Compression, shards: Sequence[Shard], todo: Sequence[int], lease: str, record: Any) -> Any:
    """The Ray data set: one row for each shard goes in, and one row of counts comes out."""
    gpus, room = cluster.devices(job.gpus_per_actor)
    actors = min(job.actors or max(1, room), len(todo))
    rows = [{"shard": n, "names": [name for name, _ in shards[n]], "dreamed": [d for _, d in shards[n]]} for n in todo]
    return ray.data.from_items(rows, override_num_blocks=len(rows)).map(
        Statistics,  # type: ignore[arg-type]
        fn_constructor_kwargs={"job": job, "attempts": record, "lease": lease},
        compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=1),
        num_cpus=0.5 if gpus else 0.9,
        num_gpus=gpus,
    )


class Statistics:
    """The actor: loads the network once, then collects the statistics of one shard after another."""

    def __init__(self, job: Compression, attempts: Any, lease: str) -> None:
        from raydream.core.networks.compression import Sampler

        runtime.worker(cluster.own_cores())
        self._job, self._attempts, self._lease = job, attempts, lease
        self._original = Original(job)
        self._sampler = Sampler(self._original.network)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        with Attempt(self._attempts, Work("statistics", row["shard"])) as deaths:
            if (died := of_workers(deaths)) >= SHARD_DEATHS:
                self._attempts.forget.remote(row["shard"])  # the same command tries again
                first = row["names"][0]
                raise WorkError(f"workers died {died} times over shard {row['shard']}, from {first} on")
            pairs = zip(row["names"], row["dreamed"], strict=True)
            found = [self._images(str(name), bool(dreamed)) for name, dreamed in pairs]
            images = [image for some in found for image in some]
            moments = self._sampler.moments(images, range(len(images)))
            out = Folder(self._job.output)
            check_token(out, self._lease)
            out.write(name(row["shard"]), packed(moments))
        self._attempts.forget.remote(row["shard"])
        return {"photographs": sum(map(bool, found)), "failures": sum(not some for some in found)}

    def _images(self, name: str, dreamed: bool) -> list[Image]:
        """A crop of a photograph, and its half-done dreams if `dreamed`; empty if the photograph cannot be read.

        One crop in three gets another contrast and noise.
        """
        from raydream.jobs.train.photographs import crop

        number = int.from_bytes(hashlib.sha256(f"{self._job.seed}\n{name}".encode()).digest()[:4])
        random = np.random.default_rng(number)
        try:
            photograph = codec.decode(Folder(self._job.input).read(name))
        except Exception:  # an unreadable image or a storage error; each file system has its own error classes
            return []
        image = codec.from_uint8(crop(photograph, self._job.crop, random))
        dreams = self._original.half_done(image, number) if dreamed else []
        if number % 3 == 0:
            image = image.mean() + random.uniform(0.6, 1.5) * (image - image.mean())
            image = image + random.normal(0.0, 0.06, image.shape)
        return [*dreams, np.clip(image, -1.0, 1.0, dtype=np.float32)]


def packed(moments: Mapping[str, Moments]) -> bytes:
    """Moments as the bytes of an `.npz` file; of the symmetric matrices, only one triangle in float32."""
    arrays: dict[str, Any] = {}
    for name, part in moments.items():
        triangle = part.square[np.triu_indices(len(part.total))].astype(np.float32)
        arrays |= {f"{name}/count": part.count, f"{name}/total": part.total, f"{name}/square": triangle}
    sink = io.BytesIO()
    np.savez(sink, **arrays)
    return sink.getvalue()


def unpacked(data: bytes) -> dict[str, Moments]:
    """Reads the bytes of `packed`."""
    moments = {}
    with np.load(io.BytesIO(data)) as file:
        for name in {key.rsplit("/", 1)[0] for key in file}:
            count, total, triangle = (file[f"{name}/{part}"] for part in ("count", "total", "square"))
            upper = np.zeros((len(total), len(total)))
            upper[np.triu_indices(len(total))] = triangle
            moments[name] = Moments(int(count), total, upper + np.triu(upper, 1).T)
    return moments


def summed(output: str, shards: int) -> dict[str, Moments]:
    """The sum of the moments of all shards, added in the order of the shards.

    Raises:
        UsageError: the file of a shard is damaged.
    """
    moments: dict[str, Moments] = {}
    for n in range(shards):
        try:
            found = unpacked(Folder(output).read(name(n)))
        except Exception as error:  # damaged bytes make NumPy and zipfile raise nearly anything
            raise UsageError(
                f"{Folder(output).place(name(n))} is damaged: delete it, and the same command makes it again"
            ) from error
        for layer, part in found.items():
            moments[layer] = moments[layer] + part if layer in moments else part
    return moments
