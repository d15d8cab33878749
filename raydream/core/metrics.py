"""Scores of a dream: how strong it is, how much of its photograph is left, its colours, its seams, its motifs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from raydream.core import gradients, tiles
from raydream.core.context import NO_PICTURES, Pictures
from raydream.core.memory import tensor_of
from raydream.core.networks.backbones import Backbone
from raydream.core.objectives import Content
from raydream.core.octave import context_of
from raydream.recipe import Recipe
from raydream.types import Image

_LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue in the brightness (ITU-R BT.601)
# Linear sRGB to XYZ, divided by the white of D65 (IEC 61966-2-1).
_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_XYZ /= _XYZ.sum(axis=1, keepdims=True)
_SSIM_SIDE = 11  # pixels of the window of SSIM


class Network(NamedTuple):
    """A network that measures: the layers are those of the recipe's objective."""

    recipe: Recipe
    backbone: Backbone
    pictures: Pictures = NO_PICTURES


@dataclass(frozen=True, kw_only=True)
class Score:
    """The scores of a dream, or their means over several dreams. A score that has no value is NaN.

    Attributes:
        gain: mean of `gains`.
        gains: layer -> how much more it responds to the dream than to the photograph, divided by its response to the
            photograph: 0 for no change, 2 for three times the response. Where the weight of a term is negative, the
            sign is changed.
        transfer: the gain in another network than the one that dreamt; None if no other network measures.
        ssim: structural similarity of the brightness to that of the photograph, at most 1 (Wang et al., 2004).
        color_shift: mean distance from the photograph's colours in the a*b* plane of CIELAB; 2 can just be seen.
        seam: how visible the borders of tiles are; see `seam_score`. 1 is no seam.
        motif: mean wavelength in the spectrum of what the dream adds to the photograph, in pixels.
        strength: root mean square of what the dream adds to the photograph, in units of the range [-1, 1].
        seconds: time spent dreaming.
    """

    gain: float
    gains: Mapping[str, float]
    transfer: float | None
    ssim: float
    color_shift: float
    seam: float
    motif: float
    strength: float
    seconds: float

    @property
    def numbers(self) -> dict[str, float]:
        """All scores that are one number and known, by name."""
        return {name: value for name in NAMES if (value := getattr(self, name)) is not None}

    @classmethod
    def mean(cls, scores: Sequence[Score]) -> Score:
        """The mean of each score."""
        layers = scores[0].gains
        gains = {layer: float(np.mean([score.gains[layer] for score in scores])) for layer in layers}
        values: dict[str, Any] = {name: float(np.mean([s.numbers[name] for s in scores])) for name in scores[0].numbers}
        return cls(**{"transfer": None, **values, "gains": gains})


NAMES = tuple(field.name for field in fields(Score) if field.name != "gains")


def score(dream: Image, source: Image, own: Network, other: Network | None = None, seconds: float = 0.0) -> Score:
    """The scores of a dream.

    Args:
        dream, source: the dream and its photograph at the same size: (height, width, 3) in [-1, 1].
        own: the network that dreamt, with the recipe that it followed.
        other: another network, which measures the transfer.
        seconds: time spent dreaming.

    Raises:
        ValueError: the shapes differ, or are not (height, width, 3).
    """
    if dream.shape != source.shape or dream.ndim != 3 or dream.shape[2] != 3:
        raise ValueError(f"dream and source must both be (height, width, 3), not {dream.shape} and {source.shape}")
    found = gains(dream, source, own)
    return Score(
        gain=_mean(found),
        gains=found,
        transfer=_mean(gains(dream, source, other)) if other else None,
        ssim=ssim(dream, source),
        color_shift=color_shift(dream, source),
        seam=_seam(dream, own),
        motif=motif(dream, source),
        strength=float(np.sqrt(np.mean(np.square(dream - source, dtype=np.float64)))),
        seconds=seconds,
    )


def _mean(found: Mapping[str, float]) -> float:
    return float(np.mean(list(found.values()))) if found else math.nan


def gains(dream: Image, source: Image, network: Network) -> dict[str, float]:
    """Layer -> gain, averaged over its terms; see `Score.gains`. NaN for a term that is 0 on the photograph.

    `Content` terms are left out: they do not gain, they only say how much of the photograph is kept.
    """
    recipe, backbone, pictures = network
    images = [image[None].astype(backbone.dtype, copy=False) for image in (source, dream)]
    size = (source.shape[0], source.shape[1])
    context = context_of(tensor_of(images[0]), size, recipe, backbone, pictures)
    before, after = (np.asarray(gradients.values_of(i, recipe, backbone, context))[0].tolist() for i in images)
    found: dict[str, list[float]] = {}
    for term, old, new in zip(recipe.objective.terms, before, after, strict=True):
        if not (term.on_pixels or isinstance(term, Content)):
            gain = (new - old) / abs(old) if old else math.nan
            found.setdefault(term.layer, []).append(math.copysign(1.0, term.weight) * gain)
    return {layer: float(np.mean(values)) for layer, values in found.items()}


