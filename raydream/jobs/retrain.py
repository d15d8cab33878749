"""Retrains a backbone on labelled images, on Ray Train, so that it dreams of their subjects.

    python -m raydream.jobs.retrain --data photographs --output retrained

First, all images are examined once, and the features of the fixed backbone are computed and kept. Phase 1 trains a new
head on these features. Phase 2 trains the upper layers, too. The same command continues where it stopped.

    OUT/classifier.keras           the whole classifier, of the epoch with the best validation accuracy
    OUT/base.keras                 its backbone; both can be the `backbone:` of a recipe
    OUT/classes.json               the names of the classes
    OUT/evaluation.json            accuracy on the test images, for each class, and the confusion matrix
    OUT/confusion.png              the confusion matrix
    OUT/before-after.html          test images, dreamed with the network before and after
    OUT/README.md                  the card: data, command, figures
    OUT/grids/epoch-00002.png      validation images and their dreams after each epoch of phase 2
    OUT/metrics.jsonl              one line for each epoch
    OUT/tensorboard/...            both for TensorBoard
    OUT/unreadable.csv             images that cannot be read, with the reason (only if any)
    OUT/_raydream/...              features, checkpoints, settings
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from raydream.cli import commands, options
from raydream.jobs.retraining.job import Retraining

if TYPE_CHECKING:
    from raydream.data.labelled import Labelled
    from raydream.jobs.dreaming.lease import Lease
    from raydream.jobs.retraining.features import Examined
    from raydream.jobs.retraining.plan import Plan

# Settings that may change when a run continues.
_CHANGEABLE = ("output", "workers", "gpus_per_worker", "dreams")
_DREAMED = "_raydream/dreamed"  # the number of images on the finished page before and after


def run(job: Retraining) -> dict[str, Any]:
    """Retrains the network, or continues an earlier run.

    Returns:
        The figures on the test images, as in `evaluation.json`.

    Raises:
        UsageError: an option, the data or the network cannot be used.
        WorkError: the work failed, or another driver works on this output.
        KeyboardInterrupt: on SIGINT or SIGTERM; finished epochs are kept.
    """
    from raydream.data.labelled import list_labelled
    from raydream.data.storage import Folder
    from raydream.data.unpacking import check_parquet, parquet_files, unpack_once
    from raydream.jobs.dreaming.lease import Lease
    from raydream.jobs.retraining.base import prepare

    job = prepare(job)
    found = None
    if parquet_files(job.data):
        check_parquet(job.data, (job.image_column, job.label_column))
    else:
        found = list_labelled(job.data, job.label_column)
    with Lease(job.output) as lease:
        if found is None:  # the images of a data set are first written into the output as single files
            columns = job.image_column, job.label_column
            found = list_labelled(unpack_once(job.data, Folder(job.output), columns, _say))
        return _make(job, found, lease)


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:12]


def _make(job: Retraining, found: Labelled, lease: Lease) -> dict[str, Any]:
    from raydream.data.storage import Folder
    from raydream.jobs.retraining import dreams, features
    from raydream.jobs.retraining.base import Base
    from raydream.jobs.retraining.finish import finish
    from raydream.jobs.retraining.plan import TEST
    from raydream.jobs.retraining.train import train
    from raydream.jobs.train import fit, settings

    digests = {
        "network (digest)": Base(job).digest[:12],
        "images (digest)": _digest([found.names, found.labels, found.given]),
    }
    settings.check_or_store(job.output, {k: v for k, v in asdict(job).items() if k not in _CHANGEABLE} | digests)
    features.examine(job, found, lease.token)
    known = features.examined(job, found)
    plan = _planned(job, found, known)
    out = Folder(job.output)
    if not out.exists(TEST):  # the last file of the training
        fit.run(train, {"plan": plan, "lease": lease.token}, job, job.batch_size)
    lease.check()
    figures = finish(plan, known)
    if job.dreams and not (out.exists(_DREAMED) and out.read(_DREAMED) == b"%d" % job.dreams):
        _say("dreaming before and after")
        dreams.write_page(plan)
        out.write(_DREAMED, b"%d" % job.dreams)
    return figures


def _planned(job: Retraining, found: Labelled, known: Examined) -> Plan:
    """The split of all images that can be read; says which cannot."""
    from raydream.data.examining import UNREADABLE, write_unreadable
    from raydream.data.labelled import split
    from raydream.data.storage import Folder
    from raydream.jobs.retraining.plan import Plan

    broken = [(name, error) for name, error in zip(found.names, known.errors, strict=True) if error]
    write_unreadable(Folder(job.output), broken)
    if broken:
        _say(
            f"{len(broken):,} of {len(found.names):,} images cannot be read and are left out, such as {broken[0][0]} "
            f"({broken[0][1]}): all are listed in {job.output.rstrip('/')}/{UNREADABLE}"
        )
    good = found.only({name for name, error in zip(found.names, known.errors, strict=True) if not error})
    digests = dict(zip(found.names, known.digests, strict=True))
    parts = dict(zip(good.names, split(good, digests, job.shares, job.seed), strict=True))
    return Plan(job=job, found=found, parts=tuple(parts.get(name, "") for name in found.names))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(job: Callable[..., Retraining]) -> int:
    """Retrain a network on labelled images, so that it dreams of their subjects.

    The same command continues where it stopped.

    Exit status: 0 done, 1 the work failed, 2 wrong usage, 130 interrupted (finished epochs are kept).
    """
    asked = job()
    try:
        figures = run(asked)
    except KeyboardInterrupt:
        _say("interrupted: finished epochs are kept, the same command continues")
        return commands.INTERRUPTED
    low, high = figures["interval"]
    _say(
        f"accuracy {figures['accuracy']:.3f} ({low:.3f} to {high:.3f}) on {figures['images']:,} test images: "
        f"see {asked.output.rstrip('/')}/README.md"
    )
    return commands.OK


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command(epilog="Example: python -m raydream.jobs.retrain --data photographs --output retrained")(
    options.command(Retraining, main)
)

if __name__ == "__main__":
    commands.run(app, "retrain")
