"""Teaches the small backbone `lite` to answer as a trained network does, on Ray Train.

    python -m raydream.jobs.distill_backbone --input photographs --output lite

The same command goes on where it stopped, with new half-done dreams; with more epochs the learning rate falls anew.
What is learnt, and how, is in `training.distill`; the network in `models.lite`.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from raydream import cards, codec, commands, storage
from raydream.errors import UsageError
from raydream.storage import Folder

if TYPE_CHECKING:
    from raydream.backbones import Backbone
    from raydream.jobs.photographs import Photographs
    from raydream.training.distill import Distillation

Image = NDArray[np.float32]

_SIDE = 299  # pixels: of the photographs that the figures are of
_USUAL = 16  # photographs that tell how strong each channel usually is
_MEASURED = 8  # held-out photographs that are measured after each epoch; after the last
_MEASURED_LAST = 100
_SHOWN = 5  # held-out photographs in each epoch's pictures
_SHOWN_SIDE = 224  # pixels


@dataclass(frozen=True, kw_only=True)
class Options:
    """The job's options; see `--help`."""

    input: str
    output: str
    teacher: str = "inception_v3"
    weights: str | None = None
    layers: tuple[str, ...] = ("mixed2", "mixed3", "mixed5")
    epochs: int = 44
    steps: int = 500
    batch: int = 8
    repeats: int = 4
    memory: int = 256
    crop: int = 203
    workers: int | None = None
    gpus_per_worker: int | None = None
    learning_rate: float = 3e-3
    gradient_weight: float = 2.0
    seed: int = 0


def run(options: Options) -> list[dict[str, float]]:
    """Trains `lite`, or goes on with it.

    Returns:
        The metrics of each epoch: `learnt/...` and `held_out/...`, see `Distillation.compare` and `.figures`.

    Raises:
        UsageError: something is asked that cannot be.
        WorkError: the cluster cannot do it.
        KeyboardInterrupt: on SIGINT or SIGTERM; finished epochs stay.
    """
    from raydream.jobs import cluster, photographs, training

    options, digest = _prepared(options)
    found = photographs.Photographs.of(options.input)
    some = {"held_out": found.held_out[: 2 * _MEASURED_LAST], "usual": found.learnt[: 2 * _USUAL]}  # if some are broken
    for names in some.values():
        photographs.readable(options.input, names, _SIDE, most=1)
    cluster.join()
    scaling = training.workers(options.workers, options.batch, options.gpus_per_worker)
    workers: Any = scaling.num_workers
    if options.batch % workers or options.memory < options.batch:
        raise UsageError(f"--batch {options.batch} must be a multiple of the {workers} workers, and at most --memory")
    free = ("output", "epochs", "workers", "gpus_per_worker", "teacher", "weights")
    asked = {key: value for key, value in asdict(options).items() if key not in free}
    asked |= {"teacher and weights of digest": digest[:12], "photographs of digest": found.digest[:12]}
    training.settle(options.output, asked)
    settings = asdict(options) | {"workers": workers} | some
    dataset = found.dataset(most=2 * options.crop, blocks=workers)
    training.fit(_learn, settings, options.output, scaling, {photographs.SHARD: dataset})
    metrics = training.history(options.output)
    Folder(options.output).remove_partial()
    Folder(options.output).write("README.md", _card(options, workers, found, metrics).encode())
    return metrics


def _prepared(options: Options) -> tuple[Options, str]:
    """The options with paths that mean the same everywhere, and the teacher's digest."""
    if not options.layers:
        raise UsageError("--layers names no layer: give some, such as mixed3,mixed5")
    if not (math.isfinite(options.learning_rate) and math.isfinite(options.gradient_weight)):
        raise UsageError("--learning-rate and --gradient-weight must be finite")
    commands.import_tensorflow_quietly()
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")  # they are the workers'
    weights = options.weights
    if options.teacher == "inception_v3" and weights in (None, "imagenet"):
        weights = os.environ.get("RAYDREAM_WEIGHTS") or weights  # workers may not know the variable
    options = replace(
        options,
        input=storage.absolute(options.input),
        output=storage.absolute(options.output),
        teacher=storage.anywhere(options.teacher),
        weights=weights and storage.anywhere(weights),
    )
    storage.check_apart(options.input, options.output)
    teacher = _teacher(options)
    widths = [field.width for field in teacher.axes[0].fields()]
    if len({*options.layers}) < len(options.layers) or widths != sorted(widths):
        raise UsageError(f"--layers {','.join(options.layers)}: name each once, from the image up")
    _student(teacher)
    return options, teacher.digest


