"""Trains a GAN on dreams, on Ray Train. It makes new dreams from noise.

    python -m raydream.jobs.train_gan --data dreams --output trained

The data is the output of the data set job, or any folder of pictures. The GAN learns from random crops of the dreams.
These are not resized, since shrinking a dream removes its details. The same command continues where it stopped.

    OUT/generator.keras            the generator of the epoch with the lowest KID: for `raydream imagine --gan`
    OUT/evaluation.json            its metrics, and those of real dreams
    OUT/README.md                  the card: data, command, metrics
    OUT/grids/epoch-00012.png      pictures of the same noise after each epoch
    OUT/epochs.webp                the grids as an animation
    OUT/walk.webp                  a walk through the latent space
    OUT/metrics.jsonl              one line for each epoch
    OUT/tensorboard/...            metrics and grids for TensorBoard
    OUT/unreadable.csv             dreams that cannot be used, with the reason (only if any)
    OUT/_raydream/...              checkpoints, settings, images of packed data sets
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import typer

from raydream.cli import commands, options
from raydream.jobs.generating.job import GanTraining

# Settings that may change when a run continues.
_CHANGEABLE = ("output", "workers", "gpus_per_worker", "epochs", "patience", "recipe")


def run(job: GanTraining) -> dict[str, Any]:
    """Trains the GAN, or continues an earlier run.

    Returns:
        The metrics of the GAN and of real dreams, as in `evaluation.json`.

    Raises:
        UsageError: an option, the data or the network cannot be used.
        WorkError: the work failed, or another driver works on this output.
        KeyboardInterrupt: on SIGINT or SIGTERM; finished epochs are kept.
    """
    from raydream.jobs.dreaming.lease import Lease
    from raydream.jobs.generating.finish import finish
    from raydream.jobs.generating.plan import FeatureNetwork, make_plan, prepare
    from raydream.jobs.generating.train import train
    from raydream.jobs.train import fit, settings

    job = prepare(job)
    with Lease(job.output) as lease:
        values = asdict(job) | job.hyperparameters._asdict()
        values = {key: value for key, value in values.items() if key not in _CHANGEABLE}
        settings.check(job.output, values)
        plan = make_plan(job, _say)
        digests = {
            "network (digest)": FeatureNetwork(job).digest[:12],
            "dreams (digest)": plan.digest[:12],
        }
        settings.check_or_store(job.output, values | digests)
        fit.run(train, {"plan": plan, "lease": lease.token}, job, job.hyperparameters.batch_size)
        lease.check()
        return finish(plan)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(job: Callable[..., GanTraining]) -> int:
    """Train a GAN on dreams, which makes new dreams from noise.

    The same command continues where it stopped; with more --epochs, it goes on.

    Exit status: 0 done, 1 the work failed, 2 wrong usage, 130 interrupted (finished epochs are kept).
    """
    asked = job()
    try:
        metrics = run(asked)
    except KeyboardInterrupt:
        _say("interrupted: finished epochs are kept, the same command continues")
        return commands.INTERRUPTED
    found = ", ".join(f"{name} {value:.3g}" for name, value in metrics["gan"].items())
    _say(f"{found}: see {asked.output.rstrip('/')}/README.md")
    return commands.OK


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command(epilog="Example: python -m raydream.jobs.train_gan --data dreams --output trained --size 64")(
    options.command(GanTraining, main)
)

if __name__ == "__main__":
    commands.run(app, "train_gan")
