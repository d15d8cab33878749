"""objectives: an algebra of plain data, and the numbers it stands for."""

import dataclasses

import numpy as np
import pytest

from raydream.core.objectives import Mean, Objective, Reading, l2, mean


def value(objective, planes, positions=None):
    """The objective of numpy planes {layer: (batch, rows, columns, channels)}."""
    import tensorflow as tf

    total = 0.0
    for number, term in enumerate(objective.terms):
        plane = planes[term.layer]
        count = positions[number] if positions else plane.shape[1] * plane.shape[2]
        statistics = term.statistics(Reading(tf.constant(plane)))
        total = total + term.weight * term.value(statistics, count, ()).numpy()
    return total


@pytest.fixture(scope="module")
def planes():
    random = np.random.default_rng(1)
    return {"a": random.standard_normal((2, 4, 5, 6)), "b": random.standard_normal((2, 3, 2, 4))}


def test_mean_is_the_mean_of_the_plane(planes):
    np.testing.assert_allclose(value(mean("a"), planes), planes["a"].mean(axis=(1, 2, 3)), rtol=1e-12)


def test_l2_is_the_mean_of_the_squares(planes):
    np.testing.assert_allclose(value(l2("a"), planes), (planes["a"] ** 2).mean(axis=(1, 2, 3)), rtol=1e-12)


@pytest.mark.parametrize(("kind", "power"), [(mean, 1), (l2, 2)])
def test_channels_leave_out_the_others(planes, kind, power):
    expected = (planes["a"][..., [4, 1]] ** power).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(value(kind("a", [4, 1]), planes), expected, rtol=1e-12)


def test_positions_of_the_whole_octave_normalise_a_part(planes):
    """Two halves of a plane, each over the positions of both, add up to the plane's own value."""
    objective = mean("a") + 3.0 * l2("a", [0])
    halves = [{"a": planes["a"][:, :1]}, {"a": planes["a"][:, 1:]}]
    parts = sum(value(objective, half, positions=[20, 20]) for half in halves)
    np.testing.assert_allclose(parts, value(objective, planes), rtol=1e-12)


def test_a_plane_without_positions_adds_nothing(planes):
    assert value(mean("a"), {"a": planes["a"][:, :0]}, positions=[20, 20]).tolist() == [0.0, 0.0]


def test_scaling_a_sum_scales_its_value(planes):
    both = mean("a") + l2("b", [1])
    expected = 2.5 * (value(mean("a"), planes) + value(l2("b", [1]), planes))
    np.testing.assert_allclose(value(both * 2.5, planes), expected, rtol=1e-12)


def test_weights_do_not_compound():
    """1 and 10 with weights 0.5 and 2: 20.5; a running product would give 21."""
    planes = {"a": np.full((1, 1, 1, 1), 1.0), "b": np.full((1, 1, 1, 1), 10.0)}
    assert value(0.5 * mean("a") + 2 * mean("b"), planes) == [20.5]
    assert value((0.5 * mean("a") + mean("b")) * 2, planes) == [21.0]


def test_laws():
    a, b, c = mean("a"), l2("b", [1]), mean("c")
    assert (a + b) + c == a + (b + c)
    assert (a + b) * 2 == a * 2 + b * 2
    assert 2 * (a + b) == (a + b) * 2
    assert (a * 2) * 3 == a * 6
    assert a + b != b + a  # the same value, but not the same recipe


def test_operators_leave_their_operands_alone():
    a, b = mean("a"), l2("b")
    (a + b) * 7
    assert a == mean("a")
    assert b == l2("b")


def test_objectives_are_frozen_and_hashable():
    objective = mean("a", [1, 2]) + l2("b")
    assert {objective: 1}[mean("a", (1, 2)) + l2("b")] == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        objective.terms[0].weight = 2.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        objective.terms = ()


@pytest.mark.parametrize("given", [7, [7], (7,), np.array([7]), np.int64(7)])
def test_channels_become_plain_numbers(given):
    (term,) = mean("a", given).terms
    assert term == Mean(layer="a", channels=(7,))
    assert type(term.channels[0]) is int


def test_layers_come_once_in_the_order_of_their_first_term():
    assert (mean("b") + mean("a", [1]) + l2("b")).layers == ("b", "a")


def test_several_terms_may_share_a_layer(planes):
    objective = mean("b", [0]) + mean("a") + -2.0 * l2("b", [3])
    expected = (
        planes["b"][..., 0].mean(axis=(1, 2))
        + planes["a"].mean(axis=(1, 2, 3))
        - 2.0 * (planes["b"][..., 3] ** 2).mean(axis=(1, 2))
    )
    np.testing.assert_allclose(value(objective, planes), expected, rtol=1e-12)


def test_terms_are_keyword_only():
    with pytest.raises(TypeError):
        Mean("a")
    assert Objective().layers == ()
