"""The plan of a data set: its shards, and how it may differ on resume."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from raydream.data import shards
from raydream.data.shards import printable
from raydream.data.storage import Folder
from raydream.errors import UsageError

PLAN = "_raydream/plan.json"


# A shard is loaded as a whole: no more than this many bytes of image files, unless a size is asked for.
_SHARD_BYTES = 8_000_000


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a data set will be made of, and how; resuming needs an equal one.

    Attributes:
        input: URL of the folder.
        shards: ids of the images of each shard.
        passed_over: ids of files that are no images by their names.
        settings: what else decides the files: format, digests, batch size...
        recipe: the recipe as plain data, to say what differs.
    """

    input: str
    shards: tuple[tuple[str, ...], ...]
    passed_over: tuple[str, ...]
    settings: dict[str, Any]
    recipe: dict[str, Any]

    @property
    def ids(self) -> list[str]:
        """All images, in order."""
        return [id for shard in self.shards for id in shard]

    def dump(self) -> bytes:
        """As JSON."""
        return json.dumps(asdict(self), indent=1).encode()

    @classmethod
    def parse(cls, data: bytes) -> Plan:
        """From `dump`'s JSON."""
        values = json.loads(data)
        values["shards"] = tuple(tuple(shard) for shard in values["shards"])
        values["passed_over"] = tuple(values["passed_over"])
        if values["settings"]["format"] not in shards.FORMATS:
            raise ValueError("its format is none of ours")
        return cls(**values)

    def names(self, ending: str) -> dict[str, str]:
        """id -> path of its dream: the id with a new ending, or with one more where that would not be unique.

        Unique also where upper and lower case are the same, and no path is that of another's folder.
        """
        short = {id: str(PurePosixPath(id).with_suffix(ending)) for id in self.ids}
        uses = Counter(name.casefold() for name in short.values())
        taken = {str(folder).casefold() for id in self.ids for folder in PurePosixPath(id).parents}
        taken |= {name for name, count in uses.items() if count > 1}
        long: dict[str, str] = {}
        while clashing := [id for id, name in short.items() if id not in long and name.casefold() in taken]:
            long |= {id: f"{id}{ending}" for id in clashing}
            taken |= {long[id].casefold() for id in clashing}
        return short | long

    def differences(self, other: Plan) -> list[str]:
        """What the other plan has different, in words; empty if nothing."""
        found = []
        if self.input != other.input:
            found.append(f"input: {self.input} -> {other.input}")
        found += _changed(self.settings, other.settings)
        if self.settings.get("recipe") != other.settings.get("recipe"):
            found += _changed(self.recipe, other.recipe)
        for what, ids in (
            ("gone", sorted({*self.ids} - {*other.ids})),
            ("new", sorted({*other.ids} - {*self.ids})),
        ):
            if ids:
                more = f" and {len(ids) - 1} more" if len(ids) > 1 else ""
                found.append(f"{what} in the input: {printable(ids[0])}{more}")
        if not found and self.shards != other.shards:
            same = len(self.shards) == len(other.shards)
            number = f"{len(self.shards)} -> {len(other.shards)}"
            found.append("shards: cut otherwise, since files have changed" if same else f"shards: {number}")
        return found


def _changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    keys = sorted({*before, *after})
    pairs = {key: (before.get(key), after.get(key)) for key in keys}
    return [f"{key}: {_brief(old)} -> {_brief(new)}" for key, (old, new) in pairs.items() if old != new]


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) < 60 else f"{text[:12]}..."


def make_plan(
    source: Folder,
    endings: frozenset[str],
    shard_size: int | None = None,
    limit: int | None = None,
) -> Plan:
    """Plans the images below a folder, in the order of their names.

    Hidden files are left alone; files whose ending is no image's are passed over. Without a shard size there are
    about 64 shards, of at most 64 images and some megabytes of files each.

    Raises:
        UsageError: the folder holds no image.
    """
    found = source.files()
    ids, rest = images_among(found, endings)
    if not ids:
        raise UsageError(f"input {source.url} {'holds no images' if found else 'is empty, or no folder'}")
    ids = ids[:limit]
    most = shard_size or max(1, min(64, len(ids) // 64))
    room = _SHARD_BYTES if shard_size is None else None
    packed = _packed([(id, found[id]) for id in ids], most, room)
    return Plan(input=source.url, shards=packed, passed_over=tuple(rest), settings={}, recipe={})


def images_among(names: Iterable[str], endings: frozenset[str]) -> tuple[list[str], list[str]]:
    """The images among files by their names, without ending or with one of these, and the others; no hidden ones."""
    visible = sorted(name for name in names if not any(part.startswith(".") for part in name.split("/")))
    images = [name for name in visible if PurePosixPath(name).suffix.lower() in (*endings, "")]
    return images, sorted({*visible} - {*images})


def _packed(files: list[tuple[str, int]], most: int, room: int | None) -> tuple[tuple[str, ...], ...]:
    packed: list[list[str]] = []
    used = 0
    for id, size in files:
        used += size
        if not packed or len(packed[-1]) == most or (room and used > room):
            packed.append([])
            used = size
        packed[-1].append(id)
    return tuple(map(tuple, packed))


def label_of(id: str) -> str | None:
    """The class folder of an image: the one it lies in, if it lies in one."""
    parent = PurePosixPath(id).parent.name
    return printable(parent) if parent else None


def settle(out: Folder, plan: Plan) -> None:
    """Stores the plan, or checks that it is the one that was begun here.

    Raises:
        UsageError: the folder holds another plan, or something that is no data set of ours.
    """
    if out.exists(PLAN):
        differences = stored_plan(out).differences(plan)
        if differences:
            raise UsageError(
                f"output {out.url} was begun with other settings ({'; '.join(differences)}): "
                "use those, or another output"
            )
        return
    strangers = [name for name in out.files() if not name.endswith(".partial") and name != "_raydream/lease.json"]
    if strangers:
        raise UsageError(f"output {out.url} is not empty and no data set of ours: it holds {strangers[0]}")
    out.write(PLAN, plan.dump())


def stored_plan(out: Folder) -> Plan:
    """The plan of a data set, finished or not; UsageError if there is none that can be read."""
    if not out.exists(PLAN):
        raise UsageError(f"{out.url} is no data set of raydream: it has no {PLAN}")
    try:
        return Plan.parse(out.read(PLAN))
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{out.url}: its {PLAN} is damaged, or of another version of raydream") from error
