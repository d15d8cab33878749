"""What the driver prepares for the workers: the dreams, and the trained network whose features the critic sees."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from raydream import assets, runtime
from raydream.data import storage
from raydream.data.dreams import Dreams, find_dreams, find_recipe
from raydream.data.examining import UNREADABLE, examine, write_unreadable
from raydream.data.storage import Folder
from raydream.errors import UsageError, nearest
from raydream.jobs.dreaming.prepare import with_absolute_paths
from raydream.jobs.generating.job import GanTraining
from raydream.jobs.train.photographs import HELD_OUT, split
from raydream.jobs.trained_network import TrainedNetwork, absolute
from raydream.pages.cards import recipe_name
from raydream.recipe import DEFAULT_WEIGHTS, Recipe
from raydream.types import Tensor

if TYPE_CHECKING:
    from raydream.core.networks.backbones import Backbone

LEAST_DREAMS = 6 * HELD_OUT  # density and coverage need six held-out ones
MIN_SIDE = 64  # pixels: smaller pictures are enlarged, or deep feature maps would be empty
_DEPTHS = (0.0, 1 / 3, 2 / 3)  # of the default layers, among those that are large enough
_POSITIONS = 2  # per side: the least of a default layer


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The dreams of a run.

    Attributes:
        job: the settings.
        folder: path or URL of the dreams' folder.
        learnt, held_out: names of the dreams for training, and of those for the metrics.
        recipe: a resolved recipe, whose objective measures dreaminess.
        made_by: name or digest of the dreams' own recipe; empty if it is not known.
        digest: SHA-256 of the names and digests of the dreams, in hexadecimal.
    """

    job: GanTraining
    folder: str
    learnt: list[str]
    held_out: list[str]
    recipe: Recipe
    made_by: str
    digest: str


def prepare(job: GanTraining) -> GanTraining:
    """The job with absolute paths, and with the weights and layers filled in; configures TensorFlow for the driver.

    Raises:
        UsageError: the network cannot be used, or has no such layer.
    """
    runtime.driver()
    network: dict[str, Any] = absolute(job, DEFAULT_WEIGHTS.get(job.backbone))
    job = replace(job, data=storage.absolute(job.data), output=storage.absolute(job.output), **network)
    if job.recipe:
        Recipe.load(job.recipe)  # mistakes are found before any work
    storage.check_writable(job.output)
    storage.check_apart(job.data, job.output, "the next run would read its own output")
    return replace(job, layers=FeatureNetwork(job).layers)


def make_plan(job: GanTraining, say: Callable[[str], None]) -> Plan:
    """Finds the dreams, and examines each of them; says which cannot be used.

    Raises:
        UsageError: too few dreams can be used.
    """
    found = find_dreams(job.data, Folder(job.output), say)
    good = _usable(job, found, say)
    if len(good) < LEAST_DREAMS:
        raise UsageError(f"data {job.data} has {len(good)} dreams that can be used: at least {LEAST_DREAMS} are needed")
    own = _recipe(job, found, next(iter(good)), say)
    measure = Recipe.load(job.recipe) if job.recipe else own or Recipe.load("natural-dreams")
    learnt, held_out = split(list(good))
    return Plan(
        job=job,
        folder=found.folder,
        learnt=learnt,
        held_out=held_out,
        recipe=assets.resolve(with_absolute_paths(measure)),
        made_by=recipe_name(own) if own else "",
        digest=hashlib.sha256(json.dumps(good).encode()).hexdigest(),
    )


def _recipe(job: GanTraining, found: Dreams, name: str, say: Callable[[str], None]) -> Recipe | None:
    """The recipe of the dreams, resolved; None if it is not known, or cannot be used here."""
    try:
        recipe = find_recipe(job.data, found, name)
        return recipe and assets.resolve(recipe)
    except UsageError as error:
        say(f"the recipe of the dreams cannot be used: {error}")
        return None


