"""cards: what dreams and data sets say of themselves."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import yaml

import raydream
from raydream.data import codec, provenance, summary
from raydream.data.job import Job
from raydream.data.marks import Mark
from raydream.data.plan import Part, Plan
from raydream.data.rows import Failure
from raydream.data.summary import Summary
from raydream.errors import UsageError
from raydream.pages import cards
from raydream.recipe import Recipe

RECIPE = Recipe(objective=[{"layer": "mixed4", "weight": 2}], steps=7, seed=5, weights_digest="ab" * 32)
JOB = Job(input="/home/me/my photos", output="/home/me/dreams", recipe=RECIPE)
PLAN = Plan(job=JOB, parts=(Part(shards=2, images=3),), passed_over=1, labels=("cats", "it's: 夢"))
FAILURE = Failure(id="x.jpg", stage="load", error="file is empty")


def mark(shard: int, *objectives: float | None, device: str = "CPU", failures: int = 0) -> Mark:
    """A mark of rows with these objectives; they were 1 before."""
    measured = [value for value in objectives if value is not None]
    return Mark(
        shard=shard,
        images=len(objectives),
        failures=(FAILURE,) * failures,
        measured=len(measured),
        objective_before=1.0 * len(measured),
        objective_after=sum(measured),
        seconds=1.25 * len(objectives),
        device=device,
        part_bytes=9,
        sizes=(),
    )


# ---- inside a picture


def picture(inside: dict[str, Any], format: codec.Format = "png") -> bytes:
    return codec.encode(np.zeros((4, 4, 3), np.uint8), format, inside)


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_what_is_inside_a_dream_comes_back_and_is_enough_to_make_it_again(format: codec.Format) -> None:
    inside = provenance.inside(RECIPE, "cats/caf\udce9 夢.jpg", 2**63 - 1, "cd" * 32)
    found = provenance.found_inside(picture(inside, format), "x.png")
    assert found == inside
    assert found["raydream"] == raydream.__version__
    assert Recipe.parse(found["recipe"]) == RECIPE
    assert found["recipe_digest"] == RECIPE.digest
    assert found["source_sha256"] == "cd" * 32
    assert "dreamer" not in found


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": 5},
        {"recipe": None},
        {"recipe": [1]},
        {"seed": "7"},
        {"seed": -1},
        {"seed": 1.5},
        {"seed": None},
        {"id": None},
        {"id": ["x"]},
        {"source_sha256": 0},
    ],
    ids=str,
)
def test_what_is_inside_must_be_enough(change: dict[str, Any]) -> None:
    inside = provenance.inside(RECIPE, "a.jpg", 1, "cd" * 32)
    for damaged in (inside | change, {k: v for k, v in inside.items() if k not in change}):
        with pytest.raises(UsageError, match=r"^x\.png has no recipe inside: it was not made by raydream, or its"):
            provenance.found_inside(picture(damaged), "x.png")


def test_pictures_of_others_and_files_that_are_none_have_no_recipe_inside() -> None:
    for data in (codec.encode(np.zeros((4, 4, 3), np.uint8)), b"", b"\xff\xd8\xff", b"text"):
        with pytest.raises(UsageError, match="has no recipe inside"):
            provenance.found_inside(data, "x.png")


def test_what_a_dreamer_made_is_not_made_again_by_its_recipe() -> None:
    inside = provenance.inside(RECIPE, "a.jpg", 1, "cd" * 32, dreamer="gs://nets/small.keras")
    with pytest.raises(UsageError, match=r"made by the dreamer gs://nets/small\.keras, not by its recipe"):
        provenance.found_inside(picture(inside), "x.png")


# ---- the manifest


def test_the_manifest_counts_what_the_marks_say() -> None:
    found = [mark(0, 3.0, 5.0, device="GPU"), mark(1, 10.0), mark(2, failures=1)]
    manifest = summary.manifest(PLAN, Summary.of(found), 61.26)
    assert (manifest["images"], manifest["failures"], manifest["labels"], manifest["passed_over"]) == (3, 1, 2, 1)
    assert manifest["shards"] == 2
    assert manifest["devices"] == ["CPU", "GPU"]
    assert manifest["objective_before"] == 1.0
    assert manifest["objective_after"] == 6.0
    assert manifest["seconds"] == 61.3
    assert manifest["dream_seconds"] == 3.8
    assert (manifest["recipe"], manifest["weights"], manifest["preset"]) == (RECIPE.digest, "ab" * 32, None)
    assert manifest["raydream"] == raydream.__version__
    assert manifest["versions"]["numpy"] == np.__version__
    assert set(manifest["versions"]) >= {"tensorflow", "keras", "ray"}
    assert json.loads(json.dumps(manifest)) == manifest


def test_a_manifest_without_dreams_or_measures_has_no_means() -> None:
    for found in ([], [mark(0, None)]):
        manifest = summary.manifest(PLAN, Summary.of(found), 0)
        assert manifest["objective_before"] is None
        assert manifest["objective_after"] is None


def test_nothing_that_is_published_names_a_folder_of_this_machine() -> None:
    plan = replace(PLAN, job=replace(JOB, dreamer="/home/me/nets/small.keras"))
    made = Summary.of([mark(0, 1.0)])
    manifest = summary.manifest(plan, made, 1.0)
    assert (manifest["input"], manifest["dreamer"]) == ("my photos", "small.keras")
    for text in (json.dumps(manifest), cards.dataset(plan, made), cards.dataset(plan, None)):
        assert "/home/me" not in text


def test_a_preset_is_known_by_its_name_after_it_was_resolved() -> None:
    recipe = Recipe.load("classic").resolved("ab" * 32)
    assert summary.preset_of(recipe) == "classic"
    assert summary.preset_of(recipe.changed(steps=3)) is None
    plan = replace(PLAN, job=replace(JOB, recipe=recipe))
    assert f"Recipe classic ({recipe.digest[:12]}):" in cards.dataset(plan, Summary.of([]))


# ---- the gallery's facts


def test_the_gallery_gets_the_essentials() -> None:
    made = Summary.of([mark(0, *[6.0] * 1500, failures=2)])
    assert cards.facts(PLAN, made) == {
        "dreams": "1,500",
        "failures": "2",
        "objective": "1 → 6",
        "recipe": RECIPE.digest[:12],
        "device": "CPU",
        "raydream": raydream.__version__,
    }
    assert cards.facts(PLAN, Summary.of([mark(0, None)])).keys() == {"dreams", "recipe", "device", "raydream"}


# ---- the data set card


def card(format: Any = "parquet", finished: bool = True, **changes: Any) -> tuple[dict[str, Any], str]:
    """The card's head, and its words; `changes` are of the job or of the sums."""
    job = {name: changes.pop(name) for name in ("recipe", "license", "keep_source") if name in changes}
    plan = replace(PLAN, job=replace(JOB, format=format, **job))
    made = replace(Summary.of([mark(0, 1.0)]), **changes)
    start, head, words = cards.dataset(plan, made if finished else None).split("---\n", 2)
    assert start == ""
    return yaml.safe_load(head), words


