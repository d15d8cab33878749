"""Dreams a folder of photographs into a data set, on Ray Data.

    python -m raydream.jobs.dream_dataset --input photographs --output dreams --recipe classic

Each row of the Ray data set is a shard, which is loaded, dreamed, and written with its completion mark. Whatever was
killed, the same command continues where it stopped.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raydream import runtime
from raydream.cli import commands, options
from raydream.cli.progress import Progress
from raydream.data.job import Job
from raydream.errors import WorkError

if TYPE_CHECKING:
    from raydream.data.inputs import Input
    from raydream.data.plan import Plan
    from raydream.jobs.dreaming.lease import Lease


def run(job: Job) -> dict[str, Any]:
    """Makes the data set, or continues an earlier run.

    Returns:
        The manifest (see `finish.finish`).

    Raises:
        UsageError: an option or a file cannot be used.
        WorkError: the work failed, or another driver works on this output.
        KeyboardInterrupt: on SIGINT or SIGTERM; finished shards are kept.
    """
    from raydream.jobs.dreaming import prepare
    from raydream.jobs.dreaming.lease import Lease

    precision = "float32" if job.dreamer else job.recipe.precision
    job, found = prepare.prepare(job)
    with Lease(job.output) as lease:
        return _make(prepare.with_batch_size(job), found, lease, precision)


def _make(job: Job, found: Input, lease: Lease, precision: str | None) -> dict[str, Any]:
    """Makes the remaining shards, the card, the gallery and the manifest; logs how the run ended."""
    from raydream.data import layout, summary
    from raydream.data.planning import check_or_store_plan
    from raydream.data.storage import Folder
    from raydream.jobs.dreaming import finish

    began = time.monotonic()
    out = Folder(job.output)
    plan, notes = check_or_store_plan(out, job, found)
    for note in notes:
        _say(note)
    finish.begin(out, plan)
    layout.remove_outdated(out, job.format)
    earlier, finished = summary.logged_seconds(out), layout.done(out, job.format)
    todo = [shard for shard in range(plan.shards) if shard not in finished]
    if finished:
        _say(f"{len(finished):,} of {plan.shards:,} shards are already done")
    status = "failed"
    try:
        if todo:
            _dream(plan, todo, lease, precision)
        lease.check()
        manifest = finish.finish(out, plan, earlier + time.monotonic() - began)
        status = "done"
    except KeyboardInterrupt:
        status = "interrupted"
        raise
    finally:
        seconds = round(time.monotonic() - began, 1)
        with suppress(WorkError, OSError):  # the lease is lost, or the disk is full: the first error is reported
            lease.check()
            summary.log(out, {"status": status, "shards": len(todo), "seconds": seconds})
    return manifest


def _dream(plan: Plan, todo: Sequence[int], lease: Lease, precision: str | None) -> None:
    """Runs the three stages on the remaining shards. `precision` is what the user asked for."""
    from raydream.data.storage import Folder
    from raydream.jobs import cluster
    from raydream.jobs.dreaming import pipeline

    progress = Progress(plan.count(Folder(plan.job.output), todo))
    try:
        with cluster.joined(progress.phase):
            runtime.advise_precision(precision, gpu=bool(cluster.devices(plan.job.gpus_per_actor).gpus))
            progress.phase("loading the network")
            with closing(pipeline.results(plan, todo, lease.token)) as results:
                for result in results:
                    progress.advance(result["images"] + result["failures"], result["failures"])
    finally:
        progress.close()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _dry_run(job: Job) -> None:
    from raydream.data.packing import pack
    from raydream.jobs.dreaming.estimate import estimate
    from raydream.jobs.dreaming.prepare import prepare

    runtime.worker(cores=1)  # the estimate is for actors, and on a CPU each has one core
    job, found = prepare(job)
    found = found.first(job.limit or len(found.ids))
    counts = pack(found.sizes, job.shard_size)
    _say(f"input    {job.input}: {len(found.ids):,} images, {len(found.passed_over):,} other files are ignored")
    _say(f"output   {job.output}: {len(counts):,} shards of up to {max(counts):,} images, {job.format}")
    if job.dreamer:
        _say(f"dreamer  {str(job.dreamer_digest)[:12]}, one pass per image")
        return
    _say(f"recipe   {job.recipe.digest[:12]}, weights {str(job.recipe.weights_digest)[:12]}")
    _say(f"takes    {estimate(job, found.ids)}")


def main(
    job: Callable[..., Job],
    recipe: Annotated[
        str,
        typer.Option("--recipe", "-r", help="A preset (see `raydream recipes`), or the path or URL of a .yaml file."),
    ] = "classic",
    set: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Change a value of the recipe.")] = None,
    guide: commands.Guide = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan and an estimate of the time; write nothing.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print the counts as a line of JSON, on a terminal, too.")
    ] = False,
) -> int:
    """Dream a folder of photographs into a data set. The same command continues where it stopped.

    Exit status: 0 done, 1 too many images or the whole job failed, 2 wrong usage, 130 interrupted.
    """
    from raydream.recipe import Recipe

    asked = job(recipe=Recipe.load(recipe, commands.changes(set or [])).with_images("guide", guide or []))
    if dry_run:
        _dry_run(asked)
        return commands.OK
    try:
        manifest = run(asked)
    except KeyboardInterrupt:
        _say("interrupted: finished shards are kept, the same command continues")
        return commands.INTERRUPTED
    if json or not sys.stdout.isatty():
        _print_counts(manifest)
    return _report(asked, manifest)


def _print_counts(manifest: dict[str, Any]) -> None:
    print(json.dumps({key: manifest[key] for key in ("images", "failures", "seconds", "recipe")}))


def _report(job: Job, manifest: dict[str, Any]) -> int:
    """Prints how the job ended; returns the exit status."""
    images, failures = manifest["images"], manifest["failures"]
    place = job.output.rstrip("/")
    _say(f"{images:,} dream{'s' * (images != 1)}: open {place}/index.html")
    if not failures:
        return commands.OK
    allowed = job.allowed_failures(images + failures)
    status = commands.FAILED if failures > allowed else commands.OK
    _say(
        f"the data set is complete, except for {failures:,} image{'s' * (failures != 1)} that failed, listed in "
        f"{place}/failures.parquet: exit status {status}, since {allowed:,} may fail (--max-failures)"
    )
    return status


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command(epilog="Example: python -m raydream.jobs.dream_dataset --input photographs --output dreams --keep-source")(
    options.command(Job, main)
)

if __name__ == "__main__":
    commands.run(app, "dream_dataset")
