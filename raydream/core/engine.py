"""The dream loop: gradient ascent of an objective over the octaves of an image.

`dream_steps` is an iterator of `Step` events, for progress bars, animations and early stopping. `dream` returns the
images of the last step. The engine prints nothing and writes nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from raydream.core import gradients, masks, pyramid
from raydream.core.ascent import Ascent
from raydream.core.context import NO_PICTURES, Pictures
from raydream.core.memory import tensor_of
from raydream.core.networks.backbones import Backbone
from raydream.core.octave import context_of
from raydream.errors import UsageError
from raydream.recipe import Recipe
from raydream.types import Images, Size, Tensor


@dataclass(frozen=True, eq=False, repr=False)
class Step:
    """One update of a whole octave.

    Attributes:
        octave, octaves: number of the octave, from 0 (the smallest), and total number of octaves.
        step, steps: number of the step in this octave, from 0, and total number of steps in this octave.
        size: (height, width) of the octave in pixels.
    """

    octave: int
    octaves: int
    step: int
    steps: int
    size: Size
    _images: Tensor
    _objective: Tensor

    @property
    def objective(self) -> tuple[float, ...]:
        """Objective of each image just before this step; reading it waits for the device."""
        return tuple(float(value) for value in np.asarray(self._objective))

    @property
    def images(self) -> Images:
        """The images after this step: (batch, height, width, 3) in [-1, 1]; reading it waits for the device."""
        return np.asarray(self._images)

    def __repr__(self) -> str:
        height, width = self.size
        where = f"octave {self.octave + 1}/{self.octaves} {width}x{height}, step {self.step + 1}/{self.steps}"
        return f"<Step: {where}, objective {', '.join(f'{value:.3g}' for value in self.objective)}>"

    def _repr_png_(self) -> bytes:
        """What a notebook shows: the images side by side."""
        from raydream.data import codec

        return codec.encode(np.concatenate(list(self.images), axis=1))


def dream(
    images: Images, recipe: Recipe, backbone: Backbone, seeds: Sequence[int], pictures: Pictures = NO_PICTURES
) -> Images:
    """Dreams a batch of images; arguments as for `dream_steps`. Returns the dreams, with the shape of `images`."""
    steps = dream_steps(images, recipe, backbone, seeds, pictures)
    del images  # see `memory`: saves a copy of a large image if the caller has no reference to it
    (last,) = deque(steps, maxlen=1)
    return last.images


def dream_steps(
    images: Images, recipe: Recipe, backbone: Backbone, seeds: Sequence[int], pictures: Pictures = NO_PICTURES
) -> Iterator[Step]:
    """Dreams a batch of images, step by step.

    Args:
        images: (batch, height, width, 3) in [-1, 1]. Each image has its own seed, roll and gradient normalisation; a
            batch only makes the same work faster.
        recipe: the recipe to follow.
        backbone: a backbone that was loaded with the recipe's layers.
        seeds: one per image; the same seed gives the same dream.
        pictures: the guides, styles and masks that the recipe names; see `assets.pictures`.

    Returns:
        An iterator of `Step` events, one per update. Reading it does the work.

    Raises:
        UsageError: the shape, type or range of the images is wrong, they are too small for the backbone, or a mask has
            another shape.
    """
    _check(images, seeds)
    sizes = usable_sizes(images.shape[1], images.shape[2], recipe, backbone)
    for name in [recipe.mask, *(term.mask for term in recipe.objective.terms)]:
        if name is not None:
            masks.check(name, sizes[-1], pictures.images)
    source = tensor_of(images.astype(backbone.dtype, copy=False))
    randoms = [np.random.Generator(np.random.Philox(seed)) for seed in seeds]
    return _steps(source, sizes, _Work(recipe, backbone, pictures), randoms)


class _Work(NamedTuple):
    """What stays the same during a dream."""

    recipe: Recipe
    backbone: Backbone
    pictures: Pictures


def _steps(
    source: Tensor, sizes: Sequence[Size], work: _Work, randoms: Sequence[np.random.Generator]
) -> Iterator[Step]:
    recipe = work.recipe
    dreams = None
    for octave, size in enumerate(sizes):
        dreams = pyramid.start(source, size, dreams, recipe.carry, recipe.blend)
        ascent = Ascent.start(dreams, source, *work)
        if octave == len(sizes) - 1:
            del source  # see `memory`: saves a copy of a large image
        del dreams
        steps = recipe.steps_of(octave, len(sizes))
        for step in range(steps):
            dreams, objective = ascent.step(randoms, (step + 1) / steps)
            yield Step(octave, len(sizes), step, steps, size, dreams, objective)


def usable_sizes(height: int, width: int, recipe: Recipe, backbone: Backbone) -> list[Size]:
    """Sizes of the recipe's octaves, without those that are too small: a layer would have no position.

    Raises:
        UsageError: even the full size is too small.
    """
    sizes = pyramid.sizes(height, width, recipe.octaves, recipe.octave_scale)
    usable = [s for s in sizes if all(min(a.positions(n)) for a, n in zip(backbone.axes, s, strict=True))]
    if not usable:
        least = next(n for n in range(1, 4096) if all(min(axis.positions(n)) for axis in backbone.axes))
        raise UsageError(
            f"image of {width}x{height} pixels is too small for {backbone.name}: "
            f"these layers need at least {least} pixels per side"
        )
    return usable


def measure(
    images: Images,
    recipe: Recipe,
    backbone: Backbone,
    pictures: Pictures = NO_PICTURES,
    source: Images | None = None,
) -> NDArray[np.float64]:
    """Objective of each image (batch, height, width, 3) in [-1, 1], without rolling: shape (batch,).

    Args:
        images: the images.
        recipe, backbone, pictures: see `dream_steps`.
        source: their photographs, for objectives that compare with them; None if the images are photographs.

    Raises:
        UsageError: the images are too small for the backbone.
    """
    usable_sizes(images.shape[1], images.shape[2], recipe.changed(octaves=1, steps=1), backbone)
    photographs = tensor_of((images if source is None else source).astype(backbone.dtype, copy=False))
    size = (images.shape[1], images.shape[2])
    known = context_of(photographs, size, recipe, backbone, pictures)
    return gradients.value_of(images, recipe, backbone, known)


def _check(images: Images, seeds: Sequence[int]) -> None:
    if images.ndim != 4 or images.shape[-1] != 3 or not images.size:
        raise UsageError(f"images must be (batch, height, width, 3), not {images.shape}")
    if not np.issubdtype(images.dtype, np.floating) or not (images.min() >= -1.000001 and images.max() <= 1.000001):
        raise UsageError("images must be floating point in [-1, 1]: see codec.decode and codec.from_uint8")
    if len(seeds) != len(images):
        raise UsageError(f"{len(images)} images need {len(images)} seeds, not {len(seeds)}")