def test_the_head_has_the_license() -> None:
    assert card()[0]["license"] == "other"
    assert card(license="cc-by-4.0")[0]["license"] == "cc-by-4.0"


def test_labels_are_classes_in_the_head_of_parquet() -> None:
    features = card(keep_source=True)[0]["dataset_info"]["features"]
    kinds = {feature["name"]: feature["dtype"] for feature in features}
    assert kinds["label"] == {"class_label": {"names": {"0": "cats", "1": "it's: 夢"}}}
    assert kinds["dream"] == kinds["source"] == "image"
    assert kinds["seed"] == "int64"
    assert "dataset_info" not in card("webdataset")[0]


@pytest.mark.parametrize(("format", "ending"), [("parquet", "parquet"), ("webdataset", "tar"), ("files", "jsonl")])
def test_of_an_unfinished_data_set_the_head_names_the_parts(format: str, ending: str) -> None:
    head, words = card(format, finished=False)
    (files,) = head["configs"][0]["data_files"]
    assert files["path"] == f"_raydream/parts/*.{ending}"
    assert "Not finished: 3 photographs" in words


@pytest.mark.parametrize(
    ("format", "path"), [("parquet", "data/*.parquet"), ("webdataset", "data/*.tar"), ("files", "data/**")]
)
def test_the_head_says_where_the_data_are_and_nothing_else_of_the_folder(format: str, path: str) -> None:
    head, _ = card(format)
    assert head["configs"] == [{"config_name": "default", "data_files": [{"split": "train", "path": path}]}]


@pytest.mark.parametrize(
    ("images", "category"),
    [
        (0, "n<1K"),
        (999, "n<1K"),
        (1_000, "1K<n<10K"),
        (99_999, "10K<n<100K"),
        (100_000, "100K<n<1M"),
        (5_000_000, "n>1M"),
    ],
)
def test_the_size_category_is_the_hubs(images: int, category: str) -> None:
    assert card(images=images)[0]["size_categories"] == [category]


def test_the_words_give_counts_and_the_recipe() -> None:
    _, words = card(images=1234, failures=6)
    assert "1,234 dreams of 1,240 photographs" in words
    assert "6 could not be dreamed" in words
    assert "could not" not in card(failures=0)[1]
    block = words.partition("```yaml\n")[2].partition("```")[0]
    assert Recipe.parse(yaml.safe_load(block)) == RECIPE
    assert RECIPE.digest[:12] in words


def test_only_of_webdataset_the_words_say_how_its_columns_are_named() -> None:
    assert "`dream.png`" in card("webdataset")[1]
    assert "dream.png" not in card("parquet")[1]


def test_odd_values_of_a_recipe_do_not_break_the_head() -> None:
    odd = RECIPE.changed(backbone="a: b\n---\n夢.keras")
    head, words = card(recipe=odd)
    assert set(head) == {"pretty_name", "license", "tags", "size_categories", "configs", "dataset_info"}
    block = words.partition("```yaml\n")[2].partition("```")[0]
    assert Recipe.parse(yaml.safe_load(block)) == odd


def test_the_command_on_a_card_is_what_was_typed() -> None:
    options = {"data": "/home/me/cats", "shares": (0.6, 0.2, 0.2), "batch_size": 8, "objectives": ("a+b", "c")}
    options |= {"flip": False, "keep_source": True}
    assert cards.command("retrain", options) == (
        "python -m raydream.jobs.retrain --data cats --shares 0.6,0.2,0.2 --batch-size 8 --objectives a+b,c "
        "--no-flip --keep-source"
    )
