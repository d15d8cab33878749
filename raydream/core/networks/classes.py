"""The classes of a classifier: their names inside its file, and their logits as an objective.

A `.keras` or compact `.npz` file is a zip archive, and its readers ignore entries that they do not know. The entry
`classes.json` is a JSON list of the names, in the order of the channels of the layer `class_logits`. The mean of a
channel over all positions is the logit of its class.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from raydream.core.objectives import CLASS_LAYER, Mean, Objective, Term
from raydream.errors import UsageError, nearest

_ENTRY = "classes.json"
_MOST_BYTES = 16_000_000  # of the list; an archive can unpack to any size
_TIME = (1980, 1, 1, 0, 0, 0)  # the same for all files, so that the same network gives the same bytes
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, RecursionError)


def with_classes(data: bytes, names: Sequence[str]) -> bytes:
    """The bytes of a `.keras` or compact `.npz` file with the names of its classes; names already there are replaced.

    Args:
        data: the bytes of the file, with a layer `class_logits`.
        names: one name per channel of that layer, in the order of the channels.

    Raises:
        UsageError: `data` is no such file, or the names are empty or not all different.
    """
    if not _are_names(names := list(names)):
        raise UsageError("the classes of a network must be one or more different names")
    entry = zipfile.ZipInfo(_ENTRY, _TIME)
    entry.external_attr = 0o644 << 16
    buffer = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
            for info in old.infolist():
                if info.filename != _ENTRY:
                    new.writestr(info, old.read(info))
            new.writestr(entry, json.dumps(names))
    except _BROKEN as error:
        raise UsageError("the network is not a .keras or .npz file, or is incomplete") from error
    return buffer.getvalue()


def classes_of(path: str) -> tuple[str, ...] | None:
    """The names of the classes inside a file, in the order of the channels; None if there are none.

    Raises:
        UsageError: the names cannot be read, or are not all different.
    """
    if not zipfile.is_zipfile(path):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            if _ENTRY not in archive.namelist():
                return None
            with archive.open(_ENTRY) as entry:
                names = json.loads(entry.read(_MOST_BYTES))
    except _BROKEN as error:
        raise UsageError(f"{_ENTRY} in {path} cannot be read: {' '.join(str(error).split())[:200]}") from error
    if not _are_names(names):
        raise UsageError(f"{_ENTRY} in {path} must be a list of one or more different names")
    return tuple(names)


def _are_names(names: Any) -> bool:
    texts = isinstance(names, list) and all(isinstance(name, str) and name for name in names)
    return texts and 0 < len(names) == len({*names})


def resolved(objective: Objective, path: str) -> Objective:
    """The objective with the layer and the channel of each class.

    Args:
        objective: an objective. Terms without a class stay the same.
        path: file of the backbone, or the name of a network.

    Raises:
        UsageError: the backbone has no classes, or not one with this name.
    """
    if not any(_class_of(term) for term in objective.terms):
        return objective
    names = classes_of(path)
    if names is None:
        raise UsageError(f"backbone {path!r} has no classes: use a classifier.keras made by raydream retrain")
    return Objective(tuple(_resolved(term, names, path) for term in objective.terms))


def _class_of(term: Term) -> str | None:
    return term.class_name if isinstance(term, Mean) else None


def _resolved(term: Term, names: tuple[str, ...], path: str) -> Term:
    if not isinstance(term, Mean) or term.class_name is None:
        return term
    if term.class_name not in names:
        raise UsageError(f"backbone {path!r} has no class {term.class_name!r}: {nearest(str(term.class_name), names)}")
    return replace(term, layer=CLASS_LAYER, channels=(names.index(term.class_name),))
