"""spaces: what is drawn, what a recipe becomes, and what is refused."""

from typing import Any

import numpy as np
import pytest

from raydream.data.spaces import Choice, Range, Space, parse, recipe_with
from raydream.errors import UsageError
from raydream.recipe import Recipe

ALL = {
    "step_size": "loguniform(0.005, 0.05)",
    "blend": "uniform(0.1, 0.4)",
    "octaves": "randint(2, 4)",
    "objective": {"choice": ["mixed3", ["mixed4", {"layer": "mixed5", "weight": 0.5}]]},
    "chroma": {"grid": [0, 1]},
}


def drawn(values: dict[str, Any], count: int = 400) -> list[dict[str, Any]]:
    space = parse(values)
    return [space.draw(0, number) for number in range(count)]


def test_what_is_drawn_is_in_the_space() -> None:
    found = drawn(ALL)
    sizes = [one["step_size"] for one in found]
    assert min(sizes) >= 0.005
    assert max(sizes) <= 0.05
    assert np.median(sizes) == pytest.approx((0.005 * 0.05) ** 0.5, rel=0.15), "the logarithm is even"
    assert np.median([one["blend"] for one in found]) == pytest.approx(0.25, abs=0.03)
    assert {one["octaves"] for one in found} == {2, 3, 4}
    assert all(isinstance(one["octaves"], int) for one in found)
    assert sum(one["objective"] == "mixed3" for one in found) == pytest.approx(200, abs=40)
    assert [one["chroma"] for one in found[:4]] == [0, 1, 0, 1], "the values of a grid take turns"


def test_a_trial_depends_on_the_seed_and_its_number_alone() -> None:
    space = parse(ALL)
    assert space.draw(0, 7) == parse(ALL).draw(0, 7)
    assert space.draw(0, 7)["step_size"] != space.draw(1, 7)["step_size"] != space.draw(1, 8)["step_size"]


def test_a_grid_has_every_combination_once() -> None:
    space = parse({"steps": {"grid": [5, 10, 20]}, "objective": {"choice": ["mixed3", "mixed4"]}})
    assert space.combinations == 6
    found = [tuple(space.combination(number).values()) for number in range(6)]
    assert len(set(found)) == 6
    assert found[:2] == [(5, "mixed3"), (5, "mixed4")]


def test_a_space_is_read_as_it_is_written() -> None:
    space = parse(ALL)
    assert parse(space.plain()) == space
    assert hash(Range(0, 1)) == hash(Range(0, 1))
    exact = parse({"seed": "randint(0, 12345678)", "blend": "uniform(0.12345678, 0.5)"})
    assert parse(exact.plain()) == exact, "all digits count"


@pytest.mark.parametrize("values", [Range(1, 4), Range(0.01, 1, log=True), Range(2, 9, whole=True), Range(3, 3)])
def test_shares_and_variations_of_a_range(values: Range) -> None:
    random = np.random.default_rng(0)
    for share in (0.01, 0.4, 0.99):
        value = values.at(share)
        assert values.at(values.share(value)) == value
        near = [values.vary(value, 0.1, random) for _ in range(50)]
        assert all(values.low <= other <= values.high for other in near)
    assert values.examples == (values.low, values.high)
    middle = values.at(0.5)
    part = values.near(middle, 0.1)
    assert values.low <= part.low <= middle <= part.high <= values.high
    assert part.high - part.low < values.high - values.low or values.low == values.high


def test_variations_of_a_list() -> None:
    values, random = Choice(("a", "b", "c")), np.random.default_rng(0)
    found = [values.vary("a", 0.3, random) for _ in range(300)]
    assert found.count("a") == pytest.approx(240, abs=30)
    assert set(found) == {"a", "b", "c"}


