"""recipe: the preset to the letter, round trips, a digest of what matters, and one line for every mistake."""

import dataclasses
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from raydream.core.objectives import KINDS, Mean, Objective, l2, logit, mean
from raydream.errors import UsageError
from raydream.recipe import Recipe, presets

NAN, INFINITY = float("nan"), float("inf")
FULL = {
    "backbone": "vgg16",
    "weights": "some/file.weights.h5",
    "weights_digest": "ab" * 32,
    "pooling": "average",
    "precision": "bfloat16",
    "objective": [
        {"layer": "block3_conv3", "kind": "l2", "channels": [3, 1], "weight": -0.5},
        {"layer": "block5_conv1"},
    ],
    "size": [320, 240],
    "octaves": 2,
    "octave_scale": 1.25,
    "carry": "blend",
    "blend": 0.3,
    "steps": [5, 7],
    "step_size": 0.05,
    "step_rule": "mean_abs",
    "smoothing": 1.5,
    "chroma": 0.25,
    "tile": 128,
    "tiling": "exact",
    "seed": 9,
    "balance": "source",
    "bands": [1.0, 0.5],
    "rotate": 5.0,
    "rescale": 0.1,
    "keep": "color",
    "mask": "mask.png",
    "mask_digest": "ef" * 32,
}  # fmt: skip
# As in a recipe that is not resolved, and as in one that is.
CLASSES = [
    {"class": "banjo", "weight": -2.0},
    {"layer": "class_logits", "channels": [3], "class": "fig"},
    {"layer": "mixed4"},
]


