"""Examines all images once: digest, readability, and the features of the fixed backbone, shard by shard.

OUT/_raydream/features/00000.npz ...   `digest` and `error` (text), `features` float32 (images, channels)
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from raydream import runtime
from raydream.cli.progress import Progress
from raydream.data import codec
from raydream.data.labelled import Labelled
from raydream.data.storage import Folder
from raydream.errors import UsageError, WorkError
from raydream.jobs import cluster
from raydream.jobs.dreaming import attempts
from raydream.jobs.dreaming.attempts import SHARD_DEATHS, Attempt, Work, of_workers
from raydream.jobs.dreaming.lease import check_token
from raydream.jobs.retraining.base import Base
from raydream.jobs.retraining.job import Retraining

_FOLDER = "_raydream/features"
_SHARD = 64  # images
_TOGETHER = 16  # images in one pass of the network


@dataclass(frozen=True, eq=False)
class Examined:
    """What is known about the images, in the order of their names.

    Attributes:
        digests: SHA-256 of each file, in hexadecimal.
        errors: why an image cannot be read; empty if it can.
        features: (images, channels), the mean of the backbone's last feature map.
    """

    digests: tuple[str, ...]
    errors: tuple[str, ...]
    features: NDArray[np.float32]


def _name(shard: int) -> str:
    return f"{_FOLDER}/{shard:05d}.npz"


def examine(job: Retraining, found: Labelled, lease: str) -> None:
    """Examines the images that an earlier run has not; `lease` is the token of the driver's lease."""
    shards = [found.names[start : start + _SHARD] for start in range(0, len(found.names), _SHARD)]
    done = {f"{_FOLDER}/{name.rpartition('/')[2]}" for name in Folder(job.output).files(_FOLDER)}
    todo = [n for n in range(len(shards)) if _name(n) not in done]
    if not todo:
        return
    progress = Progress(sum(len(shards[n]) for n in todo))
    rows = [{"shard": n, "names": list(shards[n])} for n in todo]
    with closing(progress), cluster.joined(progress.phase):
        progress.phase("loading the network")
        record = attempts.shared(job.output, lease)
        actor = {"job": job, "folder": found.folder, "attempts": record, "lease": lease}
        try:
            for result in _dataset(job, rows, actor).iter_rows():
                progress.advance(result["images"], result["failures"])
        finally:
            attempts.close(record)


def _dataset(job: Retraining, rows: Sequence[dict[str, Any]], actor: dict[str, Any]) -> Any:
    """The Ray data set: one row for each shard goes in, and one row of counts comes out."""
    gpus, room = cluster.devices(job.gpus_per_worker, "--gpus-per-worker")
    return ray.data.from_items(list(rows), override_num_blocks=len(rows)).map(
        Examine,  # type: ignore[arg-type]
        fn_constructor_kwargs=actor,
        compute=ray.data.ActorPoolStrategy(size=min(max(1, room), len(rows)), max_tasks_in_flight_per_actor=1),
        num_cpus=0.5 if gpus else 0.9,
        num_gpus=gpus,
    )


class Examine:
    """The actor: loads the network once, then examines one shard after another."""

    def __init__(self, job: Retraining, folder: str, attempts: Any, lease: str) -> None:
        runtime.worker(cluster.own_cores())
        import tensorflow as tf

        from raydream.training.classifier import pooled

        self._job, self._folder, self._attempts, self._lease = job, folder, attempts, lease
        network = pooled(Base(job).network)
        self._features = tf.function(lambda images: network(images, training=False), reduce_retracing=True)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        with Attempt(self._attempts, Work("features", row["shard"])) as deaths:
            if (died := of_workers(deaths)) >= SHARD_DEATHS:
                self._attempts.forget.remote(row["shard"])  # the same command tries again
                raise WorkError(f"workers died {died} times over the images from {row['names'][0]} on")
            result = self._examined([str(name) for name in row["names"]])
            out = Folder(self._job.output)
            check_token(out, self._lease)
            sink = io.BytesIO()
            np.savez(sink, **result)
            out.write(_name(row["shard"]), sink.getvalue())
        self._attempts.forget.remote(row["shard"])
        return {"images": len(row["names"]), "failures": sum(map(bool, result["error"].tolist()))}

    def _examined(self, names: list[str]) -> dict[str, Any]:
        digests, errors, images = [], [], []
        side = self._job.size
        for name in names:
            image, error = np.zeros((side, side, 3), np.float32), ""
            data = b""
            try:
                data = Folder(self._folder).read(name)
                image = codec.from_uint8(codec.to_uint8(codec.fit(codec.decode(data), (side, side))))
            except (ValueError, MemoryError, OSError) as reason:
                error = " ".join(str(reason).split()) or "not enough memory"
            images.append(image)
            errors.append(error)
            digests.append(hashlib.sha256(data).hexdigest())
        parts = [np.stack(images[n : n + _TOGETHER]) for n in range(0, len(images), _TOGETHER)]
        features = np.concatenate([np.asarray(self._features(part)) for part in parts])
        return {"digest": np.asarray(digests), "error": np.asarray(errors), "features": features}


def examined(job: Retraining, found: Labelled) -> Examined:
    """Reads what `examine` has written."""
    shards = -(-len(found.names) // _SHARD)
    parts = []
    for n, data in enumerate(Folder(job.output).read_all([_name(n) for n in range(shards)])):
        try:
            with np.load(io.BytesIO(data)) as file:
                parts.append({key: file[key] for key in file})
        except Exception as error:  # damaged bytes make NumPy and zipfile raise nearly anything
            raise UsageError(
                f"{Folder(job.output).place(_name(n))} is damaged: delete it, and the same command makes it again"
            ) from error
    digests, errors = ([str(text) for part in parts for text in part[key]] for key in ("digest", "error"))
    return Examined(tuple(digests), tuple(errors), np.concatenate([part["features"] for part in parts]))
