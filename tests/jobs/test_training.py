"""training: two workers learn as one, and what is written down of it, on a real local Ray cluster."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raydream.data import codec
from raydream.errors import UsageError, WorkError
from tests.common import RAY

pytestmark = RAY
SIDE, BATCH, STEPS = 80, 4, 10


def learn_as_one(settings: dict[str, Any]) -> None:
    """Ten steps of a small network that learns a blurred image, on batches that the workers share out.

    With Adam, and with plain gradient descent, which unlike Adam is not blind to a loss that is twice as large with two
    workers. Each worker saves the weights it began with and ended with.
    """
    from raydream.jobs.train import checkpoints, fit

    strategy = fit.strategy()
    import keras
    import tensorflow as tf

    from raydream.core import update

    mine = slice(checkpoints.rank(), None, settings["workers"])
    for name, kind, rate in (("adam", keras.optimizers.Adam, 1.5e-4), ("sgd", keras.optimizers.SGD, 0.3)):
        keras.utils.set_random_seed(0)
        with strategy.scope():
            steps = [keras.layers.Conv2D(8, 3, activation="relu"), keras.layers.Conv2D(3, 3)]
            learner = keras.Sequential([keras.Input((None, None, 3)), *steps])
            optimizer = kind(rate)
            optimizer.build(learner.trainable_variables)

        def step(images: Any, learner: Any = learner, optimizer: Any = optimizer) -> None:
            wanted = update.blur(images, 1.0)[:, 2:-2, 2:-2]
            with tf.GradientTape() as tape:
                each = tf.reduce_mean(tf.square(learner(images) - wanted), axis=(1, 2, 3))
                loss = tf.reduce_sum(each) / BATCH
            slopes = tape.gradient(loss, learner.trainable_variables)
            optimizer.apply_gradients(zip(slopes, learner.trainable_variables, strict=True))

        run = tf.function(lambda images, step=step: strategy.run(step, (images,)), autograph=False)
        weights = [np.concatenate([np.ravel(variable) for variable in learner.variables])]
        for batch in settings["images"]:
            run(tf.constant(batch[mine]))
        weights.append(np.concatenate([np.ravel(variable) for variable in learner.variables]))
        np.save(Path(settings["folder"]) / f"{name}-{settings['workers']}-{checkpoints.rank()}.npy", weights)


def test_two_workers_end_equal_and_like_one(cluster: None, tmp_path: Path) -> None:
    from raydream.jobs.train import fit

    random = np.random.default_rng(0)
    coarse = random.uniform(-1.0, 1.0, (STEPS * BATCH, 8, 8, 3)).astype(np.float32)
    images = np.stack([codec.fit(image, SIDE) for image in coarse]).reshape(STEPS, BATCH, SIDE, SIDE, 3)
    for workers in (1, 2):
        settings = {"workers": workers, "folder": str(tmp_path), "images": images}
        fit.fit(learn_as_one, settings, str(tmp_path / str(workers)), fit.workers(workers, BATCH, None), {})
    for name in ("adam", "sgd"):
        one, first, second = (np.load(tmp_path / f"{name}-{which}.npy") for which in ("1-0", "2-0", "2-1"))
        (start, one), (_, first), (_, second) = one, first, second
        assert np.abs(first - second).max() == 0.0
        apart, moved = np.abs(first - one).max(), np.abs(one - start).max()
        print(f"{name}: apart {apart:.1e}, moved {moved:.1e}")
        assert apart < 1e-5
        assert moved > 100 * apart


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


def learn_and_stop(settings: dict[str, Any]) -> None:
    """One epoch a run of some optimizer steps; what it began with and ended with is saved."""
    from raydream.jobs.train import checkpoints, fit

    strategy = fit.strategy()
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(settings["seed"])
    with strategy.scope():
        network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
        optimizer = keras.optimizers.Adam(0.1)
        optimizer.build(network.trainable_variables)
    state = checkpoints.State([*network.variables, *optimizer.variables])
    begun = state.restored()
    np.savez(Path(settings["folder"]) / f"begun-{begun}.npz", *map(np.asarray, state.variables))

    def step() -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(network(tf.ones((2, 3))) - 1.0))
        optimizer.apply_gradients(
            zip(tape.gradient(loss, network.trainable_variables), network.trainable_variables, strict=True)
        )

    for _ in range(3):
        strategy.run(tf.function(step, autograph=False))
    state.report(begun + 1, {})
    np.savez(Path(settings["folder"]) / f"ended-{begun + 1}.npz", *map(np.asarray, state.variables))


def test_the_next_run_begins_as_the_last_one_ended(cluster: None, tmp_path: Path) -> None:
    """To the last bit, the optimizer's memory too; from a path with a space, which Arrow's own URLs cannot have."""
    from raydream.jobs.train import fit

    for seed in (1, 2):
        settings = {"seed": seed, "folder": str(tmp_path)}
        scaling = fit.workers(1, 1, None)
        fit.fit(learn_and_stop, settings, f"file://{tmp_path}/a run", scaling, {})
    first, ended, again = (np.load(tmp_path / f"{name}.npz") for name in ("begun-0", "ended-1", "begun-1"))
    assert any((first[name] != ended[name]).any() for name in first.files)
    for name in ended.files:
        np.testing.assert_array_equal(again[name], ended[name])
    assert 3 in [array.item() for array in again.values() if array.shape == ()], "steps that the optimizer took"


def learn_the_mean_colour(settings: dict[str, Any]) -> None:
    """Three epochs on crops of the photographs; may kill itself once, after the first."""
    from raydream.jobs.train import checkpoints, fit, photographs
    from raydream.jobs.train import journal as journals

    strategy = fit.strategy()
    import tensorflow as tf

    with strategy.scope():
        colour = tf.Variable(tf.zeros(3))
    state = checkpoints.State([colour])
    begun = state.restored()
    crops = photographs.crops(32, np.random.default_rng(begun))
    journal = journals.Journal(settings["output"], begun)
    for epoch in range(begun, 3):
        for _ in range(20):
            colour.assign_add(0.2 * (next(crops).mean((0, 1)) / 127.5 - 1.0 - colour))
        journal.write({"epoch": epoch + 1.0, "red": float(colour[0])}, [[np.zeros((4, 4, 3), np.float32)]])
        state.report(epoch + 1, {})
        flag = Path(settings["output"]) / "killed"
        if epoch == 1 and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_learner_of_photographs_goes_on_where_its_worker_was_killed(cluster: None, tmp_path: Path) -> None:
    from raydream.jobs.train import fit, photographs
    from raydream.jobs.train import journal as journals

    (tmp_path / "in").mkdir()
    for number in range(16):
        picture = np.full((40, 50, 3), 0.5, np.float32)
        (tmp_path / f"in/{number:02}.png").write_bytes(codec.encode(picture))
    (tmp_path / "in/03.png").write_bytes(b"no picture")
    found = photographs.Photographs.of(str(tmp_path / "in"))
    output = str(tmp_path / "out")
    (tmp_path / "out").mkdir()
    data = {photographs.SHARD: found.dataset(most=48, blocks=1)}
    fit.fit(learn_the_mean_colour, {"output": output}, output, fit.workers(1, 1, None), data)
    lines = journals.history(output)
    assert (tmp_path / "out/killed").exists()
    assert [line["epoch"] for line in lines] == [1.0, 2.0, 3.0]
    assert lines[-1]["red"] == pytest.approx(0.5, abs=0.02)


def fail(settings: dict[str, Any]) -> None:
    raise ValueError("no such\nluck")


def test_an_error_of_the_loop_is_one_line(cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from raydream.jobs.train import fit

    monkeypatch.setattr(fit, "MAX_FAILURES", 0)
    with pytest.raises(WorkError, match=r"^the training stopped: ValueError: no such luck$"):
        fit.fit(fail, {}, str(tmp_path), fit.workers(1, 1, None), {})


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
    journal = journals.Journal(str(tmp_path), finished=0)
    for epoch in (1.0, 2.0, 3.0):
        journal.write({"epoch": epoch, "error": 1 / epoch}, pictures)
    again = journals.Journal(str(tmp_path), finished=2)
    again.write({"epoch": 3.0, "error": 0.25}, pictures)
    assert [line["epoch"] for line in journals.history(str(tmp_path))] == [1.0, 2.0, 3.0]
    assert journals.history(str(tmp_path))[-1]["error"] == 0.25
    assert all(json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines())
    sheet = codec.decode((tmp_path / "grids/epoch-00003.png").read_bytes())
    assert sheet.shape == (16, 36, 3)
    assert len(list((tmp_path / "tensorboard").glob("events.*"))) == 2
