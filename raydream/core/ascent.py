"""The steps of one octave: from the gradient of the objective to the next image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from raydream.core import gradients, masks, pyramid, transforms
from raydream.core.canvas import Canvas, Fourier, Pixels
from raydream.core.context import Context, Pictures
from raydream.core.networks.backbones import Backbone
from raydream.core.octave import context_of
from raydream.core.update import Adam, Conditioning, conditioned, update
from raydream.recipe import Recipe
from raydream.types import Size, Tensor


class Ascent(ABC):
    """The images of an octave, and how they change."""

    def __init__(self, images: Tensor, recipe: Recipe, backbone: Backbone, context: Context) -> None:
        self._images, self._recipe, self._backbone, self._context = images, recipe, backbone, context
        self._conditioning = Conditioning(
            rule=recipe.step_rule,
            bands=recipe.bands,
            smoothing=recipe.smoothing,
            chroma=recipe.chroma,
            keep=recipe.keep,
            masked=recipe.mask is not None,
        )

    @staticmethod
    def start(images: Tensor, source: Tensor, recipe: Recipe, backbone: Backbone, pictures: Pictures) -> Ascent:
        """The ascent of a recipe.

        Args:
            images: the images that the octave starts from: (batch, height, width, 3).
            source: the photographs, of any size.
            recipe, backbone, pictures: see `engine.dream_steps`.
        """
        size = (images.shape[1], images.shape[2])
        context = context_of(source, size, recipe, backbone, pictures)
        if recipe.balance == "source":
            context = _balanced(context, pyramid.resize(source, size), recipe, backbone)
        if recipe.canvas == "fourier" or recipe.optimizer == "adam":
            return _OnCanvas(images, recipe, backbone, context)
        return _OnPixels(images, recipe, backbone, context, _protected(source, size, recipe, pictures))

    @abstractmethod
    def step(self, randoms: Sequence[np.random.Generator], progress: float) -> tuple[Tensor, Tensor]:
        """One step; returns the images after it, and their objective (batch,) before it.

        Args:
            randoms: the random number generator of each image.
            progress: (step + 1) / steps of the octave.
        """

    def _gradient(self, randoms: Sequence[np.random.Generator]) -> tuple[Tensor, Tensor]:
        """The gradient with respect to the images, which are rolled (and transformed) at random, and the value."""
        size = (self._images.shape[1], self._images.shape[2])
        shifts = [(int(r.integers(size[0])), int(r.integers(size[1]))) for r in randoms]
        recipe = self._recipe
        if not (recipe.rotate or recipe.rescale):
            return gradients.gradient_of(self._images, recipe, self._backbone, shifts, self._context)
        drawn = [transforms.draw(r, recipe.rotate, recipe.rescale, size) for r in randoms]
        moved = transforms.apply(self._images, drawn)
        gradient, objective = gradients.gradient_of(moved, recipe, self._backbone, shifts, _moved(self._context, drawn))
        return transforms.backpropagate(self._images, drawn, gradient), objective


def _moved(context: Context, drawn: Sequence[Sequence[float]]) -> Context:
    """The context with its photographs and masks transformed as the images are."""
    import tensorflow as tf

    source, found = context.source, context.masks
    if source is not None:
        source = transforms.apply(source, drawn)
    if found is not None:
        found = transforms.apply(tf.repeat(found, len(drawn), axis=0), drawn)
    return replace(context, source=source, masks=found)


def _balanced(context: Context, source: Tensor, recipe: Recipe, backbone: Backbone) -> Context:
    """The context with each weight divided by the size of its term's value on the photographs.

    Terms that compare with the photograph keep their weight, since their value on it says nothing.
    """
    import tensorflow as tf

    sizes = tf.abs(gradients.values_of(np.asarray(source), recipe, backbone, context))
    known = tf.logical_and([not term.needs_source for term in recipe.objective.terms], sizes > 0.0)
    return replace(context, weights=context.weights / tf.where(known, sizes, tf.ones_like(sizes)))


def _protected(source: Tensor, size: Size, recipe: Recipe, pictures: Pictures) -> tuple[Tensor, Tensor]:
    """The recipe's mask (1, height, width, 1), and the photographs for `keep`; dummies where the recipe has none."""
    import tensorflow as tf

    mask, kept = tf.ones([1, 1, 1, 1], source.dtype), tf.zeros([1, 1, 1, 3], source.dtype)
    if recipe.mask is not None:
        mask = tf.constant(masks.mask(recipe.mask, size, pictures.images)[None, :, :, None], source.dtype)
    if recipe.keep != "none":
        kept = pyramid.resize(source, size)
    return mask, kept


class _OnPixels(Ascent):
    """Gradient ascent on the pixels."""

    def __init__(
        self, images: Tensor, recipe: Recipe, backbone: Backbone, context: Context, protected: tuple[Tensor, Tensor]
    ) -> None:
        super().__init__(images, recipe, backbone, context)
        self._mask, self._source = protected

    def step(self, randoms: Sequence[np.random.Generator], progress: float) -> tuple[Tensor, Tensor]:
        """See `Ascent.step`."""
        gradient, objective = self._gradient(randoms)
        ascend = update(self._conditioning, self._backbone.dtype)
        numbers = self._recipe.step_size, progress
        self._images = ascend(self._images, gradient, numbers, self._mask, self._source)
        return self._images, objective


class _OnCanvas(Ascent):
    """Gradient ascent or Adam on the coefficients of a canvas."""

    def __init__(self, images: Tensor, recipe: Recipe, backbone: Backbone, context: Context) -> None:
        super().__init__(images, recipe, backbone, context)
        size = (images.shape[1], images.shape[2])
        self._canvas: Canvas = Fourier(size, backbone.dtype) if recipe.canvas == "fourier" else Pixels()
        self._coefficients = self._canvas.coefficients(images)
        self._images = self._canvas.images(self._coefficients)
        self._adam = Adam(recipe.step_size) if recipe.optimizer == "adam" else None

    def step(self, randoms: Sequence[np.random.Generator], progress: float) -> tuple[Tensor, Tensor]:
        """See `Ascent.step`."""
        gradient, objective = self._gradient(randoms)
        wanted = conditioned(self._conditioning, self._backbone.dtype)(gradient, progress)
        slope = self._canvas.backpropagate(self._coefficients, wanted)
        if self._adam:
            moved = self._adam(self._coefficients, slope)
        else:
            moved = self._coefficients + self._recipe.step_size * slope
        self._coefficients = self._canvas.limited(moved)
        self._images = self._canvas.images(self._coefficients)
        return self._images, objective
