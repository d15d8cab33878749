"""What all jobs need of a Ray cluster: joining it, its devices, and one line for what went wrong in it."""

from __future__ import annotations

import logging
import os
import signal
import sys

import ray

from raydream import runtime
from raydream.errors import UsageError, WorkError


def join() -> None:
    """Joins the cluster of RAY_ADDRESS or starts a local one; quietly, and so that SIGTERM interrupts us."""
    if not ray.is_initialized():
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # errors reach us as exceptions
        # Else Ray ends idle workers after a second where there are few cores, and starting one anew for each
        # shard's loading and writing (two seconds of a core) takes a third of the dreamers' time.
        os.environ.setdefault("RAY_idle_worker_killing_time_threshold_ms", str(3_600_000))
        # Else workers run at nice 15, and give way to Ray's own bookkeeping: a tenth of their time. `nice` the job.
        os.environ.setdefault("RAY_worker_niceness", "0")
        try:
            with runtime.quiet():
                ray.init(logging_level=logging.ERROR, log_to_driver=False, include_dashboard=False)
        except (ValueError, RuntimeError, ConnectionError) as error:
            if address := os.environ.get("RAY_ADDRESS"):
                raise UsageError(f"RAY_ADDRESS={address} leads to no cluster: {error}") from error
            raise WorkError(f"Ray cannot start here: {error}") from error
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # an error ends in `cause`, in one line
    # After ray.init, which puts its own handler in place.
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def devices(gpus_each: float | None, option: str = "--gpus-per-actor") -> tuple[float, int]:
    """GPUs that an actor or worker gets, and how many the cluster has room for now; `option` has the user's wish."""
    available: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    gpus = gpus_each
    if gpus is None:
        gpus = 1.0 if available.get("GPU") else 0.0
    if gpus and not available.get("GPU"):
        if "RAY_ADDRESS" not in os.environ:
            raise UsageError(f"{option} {gpus:g}: this machine has no GPU: leave it out, or say 0")
        print("no node has a GPU yet: waiting for the cluster to bring one", file=sys.stderr, flush=True)
    room = available.get("GPU", 0.0) / gpus if gpus else available.get("CPU", 1.0)
    return gpus, int(room)


def own_cores() -> float:
    """Cores that Ray has given to this actor or task."""
    return float(ray.get_runtime_context().get_assigned_resources().get("CPU", 1.0))  # type: ignore[no-untyped-call]


def cause(error: BaseException) -> str:
    """What went wrong in a worker, in one line: the error under Ray's own, or Ray's last line."""
    while deeper := _below(error):
        error = deeper
    if not isinstance(error, ray.exceptions.RayError):
        return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:500] if lines else type(error).__name__


def _below(error: BaseException) -> BaseException | None:
    """The error that this one only passes on: Ray Data's `cause`, Ray Train's failures, Python's own."""
    named = (getattr(error, name, None) for name in ("cause", "controller_failure", "_base_exc"))
    below = [*named, error.__cause__, *getattr(error, "worker_failures", {}).values()]
    return next(filter(None, below), None)
