"""The last step of the retraining job: figures, confusion matrix, card."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from typing import Any

import numpy as np

from raydream.data import summary
from raydream.data.storage import Folder
from raydream.jobs.retraining.features import Examined
from raydream.jobs.retraining.job import Retraining
from raydream.jobs.retraining.plan import HEAD_FOLDER, TEST, Plan
from raydream.pages import cards, confusion

FIGURES = "evaluation.json"


def finish(plan: Plan, known: Examined) -> dict[str, Any]:
    """Writes the figures and the card; returns the figures."""
    out, classes = Folder(plan.job.output), plan.found.classes
    labels = plan.labels("test")
    with np.load(io.BytesIO(out.read(TEST))) as file:
        predicted = file["probabilities"].argmax(axis=1)
    counts = confusion.matrix(labels, predicted, len(classes))
    figures = confusion.figures(counts, classes)
    figures["linear probe"] = confusion.figures(_probed(plan, known), classes)["accuracy"]
    figures["split"] = {part: len(plan.members(part)) for part in ("train", "validation", "test")}
    out.write(FIGURES, json.dumps(figures, indent=1).encode())
    out.write("confusion.png", confusion.picture(counts, classes))
    out.write("classes.json", json.dumps(classes, indent=1).encode())
    out.write("README.md", _card(plan, figures).encode())
    return figures


def _probed(plan: Plan, known: Examined) -> Any:
    """The confusion matrix of the head alone, on the features of the fixed backbone."""
    with np.load(io.BytesIO(Folder(plan.job.output).read(f"{HEAD_FOLDER}/head.npz"))) as head:
        logits = known.features[plan.members("test")] @ head["kernel"] + head["bias"]
    return confusion.matrix(plan.labels("test"), logits.argmax(axis=1), len(plan.found.classes))


def _card(plan: Plan, figures: dict[str, Any]) -> str:
    job = plan.job
    name = summary.last_part(job.backbone)
    default = asdict(Retraining(data="", output=""))
    elsewhere = ("workers", "gpus_per_worker")  # they do not change the results
    asked = {k: v for k, v in asdict(job).items() if v != default[k] and k not in elsewhere}
    low, high = figures["interval"]
    parts = ", ".join(f"{count:,} for {part}" for part, count in figures["split"].items())
    about = (
        f"{name} up to `{job.through}`, retrained from `{job.unfreeze}` on, on {len(plan.found.classes)} classes "
        f"({parts}). `classifier.keras` gives the probabilities of the classes in `classes.json` for images "
        "in [-1, 1]; `base.keras` is the network without its head. Both can be the `backbone:` of a recipe."
    )
    rows = [
        {"test images": f"{figures['images']:,}", "network": network, "accuracy": accuracy}
        for network, accuracy in (
            ("retrained", f"{figures['accuracy']:.3f} (95 %: {low:.3f} to {high:.3f})"),
            ("only the head (linear probe)", f"{figures['linear probe']:.3f}"),
            ("chance", f"{figures['chance']:.3f}"),
        )
    ]
    return cards.network(f"{name}, retrained", about, cards.command("retrain", asked), rows)
