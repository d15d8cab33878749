"""Metrics of a GAN: how its pictures compare with dreams that it has not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raydream import assets
from raydream.core import distributions
from raydream.core.distributions import Extractor, Features
from raydream.data import codec
from raydream.jobs.generating.plan import MIN_SIDE, FeatureNetwork, Plan
from raydream.jobs.train.streams import random_crop
from raydream.training.gan import generate, generator_inputs
from raydream.types import Image, Images, KerasModel

METRICS = ("KID", "density", "coverage", "dreaminess", "near copies")
_BATCH = 32  # pictures whose objective is measured at once
_THREADS = 4
_COLUMNS, _ROWS = 6, 4  # of the grid


@dataclass(frozen=True, eq=False)
class Reference:
    """Real dreams to compare with: features of crops of held-out dreams and of those to learn from.

    Attributes:
        held_out, learnt: features (crops, channels).
        objective: the objective of the crops of held-out dreams.
    """

    held_out: Features
    learnt: Features
    objective: NDArray[np.float64]


class Measurer:
    """Evaluation pictures against the dreams of a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.features = Extractor(FeatureNetwork(plan.job).last)
        self._recipe, self._network = assets.load(plan.recipe)

    def crops(self, names: Sequence[str], seed: int) -> Images:
        """As many crops of the named dreams as the job has samples: (samples, size, size, 3) in [-1, 1]."""
        plan, size = self._plan, self._plan.job.size

        def crop(number: int) -> Any:
            return random_crop(plan.folder, names[number % len(names)], size, np.random.default_rng((seed, number)))

        with ThreadPoolExecutor(_THREADS) as pool:
            return codec.from_uint8(np.stack(list(pool.map(crop, range(plan.job.samples)))))

    def reference(self, seed: int) -> Reference:
        """Crops of the dreams of the plan; another seed gives others."""
        held_out = self.crops(self._plan.held_out, seed)
        learnt = self.crops(self._plan.learnt, seed + 1)
        return Reference(self.features(held_out), self.features(learnt), self._objective(held_out))

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

    def of_real(self, reference: Reference, seed: int) -> dict[str, float]:
        """The metrics of other crops of the dreams to learn from, for comparison."""
        return self.metrics(self.crops(self._plan.learnt, seed), reference)


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
