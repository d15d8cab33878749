"""Objectives, and what all terms share.

A term reads a layer tile by tile. Its statistics are sums over positions, so those of an octave are the sums over its
tiles. Its value is a function of the statistics. If that function is linear, the gradients of the tiles also add up;
otherwise the statistics of all tiles must be known before the first gradient.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, NamedTuple

from raydream.types import FeatureMap, Tensor

HALVES = ("left", "right", "top", "bottom")  # masks that need no image
IMAGE_KEYS = ("guide", "style", "mask")  # keys of terms and recipes that name an image, each with a `*_digest`


class Reading(NamedTuple):
    """What a term reads of a tile.

    Attributes:
        activations: (batch, rows, columns, channels) of the term's layer.
        source: the same of the photographs, for terms that need them; else None.
        mask: (batch or 1, rows, columns) in [0, 1]; None for all positions alike.
        constants: see `Term.constants`.
    """

    activations: Tensor
    source: Tensor | None = None
    mask: Tensor | None = None
    constants: tuple[Tensor, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Term(ABC):
    """One term of an objective; the kinds are its subclasses.

    Attributes:
        layer: name of a layer of the backbone.
        weight: factor of the term's value; a negative one suppresses what the term measures.
        mask: where the term counts: `left`, `right`, `top`, `bottom` (soft halves), or the path or URL of an image in
            which white counts and black does not; None for everywhere.
        mask_digest: SHA-256 of the mask's file; filled in when a recipe is resolved.
    """

    layer: str = ""
    weight: float = 1.0
    mask: str | None = None
    mask_digest: str | None = None

    needs_source: ClassVar[bool] = False  # whether it reads the photographs' activations
    on_pixels: ClassVar[bool] = False  # whether it reads the pixels of the whole octave instead of a layer
    of_source: ClassVar[bool] = False  # whether its constants are computed from the photographs
    arguments: ClassVar[tuple[str, ...]] = ("weight",)  # attributes that are arguments of the traced functions

    @property
    def linear(self) -> bool:
        """Whether the value is linear in the statistics."""
        return True

    @property
    def masked(self) -> bool:
        """Whether its readings have a mask."""
        return self.mask is not None

    @property
    def pictures(self) -> tuple[str, ...]:
        """Names of the images that the constants are computed from."""
        return ()

    @property
    def lacks_image(self) -> bool:
        """Whether it has no image yet, as in presets for which the command line names one."""
        return "" in self.pictures

    @property
    def shape(self) -> Term:
        """The term without its arguments: terms of equal shape share their traced functions."""
        plain = {key: getattr(type(self), key) for key in self.arguments}
        return replace(self, mask=self.mask and "mask", mask_digest=None, **plain)

    @property
    def problem(self) -> str:
        """What is wrong with its attributes and what would be right; empty if nothing is."""
        return "" if self.layer or self.on_pixels else "layer is missing"

    @property
    def measured(self) -> Term | None:
        """A term whose statistics on an image give the constants; None if they are computed from the activations."""
        return None

    def constants(self, known: Sequence[FeatureMap], channels: int) -> tuple[FeatureMap, ...]:
        """Arrays that the term compares with.

        Args:
            known: for each of `pictures`, the statistics of `measured` per position, or else the activations (rows,
                columns, channels). If the constants are computed `of_source`, one array of the statistics of all
                photographs: (batch, ...).
            channels: number of channels of the layer.
        """
        return ()

    def statistics_shape(self, channels: int) -> tuple[int, ...]:
        """The shape of the statistics of an image, for a layer with this number of channels."""
        return ()

    @abstractmethod
    def statistics(self, reading: Reading) -> Tensor:
        """Sums over the positions of a tile: (batch, ...)."""

    def value(self, statistics: Tensor, positions: Tensor, constants: tuple[Tensor, ...]) -> Tensor:
        """The value of each image, (batch,), without the weight.

        Args:
            statistics: (batch, ...), summed over all tiles; for a linear term, those of one tile give its share.
            positions: number of positions of the layer over the whole octave; with a mask, the sum of its values.
            constants: those of the reading.
        """
        import tensorflow as tf

        return statistics / tf.cast(positions, statistics.dtype)


def summed(per_position: Tensor, reading: Reading) -> Tensor:
    """The sum over the positions of values (batch, rows, columns), times the mask: (batch,)."""
    import tensorflow as tf

    if reading.mask is not None:
        per_position = per_position * reading.mask
    return tf.reduce_sum(per_position, axis=(1, 2))


@dataclass(frozen=True)
class Objective:
    """A sum of terms. `+` and `-` combine objectives, `*` scales them, `sum()` works; each returns a new objective."""

    terms: tuple[Term, ...] = field(default=())

    def __add__(self, other: Objective) -> Objective:
        return Objective(self.terms + other.terms)

    def __radd__(self, other: object) -> Objective:
        if other != 0:  # the start of `sum`
            return NotImplemented
        return self

    def __neg__(self) -> Objective:
        return self * -1.0

    def __sub__(self, other: Objective) -> Objective:
        return self + -other

    def __mul__(self, factor: float) -> Objective:
        return Objective(tuple(replace(term, weight=term.weight * factor) for term in self.terms))

    __rmul__ = __mul__

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers of the terms without duplicates, in the order of the terms."""
        return tuple(dict.fromkeys(term.layer for term in self.terms if term.layer))

    @property
    def features(self) -> tuple[Term, ...]:
        """The terms that read a layer."""
        return tuple(term for term in self.terms if not term.on_pixels)

    @property
    def penalties(self) -> tuple[Term, ...]:
        """The terms that read the pixels."""
        return tuple(term for term in self.terms if term.on_pixels)

    @property
    def shape(self) -> Objective:
        """The objective without the arguments of its terms; see `Term.shape`."""
        return Objective(tuple(term.shape for term in self.terms))

    @property
    def linear(self) -> bool:
        """Whether the gradients of tiles add up without knowing the statistics of all tiles."""
        return all(term.linear for term in self.features)