def _teacher(options: Options) -> Backbone:
    from raydream.backbones import load_backbone

    weights = options.weights and storage.fetch(options.weights, "weights")
    return load_backbone(storage.fetch(options.teacher, "teacher"), options.layers, weights=weights)


def _student(teacher: Backbone) -> Any:
    from raydream.models import lite

    strides = [field.stride for field in teacher.axes[0].fields()]
    return lite.build({n: (s, teacher.channels(n)) for n, s in zip(teacher.layers, strides, strict=True)})


def _learn(settings: dict[str, Any]) -> None:
    """What each worker does."""
    from raydream.jobs import photographs, training

    strategy = training.strategy()
    import tensorflow as tf

    from raydream.training import distill

    held_out, usual = settings.pop("held_out"), settings.pop("usual")
    options = Options(**settings)
    learner = _learner(options, strategy, photographs.readable(options.input, usual, _SIDE, _USUAL))
    state = training.State([*learner.student.variables, *learner.optimizer.variables])
    begun = state.restored()
    if begun >= options.epochs:
        return
    random = np.random.default_rng([options.seed, training.rank(), begun])
    here = options.batch // (options.workers or 1)
    size = options.memory // (options.workers or 1)
    ask = tf.function(learner.ask, autograph=False)
    memory = distill.Memory(photographs.crops(options.crop, random), ask, len(options.layers), size, random)
    step = tf.function(lambda *arguments: strategy.run(learner.step, arguments), autograph=False)
    watch = _Watch(options, learner, held_out, begun) if training.rank() == 0 else None
    for epoch in range(begun, options.epochs):
        began, sums = time.monotonic(), []
        for index in range(options.steps):
            if index % options.repeats == 0:
                memory.renew(here)
            where, arguments = memory.sample(here)
            found = step(*arguments)
            memory.mine[where] = found["gradient"].numpy()
            sums.append([*found["error"].numpy().mean(0), *found["cosine"].numpy().mean(0)])
        learnt = zip([*options.layers, *distill.COSINES], np.mean(sums, axis=0).tolist(), strict=True)
        metrics = {"epoch": epoch + 1.0, **{f"learnt/{name}": value for name, value in learnt}}
        state.report(epoch + 1, watch.look(metrics, began) if watch else metrics)


