"""Compresses a trained network into a few megabytes for dreaming, on Ray Data.

    python -m raydream.jobs.compress_backbone --input photographs --output compressed --through mixed8

The job collects statistics of the convolutions' inputs, for photographs and half-done dreams, one shard of photographs
at a time. Then it quantizes the weights by GPTQ; see `compression` and `quantization`. The same command continues where
it stopped. With another number of `--bits`, it uses the same statistics.

    OUT/inception_v3.npz                     the network, for `weights:` of its backbone or for `backbone:`
    OUT/README.md                            its card: data, command, figures
    OUT/_raydream/statistics/00000.npz ...   the statistics of each shard
    OUT/_raydream/settings.json              the options that the statistics depend on
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer

from raydream.cli import commands, options
from raydream.errors import UsageError
from raydream.jobs.compressing.job import Compression

if TYPE_CHECKING:
    from raydream.jobs.compressing.original import Original
    from raydream.jobs.train.photographs import Photographs


def run(job: Compression) -> dict[str, Any]:
    """Compresses the network, or continues an earlier run.

    Returns:
        The figures: bytes, errors and cosines, as in the card.

    Raises:
        UsageError: an option or a file cannot be used.
        WorkError: the work failed, or another driver works on this output.
        KeyboardInterrupt: on SIGINT or SIGTERM; finished shards are kept.
    """
    from raydream.jobs.compressing.finish import objectives_of
    from raydream.jobs.compressing.original import Original, prepare
    from raydream.jobs.dreaming.lease import Lease
    from raydream.jobs.train.photographs import Photographs

    job = prepare(job)
    original = Original(job)
    objectives = objectives_of(original)
    found = Photographs.of(job.input)
    with Lease(job.output) as lease:
        return _make(original, found, objectives, lease.token)


def _make(original: Original, found: Photographs, objectives: list[list[str]], lease: str) -> dict[str, Any]:
    """Collects the missing statistics, then compresses the network."""
    from raydream.data.storage import Folder
    from raydream.jobs.compressing import statistics
    from raydream.jobs.compressing.finish import finish
    from raydream.jobs.train import settings

    job = original.job
    out, shards = Folder(job.output), statistics.shards(job, found)
    settings.check_or_store(job.output, _asked(job, original, found))
    todo = [n for n in range(len(shards)) if not out.exists(statistics.name(n))]
    if todo:
        statistics.collect(job, shards, todo, lease)
    moments = statistics.summed(job.output, len(shards))
    if not moments:
        raise UsageError(f"input {job.input}: none of its photographs can be read")
    return finish(original, moments, found, objectives)


def _asked(job: Compression, original: Original, found: Photographs) -> dict[str, Any]:
    """The options that the statistics depend on."""
    wanted = {key: getattr(job, key) for key in ("through", "photographs", "dreams", "crop", "seed")}
    digests = {"network of digest": original.digest[:12], "photographs of digest": found.digest[:12]}
    return wanted | digests


def main(job: Callable[..., Compression]) -> int:
    """Compress a trained network into a few megabytes for dreaming. The same command continues where it stopped.

    Exit status: 0 done, 1 the work failed, 2 wrong usage, 130 interrupted (finished shards are kept).
    """
    asked = job()
    try:
        figures = run(asked)
    except KeyboardInterrupt:
        print("interrupted: finished shards are kept, the same command continues", file=sys.stderr)
        return commands.INTERRUPTED
    print(f"{figures['bytes']:,} bytes: see {asked.output.rstrip('/')}/README.md", file=sys.stderr)
    return commands.OK


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command(epilog="Example: python -m raydream.jobs.compress_backbone --input photographs --output compressed")(
    options.command(Compression, main)
)

if __name__ == "__main__":
    commands.run(app, "compress_backbone")