def test_the_recipe_of_a_trial() -> None:
    base = Recipe.load("quick")
    found = recipe_with(base, {"step_size": 0.03, "objective": ["mixed3", "mixed5"], "objective.1.weight": 0.25})
    assert found.step_size == 0.03
    assert [(term.layer, term.weight) for term in found.objective.terms] == [("mixed3", 1.0), ("mixed5", 0.25)]
    assert recipe_with(base, {"steps.0": 7}).steps == (7, 36, 16, 6)
    assert recipe_with(base, {"objective.0.layer": "mixed4"}).objective.terms[0].layer == "mixed4"
    (first, _) = recipe_with(base, {"objective.0.weight": 3, "objective.0": "mixed2"}).objective.terms
    assert (first.layer, first.weight) == ("mixed2", 3.0), "whatever the order of the keys"
    assert base == Recipe.load("quick")


def test_another_guide_has_another_digest() -> None:
    guide = {"kind": "guide", "layer": "mixed3", "guide": "a.png", "guide_digest": "0" * 64}
    base = Recipe.parse({"objective": [guide]})
    assert recipe_with(base, {"steps": 3}).pictures == {"a.png": "0" * 64}
    assert recipe_with(base, {"objective.0.guide": "b.png"}).pictures == {"b.png": None}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"step_siz": 0.1}, r"space: unknown key 'step_siz': did you mean 'step_size'\?"),
        ({"objective.2.weight": 1}, r"space: objective.2.weight: '2' must be a number from 0 to 1"),
        ({"objective.0.wieght": 1}, r"objective\[0\]: unknown key 'wieght': did you mean 'weight'\?"),
        ({"octaves.0": 1}, r"space: octaves.0: '0' leads nowhere: there is 4, not a list or a mapping"),
        ({"nothing.0": 1}, r"space: nothing.0: '0' leads nowhere"),
        ({"blend": 2}, r"space: blend: must be at most 1, not 2"),
        ({"octaves": 5}, r"steps: a list of 4, but octaves is 5"),
    ],
)
def test_a_recipe_that_is_none_is_one_line(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        recipe_with(Recipe.load("quick"), parameters)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("loguniform(0.05, 0.005)", r"space: k: loguniform\(0.05, 0.005\) is upside down: the lower end comes first"),
        ("loguniform(0, 1)", "must begin above 0"),
        ("uniform(1)", r"must have two numbers, as in uniform\(1, 4\)"),
        ("uniform(a, b)", "must have two numbers"),
        ("uniform(0, nan)", "must have two numbers"),
        ("loguniform(1, inf)", "must have two numbers"),
        ("randint(5, 2)", "is upside down"),
        ("randint(1, 2.5)", "must have whole numbers"),
        ("loguniorm(1, 2)", r"unknown 'loguniorm': did you mean 'loguniform'\?"),
        ({"choice": []}, r"choice must be a list of at least one value, such as choice: \[1, 2\], not \[\]"),
        ({"grid": 3}, "grid must be a list of at least one value"),
        ({"chioce": [1]}, r"must be loguniform\(low, high\)"),
        (0.02, r"must be loguniform\(low, high\), .* not 0.02"),
        ([1, 2], "must be loguniform"),
    ],
)
def test_values_that_are_none_are_one_line(values: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        parse({"k": values})
    assert "\n" not in str(error.value)


def test_a_space_without_keys_is_refused() -> None:
    with pytest.raises(UsageError, match="no key to vary: use --space"):
        parse({})


def test_the_examples_have_all_ends_and_all_values() -> None:
    found = list(parse(ALL).examples())
    for key, values in dict(parse(ALL).keys).items():
        assert all(any(one[key] == value for one in found) for value in values.examples)


def test_the_part_of_a_space_around_parameters() -> None:
    space = parse(ALL)
    part = dict(space.near(space.draw(0, 0), 0.1).keys)
    assert part["objective"] == Choice((space.draw(0, 0)["objective"],)), "other layers are not near"
    assert isinstance(part["step_size"], Range)
    assert part["step_size"].high / part["step_size"].low < 2
    assert isinstance(space.near(space.draw(0, 0), 0.1), Space)
    lists = parse({"objective": ALL["objective"]})
    assert lists.near(lists.draw(0, 0), 0.1) == lists, "there must be something to vary"
