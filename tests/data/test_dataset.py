"""dataset: plans, what differs between them, what a finished data set says of itself, and that others can open it."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from raydream.data import codec, joining, layout, parquet, provenance, shards, summary
from raydream.data import plan as plans
from raydream.data.inputs import Input, list_input
from raydream.data.job import Format, Job
from raydream.data.layout import read_rows
from raydream.data.marks import Mark, marked, read_marks, write_mark
from raydream.data.packing import pack, slices
from raydream.data.plan import Plan
from raydream.data.planning import check_or_store_plan
from raydream.data.rows import Failure, Row, label_of, printable
from raydream.data.shards import Shard
from raydream.data.storage import Folder
from raydream.errors import UsageError
from raydream.jobs.dreaming import finish as finishing
from raydream.pages import exhibits
from raydream.recipe import Recipe

FORMATS: tuple[Format, ...] = get_args(Format)
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


def job_of(recipe: Recipe = RECIPE, **changes: Any) -> Job:
    return Job(**{"input": "/home/me/photos", "output": "out", "recipe": recipe, "keep_source": True, **changes})


def input_of(*ids: str, passed_over: Sequence[str] = ()) -> Input:
    return Input(ids=list(ids), sizes=[1] * len(ids), passed_over=list(passed_over))


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
    )


def dream(out: Folder, plan: Plan, shard: int, failures: dict[str, Failure] | None = None) -> None:
    """Makes a shard as the job does, without dreaming; the images in `failures` fail."""
    failures = failures or {}
    earlier = [i.id for n, images in plan.read_shards(out) for i in images if n < shard and i.id not in failures]
    images = plan.read_shard(out, shard)
    good = [image for image in images if image.id not in failures]
    rows = [row(*image, number, plan.job.keep_source) for number, image in enumerate(good, len(earlier))]
    lost = [failures[image.id] for image in images if image.id in failures]
    done = Shard(number=shard, rows=rows, failures=lost, device="CPU", seconds=0.25 * len(rows))
    shards.write(out, done, plan.job.format)


def make(
    out: Folder,
    job: Job,
    found: Input | Sequence[str],
    failures: dict[str, Failure] | None = None,
    finish: bool = True,
) -> tuple[Plan, dict[str, Any]]:
    """Makes the data set of a job, or continues it; returns the plan and the manifest."""
    found = found if isinstance(found, Input) else input_of(*found)
    plan, _ = check_or_store_plan(out, job, found)
    finishing.begin(out, plan)
    for shard in sorted({*range(plan.shards)} - layout.done(out, job.format)):
        dream(out, plan, shard, failures)
    return plan, finishing.finish(out, plan, 12.34) if finish else {}


def rows_of(out: Folder, plan: Plan) -> list[Row]:
    """All rows of a data set, finished or not."""
    found = read_marks(out, marked(out))
    return read_rows(out, plan.job.format, found, range(sum(m.images for m in found)))


def contents(out: Folder) -> dict[str, bytes]:
    """All files of a data set but its logs and marks, which tell times."""
    return {name: out.read(name) for name in out.files()}


@pytest.fixture
def out(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "out"))


# ---- planning


def listed(path: Path, names: list[str]) -> Input:
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(b"x")
    return list_input(str(path))


def test_images_are_listed_in_the_order_of_their_names(tmp_path: Path) -> None:
    names = ["b.jpg", "a/z.jpg", "B.jpg", "a.jpg", "10.jpg", "9.jpg", "ü.jpg", NOT_UTF8]
    assert listed(tmp_path, names).ids == sorted(names)


def test_hidden_files_are_left_out_others_are_passed_over_and_files_without_an_ending_are_tried(tmp_path: Path) -> None:
    images = ["a.JPG", "b.Jpeg", "c/d.TIFF", "e", "f.webp", "g.avif"]
    others = ["notes.txt", "z/list.csv", "movie.mp4", "a.jpg.part"]
    hidden = [".DS_Store", ".git/x.jpg", "c/.hidden.jpg", "c/.thumbs/x.png"]
    found = listed(tmp_path, [*images, *others, *hidden])
    assert found.ids == sorted(images)
    assert found.passed_over == sorted(others)


def test_an_input_without_images_is_said_and_whether_it_is_there_at_all(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no images"):
        listed(tmp_path, ["notes.txt", ".hidden.jpg"])
    with pytest.raises(UsageError, match="is empty, or not a folder"):
        list_input(str(tmp_path / "none"))
    with pytest.raises(UsageError, match="Not a directory"):
        list_input(str(tmp_path / "notes.txt"))


def test_a_limit_takes_the_first_and_more_than_there_are_takes_all(tmp_path: Path) -> None:
    names = [f"{i}.jpg" for i in range(5)]
    for limit, taken in ((2, names[:2]), (99, names)):
        out = Folder(str(tmp_path / str(limit)))
        plan, _ = check_or_store_plan(out, job_of(limit=limit), input_of(*names))
        assert ids_of(out, plan) == taken


def ids_of(out: Folder, plan: Plan) -> list[str]:
    return [image.id for _, images in plan.read_shards(out) for image in images]


@pytest.mark.parametrize(("images", "shard_size", "sizes"), [(7, 3, [3, 3, 1]), (6, 3, [3, 3]), (2, 100, [2])])
def test_a_shard_size_is_kept_to(images: int, shard_size: int, sizes: list[int]) -> None:
    assert pack([1] * images, shard_size) == sizes


@pytest.mark.parametrize(
    ("images", "actors", "most"), [(1, 1, 1), (12, 2, 12), (60, 2, 60), (10_000, 16, 500), (1_000_000, 64, 5_000)]
)
@pytest.mark.parametrize("size", [0, 1_000, 3_000_000])
def test_shards_are_few_enough_for_the_driver_and_enough_for_the_actors(
    images: int, actors: int, most: int, size: int
) -> None:
    counts = pack([size] * images)
    assert sum(counts) == images
    assert len(counts) <= max(most, min(5_000, images * size // 16_000_000 + 1))
    assert len(counts) >= min(images, 6 * actors)
    assert max(counts) - min(counts) <= 1


def test_shards_of_large_files_have_fewer_images_and_an_enormous_file_is_alone() -> None:
    sizes = [1_000_000 + 1_000_000 * (i % 3 == 0) for i in range(2_000)]
    sizes[100] = 900_000_000
    counts = pack(sizes)
    places = [range(place.start, place.stop) for place in slices(counts)]
    assert [*map(len, places)] == counts
    (alone,) = [place for place in places if 100 in place]
    assert len(alone) <= 2
    mean = sum(sizes) / len(sizes)
    work = [sum(0.5 + 0.5 * sizes[i] / mean for i in place) for place in places if 100 not in place]
    assert max(work) < 2 * sum(work) / len(work)


def test_a_plan_comes_back_as_it_was_and_each_shard_by_itself(out: Folder) -> None:
    ids = sorted([*ODD_IDS, NOT_UTF8])
    others = ["notes.txt", os.fsdecode(b"\xff.txt")]
    plan, notes = check_or_store_plan(out, job_of(shard_size=4), input_of(*ids, passed_over=others))
    assert notes == []
    assert plans.stored_plan(out) == plan == Plan.parse(plan.dump())
    assert (plan.shards, plan.images, plan.passed_over) == (3, 11, 2)
    assert plan.labels == ("a::b", "cats", "夢")
    assert ids_of(out, plan) == ids
    assert [image.id for image in plan.read_shard(out, 2)] == ids[8:]
    assert plans.passed_over(out) == others


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


# ---- other settings, new images


def test_a_plan_is_stored_once_and_an_equal_job_goes_on(out: Folder) -> None:
    plan, _ = check_or_store_plan(out, job_of(), input_of(*ODD_IDS))
    before = contents(out)
    again, notes = check_or_store_plan(out, job_of(), input_of(*ODD_IDS))
    assert again == plan
    assert notes == []
    assert contents(out) == before


CHANGES: dict[str, tuple[Job, list[str]]] = {
    "input": (job_of(input="/others"), ["input: /home/me/photos -> /others"]),
    "format": (job_of(format="files"), ["format: parquet -> files"]),
    "batch size": (job_of(batch_size=8), ["batch_size: None -> 8"]),
    "limit": (job_of(limit=1), ["limit: 2 images are planned -> 1"]),
    "recipe": (
        job_of(recipe=RECIPE.changed(steps=50, objective="low")),
        ["objective: [{'layer': 'high'}] -> [{'layer': 'low'}]", "steps: 20 -> 50"],
    ),
}


@pytest.mark.parametrize(("job", "said"), CHANGES.values(), ids=CHANGES)
def test_other_settings_are_refused_in_one_line_with_the_difference(job: Job, said: list[str], out: Folder) -> None:
    check_or_store_plan(out, job_of(), input_of("a", "b"))
    before = contents(out)
    with pytest.raises(UsageError, match="begun with other settings") as caught:
        check_or_store_plan(out, job, input_of("a", "b"))
    assert all(words in str(caught.value) for words in said)
    assert "use those, or another output" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert contents(out) == before


def test_settings_that_decide_no_file_may_change(out: Folder) -> None:
    check_or_store_plan(out, job_of(), input_of("a", "b"))
    plan, _ = check_or_store_plan(out, job_of(actors=(3, 4), shard_size=7, max_failures=3), input_of("a", "b"))
    assert plan.job.actors == (3, 4)
    assert plan.shards == 2


@pytest.mark.parametrize("format", FORMATS)
def test_new_images_become_new_shards_and_what_is_done_stays(format: Format, out: Folder) -> None:
    job = job_of(format=format)
    make(out, job, ["b.jpg", "c.jpg"])
    before = {name: data for name, data in contents(out).items() if name.startswith(("data/train", "data/dream"))}
    plan, notes = check_or_store_plan(out, job, input_of("B.png", "a/x.jpg", "b.jpg", "c.jpg"))
    assert notes == ["2 new images in the input: appended to the plan"]
    assert ids_of(out, plan) == ["b.jpg", "c.jpg", "B.png", "a/x.jpg"]
    assert plan.labels == ("a",)
    _, manifest = make(out, job, ["B.png", "a/x.jpg", "b.jpg", "c.jpg"])
    assert (manifest["images"], manifest["shards"]) == (4, 4)
    assert [r.id for r in rows_of(out, plan)] == ids_of(out, plan)
    assert before.items() <= contents(out).items()


def test_a_larger_limit_appends(out: Folder) -> None:
    names = [f"{i}.jpg" for i in range(5)]
    check_or_store_plan(out, job_of(limit=2), input_of(*names))
    plan, notes = check_or_store_plan(out, job_of(limit=4), input_of(*names))
    assert notes == ["2 new images in the input: appended to the plan"]
    assert ids_of(out, plan) == names[:4]


def test_images_that_are_gone_are_said_unless_they_are_done(out: Folder) -> None:
    plan, _ = check_or_store_plan(out, job_of(), input_of("a", "b", "c", "d"))
    dream(out, plan, 0)
    assert check_or_store_plan(out, job_of(), input_of("b", "c", "d"))[1] == []
    again, notes = check_or_store_plan(out, job_of(), input_of("b", "e"))
    assert again.images == 5
    assert notes[0] == "1 new image in the input: appended to the plan"
    assert notes[1].startswith("2 images of unfinished shards no longer in the input: c and 1 more")


def test_a_folder_that_holds_something_else_is_refused(out: Folder) -> None:
    out.write("thesis/final.doc", b"dear")
    with pytest.raises(UsageError, match=r"not empty, and not a data set of raydream: it holds thesis/final\.doc$"):
        check_or_store_plan(out, job_of(), input_of("a"))
    assert out.files() == {"thesis/final.doc": 4}


def test_what_a_job_leaves_that_is_killed_before_it_has_a_plan_is_no_obstacle(out: Folder) -> None:
    out.write("_raydream/.0123.partial", b"half")
    out.write("_raydream/plan/00000.parquet", b"no plan names it")
    plan, _ = check_or_store_plan(out, job_of(), input_of("a"))
    assert ids_of(out, plan) == ["a"]


def test_no_plan_or_one_that_cannot_be_read_is_said(out: Folder) -> None:
    with pytest.raises(UsageError, match=r"is not a data set of raydream: it has no _raydream/plan\.json"):
        plans.stored_plan(out)
    for damaged in (b"", b"{", b"\xff", b"[]", b"7", b"{}", b'{"job": [], "parts": []}'):
        out.write(plans.PLAN, damaged)
        with pytest.raises(UsageError, match="damaged, or from another version"):
            plans.stored_plan(out)


# ---- marks and logs


def mark(shard: int, images: int = 0, **changes: Any) -> Mark:
    known: dict[str, Any] = {"failures": (), "measured": 0, "objective_before": 0.0, "objective_after": 0.0}
    known |= {"seconds": 0.0, "device": "CPU", "part_bytes": 0, "sizes": ()}
    return Mark(shard=shard, images=images, **{**known, **changes})


def test_marks_come_back_in_the_order_of_their_shards_also_past_99999(out: Folder) -> None:
    for shard in (1_000_000, 3, 20, 100_000):
        write_mark(out, mark(shard))
    assert marked(out) == [3, 20, 100_000, 1_000_000]
    assert read_marks(out, marked(out)) == [mark(shard) for shard in marked(out)]
    assert list(out.files("_raydream/marks")) == sorted(out.files("_raydream/marks"), key=lambda n: int(n[-12:-5]))


def test_what_is_no_mark_in_the_folder_of_the_marks_is_left_alone(out: Folder) -> None:
    write_mark(out, mark(1))
    for name in ("._00002.json", ".0123.partial", ".DS_Store", "copy of 00001.json"):
        out.write(f"_raydream/marks/{name}", b"")
    assert marked(out) == [1]


def test_a_damaged_mark_is_said_with_what_to_do(out: Folder) -> None:
    for damaged in (b'{"shard": 1}', b"", mark(1, images="many").dump()):
        out.write("_raydream/marks/0000001.json", damaged)
        with pytest.raises(UsageError, match=r"_raydream/marks/0000001\.json is damaged: delete it"):
            read_marks(out, marked(out))


def test_an_output_that_is_not_there_has_nothing_done(out: Folder) -> None:
    assert layout.done(out, "parquet") == set()
    assert marked(out) == []
    assert summary.logged_seconds(out) == 0.0


def test_the_logs_of_all_runs_are_kept_and_their_seconds_add_up(out: Folder) -> None:
    for seconds in (1.5, 2.0, 4.25):
        summary.log(out, {"status": "done", "seconds": seconds})
    out.write(f"{summary.LOGS}/.abc.partial", b'{"ended')
    assert summary.logged_seconds(out) == 7.75
    entries = [json.loads(out.read(name)) for name in out.files(summary.LOGS) if name.endswith("json")]
    assert len(entries) == 3
    assert all(datetime.strptime(entry["ended"], "%Y%m%dT%H%M%S.%fZ") for entry in entries)


# ---- the finished data set

FAILURES = {
    "cats/tom.png": Failure(id="cats/tom.png", stage="load", error="file is empty"),
    NOT_UTF8: Failure(id=NOT_UTF8, stage="dream", error=os.fsdecode(b"no \xff")),
}


def finished(out: Folder, format: Format = "parquet", keep_source: bool = True) -> tuple[Plan, dict[str, Any]]:
    found = input_of(*sorted([*ODD_IDS, NOT_UTF8]), passed_over=["notes.txt", os.fsdecode(b"\xfe.txt")])
    return make(out, job_of(format=format, keep_source=keep_source, shard_size=3), found, FAILURES)


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
    dreamed = [id for id in ids_of(out, plan) if id not in FAILURES]
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
    kept = rows_of(out, plan)
    assert [r.id for r in kept] == dreamed
    page, rows = gallery_of(out)
    assert [r["id"] for r in rows] == dreamed
    assert rows[0]["numbers"] == [["size", "8 × 6"], ["seed", str(kept[0].seed)], ["objective", "0.5 → 2"]]
    assert RECIPE.digest[:12] in page
    assert "9 dreams of 11 photographs" in out.read("README.md").decode()
    assert not [name for name in out.files() if name.endswith(".partial")]


def test_failures_name_every_image_that_is_not_there_and_why(out: Folder) -> None:
    finished(out)
    assert pq.read_table(io.BytesIO(out.read("failures.parquet"))).to_pylist() == [
        {"id": "caf\\udce9.jpg", "stage": "dream", "error": "no \\udcff"},
        {"id": "cats/tom.png", "stage": "load", "error": "file is empty"},
        {"id": "notes.txt", "stage": "list", "error": "not an image, by its file name"},
        {"id": "\\udcfe.txt", "stage": "list", "error": "not an image, by its file name"},
    ]


def test_without_failures_there_is_no_such_file(out: Folder) -> None:
    make(out, job_of(), ["a.jpg"])
    assert not out.exists("failures.parquet")
    assert "could not be dreamed" not in out.read("README.md").decode()


def test_finishing_removes_what_killed_writers_left_and_twice_is_the_same_as_once(out: Folder) -> None:
    plan, first = finished(out)
    before = {name: out.read(name) for name in out.files()}
    out.write("data/.0123.partial", b"half")
    assert finishing.finish(out, plan, 12.34) == first
    assert {name: out.read(name) for name in out.files()} == before


def test_a_data_set_of_failures_only_is_finished_too(out: Folder) -> None:
    _, manifest = make(out, job_of(), [NOT_UTF8], FAILURES)
    assert (manifest["images"], manifest["failures"], manifest["objective_after"]) == (0, 1, None)
    assert gallery_of(out)[1] == []


def test_dreams_carry_inside_what_makes_them_again(out: Folder) -> None:
    plan, _ = finished(out)
    (tom,) = [r for r in rows_of(out, plan) if r.id == "cats/tom.jpg"]
    inside = provenance.found_inside(tom.dream, tom.name)
    assert Recipe.parse(inside["recipe"]) == RECIPE
    assert inside["recipe_digest"] == tom.recipe == RECIPE.digest
    assert (inside["id"], inside["seed"]) == ("cats/tom.jpg", tom.seed)


# ---- the gallery's sample


def test_the_gallery_shows_so_many_dreams_evenly_spread_over_all_shards(out: Folder) -> None:
    ids = [f"{i:02d}.jpg" for i in range(40)]
    plan, _ = make(out, job_of(shard_size=6), ids)
    assert len(gallery_of(out)[1]) == 40
    exhibits.write_gallery(out, plan, rows=10)
    page, rows = gallery_of(out)
    assert [r["id"] for r in rows] == ids[::4]
    assert "Showing 10 of 40 dreams" in page
    for most in (1, 7, 39, 40, 41):
        shown = exhibits.evenly_spread(40, most)
        assert len(shown) == min(most, 40)
        assert shown == sorted(set(shown))


def test_the_gallery_of_an_unfinished_data_set_shows_what_there_is(out: Folder) -> None:
    plan, _ = make(out, job_of(), ["a.jpg", "b.jpg"], finish=False)
    Path(out.url, "_raydream/marks/0000001.json").unlink()
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
    labels = opened["train"].features.get("label")
    def plain(name, value):
        if features[name] == "Image":
            return value.size, value.convert("RGB").getcolors()
        return labels.int2str(value) if features[name] == "ClassLabel" and value is not None else value
    rows = [{name: plain(name, value) for name, value in row.items()} for row in opened["train"]]
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
    make(plain, job_of(format="webdataset"), [*(f"{i}.jpg" for i in range(12)), "zoo/x.jpg", "zoo/y.jpg"])
    found = opened(tmp_path / "home", *(out.url for out in [*outs.values(), plain]))

    dreamed = [id for id in ODD_IDS if id not in FAILURES]
    for (format, keep), out in outs.items():
        ending = ".png" if format == "webdataset" else ""
        features, rows = found[out.url]["features"], found[out.url]["rows"]
        pictures = {f"dream{ending}", f"source{ending}"} if keep else {f"dream{ending}"}
        assert {name for name, kind in features.items() if kind == "Image"} == pictures
        assert format != "parquet" or features["label"] == "ClassLabel"
        assert sorted(facts_of(r)["id"] for r in rows) == sorted(dreamed)
        for r in rows:
            number = dreamed.index(facts_of(r)["id"])
            assert r[f"dream{ending}"] == [[8, 6], [[48, [number + 100] * 3]]]
            assert not keep or r[f"source{ending}"] == [[8, 6], [[48, [number] * 3]]]
            assert (facts_of(r)["label"] or None) == label_of(facts_of(r)["id"])
            assert facts_of(r)["seed"] == RECIPE.seed_of(facts_of(r)["id"])
            assert facts_of(r)["objective_after"] == 2.0 + number
    assert [facts_of(r)["label"] for r in found[plain.url]["rows"]] == [""] * 12 + ["zoo"] * 2


def test_datasets_opens_unfinished_sets_of_all_formats(tmp_path: Path) -> None:
    outs = {format: Folder(str(tmp_path / format)) for format in FORMATS}
    unfinished = ["a/1", "a/2", "b/3", "b/4", "5"]
    for format, out in outs.items():
        plan, _ = check_or_store_plan(
            out, job_of(format=format, shard_size=2), input_of("a/1", "a/2", "b/3", "b/4", "5")
        )
        finishing.begin(out, plan)
        dream(out, plan, 0)
        dream(out, plan, 1)
    found = opened(tmp_path / "home", *(out.url for out in outs.values()))
    for out in outs.values():
        assert [facts_of(r)["id"] for r in found[out.url]["rows"]] == unfinished[:4]


# ---- joined data files


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data files of about three shards of two images."""
    monkeypatch.setattr(joining, "FILE_BYTES", 25_000)


