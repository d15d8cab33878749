"""Copies labelled images into OUT/train/CLASS, OUT/validation/CLASS and OUT/test/CLASS.

The output's `split.json` holds the settings, so that no run mixes two splits: an image of both training and test would
make every figure of a training look better than it is.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from math import isclose
from typing import Any

from raydream.data import codec, labelled, storage
from raydream.data.examining import examine
from raydream.data.labelled import SPLITS, Labelled
from raydream.data.names import Names, check_folder_name
from raydream.data.storage import Folder
from raydream.errors import UsageError

SETTINGS = "split.json"
_THREADS = 8
_BATCH = 64  # images that are copied before the next ones are read


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to split, and how.

    Attributes:
        input: path or URL of class folders, or of a table; see `labelled.list_labelled`.
        output: folder of the copies.
        shares: shares of training, validation and test.
        seed: another seed gives other splits.
        size: short side in pixels of the copies (JPEG); None copies the files as they are.
    """

    input: str
    output: str
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)
    seed: int = 0
    size: int | None = None


@dataclass(kw_only=True)
class Plan:
    """The copies of a split.

    Attributes:
        folder: folder of the images.
        copies: path of each image -> path of its copy.
        unreadable: images that are left out -> the reason.
        classes: names of the classes.
        counts: (split, class) -> number of images.
    """

    folder: Folder
    copies: dict[str, str] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    classes: Sequence[str] = ()
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)


def parse_shares(text: str) -> tuple[float, float, float]:
    """The shares in `0.8,0.1,0.1`.

    Raises:
        UsageError: they are not three positive numbers with the sum 1.
    """
    try:
        train, validation, test = (float(part) for part in text.split(","))
    except ValueError:
        train = validation = test = 0.0
    if min(train, validation, test) <= 0 or not isclose(train + validation + test, 1.0, abs_tol=1e-6):
        raise UsageError(
            f"--shares {text!r} must be three positive numbers with the sum 1, for training, validation and test: "
            "for example 0.8,0.1,0.1"
        )
    return train, validation, test


def check(job: Job) -> Labelled:
    """Lists the images, before anything is read.

    Raises:
        UsageError: the images cannot be listed, the output is in the input, or it holds another split.
    """
    found = labelled.list_labelled(job.input)
    if not labelled.is_table(job.input):  # of a table's folder, only the images that it names are read
        storage.check_apart(job.input, job.output, "the next run would split the copies")
    for name in found.classes:
        check_folder_name(name, job.input)
    for name in found.names:
        if ".." in name.split("/"):
            raise UsageError(f"{job.input} names {name!r}, which is not below its folder")
    known = _stored_settings(Folder(job.output))
    if known not in (None, _settings(job)):
        raise UsageError(
            f"output {job.output} was split with {_words(known)}, not {_words(_settings(job))}: use another folder"
        )
    return found


def plan(job: Job, found: Labelled, advance: Callable[[int, int], None]) -> Plan:
    """Reads all images, and decides where each one belongs. `advance` gets numbers of read and of unreadable images.

    Raises:
        UsageError: a class has too few readable images, or the output holds images that this split puts elsewhere.
    """
    result = Plan(folder=Folder(found.folder), classes=found.classes)
    digests: dict[str, str] = {}
    for name, facts in zip(found.names, examine(result.folder, found.names), strict=True):
        if facts.error:
            result.unreadable[name] = facts.error
        else:
            digests[name] = facts.digest
        advance(1, 1 if facts.error else 0)
    readable = found.only(digests)
    parts = labelled.split(readable, digests, job.shares, job.seed)
    classes = [found.classes[label] for label in readable.labels]
    targets = _targets(readable, parts, classes, job.size)
    result.copies = dict(zip(readable.names, targets, strict=True))
    result.counts = Counter(zip(parts, classes, strict=True))
    _check_output(job, {*targets})
    return result


def copy(job: Job, plan: Plan, advance: Callable[[int, int], None]) -> int:
    """Writes the copies that are not there yet; returns their number. `advance` is called as in `plan`.

    Raises:
        OSError: an image cannot be read or written.
    """
    out = Folder(job.output)
    out.write(SETTINGS, json.dumps(_settings(job), indent=2).encode() + b"\n")
    out.remove_partial()
    there = out.files()
    todo = [pair for pair in plan.copies.items() if pair[1] not in there]
    advance(len(plan.copies) - len(todo), 0)
    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(todo), _BATCH):
            batch = todo[start : start + _BATCH]
            for _ in pool.map(partial(_copy, plan.folder, out, job.size), batch):
                advance(1, 0)
    return len(todo)


def _copy(source: Folder, out: Folder, size: int | None, pair: tuple[str, str]) -> None:
    name, target = pair
    data = source.read(name)
    if size is not None:
        data = codec.encode(codec.fit(codec.decode(data), size), "jpeg")
    out.write(target, data)


def _targets(found: Labelled, parts: Sequence[str], classes: Sequence[str], size: int | None) -> list[str]:
    """The paths of the copies. Resized copies are JPEGs, whose names get new endings."""
    below = [_below(name, label, bool(found.given)) for name, label in zip(found.names, classes, strict=True)]
    targets = [f"{part}/{label}/{name}" for part, label, name in zip(parts, classes, below, strict=True)]
    return list(Names(".jpg").give(targets)) if size is not None else targets


def _below(name: str, label: str, given: bool) -> str:
    """The path of an image below its class folder."""
    inside = name.partition("/")[2] if given else name
    return inside.removeprefix(f"{label}/")


def _check_output(job: Job, targets: set[str]) -> None:
    for name in Folder(job.output).files():
        if name.partition("/")[0] in SPLITS and "/." not in name and name not in targets:
            raise UsageError(
                f"output {job.output} holds {name}, which is not in this split: images were added to the input or "
                "removed from it: use another folder"
            )


def _stored_settings(out: Folder) -> Any:
    """The settings in the output; None if it is new."""
    try:
        known = json.loads(out.read(SETTINGS)) if out.exists(SETTINGS) else None
    except ValueError:
        known = "damaged"
    if not isinstance(known, dict | None):
        raise UsageError(f"{out.place(SETTINGS)} is damaged: use another folder")
    return known


def _settings(job: Job) -> dict[str, object]:
    return {"shares": list(job.shares), "seed": job.seed, "size": job.size}


def _words(settings: dict[str, object]) -> str:
    return ", ".join(f"{key} {value}" for key, value in _lines(settings))


def _lines(settings: dict[str, object]) -> Iterator[tuple[str, object]]:
    for key, value in settings.items():
        yield key, ",".join(map(str, value)) if isinstance(value, list) else "as it is" if value is None else value
