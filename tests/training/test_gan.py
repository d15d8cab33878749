"""The learner of GANs: its losses, its random numbers, and that it learns."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from raydream.models import gan as models
from raydream.training import gan
from raydream.training.gan import Evaluation, GanLearner, GanOptions, WorkerRandom


def small_networks() -> tuple[Any, Any]:
    """A generator of images in one colour each (n, 8, 8, 3), and a critic of images."""
    keras.utils.set_random_seed(0)
    latents = keras.Input((4,))
    colours = keras.layers.Dense(3, activation="tanh", name="colours")(latents)
    images = keras.layers.UpSampling2D(8, name="images")(keras.layers.Reshape((1, 1, 3))(colours))
    image = keras.Input((8, 8, 3))
    hidden = keras.layers.Dense(16, activation="relu", name="hidden")(keras.layers.GlobalAveragePooling2D()(image))
    return keras.Model([latents], images), keras.Model(image, keras.layers.Dense(1, name="logits")(hidden))


def learner(random: WorkerRandom, augment: bool = False, ema_decay: float = 0.9) -> GanLearner:
    losses = {"critic_loss": gan.hinge_loss, "generator_loss": gan.hinge_generator_loss}
    options = GanOptions(**losses, ema_decay=ema_decay, augment=augment)
    evaluation = Evaluation(metrics=lambda _: {"KID": 1.0, "examples": 1.0}, pictures=lambda _: [])
    optimizers = tuple(keras.optimizers.Adam(0.02, 0.0, 0.9, name=name) for name in ("generator", "critic"))
    return GanLearner(small_networks(), lambda images: images, optimizers, options, random, evaluation)


def batch(count: int, colour: tuple[int, int, int] = (230, 40, 128)) -> dict[str, Any]:
    return {"image": np.broadcast_to(np.array(colour, np.uint8), (count, 8, 8, 3))}


# ---- losses


def test_losses_are_their_formulas() -> None:
    logits = tf.constant([-2.0, 0.5, 3.0])
    assert np.asarray(gan.hinge_loss(logits)).tolist() == [3.0, 0.5, 0.0]
    assert np.asarray(gan.hinge_generator_loss(logits)).tolist() == [2.0, -0.5, -3.0]
    np.testing.assert_allclose(gan.non_saturating_loss(logits), -np.log(1 / (1 + np.exp([2.0, -0.5, -3.0]))), rtol=1e-5)


def test_the_first_step_changes_both_networks_by_the_gradients_of_their_own_losses() -> None:
    """One step of SGD, compared with gradients that are computed separately."""
    found = learner(WorkerRandom(batch_size=6, seed=1))
    found._optimizers = keras.optimizers.SGD(1.0), keras.optimizers.SGD(1.0)
    for optimizer, network in zip(found._optimizers, (found.generator, found.critic), strict=True):
        optimizer.build(network.trainable_variables)
    latents = WorkerRandom(batch_size=6, seed=1).draw("normal", (4,), 0, 0)
    real = batch(6)["image"] / 127.5 - 1.0
    with tf.GradientTape() as of_generator:
        loss = -tf.reduce_mean(found.critic(found.generator([latents])))
    wanted = of_generator.gradient(loss, found.generator.trainable_variables)
    with tf.GradientTape() as of_critic:
        logits = found.critic(real), found.critic(found.generator([latents]))
        critic_loss = tf.reduce_mean(tf.nn.relu(1 - logits[0])) + tf.reduce_mean(tf.nn.relu(1 + logits[1]))
    wanted += of_critic.gradient(critic_loss, found.critic.trainable_variables)
    weights = [*found.generator.trainable_variables, *found.critic.trainable_variables]
    before = [np.asarray(weight) for weight in weights]
    sums = found.step(batch(6))
    for weight, old, gradient in zip(weights, before, wanted, strict=True):
        np.testing.assert_allclose(old - np.asarray(weight), gradient, atol=1e-5)
    assert float(sums["examples"]) == 6
    assert float(sums["generator loss"]) / 6 == pytest.approx(float(loss), abs=1e-5)
    assert float(sums["critic loss"]) / 6 == pytest.approx(float(critic_loss), abs=1e-5)


# ---- random numbers


def test_workers_share_the_numbers_of_a_step() -> None:
    one = WorkerRandom(batch_size=6, seed=3)
    parts = [WorkerRandom(batch_size=6, seed=3, rank=rank, workers=2) for rank in (0, 1)]
    for kind in ("normal", "uniform"):
        whole = np.asarray(one.draw(kind, (2,), 5, 1))
        dealt = np.stack([np.asarray(part.draw(kind, (2,), 5, 1)) for part in parts], axis=1).reshape(6, 2)
        np.testing.assert_array_equal(dealt, whole)
        others = [
            one.draw(kind, (2,), 6, 1),
            one.draw(kind, (2,), 5, 2),
            WorkerRandom(batch_size=6, seed=4).draw(kind, (2,), 5, 1),
        ]
        assert not any(np.array_equal(np.asarray(other), whole) for other in others)


def test_noise_depends_on_the_number_and_the_seed_alone() -> None:
    model = models.fastgan(32)
    latents, noise_map = gan.generator_inputs(model, [0, 1, 2], seed=7)
    assert (latents.shape, noise_map.shape) == ((3, 128), (3, 32, 32, 1))
    for part, whole in zip(gan.generator_inputs(model, [2], seed=7), (latents, noise_map), strict=True):
        np.testing.assert_array_equal(part[0], whole[2])
    assert not np.array_equal(gan.generator_inputs(model, [2], seed=8)[0][0], latents[2])
    assert abs(noise_map.std() - 1.0) < 0.05


def test_augmentation_moves_and_covers() -> None:
    image = np.arange(1, 65, dtype=np.float32).reshape(1, 8, 8, 1) * np.ones(3, np.float32) / 64
    centre = np.array([[0.5, 0.5, 0.999, 0.999]], np.float32)
    same = np.asarray(gan.augmented(tf.constant(image), centre, hole=0.0))
    np.testing.assert_array_equal(same, image)
    moved = np.asarray(gan.augmented(tf.constant(image), np.array([[0.0, 0.999, 0.5, 0.5]]), shift=0.25, hole=0.0))
    np.testing.assert_array_equal(moved[0, 2:, :-2], image[0, :-2, 2:])
    assert (moved[0, :2] == 0).all()
    assert (moved[0, :, -2:] == 0).all()
    covered = np.asarray(gan.augmented(tf.constant(image), np.array([[0.5, 0.5, 0.5, 0.25]]), hole=0.5))
    hidden = (covered[0, ..., 0] == 0).nonzero()
    assert (hidden[0].min(), hidden[0].max(), hidden[1].min(), hidden[1].max()) == (2, 5, 0, 3)
    assert (covered == image).sum() == image.size - 3 * 16


def test_augmentation_passes_the_gradient() -> None:
    images = tf.random.stateless_normal((3, 8, 8, 3), (1, 2))
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(gan.augmented(images, tf.random.stateless_uniform((3, 4), (3, 4))))
    gradient = np.asarray(tape.gradient(total, images))
    assert set(np.unique(gradient)) == {0.0, 1.0}


# ---- learning


@pytest.mark.parametrize("augment", [False, True])
def test_the_generator_learns_the_colour_of_the_images(augment: bool) -> None:
    found = learner(WorkerRandom(batch_size=16, seed=0), augment)
    step = tf.function(found.step, autograph=False)
    for _ in range(150):
        step(batch(16))
    images = gan.generate(found.averaged, gan.generator_inputs(found.averaged, range(50), 1))
    np.testing.assert_allclose(images.mean((0, 1, 2)), np.array([230, 40, 128]) / 127.5 - 1.0, atol=0.35)
    start = gan.generate(small_networks()[0], gan.generator_inputs(found.averaged, range(50), 1))
    assert abs(start.mean((0, 1, 2))[0] - 0.8) > 0.5


def test_two_halves_of_a_batch_give_the_gradient_of_the_whole() -> None:
    """What the strategy sums over the workers; here one after the other."""
    changes = []
    for workers in (1, 2):
        total: Any = 0.0
        for rank in range(workers):
            found = learner(WorkerRandom(batch_size=4, seed=2, rank=rank, workers=workers), augment=True)
            found._optimizers = keras.optimizers.SGD(1.0), keras.optimizers.SGD(1.0)
            weights = found.generator.trainable_variables + found.critic.trainable_variables
            before = [np.asarray(weight) for weight in weights]
            found.step(batch(4 // workers))
            total = total + np.concatenate([np.ravel(np.asarray(w) - b) for w, b in zip(weights, before, strict=True)])
        changes.append(total)
    np.testing.assert_allclose(*changes, atol=1e-6)
    assert np.abs(changes[0]).max() > 1e-3


def test_the_average_follows_all_variables_and_faster_at_first() -> None:
    found = learner(WorkerRandom(batch_size=4, seed=0), ema_decay=0.9)
    before = [np.asarray(v) for v in found.averaged.variables]
    found.step(batch(4))
    for mean, old, now in zip(found.averaged.variables, before, found.generator.variables, strict=True):
        np.testing.assert_allclose(mean, 0.1 * old + 0.9 * np.asarray(now), atol=1e-6)
    for _ in range(100):
        found.step(batch(4))
    before = [np.asarray(v) for v in found.averaged.variables]
    found.step(batch(4))
    for mean, old, now in zip(found.averaged.variables, before, found.generator.variables, strict=True):
        np.testing.assert_allclose(mean, 0.9 * old + 0.1 * np.asarray(now), atol=1e-6)


def test_everything_that_training_changes_is_in_the_checkpoint(tmp_path: Path) -> None:
    """A learner with the variables of another one takes the same next step."""
    one, other = (learner(WorkerRandom(batch_size=4, seed=0), augment=True) for _ in range(2))
    for _ in range(3):
        one.step(batch(4))
    names = one.variables()
    assert any("optimizer" in name for name in names)
    assert names.keys() == other.variables().keys()
    for name, variable in other.variables().items():
        variable.assign(np.asarray(names[name]))
    for each in (one, other):
        each.step(batch(4))
    for name, variable in other.variables().items():
        np.testing.assert_array_equal(np.asarray(variable), np.asarray(names[name]), err_msg=name)
    one.export(tmp_path)
    loaded = keras.saving.load_model(tmp_path / gan.GENERATOR, safe_mode=True)
    inputs = gan.generator_inputs(loaded, [0, 1], 0)
    np.testing.assert_allclose(gan.generate(loaded, inputs), gan.generate(one.averaged, inputs), atol=2e-3)
