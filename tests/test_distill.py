"""distill: what is compared, that learning from it helps, and the crops that dream on meanwhile."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from raydream.backbones import load_backbone
from raydream.models import lite
from raydream.training import distill
from raydream.training.distill import Answer, Distillation, Memory
from tests.conftest import TINY_LAYERS

SIDE = 96


@pytest.fixture(scope="module")
def teacher(tiny_path):
    return load_backbone(tiny_path, TINY_LAYERS)


def distillation(teacher, student=None, rate=3e-3):
    keras.utils.set_random_seed(0)
    strides = [field.stride for field in teacher.axes[0].fields()]
    layers = {n: (s, teacher.channels(n)) for n, s in zip(teacher.layers, strides, strict=True)}
    student = student or lite.build(layers)
    squares = distill.mean_squares(teacher, list(images(4)))
    optimizer = keras.optimizers.Adam(rate)
    optimizer.build(student.trainable_variables)
    return Distillation(student, teacher, squares, optimizer, batch=4)


def images(count, seed=0):
    """Smooth random images, (count, SIDE, SIDE, 3)."""
    noise = np.random.default_rng(seed).normal(size=(count, SIDE // 8, SIDE // 8, 3))
    return np.tanh(tf.image.resize(noise, (SIDE, SIDE), "bicubic").numpy()).astype(np.float32)


def objectives(count, layers=3):
    random = np.random.default_rng(0)
    mix = tf.constant(random.exponential(size=(count, layers)), tf.float32)
    return mix, tf.constant(np.arange(count) % 2, tf.float32)


def same(model):
    """The teacher's network as a student, which knows it all."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def test_a_student_that_is_the_teacher_makes_no_error(teacher):
    learner = distillation(teacher, same(teacher.model))
    batch, (mix, power) = tf.constant(images(4)), objectives(4)
    found = learner.compare(batch, mix, power, learner.ask(batch, mix, power))
    np.testing.assert_allclose(found["error"], 0.0, atol=1e-9)
    np.testing.assert_allclose(found["cosine"], 1.0, atol=1e-5)
    figures = learner.figures(list(images(3)), [1.0, 0.0, 2.0], power=1.0)
    assert [figures[name] for name in distill.COSINES] == pytest.approx([1.0] * 3, abs=1e-5)
    assert max(figures[layer] for layer in TINY_LAYERS) < 1e-9


def test_a_student_that_says_nothing_errs_by_all_of_it(teacher):
    student = same(teacher.model)
    student.set_weights([np.zeros_like(weight) for weight in student.get_weights()])
    learner = distillation(teacher, student)
    figures = learner.figures(list(images(3)), [1.0, 1.0, 1.0], power=0.0)
    assert [figures[layer] for layer in TINY_LAYERS] == pytest.approx([1.0, 1.0, 1.0])
    assert [figures[name] for name in distill.COSINES] == [0.0] * 3
    batch, (mix, power) = tf.constant(images(4)), objectives(4)
    error = learner.compare(batch, mix, power, learner.ask(batch, mix, power))["error"].numpy()
    assert (error > 0.5).all()
    assert (error <= 1.0).all()


def test_the_gradient_is_that_of_the_objective_it_is_asked_for(teacher):
    """Of means and of mean squares, in units of what photographs give, mixed: against numbers."""
    learner = distillation(teacher)
    batch = images(2)
    mix, power = np.array([[1.0, 0.5, 0.0], [0.0, 0.0, 2.0]], np.float32), np.array([0.0, 1.0], np.float32)
    gradient = learner.ask(tf.constant(batch), tf.constant(mix), tf.constant(power)).gradient.numpy()

    def value(image, index):
        planes = [plane.numpy()[0].astype(np.float64) for plane in teacher.activations(tf.constant(image[None]))]
        usual = [float(np.mean(squares)) for squares in learner.squares]
        if power[index]:
            parts = [np.mean(plane**2) / u for plane, u in zip(planes, usual, strict=True)]
        else:
            parts = [np.mean(plane) / u**0.5 for plane, u in zip(planes, usual, strict=True)]
        return float(np.dot(mix[index], parts))

    random = np.random.default_rng(1)
    for index in range(2):
        direction = gradient[index] + gradient[index].std() * random.normal(size=batch[0].shape).astype(np.float32)
        direction /= np.abs(direction).max()
        ahead, behind = (value(batch[index] + sign * 2e-3 * direction, index) for sign in (1, -1))
        assert (ahead - behind) / 4e-3 == pytest.approx(float((gradient[index] * direction).sum()), rel=0.02)


