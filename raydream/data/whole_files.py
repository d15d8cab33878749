"""Files of this machine that appear whole or not at all, whatever kills their writer."""

from __future__ import annotations

import io
import os
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem


class WholeFile(io.BufferedWriter):
    """A file that appears when it is closed, in place of any that is there; not after a write that failed."""

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
            if not self.closed:  # dropped before it was closed: it is not whole
                self._discard()

    def _discard(self) -> None:
        self._partial.unlink(missing_ok=True)
        self.raw.close()


class WholeFiles(LocalFileSystem):  # type: ignore[misc]
    """The file system of this machine, which writes each file as a `WholeFile`."""

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        return WholeFile(Path(path)) if mode == "wb" else super()._open(path, mode, **options)
