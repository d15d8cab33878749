"""Finds ImageNet categories by name: a WordNet name -> its id, such as `tiger` -> `n02129604`.

The tables in `categories/` hold facts only: the ids of ImageNet's 1000 classes of 2012 and of the list `seed25`, with
their names in WordNet 3.0.
"""

from __future__ import annotations

import csv
import difflib
import re
from importlib import resources

from raydream.data.names import check_folder_name
from raydream.errors import UsageError

LISTS = {"seed": "seed25.csv"}  # lists of categories that come with the package
WNID = re.compile(r"n\d{8}")


def categories(names: str) -> dict[str, str]:
    """The categories in `banjo,tiger`: WordNet id -> class.

    Args:
        names: names of WordNet, ids (`n02129604`), `class=id`, or names of lists (`seed`), separated by commas.

    Raises:
        UsageError: a name is unknown or has several meanings, or two classes have the same id.
    """
    found: dict[str, str] = {}
    for name in (part.strip() for part in names.split(",") if part.strip()):
        for label, wnid in _named(name):
            check_folder_name(label, "--categories")
            if found.setdefault(wnid, label) != label:
                raise UsageError(f"--categories: {found[wnid]!r} and {label!r} are the same category, {wnid}")
    if not found:
        raise UsageError("--categories names no category, such as banjo,tiger")
    return found


def _named(name: str) -> list[tuple[str, str]]:
    """The (class, id) pairs of one name."""
    if name in LISTS:
        return [(row["name"], row["wnid"]) for row in _table(LISTS[name])]
    label, _, wnid = name.rpartition("=")
    if WNID.fullmatch(wnid):
        return [(label.strip() or wnid, wnid)]
    return [(name, _wnid(name))]


def _wnid(name: str) -> str:
    known = {row["wnid"]: row["names"].casefold().split(", ") for row in _table("imagenet.csv")}
    wanted = " ".join(name.casefold().replace("_", " ").split())
    found = [wnid for wnid, names in known.items() if wanted in names]
    first = [wnid for wnid in found if known[wnid][0] == wanted]
    if len(first or found) > 1:
        senses = ", ".join(f"{wnid} ({', '.join(known[wnid])})" for wnid in first or found)
        raise UsageError(f"--categories: {name!r} has several meanings: {senses}: write {name}={(first or found)[0]}")
    if found:
        return (first or found)[0]
    close = difflib.get_close_matches(wanted, [name for names in known.values() for name in names], n=1, cutoff=0.7)
    hint = f"did you mean {close[0]!r}? Otherwise" if close else "it is not in raydream's table:"
    raise UsageError(f"--categories: unknown category {name!r}: {hint} write {name}=ID, with its WordNet id")


def _table(name: str) -> list[dict[str, str]]:
    text = (resources.files("raydream") / "data" / "categories" / name).read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))