def data_files(out: Folder) -> dict[str, bytes]:
    return {name: out.read(name) for name in out.files("data")}


NAMES = [f"{i:02d}.jpg" for i in range(16)]
LOST = {name: Failure(id=name, stage="load", error="empty") for name in ("06.jpg", "07.jpg")}


@pytest.mark.parametrize("format", FORMATS)
def test_parts_are_joined_in_order_into_fewer_files(format: Format, out: Folder, small_files: None) -> None:
    plan, _ = make(out, job_of(format=format, shard_size=2), NAMES, LOST)
    assert [r.id for r in rows_of(out, plan)] == [name for name in NAMES if name not in LOST]
    if format == "files":
        assert out.read("data/metadata.jsonl").count(b"\n") == 14
    else:
        assert 2 <= len(out.files("data")) <= 4
        assert out.files(shards.PARTS) == {}
        assert sorted(out.files("data"))[0].startswith("data/train-0000000-000000")


@pytest.mark.parametrize("format", FORMATS)
def test_killed_at_any_point_of_finishing_the_next_run_gives_the_same_bytes(
    format: Format, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_files: None
) -> None:
    """Every change of the disk in turn is the one that never comes."""

    class Killed(BaseException):
        pass

    job = job_of(format=format, shard_size=2)
    whole, out = Folder(str(tmp_path / "whole")), Folder(str(tmp_path / "out"))
    plan, _ = make(whole, job, NAMES, LOST)
    expected = contents(whole)
    make(out, job, NAMES, LOST, finish=False)
    left = 0
    for act in ("write", "create", "move", "remove"):
        real = getattr(Folder, act)

        def counted(self: Folder, *arguments: Any, real: Any = real) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return real(self, *arguments)

        monkeypatch.setattr(Folder, act, counted)
    monkeypatch.setattr(joining, "_THREADS", 1)
    for limit in range(40):
        left = limit
        with suppress(Killed):
            finishing.finish(out, plan, 12.34)
            break
        left = 999
        assert layout.done(out, format) == {*range(8)}
        assert [r.id for r in rows_of(out, plan)] == [name for name in NAMES if name not in LOST]
        # From each state, the way to the end is the same.
        copy = Folder(str(tmp_path / f"copy {limit}"))
        shutil.copytree(out.url, copy.url)
        finishing.finish(copy, plan, 12.34)
        assert contents(copy) == expected
    assert limit > 5
    assert contents(out) == expected


