"""dataset: plans, what differs between them, what a finished data set says of itself, and that others can open it."""

import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from raydream.data import codec, provenance, shards, summary
from raydream.data import plan as plans
from raydream.data.plan import Plan, label_of, make_plan
from raydream.data.shards import FORMATS, Failure, Format, Mark, Row, printable
from raydream.data.storage import Folder
from raydream.errors import UsageError
from raydream.jobs.dreaming import finish as finishing
from raydream.pages import exhibits
from raydream.recipe import Recipe

RECIPE = Recipe(backbone="tiny.keras", objective="high", seed=5, weights_digest="ab" * 32)
NOT_UTF8 = os.fsdecode(b"caf\xe9.jpg")
ODD_IDS = [
    "#1 100%25.jpg",
    "[x]*?.png",
    "a::b/c d.jpg",
    "cats/tom.jpg",
    "cats/tom.png",
    'it\'s "so".jpg',
    "new\nline.jpg",
    "no ending",
    "x.tar.gz.jpg",
    "夢/ü.webp",
]


def plan_of(*pieces: list[str], recipe: Recipe = RECIPE, **settings: Any) -> Plan:
    known = {"recipe": recipe.digest, "format": "parquet", "picture": "png", "keep_source": True, "limit": None}
    return Plan(
        input="photos",
        shards=tuple(map(tuple, pieces)),
        passed_over=(),
        settings=known | settings,
        recipe=recipe.as_dict(),
    )


def flat(level: int) -> np.ndarray:
    """A picture 8 wide, 6 high, of one grey."""
    return np.full((6, 8, 3), level, np.uint8)


def row(id: str, name: str, number: int, keep_source: bool) -> Row:
    """The dream of an image: of level `number` + 100, its source of level `number`."""
    inside = provenance.inside(RECIPE, printable(id), RECIPE.seed_of(id), "cd" * 32)
    return Row(
        id=printable(id),
        label=label_of(id),
        name=printable(name),
        dream=codec.encode(flat((number + 100) % 256), metadata=inside),
        source=codec.encode(flat(number % 256)) if keep_source else None,
        width=8,
        height=6,
        seed=RECIPE.seed_of(id),
        recipe=RECIPE.digest,
        objective_before=0.5,
        objective_after=2.0 + number,
        seconds=0.25,
    )


def make(out: Folder, plan: Plan, failures: dict[str, Failure] | None = None, finish: bool = True) -> dict[str, Any]:
    """Makes the data set of a plan as the job does, without dreaming; the images in `failures` fail."""
    names = plan.names(".png")
    number, failures = 0, failures or {}
    plans.settle(out, plan)
    for shard, ids in enumerate(plan.shards):
        rows = []
        for id in ids:
            if id not in failures:
                rows.append(row(id, names[id], number, plan.settings["keep_source"]))
                number += 1
        shards.write(out, shard, rows, plan.settings["format"])
        lost = tuple(failures[id] for id in ids if id in failures)
        summary.mark(out, Mark(shard=shard, rows=tuple(r.facts for r in rows), failures=lost, device="CPU"))
    return finishing.finish(out, plan, RECIPE, 12.34) if finish else {}


@pytest.fixture
def out(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "out"))


# ---- planning


def folder_of(path: Path, sizes: dict[str, int]) -> Folder:
    for name, size in sizes.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        with (path / name).open("wb") as file:
            file.truncate(size)
    return Folder(str(path))


def planned(path: Path, names: list[str], **options: Any) -> Plan:
    return make_plan(folder_of(path, dict.fromkeys(names, 1)), codec.IMAGE_ENDINGS, **options)


def test_images_are_planned_in_the_order_of_their_names(tmp_path: Path) -> None:
    names = ["b.jpg", "a/z.jpg", "B.jpg", "a.jpg", "10.jpg", "9.jpg", "ü.jpg", NOT_UTF8]
    assert planned(tmp_path, names).ids == sorted(names)


