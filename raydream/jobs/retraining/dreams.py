"""The page before and after: test images dreamed with both networks, and the channels that changed most."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import ray

from raydream import runtime
from raydream.data import codec, summary
from raydream.data.storage import Folder
from raydream.jobs import cluster
from raydream.jobs.retraining import grid
from raydream.jobs.retraining.base import Base
from raydream.jobs.retraining.plan import HEAD_FOLDER, Plan
from raydream.jobs.train.streams import picture
from raydream.pages import before_after
from raydream.pages.before_after import Dreamed, Row
from raydream.types import FeatureMap, Image

if TYPE_CHECKING:
    from raydream.core.networks.backbones import Backbone

_MEASURED = 64  # test images for the channels that changed most


def write_page(plan: Plan) -> None:
    """Dreams on the cluster, then writes the page."""
    with cluster.joined():
        gpus, _ = cluster.devices(plan.job.gpus_per_worker, "--gpus-per-worker")
        rows, channels, layers = ray.get(ray.remote(num_gpus=gpus)(_dreamed).remote(plan))
    facts = {"classes": f"{len(plan.found.classes)}", "objective": " + ".join(layers)}
    title = f"{summary.last_part(plan.job.backbone)}, before and after"
    before_after.write(Folder(plan.job.output), rows, channels, title, facts)


def _dreamed(plan: Plan) -> tuple[list[Row], dict[str, Any], list[str]]:
    """The rows of the page, the changed channels, and the layers of the objective; runs in a worker."""
    runtime.worker()
    with tempfile.TemporaryDirectory() as folder:
        files = _networks(plan, Path(folder))
        layers = grid.layers(plan, Base(plan.job).network)
        chosen = plan.spread("test", plan.job.dreams)
        dreams = [_dreams(plan, chosen, file, layers) for file in files]
        measured = [_activations(plan, file, layers) for file in files]
    rows = [
        Row(
            id=plan.found.names[n],
            label=plan.found.classes[plan.found.labels[n]],
            photograph=Folder(plan.found.folder).read(plan.found.names[n]),
            before=before,
            after=after,
        )
        for n, before, after in zip(chosen, *dreams, strict=True)
    ]
    changed = map(before_after.changed_channels, *measured)
    channels = dict(zip(layers, changed, strict=True))
    return rows, channels, layers


def _networks(plan: Plan, folder: Path) -> tuple[str, str]:
    """Files of the classifiers before (the head on the fixed backbone) and after."""
    from raydream.training import classifier

    out = Folder(plan.job.output)
    before = classifier.classifier(Base(plan.job).network, len(plan.found.classes))
    with np.load(io.BytesIO(out.read(f"{HEAD_FOLDER}/head.npz"))) as head:
        classifier.set_head(before, head["kernel"], head["bias"])
    before.save(folder / "before.keras")  # type: ignore[attr-defined]
    (folder / "after.keras").write_bytes(out.read("classifier.keras"))
    return str(folder / "before.keras"), str(folder / "after.keras")


def _dreams(plan: Plan, chosen: Sequence[int], file: str, layers: Sequence[str]) -> list[Dreamed]:
    from raydream.core import engine
    from raydream.core.networks.backbones import load_backbone
    from raydream.core.objectives import CLASS_LAYER
    from raydream.recipe import Recipe

    recipe = Recipe.load("quick", {"objective": list(layers), "backbone": file})
    backbone, logits = load_backbone(file, layers), _meter(load_backbone(file, [CLASS_LAYER]))
    found = []
    for n in chosen:
        image = codec.fit(codec.decode(Folder(plan.found.folder).read(plan.found.names[n])), recipe.size)
        (dream,) = engine.dream(image[None], recipe, backbone, [recipe.seed_of(plan.found.names[n])])
        pair = np.stack([image, dream])
        first, last = engine.measure(pair, recipe, backbone)
        ((before,), (after,)) = (logits(picture)[0][[plan.found.labels[n]]] for picture in pair)
        found.append(
            Dreamed(
                picture=codec.encode(dream),
                objective=(float(first), float(last)),
                logit=(float(before), float(after)),
            )
        )
    return found


def _activations(plan: Plan, file: str, layers: Sequence[str]) -> list[FeatureMap]:
    """For each layer, the mean activations of its channels: (images, channels)."""
    from raydream.core.networks.backbones import load_backbone

    measure = _meter(load_backbone(file, layers))
    names = [plan.found.names[n] for n in plan.members("test")[:_MEASURED]]
    images = [codec.from_uint8(picture(plan.found.folder, name, plan.job.size)) for name in names]
    return [np.stack(maps) for maps in zip(*map(measure, images), strict=True)]


def _meter(backbone: Backbone) -> Callable[[Image], list[FeatureMap]]:
    """A function that returns the mean over all positions of each layer's activations, (channels,), for an image."""
    import tensorflow as tf

    activations = tf.function(backbone.activations, autograph=False, reduce_retracing=True)

    def measure(image: Image) -> list[FeatureMap]:
        return [np.asarray(feature_map).mean(axis=(0, 1, 2)) for feature_map in activations(tf.constant(image[None]))]

    return measure
