"""jobs.stages and jobs.tries without a pipeline: what one bad image may cost, at each stage."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raydream.data.marks import read_marks
from raydream.data.storage import Folder
from raydream.errors import UsageError
from raydream.jobs import cluster
from raydream.jobs.dreaming import stages, tries
from raydream.recipe import Recipe

# Ray's own, on its import.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def work(recipe: Recipe, output: Path, **changes: Any) -> stages.Work:
    values = {"input": str(output), "output": str(output), "recipe": recipe, "format": "files", "picture": ".webp"}
    return stages.Work(
        **values | {"keep_source": False, "batch_size": 1, "dreamer": None, "imagenet": None, "plan": None} | changes
    )


def item(id: str, width: int = 20) -> stages.Item:
    pixels = np.zeros((10, width, 3), np.uint8)
    return stages.Item(id=id, name=f"{id}.webp", image=pixels, dream=pixels, before=0.5, after=1.0, seconds=0.1)


def test_an_image_that_cannot_be_written_costs_its_neighbours_nothing(tiny_recipe: Recipe, tmp_path: Path) -> None:
    items = [item("good"), item("wide", 16_400), item("ü" * 130)]
    row = {"shard": 0, "payload": pickle.dumps((items, "CPU"))}
    assert stages.write(row, work(tiny_recipe, tmp_path)) == {"images": 1, "failures": 2}
    (mark,) = read_marks(Folder(str(tmp_path)), [0])
    assert mark.images == 1
    assert [(f.id, f.stage) for f in mark.failures] == [("wide", "write"), ("ü" * 130, "write")]
    assert "16400x10" in mark.failures[0].error
    assert "255 bytes" in mark.failures[1].error


def test_a_long_name_is_no_trouble_inside_a_file(tiny_recipe: Recipe, tmp_path: Path) -> None:
    row = {"shard": 0, "payload": pickle.dumps(([item("z" * 300)], "CPU"))}
    assert stages.write(row, work(tiny_recipe, tmp_path, format="parquet"))["failures"] == 0


def test_files_of_an_actor_may_be_urls(tmp_path: Path) -> None:
    import keras

    image = keras.Input((None, None, 3))
    keras.Model(image, keras.layers.Rescaling(-1.0)(image)).save(tmp_path / "negative.keras")
    dream, _ = stages.dreaming(Recipe(), (tmp_path / "negative.keras").as_uri())
    (dreamed,) = dream([item("x")])
    assert dreamed.dream is not None
    assert (dreamed.dream == 255).all()


def test_a_shard_that_was_done_well_is_no_death_when_it_is_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = tries.Tries.__ray_metadata__.modified_class()  # type: ignore[attr-defined]

    class Method:
        def __init__(self, call: Any) -> None:
            self.remote = call

    class Handle:
        begin, end = Method(counts.begin), Method(counts.end)

    monkeypatch.setattr(tries.ray, "get", lambda value: value)
    sizes: list[int] = []

    def dream(items: list[stages.Item]) -> list[stages.Item]:
        sizes.append(len(items))
        return items

    for _ in range(2 * tries.SHARD_TRIES):
        tries.guarded(Handle, "dream", 7, [item("a"), item("b")], dream)
    assert sizes == [2] * (2 * tries.SHARD_TRIES)


def test_what_went_wrong_in_a_worker_is_its_own_error_not_what_ray_says_around_it() -> None:
    import ray

    inner = OSError("[Errno 28] No space left\n on device")
    outer = ray.exceptions.RayTaskError("write", "Traceback ...\nTo change retry attempts, see Ray", inner)
    assert cluster.cause(outer) == "OSError: [Errno 28] No space left on device"
    assert cluster.cause(ray.exceptions.RayError("first\nlast\n")) == "last"


def test_gpus_that_this_machine_does_not_have_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster.ray, "cluster_resources", lambda: {"CPU": 4.0})
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert cluster.devices(None) == (0.0, 4)
    with pytest.raises(UsageError, match="no GPU"):
        cluster.devices(1.0)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")  # it may bring one
    assert cluster.devices(1.0) == (1.0, 0)


def test_an_address_that_leads_nowhere_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "nonsense")
    with pytest.raises(UsageError, match="RAY_ADDRESS=nonsense leads to no cluster"):
        cluster.join()
