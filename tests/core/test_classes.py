"""classes: names inside a .keras file, and a class's logit as an objective that equals its channel's to the byte."""

import io
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raydream import assets
from raydream.core import engine
from raydream.core.networks.classes import classes_of, resolved, with_classes
from raydream.core.objectives import Term, logit, mean
from raydream.errors import UsageError
from raydream.recipe import Recipe
from tests.conftest import TINY_CLASSES, outputs, random_images, tiny_classifier


def zipped(**entries: str | bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name.replace("_", "."), content)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def whole() -> Any:
    return tiny_classifier()


def recipe_for(classifier: str, objective: Any) -> Recipe:
    return Recipe(backbone=classifier, objective=objective, octaves=2, steps=4, tile=96)


# ---- the file


def test_keras_loads_a_file_with_classes_as_before(whole: Any, classifier: str) -> None:
    import keras

    images = random_images(48, 40)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = keras.saving.load_model(classifier, compile=False, safe_mode=True)
    np.testing.assert_array_equal(outputs(again, images), outputs(whole, images))


def test_names_come_back_and_are_replaced(classifier: str, tiny_path: str, tmp_path: Path) -> None:
    assert classes_of(classifier) == TINY_CLASSES
    assert classes_of(tiny_path) is None
    data = Path(classifier).read_bytes()
    (tmp_path / "again.keras").write_bytes(with_classes(data, ["a", "b", "c", "d"]))
    assert classes_of(str(tmp_path / "again.keras")) == ("a", "b", "c", "d")
    with zipfile.ZipFile(tmp_path / "again.keras") as new, zipfile.ZipFile(tiny_path) as old:
        assert sorted(new.namelist()) == sorted([*old.namelist(), "classes.json"])
    assert with_classes(data, TINY_CLASSES) == data  # the same network and names, the same bytes


@pytest.mark.parametrize("names", [[], ["a", "a"], ["a", ""], ["a", 7]])
def test_names_that_are_no_names_are_not_written(names: list[Any]) -> None:
    with pytest.raises(UsageError, match="one or more different names"):
        with_classes(zipped(config_json="{}"), names)


@pytest.mark.parametrize("data", [b"", b"not a zip", zipped(a_json="{}" * 50)[:-30]])
def test_what_is_no_keras_file_gets_no_names(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"not a \.keras or \.npz file"):
        with_classes(data, TINY_CLASSES)
    (tmp_path / "net.keras").write_bytes(data)
    assert classes_of(str(tmp_path / "net.keras")) is None


def test_a_file_that_does_not_exist_has_no_classes(tmp_path: Path) -> None:
    assert classes_of(str(tmp_path / "none.keras")) is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[", "cannot be read"),
        (b"\xff\xfe\xff", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("{}", "must be a list of one or more different names"),
        ("[]", "must be a list of one or more different names"),
        ('["a", 7]', "must be a list of one or more different names"),
        ('["a", "a"]', "must be a list of one or more different names"),
    ],
    ids=["half", "no text", "bomb", "mapping", "empty", "number", "twice"],
)
def test_broken_names_are_one_line(content: str | bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    path.write_bytes(zipped(config_json="{}", classes_json=content))
    with pytest.raises(UsageError) as error:
        classes_of(str(path))
    assert str(error.value).startswith(f"classes.json in {path} {said}")
    assert "\n" not in str(error.value)


def test_a_damaged_entry_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    path.write_bytes(zipped(classes_json='["banjo"]').replace(b"banjo", b"bingo"))
    with pytest.raises(UsageError, match=r"cannot be read: Bad CRC"):
        classes_of(str(path))


# ---- the objective


def test_a_class_is_resolved_to_its_channel(classifier: str) -> None:
    recipe = recipe_for(classifier, 2 * logit("fig") + mean("low"))
    found = assets.resolve(recipe)
    assert found.objective.terms == (
        Term(layer="class_logits", channels=(1,), weight=2.0, class_name="fig"),
        Term(layer="low"),
    )
    assert found.objective.layers == ("class_logits", "low")
    assert assets.resolve(found) == found == Recipe.parse(found.as_dict())
    assert assets.load(recipe)[0] == found


def test_its_objective_is_the_logit(whole: Any, classifier: str) -> None:
    import keras

    images = random_images(64, 80)
    logits = outputs(keras.Model(whole.inputs, whole.get_layer("logits").output), images)
    for number, name in enumerate(TINY_CLASSES):
        recipe, backbone = assets.load(recipe_for(classifier, logit(name)))
        np.testing.assert_allclose(engine.measure(images, recipe, backbone), logits[:, number], rtol=1e-4)


def test_a_dream_towards_a_class_raises_its_logit_and_equals_its_channels_to_the_byte(classifier: str) -> None:
    images = random_images(64, 80)
    for number, name in enumerate(TINY_CLASSES):
        dreams = []
        for objective in (logit(name), {"layer": "class_logits", "channels": [number]}):
            recipe, backbone = assets.load(recipe_for(classifier, objective))
            dreams.append(engine.dream(images, recipe, backbone, [1]))
        np.testing.assert_array_equal(*dreams)
        assert engine.measure(dreams[0], recipe, backbone)[0] > engine.measure(images, recipe, backbone)[0] + 0.1


def test_another_classifier_has_another_channel(classifier: str, tmp_path: Path) -> None:
    """The name of the class decides, also in a recipe that was resolved for another file."""
    other = tmp_path / "other.keras"
    other.write_bytes(with_classes(Path(classifier).read_bytes(), TINY_CLASSES[::-1]))
    before = assets.resolve(recipe_for(classifier, logit("fig")))
    after = assets.resolve(Recipe.parse(before.as_dict(), {"backbone": str(other)}))
    assert [found.objective.terms[0].channels for found in (before, after)] == [(1,), (2,)]


@pytest.mark.parametrize("work", [assets.resolve, assets.load, assets.load_for])
def test_a_class_that_is_not_there_is_one_line(work: Any, classifier: str, tiny_path: str) -> None:
    with pytest.raises(UsageError) as unknown:
        work(recipe_for(classifier, logit("bajno")))
    assert str(unknown.value) == (
        f"backbone {classifier!r} has no class 'bajno': did you mean 'banjo'? valid: {', '.join(TINY_CLASSES)}"
    )
    for backbone in (tiny_path, "inception_v3"):
        with pytest.raises(UsageError) as none:
            work(recipe_for(backbone, logit("banjo")))
        assert str(none.value) == (
            f"backbone {backbone!r} has no classes: use a classifier.keras made by raydream retrain"
        )


def test_a_recipe_that_is_not_resolved_does_not_dream_of_something_else(classifier: str) -> None:
    recipe = recipe_for(classifier, logit("fig"))
    backbone = assets.load_for(recipe)
    with pytest.raises(UsageError, match="class 'fig' has no channel yet: use the recipe that"):
        engine.dream(random_images(64, 64), recipe, backbone, [1])


def test_objectives_without_classes_stay_the_same(tiny_path: str) -> None:
    objective = mean("low")
    assert resolved(objective, tiny_path) is objective