@pytest.mark.parametrize("format", ["parquet", "webdataset"])
def test_a_data_file_that_is_deleted_is_made_again_to_the_byte(format: Format, out: Folder, small_files: None) -> None:
    job = job_of(format=format, shard_size=2)
    make(out, job, NAMES, LOST)
    before = data_files(out)
    name = sorted(before)[1]
    Path(out.url, name).unlink()
    first, last = map(int, re.findall(r"\d{7}", name))
    assert layout.done(out, format) == {*range(8)} - {*range(first, last + 1)} | ({3} & {*range(first, last + 1)})
    make(out, job, NAMES, LOST)
    assert data_files(out) == before


@pytest.mark.parametrize("format", FORMATS)
def test_a_damaged_data_file_is_said_with_what_to_do(format: Format, out: Folder) -> None:
    plan, _ = make(out, job_of(format=format), ["a.jpg", "b.jpg"])
    (name, *_) = out.files(shards.PARTS) if format == "files" else out.files("data")
    out.write(name, b'{"half')
    with pytest.raises(UsageError, match=f"{name} is damaged: delete it and run the job again"):
        rows_of(out, plan)


@pytest.mark.parametrize("format", FORMATS)
def test_two_equal_runs_have_the_same_data_files(format: Format, tmp_path: Path) -> None:
    made = []
    for name, seconds in (("once", 1.0), ("twice", 2.0)):
        out = Folder(str(tmp_path / name))
        plan, _ = check_or_store_plan(out, job_of(format=format), input_of("a", "b"))
        for shard in range(2):
            rows = [row(*image, shard, True) for image in plan.read_shard(out, shard)]
            shards.write(out, Shard(number=shard, rows=rows, failures=(), device="CPU", seconds=seconds), format)
        finishing.finish(out, plan, seconds)
        made.append(data_files(out))
    assert made[0] == made[1]


