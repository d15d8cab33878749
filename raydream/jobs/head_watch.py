"""Notices when the head of a Ray cluster dies. Ray itself ends the driver after a minute, without a message."""

from __future__ import annotations

import _thread
import errno
import signal
import socket
import threading
from itertools import count

import ray

from raydream.jobs import connection

_PERIOD = 0.5  # seconds between two checks
_REMEMBER = 10  # checks between two lists of the cluster's processes: a list takes ten milliseconds
_LOCAL_PATIENCE = 1.0  # seconds; nothing restarts the processes of a local cluster
_UNREACHABLE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN}
_REMOTE_PATIENCE = 30.0  # seconds; a head may be restarted; Ray gives up after 60


class HeadWatch:
    """Checks the ports of the GCS and of this node's raylet; interrupts the main thread when one stays closed.

    Use it as a context manager in the main thread, where SIGTERM raises KeyboardInterrupt. In another thread it
    interrupts nothing, but still sets `lost`.
    """

    def __init__(self, local: bool) -> None:
        """`local`: whether this process started the cluster."""
        self.lost: str | None = None  # what died, in one line
        self._patience = _LOCAL_PATIENCE if local else _REMOTE_PATIENCE
        self._addresses = _addresses()
        self._over = threading.Event()
        self._in_main = threading.current_thread() is threading.main_thread()
        self._thread = threading.Thread(target=self._watch, name="head-watch", daemon=True)

    def __enter__(self) -> HeadWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def look(self) -> str | None:
        """The process that does not respond now, in one line; None if all do."""
        return next((f"{name} at {at} is gone" for name, at in self._addresses.items() if not listens(at)), None)

    def _watch(self) -> None:
        shut = 0.0
        for check in count():
            if self._over.wait(_PERIOD):
                return
            gone = self.look()
            if not gone and check % _REMEMBER == 0:
                connection.remember()
            shut = shut + _PERIOD if gone else 0.0
            if shut > self._patience:
                self.lost = gone
                if self._in_main:
                    _thread.interrupt_main(signal.SIGTERM)
                return


def listens(address: str) -> bool:
    """Whether a process listens at `host:port`; also True if a busy machine does not answer in time."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5.0).close()
    except (ConnectionRefusedError, ValueError):
        return False
    except OSError as error:
        return error.errno not in _UNREACHABLE
    return True


def _addresses() -> dict[str, str]:
    """The addresses of the processes that the job needs: name -> `host:port`; empty for Ray Client."""
    if ray.util.client.ray.is_connected():  # type: ignore[no-untyped-call]
        return {}
    context = ray.get_runtime_context()
    addresses = {"Ray's head process (GCS)": context.gcs_address}
    for node in ray.nodes():  # type: ignore[no-untyped-call]
        if node["NodeID"] == context.get_node_id():
            addresses["Ray's node process (raylet)"] = f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}"
    return addresses
