"""Metrics of a GAN: how its pictures compare with dreams that it has not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from raydream import assets
from raydream.core import distributions
from raydream.core.distributions import Extractor, Features
from raydream.data import codec
from raydream.data.storage import Folder
from raydream.jobs.generating.plan import MIN_SIDE, FeatureNetwork, Plan
from raydream.jobs.train.streams import random_crop
from raydream.training.gan import generate, generator_inputs
from raydream.types import Image, Images, KerasModel, Pixels

METRICS = ("KID", "density", "coverage", "dreaminess", "near copies")
_BATCH = 32  # pictures that are measured at once
_THREADS = 4
_COLUMNS, _ROWS = 6, 4  # of the grid
_MOST_LEARNT, _MOST_EACH = 4096, 256  # crops among which near copies are looked for, and of each dream


@dataclass(frozen=True, eq=False)
class Reference:
    """Real dreams to compare with.

    Attributes:
        held_out: features (crops, channels) of crops of held-out dreams, of which no two are the same.
        objective: the objective of these crops.
        learnt: features of crops of some training dreams.
        covered: the names of these dreams.
    """

    held_out: Features
    objective: NDArray[np.float64]
    learnt: Features
    covered: list[str]


class Measurer:
    """Measures pictures against the dreams of a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.features = Extractor(FeatureNetwork(plan.job).last)
        self._recipe, self._network = assets.load(plan.recipe)

    def reference(self, seed: int) -> Reference:
        """Real dreams to compare with; the seed chooses the crops."""
        held_out = self.held_out(seed)
        learnt, covered = self._learnt(seed)
        return Reference(self.features(held_out), self._objective(held_out), learnt, covered)

    def held_out(self, seed: int) -> Images:
        """Crops of held-out dreams (n, size, size, 3) in [-1, 1]: at most as many as the job has samples.

        Crops of the same dream are at least half a side apart, since density and coverage need distinct ones.
        """
        job, names = self._plan.job, self._plan.held_out
        each = -(-job.samples // len(names))
        order = np.random.default_rng(seed).permutation(len(names))[: job.samples]
        with ThreadPoolExecutor(_THREADS) as pool:
            crops = list(chain.from_iterable(pool.map(lambda n: self._crops(names[n], 2, each, (seed, n)), order)))
        return codec.from_uint8(np.stack(crops[: job.samples]))

    def _learnt(self, seed: int) -> tuple[Features, list[str]]:
        """Features of crops of some training dreams, a quarter of a side apart, and the names of these dreams."""
        names, found, covered = self._plan.learnt, list[Features](), list[str]()
        crops: list[Pixels] = []
        for n in np.random.default_rng(seed).permutation(len(names)):
            crops += self._crops(names[n], 4, _MOST_EACH, (seed, n))
            covered.append(names[n])
            while len(crops) >= _BATCH:  # a batch of another size would be traced anew
                found.append(self.features(codec.from_uint8(np.stack(crops[:_BATCH]))))
                crops = crops[_BATCH:]
            if len(found) * _BATCH >= _MOST_LEARNT:
                break
        if crops:
            found.append(self.features(codec.from_uint8(np.stack(crops))))
        return np.concatenate(found), covered

    def _crops(self, name: str, parts: int, most: int, seed: tuple[int, int]) -> list[Pixels]:
        """Crops of a dream at positions that are 1 / `parts` of a side apart: all, or a random choice of `most`.

        The first position is random, too, so that crops at the edges are not more frequent than others.
        """
        side, random = self._plan.job.size, np.random.default_rng(seed)
        image = codec.to_uint8(codec.decode(Folder(self._plan.folder).read(name)))
        ends, step = [length - side + 1 for length in image.shape[:2]], side // parts
        rows, columns = (range(int(random.integers(min(step, end))), end, step) for end in ends)
        corners = [(top, left) for top in rows for left in columns]
        chosen = [corners[n] for n in random.permutation(len(corners))[:most]]
        return [image[top : top + side, left : left + side] for top, left in chosen]

    def _objective(self, images: Images) -> NDArray[np.float64]:
        import tensorflow as tf

        from raydream.core import engine

        if images.shape[1] < MIN_SIDE:
            images = np.clip(np.asarray(tf.image.resize(images, (MIN_SIDE, MIN_SIDE))), -1.0, 1.0)
        pictures = assets.pictures(self._recipe)
        parts = (images[start : start + _BATCH] for start in range(0, len(images), _BATCH))
        return np.concatenate([engine.measure(part, self._recipe, self._network, pictures) for part in parts])

    def metrics(self, images: Images, reference: Reference) -> dict[str, float]:
        """`METRICS` of pictures (n, size, size, 3) in [-1, 1]; see `core.distributions`.

        `dreaminess` is the mean percentile rank of their objective among held-out dreams, 50 if they are alike.
        """
        found = self.features(images)
        density, coverage = distributions.density_and_coverage(found, reference.held_out)
        return {
            "KID": distributions.kid(found, reference.held_out),
            "density": density,
            "coverage": coverage,
            "dreaminess": distributions.percentile(self._objective(images), reference.objective),
            "near copies": distributions.near_copies(found, reference.learnt, reference.held_out),
        }

    def copies(self, reference: Reference, seed: int) -> Images:
        """Random crops of `reference.covered` (samples, size, size, 3): what a GAN makes that has memorized them."""
        plan, names = self._plan, reference.covered

        def crop(number: int) -> Pixels:
            random = np.random.default_rng((seed, number))
            return random_crop(plan.folder, names[number % len(names)], plan.job.size, random)

        with ThreadPoolExecutor(_THREADS) as pool:
            return codec.from_uint8(np.stack(list(pool.map(crop, range(plan.job.samples)))))


class EpochEvaluation:
    """The evaluation after each epoch, by the first worker; see `training.gan.Evaluation`."""

    def __init__(self, plan: Plan, first: bool) -> None:
        self._plan, self._first = plan, first
        self._measurer: Measurer | None = None
        self._reference: Reference | None = None

    def metrics(self, generator: KerasModel) -> Mapping[str, float]:
        """The metrics of a generator, as in `Learner.evaluate`; zeros on all workers but the first."""
        if not self._first:
            return dict.fromkeys((*METRICS, "examples"), 0.0)
        seed = self._plan.job.seed
        self._measurer = self._measurer or Measurer(self._plan)
        self._reference = self._reference or self._measurer.reference(seed)
        images = generate(generator, generator_inputs(generator, range(self._plan.job.samples), seed + 1))
        return self._measurer.metrics(images, self._reference) | {"examples": 1.0}

    def pictures(self, generator: KerasModel) -> Sequence[Sequence[Image]]:
        """A grid of pictures (size, size, 3) in [-1, 1], always of the same noise."""
        images = generate(generator, generator_inputs(generator, range(_COLUMNS * _ROWS), self._plan.job.seed))
        return [list(images[row * _COLUMNS : (row + 1) * _COLUMNS]) for row in range(_ROWS)]
