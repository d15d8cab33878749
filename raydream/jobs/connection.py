"""Connects this process to Ray: a local cluster that only this user reaches, or one that runs already.

`ray.init` waits in C++ for many seconds, deaf to signals. It runs in a thread here, and the caller waits in Python.
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
from contextlib import suppress
from typing import Any

import ray
import ray._private.worker

# isort: split
import psutil  # type: ignore[import-untyped]  # Ray brings it; importable only after Ray

from raydream.cli import commands

_ATTEMPTS = 2  # a busy machine may once be too slow for Ray's own time limit
_PATIENCE = 1.0  # seconds that an interrupted start has to end by itself once its processes are gone
_local: set[Any] = set()  # the processes of the local cluster


def require_token() -> None:
    """Makes the next local cluster of this process refuse everyone who does not know its token.

    The token is random unless the user has set RAY_AUTH_TOKEN. It travels in the environment, which only this user
    can read. Ray itself turns authentication on where RAY_AUTH_MODE is not set; setting it here would come too late,
    since importing Ray reads it.
    """
    os.environ.pop("RAY_AUTH_MODE", None)
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def start_local(**options: Any) -> None:
    """Starts a local cluster with this machine's cores and GPUs, which listens on the loopback interface only.

    Args:
        options: more options of `ray.init`.

    Raises:
        RuntimeError: Ray cannot start, twice in a row.
        KeyboardInterrupt: interrupted; the processes that had been started are gone.
    """
    require_token()
    # Ray's switch for systems whose firewall asks about every listening port: all of Ray then uses 127.0.0.1.
    ray._private.ray_constants.ENABLE_RAY_CLUSTER = False
    for _ in range(_ATTEMPTS - 1):
        try:
            return _Connecting("local", options).wait()
        except Exception:  # Ray raises several kinds; the last attempt tells
            continue
    return _Connecting("local", options).wait()


def remember() -> None:
    """Notes the processes of the local cluster while they can be told from others: those of a dead raylet cannot."""
    for process in list(_local):
        with suppress(psutil.NoSuchProcess):
            _local.update(process.children(recursive=True))
    _local.difference_update([process for process in _local if not process.is_running()])


def kill_local() -> None:
    """Kills what a local cluster whose head has died leaves behind; Ray's own end would wait for the dead."""
    for process in _local:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    _local.clear()


def connect(address: str) -> None:
    """Connects to the cluster at an address, with the token that the user has set.

    Raises:
        ConnectionError, RuntimeError, ValueError, AuthenticationError: Ray's own.
    """
    _Connecting(address, {}).wait()


class _Connecting:
    """One `ray.init`, in a thread that stays: Linux ends Ray's processes with the thread that started them."""

    def __init__(self, address: str, options: dict[str, Any]) -> None:
        self._address, self._options = address, options
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._others = set(_descendants())
        threading.Thread(target=self._run, name="ray-init", daemon=True).start()

    def _run(self) -> None:
        # Else Ray prints "(raylet) A worker died ..." on our stdout; such errors reach us as exceptions.
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
        """Waits for Ray; if it fails or the wait is interrupted, nothing of it stays."""
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
        """Kills the processes below this one that were not there before, until no more come."""
        end = time.monotonic() + _PATIENCE
        while True:
            for process in _descendants():
                if process not in self._others:
                    with suppress(psutil.NoSuchProcess):
                        process.kill()
            if self._ended.wait(0.05) or time.monotonic() > end:
                break
        if hasattr(signal, "alarm"):
            signal.alarm(0)  # Ray's own handler of SIGTERM has set one, which would abort this process
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


def _descendants() -> list[Any]:
    """The processes below this one."""
    return list(psutil.Process().children(recursive=True))
