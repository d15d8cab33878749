"""The dream loop: gradient ascent of an objective over the octaves of an image.

`dream_steps` is an iterator of `Step` events; progress bars, animations and early stopping are its readers, and
`dream` is its last image. The engine prints nothing and writes nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raydream.core import gradients, pyramid, tiles
from raydream.core.networks.backbones import Backbone
from raydream.core.objectives.terms import Objective
from raydream.errors import UsageError
from raydream.recipe import Recipe
from raydream.types import Images, StepRule


@dataclass(frozen=True, eq=False, repr=False)
class Step:
    """One update of a whole octave.

    Attributes:
        octave, octaves: which octave, from 0 (the smallest), of how many.
        step, steps: which step of this octave, from 0, of how many.
        size: (height, width) of the octave.
    """

    octave: int
    octaves: int
    step: int
    steps: int
    size: tuple[int, int]
    _images: Any
    _objective: Any

    @property
    def objective(self) -> tuple[float, ...]:
        """Objective of each image just before this step; reading it waits for the device."""
        return tuple(float(value) for value in self._objective)

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


def dream(images: Images, recipe: Recipe, backbone: Backbone, seeds: Sequence[int]) -> Images:
    """Dreams a batch of images: arguments as `dream_steps`, the result shaped as `images`."""
    steps = dream_steps(images, recipe, backbone, seeds)
    del images  # if the caller keeps none either, a large image costs one copy less
    (last,) = deque(steps, maxlen=1)
    return last.images


def dream_steps(images: Images, recipe: Recipe, backbone: Backbone, seeds: Sequence[int]) -> Iterator[Step]:
    """Dreams a batch of images, step by step.

    Args:
        images: (batch, height, width, 3) in [-1, 1]; not to be changed meanwhile. Each image is dreamed on its own:
            its seed, its roll, its gradient's normalisation; a batch is only a faster way to do the same work.
        recipe: what to do.
        backbone: loaded for the recipe's layers.
        seeds: one per image; the same seed gives the same dream.

    Yields:
        A `Step` per update.

    Raises:
        UsageError: the images are not such an array, or are too small for the backbone.
    """
    _check(images, seeds)
    sizes = usable_sizes(images.shape[1], images.shape[2], recipe, backbone)
    source = _tensor(images.astype(backbone.dtype, copy=False))
    del images  # large images: hold no copy longer than it is needed
    ascend = _ascend(recipe.step_rule, recipe.smoothing, recipe.chroma, backbone.dtype)
    randoms = [np.random.Generator(np.random.Philox(seed)) for seed in seeds]
    dreams = None
    for octave, size in enumerate(sizes):
        steps = recipe.steps_of(octave, len(sizes))
        dreams = pyramid.start(source, size, dreams, recipe.carry, recipe.blend)
        if octave == len(sizes) - 1:
            del source
        for step in range(steps):
            shifts = [(int(r.integers(size[0])), int(r.integers(size[1]))) for r in randoms]
            gradient, value = gradient_of(dreams, recipe, backbone, shifts)
            dreams = ascend(dreams, gradient, recipe.step_size, (step + 1) / steps)
            del gradient
            yield Step(octave, len(sizes), step, steps, size, dreams, value)


def usable_sizes(height: int, width: int, recipe: Recipe, backbone: Backbone) -> list[tuple[int, int]]:
    """Sizes of the recipe's octaves, less those so small that a layer has no cell left.

    Raises:
        UsageError: not even the full size is large enough.
    """
    sizes = pyramid.sizes(height, width, recipe.octaves, recipe.octave_scale)
    usable = [s for s in sizes if all(min(a.cells(n)) for a, n in zip(backbone.axes, s, strict=True))]
    if not usable:
        least = next(n for n in range(1, 4096) if all(min(axis.cells(n)) for axis in backbone.axes))
        raise UsageError(
            f"image of {width}x{height} pixels is too small for {backbone.name}: "
            f"these layers need at least {least} pixels a side"
        )
    return usable


def gradient_of(images: Any, recipe: Recipe, backbone: Backbone, shifts: Sequence[tuple[int, int]]) -> tuple[Any, Any]:
    """The objective's gradient at (batch, height, width, 3), tile by tile, and its value (batch,).

    The images are rolled by `shifts` before they are cut, and the gradient is rolled back.
    """
    _, ascent = _traced(backbone, recipe.objective)
    pieces, totals = tiles.plan(images.shape[1], images.shape[2], recipe.tile, recipe.tiling, backbone)
    rolled = tiles.roll(images, shifts)
    if len(pieces) == 1:
        gradient, value = ascent(rolled, pieces[0].crops, totals)
    else:
        # In a NumPy array: neither reading nor assigning a slice of a tf.Variable goes without a copy of all of it.
        whole, value = np.zeros(rolled.shape, backbone.dtype), 0.0
        for piece in pieces:
            part, part_value = ascent(rolled[piece.window], piece.crops, totals)
            whole[piece.window] += np.asarray(part)
            value = value + part_value
        del rolled
        gradient = _tensor(whole)
        del whole
    return tiles.roll(gradient, [(-rows, -columns) for rows, columns in shifts]), value


def measure(images: Images, recipe: Recipe, backbone: Backbone) -> NDArray[np.float64]:
    """Objective of each image (batch, height, width, 3) as it is, without rolling: shape (batch,).

    Raises:
        UsageError: the images are too small for the backbone.
    """
    import tensorflow as tf

    usable_sizes(images.shape[1], images.shape[2], recipe.changed(octaves=1, steps=1), backbone)
    value, _ = _traced(backbone, recipe.objective)
    pieces, totals = tiles.plan(images.shape[1], images.shape[2], recipe.tile, recipe.tiling, backbone)
    windows = (tf.constant(images[piece.window], backbone.dtype) for piece in pieces)
    parts = [np.asarray(value(window, p.crops, totals), np.float64) for window, p in zip(windows, pieces, strict=True)]
    return np.asarray(np.sum(parts, axis=0))


@lru_cache(maxsize=8)
def _traced(backbone: Backbone, objective: Objective) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The objective, and its gradient with its value: functions of (tile, crops, totals), one trace for all sizes.

    `crops` are the cells of each layer that count, `totals` the cells of each layer over the whole octave.
    """
    import tensorflow as tf

    order = [backbone.layers.index(layer) for layer in objective.layers]

    def value(tile: Any, crops: Any, totals: Any) -> Any:
        planes = backbone.activations(tile)
        counted = [planes[i][:, crops[i, 0] : crops[i, 1], crops[i, 2] : crops[i, 3]] for i in order]
        return objective.value(counted, [totals[i] for i in order])

    def gradient(tile: Any, crops: Any, totals: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            tape.watch(tile)
            here = value(tile, crops, totals)
        return tape.gradient(here, tile), here

    signature = [
        tf.TensorSpec([None, None, None, 3], backbone.dtype),
        tf.TensorSpec([len(backbone.layers), 4], tf.int32),
        tf.TensorSpec([len(backbone.layers)], tf.int32),
    ]
    return (
        tf.function(value, input_signature=signature, autograph=False),
        tf.function(gradient, input_signature=signature, autograph=False),
    )


@lru_cache(maxsize=8)
def _ascend(rule: StepRule, smoothing: float, chroma: float, dtype: str) -> Callable[..., Any]:
    """The traced update: (images, gradient, step size, progress) -> images."""
    import tensorflow as tf

    plane, number = tf.TensorSpec([None, None, None, 3], dtype), tf.TensorSpec([], dtype)

    def ascend(images: Any, gradient: Any, step_size: Any, progress: Any) -> Any:
        direction = gradients.condition(gradient, rule, smoothing, chroma, progress)
        return tf.clip_by_value(images + step_size * direction, -1.0, 1.0)

    signature = [plane, plane, number, number]
    return tf.function(ascend, input_signature=signature, autograph=False)  # type: ignore[no-any-return]


def _tensor(array: Images) -> Any:
    """A large array as a tensor, for the price of one copy; the array must not change afterwards.

    `tf.convert_to_tensor` makes two, and TensorFlow lets go of an array only when it is given the next one.
    """
    import tensorflow as tf

    tensor = tf.raw_ops.Identity(input=array)
    tf.raw_ops.Identity(input=np.zeros(1))
    return tensor


def _check(images: Images, seeds: Sequence[int]) -> None:
    if images.ndim != 4 or images.shape[-1] != 3 or not images.size:
        raise UsageError(f"images must be (batch, height, width, 3), not {images.shape}")
    if not np.issubdtype(images.dtype, np.floating) or not (images.min() >= -1.000001 and images.max() <= 1.000001):
        raise UsageError("images must be floating point in [-1, 1]: see codec.decode and codec.from_uint8")
    if len(seeds) != len(images):
        raise UsageError(f"{len(images)} images need as many seeds, not {len(seeds)}")
