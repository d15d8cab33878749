"""The last step of the job: the card, and two animations: the pictures after each epoch, and a latent walk."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

from raydream.data import animation, codec, summary
from raydream.data.storage import Folder
from raydream.generators import Generator
from raydream.jobs.generating.job import GanTraining
from raydream.jobs.generating.measures import NAMES
from raydream.jobs.generating.plan import Plan
from raydream.jobs.generating.train import FIGURES, exported
from raydream.jobs.train.journal import history
from raydream.pages import cards
from raydream.types import Image

_MOST_FRAMES = 120  # of the animation of the epochs
_EPOCHS_RATE = Fraction(4)  # frames per second
_WALK_RATE = Fraction(20)
_STOPS, _BETWEEN = 8, 24  # pictures of the walk, and frames from one to the next


def finish(plan: Plan) -> dict[str, Any]:
    """Writes the animations and the card; returns the figures."""
    out = Folder(plan.job.output)
    figures: dict[str, Any] = json.loads(out.read(FIGURES))
    grids = sorted(out.files("grids"))
    step = -(-len(grids) // _MOST_FRAMES)
    shown = [*grids[:-1:step], grids[-1]]
    _write(out, "epochs.webp", (codec.decode(out.read(name)) for name in shown), _EPOCHS_RATE)
    walk = Generator("generator.keras", "", exported(plan)).walk(_STOPS, plan.job.seed, _BETWEEN)
    _write(out, "walk.webp", walk, _WALK_RATE)
    out.write("README.md", card(plan, figures, len(history(plan.job.output))).encode())
    return figures


def _write(out: Folder, name: str, images: Iterable[Image], rate: Fraction) -> None:
    """Writes an animation into the output, which may be a URL."""
    with tempfile.TemporaryDirectory() as place:
        made = Path(place) / name
        animation.write_images(made, images, rate, {})
        out.write(name, made.read_bytes())


def card(plan: Plan, figures: Mapping[str, Mapping[str, float]], epochs: int) -> str:
    """The card of the GAN."""
    job = plan.job
    default = asdict(GanTraining(data="", output="", network=job.network))
    elsewhere = ("workers", "gpus_per_worker")  # they do not change the results
    asked = {k: v for k, v in asdict(job).items() if v != default[k] and k not in elsewhere}
    asked |= {"network": job.network, "size": job.size}
    images = epochs * job.steps * job.method.batch_size
    about = (
        f"A GAN ({job.network}) that makes dreams of {job.size}x{job.size} pixels out of noise. It has learnt from "
        f"{len(plan.learnt):,} dreams (recipe {cards.recipe_name(plan.recipe)}), {images:,} crops in {epochs} epochs; "
        f"{len(plan.held_out):,} other dreams are for the figures. `generator.keras` is the averaged generator of the "
        "epoch with the lowest KID. `raydream imagine --gan generator.keras` makes pictures.\n\n"
        f"The figures compare {job.samples:,} pictures with as many crops of held-out dreams. KID, density, coverage "
        f"and near copies use the features of {summary.last_part(job.backbone)}, so they cannot be compared "
        "with those of papers. Dreaminess is the mean percentile of the objective of the recipe among held-out dreams."
    )
    rows = [{"": name} | {key: _number(key, found[key]) for key in NAMES} for name, found in figures.items()]
    return cards.network(f"GAN of dreams, {job.size} px", about, cards.command("train_gan", asked), rows)


def _number(name: str, value: float) -> str:
    formats = {"near copies": "{:.1%}", "dreaminess": "{:.0f}"}
    return formats.get(name, "{:.3g}").format(value)
