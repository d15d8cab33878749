"""What each worker of the job does: training, then the figures of the best epoch."""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from raydream.data.storage import Folder
from raydream.jobs.generating.measures import Epoch, Measurer
from raydream.jobs.generating.plan import Judge, Plan
from raydream.jobs.train import loop, streams
from raydream.models import gan as models
from raydream.training import gan
from raydream.training.gan import Adversaries, Share
from raydream.types import KerasModel

PHASE = "gan"
FIGURES = "evaluation.json"
_FRESH = 1000  # added to the seed: noise and crops that have not chosen the best epoch


def train(settings: dict[str, Any]) -> None:
    """Trains, or continues an earlier run. `settings["plan"]` is a `Plan`."""
    worker, plan = loop.Worker.start(settings), settings["plan"]
    job = plan.job
    share = Share(batch_size=job.method.batch_size, seed=job.seed, rank=worker.rank, workers=worker.workers)
    with worker.strategy.scope():
        learner = learner_of(plan, share)
    data = streams.Crops(
        folder=plan.folder,
        names=plan.learnt,
        side=job.size,
        steps=job.steps,
        batch_size=job.method.batch_size,
        rank=worker.rank,
        workers=worker.workers,
        seed=job.seed,
    )
    schedule = loop.Schedule(name=PHASE, epochs=job.epochs, patience=job.patience, measure="KID", lower=True)
    loop.run(learner, data, schedule, worker)
    if not worker.rank:
        worker.tell("say", "measuring the best epoch")
        write_figures(plan)


def learner_of(plan: Plan, share: Share) -> Adversaries:
    """The learner with new networks; equal seeds give equal ones."""
    import keras

    job = plan.job
    keras.utils.set_random_seed(job.seed % 2**32)
    epoch = Epoch(plan, first=not share.rank)
    measures = gan.Measures(evaluate=epoch.evaluate, pictures=epoch.pictures)
    if job.network == "dcgan":
        networks = models.dcgan(job.size), models.dcgan_critic(job.size)
        losses, momentum, features = (gan.cross_entropy, gan.cross_entropy), (0.9, 0.999), _unchanged
    else:
        judge = Judge(job)
        networks = models.fastgan(job.size), models.projected_critic(judge.shapes(), seed=job.seed)
        losses, momentum, features = (gan.hinge, gan.negative), (0.0, 0.99), judge.features
    method = job.method
    rules = gan.Rules(critic_loss=losses[0], generator_loss=losses[1], average=method.average, augment=method.augment)
    adam = partial(keras.optimizers.Adam, method.learning_rate, *momentum)
    return Adversaries(networks, features, (adam(name="generator"), adam(name="critic")), rules, share, measures)


def _unchanged(images: Any) -> Any:
    return images


def write_figures(plan: Plan) -> None:
    """Measures the exported generator, and real dreams for comparison."""
    measurer, seed = Measurer(plan), plan.job.seed + _FRESH
    reference = measurer.reference(seed)
    generator = exported(plan)
    images = gan.images_of(generator, gan.noise_of(generator, range(plan.job.samples), seed))
    figures = {"gan": measurer.figures(images, reference), "real dreams": measurer.of_real(reference, seed + 2)}
    Folder(plan.job.output).write(FIGURES, json.dumps(figures, indent=1).encode())


def exported(plan: Plan) -> KerasModel:
    """The generator of the best epoch."""
    from raydream.core.networks import loading

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / gan.GENERATOR
        path.write_bytes(Folder(plan.job.output).read(gan.GENERATOR))
        return loading.load_keras(str(path), what="GAN")