def test_of_a_large_file_only_what_is_asked_for_is_read(
    out: Folder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(parquet, "_ROW_GROUP", 600_000)
    big = codec.encode(np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8))
    asked: list[int] = []
    real = Folder.read

    def read(self: Folder, name: str, start: int | None = None, end: int | None = None) -> bytes:
        data = real(self, name, start, end)
        asked.append(len(data) * name.startswith("data/"))
        return data

    for format in FORMATS:
        out = Folder(str(tmp_path / format))
        plan, _ = check_or_store_plan(out, job_of(format=format, shard_size=25), input_of(*map(str, range(100))))
        for shard, images in plan.read_shards(out):
            rows = [replace(row(*image, 0, False), dream=big) for image in images]
            shards.write(out, Shard(number=shard, rows=rows, failures=(), device="CPU", seconds=1), format)
        finishing.finish(out, plan, 1.0)
        found = read_marks(out, marked(out))
        monkeypatch.setattr(Folder, "read", read)
        asked.clear()
        shown = read_rows(out, format, found, [0, 63])
        monkeypatch.setattr(Folder, "read", real)
        assert [r.id for r in shown] == ["0", "63"]
        assert sum(asked) < 8 * len(big)


@pytest.mark.parametrize("format", ["parquet", "webdataset"])
def test_a_failed_image_that_is_tried_again_gets_its_row(out: Folder, format: Format) -> None:
    ids = [f"{n}.jpg" for n in range(5)]
    job = job_of(format=format, shard_size=1)
    make(out, job, ids, {"1.jpg": Failure(id="1.jpg", stage="load", error="broken")})
    out.remove("_raydream/marks/0000001.json")
    layout.remove_outdated(out, format)
    plan, manifest = make(out, job, ids)
    assert [r.id for r in rows_of(out, plan)] == ids
    assert (manifest["images"], manifest["failures"]) == (5, 0)
