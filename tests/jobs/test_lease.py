"""jobs.dreaming.lease: one driver at a time, in processes of their own."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from raydream.data.storage import Folder
from raydream.errors import WorkError
from raydream.jobs.dreaming import lease
from raydream.jobs.dreaming.lease import LEASE, Holder, Lease
from tests.common import wait_for

DRIVER = """
import sys, time
from raydream.errors import WorkError
from raydream.jobs.dreaming.lease import Lease
try:
    with Lease(sys.argv[1], interval=float(sys.argv[2])):
        print("working", flush=True)
        time.sleep(60)
except WorkError as error:
    print(error, flush=True)
"""


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has the lease of `tmp_path`."""
    process = started(tmp_path)
    assert process.stdout
    assert process.stdout.readline() == "working\n"
    yield process
    process.kill()
    process.communicate()


def started(output: Path, interval: float = 0.1) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", DRIVER, str(output), str(interval)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_second_driver_is_refused_with_who_is_there(driver: subprocess.Popen[str], tmp_path: Path) -> None:
    second = started(tmp_path)
    said, _ = second.communicate(timeout=20)
    assert said.startswith(f"output {tmp_path}: another driver works on it (host ")
    assert f", pid {driver.pid}, since 2" in said
    assert said.count("\n") == 1
    assert driver.poll() is None
    assert Holder.parse((tmp_path / LEASE).read_bytes()).pid == driver.pid


def test_the_lease_of_a_killed_driver_is_taken_over_at_once(driver: subprocess.Popen[str], tmp_path: Path) -> None:
    driver.kill()
    os.waitid(os.P_PID, driver.pid, os.WEXITED | os.WNOWAIT)  # it stays in the process table
    began = time.monotonic()
    with Lease(str(tmp_path), interval=30.0):
        assert time.monotonic() - began < 5
        assert Holder.parse((tmp_path / LEASE).read_bytes()).pid == os.getpid()
    assert not (tmp_path / LEASE).exists()


def test_a_driver_that_lost_its_lease_stops_and_leaves_the_new_one(
    driver: subprocess.Popen[str], tmp_path: Path
) -> None:
    other = replace(Holder(), host="elsewhere", process=("", ""))
    (tmp_path / LEASE).write_bytes(other.dump())
    said, _ = driver.communicate(timeout=20)
    assert said.startswith(f"output {tmp_path}: ")
    assert said.count("\n") == 1
    assert Holder.parse((tmp_path / LEASE).read_bytes()) == other


def test_a_driver_that_slept_too_long_stops_as_well(driver: subprocess.Popen[str], tmp_path: Path) -> None:
    driver.send_signal(signal.SIGSTOP)
    # As another machine sees it, which knows nothing of its processes.
    there = replace(Holder.parse((tmp_path / LEASE).read_bytes()), process=("another machine", "1"))
    (tmp_path / LEASE).write_bytes(there.dump())
    with Lease(str(tmp_path), interval=0.1) as mine:
        driver.send_signal(signal.SIGCONT)
        said, _ = driver.communicate(timeout=20)
        assert "stops" in said
        mine.check()


def test_a_live_driver_of_another_machine_is_known_by_its_heartbeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beating = threading.Event()
    there = replace(Holder(), host="elsewhere", process=("another machine", "1"))
    (tmp_path / LEASE).parent.mkdir()
    (tmp_path / LEASE).write_bytes(there.dump())

    def beat() -> None:
        beat = 0
        while not beating.wait(0.05):
            beat += 1
            Folder(str(tmp_path)).write(LEASE, replace(there, beat=beat).dump())

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(WorkError, match=r"works on it \(host elsewhere"), Lease(str(tmp_path), interval=0.2):
            pass
    finally:
        beating.set()
        thread.join()


def test_the_lease_of_another_machine_is_taken_over_only_when_its_heartbeat_stands_still(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = replace(Holder(), host="elsewhere", process=("another machine", "1"))
    (tmp_path / LEASE).parent.mkdir()
    (tmp_path / LEASE).write_bytes(there.dump())
    began = time.monotonic()
    with Lease(str(tmp_path), interval=0.1):
        assert time.monotonic() - began >= lease.MISSED * 0.1
    assert "another driver may work on this output (host elsewhere" in capsys.readouterr().err


def test_the_heartbeat_moves_and_the_lease_goes_with_its_folder(tmp_path: Path) -> None:
    with Lease(str(tmp_path), interval=0.05):
        wait_for(lambda: Holder.parse((tmp_path / LEASE).read_bytes()).beat >= 3, seconds=10)
    assert [*tmp_path.iterdir()] == []


def test_an_error_of_the_work_is_not_hidden_by_the_end_of_the_lease(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="mine"), Lease(str(tmp_path)):
        raise KeyError("mine")
    assert not (tmp_path / LEASE).exists()


def test_it_works_where_files_are_urls() -> None:
    url = "memory://leases/out"
    with Lease(url, interval=0.1) as first:
        first.check()
        with pytest.raises(WorkError, match=f"pid {os.getpid()}"), Lease(url, interval=0.1):
            pass
    assert not Folder(url).exists(LEASE)


def test_a_damaged_lease_is_replaced(tmp_path: Path) -> None:
    (tmp_path / LEASE).parent.mkdir()
    (tmp_path / LEASE).write_bytes(b"{")
    with Lease(str(tmp_path), interval=0.1) as mine:
        mine.check()
