"""One driver at a time: a file in the output says who works there, and its heartbeat that they still do.

Clocks of two machines may differ, so nobody compares times: who finds another's lease watches whether its heartbeat
moves on. A lease whose heartbeat stands still is taken over.
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
_PATIENCE = 2.0  # seconds for the last heartbeat: who interrupts the job does not wait for storage that hangs


@dataclass(frozen=True, kw_only=True)
class Holder:
    """What the lease's file says.

    Attributes:
        token: of this lease alone.
        host, pid: of the driver, for people.
        process: where pids mean something (machine since its start, pid namespace), and when the driver began.
        since: when the driver took the lease, in UTC.
        beat: counts the heartbeats.
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
        """As JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def parse(cls, data: bytes) -> Holder:
        """From `dump`'s JSON."""
        values = json.loads(data)
        return cls(**{**values, "process": tuple(values["process"])})

    @property
    def alive(self) -> bool | None:
        """Whether its process runs; None where that cannot be known from here."""
        space, started = self.process
        if not space or space != _pid_space():
            return None
        return bool(started) and _started(self.pid) == started


def _pid_space() -> str:
    """Names this machine, since its start, and the namespace of its pids; empty where that is not known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """When a process began, in the kernel's ticks; empty if there is none (or a dead one, not yet waited for)."""
    try:
        state, *facts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else facts[18]


class Lease:
    """A context in which this process alone works on an output.

    Raises:
        WorkError: another driver works there (on entry), or has taken the lease over (on exit, and from `check`).
    """

    def __init__(self, output: str, interval: float = INTERVAL) -> None:
        self._out, self._interval = Folder(output), interval
        self._mine = Holder()
        self._over, self._lost = threading.Event(), threading.Event()
        self._in_main_thread = threading.current_thread() is threading.main_thread()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    @property
    def token(self) -> str:
        """For workers, which may write while it is the lease's; see `check_token`."""
        return self._mine.token

    def __enter__(self) -> Lease:
        contested = not self._out.local  # creating a file may take several steps there
        while not self._out.write_new(LEASE, self._mine.dump()):
            self._wait_until_stale()
            self._out.remove(LEASE)
            contested = True
        if contested:  # another driver may have done the same at the same time: the last one has it
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
        except Exception:  # of the storage: what has ended the work is more important
            if kind is None:
                raise
        if "://" not in self._out.url:
            with suppress(OSError):  # not empty: a data set has begun
                (Path(self._out.url) / LEASE).parent.rmdir()

    def check(self) -> None:
        """Makes sure that the lease is still ours: to be called before anything in the output is changed."""
        try:
            check_token(self._out, self.token)
        except OSError:
            if not self._lost.is_set():
                raise
        if self._lost.is_set():
            raise WorkError(f"output {self._out.url}: the storage took no heartbeat for too long: this driver stops")

    def _wait_until_stale(self) -> None:
        """Returns when the lease that stands there is stale."""
        first = holder(self._out)
        if first and first.alive:
            raise self._taken(first)
        if first is None or first.alive is False:
            return
        seconds = MISSED * self._interval
        text = f"another driver may be at work here ({first}): waiting {seconds:.0f} s for its heartbeat"
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
        return WorkError(f"output {self._out.url}: another driver is at work here ({by}): {advice}")

    def _beat(self) -> None:
        """Renews the lease until it is over or lost; then interrupts the main thread."""
        renewed = time.monotonic()
        while not self._over.wait(self._interval):
            try:
                check_token(self._out, self.token)
                self._mine = replace(self._mine, beat=self._mine.beat + 1)
                self._out.write(LEASE, self._mine.dump())
                renewed = time.monotonic()
            except WorkError:
                break
            except Exception:  # storage that fails for a while; each file system has its own errors
                if time.monotonic() - renewed > MISSED * self._interval:
                    break
        if not self._over.is_set():
            self._lost.set()
            if self._in_main_thread:  # elsewhere the workers' check ends the work
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def holder(out: Folder) -> Holder | None:
    """Who holds the lease of an output; None if nobody does."""
    for _ in range(3):
        if not out.exists(LEASE):
            return None
        with suppress(ValueError, TypeError, KeyError, FileNotFoundError):
            return Holder.parse(out.read(LEASE))
        time.sleep(0.2)  # it may just be being written
    return None


def check_token(out: Folder, token: str) -> None:
    """WorkError unless the lease of an output has this token; for workers, before they write."""
    now = holder(out)
    if now is None or now.token != token:
        who = f"({now}) " if now else ""
        raise WorkError(f"output {out.url}: another driver {who}has taken over: this one stops")
