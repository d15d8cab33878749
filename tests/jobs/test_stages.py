"""jobs.dreaming without a pipeline: what one bad image may cost, at each stage, and with what an actor dreams."""

import pickle
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from raydream import assets
from raydream.data.inputs import list_input
from raydream.data.job import Job
from raydream.data.marks import marked, read_marks
from raydream.data.planning import check_or_store_plan
from raydream.data.storage import Folder
from raydream.errors import UsageError, WorkError
from raydream.jobs import cluster
from raydream.jobs.dreaming import attempts, batches, prepare, stages
from raydream.jobs.dreaming.items import Item
from raydream.jobs.dreaming.lease import Lease
from raydream.recipe import Recipe

# Ray's own, on its import.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The record of attempts in this process, with methods to be called as an actor's."""
    known = attempts.Record(str(tmp_path), "run")

    class Method:
        def __init__(self, call: Any) -> None:
            self.remote = call

    class Handle:
        begin, end, forget = Method(known.begin), Method(known.end), Method(known.forget)

    monkeypatch.setattr(attempts.ray, "get", lambda value: value)
    monkeypatch.setattr(attempts.ray, "nodes", lambda: [{"NodeID": "here", "Alive": True}])
    monkeypatch.setattr(attempts.Place, "here", classmethod(lambda cls: cls("here", 0)))
    return Handle


def job(recipe: Recipe, output: Path, **changes: Any) -> Job:
    values = {"input": str(output), "output": str(output), "recipe": recipe, "format": "files", "picture": "webp"}
    return Job(**values | changes)


def item(id: str, width: int = 20) -> Item:
    pixels = np.zeros((10, width, 3), np.uint8)
    return Item(id=id, name=f"{id}.webp", image=pixels, dream=pixels, before=0.5, after=1.0, seconds=0.1)


def write(items: list[Item], job: Job, record: Any) -> dict[str, Any]:
    row = {"shard": 0, "payload": pickle.dumps((items, "CPU"))}
    with Lease(job.output) as lease:
        return stages.write(row, job, record, lease.token)


def test_an_image_that_cannot_be_written_costs_its_neighbours_nothing(
    tiny_recipe: Recipe, tmp_path: Path, record: Any
) -> None:
    items = [item("good"), item("wide", 16_400), item("ü" * 130)]
    assert write(items, job(tiny_recipe, tmp_path), record) == {"images": 1, "failures": 2}
    out = Folder(str(tmp_path))
    (mark,) = read_marks(out, marked(out))
    assert mark.images == 1
    assert [(f.id, f.stage) for f in mark.failures] == [("wide", "write"), ("ü" * 130, "write")]
    assert "16400x10" in mark.failures[0].error
    assert "255 bytes" in mark.failures[1].error


def test_a_long_name_is_no_trouble_inside_a_file(tiny_recipe: Recipe, tmp_path: Path, record: Any) -> None:
    assert write([item("z" * 300)], job(tiny_recipe, tmp_path, format="parquet"), record)["failures"] == 0


def test_nothing_is_written_for_a_driver_that_lost_its_lease(tiny_recipe: Recipe, tmp_path: Path, record: Any) -> None:
    row = {"shard": 0, "payload": pickle.dumps(([item("a")], "CPU"))}
    with Lease(str(tmp_path)), pytest.raises(WorkError, match=r"another driver .* has taken over"):
        stages.write(row, job(tiny_recipe, tmp_path), record, "token of a driver that is gone")
    assert Folder(str(tmp_path)).files() == {}


def test_a_shard_whose_file_kills_its_writer_ends_the_job_and_does_not_repeat_for_ever(
    tiny_recipe: Recipe, tmp_path: Path, record: Any
) -> None:
    for _ in range(attempts.SHARD_DEATHS):
        record.begin.remote(attempts.Work("write file", 0), attempts.Place("here", 0))
    with pytest.raises(WorkError, match="died 3 times while writing the file of shard 0: use smaller shards"):
        write([item("a")], job(tiny_recipe, tmp_path), record)
    assert write([item("a")], job(tiny_recipe, tmp_path), record)["images"] == 1, "the same command tries again"


