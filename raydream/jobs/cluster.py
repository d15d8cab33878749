"""What all jobs need of a Ray cluster: to be on it, and its devices."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import ray
import ray._private.worker
from ray._common.utils import get_ray_address_file

from raydream import runtime
from raydream.cli import commands
from raydream.errors import UsageError, WorkError
from raydream.jobs import connection, head_watch
from raydream.jobs.ray_errors import cause


def say(text: str) -> None:
    """Prints a line for people, on stderr."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def joined(say: Callable[[str], None] = say) -> Iterator[None]:
    """The time of a job on a Ray cluster, which stays for the next job of this process.

    RAY_ADDRESS names the cluster; `ray job submit` sets it. Without it, a cluster that this user has started here
    with `ray start` is joined, as `ray.init` does. Else, and for RAY_ADDRESS=local, a local cluster is started.

    Args:
        say: is told in a few words what is waited for.

    Raises:
        UsageError: RAY_ADDRESS names no cluster, or its token is missing.
        WorkError: Ray cannot start, its head has died, or a task has failed.
        KeyboardInterrupt: on SIGINT or SIGTERM, in the main thread; elsewhere signals are left alone.
    """
    with commands.interruptible():
        if not ray.is_initialized():
            _connect(say)
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # an error ends in `cause`, in one line
    watch = head_watch.HeadWatch(local=started_here())
    try:
        # Anew, since Ray's C++ code has put a handler of its own in place.
        with commands.interruptible(), watch:
            yield
    except (KeyboardInterrupt, ray.exceptions.RayError) as error:
        if lost := watch.lost or watch.look():
            if started_here():
                connection.kill_local()
            raise WorkError(f"{lost}: what is finished is kept, run the same command again") from error
        if isinstance(error, KeyboardInterrupt):
            raise
        raise WorkError(f"the cluster cannot do it: {cause(error)}") from error


def _connect(say: Callable[[str], None]) -> None:
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # errors reach us as exceptions
    # Else Ray ends idle workers after a second where there are few cores, and starting one anew for each
    # shard's loading and writing (two seconds of a core) takes a third of the dreamers' time.
    os.environ.setdefault("RAY_idle_worker_killing_time_threshold_ms", str(3_600_000))
    # Else workers run at nice 15, and give way to Ray's own bookkeeping: a tenth of their time. `nice` the job.
    os.environ.setdefault("RAY_worker_niceness", "0")
    asked = os.environ.get("RAY_ADDRESS")
    address = asked or _running_here() or "local"
    if address != "local":
        return _join(address, asked=bool(asked), say=say)
    say("starting Ray")
    try:
        with runtime.quiet():
            connection.start_local()
    except Exception as error:
        raise WorkError(f"Ray cannot start on this machine, tried twice: {cause(error)}") from error


def _join(address: str, asked: bool, say: Callable[[str], None]) -> None:
    say(f"joining the Ray cluster at {address}")
    try:
        with runtime.quiet():
            connection.connect(address)
    except (ValueError, RuntimeError, ConnectionError, ray.exceptions.RayError) as error:
        if _refused(error):
            right = "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH as on its head"
            own = "" if asked else "; or RAY_ADDRESS=local for a cluster of your own"
            raise UsageError(f"the Ray cluster at {address} asks for its token: {right}{own}") from error
        raise UsageError(f"RAY_ADDRESS={address} leads to no cluster: {error}") from error


def _refused(error: BaseException | None) -> bool:
    """Whether an error of `ray.init` comes from a missing or wrong token, which Ray only tells far below it."""
    while error:
        if isinstance(error, ray.exceptions.AuthenticationError) or "InvalidAuthToken" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _running_here() -> str | None:
    """The address of a cluster that `ray start` has started here and that still runs, if it is this user's.

    Another user's would do the work under that user's name.
    """
    file = Path(get_ray_address_file(None))
    if not file.is_file() or (hasattr(os, "getuid") and file.stat().st_uid != os.getuid()):
        return None
    address = file.read_text().strip()
    return address if head_watch.listens(address) else None


def started_here() -> bool:
    """Whether this process started the cluster, so that it has no other machines and none will come."""
    node = ray._private.worker.global_worker.node
    return bool(node and node.is_head())


class Devices(NamedTuple):
    """What actors or workers run on."""

    gpus: float  # that each gets; above 0 also where GPUs were found and not asked for
    room: int  # how many of them the cluster has room for now


def devices(gpus_each: float | None, option: str = "--gpus-per-actor") -> Devices:
    """The devices of a cluster.

    Args:
        gpus_each: GPUs that each actor or worker asks for; None for 1 where the cluster has GPUs, else 0.
        option: the option that says so, for the error.

    Raises:
        UsageError: GPUs are asked for and this machine, which is the whole cluster, has none.
    """
    available: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    gpus = gpus_each
    if gpus is None:
        gpus = 1.0 if available.get("GPU") else 0.0
    if gpus and not available.get("GPU"):
        if started_here():
            raise UsageError(f"{option} {gpus:g}: this machine has no GPU: leave it out, or say 0")
        say("no node has a GPU yet: waiting for the cluster to bring one")
    room = available.get("GPU", 0.0) / gpus if gpus else available.get("CPU", 1.0)
    return Devices(gpus, int(room))


def own_cores() -> float:
    """Cores that Ray has given to this actor or task."""
    return float(ray.get_runtime_context().get_assigned_resources().get("CPU", 1.0))  # type: ignore[no-untyped-call]