def test_hidden_files_are_left_alone_others_are_passed_over_and_files_without_an_ending_are_tried(
    tmp_path: Path,
) -> None:
    images = ["a.JPG", "b.Jpeg", "c/d.TIFF", "e", "f.webp", "g.avif"]
    others = ["notes.txt", "z/list.csv", "movie.mp4", "a.jpg.part"]
    hidden = [".DS_Store", ".git/x.jpg", "c/.hidden.jpg", "c/.thumbs/x.png"]
    plan = planned(tmp_path, [*images, *others, *hidden])
    assert plan.ids == sorted(images)
    assert plan.passed_over == tuple(sorted(others))


def test_a_limit_takes_the_first_and_more_than_there_are_takes_all(tmp_path: Path) -> None:
    names = [f"{i}.jpg" for i in range(5)]
    assert planned(tmp_path, [*names, "x.txt"], limit=2).ids == names[:2]
    assert planned(tmp_path, names, limit=99).ids == names


@pytest.mark.parametrize(("images", "shard_size", "sizes"), [(7, 3, [3, 3, 1]), (6, 3, [3, 3]), (2, 100, [2])])
def test_a_shard_size_is_kept_to(images: int, shard_size: int, sizes: list[int], tmp_path: Path) -> None:
    plan = planned(tmp_path, [f"{i}.jpg" for i in range(images)], shard_size=shard_size)
    assert [len(shard) for shard in plan.shards] == sizes


