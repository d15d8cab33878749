"""The lease lets only one driver work on an output: a file there names the driver and counts its heartbeats.

Clocks of two machines may differ, so times are not compared. A driver that finds the lease of another one watches its
heartbeat, and takes the lease over if the heartbeat has stopped.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from raydream.data.storage import Folder
from raydream.errors import WorkError

LEASE = "_raydream/lease.json"
INTERVAL = 10.0  # seconds between heartbeats
MISSED = 6  # heartbeats after which a lease is stale
_PATIENCE = 2.0  # seconds to wait for the last heartbeat: an interrupted job must not wait for storage that hangs


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The content of the lease's file.

    Attributes:
        token: unique token of this lease.
        host, pid: host and process id of the driver, for messages.
        process: (boot id and pid namespace of the machine, start time of the driver).
        since: when the driver took the lease, in UTC.
        beat: number of heartbeats so far.
    """

    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    process: tuple[str, str] = field(default_factory=lambda: (_pid_space(), _started(os.getpid())))
    since: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC")
    beat: int = 0

    def __str__(self) -> str:
        return f"host {self.host}, pid {self.pid}, since {self.since}"

    def dump(self) -> bytes:
        """The holder as JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def parse(cls, data: bytes) -> Holder:
        """Reads the JSON of `dump`."""
        values = json.loads(data)
        return cls(**{**values, "process": tuple(values["process"])})

    @property
    def alive(self) -> bool | None:
        """Whether its process runs; None if this machine cannot know that."""
        space, started = self.process
        if not space or space != _pid_space():
            return None
        return bool(started) and _started(self.pid) == started


def _pid_space() -> str:
    """Identifies the boot of this machine and its pid namespace; empty if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Start time of a process in the kernel's ticks; empty if there is no such process, or only a zombie."""
    try:
        state, *facts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else facts[18]


class Lease:
    """A context in which only this process works on an output.

    Raises:
        WorkError: on entry, if another driver works there; on exit and from `check`, if another driver has taken over.
    """

    def __init__(self, output: str, interval: float = INTERVAL) -> None:
        self._out, self._interval = Folder(output), interval
        self._mine = Holder()
        self._over, self._lost = threading.Event(), threading.Event()
        self._in_main_thread = threading.current_thread() is threading.main_thread()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    @property
    def token(self) -> str:
        """Workers may write as long as the lease has this token; see `check_token`."""
        return self._mine.token

    def __enter__(self) -> Lease:
        contested = not self._out.local  # in remote storage, creating a file may not be atomic
        while not self._out.write_new(LEASE, self._mine.dump()):
            self._wait_until_stale()
            self._out.remove(LEASE)
            contested = True
        if contested:  # another driver may have done the same at the same time: the last one gets the lease
            time.sleep(min(1.0, self._interval))
        self.check()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._over.set()
        self._thread.join(_PATIENCE)
        try:
            self.check()
            self._out.remove(LEASE)
        except WorkError:
            raise
        except Exception:  # a storage error: the error that ended the work is more important
            if kind is None:
                raise
        if "://" not in self._out.url:
            with suppress(OSError):  # not empty: it holds a data set
                (Path(self._out.url) / LEASE).parent.rmdir()

    def check(self) -> None:
        """Checks that this process still has the lease; call it before anything in the output is changed."""
        try:
            check_token(self._out, self.token)
        except OSError:
            if not self._lost.is_set():
                raise
        if self._lost.is_set():
            raise WorkError(f"output {self._out.url}: no heartbeat could be written for too long: this driver stops")

    def _wait_until_stale(self) -> None:
        """Returns when the existing lease is stale."""
        first = holder(self._out)
        if first and first.alive:
            raise self._taken(first)
        if first is None or first.alive is False:
            return
        seconds = MISSED * self._interval
        text = f"another driver may work on this output ({first}): waiting {seconds:.0f} s for its heartbeat"
        print(text, file=sys.stderr, flush=True)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(self._interval / 4)
            now = holder(self._out)
            if now is None:
                return
            if now != first:
                raise self._taken(now)

    def _taken(self, by: Holder) -> WorkError:
        advice = "wait for it, stop it, or use another output"
        return WorkError(f"output {self._out.url}: another driver works on it ({by}): {advice}")

    def _beat(self) -> None:
        """Renews the lease until it ends. If the lease is lost, interrupts the main thread."""
        renewed = time.monotonic()
        while not self._over.wait(self._interval):
            try:
                check_token(self._out, self.token)
                self._mine = replace(self._mine, beat=self._mine.beat + 1)
                self._out.write(LEASE, self._mine.dump())
                renewed = time.monotonic()
            except WorkError:
                break
            except Exception:  # storage may fail for a while; each file system has its own error classes
                if time.monotonic() - renewed > MISSED * self._interval:
                    break
        if not self._over.is_set():
            self._lost.set()
            if self._in_main_thread:  # otherwise the check in the workers ends the work
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def holder(out: Folder) -> Holder | None:
    """The holder of the lease of an output; None if there is no lease."""
    for _ in range(3):
        if not out.exists(LEASE):
            return None
        with suppress(ValueError, TypeError, KeyError, FileNotFoundError):
            return Holder.parse(out.read(LEASE))
        time.sleep(0.2)  # it may be half written
    return None


def check_token(out: Folder, token: str) -> None:
    """Raises a `WorkError` unless the lease of an output has this token; workers call it before they write."""
    now = holder(out)
    if now is None or now.token != token:
        who = f"({now}) " if now else ""
        raise WorkError(f"output {out.url}: another driver {who}has taken over: this one stops")
