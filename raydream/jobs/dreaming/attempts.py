"""Finds images that kill their worker, and skips them: counts how many attempts at an image ended in a death.

The counts are stored in the output, so that they outlive the driver and its machine.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

import ray

from raydream.data.storage import Folder
from raydream.jobs.dreaming.items import Item

ATTEMPTS = "_raydream/attempts.json"
SHARD_DEATHS = 3  # after this number of deaths, a shard is attempted image by image
WORKER_DEATHS = 2  # an image is skipped after this number of deaths of its worker,
DEATHS = 3  # or after this number of deaths of any kind: nodes and runs also die for other reasons
_WRITE_EVERY = 0.2  # minimum seconds between two writes

# What died during the attempt: its worker (because memory ran out, or otherwise), its node, or the whole run.
Death = Literal["memory", "worker", "node", "run"]
# Values of Ray's NodeDeathInfo.Reason for nodes that were removed normally, which is no sign of a bad image:
# expected termination, preempted, idle.
_TAKEN_AWAY = (1, 3, 4)


class Work(NamedTuple):
    """What is attempted: a stage of a shard, or of one of its images if `image` is an id."""

    stage: str
    shard: int
    image: str = ""


class Place(NamedTuple):
    """Where an attempt runs: Ray's id of the node, and how often its kernel has killed a process to free memory."""

    node: str
    memory_kills: int

    @classmethod
    def here(cls) -> Place:
        """The place of this worker."""
        return cls(ray.get_runtime_context().get_node_id(), _memory_kills())


def _memory_kills() -> int:
    """How often this machine's kernel has killed a process because memory ran out; 0 if unknown."""
    for file in ("/sys/fs/cgroup/memory.events", "/proc/vmstat"):
        with suppress(OSError):
            for line in Path(file).read_text().splitlines():
                key, _, value = line.partition(" ")
                if key == "oom_kill":
                    return int(value)
    return 0


class Record:
    """The open attempts and the deaths so far, stored in a file in the output.

    `run` identifies the driver's run. If another run left attempts open, that run was killed during them.
    """

    def __init__(self, output: str, run: str) -> None:
        self._out, self._run = Folder(output), run
        self._open: dict[Work, Place] = {}
        self._deaths: dict[Work, list[Death]] = {}
        self._changed, self._storing = threading.Event(), threading.Lock()
        self._closed = False
        if self._out.exists(ATTEMPTS):
            self._restore(json.loads(self._out.read(ATTEMPTS)))

    def _restore(self, stored: dict[str, Any]) -> None:
        self._deaths = {Work(*work): deaths for work, deaths in stored["deaths"]}
        for work, place in stored["open"]:
            if stored["run"] == self._run:  # only this actor was restarted
                self._open[Work(*work)] = Place(*place)
            else:
                self._deaths.setdefault(Work(*work), []).append("run")

    def begin(self, work: Work, place: Place) -> list[Death]:
        """Opens an attempt; returns the deaths in earlier attempts at the same work."""
        before = self._open.get(work)
        if before and (death := _death(before, place)):
            self._deaths.setdefault(work, []).append(death)
        self._open[work] = place
        self._changed.set()
        return self._deaths.get(work, [])

    def end(self, work: Work) -> None:
        """Closes an attempt, successful or not, that its worker has survived."""
        self._open.pop(work, None)
        self._changed.set()

    def forget(self, shard: int) -> None:
        """Removes all attempts and deaths of a finished shard."""
        for known in (self._open, self._deaths):
            for work in [work for work in known if work.shard == shard]:
                del known[work]
        self._changed.set()

    def close(self) -> None:
        """Ends the record of a run that ends normally: its open attempts do not count as deaths."""
        self._open.clear()
        self.store()
        self._closed = True

    def keep_stored(self) -> None:
        """Stores each change soon after it was made. Run it in a thread, so that no worker waits for storage."""
        while True:
            self._changed.wait()
            self._changed.clear()
            with suppress(Exception):  # if storage fails, the job fails, too, and reports it
                self.store()
            time.sleep(_WRITE_EVERY)

    def store(self) -> None:
        """Writes the file, or removes it if there is nothing to keep; does nothing after `close`."""
        with self._storing:
            known = {"open": list(self._open.items()), "deaths": list(self._deaths.items())}
            if self._closed:
                return
            if any(known.values()):
                self._out.write(ATTEMPTS, json.dumps({"run": self._run, **known}).encode())
            else:
                self._out.remove(ATTEMPTS)


