"""The last step of the job: the card, an animation of the grids of all epochs, and a latent walk."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

from raydream.data import animation, codec, summary
from raydream.data.storage import Folder
from raydream.generators import Generator
from raydream.jobs.generating.job import GanTraining
from raydream.jobs.generating.metrics import METRICS
from raydream.jobs.generating.plan import Plan
from raydream.jobs.generating.train import EVALUATION, exported
from raydream.jobs.train.journal import history
from raydream.pages import cards
from raydream.types import Image

_MAX_FRAMES = 120  # of the animation of the epochs
_EPOCHS_RATE = Fraction(4)  # frames per second
_WALK_RATE = Fraction(20)
_WALK_PICTURES, _WALK_STEPS = 8, 24  # pictures of the walk, and frames from one to the next


def finish(plan: Plan) -> dict[str, Any]:
    """Writes the animations and the card; returns the metrics of the GAN and of real dreams."""
    out = Folder(plan.job.output)
    metrics: dict[str, Any] = json.loads(out.read(EVALUATION))
    grids = sorted(out.files("grids"))
    step = -(-len(grids) // _MAX_FRAMES)
    shown = [*grids[:-1:step], grids[-1]]
    _write(out, "epochs.webp", (codec.decode(out.read(name)) for name in shown), _EPOCHS_RATE)
    walk = Generator("generator.keras", "", exported(plan)).walk(_WALK_PICTURES, plan.job.seed, _WALK_STEPS)
    _write(out, "walk.webp", walk, _WALK_RATE)
    out.write("README.md", card(plan, metrics, history(plan.job.output)).encode())
    return metrics


def _write(out: Folder, name: str, images: Iterable[Image], rate: Fraction) -> None:
    """Writes an animation into the output, which may be a URL."""
    with tempfile.TemporaryDirectory() as place:
        made = Path(place) / name
        animation.write_images(made, images, rate, {})
        out.write(name, made.read_bytes())


def card(plan: Plan, metrics: Mapping[str, Mapping[str, float]], epochs: Sequence[Mapping[str, Any]]) -> str:
    """The card of the GAN. `epochs` is the history of the run."""
    job = plan.job
    default = asdict(GanTraining(data="", output="", network=job.network))
    elsewhere = ("workers", "gpus_per_worker")  # they do not change the results
    asked = {k: v for k, v in asdict(job).items() if v != default[k] and k not in elsewhere}
    asked |= {"network": job.network, "size": job.size}
    best = min(range(len(epochs)), key=lambda n: epochs[n]["validation KID"])
    crops = (best + 1) * job.steps * job.hyperparameters.batch_size
    about = (
        f"A GAN ({job.network}) that makes dreams of {job.size}x{job.size} pixels from noise. It was trained on "
        f"{len(plan.learnt):,} dreams (recipe {plan.made_by or 'unknown'}); {len(plan.held_out):,} others "
        f"are held out for the metrics. `generator.keras` is the averaged generator after epoch {best + 1} of "
        f"{len(epochs)}, the one with the lowest KID, and {crops:,} crops. `raydream imagine --gan generator.keras` "
        "makes pictures.\n\n"
        f"The metrics compare {job.samples:,} pictures with at most as many crops of held-out dreams. KID is their "
        "distance as sets. Density says how closely the pictures lie among held-out dreams; coverage, the share of "
        "those with a picture near them. Near copies are clearly nearer to training dreams than held-out dreams are. "
        f"These use the features of {summary.last_part(job.backbone)}, so they cannot be compared with those of "
        "papers. Dreaminess is the mean percentile rank of the pictures among held-out dreams, by the objective of "
        f'recipe {cards.recipe_name(plan.recipe)}. The row "real dreams" is for random crops of '
        "the training dreams that were searched for copies."
    )
    rows = [{"": name} | {key: _number(key, found[key]) for key in METRICS} for name, found in metrics.items()]
    return cards.network(f"GAN of dreams, {job.size} px", about, cards.command("train_gan", asked), rows)


def _number(name: str, value: float) -> str:
    formats = {"near copies": "{:.1%}", "dreaminess": "{:.0f}"}
    return formats.get(name, "{:.3g}").format(value)
