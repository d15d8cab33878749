"""One trial in its worker: dreams all probe images octave by octave, and scores them after each octave."""

from __future__ import annotations

import hashlib
import math
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from ray import tune

from raydream import assets, runtime
from raydream.core import engine, metrics, pyramid
from raydream.core.engine import Step
from raydream.core.metrics import Network, Score
from raydream.data import codec, provenance
from raydream.data.names import Names
from raydream.data.rows import printable
from raydream.data.storage import Folder
from raydream.data.trials import PICTURES
from raydream.errors import UsageError
from raydream.jobs import cluster
from raydream.jobs.dreaming.lease import check_token
from raydream.jobs.sweeping.prepare import Plan
from raydream.recipe import Recipe
from raydream.types import Image

RUNG, METRIC, REPORT = "rung", "metric", "report"  # keys of a worker's results


@dataclass(frozen=True, kw_only=True)
class Report:
    """How far a trial is.

    Attributes:
        octave: number of octaves done.
        last: whether the trial is done.
        score: the mean score of the probe images at the size of this octave; None if the recipe cannot be used.
        metric: the trade-off; NaN without one.
        seconds: time spent dreaming so far.
        recipe: the recipe, resolved; and its digest.
        pictures: id of a probe image -> file of its dream, if they are written.
        device: name of the device.
        refused: why the recipe cannot be used; empty if it can.
    """

    octave: int
    last: bool
    score: Score | None = None
    metric: float = float("nan")
    seconds: float = 0.0
    recipe: Mapping[str, Any] | None = None
    digest: str = ""
    pictures: Mapping[str, str]
    device: str = ""
    refused: str = ""


class Probe(NamedTuple):
    """A probe image: its id, its pixels, and the digest of its file."""

    id: str
    image: Image
    digest: str


