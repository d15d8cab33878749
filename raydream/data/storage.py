"""Files by URL: anything fsspec knows (a path, gs://, memory://, https://, ...), whole or not at all."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from raydream.errors import UsageError

# It logs each error with a traceback before it raises it, and we say it in one line.
logging.getLogger("gcsfs").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class Folder:
    """A folder by URL. Names in it are relative paths with `/`; they are never parsed as URLs or patterns."""

    url: str

    @cached_property
    def _place(self) -> tuple[Any, str]:
        try:
            fs, root = _opened(self.url)
        except Exception as error:  # each file system has its own errors for what it cannot parse
            raise UsageError(f"URL {self.url!r} cannot be used: {_one_line(error)}") from error
        return fs, root.rstrip("/") or "/"

    def _path(self, name: str) -> str:
        return f"{self._place[1].rstrip('/')}/{name}" if name else self._place[1]

    @property
    def local(self) -> bool:
        """Whether it lies in this machine's own file system."""
        return isinstance(self._place[0], LocalFileSystem)

    def files(self, below: str = "") -> dict[str, int]:
        """Names of all files below a name -> size in bytes (0 where it is not known); empty if there is none.

        In this machine's file system, links to folders are followed, but not in circles; pipes and devices are left
        out. What cannot be looked into is named like a file, so that it is not passed over without a word.
        """
        fs, _ = self._place
        start = self._path(below)
        prefix = len(self._path("x")) - 1
        try:
            if self.local:
                return {path[prefix:]: size for path, size in sorted(_local_files(start))}
            fs.invalidate_cache()
            found = fs.find(start, detail=True)
        except FileNotFoundError:
            return {}
        except Exception as error:  # each file system has its own errors for what cannot be listed
            raise UsageError(f"{self.url} cannot be listed: {_one_line(error)}") from error
        # A place that is itself a file is listed as holding itself, under no name.
        return {path[prefix:]: int(info.get("size") or 0) for path, info in found.items() if path[prefix:]}

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        return bool(self._place[0].exists(self._path(name)))

    def read(self, name: str) -> bytes:
        """The bytes of a file; raises OSError if it cannot be read."""
        data: bytes = self._place[0].cat_file(self._path(name))
        return data

    def write(self, name: str, data: bytes) -> None:
        """Writes a file so that it appears whole or not at all, over any that is there."""
        fs, path = self._place[0], self._path(name)
        if not self.local:
            fs.makedirs(fs._parent(path), exist_ok=True)
            fs.pipe_file(path, data)  # object stores show an object when its upload is complete
            return
        try:
            with _WholeFile(Path(path)) as file:
                file.write(data)
        except OSError as error:
            error.filename = error.filename or path  # a full disk does not say where
            raise

    def arrow(self) -> tuple[Any, str]:
        """For what takes pyarrow's file systems: ours, which writes as `write` does, and this folder's path in it."""
        from pyarrow.fs import FSSpecHandler, PyFileSystem

        fs, root = self._place
        return PyFileSystem(FSSpecHandler(_WholeFiles() if self.local else fs)), root

    def remove_partial(self) -> None:
        """Removes what writers that were killed left behind."""
        for name in self.files() if self.local else ():
            if name.endswith(".partial"):
                Path(self._path(name)).unlink(missing_ok=True)


class _WholeFile(io.BufferedWriter):
    """A file that takes its place when it is closed, over any that is there, but not after a write that failed."""

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
        with suppress(ValueError):  # the file could not even be opened
            if not self.closed:  # let go of before it was closed: it is not whole
                self._discard()

    def _discard(self) -> None:
        self._partial.unlink(missing_ok=True)
        self.raw.close()


class _WholeFiles(LocalFileSystem):  # type: ignore[misc]
    """This machine's files, written as `_WholeFile`."""

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        return _WholeFile(Path(path)) if mode == "wb" else super()._open(path, mode, **options)


def _opened(url: str) -> tuple[Any, str]:
    """The file system and the path in it. Without :// it is a path here, whatever characters are in it."""
    if "://" in url:
        fs, path = fsspec.core.url_to_fs(url)
        return fs, path
    return LocalFileSystem(), os.path.join(os.getcwd(), os.path.expanduser(url))


def _local_files(root: str) -> Iterator[tuple[str, int]]:
    folders = [(root, [os.stat(root)])]
    while folders:
        folder, chain = folders.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError:
            if folder == root:
                raise
            yield folder, 0
            continue
        for entry in entries:
            try:
                info = entry.stat()
            except OSError:  # a link to nowhere
                yield entry.path, 0
                continue
            if stat.S_ISREG(info.st_mode):
                yield entry.path, info.st_size
            elif stat.S_ISDIR(info.st_mode) and not any(os.path.samestat(info, above) for above in chain):
                folders.append((entry.path, [*chain, info]))


def absolute(url: str) -> str:
    """A path that means the same in every folder of this machine; other URLs as they are."""
    return url if "://" in url else os.path.abspath(os.path.expanduser(url))


def anywhere(name: str) -> str:
    """A file here by its absolute path, for workers in other folders; what is no file, such as `vgg16`, as it is."""
    return absolute(name) if Path(name).is_file() else name


def read(url: str, what: str = "file") -> bytes:
    """The bytes at a path or URL; UsageError if there are none."""
    try:
        fs, path = _opened(url)
        data: bytes = fs.cat_file(path)
        return data
    except FileNotFoundError as error:
        raise UsageError(f"{what} {url} does not exist") from error
    except Exception as error:  # each file system has its own errors
        raise UsageError(f"{what} {url} cannot be read: {_one_line(error)}") from error


def write(url: str, data: bytes) -> None:
    """Writes a file to a path or URL, as `Folder.write`; UsageError if that cannot be."""
    folder, slash, name = url.rpartition("/")
    try:
        Folder(f"{folder}{slash}" or ".").write(name, data)
    except Exception as error:  # each file system has its own errors
        reason = getattr(error, "strerror", None) or _one_line(error)
        raise UsageError(f"{url} cannot be written: {reason}") from error


def check_apart(source: str, output: str) -> None:
    """UsageError if the output's URL lies in the input's: what is written would be read as if it were given."""
    if f"{output.rstrip('/')}/".startswith(f"{source.rstrip('/')}/"):
        raise UsageError(f"output {output} lies in the input: what is written there would be input next time")


def check_writable(url: str) -> None:
    """UsageError if a path of this machine cannot be written to; of other URLs that shows when it is done."""
    if "://" in url:
        return
    folder = Path(absolute(url)).parent
    while not folder.exists():
        folder = folder.parent
    if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        raise UsageError(f"{url} cannot be written: {folder} is no folder, or not yours to write in")


def fetch(url: str, what: str = "file") -> str:
    """A local path with the contents of a URL, kept in $RAYDREAM_CACHE; a path is given back as it is."""
    if "://" not in url:
        return url
    home = os.environ.get("RAYDREAM_CACHE") or Path.home() / ".cache" / "raydream"
    last = (url.partition("?")[0] if url.startswith("http") else url).rstrip("/").rsplit("/", 1)[-1]
    name = f"{hashlib.sha256(url.encode()).hexdigest()[:16]}-{last[-80:]}"
    cache = Folder(str(Path(home).expanduser()))
    if not cache.exists(name):
        data = read(url, what)
        try:
            cache.write(name, data)
        except OSError as error:
            raise UsageError(f"{what} {url} cannot be kept: {_one_line(error)} (see $RAYDREAM_CACHE)") from error
    return str(Path(cache.url) / name)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