def test_a_shard_that_was_done_well_is_no_death_when_it_is_done_again(record: Any) -> None:
    sizes: list[int] = []

    def dream(items: list[Item]) -> list[Item]:
        sizes.append(len(items))
        return items

    for _ in range(2 * attempts.SHARD_DEATHS):
        attempts.pass_over_fatal(record, "dream", 7, [item("a"), item("b")], dream)
    assert sizes == [2] * (2 * attempts.SHARD_DEATHS)


def test_an_error_is_no_death(record: Any) -> None:
    def fail(items: list[Item]) -> list[Item]:
        raise OSError("no space")

    for _ in range(2 * attempts.SHARD_DEATHS):
        with pytest.raises(OSError, match="no space"):
            attempts.pass_over_fatal(record, "write", 7, [item("a")], fail)


# ---- a dreamer


@pytest.fixture
def negative(tmp_path: Path) -> Path:
    """A dreamer that makes negatives."""
    import keras

    image = keras.Input((None, None, 3))
    keras.Model(image, keras.layers.Rescaling(-1.0)(image)).save(tmp_path / "negative.keras")
    return tmp_path / "negative.keras"


def test_a_dreamer_may_be_a_url(negative: Path, tmp_path: Path) -> None:
    digest = assets.digest(str(negative))
    asked = job(Recipe(), tmp_path, dreamer=negative.as_uri(), dreamer_digest=digest)
    (dreamed,) = batches.dreaming(asked)([item("x")])
    assert dreamed.dream is not None
    assert (dreamed.dream == 255).all()


def test_a_worker_refuses_another_dreamer_than_the_jobs(negative: Path, tmp_path: Path) -> None:
    asked = job(Recipe(), tmp_path, dreamer=str(negative), dreamer_digest="ab" * 32)
    with pytest.raises(UsageError, match=r"negative.keras \(\w{12}\) is not the one that the job started with \(abab"):
        batches.dreaming(asked)


def test_a_dreamers_digest_is_its_own_and_the_recipe_can_still_be_used(
    tiny_recipe: Recipe, negative: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.png").write_bytes(b"")
    asked = replace(job(tiny_recipe, tmp_path / "out", dreamer=str(negative)), input=str(tmp_path / "in"))
    prepared, _ = prepare.prepare(asked)
    assert prepared.dreamer_digest == assets.digest(str(negative))
    stored = Recipe.parse(yaml.safe_load(prepared.recipe.dump()))
    assert assets.load_for(stored), "its weights are not taken for the dreamer's"


# ---- the batch size


@pytest.mark.parametrize(
    ("asked", "gpus", "size"),
    [({"batch_size": 3}, 1.0, 3), ({"gpus_per_actor": 0.5}, 0.0, 8), ({"gpus_per_actor": 0.0}, 1.0, 1), ({}, 1.0, 8)],
)
def test_the_batch_size_suits_the_devices_unless_it_is_given(
    tiny_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: Any, gpus: float, size: int
) -> None:
    monkeypatch.setattr(cluster, "joined", nullcontext)
    monkeypatch.setattr(cluster, "devices", lambda gpus_each: cluster.Devices(gpus, 1))
    assert prepare.with_batch_size(job(tiny_recipe, tmp_path, **asked)).batch_size == size


def test_the_batch_size_of_a_data_set_is_decided_once(
    tiny_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.png").write_bytes(b"")
    begun = job(tiny_recipe, tmp_path / "out", batch_size=8)
    check_or_store_plan(Folder(begun.output), begun, list_input(str(tmp_path / "in")))
    monkeypatch.setattr(cluster, "joined", lambda: pytest.fail("a cluster is started to decide what is decided"))
    assert prepare.with_batch_size(replace(begun, batch_size=None)).batch_size == 8