def test_cells_that_lie_elsewhere_are_brought_together(teacher):
    """A teacher that pads where lite does not has more cells: the student's are compared with those at their place."""
    learner = distillation(teacher)
    batch = tf.constant(images(1))
    mine, theirs = learner.student(batch), teacher.activations(batch)
    pairs = learner._same_cells(mine, theirs)
    for axis in (0, 1):
        student = distill.Axis(learner.student, axis).fields()
        for own, other, offset in zip(student, teacher.axes[axis].fields(), learner._offsets, strict=True):
            apart = (other.first + other.last) / 2 - (own.first + own.last) / 2 - offset[axis] * own.stride
            assert abs(apart) <= own.stride / 2
    assert any(a.shape != b.shape for a, b in zip(mine, theirs, strict=True))
    assert all(a.shape == b.shape for a, b in pairs)


def test_of_one_layer_too(tiny_path):
    learner = distillation(load_backbone(tiny_path, ["mix"]))
    batch, (mix, power) = tf.constant(images(4)), objectives(4, layers=1)
    found = learner.compare(batch, mix, power, learner.ask(batch, mix, power))
    assert found["error"].shape == (4, 1)
    assert set(learner.figures(list(images(2)), [1.0], power=0.0)) == {"mix", *distill.COSINES}


def test_learning_helps(teacher):
    learner = distillation(teacher)
    batch, (mix, power) = tf.constant(images(4)), objectives(4)
    answer = learner.ask(batch, mix, power)
    step = tf.function(learner.step, autograph=False)
    found = [step(batch, mix, power, answer) for _ in range(60)]
    assert (found[-1]["error"].numpy().mean(0) < 0.7 * found[0]["error"].numpy().mean(0)).all()
    assert found[-1]["cosine"].numpy().mean() > found[0]["cosine"].numpy().mean() + 0.1


def memory(teacher, size=16, seed=0):
    learner = distillation(teacher)
    fresh = (np.uint8(127.5 * (image + 1)) for n in itertools.count() for image in images(8, seed=n))
    return Memory(fresh, tf.function(learner.ask, autograph=False), 3, size, np.random.default_rng(seed)), learner


def test_memory_keeps_the_teachers_answers_to_what_it_holds(teacher):
    held, learner = memory(teacher)
    for _ in range(5):
        held.renew(8)
    where, (batch, mix, power, answer) = held.sample(6)
    assert len(set(where)) == 6
    np.testing.assert_array_equal(batch, held.images[where])
    assert isinstance(answer, Answer)
    again = learner.ask(batch, mix, power)
    for kept, new in zip([*answer.planes, answer.gradient], [*again.planes, again.gradient], strict=True):
        np.testing.assert_allclose(kept, new, rtol=1e-3, atol=1e-5)


def test_memory_moves_the_oldest_on_and_half_of_it_are_photographs(teacher, monkeypatch):
    held, _ = memory(teacher, size=64)
    monkeypatch.setattr(held, "_start", lambda: np.zeros((SIDE, SIDE, 3), np.float32))
    before = held.images.copy()
    held.renew(32)
    fresh = [not image.any() for image in held.images]
    assert fresh[:32:2] == [True] * 16
    assert 0 <= sum(fresh[1:32:2]) <= 6, "some of the dreams end"
    changed = [not np.array_equal(a, b) for a, b in zip(before, held.images, strict=True)]
    assert changed == [True] * 32 + [False] * 32
    held.renew(32)
    assert not held.images[32].any()
    assert np.abs(held.images).max() <= 1.0


def test_memory_follows_the_students_gradient_too(teacher):
    """Half of the moves are the student's: with a gradient that only ever brightens, many dreams end brighter."""
    held, _ = memory(teacher, size=128)
    held.mine[:] = np.linspace(1.0, 2.0, SIDE)[:, None, None]
    before = held.images.mean((1, 2, 3))
    held.renew(128)
    brighter = held.images.mean((1, 2, 3)) - before
    assert 10 <= (brighter[1::2] > 0.05).sum() <= 50
    assert not held.mine.any(), "what the student said of a crop is not said of what became of it"
