"""jobs.dreaming.attempts: which image is to blame for the death of its worker, across runs and nodes."""

import json
from pathlib import Path
from typing import Any

import pytest

from raydream.jobs.dreaming import attempts
from raydream.jobs.dreaming.attempts import ATTEMPTS, Place, Record, Work
from tests.common import RAY, wait_for

pytestmark = RAY
IMAGE = Work("dream", 7, "cat/1.png")
HERE = Place("here", 0)
GONE = {"NodeID": "gone", "Alive": False}


@pytest.fixture(autouse=True)
def nodes(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Ray's nodes, as far as these tests know them."""
    known: list[dict[str, Any]] = [{"NodeID": "here", "Alive": True}]
    monkeypatch.setattr(attempts.ray, "nodes", lambda: known)
    return known


def test_deaths_are_counted_and_ends_are_not(tmp_path: Path) -> None:
    record = Record(str(tmp_path), "run")
    assert record.begin(IMAGE, HERE) == []
    assert record.begin(IMAGE, HERE) == ["worker"]
    record.end(IMAGE)
    assert record.begin(IMAGE, HERE) == ["worker"]
    assert record.begin(IMAGE, Place("here", 1)) == ["worker", "memory"]


def test_a_shard_that_is_done_is_forgotten_and_so_is_its_file(tmp_path: Path) -> None:
    record = Record(str(tmp_path), "run")
    for _ in range(2):
        record.begin(IMAGE, HERE)
    record.store()
    assert (tmp_path / ATTEMPTS).exists()
    record.forget(7)
    record.store()
    assert not (tmp_path / ATTEMPTS).exists()


def test_what_a_dead_run_left_open_counts_in_the_next_one(tmp_path: Path) -> None:
    for number in range(attempts.DEATHS):
        record = Record(str(tmp_path), f"run {number}")
        assert record.begin(IMAGE, HERE) == ["run"] * number
        record.store()  # and then all processes die
    deaths = Record(str(tmp_path), "last").begin(IMAGE, HERE)
    assert attempts.fatal(deaths)
    assert "died 3 times while dreaming this image (last: the whole run was killed" in attempts.verdict("dream", deaths)


def test_a_run_that_ends_in_an_orderly_way_blames_nobody(tmp_path: Path) -> None:
    record = Record(str(tmp_path), "first")
    other = Work("dream", 8)
    for work in (IMAGE, other, other):
        record.begin(work, HERE)
    record.store()
    record.close()
    record.begin(IMAGE, HERE)  # of a worker that has not heard of the end
    record.store()
    again = Record(str(tmp_path), "second")
    assert again.begin(IMAGE, HERE) == []
    assert again.begin(other, HERE) == ["worker"], "deaths that were seen still count"


def test_the_record_that_is_started_again_in_the_same_run_goes_on(tmp_path: Path) -> None:
    record = Record(str(tmp_path), "run")
    record.begin(IMAGE, HERE)
    record.store()
    again = Record(str(tmp_path), "run")
    assert again.begin(IMAGE, Place("here", 1)) == ["memory"], "it knows where the attempt was"


@pytest.mark.parametrize("reason", attempts._TAKEN_AWAY)
def test_a_preempted_node_is_no_guilt(tmp_path: Path, nodes: list[dict[str, Any]], reason: int) -> None:
    nodes.append({**GONE, "DeathReason": reason})
    record = Record(str(tmp_path), "run")
    record.begin(IMAGE, Place("gone", 0))
    assert record.begin(IMAGE, HERE) == []


def test_a_node_that_goes_down_counts_less_than_a_worker(tmp_path: Path, nodes: list[dict[str, Any]]) -> None:
    nodes.append({**GONE, "DeathReason": 2})
    record = Record(str(tmp_path), "run")
    for number in range(attempts.DEATHS):
        deaths = list(record.begin(IMAGE, Place("gone", 0)))
        assert deaths == ["node"] * number
        assert not attempts.fatal(deaths)
    assert attempts.fatal(record.begin(IMAGE, HERE))
    assert attempts.fatal(["worker", "worker"])


def test_the_failure_says_what_was_seen() -> None:
    assert attempts.verdict("write", ["worker", "memory"]) == (
        "its worker died 2 times while writing this image (last: the kernel killed a process because memory ran out)"
    )
    assert (
        attempts.verdict("load", ["node"]) == "its worker died once while loading this image (last: its node went down)"
    )


def test_the_actor_keeps_its_record_in_the_output(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    actor = attempts.shared(str(tmp_path), "run")
    assert ray.get(actor.begin.remote(IMAGE, HERE)) == []
    wait_for(lambda: (tmp_path / ATTEMPTS).exists(), seconds=20)
    stored = json.loads((tmp_path / ATTEMPTS).read_text())
    assert stored == {"run": "run", "open": [[list(IMAGE), list(HERE)]], "deaths": []}
    ray.kill(actor, no_restart=False)
    wait_for(lambda: ray.get(actor.begin.remote(IMAGE, HERE)) != [], seconds=60)
    ray.get(actor.forget.remote(7))
    wait_for(lambda: not (tmp_path / ATTEMPTS).exists(), seconds=20)
