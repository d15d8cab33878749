"""Ray as the jobs use it: closed to others, honest about what went wrong, and gone when it is interrupted."""

import errno
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from raydream.cli import commands
from raydream.data.storage import Folder
from raydream.errors import UsageError, WorkError
from raydream.jobs import cluster as clusters
from raydream.jobs import connection, head_watch
from raydream.jobs.ray_errors import cause
from tests.common import RAY, processes, wait_for

pytestmark = RAY

JOB = """
import sys
from raydream.cli import commands
from raydream.jobs import cluster

def main(args, prog_name, standalone_mode):
    with cluster.joined():
        import ray
        print("joined", ray.get_runtime_context().gcs_address, flush=True)
        def slow(row):
            import time
            time.sleep(300)
            return row
        list(ray.data.from_items([1]).map(slow).iter_rows())

commands.run(main, "job")
"""


def begin(environment: dict[str, str]) -> "subprocess.Popen[str]":
    """A job that waits for a slow task; its first line on stderr is out."""
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    job = subprocess.Popen([sys.executable, "-c", JOB], env=environment, **pipes)
    assert job.stderr
    assert job.stderr.readline() == "starting Ray\n"
    return job


def left(environment: dict[str, str]) -> list[int]:
    return processes("", environment["RAY_TMPDIR"])


def said_at_the_end(job: "subprocess.Popen[str]") -> str:
    _, said = job.communicate(timeout=60)
    assert "Traceback" not in said
    return said.strip()


# --- closed to others ---


def python(code: str, **environment: str) -> str:
    """What a process of a stranger prints, who knows no token."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("RAY_AUTH")}
    own["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # else Ray looks for 127.0.0.1 at this machine's other address
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=own | environment, capture_output=True, text=True, check=False, timeout=90)
    return done.stdout


@pytest.mark.parametrize(
    "token",
    [
        pytest.param({}, id="none", marks=pytest.mark.slow),
        pytest.param({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}, id="wrong"),
    ],
)
def test_a_local_cluster_refuses_who_does_not_know_its_token(
    cluster: None, token: dict[str, str], tmp_path: Path
) -> None:
    address = ray.get_runtime_context().gcs_address
    code = """
from raydream.jobs import cluster
from raydream.data.storage import Folder
from raydream.errors import UsageError
try:
    with cluster.joined():
        print("in")
except UsageError as error:
    print("refused" if "requires its token" in str(error) else error)
"""
    assert python(code, HOME=str(tmp_path), RAY_ADDRESS=address, **token).strip() == "refused"
    mine = {key: value for key, value in os.environ.items() if key.startswith("RAY_AUTH")}
    assert python(code, HOME=str(tmp_path), RAY_ADDRESS=address, **mine).strip() == "in"


def test_a_local_cluster_listens_on_the_loopback_interface_only(cluster: None) -> None:
    assert ray.get_runtime_context().gcs_address.startswith("127.0.0.1:")
    names = {process.pid for process in connection._descendants()} | {os.getpid()}
    listening = 0
    tables = [Path("/proc/net", name).read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    for line in [line for table in tables for line in table]:
        local, state, inode = (line.split()[n] for n in (1, 3, 9))
        if state == "0A" and any(f"socket:[{inode}]" in sockets(pid) for pid in names):
            listening += 1
            assert local.split(":")[0].endswith("0100007F"), local
    assert listening


def sockets(pid: int) -> set[str]:
    try:
        return {os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    except OSError:
        return set()


def test_the_token_is_on_no_command_line(cluster: None) -> None:
    token = os.environ["RAY_AUTH_TOKEN"]
    for process in connection._descendants():
        assert token not in " ".join(process.cmdline())


# --- which cluster ---


def test_it_knows_whether_it_started_the_cluster(cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert clusters.started_here()
    with pytest.raises(UsageError, match="no GPU"):
        clusters.devices(1.0)
    assert clusters.devices(None) == (0.0, 2)
    monkeypatch.setattr(clusters, "started_here", lambda: False)  # a cluster that may bring one
    assert clusters.devices(1.0) == (1.0, 0)
    monkeypatch.setattr(clusters.ray, "cluster_resources", lambda: {"CPU": 8.0, "GPU": 2.0})
    assert clusters.devices(None) == (1.0, 2)


def test_a_cluster_that_ray_start_left_here_is_joined_while_it_runs_and_is_ours(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ray_current_cluster"
    monkeypatch.setattr(clusters, "get_ray_address_file", lambda folder: str(file))
    assert clusters._running_here() is None
    file.write_text(ray.get_runtime_context().gcs_address)
    assert clusters._running_here() == file.read_text()
    monkeypatch.setattr("os.getuid", lambda: 12345)
    assert clusters._running_here() is None
    monkeypatch.undo()
    monkeypatch.setattr(clusters, "get_ray_address_file", lambda folder: str(file))
    file.write_text("127.0.0.1:1")  # its cluster is gone
    assert clusters._running_here() is None


def test_ray_that_cannot_start_is_tried_twice_and_then_one_line(environment: dict[str, str]) -> None:
    too_slow = """
import ray

def get_node(*_):
    print("attempt", flush=True)
    raise Exception("The current node timed out during startup. This\\ncould happen because of much.")