def refusal(call):
    with pytest.raises(UsageError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 350
    return message


# ---------------------------------------------------------------- presets


def test_natural_dreams_is_the_seeds_recipe():
    """Dataset 3: InceptionV3, 299 x 299, no guide, recursion 2, rescale 0.85, blend 0.15, 100 steps each of 0.02."""
    recipe = Recipe.load("natural-dreams", {"weights": "imagenet"})
    assert (recipe.backbone, recipe.weights) == ("inception_v3", "imagenet")
    assert Recipe.load("natural-dreams") == recipe.changed(weights="compact")
    assert recipe.pooling == "max"
    assert recipe.objective == mean("mixed3") + mean("mixed5")
    assert recipe.size == (299, 299)
    assert recipe.octaves == 3
    assert recipe.octave_scale == pytest.approx(1 / 0.85, rel=1e-6)
    assert (recipe.carry, recipe.blend) == ("blend", 0.15)
    assert recipe.steps == (100, 100, 100)
    assert (recipe.step_size, recipe.step_rule) == (0.02, "std")
    assert (recipe.smoothing, recipe.chroma) == (0.0, 1.0)
    assert (recipe.tile, recipe.tiling) == (512, "roll")


@pytest.mark.parametrize("name", presets())
def test_presets_load_and_say_in_their_head_how_they_look(name):
    from importlib import resources

    Recipe.load(name)
    text = (resources.files("raydream") / "recipes" / f"{name}.yaml").read_text()
    head = " ".join(line[2:] for line in text.split("backbone:")[0].splitlines() if line.startswith("# "))
    assert len(head) > 60
    assert re.search(r"second|minute", head)


def test_unknown_presets_name_the_nearest():
    message = refusal(lambda: Recipe.load("natural-dream"))
    assert message.startswith("unknown recipe 'natural-dream': did you mean 'natural-dreams'? valid: ")
    assert message.endswith(", or a .yaml file")


# ---------------------------------------------------------------- load, dump, parse


def test_a_file_gives_the_recipe(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(FULL))
    recipe = Recipe.load(str(path))
    assert recipe.as_dict() == FULL
    assert recipe.objective == -0.5 * l2("block3_conv3", [3, 1]) + mean("block5_conv1")
    assert (recipe.size, recipe.steps) == ((320, 240), (5, 7))


@pytest.mark.parametrize("values", [{}, FULL, {"size": 256, "steps": 7}, {"objective": CLASSES}])
def test_dump_parse_round_trip(values):
    recipe = Recipe.parse(values)
    again = Recipe.parse(yaml.safe_load(recipe.dump()))
    assert again == recipe
    assert again.digest == recipe.digest
    assert hash(again) == hash(recipe)
    assert Recipe.parse(recipe.as_dict()) == recipe


def test_the_digests_of_recipes_stay_the_same():
    """They are in the files of dreams and data sets."""
    assert Recipe().digest == "e0c325d380e43dfb15b134e8acc0cf966b7b94689a32efeed6da2569f57d13df"
    assert Recipe.load("classic").digest.startswith("372fed20a731")


def test_classes_are_written_as_they_are_read():
    recipe = Recipe.parse({"objective": CLASSES})
    assert recipe.as_dict()["objective"] == CLASSES
    assert len({Recipe(objective=[{"class": name}]).digest for name in ("banjo", "fig")}) == 2


def test_dump_keeps_every_value(tmp_path):
    assert yaml.safe_load(Recipe.parse(FULL).dump()) == FULL


def test_an_empty_file_is_the_default_recipe(tmp_path):
    path = tmp_path / "empty.yaml"
    path.write_text("# nothing yet\n")
    assert Recipe.load(str(path)) == Recipe()


def test_changes_go_over_what_is_loaded():
    recipe = Recipe.load("natural-dreams", {"steps": 5, "tile": 96})
    assert (recipe.steps, recipe.tile, recipe.blend) == (5, 96, 0.15)
    assert recipe.changed(seed=3).seed == 3
    assert recipe.seed == 0


def test_recipes_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe().seed = 1


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("mixed4", mean("mixed4")),
        (["mixed3", "mixed5"], mean("mixed3") + mean("mixed5")),
        ({"layer": "mixed4", "kind": "l2"}, l2("mixed4")),
        ([{"layer": "mixed4", "channels": [7]}, "mixed5"], mean("mixed4", 7) + mean("mixed5")),
        (mean("mixed4") * 2, Objective((Mean(layer="mixed4", weight=2.0),))),
        (Objective((Mean(layer="mixed4", channels=[1, 2], weight=2),)), mean("mixed4", (1, 2)) * 2),
        ((Mean(layer="mixed4"),), mean("mixed4")),
        ({"class": "banjo"}, logit("banjo")),
        ([{"class": "banjo", "weight": 2}, "mixed4"], 2 * logit("banjo") + mean("mixed4")),
        ([{"class": 7}], logit("7")),
        ([Mean(class_name="banjo")], logit("banjo")),
    ],
)
def test_short_forms_of_the_objective(written, meant):
    recipe = Recipe(objective=written)
    assert recipe.objective == meant
    assert hash(recipe) == hash(Recipe(objective=meant))
    assert recipe.digest == Recipe(objective=meant).digest


def test_numbers_as_yaml_reads_them():
    """YAML 1.1 takes 1e-2 for text."""
    recipe = Recipe.parse(yaml.safe_load("{step_size: 1e-2, blend: 0, octave_scale: 2}"))
    assert (recipe.step_size, recipe.blend, recipe.octave_scale) == (0.01, 0.0, 2.0)


def test_steps_of_the_octaves_that_are_left():
    recipe = Recipe(octaves=3, steps=(1, 2, 3))
    assert [recipe.steps_of(i, 3) for i in range(3)] == [1, 2, 3]
    assert [recipe.steps_of(i, 2) for i in range(2)] == [2, 3]
    assert Recipe(steps=9).steps_of(1, 2) == 9


# ---------------------------------------------------------------- digest and seeds