@pytest.mark.parametrize(("images", "most"), [(1, 1), (40, 1), (128, 2), (640, 10), (5000, 64)])
def test_without_a_shard_size_there_are_about_64_shards_of_at_most_64_images(images: int, most: int) -> None:
    folder = Folder(f"memory://plan-{images}")
    for i in range(images):
        folder.write(f"{i:04d}.jpg", b"x")
    plan = make_plan(folder, codec.IMAGE_ENDINGS)
    assert max(len(shard) for shard in plan.shards) == most
    assert len(plan.shards) == -(-images // most)
    assert plan.ids == sorted(folder.files())


def test_without_a_shard_size_shards_of_large_files_are_smaller_and_an_enormous_file_is_alone(tmp_path: Path) -> None:
    sizes = {f"{i:03d}.jpg": 1_000 for i in range(200)}  # alone: shards of 3
    sizes |= {"000.jpg": 5_000_000, "001.jpg": 5_000_000, "002.jpg": 900_000_000, "003.jpg": 7_000_000}
    plan = make_plan(folder_of(tmp_path, sizes), codec.IMAGE_ENDINGS)
    pieces = [("000.jpg",), ("001.jpg",), ("002.jpg",), ("003.jpg", "004.jpg", "005.jpg")]
    assert list(plan.shards[:4]) == pieces
    asked = make_plan(Folder(str(tmp_path)), codec.IMAGE_ENDINGS, shard_size=3)
    assert asked.shards[0] == ("000.jpg", "001.jpg", "002.jpg")


def test_an_input_without_images_is_said_and_whether_it_is_there_at_all(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no images"):
        planned(tmp_path, ["notes.txt", ".hidden.jpg"])
    with pytest.raises(UsageError, match="is empty, or no folder"):
        make_plan(Folder(str(tmp_path / "none")), codec.IMAGE_ENDINGS)
    with pytest.raises(UsageError, match="Not a directory"):
        make_plan(Folder(str(tmp_path / "notes.txt")), codec.IMAGE_ENDINGS)


def test_a_plan_comes_back_as_it_was() -> None:
    plan = replace(plan_of(ODD_IDS, [NOT_UTF8]), passed_over=("notes.txt", os.fsdecode(b"\xff.txt")))
    assert Plan.parse(plan.dump()) == plan


@pytest.mark.parametrize(
    ("id", "label"),
    [
        ("tom.jpg", None),
        ("cats/tom.jpg", "cats"),
        ("train/夢 cats/tom.jpg", "夢 cats"),
        (os.fsdecode(b"caf\xe9/x.jpg"), "caf\\udce9"),
    ],
)
def test_the_label_is_the_class_folder(id: str, label: str | None) -> None:
    assert label_of(id) == label


# ---- names


def test_a_dream_has_its_photographs_name_with_its_own_ending() -> None:
    names = plan_of(["cats/tom.jpg", "rex", "x.tar.gz.jpg"]).names(".webp")
    assert names == {"cats/tom.jpg": "cats/tom.webp", "rex": "rex.webp", "x.tar.gz.jpg": "x.tar.gz.webp"}


def test_photographs_that_differ_only_in_their_ending_keep_it() -> None:
    names = plan_of(["x.jpg", "y.jpg"], ["x.png", "sub/x.jpg"]).names(".png")
    assert names == {"x.jpg": "x.jpg.png", "x.png": "x.png.png", "y.jpg": "y.png", "sub/x.jpg": "sub/x.png"}


@pytest.mark.parametrize(
    "ids",
    [
        ["a.jpg", "a.png", "a.jpg.png", "a.jpg.png.png", "a.jpg.png.gif"],
        ["a", "a.png", "a.png.png"],
        ["A.jpg", "a.png"],
        ["a.jpg", "a.png/b.jpg", "a.png/b.png"],
        ODD_IDS,
    ],
    ids=range(5),
)
def test_names_are_unique_on_every_kind_of_disk(ids: list[str], out: Folder) -> None:
    names = plan_of(ids).names(".png")
    assert list(names) == ids
    assert len({name.casefold() for name in names.values()}) == len(ids)
    assert plan_of(ids[::-1]).names(".png") == names
    for name in names.values():
        out.write(name, b"")
    assert set(out.files()) == {*names.values()}


# ---- differences


def test_equal_plans_have_no_differences() -> None:
    plan = plan_of(["a.jpg"], ["b.jpg"])
    assert plan.differences(Plan.parse(plan.dump())) == []


CHANGES = {
    "input": (replace(plan_of(["a", "b"]), input="others"), ["input: photos -> others"]),
    "format": (plan_of(["a", "b"], format="files"), ["format: parquet -> files"]),
    "a setting that is new": (plan_of(["a", "b"], batch_size=8), ["batch_size: None -> 8"]),
    "an image gone": (plan_of(["a"]), ["gone in the input: b"]),
    "images new": (plan_of(["a", "b", "d", "c"]), ["new in the input: c and 1 more"]),
    "an image renamed": (plan_of(["a", "z"]), ["gone in the input: b", "new in the input: z"]),
    "an odd name": (plan_of(["a", "b", NOT_UTF8]), ["new in the input: caf\\udce9.jpg"]),
    "more shards": (plan_of(["a"], ["b"]), ["shards: 1 -> 2"]),
}


@pytest.mark.parametrize(("other", "said"), CHANGES.values(), ids=CHANGES)
def test_every_difference_is_said_in_words(other: Plan, said: list[str]) -> None:
    assert plan_of(["a", "b"]).differences(other) == said


def test_shards_that_are_cut_otherwise_are_a_difference_too() -> None:
    (said,) = plan_of(["a", "b"], ["c"]).differences(plan_of(["a"], ["b", "c"]))
    assert "shards" in said
    assert "2 -> 2" not in said


def test_of_another_recipe_the_values_are_said_that_differ() -> None:
    other = RECIPE.changed(steps=50, octaves=1, objective="low")
    digest, *said = plan_of(["a"]).differences(plan_of(["a"], recipe=other))
    assert re.fullmatch(r"recipe: [0-9a-f]{12}\.\.\. -> [0-9a-f]{12}\.\.\.", digest)
    assert said == [
        "objective: [{'layer': 'high'}] -> [{'layer': 'low'}]",
        "octaves: 3 -> 1",
        "steps: 20 -> 50",
    ]


# ---- settling


def test_a_plan_is_stored_once_and_an_equal_one_goes_on(out: Folder) -> None:
    plan = plan_of(ODD_IDS)
    plans.settle(out, plan)
    before = out.files()
    plans.settle(out, Plan.parse(plan.dump()))
    assert out.files() == before
    assert plans.stored_plan(out) == plan


def test_another_plan_is_refused_in_one_line_that_says_what_differs_and_changes_nothing(out: Folder) -> None:
    plan = plan_of(["a", "b"])
    plans.settle(out, plan)
    with pytest.raises(UsageError) as error:
        plans.settle(out, plan_of(["a", "new\nline"], format="files"))
    assert "begun with other settings (format: parquet -> files; gone in the input: b; new in" in str(error.value)
    assert "use those, or another output" in str(error.value)
    assert plans.stored_plan(out) == plan


def test_a_folder_that_holds_something_else_is_refused(out: Folder) -> None:
    out.write("thesis/final.doc", b"dear")
    with pytest.raises(UsageError, match=r"not empty and no data set of ours: it holds thesis/final\.doc$"):
        plans.settle(out, plan_of(["a"]))
    assert out.files() == {"thesis/final.doc": 4}


def test_what_a_killed_writer_left_is_no_stranger(out: Folder) -> None:
    out.write("_raydream/.0123.partial", b"half")
    plans.settle(out, plan_of(["a"]))
    assert out.exists(plans.PLAN)


def test_an_output_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1")
    with pytest.raises(UsageError, match="Not a directory"):
        plans.settle(Folder(str(tmp_path / "x")), plan_of(["a"]))


def test_no_plan_or_one_that_cannot_be_read_is_said(out: Folder) -> None:
    with pytest.raises(UsageError, match=r"is no data set of raydream: it has no _raydream/plan\.json"):
        plans.stored_plan(out)
    for damaged in (b"", b"{", b"\xff", b"[]", b"7", b"{}", b'{"shards": [], "passed_over": [], "more": 1}'):
        out.write(plans.PLAN, damaged)
        with pytest.raises(UsageError, match="damaged, or of another version"):
            plans.stored_plan(out)


# ---- marks and logs


def mark(shard: int) -> Mark:
    return Mark(shard=shard, rows=(), failures=(), device="CPU")


def test_marks_come_in_the_order_of_their_shards_also_past_99999(out: Folder) -> None:
    for shard in (100000, 3, 20):
        summary.mark(out, mark(shard))
    assert summary.done(out) == {3, 20, 100000}
    assert [m.shard for m in summary.marks(out)] == [3, 20, 100000]


def test_what_is_no_mark_in_the_folder_of_the_marks_is_left_alone(out: Folder) -> None:
    summary.mark(out, mark(1))
    for name in ("._00002.json", ".0123.partial", ".DS_Store", "copy of 00001.json"):
        out.write(f"{shards.MARKS}/{name}", b"")
    assert summary.done(out) == {1}
    assert summary.marks(out) == [mark(1)]


def test_a_damaged_mark_is_said_with_what_to_do(out: Folder) -> None:
    out.write(f"{shards.MARKS}/00001.json", b'{"shard": 1}')
    with pytest.raises(UsageError, match=r"_raydream/marks/00001\.json is damaged"):
        summary.marks(out)


def test_an_output_that_is_not_there_has_nothing_done(out: Folder) -> None:
    assert summary.done(out) == set()
    assert summary.marks(out) == []
    assert summary.logged_seconds(out) == 0.0


def test_the_logs_of_all_runs_are_kept_and_their_seconds_add_up(out: Folder) -> None:
    for seconds in (1.5, 2.0, 4.25):
        summary.log(out, {"status": "done", "seconds": seconds})
    assert summary.logged_seconds(out) == 7.75
    entries = [json.loads(out.read(name)) for name in out.files(summary.LOGS)]
    assert len(entries) == 3
    assert all(datetime.strptime(entry["ended"], "%Y%m%dT%H%M%S.%fZ") for entry in entries)


# ---- the finished data set

FAILURES = {
    "cats/tom.png": Failure(id="cats/tom.png", stage="load", error="file is empty"),
    NOT_UTF8: Failure(id=NOT_UTF8, stage="dream", error=os.fsdecode(b"no \xff")),
}


def finished(out: Folder, format: Format = "parquet", keep_source: bool = True) -> tuple[Plan, dict[str, Any]]:
    plan = plan_of(ODD_IDS[:4], ODD_IDS[4:8], [NOT_UTF8], ODD_IDS[8:], format=format, keep_source=keep_source)
    plan = replace(plan, passed_over=("notes.txt", os.fsdecode(b"\xfe.txt")))
    return plan, make(out, plan, FAILURES)


def gallery_of(out: Folder) -> tuple[str, list[dict[str, Any]]]:
    """The gallery's page, and the rows inside."""
    page = out.read("index.html").decode()
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert data
    return page, json.loads(data[1])


@pytest.mark.parametrize("format", FORMATS)
def test_a_finished_data_set_has_all_that_the_readme_names_and_they_agree(format: Format, out: Folder) -> None:
    plan, manifest = finished(out, format)
    assert json.loads(out.read("manifest.json")) == manifest
    dreamed = [id for id in plan.ids if id not in FAILURES]
    assert manifest["images"] == len(dreamed) == 9
    assert manifest["failures"] == 2
    assert manifest["passed_over"] == 2
    assert manifest["shards"] == 4
    assert manifest["labels"] == 3
    assert manifest["recipe"] == RECIPE.digest
    assert manifest["weights"] == RECIPE.weights_digest
    assert manifest["devices"] == ["CPU"]
    assert manifest["seconds"] == 12.3
    assert manifest["dream_seconds"] == round(9 * 0.25, 1)
    assert manifest["objective_before"] == 0.5
    assert manifest["objective_after"] == 2.0 + sum(range(9)) / 9

    assert Recipe.parse(yaml.safe_load(out.read("recipe.yaml"))) == RECIPE
    kept = [r for shard in (0, 1, 3) for r in shards.read(out, shard, format)]
    assert [r.id for r in kept] == dreamed
    page, rows = gallery_of(out)
    assert [r["id"] for r in rows] == dreamed
    assert rows[0]["numbers"] == [["seed", str(kept[0].seed)], ["seconds", "0.2"], ["objective", "0.5 → 2"]]
    assert RECIPE.digest[:12] in page
    assert "9 dreams of 11 photographs" in out.read("README.md").decode()
    assert not [name for name in out.files() if name.endswith(".partial")]


def test_failures_name_every_image_that_is_not_there_and_why(out: Folder) -> None:
    finished(out)
    assert pq.read_table(io.BytesIO(out.read("failures.parquet"))).to_pylist() == [
        {"id": "cats/tom.png", "stage": "load", "error": "file is empty"},
        {"id": "caf\\udce9.jpg", "stage": "dream", "error": "no \\udcff"},
        {"id": "notes.txt", "stage": "list", "error": "not an image by its name"},
        {"id": "\\udcfe.txt", "stage": "list", "error": "not an image by its name"},
    ]


def test_without_failures_there_is_no_such_file(out: Folder) -> None:
    make(out, plan_of(["a.jpg"]))
    assert not out.exists("failures.parquet")
    assert "could not be dreamed" not in out.read("README.md").decode()


def test_finishing_removes_what_killed_writers_left_and_twice_is_the_same_as_once(out: Folder) -> None:
    plan, first = finished(out)
    before = {name: out.read(name) for name in out.files()}
    out.write("data/.0123.partial", b"half")
    assert finishing.finish(out, plan, RECIPE, 12.34) == first
    assert {name: out.read(name) for name in out.files()} == before


def test_a_data_set_of_failures_only_is_finished_too(out: Folder) -> None:
    plan = plan_of([NOT_UTF8])
    manifest = make(out, plan, FAILURES)
    assert (manifest["images"], manifest["failures"], manifest["objective_after"]) == (0, 1, None)
    assert gallery_of(out)[1] == []


def test_dreams_carry_inside_what_makes_them_again(out: Folder) -> None:
    finished(out)
    (tom,) = [r for r in shards.read(out, 0, "parquet") if r.id == "cats/tom.jpg"]
    inside = provenance.found_inside(tom.dream, tom.name)
    assert Recipe.parse(inside["recipe"]) == RECIPE
    assert inside["recipe_digest"] == tom.recipe == RECIPE.digest
    assert (inside["id"], inside["seed"]) == ("cats/tom.jpg", tom.seed)


# ---- the gallery's sample


def test_the_gallery_shows_so_many_dreams_evenly_spread_over_all_shards(out: Folder) -> None:
    ids = [f"{i:02d}.jpg" for i in range(40)]
    plan = plan_of(*[ids[i : i + 6] for i in range(0, 40, 6)])
    make(out, plan)
    assert len(gallery_of(out)[1]) == 40
    exhibits.write_gallery(out, plan, rows=10)
    page, rows = gallery_of(out)
    assert [r["id"] for r in rows] == ids[::4]
    assert "Showing 10 of 40 dreams" in page
    for most in (1, 7, 39, 40, 41):
        shown = [r.id for r in exhibits.exhibits(out, "parquet", summary.marks(out), most)]
        assert len(shown) == min(most, 40)
        assert shown == sorted(set(shown))


def test_the_gallery_of_an_unfinished_data_set_shows_what_there_is(out: Folder) -> None:
    plan = plan_of(["a.jpg"], ["b.jpg"])
    make(out, plan_of(["a.jpg"], ["b.jpg"]), finish=False)
    Path(out.url, shards.MARKS, "00001.json").unlink()
    exhibits.write_gallery(out, plan)
    assert [r["id"] for r in gallery_of(out)[1]] == ["a.jpg"]


# ---- Hugging Face datasets

OPENER = """
import json, sys
import datasets
datasets.disable_progress_bars()
found = {}
for folder in sys.argv[1:]:
    opened = datasets.load_dataset(folder)
    assert list(opened) == ["train"], opened
    features = {name: type(kind).__name__ for name, kind in opened["train"].features.items()}
    rows = [{name: (value.size, value.convert("RGB").getcolors()) if features[name] == "Image" else value
             for name, value in row.items()} for row in opened["train"]]
    found[folder] = {"features": features, "rows": rows}
print(json.dumps(found))
"""


def opened(home: Path, *folders: str) -> dict[str, Any]:
    """What `datasets.load_dataset` makes of each folder, without network: features, and rows with (size, colours)."""
    offline = {"HF_HOME": str(home), "HF_DATASETS_CACHE": str(home / "cache"), "HF_DATASETS_OFFLINE": "1"}
    offline |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-c", OPENER, *folders]
    done = subprocess.run(command, env={**os.environ, **offline}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def facts_of(row: dict[str, Any]) -> dict[str, Any]:
    """id, label... of an opened row: columns of their own, or all inside `json` (WebDataset)."""
    return row.get("json") or row


def test_datasets_opens_all_formats_through_the_readme_with_all_pictures(tmp_path: Path) -> None:
    kinds = [(format, keep) for format in FORMATS for keep in (True, False)]
    outs = {(format, keep): Folder(str(tmp_path / f"{format} {keep}")) for format, keep in kinds}
    for (format, keep), out in outs.items():
        finished(out, format, keep)
    plain = Folder(str(tmp_path / "first rows without labels"))  # as types must not be taken from them alone
    make(plain, plan_of([f"{i}.jpg" for i in range(12)], ["zoo/x.jpg", "zoo/y.jpg"], format="webdataset"))
    found = opened(tmp_path / "home", *(out.url for out in [*outs.values(), plain]))

    dreamed = [id for id in ODD_IDS if id not in FAILURES]
    for (format, keep), out in outs.items():
        ending = ".png" if format == "webdataset" else ""
        features, rows = found[out.url]["features"], found[out.url]["rows"]
        pictures = {f"dream{ending}", f"source{ending}"} if keep else {f"dream{ending}"}
        assert {name for name, kind in features.items() if kind == "Image"} == pictures
        assert sorted(facts_of(r)["id"] for r in rows) == sorted(dreamed)
        for r in rows:
            number = dreamed.index(facts_of(r)["id"])
            assert r[f"dream{ending}"] == [[8, 6], [[48, [number + 100] * 3]]]
            assert not keep or r[f"source{ending}"] == [[8, 6], [[48, [number] * 3]]]
            assert (facts_of(r)["label"] or None) == label_of(facts_of(r)["id"])
            assert facts_of(r)["seed"] == RECIPE.seed_of(facts_of(r)["id"])
            assert facts_of(r)["objective_after"] == 2.0 + number
    assert [facts_of(r)["label"] for r in found[plain.url]["rows"]] == [""] * 12 + ["zoo"] * 2


def test_a_log_that_was_cut_off_is_no_trouble(tmp_path: Path) -> None:
    out = Folder(str(tmp_path))
    summary.log(out, {"seconds": 2.5})
    (tmp_path / summary.LOGS / ".abc.partial").write_text('{"ended')
    assert summary.logged_seconds(out) == 2.5