def _learner(options: Options, strategy: Any, usual: list[Image]) -> Distillation:
    import keras

    from raydream.training import distill

    teacher = _teacher(options)
    keras.utils.set_random_seed(options.seed)
    peak, total = options.learning_rate, options.epochs * options.steps
    warmup = min(300, total // 4)  # steps in which the rate rises
    with strategy.scope():
        student = _student(teacher)
        rate = keras.optimizers.schedules.CosineDecay(
            peak / 20, total - warmup, 0.01, warmup_target=peak, warmup_steps=warmup
        )
        optimizer = keras.optimizers.Adam(rate)
        optimizer.build(student.trainable_variables)
    squares = distill.mean_squares(teacher, usual)
    return distill.Distillation(student, teacher, squares, optimizer, options.batch, options.gradient_weight)


class _Watch:
    """After each epoch: saves the student, measures it on held-out photographs, and dreams of some."""

    def __init__(self, options: Options, learner: Distillation, held_out: list[str], begun: int) -> None:
        from raydream.jobs import photographs, training

        self._options, self._learner = options, learner
        self._held_out = photographs.readable(options.input, held_out, _SIDE, _MEASURED_LAST)
        self._shown = [codec.fit(image, _SHOWN_SIDE) for image in self._held_out[:_SHOWN]]
        self._journal = training.Journal(options.output, begun)
        self._pictures = [self._shown, self._dreams(learner.teacher)]

    def look(self, metrics: dict[str, float], began: float) -> dict[str, float]:
        """The metrics, with what was measured; all written down."""
        from raydream.backbones import load_backbone

        options, student = self._options, self._learner.student
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "lite.keras"
            student.save(file)
            Folder(options.output).write(file.name, file.read_bytes())
            dreams = self._dreams(load_backbone(str(file), options.layers))
        count = _MEASURED if metrics["epoch"] < options.epochs else _MEASURED_LAST
        found = self._learner.figures(self._held_out[:count], [1.0] * len(options.layers), power=0.0)
        measured = {f"held_out/{name}": value for name, value in found.items()}
        metrics = metrics | measured | {"seconds": round(time.monotonic() - began, 1)}
        self._journal.write(metrics, [*self._pictures, dreams])
        return metrics

    def _dreams(self, backbone: Backbone) -> list[Image]:
        from raydream.engine import dream
        from raydream.recipe import Recipe

        *below, last = self._options.layers[-2:]
        recipe = Recipe.load("classic", {"objective": [*({"layer": layer, "weight": 0.1} for layer in below), last]})
        return list(dream(np.stack(self._shown), recipe, backbone, list(range(len(self._shown)))))


def _card(options: Options, workers: int, found: Photographs, metrics: list[dict[str, float]]) -> str:
    """What is said of the trained network, in `README.md` beside it."""
    asked = {k: v for k, v in asdict(options).items() if v != getattr(Options(input="", output=""), k, None)}
    about = (
        f"A small network that answers as {cards.last_part(options.teacher)} does at {', '.join(options.layers)}, "
        f"distilled by {workers} workers from {len(found.learnt):,} image files, of those that can be read. `learnt` "
        f"is measured on what it learns from, `held_out` on {min(_MEASURED, len(found.held_out))} others, where a run "
        f"ends on {min(_MEASURED_LAST, len(found.held_out))}: squared error over the square, and cosines of the "
        "gradients, raw and blurred by 1 and 2 pixels. `grids/` has photographs, the teacher's dreams and its own."
    )
    return cards.network("lite", about, cards.command("distill_backbone", asked), metrics)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
_D = Options(input="", output="")


@app.command(epilog="Example: python -m raydream.jobs.distill_backbone --input photographs --output lite")
def main(  # noqa: PLR0913 -- the command line: one parameter an option
    input: Annotated[str, typer.Option(help="Folder of photographs: a path or URL.")],
    output: Annotated[str, typer.Option(help="Folder for the network, its card and pictures: a path or URL.")],
    teacher: Annotated[str, typer.Option(help="Backbone to learn from.")] = _D.teacher,
    weights: Annotated[str | None, typer.Option(help="Its weights; see a recipe's `weights`.")] = None,
    layers: Annotated[str, typer.Option(help="Its layers to learn, from the image up.")] = ",".join(_D.layers),
    epochs: Annotated[int, typer.Option(min=1, help="A checkpoint each; may be raised later.")] = _D.epochs,
    steps: Annotated[int, typer.Option(min=1, help="Steps in an epoch.")] = _D.steps,
    batch: Annotated[int, typer.Option(min=1, help="Crops in a step, over all workers.")] = _D.batch,
    repeats: Annotated[int, typer.Option(min=1, help="How often each of the teacher's answers is used.")] = _D.repeats,
    memory: Annotated[int, typer.Option(min=1, help="Answers that are kept, over all workers.")] = _D.memory,
    crop: Annotated[int, typer.Option(min=75, help="Side of a crop, in pixels.")] = _D.crop,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Default: one a GPU, else one a core, as the batch divides.")
    ] = None,
    gpus_per_worker: Annotated[int | None, typer.Option(min=0, max=1, help="Default: 1 if there are GPUs.")] = None,
    learning_rate: Annotated[float, typer.Option(min=0, help="At its peak; it falls to 1 %.")] = _D.learning_rate,
    gradient_weight: Annotated[float, typer.Option(min=0, help="Gradients beside activations.")] = _D.gradient_weight,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1)] = _D.seed,
    config: Annotated[
        str | None,
        typer.Option(is_eager=True, callback=commands.options_from, help="YAML file of these options."),
    ] = None,
) -> int:
    """Teach the small backbone `lite` to answer as a trained network. The same command goes on where it stopped.

    Exit status: 0 done, 1 the cluster cannot do it, 2 wrong usage, 130 interrupted (finished epochs are kept).
    """
    values = {key: value for key, value in locals().items() if key != "config"}
    options = Options(**values | {"layers": tuple(filter(None, layers.replace(" ", "").split(",")))})
    try:
        run(options)
    except KeyboardInterrupt:
        print("interrupted: finished epochs are kept, the same command goes on from there", file=sys.stderr)
        return commands.INTERRUPTED
    print(f"done: {output.rstrip('/')}/lite.keras", file=sys.stderr)
    return commands.OK


if __name__ == "__main__":
    # Under its own name, so that what is pickled for the workers is found there.
    from raydream.jobs import distill_backbone

    commands.run(distill_backbone.app, "distill_backbone")