def _death(before: Place, now: Place) -> Death | None:
    """The death that ended an attempt which was never closed; None if the cause cannot be an image."""
    nodes = {node["NodeID"]: node for node in ray.nodes()}  # type: ignore[no-untyped-call]
    node = nodes.get(before.node)
    if not node or not node["Alive"]:
        return None if node and node.get("DeathReason") in _TAKEN_AWAY else "node"
    known = before.node == now.node and now.memory_kills > before.memory_kills
    return "memory" if known else "worker"


@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
class Attempts(Record):
    """The record as an actor that all workers share."""

    def __init__(self, output: str, run: str) -> None:
        super().__init__(output, run)
        threading.Thread(target=self.keep_stored, daemon=True).start()


def shared(output: str, run: str) -> Any:
    """Starts the actor on the driver's node, so that it survives the death of a worker's node."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    return Attempts.options(scheduling_strategy=here).remote(output, run)  # type: ignore[attr-defined]


def close(attempts: Any) -> None:
    """Closes the record if the cluster still responds."""
    with suppress(ray.exceptions.RayError):
        ray.get(attempts.close.remote(), timeout=2.0)


class Attempt:
    """A context in which work is attempted. It returns the deaths in earlier attempts. An error is not a death."""

    def __init__(self, attempts: Any, work: Work) -> None:
        self._attempts, self._work = attempts, work

    def __enter__(self) -> list[Death]:
        return ray.get(self._attempts.begin.remote(self._work, Place.here()))  # type: ignore[no-any-return]

    def __exit__(self, *_: object) -> None:
        self._attempts.end.remote(self._work)


def pass_over_fatal(
    attempts: Any, stage: str, shard: int, items: list[Item], work: Callable[[list[Item]], list[Item]]
) -> list[Item]:
    """Does `work` on a shard's items, and skips an item that kills its worker.

    At first, the whole shard is attempted. If workers die too often, it is attempted image by image.
    """
    with Attempt(attempts, Work(stage, shard)) as deaths:
        if len(deaths) < SHARD_DEATHS:
            return work(items)
        return [done for item in items for done in _alone(attempts, Work(stage, shard, item.id), item, work)]


def _alone(attempts: Any, what: Work, item: Item, work: Callable[[list[Item]], list[Item]]) -> Iterable[Item]:
    if item.failure:
        return work([item])
    with Attempt(attempts, what) as deaths:
        if fatal(deaths):
            return [item.failed(what.stage, verdict(what.stage, deaths))]
        return work([item])


def fatal(deaths: list[Death]) -> bool:
    """Whether there were so many deaths during attempts at an image that the image is skipped."""
    return of_workers(deaths) >= WORKER_DEATHS or len(deaths) >= DEATHS


def of_workers(deaths: list[Death]) -> int:
    """The number of deaths of the worker alone, which are most likely caused by its work."""
    return sum(death in ("worker", "memory") for death in deaths)


_DOING = {"load": "loading", "dream": "dreaming", "write": "writing"}
_SEEN: dict[Death, str] = {
    "memory": "the kernel killed a process because memory ran out",
    "worker": "it was killed or crashed",
    "node": "its node went down",
    "run": "the whole run was killed",
}


def verdict(stage: str, deaths: list[Death]) -> str:
    """The error message for an image that is skipped."""
    times = f"{len(deaths)} times" if len(deaths) > 1 else "once"
    return f"its worker died {times} while {_DOING.get(stage, stage)} this image (last: {_SEEN[deaths[-1]]})"