ray._private.services.get_node = get_node
commands.run"""
    code = JOB.replace("commands.run", too_slow)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1, done.stderr
    assert done.stdout.split() == ["attempt", "attempt"]
    assert done.stderr.startswith("starting Ray\njob: Ray cannot start on this machine, tried twice: ")
    assert len(done.stderr.splitlines()) == 2
    assert not left(environment)


def test_an_address_that_leads_nowhere_is_said(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    nowhere = {**environment, "RAY_ADDRESS": "nonsense"}
    done = subprocess.run(
        [sys.executable, "-c", JOB], env=nowhere, capture_output=True, text=True, check=False, timeout=90
    )
    assert done.returncode == 2
    assert "RAY_ADDRESS=nonsense: there is no cluster" in done.stderr


# --- signals and deaths ---


TERM, INT, SLOW = signal.SIGTERM, signal.SIGINT, pytest.mark.slow


@pytest.mark.parametrize(
    ("how", "delay"),
    [
        *[(TERM, 0.5), (INT, 2.0), (TERM, 6.0)],
        *[pytest.param(TERM, delay, marks=SLOW) for delay in (1.0, 2.0, 3.0)],
        *[pytest.param(INT, delay, marks=SLOW) for delay in (0.5, 1.0, 3.0, 6.0)],
    ],
)
def test_interrupted_while_ray_starts_it_ends_at_once_and_leaves_nothing(
    environment: dict[str, str], how: signal.Signals, delay: float
) -> None:
    job = begin(environment)
    time.sleep(delay)
    job.send_signal(how)
    began = time.monotonic()
    assert said_at_the_end(job) == "job: interrupted"
    assert job.returncode == commands.INTERRUPTED
    wait_for(lambda: not left(environment), 3.0 - (time.monotonic() - began))


@pytest.mark.parametrize(
    ("title", "name"),
    [("gcs_server", "head process (GCS)"), pytest.param("raylet/raylet", "raylet", marks=pytest.mark.slow)],
)
def test_a_head_that_dies_ends_the_job_with_a_line_that_says_so(
    environment: dict[str, str], title: str, name: str
) -> None:
    job = begin(environment)
    assert job.stdout
    assert job.stdout.readline().startswith("joined 127.0.0.1")
    time.sleep(4.0)
    (victim,) = processes(title, environment["RAY_TMPDIR"])[:1]
    os.kill(victim, signal.SIGKILL)
    began = time.monotonic()
    said = said_at_the_end(job)
    assert time.monotonic() - began < 15
    assert job.returncode == commands.FAILED
    assert name in said
    assert said.endswith("run the same command again")
    assert len(said.splitlines()) == 1
    wait_for(lambda: not left(environment), 10)


def test_signals_mean_afterwards_what_they_meant_before(cluster: None) -> None:
    before = [signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)]
    with clusters.joined(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    assert [signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)] == before


def test_in_a_thread_signals_are_left_alone(cluster: None) -> None:
    seen: list[Any] = []

    def job() -> None:
        with clusters.joined():
            seen.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=job)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_head_is_only_gone_when_nobody_listens(cluster: None) -> None:
    watch = head_watch.HeadWatch(local=True)
    assert len(watch._addresses) == 2
    assert watch.look() is None
    watch._addresses["Ray's head process (GCS)"] = "127.0.0.1:1"
    assert watch.look() == "Ray's head process (GCS) at 127.0.0.1:1 is gone"


# --- what went wrong ---


def full(row: dict[str, Any]) -> dict[str, Any]:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out/data/00001.parquet")


def refuse(row: dict[str, Any]) -> dict[str, Any]:
    try:
        return full(row)
    except OSError as error:
        raise WorkError("the bucket\nis gone") from error


class Broken:
    def __init__(self) -> None:
        raise ValueError("no such layer")

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return row


@pytest.mark.parametrize(
    ("stage", "options", "said"),
    [
        (full, {}, "No space left on device: out/data/00001.parquet"),
        (refuse, {}, "the bucket is gone"),
        (Broken, {"compute": 1}, "ValueError: no such layer"),
    ],
)
def test_an_error_in_a_task_says_what_the_user_can_mend(
    cluster: None, stage: Any, options: dict[str, Any], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    pool = {"compute": ray.data.ActorPoolStrategy(size=1)} if options else {}
    with pytest.raises(WorkError) as raised, clusters.joined():
        list(ray.data.from_items([{"a": 1}]).map(stage, **pool).iter_rows())
    assert str(raised.value) == f"the work failed on the cluster: {said}"
    assert "(raylet)" not in "".join(capfd.readouterr())


def test_of_rays_own_errors_the_first_line_is_told() -> None:
    assert cause(ray.exceptions.RayError("it died\n\tpid: 7\nadvice")) == "it died"
    inner = OSError("disk\n broken")
    assert cause(ray.exceptions.RayTaskError("write", "Traceback ...\nadvice", inner)) == "OSError: disk broken"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_says_what_and_where(cluster: None, small_disk: Path) -> None:
    def write(row: dict[str, Any]) -> dict[str, Any]:
        Folder(str(small_disk)).write(f"data/{row['id']}.parquet", bytes(40_000))
        return row

    with pytest.raises(WorkError) as raised, clusters.joined():
        list(ray.data.from_items([{"id": 0}, {"id": 1}], override_num_blocks=1).map(write).iter_rows())
    said = str(raised.value)
    assert said == f"the work failed on the cluster: No space left on device: {small_disk}/data/1.parquet"


def test_a_worker_that_dies_leaves_no_noise_of_rays(cluster: None, capfd: pytest.CaptureFixture[str]) -> None:
    @ray.remote(max_retries=0)
    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(WorkError, match="died"), clusters.joined():
        ray.get(die.remote())
    time.sleep(2.0)
    said = "".join(capfd.readouterr())
    assert "(raylet)" not in said
    assert logging.getLogger("ray.data").level == logging.CRITICAL
