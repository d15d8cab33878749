"""Frames of moving pictures: an endless zoom, the way from a photograph to its dream, and the dream of a video.

    recipe, backbone = raydream.api.loaded(raydream.Recipe.load("quick"))
    dreaming = motion.Dreaming(recipe, backbone, seed=0)
    for frame in motion.zoom(image, dreaming.part(0.1), 1.05): ...

Frames are float32 (height, width, 3) in [-1, 1]; they do not go through 8 bits. `movies` writes them to files.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from raydream import assets
from raydream.core import motion as moves
from raydream.recipe import Recipe
from raydream.types import Image

if TYPE_CHECKING:
    from raydream.core.engine import Step
    from raydream.core.networks.backbones import Backbone

# If less than this share of a frame can be traced back to the previous one, it begins a new scene.
_SAME_SCENE = 0.3


@dataclass(frozen=True, eq=False)
class Dreaming:
    """How frames are dreamed: always with the same seed, since another one would make them flicker.

    Attributes:
        recipe: the recipe, resolved or not; its size does not matter.
        backbone: a backbone that was loaded with the recipe's layers.
        seed: the seed of every frame.
    """

    recipe: Recipe
    backbone: Backbone
    seed: int

    def part(self, share: float) -> Dreaming:
        """The same with a share of the recipe's steps, at least one for each octave."""
        recipe = self.recipe
        steps = (recipe.steps,) * recipe.octaves if isinstance(recipe.steps, int) else recipe.steps
        part = tuple(max(1, round(share * number)) for number in steps)
        return replace(self, recipe=recipe.changed(steps=part))

    def steps(self, image: Image) -> Iterator[Step]:
        """The steps of the dream of an image (height, width, 3) in [-1, 1]."""
        from raydream.core import engine

        return engine.dream_steps(image[None], self.recipe, self.backbone, [self.seed], assets.pictures(self.recipe))

    def dream(self, image: Image) -> Image:
        """The dream of an image (height, width, 3) in [-1, 1]."""
        (last,) = deque(self.steps(image), maxlen=1)
        dream: Image = last.images[0].astype(np.float32, copy=False)
        return dream

    def number_of_steps(self, image: Image) -> int:
        """The number of steps of the dream of an image."""
        from raydream.core import engine

        sizes = engine.usable_sizes(image.shape[0], image.shape[1], self.recipe, self.backbone)
        return sum(self.recipe.steps_of(octave, len(sizes)) for octave in range(len(sizes)))


def zoom(
    image: Image, dreaming: Dreaming, factor: float = 1.03, degrees: float = 0.0, last: Image | None = None
) -> Iterator[Image]:
    """An endless zoom: each frame is the previous one, enlarged and dreamed again, in the photograph's colours.

    Args:
        image: the photograph, which is the first frame: (height, width, 3) in [-1, 1].
        dreaming: how each frame is dreamed: with few steps, such as those of `dreaming.part(0.1)`.
        factor: how much larger everything becomes from one frame to the next.
        degrees: clockwise rotation from one frame to the next.
        last: the frame after which to continue; None to begin.
    """
    if last is None:
        yield (last := image)
    while True:
        last = moves.with_colours_of(image, dreaming.dream(moves.zoomed(last, factor, degrees)))
        yield last


def morph(image: Image, dreaming: Dreaming, positions: Iterable[float]) -> Iterator[Image]:
    """The way from a photograph to its dream, in frames of the full size.

    During a small octave, a frame is the photograph plus the enlarged change that the dream has made so far.

    Args:
        image: the photograph: (height, width, 3) in [-1, 1].
        dreaming: how it is dreamed.
        positions: the step to show in each frame, ascending: 0 is the photograph, 1 the first step, and 1.5 lies
            halfway between two steps.
    """
    steps = dreaming.steps(image)
    before: Image | Step = image
    after: Image | Step = image
    at = 0
    for position in positions:
        while at < math.ceil(position):
            before, after, at = after, next(steps), at + 1
        weight = np.float32(position - (at - 1) if at else 1)
        shown = _full(after, image)
        yield shown if weight == 1 else (1 - weight) * _full(before, image) + weight * shown


def _full(shown: Image | Step, image: Image) -> Image:
    """A step's image at the size of the photograph `image`."""
    from raydream.core import pyramid
    from raydream.core.memory import tensor_of

    if isinstance(shown, np.ndarray):
        return shown
    dream = np.asarray(shown.images, np.float32)
    if shown.size != image.shape[:2]:
        size = (image.shape[0], image.shape[1])
        dream = np.asarray(pyramid.start(tensor_of(image[None]), size, tensor_of(dream), "detail", 0.0))
    return np.ascontiguousarray(dream[0])


def video(
    frames: Iterable[Image], dreaming: Dreaming, blend: float = 0.9, share: float = 0.1, last: Image | None = None
) -> Iterator[Image]:
    """Dreams a video. Each frame starts with the change that the dream made to the previous one.

    The change (dream minus frame) is moved along the optical flow, multiplied by `blend`, and added to the new frame
    where the flow can be trusted. Then the frame is dreamed with a share of the recipe's steps. Since the same seed and
    a new photograph enter each frame, dreams neither flicker nor drift. The first frame of a scene is dreamed with all
    steps.

    Args:
        frames: the frames, all of one size, in [-1, 1]. If there is a `last` one, they begin with the frame that it was
            made from.
        dreaming: how frames are dreamed.
        blend: share of the previous frame's change; 0 dreams each frame alone, with all steps.
        share: share of the recipe's steps for each frame that is not the first one of a scene.
        last: the dream after which to continue; None to begin.

    Raises:
        UsageError: OpenCV is not installed.
    """
    part = dreaming.part(share)
    before = None
    for frame in frames:
        if before is None and last is not None:
            before = frame
            continue
        start = None if before is None or last is None else carried(before, last, frame, blend)
        last = dreaming.dream(frame) if start is None else part.dream(start)
        before = frame
        yield last


def carried(before: Image, dream: Image, frame: Image, blend: float) -> Image | None:
    """The start image of a frame: the frame plus the change of the previous one, moved along the optical flow.

    Args:
        before: the previous frame, before its dream.
        dream: the dream of the previous frame.
        frame: the new frame; all of one size, in [-1, 1].
        blend: factor of the change; 0 to dream each frame alone.

    Returns:
        The start image, or None if nothing is carried: the frame belongs to a new scene.
    """
    if blend == 0:
        return None
    back, there = moves.flow(frame, before), moves.flow(before, frame)
    trusted = moves.trusted(back, there)
    if trusted.mean() < _SAME_SCENE:
        return None
    change = moves.warped(dream - before, back)
    return np.clip(frame + np.float32(blend) * trusted * change, -1, 1)
