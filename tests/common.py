"""What tests of jobs share: waiting, and finding processes to kill."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

RAY = [
    pytest.mark.ray_cluster,
    # Ray leaves sockets and processes to the interpreter's end, and warns of its own future.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]  # the `pytestmark` of tests on a Ray cluster


def wait_for(condition: Callable[[], bool], seconds: float = 240.0) -> None:
    """Waits until a condition holds; fails if that takes too long."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def processes(title: str, ray_folder: str) -> list[int]:
    """Ray's processes of such a title that belong to a Ray folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                named = (entry / "cmdline").read_bytes().decode(errors="replace")
                theirs = (entry / "environ").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if title in named and ray_folder in theirs:
                found.append(int(entry.name))
    return found
