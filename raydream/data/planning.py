"""Checks that a job matches the data set in its output, and adds new images to the plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from raydream.data import layout
from raydream.data.inputs import Input
from raydream.data.job import Job
from raydream.data.marks import MARKS
from raydream.data.names import Names
from raydream.data.packing import pack, slices
from raydream.data.plan import (
    MOST_LABELS,
    PLAN,
    Part,
    Plan,
    PlannedImage,
    stored_plan,
    write_images,
    write_passed_over,
)
from raydream.data.rows import label_of, printable
from raydream.data.storage import Folder
from raydream.errors import UsageError


def check_or_store_plan(out: Folder, job: Job, found: Input) -> tuple[Plan, list[str]]:
    """Stores the plan of a new data set, or checks that the job may continue an existing one and extends its plan.

    New images in the input are appended as new shards, up to the limit of the job. If an image was removed from the
    input, its dream stays in the data set; if it is not dreamed yet, loading it fails later.

    Returns:
        The plan, and messages for the user about new and missing images.

    Raises:
        UsageError: the output was made with other settings, or is not a data set of raydream.
    """
    if not out.exists(PLAN):
        _check_empty(out)
        return _extended(out, Plan(job=job), job, found), []
    plan = stored_plan(out)
    if differences := _differences(plan, job):
        raise UsageError(
            f"output {out.url} was begun with other settings ({'; '.join(differences)}): use those, or another output"
        )
    new, gone = _compared(out, plan, found)
    extended = _extended(out, plan, job, new)
    return extended, _notes(extended.images - plan.images, gone)


def _notes(new: int, gone: Sequence[str]) -> list[str]:
    notes = [f"{_count(new, 'new image')} in the input: appended to the plan"] if new else []
    if gone:
        more = f" and {len(gone) - 1:,} more" if len(gone) > 1 else ""
        notes.append(
            f"{_count(len(gone), 'image')} of unfinished shards no longer in the input: "
            f"{printable(gone[0])}{more}; recorded as failures unless they come back"
        )
    return notes


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _check_empty(out: Folder) -> None:
    """Raises a `UsageError` if the output holds other files than those of a job that was killed before planning."""
    foreign = [
        name
        for name in out.files()
        if not name.endswith(".partial") and (not name.startswith("_raydream/") or name.startswith(MARKS))
    ]
    if foreign:
        raise UsageError(
            f"output {out.url} is not empty, and not a data set of raydream: it holds {printable(foreign[0])}"
        )


def _differences(plan: Plan, job: Job) -> list[str]:
    """The settings of the job that differ from those of the data set, as text."""
    before, after = plan.job.decisive(), job.decisive()
    found = _changed(before, after)
    if before["recipe"] != after["recipe"]:
        found += _changed(plan.job.recipe.as_dict(), job.recipe.as_dict())
    if job.limit is not None and job.limit < plan.images:
        found.append(f"limit: {plan.images:,} images are planned -> {job.limit:,}")
    return found


def _changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    keys = sorted({*before, *after})
    pairs = {key: (before.get(key), after.get(key)) for key in keys}
    return [f"{key}: {_brief(old)} -> {_brief(new)}" for key, (old, new) in pairs.items() if old != new]


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) < 60 else f"{text[:12]}..."


def _compared(out: Folder, plan: Plan, found: Input) -> tuple[Input, list[str]]:
    """The new images of the input, and the planned images that are missing there and not dreamed yet."""
    new = {*found.ids}
    gone = []
    done = layout.done(out, plan.job.format)
    for shard, images in plan.read_shards(out):
        for id, _ in images:
            if id in new:
                new.remove(id)
            elif shard not in done:
                gone.append(id)
    return found.only(new), gone


def _extended(out: Folder, plan: Plan, job: Job, new: Input) -> Plan:
    """Adds new images and this run's job to the plan and stores it. `PLAN` is written last, which makes it valid."""
    if job.limit is not None:
        new = new.first(job.limit - plan.images)
    extended = replace(plan, job=job, passed_over=len(new.passed_over))
    if new.ids:
        counts = pack(new.sizes, job.shard_size)
        given = (image.name for _, images in plan.read_shards(out) for image in images)
        names = Names(f".{job.picture}", given).give(new.ids)
        images = list(map(PlannedImage, new.ids, names))
        write_images(out, len(plan.parts), plan.shards, (images[place] for place in slices(counts)))
        part = Part(shards=len(counts), images=len(new.ids))
        extended = replace(extended, parts=(*plan.parts, part), labels=_labels(plan.labels, new.ids))
    if extended != plan:
        write_passed_over(out, new.passed_over)
        out.write(PLAN, extended.dump())
    return extended


def _labels(before: tuple[str, ...] | None, ids: Sequence[str]) -> tuple[str, ...] | None:
    if before is None:
        return None
    labels = {*before, *(label for id in ids if (label := label_of(id)))}
    return tuple(sorted(labels)) if len(labels) <= MOST_LABELS else None