def test_the_digest_is_the_same_in_another_process():
    code = (
        "from raydream.recipe import Recipe; r = Recipe.load('natural-dreams'); print(r.digest, r.seed_of('a/b.jpg'))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    recipe = Recipe.load("natural-dreams")
    assert found == [recipe.digest, str(recipe.seed_of("a/b.jpg"))]


def test_the_digest_does_not_depend_on_the_order_or_spelling():
    backwards = dict(reversed(FULL.items()))
    assert Recipe.parse(backwards).digest == Recipe.parse(FULL).digest
    assert Recipe(step_size=1).digest == Recipe(step_size=1.0).digest
    assert Recipe(objective="mixed4").digest == Recipe(objective=[{"layer": "mixed4", "weight": 1}]).digest


CHANGES = {
    "backbone": "vgg19",
    "weights_digest": "cd" * 32,
    "pooling": "max",
    "precision": "float32",
    "objective": ["block3_conv3"],
    "size": [240, 320],
    "octave_scale": 1.26,
    "carry": "detail",
    "blend": 0.31,
    "steps": [7, 5],
    "step_size": 0.051,
    "step_rule": "std",
    "smoothing": 1.6,
    "chroma": 0.26,
    "tile": 129,
    "tiling": "roll",
    "seed": 10,
    "balance": "none",
    "bands": [1.0, 0.4],
    "rotate": 6.0,
    "rescale": 0.2,
    "keep": "brightness",
    "mask": "left",
    "mask_digest": "01" * 32,
}
CANVAS = {"canvas": "fourier", "optimizer": "adam"}  # go together with neither `keep` nor `mask`


@pytest.mark.parametrize("key", CHANGES)
def test_any_other_value_has_another_digest(key):
    assert Recipe.parse({**FULL, key: CHANGES[key]}).digest != Recipe.parse(FULL).digest


def test_every_key_is_in_the_digest():
    """All but the weights' place, and `octaves`, which the number of `steps` has to follow."""
    known = {field.name for field in dataclasses.fields(Recipe)}
    assert known == {*CHANGES, *CANVAS, "weights", "octaves"} == {*FULL, *CANVAS}
    assert Recipe(octaves=2).digest != Recipe(octaves=4).digest
    assert len({Recipe(**{key: value}).digest for key, value in CANVAS.items()} | {Recipe().digest}) == 3


def test_the_place_of_the_weights_matters_only_until_they_are_known():
    here, there = (Recipe(backbone=f"{place}/net.keras") for place in ("/home/me", "gs://bucket"))
    assert here.digest != there.digest
    known = [recipe.changed(weights_digest="ab" * 32).digest for recipe in (here, there)]
    assert known[0] == known[1]
    assert here.changed(weights_digest="cd" * 32).digest != known[0]


def test_seeds_come_from_the_recipes_seed_and_the_key_alone():
    recipe = Recipe(seed=4)
    assert recipe.seed_of("a.jpg") == Recipe(seed=4, steps=3).seed_of("a.jpg")
    seeds = {Recipe(seed=s).seed_of(key) for s in (4, 5) for key in ("a.jpg", "b.jpg", "é.jpg", "\udcff.jpg")}
    assert len(seeds) == 8
    assert all(0 <= seed < 2**63 for seed in seeds)


# ---------------------------------------------------------------- mistakes

TERM = "must be a layer's name or a term such as {layer: mixed4, weight: 2}"
STEPS = "steps: must be a whole number of at least 1, or a list with one for each octave, not "
SIZE = "size: must be a short side in pixels, or [width, height], not "
CHANNELS = "objective: the channels of 'a' must be one or more numbers of at least 0"
CLASS = "class 'b' decides the layer, channels and kind: leave them out"
WEIGHT = "objective: the weight of 'a' must be from -1e9 to 1e9, not "
MISTAKES = [
    ({"octaves": 0}, "octaves: must be at least 1, not 0"),
    ({"octaves": 33}, "octaves: must be at most 32, not 33"),
    ({"octaves": "three"}, "octaves: must be a whole number, not 'three'"),
    ({"octaves": 2.5}, "octaves: must be a whole number, not 2.5"),
    ({"octaves": None}, "octaves: must be a whole number, not None"),
    ({"octaves": NAN}, "octaves: must be a finite number, not nan"),
    ({"octave_scale": 1}, "octave_scale: must be more than 1, not 1"),
    ({"octave_scale": NAN}, "octave_scale: must be at most 8, not nan"),
    ({"octave_scale": "big"}, "octave_scale: must be a number, not 'big'"),
    ({"blend": 1.5}, "blend: must be at most 1, not 1.5"),
    ({"blend": -0.1}, "blend: must be at least 0, not -0.1"),
    ({"blend": NAN}, "blend: must be at most 1, not nan"),
    ({"chroma": NAN}, "chroma: must be at most 1, not nan"),
    ({"step_size": 0}, "step_size: must be more than 0, not 0"),
    ({"step_size": -1}, "step_size: must be more than 0, not -1"),
    ({"step_size": NAN}, "step_size: must be a finite number, not nan"),
    ({"step_size": INFINITY}, "step_size: must be a finite number, not inf"),
    ({"step_size": [1]}, "step_size: must be a number, not [1]"),
    ({"step_size": True}, "step_size: must be a number, a name or a list, not True"),
    ({"octaves": True}, "octaves: must be a number, a name or a list, not True"),
    ({"smoothing": NAN}, "smoothing: must be at most 64, not nan"),
    ({"smoothing": -1}, "smoothing: must be at least 0, not -1"),
    ({"step_rule": "rms"}, "step_rule: must be 'std' or 'mean_abs', not 'rms'"),
    ({"carry": "both"}, "carry: must be 'blend' or 'detail', not 'both'"),
    ({"pooling": "avg"}, "pooling: must be 'max' or 'average', not 'avg'"),
    ({"precision": "float16"}, "precision: must be 'float32' or 'bfloat16', not 'float16'"),
    ({"tiling": None}, "tiling: must be 'roll' or 'exact', not None"),
    ({"tile": 95}, "tile: must be at least 96, not 95"),
    ({"tile": "512px"}, "tile: must be a whole number, not '512px'"),
    ({"seed": -1}, "seed: must be at least 0, not -1"),
    ({"seed": 2**63}, "seed: must be less than 9223372036854775808, not 9223372036854775808"),
    ({"backbone": 3}, "backbone: must be text, not 3"),
    ({"weights": 3}, "weights: must be text, not 3"),
    (
        {"backbone": "my.keras", "weights": "imagenet"},
        "weights: my.keras contains its own weights: leave this out",
    ),
    ({"steps": 0}, STEPS + "0"),
    ({"steps": "many"}, STEPS + "'many'"),
    ({"steps": [1, "x", 3]}, STEPS + "[1, 'x', 3]"),
    ({"steps": [1, 0, 3]}, STEPS + "[1, 0, 3]"),
    ({"steps": None}, STEPS + "None"),
    ({"steps": {"first": 3}}, STEPS + "{'first': 3}"),
    ({"steps": [10, 20]}, "steps: a list of 2, but octaves is 3: use one number, or a list of 3"),
    ({"steps": []}, "steps: a list of 0, but octaves is 3: use one number, or a list of 3"),
    ({"octaves": 1, "steps": [10, 20]}, "steps: a list of 2, but octaves is 1: use one number, or a list of 1"),
    ({"size": 0}, SIZE + "0"),
    ({"size": [300]}, SIZE + "[300]"),
    ({"size": [300, 200, 3]}, SIZE + "[300, 200, 3]"),
    ({"size": [300, -1]}, SIZE + "[300, -1]"),
    ({"size": "big"}, SIZE + "'big'"),
    ({"objective": []}, "objective: needs at least one term"),
    ({"objective": None}, f"objective: {TERM}, or a list of these, not None"),
    ({"objective": 5}, f"objective: {TERM}, or a list of these, not 5"),
    ({"objective": ["a", 5]}, f"objective[1]: {TERM}, not 5"),
    ({"objective": {}}, "objective[0]: layer or class is missing"),
    ({"objective": ["a", {"kind": "l2"}]}, "objective[1]: layer is missing"),
    ({"objective": {"class": None}}, "objective[0]: layer or class is missing"),
    ({"objective": {"class": ""}}, "objective[0]: class must not be empty"),
    ({"objective": {"class": False}}, "objective[0].class: must be text, not False"),
    ({"objective": {"class": "a", "weight": NAN}}, WEIGHT + "nan"),
    ({"objective": ["a", {"class": "b", "layer": "c"}]}, f"objective[1]: {CLASS}"),
    ({"objective": {"class": "b", "layer": "class_logits"}}, f"objective[0]: {CLASS}"),
    ({"objective": {"class": "b", "channels": [1]}}, f"objective[0]: {CLASS}"),
    ({"objective": {"class": "b", "layer": "class_logits", "channels": [1, 2]}}, f"objective[0]: {CLASS}"),
    ({"objective": {"class": "b", "layer": "c", "channels": [1]}}, f"objective[0]: {CLASS}"),
    ({"objective": {"class": "b", "kind": "l2"}}, f"objective[0]: {CLASS}"),
    ({"objective": [{"layer": 5}]}, "objective[0].layer: must be text, not 5"),
    ({"objective": {"layer": "a", "kind": "max"}}, f"objective[0].kind: must be one of {', '.join(KINDS)}, not 'max'"),
    ({"objective": {"layer": "a", "weight": "x"}}, "objective[0].weight: must be a number, not 'x'"),
    ({"objective": {"layer": "a", "weight": NAN}}, WEIGHT + "nan"),
    ({"objective": {"layer": "a", "weight": INFINITY}}, WEIGHT + "inf"),
    ({"objective": {"layer": "a", "channels": 3}}, "objective[0].channels: must be a list, not 3"),
    ({"objective": {"layer": "a", "channels": [1.5]}}, "objective[0].channels[0]: must be a whole number, not 1.5"),
    ({"objective": {"layer": "a", "channels": []}}, CHANNELS),
    ({"objective": {"layer": "a", "channels": [0, -1]}}, CHANNELS),
    ({"objective": {"kind": "guide", "guide": "b.jpg"}}, "objective[0]: layer is missing"),
    (
        {"objective": {"layer": "a", "kind": "neuron", "mask": "left"}},
        "objective[0]: a neuron has a position: leave mask out",
    ),
    ({"objective": {"layer": "a", "kind": "neuron", "position": [0, 2]}},
     "objective[0]: position must be two numbers from 0 to 1, across and down, not [0.0, 2.0]"),
    ({"objective": {"layer": "a", "kind": "direction"}},
     "objective[0]: a direction needs channels and one value for each; not all values can be 0"),
    ({"objective": {"layer": "a", "kind": "picked", "count": 0}}, "objective[0]: count must be at least 1, not 0"),
    ({"objective": {"layer": "a", "kind": "picked", "which": "best"}},
     "objective[0].which: must be 'strongest', 'middle' or 'weakest', not 'best'"),
    ({"objective": {"kind": "smoothness"}}, "objective: needs at least one term with a layer or class"),
    ({"objective": {"layer": "a", "kind": "direction", "channels": [1], "values": [float("inf")]}},
     "objective[0]: values must be finite numbers, not [inf]"),
    ({"objective": {"layer": "a", "mask": ""}},
     "objective[0]: mask is empty: name one of left, right, top, bottom, or the path or URL of an image"),
    ({"mask": ""}, "mask is empty: name one of left, right, top, bottom, or the path or URL of an image"),
    ({"bands": [1, -1]}, "bands[1]: must be at least 0, not -1"),
    ({"bands": [0, 0]}, "bands: at least one gain must be more than 0"),
    ({"bands": [1, 1e39]}, "bands[1]: must be at most 1000, not 1e+39"),
    ({"bands": [1] * 11}, "bands: must be a list of at most 10, not [1, 1, 1, 1, 1, 1, ...]"),
    ({"rotate": 181}, "rotate: must be at most 180, not 181"),
    ({"keep": "hue"}, "keep: must be 'none', 'color' or 'brightness', not 'hue'"),
    ({"optimizer": "adam", "mask": "left"}, "mask and keep need canvas: pixels and optimizer: ascent"),
    (
        {"objective": ["a", {"layr": "b"}]},
        "objective[1]: unknown key 'layr': did you mean 'layer'? valid: layer, weight, mask, kind, channels, class",
    ),
    (
        {"objective": {"layer": "a", "weigth": 2}},
        "objective[0]: unknown key 'weigth': did you mean 'weight'? valid: layer, weight, mask, kind, channels, class",
    ),
    (
        {"objective": {"mixed3": 1.0}},
        "objective[0]: unknown key 'mixed3': valid: layer, weight, mask, kind, channels, class",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("values", "problem"), MISTAKES, ids=[str(values) for values, _ in MISTAKES])
def test_a_wrong_value_is_named_with_what_would_be_right(values, problem):
    assert refusal(lambda: Recipe.parse(values, where="recipe mine.yaml")) == f"recipe mine.yaml: {problem}"


def test_what_was_given_is_cut_short():
    message = refusal(lambda: Recipe.parse({"step_rule": "std\n" * 1000}))
    assert message.startswith("recipe: step_rule: must be 'std' or 'mean_abs', not 'std\\nstd")
    assert len(message) < 120


@pytest.mark.parametrize(
    ("key", "hint"),
    [("octavs", "octaves"), ("octave-scale", "octave_scale"), ("Steps", "steps"), ("step_sze", "step_size")],
)
def test_unknown_keys_name_the_nearest(key, hint):
    message = refusal(lambda: Recipe.parse({key: 3}))
    assert message.startswith(f"recipe: unknown key {key!r}: did you mean {hint!r}? valid: backbone, weights, ")


@pytest.mark.parametrize("key", [5, None, "xyzzy"])
def test_unknown_keys_that_are_near_nothing_name_all(key):
    message = refusal(lambda: Recipe.parse({key: 3}))
    assert f"unknown key {key!r}: " in message
    assert all(field.name in message for field in dataclasses.fields(Recipe))


@pytest.mark.parametrize("text", ["steps: [1, 2", "a: b: c", "\tsteps: 3", "steps: 3\n octaves: 2"])
def test_what_is_not_yaml_is_refused(tmp_path, text):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    assert refusal(lambda: Recipe.load(str(path))).startswith(f"recipe {path} is not YAML: ")


@pytest.mark.parametrize("text", ["- 1\n- 2", "just text", "3"])
def test_yaml_of_something_else_is_refused(tmp_path, text):
    path = tmp_path / "list.yaml"
    path.write_text(text)
    assert refusal(lambda: Recipe.load(str(path))) == f"recipe {path} must be a mapping of keys to values"


def test_a_missing_file_is_named(tmp_path):
    path = str(tmp_path / "gone.yaml")
    assert refusal(lambda: Recipe.load(path)) == f"recipe {path} does not exist"


def test_the_file_is_named_with_the_mistake(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("octaves: 0\n")
    assert refusal(lambda: Recipe.load(str(path))) == f"recipe {path}: octaves: must be at least 1, not 0"
    assert refusal(lambda: Recipe.load("natural-dreams", {"tile": 1})).startswith("recipe natural-dreams: tile: ")


def test_weights_that_are_not_named_are_the_backbones_usual_ones() -> None:
    assert Recipe.parse({}) == Recipe()
    assert (Recipe().backbone, Recipe().weights) == ("inception_v3", "compact")
    assert Recipe.parse({"weights": "imagenet"}).weights == "imagenet"
    assert Recipe.parse({"backbone": "vgg16"}).weights == "imagenet"
    assert Recipe.parse({"backbone": "mine.npz"}).weights is None


def test_another_backbone_has_other_weights() -> None:
    """As `replay --set` does: what is inside a dream names its backbone and weights."""
    known = Recipe(weights="x.h5").as_dict()
    assert Recipe.parse(known, {"backbone": "vgg16"}).weights == "imagenet"
    assert Recipe.parse(known, {"backbone": "mine.keras"}).weights is None
    assert Recipe.parse(known, {"backbone": "vgg16", "weights": "y.h5"}).weights == "y.h5"
    assert Recipe.parse(known, {"steps": 3}).weights == "x.h5"
    assert Recipe(weights="x.h5").changed(backbone="mine.npz").weights is None
    assert Recipe(weights="x.h5").changed(steps=3).weights == "x.h5"


def test_precision_counts_and_float32_is_what_is_meant_where_it_is_not_named() -> None:
    assert Recipe().digest == Recipe(precision="float32").digest != Recipe(precision="bfloat16").digest
    resolved = Recipe().resolved("ab" * 32)
    assert (resolved.precision, resolved.weights_digest) == ("float32", "ab" * 32)
    assert Recipe(precision="bfloat16").resolved("ab" * 32).precision == "bfloat16"
    assert Recipe.parse(resolved.as_dict(), {"precision": "bfloat16"}).weights_digest == "ab" * 32


def test_a_change_of_the_weights_file_forgets_its_digest() -> None:
    known = Recipe(weights_digest="ab" * 32).as_dict()
    for change in ({"steps": 3}, {"objective": "mixed4"}, {"pooling": "average"}):
        assert Recipe.parse(known, change).weights_digest == "ab" * 32
    for change in ({"weights": "x.h5"}, {"backbone": "vgg16"}):
        assert Recipe.parse(known, change).weights_digest is None


def test_a_bomb_of_yaml_is_refused_at_once(tmp_path: Path) -> None:
    levels = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    bomb = tmp_path / "bomb.yaml"
    bomb.write_text("backbone:\n" + "".join(f"  {level}\n" for level in levels))
    began = time.monotonic()
    with pytest.raises(UsageError, match="backbone"):
        Recipe.load(str(bomb))
    assert time.monotonic() - began < 5


def test_guides_take_the_layers_of_the_recipe() -> None:
    recipe = Recipe(objective=mean("mixed3") + 0.5 * l2("mixed5"))
    assert recipe.with_images("guide", []) is recipe
    found = recipe.with_images("guide", ["a.jpg", "gs://b/c.jpg:mask=gs://b/m.png:weight=2:match=positions"])
    assert found.as_dict()["objective"] == [
        {"kind": "guide", "layer": "mixed3", "guide": "a.jpg"},
        {"kind": "guide", "layer": "mixed5", "weight": 0.5, "guide": "a.jpg"},
        *(
            {
                "kind": "guide",
                "layer": layer,
                **weight,
                "guide": "gs://b/c.jpg",
                "mask": "gs://b/m.png",
                "match": "positions",
            }
            for layer, weight in (("mixed3", {"weight": 2.0}), ("mixed5", {}))
        ),
    ]
    assert found.pictures == {"a.jpg": None, "gs://b/c.jpg": None, "gs://b/m.png": None}
    with pytest.raises(UsageError, match="a guide needs a term in the objective"):
        Recipe(objective={"class": "banjo"}).with_images("guide", ["a.jpg"])
    with pytest.raises(UsageError, match=r"guide a.jpg:weight=x: weight must be a number"):
        recipe.with_images("guide", ["a.jpg:weight=x"])
    with pytest.raises(UsageError, match=r"match: must be 'channels', 'positions' or 'mix', not 'x'"):
        recipe.with_images("guide", ["a.jpg:match=x"])


def test_the_names_of_pictures_matter_only_until_they_are_known() -> None:
    here, there = (
        Recipe(mask="left").with_images("guide", [f"{place}/a.jpg"]) for place in ("/home/me", "gs://bucket")
    )
    assert here.digest != there.digest
    known = [recipe.with_picture_files({n: (n, "ab" * 32) for n in recipe.pictures}) for recipe in (here, there)]
    assert known[0].digest == known[1].digest
    other = here.with_picture_files({n: (n, "cd" * 32) for n in here.pictures})
    assert other.digest != known[0].digest


def test_another_mask_has_another_digest() -> None:
    """A recipe from a dream contains the digest of its own mask."""
    known = Recipe(mask="a.png", mask_digest="ab" * 32)
    assert Recipe.parse(known.as_dict(), {"steps": 3}).mask_digest == "ab" * 32
    for mask in ("b.png", None):
        for other in (Recipe.parse(known.as_dict(), {"mask": mask}), known.changed(mask=mask)):
            assert other.mask_digest is None
            assert other.digest == Recipe(mask=mask).digest
    assert Recipe(mask_digest="ab" * 32).digest  # has no mask, as a file edited by hand may have
