"""What a data set holds: a row for each dream, a failure for each image that could not be dreamed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Row:
    """One dream of a data set. It holds no timings: two equal runs give the same bytes.

    Attributes:
        id: path of the photograph below the input folder.
        label: its class folder, if it has one.
        name: path of the dream, unique in the data set.
        dream, source: encoded pictures; the source if it is kept.
        width, height: of both, in pixels.
        seed: of the image's random stream.
        recipe: digest of the recipe.
        objective_before, objective_after: of the photograph and of the dream, at full size.
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
        """(column, encoded picture) of those that there are."""
        yield "dream", self.dream
        if self.source is not None:
            yield "source", self.source

    @property
    def size(self) -> int:
        """Bytes of the pictures."""
        return sum(len(data) for _, data in self.pictures)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An image that could not be dreamed: at which stage (`list`, `load`, `dream`, `write`), and why."""

    id: str
    stage: str
    error: str


def printable(text: str) -> str:
    """Text that can be stored as UTF-8: bytes of a file name that are not UTF-8 are shown as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def label_of(id: str) -> str | None:
    """The class folder of an image: the folder that it lies in, below the input."""
    parent = id.rpartition("/")[0].rpartition("/")[2]
    return printable(parent) if parent else None
