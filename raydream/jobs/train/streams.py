"""Batches for training: labelled images from Ray Data, crops that threads read, or arrays in memory.

The seed fixes the order of an epoch and all random changes, for any number of workers, and also after a restart: a
worker gets every n-th example of each batch. Only a few batches are in memory at a time.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from ray.data import ExecutionOptions
from ray.data._internal.execution.interfaces import ExecutionResources

from raydream.data import codec
from raydream.data.storage import Folder
from raydream.jobs.train.photographs import cut
from raydream.training.augmentation import Augmentation
from raydream.training.learner import Batch
from raydream.types import Pixels

_BLOCK = 64  # examples in a task, at least one batch
_THREADS = min(16, 2 * (os.cpu_count() or 1))  # that read crops; they also wait for files
_AHEAD = 4  # batches of crops that wait for the network
_MEMORY = 256_000_000  # bytes of decoded images that wait for the network


def _order(count: int, wanted: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The examples of an epoch: a random order of all; if more are wanted, several orders one after the other."""
    random = np.random.default_rng((seed, epoch))
    rounds = -(-wanted // count)
    return np.concatenate([random.permutation(count) for _ in range(rounds)])[:wanted]


def _places(steps: int, batch_size: int, rank: int, workers: int) -> NDArray[np.int64]:
    """The places in the order of an epoch whose examples a worker gets."""
    return np.arange(steps * batch_size).reshape(steps, batch_size)[:, rank::workers].ravel()


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """Batches of arrays in memory, for one worker.

    Attributes:
        arrays: the data; the first axis of each array counts the examples.
        batch_size: examples in a batch, over all workers.
        rank, workers: this worker.
        seed: seed of the order.
    """

    arrays: Mapping[str, NDArray[Any]]
    batch_size: int
    rank: int
    workers: int
    seed: int

    @property
    def _count(self) -> int:
        return len(next(iter(self.arrays.values())))

    @property
    def steps(self) -> int:
        """Number of batches of an epoch."""
        return max(1, self._count // self.batch_size)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """This worker's parts of the batches of an epoch, counted from 0."""
        order = _order(self._count, self.steps * self.batch_size, self.seed, epoch)
        for batch in order.reshape(self.steps, self.batch_size)[:, self.rank :: self.workers]:
            yield {name: array[batch] for name, array in self.arrays.items()}

    def all(self, batch_size: int = 1024) -> Iterator[Batch]:
        """This worker's examples once, in order; the last batch may be smaller."""
        mine = np.arange(self._count)[self.rank :: self.workers]
        for start in range(0, len(mine), batch_size):
            yield {name: array[mine[start : start + batch_size]] for name, array in self.arrays.items()}


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Batches of labelled images, for one worker: `image` uint8 (n, side, side, 3), `label` int32 (n,).

    With mixup, an image is mixed with another one (Zhang et al., 2018); then batches also hold `other` int32 (n,), and
    `share` float32 (n,).

    Attributes:
        folder: path or URL of the images' folder.
        names, labels: the images below it, and their classes.
        side: size of the images in pixels; their shape is not kept.
        batch_size: examples in a batch, over all workers.
        rank, workers: this worker.
        seed: seed of the order and of the changes.
        augmentation: changes of the images; None for none.
        mixup: parameter of the beta distribution of the shares; 0 for no mixing.
    """

    folder: str
    names: Sequence[str]
    labels: Sequence[int]
    side: int
    batch_size: int
    rank: int
    workers: int
    seed: int
    augmentation: Augmentation | None = None
    mixup: float = 0.0

    @property
    def steps(self) -> int:
        """Number of batches of an epoch."""
        return max(1, len(self.names) // self.batch_size)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """This worker's parts of the batches of an epoch, counted from 0."""
        order = _order(len(self.names), self.steps * self.batch_size, self.seed, epoch)
        others = _order(len(self.names), len(order), self.seed + 1, epoch)
        places = _places(self.steps, self.batch_size, self.rank, self.workers)
        rows = [self._row(order[place], others[place], (self.seed, epoch, int(place))) for place in places]
        yield from self._batches(rows, self.batch_size // self.workers)

    def all(self) -> Iterator[Batch]:
        """This worker's images once, in order, without changes; the last batch may be smaller."""
        rows = [
            {"name": self.names[n], "label": self.labels[n]} for n in range(self.rank, len(self.names), self.workers)
        ]
        yield from self._batches(rows, self.batch_size // self.workers)

    def _row(self, index: int, other: int, key: tuple[int, ...]) -> dict[str, Any]:
        row = {"name": self.names[index], "label": self.labels[index], "key": list(key)}
        if self.mixup:
            row |= {"other name": self.names[other], "other": self.labels[other]}
        return row

    def _batches(self, rows: list[dict[str, Any]], size: int) -> Iterator[Batch]:
        if not rows:
            return
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.execution_options = ExecutionOptions(
            preserve_order=True, resource_limits=ExecutionResources(object_store_memory=_MEMORY)
        )
        per_task = size * max(1, _BLOCK // size)
        read = partial(_read, folder=self.folder, side=self.side, augmentation=self.augmentation, mixup=self.mixup)
        images = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // per_task)).map_batches(
            read, batch_size=per_task, num_cpus=0.1
        )
        yield from images.iter_batches(batch_size=size, prefetch_batches=2)


@dataclass(frozen=True, kw_only=True)
class Crops:
    """Batches of random crops of images that are not resized, for one worker: `image` uint8 (n, side, side, 3).

    Threads of the worker read them: a crop is little work, and Ray Data's executor would cost more than that.

    Attributes:
        folder: path or URL of the images' folder.
        names: the images below it, each at least as large as a crop.
        side: side of the crops in pixels.
        steps: number of batches of an epoch.
        batch_size: crops in a batch, over all workers.
        rank, workers: this worker.
        seed: seed of the order and of the positions.
    """

    folder: str
    names: Sequence[str]
    side: int
    steps: int
    batch_size: int
    rank: int
    workers: int
    seed: int

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """This worker's parts of the batches of an epoch, counted from 0."""
        order = _order(len(self.names), self.steps * self.batch_size, self.seed, epoch)
        places = _places(self.steps, self.batch_size, self.rank, self.workers)
        size = self.batch_size // self.workers
        with ThreadPoolExecutor(_THREADS) as pool:
            ahead: deque[Future[Pixels]] = deque()
            waiting = (pool.submit(self._crop, self.names[order[n]], epoch, int(n)) for n in places)
            for _ in range(self.steps):
                ahead.extend(islice(waiting, _AHEAD * size - len(ahead)))
                yield {"image": np.stack([ahead.popleft().result() for _ in range(size)])}

    def _crop(self, name: str, epoch: int, place: int) -> Pixels:
        return random_crop(self.folder, name, self.side, np.random.default_rng((self.seed, epoch, place)))


def random_crop(folder: str, name: str, side: int, random: np.random.Generator) -> Pixels:
    """A random square (side, side, 3) of an image that is not resized.

    It is not flipped either: a dream excites the network that dreamed it less when it is flipped.

    Raises:
        OSError, UnreadableImage: the image cannot be read.
        ValueError: it is smaller than the square.
    """
    return cut(codec.to_uint8(codec.decode(Folder(folder).read(name))), side, random)


def _read(
    rows: dict[str, Any], folder: str, side: int, augmentation: Augmentation | None, mixup: float
) -> dict[str, Any]:
    """Decodes, augments and mixes the images of some rows."""
    images, shares = [], []
    for n, name in enumerate(rows["name"]):
        random = np.random.default_rng(rows["key"][n]) if "key" in rows else None
        image = picture(folder, str(name), side)
        if random and augmentation:
            image = augmentation(image, random)
        if random and mixup:
            other = picture(folder, str(rows["other name"][n]), side)
            other = augmentation(other, random) if augmentation else other
            share = random.beta(mixup, mixup)
            image = np.rint(share * image + (1.0 - share) * other).astype(np.uint8)
            shares.append(share)
        images.append(image)
    result = {"image": np.stack(images), "label": np.asarray(rows["label"], np.int32)}
    if shares:
        result |= {"other": np.asarray(rows["other"], np.int32), "share": np.asarray(shares, np.float32)}
    return result


def picture(folder: str, name: str, side: int) -> Pixels:
    """An image of a folder, resized to (side, side, 3) without regard to its shape.

    Raises:
        OSError, UnreadableImage: it cannot be read.
    """
    return codec.to_uint8(codec.fit(codec.decode(Folder(folder).read(name)), (side, side)))
