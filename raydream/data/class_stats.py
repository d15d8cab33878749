"""Counts the images of each class: how many, how large, and what is wrong with them."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from raydream.data import labelled
from raydream.data.examining import Examined, examine
from raydream.data.labelled import Labelled
from raydream.data.storage import Folder
from raydream.errors import UsageError

_FEW = 0.2  # of the median number of images: a class with fewer is much smaller than the others
_NAMED = 3  # images or classes that a warning names


@dataclass(kw_only=True)
class ClassStats:
    """Figures of a class.

    Attributes:
        parts: split -> number of images; one entry without a name if the input is not split.
        median, smallest: (width, height) in pixels of the image with the median area, and with the smallest; None if
            no image can be read.
        bytes: size of all files.
        unreadable: number of images that cannot be decoded.
        duplicates: number of files that are equal to an earlier one of the class.
    """

    parts: Counter[str] = field(default_factory=Counter)
    median: tuple[int, int] | None = None
    smallest: tuple[int, int] | None = None
    bytes: int = 0
    unreadable: int = 0
    duplicates: int = 0

    @property
    def images(self) -> int:
        """Number of all images."""
        return self.parts.total()


@dataclass(frozen=True, kw_only=True)
class Stats:
    """Figures of labelled images: class -> figures; those of all images; warnings of one line each."""

    classes: dict[str, ClassStats]
    total: ClassStats
    warnings: list[str]


def measure(source: str, found: Labelled, advance: Callable[[int, int], None]) -> Stats:
    """Reads all images. `advance` gets numbers of read and of unreadable images."""
    facts: list[Examined] = []
    for one in examine(Folder(found.folder), found.names):
        facts.append(one)
        advance(1, 1 if one.error else 0)
    numbers = [[n for n, label in enumerate(found.labels) if label == one] for one in range(len(found.classes))]
    classes = {name: _stats(found, facts, of) for name, of in zip(found.classes, numbers, strict=True)}
    total = _stats(found, facts, range(len(facts)))
    total.duplicates = sum(one.duplicates for one in classes.values())
    return Stats(classes=classes, total=total, warnings=_warnings(source, found, facts, classes))


def _stats(found: Labelled, facts: list[Examined], numbers: list[int] | range) -> ClassStats:
    some = [facts[n] for n in numbers]
    sizes = sorted(((f.width, f.height) for f in some if not f.error), key=lambda size: size[0] * size[1])
    digests = [f.digest for f in some if f.digest]
    return ClassStats(
        parts=Counter(found.given[n] if found.given else "" for n in numbers),
        median=sizes[(len(sizes) - 1) // 2] if sizes else None,
        smallest=sizes[0] if sizes else None,
        bytes=sum(f.bytes for f in some),
        unreadable=sum(bool(f.error) for f in some),
        duplicates=len(digests) - len({*digests}),
    )


def _warnings(source: str, found: Labelled, facts: list[Examined], classes: dict[str, ClassStats]) -> list[str]:
    warnings = []
    try:
        labelled.check(source, found)
    except UsageError as error:
        warnings.append(str(error))
    middle = statistics.median(stats.images for stats in classes.values())
    small = [f"{name} ({stats.images:,})" for name, stats in classes.items() if stats.images < _FEW * middle]
    if small:
        warnings.append(f"classes much smaller than the others, whose median is {middle:,.0f} images: {_some(small)}")
    broken = [name for name, one in zip(found.names, facts, strict=True) if one.error]
    if broken:
        warnings.append(f"unreadable images ({len(broken):,}): {_some(broken)}")
    copies: dict[str, list[int]] = defaultdict(list)
    for number, one in enumerate(facts):
        if one.digest:
            copies[one.digest].append(number)
    across = [_pair(found, same) for same in copies.values() if len({found.labels[n] for n in same}) > 1]
    if across:
        warnings.append(f"images in several classes ({len(across):,}): {_some(across)}")
    leaks = [_pair(found, same) for same in copies.values() if found.given and len({found.given[n] for n in same}) > 1]
    if leaks:
        warnings.append(f"images in several splits ({len(leaks):,}): {_some(leaks)}")
    return warnings


def _pair(found: Labelled, same: list[int]) -> str:
    return " = ".join(found.names[n] for n in same[:2])


def _some(names: list[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest:,} more" if rest > 0 else "")
