"""training: two workers learn as one, and what is written down of it, on a real local Ray cluster."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raydream.data import codec
from raydream.errors import UsageError, WorkError
from raydream.jobs.train import streams
from tests.common import RAY

pytestmark = RAY


class Line:
    """A learner with one weight and one state of the optimizer: it fits y = 3 x by gradient descent with momentum."""

    def __init__(self, batch_size: int, rate: float = 0.1) -> None:
        import keras
        import tensorflow as tf

        keras.utils.set_random_seed(0)
        network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
        self.network, self.batch_size = network, batch_size
        self.optimizer = keras.optimizers.SGD(rate, momentum=0.5)
        self.optimizer.build(network.trainable_variables)
        self.error = tf.function(lambda x: tf.square(network(x) - 3.0 * x), autograph=False)

    def variables(self) -> dict[str, Any]:
        return {v.path: v for v in (*self.network.variables, *self.optimizer.variables)}

    def step(self, batch: Any) -> dict[str, Any]:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            errors = self.error(batch["x"])
            loss = tf.reduce_sum(errors) / self.batch_size
        weights = self.network.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return {"loss": tf.reduce_sum(errors), "examples": tf.cast(tf.shape(batch["x"])[0], tf.float32)}

    def evaluate(self) -> dict[str, float]:
        error = float(np.sum(self.error(np.ones((2, 1), np.float32))))
        return {"nearness": -error, "examples": 2.0}

    def pictures(self) -> Any:
        return [[np.zeros((4, 4, 3), np.float32)]]

    def export(self, folder: Path) -> None:
        np.save(folder / "weight.npy", np.asarray(self.network.trainable_variables[0]))


@dataclass(frozen=True, kw_only=True)
class Spoiled(streams.Arrays):
    """Arrays, but one epoch has values that are not numbers."""

    spoiled: int | None

    def epoch(self, epoch: int) -> Iterator[Any]:
        for batch in super().epoch(epoch):
            yield {"x": batch["x"] * np.float32("nan")} if epoch == self.spoiled else batch


def inputs() -> Any:
    return np.random.default_rng(1).uniform(-1, 1, (64, 1)).astype(np.float32)


def learn_the_line(settings: dict[str, Any]) -> None:
    """Trains a `Line`; kills a worker once after some epoch, or raises, as the settings say."""
    from raydream.jobs.train import loop

    worker = loop.Worker.start(settings)
    with worker.strategy.scope():
        learner = Line(8, settings.get("rate", 0.1))
    share = {"batch_size": 8, "rank": worker.rank, "workers": worker.workers, "seed": 5}
    data = Spoiled(arrays={"x": inputs()}, spoiled=settings.get("spoiled"), **share)
    out = Path(settings["output"])
    evaluate, epochs = learner.evaluate, [0]

    def watched() -> dict[str, float]:
        epochs[0] += 1
        flag = out / "killed"
        if settings.get("kill") == worker.rank and epochs[0] == 2 and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return evaluate()

    learner.evaluate = watched  # type: ignore[method-assign]
    if settings.get("raises"):
        raise ValueError("no such\nluck")
    schedule = loop.Schedule(
        name="line", epochs=settings["epochs"], metric="nearness", patience=settings.get("patience", 0), export="best"
    )
    loop.run(learner, data, schedule, worker)
    np.save(out / f"end-{worker.rank}.npy", np.asarray(learner.network.trainable_variables[0]))


def trained(output: Path, workers: int = 1, **settings: Any) -> Any:
    """The weight at the end of a run."""
    from raydream.jobs.train import fit

    output.mkdir(exist_ok=True)
    fit.fit(learn_the_line, {"epochs": 4, **settings}, str(output), fit.workers(workers, 8, None))
    ends = [np.load(output / f"end-{rank}.npy") for rank in range(workers)]
    assert all((end == ends[0]).all() for end in ends)
    return ends[0]


def alone(epochs: int = 4) -> Any:
    """The weight that one process finds without Ray."""
    learner = Line(8)
    data = streams.Arrays(arrays={"x": inputs()}, batch_size=8, rank=0, workers=1, seed=5)
    for epoch in range(epochs):
        for batch in data.epoch(epoch):
            learner.step(batch)
    return np.asarray(learner.network.trainable_variables[0])


def test_two_workers_learn_like_one_process_and_a_death_changes_nothing(cluster: None, tmp_path: Path) -> None:
    whole = alone()
    two = trained(tmp_path / "two", workers=2, kill=1)
    assert (tmp_path / "two/killed").exists()
    assert 1.0 < float(whole[0, 0]) < 3.0
    np.testing.assert_allclose(two, whole, atol=1e-5)
    lines = [json.loads(line) for line in (tmp_path / "two/metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert lines[2]["validation nearness"] > lines[0]["validation nearness"]
    np.testing.assert_array_equal(np.load(tmp_path / "two/best/weight.npy"), two)


@pytest.mark.slow
def test_the_same_command_continues_and_gives_the_same_weights(cluster: None, tmp_path: Path) -> None:
    """From a path with a space, which Arrow's own URLs cannot have."""
    whole = trained(tmp_path / "whole")
    trained(tmp_path / "in parts", epochs=2)
    np.testing.assert_array_equal(trained(tmp_path / "in parts"), whole)
    lines = (tmp_path / "in parts/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3, 4]


@pytest.mark.slow
def test_a_run_that_diverges_ends_with_its_reason_and_keeps_its_best(cluster: None, tmp_path: Path) -> None:
    with pytest.raises(WorkError, match=r"line, epoch 2: loss is nan: .*use a lower learning rate"):
        trained(tmp_path / "out", spoiled=1)
    assert np.isfinite(np.load(tmp_path / "out/best/weight.npy")).all()
    assert len((tmp_path / "out/metrics.jsonl").read_text().splitlines()) == 1


def test_a_phase_that_gets_worse_never_replaces_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fine-tuning starts from a good head; if no epoch is better, the results stay those of the start."""
    from raydream.jobs.train import checkpoints, loop

    class Worse(Line):
        qualities = iter([0.9, 0.8, 0.85, 0.7])

        def evaluate(self) -> dict[str, float]:
            return {"nearness": 2 * next(self.qualities), "examples": 2.0}

    class Alone(loop.Worker):
        def traced(self, function: Any) -> Any:
            return function

        def summed(self, sums: Any) -> dict[str, float]:
            return dict(sums)

        def tell(self, message: str, *values: Any) -> None:
            pass

    monkeypatch.setattr(checkpoints, "restored", lambda variables, phase: checkpoints.State(phase=phase))
    monkeypatch.setattr(checkpoints, "report", lambda *given: None)
    learner = Worse(8)
    start = np.asarray(learner.network.trainable_variables[0])
    data = streams.Arrays(arrays={"x": inputs()}, batch_size=8, rank=0, workers=1, seed=5)
    schedule = loop.Schedule(name="fine-tuning", epochs=3, metric="nearness", export="best", from_start=True)
    loop.run(learner, data, schedule, Alone(None, 0, 1, str(tmp_path), None))
    assert (np.asarray(learner.network.trainable_variables[0]) != start).all()
    np.testing.assert_array_equal(np.load(tmp_path / "best/weight.npy"), start)


@pytest.mark.parametrize(
    ("nodes", "asked", "number", "each"),
    [
        ([{"CPU": 2.0}], None, 2, {"CPU": 0.9}),
        ([{"CPU": 6.0}], None, 4, {"CPU": 0.9}),
        ([{"CPU": 6.0}], 2, 2, {"CPU": 2.9}),
        ([{"CPU": 4.0}, {"CPU": 4.0}], 1, 1, {"CPU": 3.9}),
        ([{"CPU": 4.0}, {"CPU": 6.0}], 3, 3, {"CPU": 2.9}),
        ([{"CPU": 60.0}, {"CPU": 4.0, "GPU": 3.0}], None, 2, {"GPU": 1.0}),
    ],
)
def test_as_many_workers_as_fit_and_share_a_batch_of_eight(
    monkeypatch: pytest.MonkeyPatch,
    nodes: list[dict[str, float]],
    asked: int | None,
    number: int,
    each: dict[str, float],
) -> None:
    from raydream.jobs.train import fit

    whole = {key: sum(node.get(key, 0.0) for node in nodes) for key in ("CPU", "GPU")}
    monkeypatch.setattr(fit.ray, "cluster_resources", lambda: whole)
    monkeypatch.setattr(fit.ray, "nodes", lambda: [{"Alive": True, "Resources": node} for node in nodes])
    scaling = fit.workers(asked, 8, None)
    assert scaling.num_workers == number
    assert scaling.resources_per_worker == pytest.approx(each)


def test_a_cluster_without_room_may_grow_and_this_machine_cannot(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from raydream.jobs.train import fit

    monkeypatch.setattr(fit.ray, "cluster_resources", lambda: {"CPU": 2.0})
    monkeypatch.setattr(fit.ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 2.0}}])
    monkeypatch.setattr(fit.cluster, "started_here", lambda: True)
    with pytest.raises(UsageError, match="--workers 4: this machine has room for 2"):
        fit.workers(4, 8, None)
    with pytest.raises(UsageError, match="--gpus-per-worker 1: this machine has no GPU"):
        fit.workers(4, 8, 1.0)
    monkeypatch.setattr(fit.cluster, "started_here", lambda: False)
    assert fit.workers(4, 8, 1.0).resources_per_worker == {"GPU": 1.0}
    assert "room for 0 of 4 workers: waiting" in capsys.readouterr().err
    assert fit.workers(4, 8, None).resources_per_worker == pytest.approx({"CPU": 0.9})
    assert "room for 2 of 4 workers: waiting" in capsys.readouterr().err


@pytest.mark.slow
def test_an_error_of_the_loop_is_one_line_and_no_death(cluster: None, tmp_path: Path) -> None:
    with pytest.raises(WorkError, match=r"^the training stopped: ValueError: no such luck$"):
        trained(tmp_path / "out", raises=True)


def test_other_settings_are_refused_with_the_difference(tmp_path: Path) -> None:
    from raydream.jobs.train import settings

    output = str(tmp_path / "out")
    settings.check_or_store(output, {"crop": 139, "layers": ("a", "b")})
    settings.check_or_store(output, {"crop": 139, "layers": ("a", "b")})
    with pytest.raises(UsageError, match="holds a run with crop 139, not 128: use the same"):
        settings.check_or_store(output, {"crop": 128, "layers": ("a", "b")})


def test_the_journal_drops_what_was_written_after_the_checkpoint(tmp_path: Path) -> None:
    from raydream.jobs.train import journal as journals

    pictures = [[np.zeros((8, 12, 3), np.float32)] * 3, [np.ones((8, 12, 3), np.float32)] * 3]
    journals.Journal(str(tmp_path), "head", finished=0).write({"phase": "head", "epoch": 1, "error": 2.0}, [])
    journal = journals.Journal(str(tmp_path), "tune", finished=0)
    for epoch in (1, 2, 3):
        journal.write({"phase": "tune", "epoch": epoch, "error": 1 / epoch}, pictures)
    again = journals.Journal(str(tmp_path), "tune", finished=2)
    again.write({"phase": "tune", "epoch": 3, "error": 0.25}, pictures)
    lines = journals.history(str(tmp_path))
    assert [(line["phase"], line["epoch"]) for line in lines] == [("head", 1), ("tune", 1), ("tune", 2), ("tune", 3)]
    assert lines[-1]["error"] == 0.25
    sheet = codec.decode((tmp_path / "grids/epoch-00004.png").read_bytes())
    assert sheet.shape == (16, 36, 3)
    assert len(list((tmp_path / "tensorboard").glob("events.*"))) == 3


def test_a_checkpoint_of_another_shape_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray.train
    import tensorflow as tf

    from raydream.jobs.train import checkpoints

    reported: list[Any] = []

    class Context:
        @staticmethod
        def get_world_rank() -> int:
            return 0

    def keep(metrics: Any, checkpoint: Any) -> None:
        reported.append(metrics)
        shutil.copytree(checkpoint.path, tmp_path / "kept")

    monkeypatch.setattr(checkpoints.ray.train, "get_context", Context)
    monkeypatch.setattr(checkpoints.ray.train, "report", keep)
    state = checkpoints.State(phase="head").after((0.5, -2.0)).after((0.4, 0.0)).after((0.5, -1.0)).after((0.5, -1.5))
    assert (state.epochs, state.best, state.best_epoch) == (4, (0.5, -1.0), 3), "of equal metrics, the lower loss"
    checkpoints.report({"kernel": tf.Variable(tf.ones((2, 3)))}, state, {"loss": 1.0})
    assert reported == [{"loss": 1.0}]
    kept = ray.train.Checkpoint.from_directory(str(tmp_path / "kept"))
    monkeypatch.setattr(checkpoints.ray.train, "get_checkpoint", lambda: kept)
    same = tf.Variable(tf.zeros((2, 3)))
    assert checkpoints.restored({"kernel": same}, "head") == state
    assert (same.numpy() == 1.0).all()
    assert checkpoints.restored({}, "another") == checkpoints.State(phase="another")
    with pytest.raises(UsageError, match=r"has kernel of shape \(2, 3\), not \(2, 4\)"):
        checkpoints.restored({"kernel": tf.Variable(tf.zeros((2, 4)))}, "head")
    with pytest.raises(UsageError, match="has no variable bias"):
        checkpoints.restored({"bias": same}, "head")
