"""What all jobs need from a Ray cluster: a connection, and the devices."""

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
    """Prints a line to stderr."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def joined(say: Callable[[str], None] = say) -> Iterator[None]:
    """A context in which this process is connected to a Ray cluster. The connection stays open for its next job.

    RAY_ADDRESS names the cluster; `ray job submit` sets it. If it is not set, a cluster that this user has started on
    this machine with `ray start` is joined, as in `ray.init`. Otherwise, or with RAY_ADDRESS=local, a local cluster is
    started.

    Args:
        say: called with a short text while the user has to wait.

    Raises:
        UsageError: there is no cluster at RAY_ADDRESS, or its token is missing.
        WorkError: Ray cannot start, its head has died, or a task has failed.
        KeyboardInterrupt: on SIGINT or SIGTERM. In other threads than the main thread, signals are not handled.
    """
    with commands.interruptible():
        if not ray.is_initialized():
            _connect(say)
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # `cause` reports errors, in one line
    watch = head_watch.HeadWatch(local=started_here())
    try:
        # Again, since Ray's C++ code has replaced the signal handler.
        with commands.interruptible(), watch:
            yield
    except (KeyboardInterrupt, ray.exceptions.RayError) as error:
        if lost := watch.lost or watch.look():
            if started_here():
                connection.kill_local()
            raise WorkError(f"{lost}: what is finished is kept, run the same command again") from error
        if isinstance(error, KeyboardInterrupt):
            raise
        raise WorkError(f"the work failed on the cluster: {cause(error)}") from error


def _connect(say: Callable[[str], None]) -> None:
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # errors arrive as exceptions
    # By default, Ray ends idle workers after a second if there are few cores. A new worker for each shard's
    # loading and writing (two seconds of a core) would take a third of the time of the actors that dream.
    os.environ.setdefault("RAY_idle_worker_killing_time_threshold_ms", str(3_600_000))
    # By default, workers run at nice 15 and lose a tenth of their time to Ray's own processes. To run the whole job
    # at a low priority, start it with `nice`.
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
            raise UsageError(f"the Ray cluster at {address} requires its token: {right}{own}") from error
        raise UsageError(f"RAY_ADDRESS={address}: there is no cluster at this address: {error}") from error


def _refused(error: BaseException | None) -> bool:
    """Whether an error of `ray.init` was caused by a missing or wrong token; Ray only says so in a nested error."""
    while error:
        if isinstance(error, ray.exceptions.AuthenticationError) or "InvalidAuthToken" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _running_here() -> str | None:
    """The address of a running cluster that this user has started on this machine with `ray start`; else None.

    A cluster of another user is not used: it would do the work under the other user's account.
    """
    file = Path(get_ray_address_file(None))
    if not file.is_file() or (hasattr(os, "getuid") and file.stat().st_uid != os.getuid()):
        return None
    address = file.read_text().strip()
    return address if head_watch.listens(address) else None


def started_here() -> bool:
    """Whether this process started the cluster. Then it has one machine, and no others will join."""
    node = ray._private.worker.global_worker.node
    return bool(node and node.is_head())


class Devices(NamedTuple):
    """The devices for actors or workers."""

    gpus: float  # GPUs for each
    room: int  # how many actors or workers fit on the cluster now


def devices(gpus_each: float | None, option: str = "--gpus-per-actor") -> Devices:
    """The devices of the cluster.

    Args:
        gpus_each: GPUs for each actor or worker; None for 1 if the cluster has GPUs, else 0.
        option: name of the option that sets this, for the error message.

    Raises:
        UsageError: GPUs are requested, but the cluster is only this machine, which has none.
    """
    available: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    gpus = gpus_each
    if gpus is None:
        gpus = 1.0 if available.get("GPU") else 0.0
    if gpus and not available.get("GPU"):
        if started_here():
            raise UsageError(f"{option} {gpus:g}: this machine has no GPU: leave the option out, or set it to 0")
        say("no node has a GPU yet: waiting for the cluster to add one")
    room = available.get("GPU", 0.0) / gpus if gpus else available.get("CPU", 1.0)
    return Devices(gpus, int(room))


def check_cores(cores: float, option: str) -> None:
    """Raises a `UsageError` if the cluster is only this machine, and has fewer cores; `option` sets their number."""
    here = ray.cluster_resources().get("CPU", 1.0)  # type: ignore[no-untyped-call]
    if started_here() and cores > here:
        raise UsageError(f"{option} {cores:g}: this machine has {here:g} cores: use at most that many")


def own_cores() -> float:
    """The number of cores that Ray has assigned to this actor or task."""
    return float(ray.get_runtime_context().get_assigned_resources().get("CPU", 1.0))  # type: ignore[no-untyped-call]
