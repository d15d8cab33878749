"""Compresses a trained network into a few megabytes for dreaming, on Ray Data.

    python -m raydream.jobs.compress_backbone --input photographs --output compressed --through mixed8

What the convolutions see of photographs and of half-done dreams is summed up, a shard of photographs at a time. Then
their weights are quantized by GPTQ; see `compression` and `quantization`. The same command goes on where it stopped.
With other `--bits` it uses the same sums again.

    OUT/inception_v3.npz                     the network: `weights:` of its backbone, or a `backbone:` of its own
    OUT/README.md                            its card: data, command, figures
    OUT/_raydream/statistics/00000.npz ...   the sums of each shard
    OUT/_raydream/settings.json              what the sums were asked for
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from raydream.cli import commands
from raydream.cli.progress import Progress
from raydream.core.networks.compression import Image
from raydream.core.networks.quantization import Moments
from raydream.data import codec, storage
from raydream.data.storage import Folder
from raydream.errors import UsageError, WorkError, nearest
from raydream.pages import cards

if TYPE_CHECKING:
    from raydream.core.networks.loading import Network
    from raydream.jobs.train.photographs import Photographs

STATISTICS = "_raydream/statistics"
_SHARD = 32  # photographs
_STEPS = (2, 6, 12)  # of the last octave, after which a dream is looked at
_SIDE = 299  # pixels: of the photographs that the figures are of
_DREAMT = 4  # of them are dreamed for the figures, too


@dataclass(frozen=True, kw_only=True)
class Options:
    """The job's options; see `--help`."""

    input: str
    output: str
    backbone: str = "inception_v3"
    weights: str | None = None
    through: str | None = None
    bits: int = 6
    photographs: int = 300
    dreams: int = 40
    crop: int = 224
    held_out: int = 60
    objectives: tuple[str, ...] = ()
    actors: int | None = None
    gpus_per_actor: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class Original:
    """The network to be compressed: what the driver and the actors make of the options."""

    options: Options

    @cached_property
    def _found(self) -> Network:
        from raydream.core.networks import loading

        weights = self.options.weights and storage.fetch(self.options.weights, "weights")
        return loading.load(storage.fetch(self.options.backbone, "backbone"), weights)

    @property
    def name(self) -> str:
        """What it is, where that is known (VGG wants its own range of images), else the name of its file."""
        return self._found.architecture or cards.last_part(self.options.backbone)

    @cached_property
    def network(self) -> Any:
        """The whole of it up to `through`, folded."""
        from raydream.core.networks import compression
        from raydream.core.networks.backbones import layer_names

        model = self._found.model
        return compression.plain(model, self.options.through or layer_names(model)[-1])

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """Layers to dream of, spread over its upper half and more."""
        from raydream.core.networks.backbones import layer_names

        names = layer_names(self.network)
        return tuple(dict.fromkeys(names[round(share * (len(names) - 1))] for share in (0.4, 0.6, 0.8, 1.0)))

    @cached_property
    def backbone(self) -> Any:
        """It, ready to dream of those layers."""
        from raydream.core.networks.backbones import load_backbone

        weights = self.options.weights and storage.fetch(self.options.weights, "weights")
        return load_backbone(storage.fetch(self.options.backbone, "backbone"), self.layers, weights=weights)

    def half_done(self, image: Image, number: int) -> list[Image]:
        """A dream of an image after some steps; `number` chooses the layer and the seed."""
        from raydream.core import engine
        from raydream.recipe import Recipe

        objective = self.layers[number % len(self.layers)]
        recipe = Recipe(objective=objective, octaves=2, steps=_STEPS[-1])  # type: ignore[arg-type]
        steps = engine.dream_steps(image[None], recipe, self.backbone, [number])
        return [step.images[0] for step in steps if step.octave == step.octaves - 1 and step.step + 1 in _STEPS]


def run(options: Options) -> dict[str, Any]:
    """Compresses the network, or goes on with it.

    Returns:
        The figures: bytes, errors and cosines, as in the card.

    Raises:
        UsageError: something is asked that cannot be.
        WorkError: the cluster cannot do it.
        KeyboardInterrupt: on SIGINT or SIGTERM; finished shards stay.
    """
    from raydream.jobs.train import photographs, training

    options = _prepared(options)
    original = Original(options)
    objectives = _objectives(original)
    found = photographs.Photographs.of(options.input)
    out, shards = Folder(options.output), _shards(options, found)
    training.check_or_store_settings(options.output, _asked(options, original, found))
    todo = [n for n in range(len(shards)) if not out.exists(_name(n))]
    if todo:
        _look(options, shards, todo)
    moments = summed(options.output, len(shards))
    if not moments:
        raise UsageError(f"input {options.input}: not one of its photographs can be read")
    return _finish(original, moments, found, objectives)


