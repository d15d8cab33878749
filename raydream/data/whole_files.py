"""Local files that are written atomically: they appear complete or not at all, even if the writer is killed."""

from __future__ import annotations

import io
import os
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem


class WholeFile(io.BufferedWriter):
    """A file that appears when it is closed, unless a write failed. An existing file is replaced."""

    def __init__(self, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        self._target = target
        self._partial = target.with_name(f".{uuid.uuid4().hex}.partial")
        super().__init__(io.FileIO(self._partial, "wb"))

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BaseException:
            self._discard()
            raise

    def close(self) -> None:
        if self.closed:
            return
        try:
            self.flush()
            os.fsync(self.fileno())
            super().close()
            self._partial.replace(self._target)
        except BaseException:
            self._discard()
            raise

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind:
            self._discard()
        self.close()

    def __del__(self) -> None:
        with suppress(ValueError):  # the file could not be opened
            if not self.closed:  # garbage-collected before it was closed: it is not complete
                self._discard()

    def _discard(self) -> None:
        self._partial.unlink(missing_ok=True)
        self.raw.close()


def create_whole(target: Path, data: bytes) -> None:
    """Creates a file with some bytes; raises a FileExistsError if it exists. Of several writers, one succeeds."""
    partial = target.with_name(f".{uuid.uuid4().hex}.partial")
    with WholeFile(partial) as file:
        file.write(data)
    try:
        os.link(partial, target)
    except FileExistsError:
        raise
    except OSError:  # the file system has no hard links
        with open(target, "xb") as file:
            file.write(data)
    finally:
        partial.unlink(missing_ok=True)


class WholeFiles(LocalFileSystem):  # type: ignore[misc]
    """The local file system, but each file is written as a `WholeFile`."""

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        return WholeFile(Path(path)) if mode == "wb" else super()._open(path, mode, **options)
