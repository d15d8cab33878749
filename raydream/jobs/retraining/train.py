"""What each worker of the retraining job does: the two phases, then the test."""

from __future__ import annotations

import io
from functools import partial
from typing import Any

import numpy as np

from raydream.data import codec
from raydream.data.storage import Folder
from raydream.jobs.retraining import features, grid
from raydream.jobs.retraining.base import Base
from raydream.jobs.retraining.plan import HEAD_FOLDER, TEST, Plan
from raydream.jobs.train import checkpoints, loop, streams
from raydream.training.augmentation import Augmentation

HEAD, TUNE = "head", "fine-tuning"


def train(settings: dict[str, Any]) -> None:
    """Both phases and the test; continues an earlier run. `settings["plan"]` is a `Plan`."""
    worker, plan = loop.Worker.start(settings), settings["plan"]
    if not checkpoints.reached(TUNE):
        _train_head(plan, worker)
    _tune(plan, worker)
    if not worker.rank:
        worker.tell("say", "testing")
        _test(plan)


def _train_head(plan: Plan, worker: loop.Worker) -> None:
    from raydream.training.classifier import Head

    job = plan.job
    known = features.examined(job, plan.found).features

    def part(name: str) -> streams.Arrays:
        arrays = {"features": known[plan.members(name)], "label": plan.labels(name)}
        return streams.Arrays(
            arrays=arrays, batch_size=job.batch_size, rank=worker.rank, workers=worker.workers, seed=job.seed
        )

    with worker.strategy.scope():
        head = Head(
            known.shape[1],
            len(plan.found.classes),
            job.head_learning_rate,
            job.head_weight_decay,
            batch_size=job.batch_size,
            smoothing=job.label_smoothing,
            validation=part("validation").all,
        )
    schedule = loop.Schedule(name=HEAD, epochs=job.head_epochs, patience=job.patience, export=HEAD_FOLDER)
    loop.run(head, part("train"), schedule, worker)


def _pictures(plan: Plan, part: str, rank: int, workers: int) -> streams.Pictures:
    job = plan.job
    members = plan.members(part)
    return streams.Pictures(
        folder=plan.found.folder,
        names=[plan.found.names[n] for n in members],
        labels=plan.labels(part).tolist(),
        side=job.size,
        batch_size=job.batch_size,
        rank=rank,
        workers=workers,
        seed=job.seed,
        augmentation=Augmentation(shear=job.shear, zoom=job.zoom, flip=job.flip) if part == "train" else None,
        mixup=job.mixup if part == "train" else 0.0,
    )


def _tune(plan: Plan, worker: loop.Worker) -> None:
    import keras

    from raydream.training import classifier

    job = plan.job
    data = _pictures(plan, "train", worker.rank, worker.workers)
    with worker.strategy.scope():
        network = classifier.classifier(Base(job).network, len(plan.found.classes))
        with np.load(io.BytesIO(Folder(job.output).read(f"{HEAD_FOLDER}/head.npz"))) as head:
            classifier.set_head(network, head["kernel"], head["bias"])
        classifier.unfreeze(network, str(job.unfreeze))
        rate = keras.optimizers.schedules.CosineDecay(job.learning_rate, max(1, job.epochs) * data.steps)
        tuner = classifier.Tuner(
            network,
            keras.optimizers.SGD(rate, momentum=0.9),
            batch_size=job.batch_size,
            smoothing=job.label_smoothing,
            validation=_pictures(plan, "validation", worker.rank, worker.workers).all,
            classes=plan.found.classes,
            dropout=classifier.Dropout(share=job.dropout, seed=job.seed, rank=worker.rank, workers=worker.workers),
            show=partial(grid.grid, plan),
        )
    schedule = loop.Schedule(name=TUNE, epochs=job.epochs, patience=job.patience, from_start=True)
    loop.run(tuner, data, schedule, worker)


def _test(plan: Plan) -> None:
    """Writes the probabilities of the test images: `probabilities` float32 (images, classes)."""
    import tempfile
    from pathlib import Path

    import tensorflow as tf

    from raydream.core.networks import loading

    job = plan.job
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "classifier.keras"
        path.write_bytes(Folder(job.output).read("classifier.keras"))
        network = loading.load_keras(str(path), what="classifier")
    run = tf.function(lambda images: network([images]), autograph=False, reduce_retracing=True)
    batches = _pictures(plan, "test", 0, 1).all()
    found = [np.asarray(run(codec.from_uint8(batch["image"]))) for batch in batches]
    sink = io.BytesIO()
    np.savez(sink, probabilities=np.concatenate(found).astype(np.float32))
    Folder(job.output).write(TEST, sink.getvalue())