def _usable(job: GanTraining, found: Dreams, say: Callable[[str], None]) -> dict[str, str]:
    """Name -> digest of the dreams that can be read and are as large as a crop; the others are listed in a file."""
    seen = dict(zip(found.names, examine(Folder(found.folder), found.names), strict=True))
    broken = [(name, each.error) for name, each in seen.items() if each.error]
    small = [
        (name, f"{each.width}x{each.height} pixels")
        for name, each in seen.items()
        if not each.error and min(each.width, each.height) < job.size
    ]
    for rows, why in ((broken, "cannot be read"), (small, f"are smaller than {job.size} pixels (--size)")):
        if rows:
            some = f"such as {rows[0][0]} ({rows[0][1]}): see {UNREADABLE}"
            say(f"{len(rows):,} of {len(seen):,} dreams {why} and are left out, {some}")
    write_unreadable(Folder(job.output), [*broken, *small])
    left_out = {name for name, _ in (*broken, *small)}
    return {name: each.digest for name, each in seen.items() if name not in left_out}


@dataclass(frozen=True)
class FeatureNetwork(TrainedNetwork):
    """The trained network whose features the critic sees, and the metrics compare."""

    job: GanTraining

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that the critic sees; by default three of increasing depth.

        Raises:
            UsageError: there is no such layer, or its feature map is empty for pictures of the job's size.
        """
        known = self.layers_with_names
        for layer in self.job.layers:
            if layer not in known:
                raise UsageError(f"--layers: there is no layer {layer!r}: {nearest(layer, known)}")
        positions = self._positions(known)
        for layer in self.job.layers:
            if not positions[layer]:
                raise UsageError(
                    f"--layers: the feature map of {layer} is empty for pictures of {self.job.size} pixels: "
                    "use an earlier layer, or a larger --size"
                )
        if self.job.layers:
            return tuple(layer for layer in known if layer in self.job.layers)
        usable = [name for name in known if positions[name] >= _POSITIONS]
        if not usable:
            raise UsageError(
                f"--backbone {self.job.backbone}: all feature maps are too small for pictures of {self.job.size} "
                "pixels: use a larger --size"
            )
        return tuple(dict.fromkeys(usable[round(depth * (len(usable) - 1))] for depth in _DEPTHS))

    def _positions(self, layers: Sequence[str]) -> dict[str, int]:
        """Layer -> positions per side, for a picture of the job's size."""
        backbone = self._cut_at(layers)
        counts = [axis.positions(max(MIN_SIDE, self.job.size)) for axis in backbone.axes]
        return {layer: min(pair) for layer, *pair in zip(layers, *counts, strict=True)}

    def _cut_at(self, layers: Sequence[str]) -> Backbone:
        from raydream.core.networks import backbones

        backbone = backbones.backbone_of(self.whole.model, layers, self.job.backbone)
        return replace(backbone, vgg=backbones.is_vgg(self.whole.architecture))

    @cached_property
    def _fine(self) -> list[str]:
        """The inputs of the max poolings before the first named layer: they have the finest details."""
        from raydream.core.networks.graph import nodes

        named, found = self.layers_with_names, list[str]()
        for layer, inputs in nodes(self.whole.model):
            if layer.name in named:
                break
            found += inputs if "MaxPooling" in type(layer).__name__ else []
        return found

    @cached_property
    def backbone(self) -> Backbone:
        """The network, cut at the layers that the critic sees."""
        return self._cut_at([*self._fine, *self.job.layers])

    @cached_property
    def last(self) -> Backbone:
        """The network, cut at its last named layer, whose features the metrics compare."""
        return self._cut_at(self.layers_with_names[-1:])

    def features(self, images: Tensor) -> list[Tensor]:
        """What the critic sees of images (n, size, size, 3) in [-1, 1]."""
        import tensorflow as tf

        if images.shape[1] < MIN_SIDE:
            images = tf.image.resize(images, (MIN_SIDE, MIN_SIDE))
        return self.backbone.activations(images)

    def shapes(self) -> list[tuple[int, ...]]:
        """(rows, columns, channels) of each layer that the critic sees."""
        import tensorflow as tf

        maps = self.features(tf.zeros((1, self.job.size, self.job.size, 3)))
        return [tuple(map(int, each.shape[1:])) for each in maps]
