"""How well and how fast `lite` stands in for InceptionV3: `python -m tests.bench.lite [errors transfer speed sheet]`.

On photographs that it never learnt from, each 8th of ../shared/images/photos. errors: of its activations and of the
gradient of the natural-dreams objective, on photographs and on dreams half done. transfer: dreams made with either,
measured with InceptionV3. speed: natural-dreams with either, side by side. sheet: photographs and what both dream.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.bench.common import ONE_THREAD, SHARED, finished, required_weights

Image = NDArray[np.float32]
PHOTOS = SHARED / "images" / "photos"
LAYERS = ("mixed2", "mixed3", "mixed5")
SIDE = 299


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.lite", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "what",
        nargs="*",
        choices=[*STUDIES, []],
        metavar="WHAT",
        help="errors, transfer, speed, sheet; default: the first three",
    )
    parser.add_argument("--backbone", default="lite", help="or another .keras file; default: %(default)s")
    parser.add_argument("--photographs", type=int, default=100, help="for errors; default: %(default)s")
    parser.add_argument("--dreams", type=int, default=16, help="for transfer; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="for speed; default: %(default)s")
    parser.add_argument("--recipe", default="classic", help="for the sheet; default: %(default)s")
    parser.add_argument("--sheet", type=Path, default=Path("lite-sheet.png"), help="default: %(default)s")
    arguments = parser.parse_args()
    weights = str(required_weights())
    for what in arguments.what or ("errors", "transfer", "speed"):
        for line in STUDIES[what](arguments, weights):
            print(line, flush=True)


def held_out(count: int) -> list[Image]:
    """The first so many of the photographs that lite never learnt from, (SIDE, SIDE, 3)."""
    from raydream import codec

    names = sorted(PHOTOS.iterdir())[::8]
    return [codec.fit(codec.decode(name.read_bytes()), (SIDE, SIDE)) for name in names[:count]]


def recipe(backbone: str, weights: str, name: str = "natural-dreams", **changes: Any) -> Any:
    """A preset with the backbone: lite or a file, or InceptionV3 with the weights."""
    from raydream.recipe import Recipe

    network = {"backbone": backbone} | ({"weights": weights} if backbone == "inception_v3" else {})
    return Recipe.load(name, network | changes)


def errors(arguments: Any, weights: str) -> Any:
    """Errors of the activations, and cosines of the gradients of mean(mixed3) + mean(mixed5)."""
    from raydream.backbones import load_backbone, load_model
    from raydream.engine import dream_steps
    from raydream.training.distill import COSINES, Distillation

    teacher = load_backbone("inception_v3", LAYERS, weights=weights)
    student = load_model(arguments.backbone, None)
    units = [np.ones(teacher.channels(layer), np.float32) for layer in LAYERS]
    learner = Distillation(student, teacher, units, optimizer=None, batch=1)
    photographs = held_out(arguments.photographs)
    few = np.stack(photographs[:8])
    sets = {f"{len(photographs)} photographs": photographs}
    for backbone in ("inception_v3", arguments.backbone):
        half = recipe(backbone, weights, steps=50)
        from raydream.backbones import load_for

        steps = dream_steps(few, half, load_for(half), list(range(len(few))))
        (last,) = islice(steps, 74, 75)
        sets[f"{len(few)} dreams of {Path(backbone).name}, half done"] = half_done(few, last, half)
    for name, images in sets.items():
        found = learner.figures(images, [0.0, 1.0, 1.0], power=0.0)
        figures = "  ".join(f"{key} {found[key]:.3f}" for key in (*LAYERS, *COSINES))
        yield f"errors, {name}: {figures}"


def half_done(sources: Any, step: Any, half: Any) -> list[Image]:
    """Dreams after a step of a smaller octave, at the full size, as the next octave would begin with them."""
    import tensorflow as tf

    from raydream import pyramid

    begun = pyramid.start(tf.constant(sources), (SIDE, SIDE), tf.constant(step.images), half.carry, half.blend)
    return list(np.asarray(begun))


def transfer(arguments: Any, weights: str) -> Any:
    """Dreams of either after so many steps an octave, by the mean activation of InceptionV3."""
    from raydream.backbones import load_for
    from raydream.engine import dream, measure

    judge = recipe("inception_v3", weights)
    network = load_for(judge)
    images = np.stack(held_out(arguments.dreams))
    before = np.concatenate([measure(image[None], judge, network) for image in images]).mean()
    yield f"transfer, {len(images)} photographs: mean activation at mixed3 + mixed5 of InceptionV3 {before:.3f}"
    for backbone in (arguments.backbone, "inception_v3"):
        for steps in (25, 50, 100):
            chosen = recipe(backbone, weights, steps=steps)
            dreamer = load_for(chosen)
            after = []
            for start in range(0, len(images), 4):
                part = images[start : start + 4]
                dreams = dream(part, chosen, dreamer, list(range(start, start + len(part))))
                after.append(measure(dreams, judge, network))
            value = np.concatenate(after).mean()
            yield f"transfer, dreams of {Path(backbone).name}, {steps} steps: {value:.3f}, {value / before:.2f} times"


def speed(arguments: Any, weights: str) -> Any:
    """natural-dreams with either, in a fresh process a round: with one thread (as an actor), with all."""
    for threads, extra in (("one thread", ONE_THREAD), ("all cores", {})):
        task = {"backbone": arguments.backbone, "weights": weights}
        ratios, seconds = [], []
        for _ in range(arguments.rounds):
            (found,) = finished("lite", [task], extra)
            ratios.append(found["inception_v3"] / found["lite"])
            seconds.append(found["lite"])
        spread = f"{min(ratios):.1f} to {max(ratios):.1f}"
        yield (
            f"speed, {threads}: natural-dreams in {np.median(seconds):.2f} s, "
            f"{np.median(ratios):.1f} times as fast as InceptionV3 ({spread})"
        )


def timings(task: dict[str, str]) -> dict[str, float]:
    """Seconds of natural-dreams with either, once it is traced."""
    from raydream.backbones import load_for
    from raydream.engine import dream

    image = held_out(1)[0][None]
    seconds = {}
    for name, backbone in (("inception_v3", "inception_v3"), ("lite", task["backbone"])):
        chosen = recipe(backbone, task["weights"])
        network = load_for(chosen)
        for part in (chosen.changed(steps=2), chosen):
            began = time.perf_counter()
            dream(image, part, network, [0])
            seconds[name] = time.perf_counter() - began
    return seconds


def sheet(arguments: Any, weights: str) -> Any:
    """Photographs, and below them what InceptionV3 and lite dream of them."""
    from raydream import codec
    from raydream.backbones import load_for
    from raydream.engine import dream

    images = held_out(40)[3::7]
    rows = [images]
    for backbone in ("inception_v3", arguments.backbone):
        chosen = recipe(backbone, weights, arguments.recipe)
        network = load_for(chosen)
        rows.append([dream(image[None], chosen, network, [1])[0] for image in images])
    arguments.sheet.write_bytes(codec.encode(np.concatenate([np.concatenate(row, axis=1) for row in rows])))
    yield str(arguments.sheet)


STUDIES = {"errors": errors, "transfer": transfer, "speed": speed, "sheet": sheet}


def as_told(arguments: Sequence[str]) -> None:
    """A fresh process of `speed`."""
    print(json.dumps(timings(json.loads(arguments[0]))))


if __name__ == "__main__":
    as_told(sys.argv[1:]) if sys.argv[1:2] and sys.argv[1].startswith("{") else main()
