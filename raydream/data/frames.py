"""Finished frames of a motion picture on disk, so that an interrupted run continues after the last whole one.

FOLDER/000000.png               the frames
FOLDER/_raydream/job.json       what determines them
FOLDER/_raydream/000012.npy     the last frame in float32: the next one starts from it, not from 8 bits
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from raydream.data.whole_files import WholeFile
from raydream.errors import UsageError, WorkError
from raydream.types import Image


@dataclass(frozen=True)
class Frames:
    """The frames in a folder.

    Attributes:
        folder: the folder; `alone` makes it.
    """

    folder: Path

    @property
    def work(self) -> Path:
        """The folder for everything that is removed in the end."""
        return self.folder / "_raydream"

    @property
    def began(self) -> bool:
        """Whether the folder belongs to an unfinished run."""
        return (self.work / "job.json").is_file()

    @property
    def is_new(self) -> bool:
        """Whether nothing is in the folder, or only what a run leaves that was killed before it began."""
        return not self.folder.exists() or {*os.listdir(self.folder)} <= {self.work.name}

    def path(self, number: int) -> Path:
        """The file of a frame; the first one has the number 0."""
        return self.folder / f"{number:06}.png"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """A context in which no other process works in the folder. The lock ends with the process, however it ends.

        Raises:
            WorkError: another process works in the folder.
        """
        self.work.mkdir(parents=True, exist_ok=True)
        held = os.open(self.folder, os.O_RDONLY)
        try:
            _lock(held, self.folder)
            yield
        finally:
            os.close(held)

    def open(self, job: dict[str, Any]) -> None:
        """Starts or continues a run; `job` is what determines the frames, as JSON.

        Raises:
            UsageError: the folder belongs to a run with another `job`.
            OSError: the folder cannot be written.
        """
        job = json.loads(json.dumps(job))
        if not self.began:
            _write(self.work / "job.json", json.dumps(job, indent=1).encode())
            return
        try:
            before = json.loads((self.work / "job.json").read_bytes())
        except ValueError:
            before = {}
        if before != job:
            raise UsageError(
                f"{self.folder} has frames of an unfinished run with {_difference(before, job)}: "
                "repeat its command, use another output, or delete the folder"
            )

    def last(self, total: int) -> tuple[int, Image | None]:
        """How many of the `total` frames are finished, and the last of them in float32; (0, None) for none."""
        done = next((n for n in range(total) if not self.path(n).is_file()), total)
        try:
            return done, np.load(self._state(done - 1))
        except (OSError, ValueError, EOFError):  # none yet, or somebody has deleted files
            return (done, None) if done == total else (0, None)

    def add(self, number: int, data: bytes, image: Image) -> None:
        """Stores a frame: `data` of its file, and `image`, from which the next frame is made."""
        with WholeFile(self._state(number)) as file:
            np.save(file, image)
        _write(self.path(number), data)  # the frame counts from here on
        self._state(number - 1).unlink(missing_ok=True)

    def copy(self, number: int, place: int) -> None:
        """Stores a copy of a frame under another number."""
        _write(self.path(place), self.path(number).read_bytes())

    def close(self, keep: bool) -> None:
        """Ends the run: removes what is no longer needed; `keep` the frames, or not."""
        shutil.rmtree(self.work if keep else self.folder, ignore_errors=True)

    def _state(self, number: int) -> Path:
        return self.work / f"{number:06}.npy"


def _lock(held: int, folder: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise WorkError(f"another run works in {folder}: wait for its end, or use another output") from error
    except OSError:  # the file system has no locks
        pass


def _write(path: Path, data: bytes) -> None:
    with WholeFile(path) as file:
        file.write(data)


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    """The first difference of two jobs in words: `zoom 1.03, not 1.05`."""
    for key in now:
        old, new = before.get(key), now[key]
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            return _difference(old, new)
        return f"{key} {_short(old)}, not {_short(new)}"
    return "other settings"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."
