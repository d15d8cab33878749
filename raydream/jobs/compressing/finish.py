"""The last step of the compression job: quantizes the network, measures it, and writes it with its card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from raydream.core.networks.classes import classes_of, with_classes
from raydream.core.networks.quantization import Moments
from raydream.core.objectives import CLASS_LAYER
from raydream.data.storage import Folder
from raydream.errors import UsageError, nearest
from raydream.jobs.cluster import say
from raydream.jobs.compressing.job import Compression
from raydream.jobs.compressing.original import STEPS, Original
from raydream.pages import cards
from raydream.types import Image

if TYPE_CHECKING:
    from raydream.jobs.train.photographs import Photographs

_SIDE = 299  # side of the photographs for the figures, in pixels
_DREAMED = 4  # number of these photographs that are also dreamed for the figures


def finish(
    original: Original, moments: Mapping[str, Moments], found: Photographs, objectives: Sequence[Sequence[str]]
) -> dict[str, Any]:
    """Quantizes the network, measures it, and writes it with its card."""
    from raydream.core.networks import compact, compression

    job, network = original.job, original.network
    say("quantizing")
    parts = compression.quantized(network, moments, job.bits)
    stem = PurePosixPath(job.backbone).stem
    last = network.layers[-1].name
    data = compact.dump(network, parts, original.name, {"through": last, "bits": job.bits})
    if last == CLASS_LAYER and (names := classes_of(original.files.backbone)):
        data = with_classes(data, names)
    compressed = compression.restored(network, parts)
    figures: dict[str, Any] = {"bytes": len(data)}
    rows = []
    say("measuring")
    for name, images in held_out(original, found).items():
        errors, cosines = compression.compare(network, compressed, objectives, images)
        figures[name] = {"error": errors, "cosine": cosines}
        cells = {f"error at {layer}": f"{error:.4f}" for layer, error in errors.items()}
        cells |= {f"cosine of {objective}": f"{cosine:.3f}" for objective, cosine in cosines.items()}
        rows.append({"held out": name} | cells)
    out = Folder(job.output)
    out.remove_partial()
    out.write(f"{stem}.npz", data)
    out.write("README.md", _card(original, found, len(data), rows).encode())
    return figures


def objectives_of(original: Original) -> list[list[str]]:
    """The layers of each objective to measure; raises a `UsageError` for an unknown layer."""
    from raydream.core.networks.backbones import layer_names

    objectives = [objective.split("+") for objective in original.job.objectives or original.layers]
    known = layer_names(original.network)
    for layer in (layer for objective in objectives for layer in objective):
        if layer not in known:
            raise UsageError(f"--objectives: there is no layer {layer!r}: {nearest(layer, known)}")
    return objectives


def held_out(original: Original, found: Photographs) -> dict[str, list[Image]]:
    """Photographs that are not in the statistics, and half-done dreams of some of them, by their names on the card."""
    from raydream.jobs.train import photographs

    job = original.job
    images = photographs.readable(job.input, found.held_out, _SIDE, job.held_out)
    dreams = [dream for n, image in enumerate(images[:_DREAMED]) for dream in original.half_done(image, n)]
    return {f"{len(images)} photographs": images, f"{len(dreams)} half-done dreams": dreams}


def _card(original: Original, found: Photographs, size: int, rows: Sequence[Mapping[str, str]]) -> str:
    job = original.job
    stem = PurePosixPath(job.backbone).stem
    default = asdict(Compression(input="", output=""))
    asked = {k: v for k, v in asdict(job).items() if v != default[k] and k not in ("actors", "gpus_per_actor")}
    photographs = min(job.photographs, len(found.learnt))
    about = (
        f"{stem} with weights of {job.bits} bits ({size:,} bytes), for dreaming: images in [-1, 1] go in. "
        f"Quantized by GPTQ with the statistics of {photographs} photographs of {job.crop} pixels and of "
        f"{len(STEPS) * min(job.dreams, photographs)} half-done dreams.\n\n"
        "`error` is the squared error of a channel divided by its squared activations, averaged over the channels. "
        "`cosine` compares the gradient of a layer's mean activation (or of the sum of several layers' means) at the "
        "image with that of the full network."
    )
    return cards.network(f"{stem}, compact", about, cards.command("compress_backbone", asked), rows)