def _prepared(options: Options) -> Options:
    """The options with paths that mean the same everywhere."""
    from raydream.core.networks import loading

    commands.import_tensorflow_quietly()
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")  # they are the actors'
    weights = options.weights or ("imagenet" if options.backbone in loading.ARCHITECTURES else None)
    if options.weights and options.backbone.endswith((".keras", ".npz")):
        raise UsageError(f"--weights: {options.backbone} brings its own: leave them out")
    if weights and weights not in ("imagenet", "compact"):
        weights = storage.anywhere(weights)
    options = replace(
        options,
        input=storage.absolute(options.input),
        output=storage.absolute(options.output),
        backbone=storage.anywhere(options.backbone),
        weights=weights,
    )
    storage.check_apart(options.input, options.output)
    return options


def _asked(options: Options, original: Original, found: Photographs) -> dict[str, Any]:
    """What the statistics depend on."""
    from raydream.core.networks.backbones import digest_of

    wanted = {key: getattr(options, key) for key in ("through", "photographs", "dreams", "crop", "seed")}
    digests = {"network of digest": digest_of(original.network)[:12], "photographs of digest": found.digest[:12]}
    return wanted | digests


def _shards(options: Options, found: Photographs) -> list[list[tuple[str, bool]]]:
    """(photograph, whether it is dreamed, too), spread over those that are not held out, in shards."""
    count = min(options.photographs, len(found.learnt))
    dreams = min(options.dreams, count)
    chosen = [found.learnt[i * len(found.learnt) // count] for i in range(count)]
    rows = [(name, (i + 1) * dreams // count > i * dreams // count) for i, name in enumerate(chosen)]
    return [rows[start : start + _SHARD] for start in range(0, count, _SHARD)]


def _name(shard: int) -> str:
    return f"{STATISTICS}/{shard:05d}.npz"


def _look(options: Options, shards: Sequence[Sequence[tuple[str, bool]]], todo: Sequence[int]) -> None:
    """Sums up the shards that are left, on the cluster."""
    from raydream.jobs import cluster

    progress = Progress(sum(len(shards[n]) for n in todo), "photographs")
    try:
        with cluster.joined(progress.phase):
            progress.phase("loading the network")
            for result in _results(options, shards, todo).iter_rows():
                progress.advance(result["photographs"] + result["failures"], result["failures"])
    finally:
        progress.close()


def _results(options: Options, shards: Sequence[Sequence[tuple[str, bool]]], todo: Sequence[int]) -> Any:
    """The Ray Data pipeline: one row a shard in, one row of counts a shard out."""
    import ray

    from raydream.jobs import cluster
    from raydream.jobs.dreaming.tries import Tries

    gpus, room = cluster.devices(options.gpus_per_actor)
    actors = min(options.actors or max(1, room), len(todo))
    rows = [{"shard": n, "names": [name for name, _ in shards[n]], "dreamed": [d for _, d in shards[n]]} for n in todo]
    return ray.data.from_items(rows, override_num_blocks=len(rows)).map(
        Statistics,  # type: ignore[arg-type]
        fn_constructor_kwargs={
            "options": options,
            "tries": Tries.remote(),  # type: ignore[attr-defined]
            "imagenet": storage.absolute(weights) if (weights := os.environ.get("RAYDREAM_WEIGHTS")) else None,
        },
        compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=1),
        num_cpus=0.5 if gpus else 0.9,
        num_gpus=gpus,
    )


class Statistics:
    """The actor that loads the network once, and sums up what its convolutions see of a shard's photographs."""

    def __init__(self, options: Options, tries: Any, imagenet: str | None) -> None:
        """`imagenet` is the driver's RAYDREAM_WEIGHTS: a worker has the environment of its node."""
        from raydream.core.networks.compression import Sampler
        from raydream.jobs import cluster

        cluster.keep_to_own_cores()
        if imagenet:
            os.environ["RAYDREAM_WEIGHTS"] = imagenet
        self._options, self._tries = options, tries
        self._original = Original(options)
        self._sampler = Sampler(self._original.network)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        import ray

        from raydream.jobs.dreaming.tries import SHARD_TRIES

        key = f"shard {row['shard']}"
        if ray.get(self._tries.begin.remote(key)) > SHARD_TRIES:
            raise WorkError(f"workers died {SHARD_TRIES} times over {key}, from {row['names'][0]} on")
        pairs = zip(row["names"], row["dreamed"], strict=True)
        found = [self._images(str(name), bool(dreamed)) for name, dreamed in pairs]
        images = [image for some in found for image in some]
        moments = self._sampler.moments(images, range(len(images)))
        Folder(self._options.output).write(_name(row["shard"]), packed(moments))
        self._tries.end.remote(key)
        return {"photographs": sum(map(bool, found)), "failures": sum(not some for some in found)}

    def _images(self, name: str, dreamed: bool) -> list[Image]:
        """A crop of a photograph, one in three with other contrast and noise; if wanted, its dream after some steps.

        Nothing, if the photograph cannot be read.
        """
        from raydream.jobs.train.photographs import crop

        number = int.from_bytes(hashlib.sha256(f"{self._options.seed}\n{name}".encode()).digest()[:4])
        random = np.random.default_rng(number)
        try:
            photograph = codec.decode(Folder(self._options.input).read(name))
        except Exception:  # of the file, or of the file system: each has its own
            return []
        image = codec.from_uint8(crop(photograph, self._options.crop, random))
        dreams = self._original.half_done(image, number) if dreamed else []
        if number % 3 == 0:
            image = image.mean() + random.uniform(0.6, 1.5) * (image - image.mean())
            image = image + random.normal(0.0, 0.06, image.shape)
        return [*dreams, np.clip(image, -1.0, 1.0, dtype=np.float32)]


def packed(moments: Mapping[str, Moments]) -> bytes:
    """Moments as the bytes of an `.npz` file: of the symmetric sums one triangle, in float32."""
    arrays: dict[str, Any] = {}
    for name, part in moments.items():
        triangle = part.square[np.triu_indices(len(part.total))].astype(np.float32)
        arrays |= {f"{name}/count": part.count, f"{name}/total": part.total, f"{name}/square": triangle}
    sink = io.BytesIO()
    np.savez(sink, **arrays)
    return sink.getvalue()


def unpacked(data: bytes) -> dict[str, Moments]:
    """The moments that `packed` made bytes of."""
    moments = {}
    with np.load(io.BytesIO(data)) as file:
        for name in {key.rsplit("/", 1)[0] for key in file}:
            count, total, triangle = (file[f"{name}/{part}"] for part in ("count", "total", "square"))
            upper = np.zeros((len(total), len(total)))
            upper[np.triu_indices(len(total))] = triangle
            moments[name] = Moments(int(count), total, upper + np.triu(upper, 1).T)
    return moments


def summed(output: str, shards: int) -> dict[str, Moments]:
    """The moments of all shards, always added up in the same order."""
    moments: dict[str, Moments] = {}
    for n in range(shards):
        for name, part in unpacked(Folder(output).read(_name(n))).items():
            moments[name] = moments[name] + part if name in moments else part
    return moments


def _finish(
    original: Original, moments: Mapping[str, Moments], found: Photographs, objectives: Sequence[Sequence[str]]
) -> dict[str, Any]:
    """Quantizes the network, measures it, and writes it with its card."""
    from raydream.core.networks import compact, compression

    options, network = original.options, original.network
    parts = compression.quantized(network, moments, options.bits)
    stem = PurePosixPath(options.backbone).stem
    last = network.outputs[0]._keras_history.operation.name
    data = compact.dump(network, parts, original.name, {"through": last, "bits": options.bits})
    other = compression.restored(network, parts)
    figures: dict[str, Any] = {"bytes": len(data)}
    rows = []
    for name, images in held_out(original, found).items():
        errors, cosines = compression.compare(network, other, objectives, images)
        figures[name] = {"error": errors, "cosine": cosines}
        cells = {f"error at {layer}": f"{error:.4f}" for layer, error in errors.items()}
        cells |= {f"cosine of {objective}": f"{cosine:.3f}" for objective, cosine in cosines.items()}
        rows.append({"held out": name} | cells)
    out = Folder(options.output)
    out.remove_partial()
    out.write(f"{stem}.npz", data)
    out.write("README.md", _card(original, found, len(data), rows).encode())
    return figures


def _objectives(original: Original) -> list[list[str]]:
    """The layers of each objective that is measured; UsageError if there is no such layer."""
    from raydream.core.networks.backbones import layer_names

    objectives = [objective.split("+") for objective in original.options.objectives or original.layers]
    known = layer_names(original.network)
    for layer in (layer for objective in objectives for layer in objective):
        if layer not in known:
            raise UsageError(f"--objectives: there is no layer {layer!r}: {nearest(layer, known)}")
    return objectives


def held_out(original: Original, found: Photographs) -> dict[str, list[Image]]:
    """Photographs that the statistics know nothing of, and half-done dreams of some, by what they are called."""
    from raydream.jobs.train import photographs

    options = original.options
    images = photographs.readable(options.input, found.held_out, _SIDE, options.held_out)
    dreams = [dream for n, image in enumerate(images[:_DREAMT]) for dream in original.half_done(image, n)]
    return {f"{len(images)} photographs": images, f"{len(dreams)} half-done dreams": dreams}


def _card(original: Original, found: Photographs, size: int, rows: Sequence[Mapping[str, str]]) -> str:
    options = original.options
    stem = PurePosixPath(options.backbone).stem
    usual = asdict(Options(input="", output=""))
    asked = {k: v for k, v in asdict(options).items() if v != usual[k] and k not in ("actors", "gpus_per_actor")}
    photographs = min(options.photographs, len(found.learnt))
    about = (
        f"{stem} with weights of {options.bits} bits ({size:,} bytes), for dreaming: images in [-1, 1] go in. "
        f"Quantized by GPTQ with the statistics of {photographs} photographs of {options.crop} pixels and of "
        f"{len(_STEPS) * min(options.dreams, photographs)} dreams half done.\n\n"
        "`error` is a channel's squared error over its square, the mean over the channels. `cosine` is that of the "
        "gradient at the image of a layer's mean activation (or of the sum of several layers' means) with the full "
        "network's."
    )
    return cards.network(f"{stem}, compact", about, cards.command("compress_backbone", asked), rows)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
_D = Options(input="", output="")


@app.command(epilog="Example: python -m raydream.jobs.compress_backbone --input photographs --output compressed")
def main(  # noqa: PLR0913 -- the command line: one parameter an option
    input: Annotated[str, typer.Option(help="Folder of photographs: a path or URL.")],
    output: Annotated[str, typer.Option(help="Folder for the network and its card: a path or URL.")],
    backbone: Annotated[
        str, typer.Option(help="inception_v3, vgg16, vgg19, or the path or URL of a .keras file.")
    ] = _D.backbone,
    weights: Annotated[
        str | None, typer.Option(help="imagenet, or a weights file of the named backbone. Default: imagenet.")
    ] = None,
    through: Annotated[str | None, typer.Option(help="The last layer to keep. Default: the last there is.")] = None,
    bits: Annotated[int, typer.Option(min=2, max=8, help="Of a weight. May be changed later.")] = _D.bits,
    photographs: Annotated[int, typer.Option(min=1, help="Photographs to look at.")] = _D.photographs,
    dreams: Annotated[int, typer.Option(min=0, help="How many of them to dream of, too.")] = _D.dreams,
    crop: Annotated[int, typer.Option(min=96, help="Side of the crop of a photograph, in pixels.")] = _D.crop,
    held_out: Annotated[int, typer.Option(min=1, help="Other photographs to measure with.")] = _D.held_out,
    objectives: Annotated[
        str | None,
        typer.Option(help="Measure these, such as mixed3+mixed5,mixed7. Default: four layers."),
    ] = None,
    actors: Annotated[int | None, typer.Option(min=1, help="Default: one a GPU, else one a core.")] = None,
    gpus_per_actor: Annotated[
        float | None, typer.Option(min=0, help="Default: 1 where the cluster has GPUs, else 0.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0)] = _D.seed,
    config: Annotated[
        str | None,
        typer.Option(is_eager=True, callback=commands.options_from, help="YAML file of these options."),
    ] = None,
) -> int:
    """Compress a trained network into a few megabytes for dreaming. The same command goes on where it stopped.

    Exit status: 0 done, 1 the cluster cannot do it, 2 wrong usage, 130 interrupted (finished shards are kept).
    """
    options = Options(
        input=input,
        output=output,
        backbone=backbone,
        weights=weights,
        through=through,
        bits=bits,
        photographs=photographs,
        dreams=dreams,
        crop=crop,
        held_out=held_out,
        objectives=tuple(filter(None, (objectives or "").replace(" ", "").split(","))),
        actors=actors,
        gpus_per_actor=gpus_per_actor,
        seed=seed,
    )
    try:
        figures = run(options)
    except KeyboardInterrupt:
        print("interrupted: finished shards are kept, the same command goes on from there", file=sys.stderr)
        return commands.INTERRUPTED
    print(f"{figures['bytes']:,} bytes: see {output.rstrip('/')}/README.md", file=sys.stderr)
    return commands.OK


if __name__ == "__main__":
    # Under its own name, so that what is pickled for the workers is found there.
    from raydream.jobs import compress_backbone

    commands.run(compress_backbone.app, "compress_backbone")