def ssim(dream: Image, source: Image) -> float:
    """The mean structural similarity of the brightness; NaN for images of fewer than 11 pixels per side."""
    import tensorflow as tf

    if min(source.shape[:2]) < _SSIM_SIDE:
        return math.nan
    grey = [tf.constant(_grey(image)[..., None], tf.float32) for image in (dream, source)]
    return float(tf.image.ssim(*grey, max_val=2.0, filter_size=_SSIM_SIDE))


def color_shift(dream: Image, source: Image) -> float:
    """The mean distance of the pixels' colours, without their lightness, in CIELAB."""
    return float(np.mean(np.linalg.norm(_ab(dream) - _ab(source), axis=-1)))


def _ab(image: Image) -> NDArray[np.float64]:
    """The a* and b* of CIELAB: (height, width, 2)."""
    share = np.clip(image.astype(np.float64) / 2 + 0.5, 0.0, 1.0)
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    x, y, z = np.moveaxis(_curve(linear @ _XYZ.T), -1, 0)
    return np.stack([500.0 * (x - y), 200.0 * (y - z)], axis=-1)


def _curve(xyz: NDArray[np.float64]) -> NDArray[np.float64]:
    edge = 6 / 29
    return np.where(xyz > edge**3, np.cbrt(xyz), xyz / (3 * edge**2) + 4 / 29)


def motif(dream: Image, source: Image) -> float:
    """The mean wavelength of what the dream adds to the brightness, in pixels; NaN if it adds nothing.

    It is the geometric mean, weighted with the power spectrum. A Hann window keeps the edges from counting.
    """
    added = _grey(dream) - _grey(source)
    height, width = added.shape
    window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1])
    power = np.abs(np.fft.fft2((added - added.mean()) * window)) ** 2
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    power[0, 0], frequency[0, 0] = 0.0, 1.0
    total = float(power.sum())
    return float(np.exp(-np.sum(power * np.log(frequency)) / total)) if total > 1e-12 else math.nan


def _grey(image: Image) -> NDArray[np.float64]:
    return image.astype(np.float64) @ np.array(_LUMA)


def _seam(dream: Image, network: Network) -> float:
    """The seam score at the borders of tiles; 1 for an image of one tile, which has none."""
    recipe = network.recipe
    lines = tiles.borders(dream.shape[0], dream.shape[1], recipe.tile, recipe.tiling, network.backbone)
    return seam_score(dream, *lines) if any(lines) else 1.0


def seam_score(image: NDArray[np.floating[Any]], rows: Sequence[int], columns: Sequence[int]) -> float:
    """How much more neighbouring pixels differ across the given lines than elsewhere.

    The mean squared difference across the lines over the mean elsewhere, along each axis that has lines, so that a
    picture whose content runs one way scores no seam. 1.0 means no seam, more an edge along the lines, less that
    they are smoother than the rest (as where tiles push their borders less). A line is few pixels: scores of single
    dreams scatter by a tenth, so take the mean of some.

    Args:
        image: (height, width, 3), any range.
        rows: horizontal lines: y is the border between the pixel rows y - 1 and y, from 1 to height - 1.
        columns: vertical lines, likewise from 1 to width - 1.

    Returns:
        The score, at least 0; 1.0 for an image that is flat at the lines and elsewhere.

    Raises:
        ValueError: not such an image, no lines, a line outside the image, or no place without a line.
    """
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image must be (height, width, 3), not {image.shape}")
    if not (len(rows) or len(columns)):
        raise ValueError("name at least one row or column")
    pixels = np.asarray(image, np.float64)
    pairs = [_across(pixels, axis, lines) for axis, lines in enumerate((rows, columns)) if len(lines)]
    across, elsewhere = (sum(part) for part in zip(*pairs, strict=True))
    if elsewhere == 0.0:
        return 1.0 if across == 0.0 else math.inf
    return float(across / elsewhere)


def _across(pixels: NDArray[np.float64], axis: int, lines: Sequence[int]) -> tuple[float, float]:
    """Mean squared difference of neighbours along an axis: across the lines, and elsewhere."""
    length = pixels.shape[axis]
    if min(lines) < 1 or max(lines) > length - 1:
        raise ValueError(f"lines must be from 1 to {length - 1}, not {list(lines)}")
    squares = np.mean(np.diff(pixels, axis=axis) ** 2, axis=(1 - axis, 2))
    chosen = np.zeros(length - 1, bool)
    chosen[np.asarray(lines) - 1] = True
    if chosen.all():
        raise ValueError("every line is named: nothing is left to compare with")
    return float(squares[chosen].mean()), float(squares[~chosen].mean())
