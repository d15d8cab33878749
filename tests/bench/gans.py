"""Benchmarks of GANs.

    python -m tests.bench.gans compare SIZE DREAMS NAME=GENERATOR.keras NAME=FOLDER ...
    python -m tests.bench.gans seconds

`compare` measures generators, and folders of pictures (random crops of them), against the same held-out dreams, and
crops of training dreams beside them. `seconds` times one picture of a generator and a dream of the same size. Each part
prints its table of README.md.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from raydream import generators, runtime
from raydream.data import codec
from raydream.data.inputs import list_input
from raydream.jobs.generating.job import GanTraining
from raydream.jobs.generating.metrics import METRICS, Measurer
from raydream.jobs.generating.plan import Plan, make_plan, prepare
from raydream.jobs.train.streams import random_crop
from raydream.types import Images

SAMPLES = 1000
SEED = 5000  # neither that of the epochs, nor that of the job's own figures
ROUNDS = 5
SIDES = (128, 256, 512)
PATCH, PATCHES, DIRECTIONS = 7, 20_000, 256


def plan_of(size: str, dreams: str, place: Path) -> Plan:
    """The plan of the job for pictures of this size."""
    job = prepare(GanTraining(data=dreams, output=str(place), size=int(size), samples=SAMPLES))
    return make_plan(job, print)


def pictures(source: str, size: int) -> Images:
    """The pictures of a generator, or crops of the pictures in a folder."""
    if source.endswith(".keras"):
        return generators.load(source).images(range(SAMPLES), SEED)
    names = list_input(source).ids
    crops = (random_crop(source, names[n % len(names)], size, np.random.default_rng((SEED, n))) for n in range(SAMPLES))
    return codec.from_uint8(np.stack(list(crops)))


def patches(images: Images) -> Any:
    """Random patches of images (n, 147), less their means, for a distance without a network."""
    random = np.random.default_rng(SEED)
    rows, columns = random.integers(0, images.shape[1] - PATCH + 1, (2, PATCHES))
    chosen = random.integers(0, len(images), PATCHES)
    found = [images[n, y : y + PATCH, x : x + PATCH] for n, y, x in zip(chosen, rows, columns, strict=True)]
    flat = np.stack(found).reshape(PATCHES, -1)
    return flat - flat.mean(axis=1, keepdims=True)


def patch_distance(one: Images, other: Images) -> float:
    """The sliced Wasserstein distance of 7x7 patches (after Karras et al., "Progressive Growing of GANs", 2018)."""
    directions = np.random.default_rng(SEED).normal(size=(PATCH * PATCH * 3, DIRECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    sides = [np.sort(patches(images) @ directions, axis=0) for images in (one, other)]
    return float(np.mean(np.abs(sides[0] - sides[1])))


def compare(size: str, dreams: str, *named: str) -> Iterator[str]:
    """A row for each contender."""
    plan = plan_of(size, dreams, Path(dreams).parent / "compare")
    measurer = Measurer(plan)
    reference, held_out = measurer.reference(SEED), measurer.held_out(SEED)
    yield f"| {size} px | {' | '.join(METRICS)} | patches |"
    yield f"|{'---|' * (len(METRICS) + 2)}"
    contenders = {name: pictures(source, int(size)) for name, _, source in (each.partition("=") for each in named)}
    for name, images in {**contenders, "crops of training dreams": measurer.copies(reference, SEED + 2)}.items():
        figures = measurer.metrics(images, reference)
        values = [f"{figures[key]:.3g}" for key in METRICS]
        yield f"| {name} | {' | '.join(values)} | {patch_distance(images, held_out):.4f} |"


def seconds() -> Iterator[str]:
    """Seconds of one picture of an (untrained) generator, and of a dream of noise with the preset `noise`."""
    from raydream import api, imagining
    from raydream.models.gan import fastgan
    from raydream.recipe import Recipe

    yield "| side | GAN | dream |"
    yield "|---|---|---|"
    for side in SIDES:
        generator = generators.Generator("new", "", fastgan(side))
        resolved, backbone = api.loaded(Recipe.load("noise", {"size": [side, side]}))
        gan = _median(lambda number, made=generator: made.picture(number, 0))
        dream = _median(
            lambda number, r=resolved, b=backbone: imagining.dreamed(r, b, number, progress=False), rounds=2
        )
        yield f"| {side} | {gan:.3f} s | {dream:.1f} s |"


def _median(work: Callable[[int], Any], rounds: int = ROUNDS) -> float:
    """The median time of some rounds, after one warm-up round."""
    times = []
    for number in range(rounds + 1):
        began = time.monotonic()
        work(number)
        times.append(time.monotonic() - began)
    return statistics.median(times[1:])


PARTS: Mapping[str, Callable[..., Iterator[str]]] = {"compare": compare, "seconds": seconds}


def main(arguments: Sequence[str]) -> None:
    """Runs one part."""
    runtime.worker(2)
    part, *rest = arguments
    for row in PARTS[part](*rest):
        print(row, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
