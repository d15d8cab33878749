"""Connects this process to Ray: to a new local cluster that only this user can use, or to a running cluster.

`ray.init` blocks in C++ for many seconds and ignores signals. So it runs in a thread, and the caller waits in Python.
"""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import ray
import ray._private.worker

# isort: split
import psutil  # type: ignore[import-untyped]  # part of Ray, which makes it importable

from raydream.cli import commands

_ATTEMPTS = 2  # on a busy machine, the first start may exceed Ray's time limit
_PATIENCE = 1.0  # seconds to wait for an interrupted start to end after its processes were killed
_local: set[Any] = set()  # the processes of the local cluster
_own_tokens: set[str] = set()  # random tokens of this process


def require_token() -> None:
    """Makes the next local cluster of this process require a token.

    The token is random unless the user has set RAY_AUTH_TOKEN. It is passed in the environment, which only this user
    can read. Ray turns authentication on if RAY_AUTH_MODE is not set. (It cannot be set here: Ray has read it already,
    on import.)
    """
    os.environ.pop("RAY_AUTH_MODE", None)
    if "RAY_AUTH_TOKEN" not in os.environ:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        _own_tokens.add(os.environ["RAY_AUTH_TOKEN"])


def start_local(**options: Any) -> None:
    """Starts a local cluster with this machine's cores and GPUs. It listens only on the loopback interface.

    Args:
        options: more options of `ray.init`.

    Raises:
        RuntimeError: Ray failed to start, twice in a row.
        KeyboardInterrupt: interrupted; the processes that had been started are killed.
    """
    require_token()
    # Ray's switch for systems whose firewall asks about every listening port: Ray then uses only 127.0.0.1.
    ray._private.ray_constants.ENABLE_RAY_CLUSTER = False
    atexit.unregister(_end_local)
    atexit.register(_end_local)
    for _ in range(_ATTEMPTS - 1):
        try:
            return _Connecting("local", options).wait()
        except Exception:  # Ray raises several kinds of errors; the last attempt raises its own
            continue
    return _Connecting("local", options).wait()


def _end_local() -> None:
    """Ends the local cluster with this process. Ray asks its processes to end, and does not wait for all of them."""
    remember()
    ray.shutdown()
    kill_local()


def remember() -> None:
    """Records the processes of the local cluster. When a raylet has died, its children can no longer be found."""
    # One pass over all processes: `Process.children` would make one for each process of the cluster.
    parents: dict[Any, int] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            parents[process] = process.ppid()
    _local.intersection_update(parents)
    known = {process.pid for process in _local}
    while new := [process for process, parent in parents.items() if parent in known and process.pid not in known]:
        _local.update(new)
        known.update(process.pid for process in new)


def kill_local() -> None:
    """Kills the remaining processes of a local cluster whose head has died; `ray.shutdown` would wait for the head."""
    for process in {*_local, *_orphans()}:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    _local.clear()


def connect(address: str) -> None:
    """Connects to the cluster at an address, with the token that the user has set.

    Raises:
        ConnectionError, RuntimeError, ValueError, AuthenticationError: errors of Ray.
    """
    _Connecting(address, {}).wait()


class _Connecting:
    """One `ray.init`, in a thread that stays alive: when it ends, Linux ends the processes that it has started."""

    def __init__(self, address: str, options: dict[str, Any]) -> None:
        self._address, self._options = address, options
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._others = set(_descendants())
        threading.Thread(target=self._run, name="ray-init", daemon=True).start()

    def _run(self) -> None:
        # Otherwise Ray prints "(raylet) A worker died ..." on stdout; these errors also arrive as exceptions.
        ray._private.worker.listen_error_messages = lambda *_: None
        try:
            ray.init(
                self._address,
                logging_level=logging.ERROR,
                log_to_driver=False,
                include_dashboard=False,
                **self._options,
            )
        except BaseException as error:
            self._error = error
        self._ended.set()
        while ray.is_initialized():
            time.sleep(1.0)

    def wait(self) -> None:
        """Waits for Ray. If it fails or is interrupted, all its processes are killed."""
        try:
            while not self._ended.wait(0.1):
                pass
            if self._error:
                raise self._error
            _local.update(process for process in _descendants() if process not in self._others)
        except BaseException:
            self._abandon()
            raise

    def _abandon(self) -> None:
        """Kills the new child processes of this process until no more are started."""
        end = time.monotonic() + _PATIENCE
        while True:
            _kill_descendants(self._others)
            if self._ended.wait(0.05) or time.monotonic() > end:
                break
        _kill_descendants(self._others)
        if hasattr(signal, "alarm"):
            signal.alarm(0)  # Ray's handler of SIGTERM sets an alarm that would abort this process
        if self._ended.is_set():
            ray.shutdown()
        else:
            atexit.register(self._leave)

    def _leave(self) -> None:
        """Ends an interrupted process whose `ray.init` still waits: Python cannot end while C++ does."""
        if not self._ended.is_set():
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(commands.INTERRUPTED)


def _kill_descendants(others: set[Any]) -> None:
    """Kills the child processes of this process, except `others`.

    They are suspended first: a parent that is killed while it starts a child leaves the child behind.
    """
    found: set[Any] = set()
    while new := set(_descendants()) - others - found:
        found |= new
        for process in new:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
    for process in found:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _descendants() -> list[Any]:
    """All child processes of this process, at any depth, and those of Ray whose parent has died."""
    return [*psutil.Process().children(recursive=True), *_orphans()]


def _orphans() -> Iterator[Any]:
    """Processes of Ray that have lost their parent; this process started them, since they have its random token."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.ppid() == 1 and process.environ().get("RAY_AUTH_TOKEN") in _own_tokens:
                yield process