class Worker(tune.Trainable):
    """A worker of Ray Tune. It does one trial after another, so that networks are loaded and traced once."""

    def setup(self, config: dict[str, Any], plan: Plan, lease: str) -> None:  # type: ignore[override]
        """Reads the probe images; see `tune.Trainable`."""
        runtime.worker(cluster.own_cores())
        self._plan, self._lease = plan, lease
        self._probes = read_probes(plan)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begins another trial."""
        self._number, recipe = new_config["number"], new_config["recipe"]
        self._reports = reports(self._plan, self._probes, self._number, recipe, self._lease)
        return True

    def step(self) -> dict[str, Any]:
        """Dreams the next octave."""
        try:
            report = next(self._reports)
        except UsageError as error:
            report = Report(octave=0, last=True, pictures={}, refused=str(error))
        compared = comparable(self._plan, report.octave, report.metric)
        return {**compared, REPORT: report, "done": report.last}


def comparable(plan: Plan, octave: int, metric: float) -> dict[str, float]:
    """What ASHA compares after an octave. A trial without a metric is worse than all others.

    ASHA has a rung at each power of the reduction, so that these are the octaves, from 1.
    """
    known = metric if math.isfinite(metric) else -sys.float_info.max
    return {RUNG: plan.sweep.reduction ** (octave - 1), METRIC: known}


def read_probes(plan: Plan) -> list[Probe]:
    """The probe images of a sweep."""
    folder = Folder(plan.sweep.input)
    found = []
    for id in plan.probes:
        data = folder.read(id)
        found.append(Probe(id, codec.decode(data), hashlib.sha256(data).hexdigest()))
    return found


def reports(
    plan: Plan, probes: list[Probe], number: int, recipe: Mapping[str, Any], lease: str | None = None
) -> Iterator[Report]:
    """Does a trial: a report after each octave.

    Args:
        plan: the sweep.
        probes: its probe images.
        number: number of the trial.
        recipe: its recipe, as plain data.
        lease: token of the driver's lease, for writing the pictures; None to write none.

    Raises:
        UsageError: the recipe cannot be used.
        WorkError: another driver has taken over.
    """
    resolved, backbone = assets.load(Recipe.parse(recipe))
    own = Network(resolved, backbone, assets.pictures(resolved))
    judge = _loaded(plan.judge)
    dreams = [_Dream(probe, own, judge) for probe in probes]
    names = dict(zip(plan.probes, Names(".png").give(list(plan.probes)), strict=True))
    seconds = 0.0
    for octave in range(min(dream.first for dream in dreams), resolved.octaves):
        began = time.monotonic()
        for dream in dreams:
            dream.advance(octave)
        seconds += time.monotonic() - began
        score = Score.mean([dream.score() for dream in dreams if dream.begun])
        last = octave == resolved.octaves - 1
        pictures = {}
        if lease and (last or plan.sweep.asha):
            seen = [dream for dream in dreams if dream.begun]
            pictures = {d.probe.id: f"{PICTURES}/{number:04d}/{printable(names[d.probe.id])}" for d in seen}
            _write(plan, {pictures[d.probe.id]: d.encoded(last) for d in seen}, lease)
        yield Report(
            octave=octave + 1,
            last=last,
            score=score,
            metric=plan.metric(score.numbers),
            seconds=seconds,
            recipe=resolved.as_dict(),
            digest=resolved.digest,
            pictures=pictures,
            device=runtime.device(),
        )


def _loaded(judge: Recipe | None) -> Network | None:
    return Network(judge, assets.load_for(judge)) if judge else None


def _write(plan: Plan, pictures: Mapping[str, bytes], lease: str) -> None:
    out = Folder(plan.sweep.output)
    check_token(out, lease)
    for name, data in pictures.items():
        out.write(name, data)


class _Dream:
    """The dream of a probe image, as far as it has come."""

    def __init__(self, probe: Probe, own: Network, judge: Network | None) -> None:
        self.probe, self._own, self._judge = probe, own, judge
        recipe, backbone, pictures = own
        self._source = codec.fit(probe.image, recipe.size)
        height, width = self._source.shape[:2]
        sizes = engine.usable_sizes(height, width, recipe, backbone)
        self.first = recipe.octaves - len(sizes)  # octaves that are too small are left out
        seeds = [recipe.seed_of(probe.id)]
        self._steps = engine.dream_steps(self._source[None], recipe, backbone, seeds, pictures)
        self._last: Step | None = None
        self._seconds = 0.0

    @property
    def begun(self) -> bool:
        """Whether an octave is done."""
        return self._last is not None

    @property
    def image(self) -> Image:
        """The dream at the size of its last octave."""
        assert self._last is not None
        image: Image = self._last.images[0].astype(np.float32, copy=False)
        return image

    def advance(self, octave: int) -> None:
        """Dreams an octave of the recipe, unless it is too small for this image."""
        if octave < self.first:
            return
        began = time.monotonic()
        for step in self._steps:
            if step.step == step.steps - 1:
                self._last = step
                break
        assert self.image.size  # waits for the device
        self._seconds += time.monotonic() - began

    def score(self) -> Score:
        """The score of the dream against the photograph at the same size."""
        image = self.image
        size = (image.shape[0], image.shape[1])
        small = np.clip(np.asarray(pyramid.resize(_tensor(self._source), size))[0], -1.0, 1.0)
        return metrics.score(image, small, self._own, self._judge, self._seconds)

    def encoded(self, finished: bool) -> bytes:
        """The dream as PNG; a finished one holds its recipe, as in a data set."""
        if not finished:
            return codec.encode(codec.to_uint8(self.image))
        recipe, id = self._own.recipe, printable(self.probe.id)
        inside = provenance.inside(recipe, id, recipe.seed_of(self.probe.id), self.probe.digest)
        return codec.encode(codec.to_uint8(self.image), "png", inside)


def _tensor(image: Image) -> Any:
    import tensorflow as tf

    return tf.constant(image[None])
