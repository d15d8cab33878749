"""Dreams a folder of photographs into a data set, on Ray Data.

    python -m raydream.jobs.dream_dataset --input photos --output dreams --recipe classic

One row is one shard; it is loaded, dreamed, and written with its completion mark. The same command goes on where it
stopped, whatever was killed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, get_args

import typer

from raydream import runtime
from raydream.cli import commands
from raydream.cli.progress import Progress
from raydream.data import layout, storage, summary
from raydream.data.job import Format
from raydream.data.packing import pack
from raydream.data.plan import Plan
from raydream.data.planning import check_or_store_plan
from raydream.data.storage import Folder
from raydream.errors import UsageError, WorkError
from raydream.jobs.dreaming import finish as finishing
from raydream.jobs.dreaming.options import Options, prepared
from raydream.recipe import Recipe


def run(options: Options) -> dict[str, Any]:
    """Makes the data set, or goes on with it.

    Returns:
        The manifest (see `finishing.finish`).

    Raises:
        UsageError: something is asked that cannot be.
        WorkError: the cluster cannot do it.
        KeyboardInterrupt: on SIGINT or SIGTERM; finished shards stay.
    """
    began = time.monotonic()
    suggest = options.recipe.precision is None and not options.dreamer
    options, job, images = prepared(options)
    out = Folder(options.output)
    plan, notes = check_or_store_plan(out, job, images)
    for note in notes:
        _say(note)
    finishing.begin(out, plan)
    earlier = summary.logged_seconds(out)
    finished = layout.done(out, job.format)
    todo = [shard for shard in range(plan.shards) if shard not in finished]
    if finished:
        _say(f"{len(finished)} of {plan.shards} shards are done already")
    status = "failed"
    try:
        if todo:
            _dream(options, plan, todo, suggest)
        seconds = earlier + time.monotonic() - began
        manifest = finishing.finish(out, plan, seconds)
        status = "done"
    except KeyboardInterrupt:
        status = "interrupted"
        raise
    finally:
        seconds = time.monotonic() - began
        summary.log(out, {"status": status, "shards": len(todo), "seconds": round(seconds, 1)})
    return manifest


def _dream(options: Options, plan: Plan, todo: Sequence[int], suggest: bool) -> None:
    """Runs the three stages over the shards that are left; may suggest another precision."""
    import ray

    from raydream.jobs import cluster

    cluster.join()
    devices = cluster.devices(options.gpus_per_actor)
    if suggest:
        runtime.suggest_bfloat16(gpu=bool(devices[0]))
    out = Folder(options.output)
    left = {*todo}
    progress = Progress(sum(len(images) for shard, images in plan.read_shards(out) if shard in left))
    try:
        for result in _pipeline(options, plan, todo, devices).iter_rows():
            progress.advance(result["images"] + result["failures"], result["failures"])
    except ray.exceptions.RayError as error:
        raise WorkError(f"the cluster cannot do it: {cluster.cause(error)}") from error
    finally:
        progress.close()


def _pipeline(options: Options, plan: Plan, todo: Sequence[int], devices: tuple[float, int]) -> Any:
    """The Ray Data pipeline: one row a shard in, one row of counts a shard out; `devices` as `cluster.devices` says."""
    import ray

    from raydream.jobs.dreaming import stages
    from raydream.jobs.dreaming.tries import Tries

    gpus, room = devices
    actors = options.actors if any(options.actors) else (max(1, room),) * 2
    fewest, most = (min(number, len(todo)) for number in actors)
    work = stages.Work(
        input=options.input,
        output=options.output,
        recipe=options.recipe,
        format=plan.job.format,
        picture=f".{options.picture}",
        keep_source=options.keep_source,
        batch_size=plan.job.batch_size or 1,
        dreamer=options.dreamer,
        plan=plan,
        imagenet=storage.absolute(weights) if (weights := os.environ.get("RAYDREAM_WEIGHTS")) else None,
    )
    tries = Tries.remote()  # type: ignore[attr-defined]
    rows = [{"shard": shard} for shard in todo]
    # Dreaming on a CPU takes its core and the light stages squeeze in; beside a GPU they share the cores evenly.
    heavy, light = (0.5, 0.5) if gpus else (0.9, 0.1)
    pool = ray.data.ActorPoolStrategy(min_size=fewest, max_size=most, max_tasks_in_flight_per_actor=2)
    return (
        ray.data.from_items(rows, override_num_blocks=len(rows))
        .map(partial(stages.load, work=work, tries=tries), num_cpus=light)
        .map(
            stages.Dream,  # type: ignore[arg-type]
            fn_constructor_kwargs={"work": work, "tries": tries},
            compute=pool,
            num_cpus=heavy,
            num_gpus=gpus,
        )
        .map(partial(stages.write, work=work), num_cpus=light)
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _dry_run(options: Options) -> None:
    from raydream.jobs.dreaming.estimate import as_an_actor, estimate

    as_an_actor()
    options, _, found = prepared(options)
    found = found.first(options.limit or len(found.ids))
    counts = pack(found.sizes, options.shard_size)
    _say(f"input    {options.input}: {len(found.ids)} images, {len(found.passed_over)} other files passed over")
    shape = f"{len(counts)} shards of up to {max(counts)} images"
    _say(f"output   {options.output}: {shape}, {options.format}")
    _say(f"recipe   {options.recipe.digest[:12]}, weights {str(options.recipe.weights_digest)[:12]}")
    _say(
        f"takes    {estimate(options.input, found.ids, options.recipe)}"
        if not options.dreamer
        else "takes    one pass an image"
    )


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog="Example: python -m raydream.jobs.dream_dataset --input photos --output dreams --keep-source")
def main(  # noqa: PLR0913 -- the command line: one parameter an option
    input: Annotated[str, typer.Option(help="Folder of photographs: a path or URL.")],
    output: Annotated[str, typer.Option(help="Folder of the data set: a path or URL.")],
    recipe: Annotated[
        str,
        typer.Option(help="A preset (see `raydream recipes`), or the path or URL of a .yaml file."),
    ] = "classic",
    set: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Change a value of the recipe.")] = None,
    dreamer: Annotated[
        str | None,
        typer.Option(help="A .keras network that dreams in one pass, images to images in [-1, 1]."),
    ] = None,
    shard_size: Annotated[int | None, typer.Option(min=1, help="Images in a shard. Default: about 64 shards.")] = None,
    actors: Annotated[
        str,
        typer.Option(metavar="N|MIN,MAX", help="Dream actors. Default: one a GPU, else one a core."),
    ] = "auto",
    gpus_per_actor: Annotated[
        float | None, typer.Option(min=0, help="Default: 1 where the cluster has GPUs, else 0.")
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Images at once. Default: 8 with --gpus-per-actor, else 1."),
    ] = None,
    format: Annotated[str, typer.Option(help=" | ".join(get_args(Format)))] = "parquet",
    picture: Annotated[str, typer.Option(help="png | jpg | webp")] = "png",
    keep_source: Annotated[
        bool, typer.Option("--keep-source", help="Keep the photographs beside their dreams.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many images.")] = None,
    max_failures: Annotated[
        float, typer.Option(min=0, help="Failures allowed: a share below 1, else a number.")
    ] = 0.05,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show the plan and how long it would take; write nothing."),
    ] = False,
    config: Annotated[
        str | None,
        typer.Option(is_eager=True, callback=commands.options_from, help="YAML file of these options."),
    ] = None,
) -> int:
    """Dream a folder of photographs into a data set. The same command goes on where it stopped.

    Exit status: 0 done, 1 more failures than allowed, 2 wrong usage, 130 interrupted (what was done is kept).
    """
    options = Options(
        input=input,
        output=output,
        recipe=Recipe.load(recipe, commands.changes(set or [])),
        dreamer=dreamer,
        shard_size=shard_size,
        actors=_actors(actors),
        gpus_per_actor=gpus_per_actor,
        batch_size=batch_size,
        format=format,
        picture=picture,
        keep_source=keep_source,
        limit=limit,
        max_failures=max_failures,
    )
    if dry_run:
        _dry_run(options)
        return commands.OK
    try:
        manifest = run(options)
    except KeyboardInterrupt:
        _say("interrupted: finished shards are kept, the same command goes on from there")
        return commands.INTERRUPTED
    return _report(options, manifest)


def _actors(text: str) -> tuple[int, int]:
    if text == "auto":
        return (0, 0)
    try:
        fewest, _, most = text.partition(",")
        pair = int(fewest), int(most or fewest)
    except ValueError:
        pair = (0, 0)
    if not 1 <= pair[0] <= pair[1]:
        raise UsageError(f"--actors takes a number or MIN,MAX, not {text!r}")
    return pair


def _report(options: Options, manifest: dict[str, Any]) -> int:
    images, failures = manifest["images"], manifest["failures"]
    print(json.dumps({k: manifest[k] for k in ("images", "failures", "seconds", "recipe")}))
    _say(f"{images:,} dreams, {failures:,} failures: open {options.output.rstrip('/')}/index.html")
    most = options.max_failures
    allowed = most * (images + failures) if most < 1 else most
    if failures > allowed:
        _say(f"more failures than allowed ({failures} > {allowed:g}): see failures.parquet")
        return commands.FAILED
    return commands.OK


if __name__ == "__main__":
    # Under its own name, so that what is pickled for the workers is found there.
    from raydream.jobs import dream_dataset

    commands.run(dream_dataset.app, "dream_dataset")
