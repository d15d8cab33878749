"""What each worker of the job does: training, then the metrics of the best epoch."""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from raydream.data.storage import Folder
from raydream.jobs.generating.metrics import EpochEvaluation, Measurer
from raydream.jobs.generating.plan import FeatureNetwork, Plan
from raydream.jobs.train import loop, streams
from raydream.models import gan as models
from raydream.training import gan
from raydream.training.gan import GanLearner, WorkerRandom
from raydream.types import KerasModel

PHASE = "gan"
EVALUATION = "evaluation.json"
_EVALUATION_SEED = 1000  # added to the seed: other noise and crops than those that choose the best epoch


def train(settings: dict[str, Any]) -> None:
    """Trains, or continues an earlier run. `settings["plan"]` is a `Plan`."""
    worker, plan = loop.Worker.start(settings), settings["plan"]
    job = plan.job
    batch_size = job.hyperparameters.batch_size
    random = WorkerRandom(batch_size=batch_size, seed=job.seed, rank=worker.rank, workers=worker.workers)
    with worker.strategy.scope():
        learner = make_learner(plan, random)
    data = streams.Crops(
        folder=plan.folder,
        names=plan.learnt,
        side=job.size,
        steps=job.steps,
        batch_size=batch_size,
        rank=worker.rank,
        workers=worker.workers,
        seed=job.seed,
    )
    schedule = loop.Schedule(name=PHASE, epochs=job.epochs, patience=job.patience, metric="KID", lower_is_better=True)
    loop.run(learner, data, schedule, worker)
    if not worker.rank:
        worker.tell("say", "measuring the best epoch")
        write_metrics(plan)


def make_learner(plan: Plan, random: WorkerRandom) -> GanLearner:
    """The learner with new networks; equal seeds give equal ones."""
    import keras

    job = plan.job
    keras.utils.set_random_seed(job.seed % 2**32)
    epoch = EpochEvaluation(plan, first=not random.rank)
    evaluation = gan.Evaluation(metrics=epoch.metrics, pictures=epoch.pictures)
    if job.network == "dcgan":
        networks = models.dcgan(job.size), models.dcgan_critic(job.size)
        losses, betas, features = (gan.non_saturating_loss, gan.non_saturating_loss), (0.9, 0.999), _identity
    else:
        network = FeatureNetwork(job)
        networks = models.fastgan(job.size), models.projected_critic(network.shapes(), seed=job.seed)
        losses, betas, features = (gan.hinge_loss, gan.hinge_generator_loss), (0.0, 0.99), network.features
    chosen = job.hyperparameters
    critic_loss, generator_loss = losses
    gan_options = gan.GanOptions(
        critic_loss=critic_loss, generator_loss=generator_loss, ema_decay=chosen.ema_decay, augment=chosen.augment
    )
    adam = partial(keras.optimizers.Adam, chosen.learning_rate, *betas)
    optimizers = adam(name="generator"), adam(name="critic")
    return GanLearner(networks, features, optimizers, gan_options, random, evaluation)


def _identity(images: Any) -> Any:
    return images


def write_metrics(plan: Plan) -> None:
    """Evaluates the exported generator, and real dreams for comparison."""
    measurer, seed = Measurer(plan), plan.job.seed + _EVALUATION_SEED
    reference = measurer.reference(seed)
    generator = exported(plan)
    images = gan.generate(generator, gan.generator_inputs(generator, range(plan.job.samples), seed))
    found = {"gan": images, "real dreams": measurer.copies(reference, seed + 2)}
    metrics = {name: measurer.metrics(each, reference) for name, each in found.items()}
    Folder(plan.job.output).write(EVALUATION, json.dumps(metrics, indent=1).encode())


def exported(plan: Plan) -> KerasModel:
    """The generator of the best epoch."""
    from raydream.core.networks import loading

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / gan.GENERATOR
        path.write_bytes(Folder(plan.job.output).read(gan.GENERATOR))
        return loading.load_keras(str(path), what="GAN")
