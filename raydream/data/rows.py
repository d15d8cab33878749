"""The contents of a data set: a row for each dream, a failure for each image that could not be dreamed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Row:
    """One dream of a data set. It holds no timings, so two equal runs give the same bytes.

    Attributes:
        id: path of the photograph below the input folder.
        label: class folder of the photograph; None if it has none.
        name: path of the dream, unique in the data set.
        dream, source: encoded pictures; the source is None if it is not kept.
        width, height: size of both pictures in pixels.
        seed: seed of the image's random numbers.
        recipe: digest of the recipe.
        objective_before, objective_after: objective of the photograph and of the dream, at full size.
    """

    id: str
    label: str | None
    name: str
    dream: bytes
    source: bytes | None
    width: int
    height: int
    seed: int
    recipe: str
    objective_before: float | None
    objective_after: float | None

    @property
    def facts(self) -> dict[str, Any]:
        """All but the pictures."""
        return {k: v for k, v in self.__dict__.items() if k not in ("dream", "source")}

    @property
    def pictures(self) -> Iterator[tuple[str, bytes]]:
        """(column, encoded picture) of each picture."""
        yield "dream", self.dream
        if self.source is not None:
            yield "source", self.source

    @property
    def size(self) -> int:
        """Size of the pictures in bytes."""
        return sum(len(data) for _, data in self.pictures)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An image that could not be dreamed, with the stage (`list`, `load`, `dream`, `write`) and the error."""

    id: str
    stage: str
    error: str


def printable(text: str) -> str:
    """Text that can be stored as UTF-8: other bytes of a file name are shown as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def label_of(id: str) -> str | None:
    """The class folder of an image: its folder, if it is below the input folder."""
    parent = id.rpartition("/")[0].rpartition("/")[2]
    return printable(parent) if parent else None
