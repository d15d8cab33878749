"""Reads and writes files by path or by any URL of fsspec (gs://, memory://, https://, ...). Writes are atomic."""

from __future__ import annotations

import logging
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath
from typing import IO, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from raydream.data.retries import named, one_line, reason, retried
from raydream.data.whole_files import WholeFile, WholeFiles, create_whole
from raydream.errors import UsageError

# gcsfs logs each error with a traceback before it raises it; raydream reports it in one line.
logging.getLogger("gcsfs").addHandler(logging.NullHandler())

_THREADS = 16  # they wait for the network


@dataclass(frozen=True)
class Folder:
    """A folder, by path or URL. Names in it are relative paths with `/`; they are never parsed as URLs or patterns.

    Temporary errors (network, busy server) are retried with back-off. Other errors are OSErrors (FileNotFoundError,
    PermissionError, ..., or StorageError) with a one-line message that ends with the file. A URL that no file system
    supports is a UsageError.
    """

    url: str

    @cached_property
    def _place(self) -> tuple[Any, str]:
        try:
            fs, root = _opened(self.url)
        except Exception as error:  # each file system has its own errors for URLs that it cannot parse
            raise UsageError(f"URL {self.url!r} cannot be used: {one_line(error)}") from error
        return fs, root.rstrip("/") or "/"

    def _path(self, name: str) -> str:
        return f"{self._place[1].rstrip('/')}/{name}" if name else self._place[1]

    def place(self, name: str) -> str:
        """The path or URL of a file, for messages."""
        return f"{self.url.rstrip('/')}/{name}"

    @property
    def local(self) -> bool:
        """Whether the folder is in this machine's file system."""
        return isinstance(self._place[0], LocalFileSystem)

    @property
    def path(self) -> str:
        """The path in the file system; for a local folder, the real path without symbolic links."""
        return os.path.realpath(self._place[1]) if self.local else self._place[1]

    def same_system(self, other: Folder) -> bool:
        """Whether both folders are in the same file system, so that their paths can be compared."""
        return (self.local and other.local) or self._place[0] == other._place[0]

    def files(self, below: str = "") -> dict[str, int]:
        """All files below a name: name -> size in bytes (0 if unknown); empty if there are none.

        In a local folder, links to folders are followed, except in circles. Pipes and devices are left out. A folder
        below that cannot be listed is returned like a file, so that it is not ignored silently.

        Raises:
            UsageError: this is not a folder, or there is no permission to list it.
        """
        try:
            found = retried(self.place(below), lambda: self._listed(self._path(below)))
        except FileNotFoundError:
            return {}
        except (NotADirectoryError, PermissionError) as error:
            raise UsageError(f"{self.url} cannot be listed: {reason(error, self.place(below))}") from error
        prefix = len(self._path("x")) - 1
        # Some file systems list a file as a folder that holds itself, under an empty name.
        return {path[prefix:]: size for path, size in found if path[prefix:]}

    def _listed(self, start: str) -> list[tuple[str, int]]:
        fs = self._place[0]
        if self.local:
            return sorted(_local_files(start))
        fs.invalidate_cache()
        found = fs.find(start, detail=True)
        fs.invalidate_cache()  # otherwise it keeps all details in memory
        return [(path, int(info.get("size") or 0)) for path, info in found.items()]

    def exists(self, name: str) -> bool:
        """Whether a file exists. (The `exists` of fsspec returns False for any error.)"""
        try:
            self.size(name)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def size(self, name: str) -> int:
        """Size of a file in bytes; 0 if the file system does not know it."""
        fs, path = self._place[0], self._path(name)
        return int(retried(self.place(name), lambda: fs.info(path)).get("size") or 0)

    def read(self, name: str, start: int | None = None, end: int | None = None) -> bytes:
        """The bytes of a file, from `start` up to but without `end`."""
        fs, path = self._place[0], self._path(name)
        data: bytes = retried(self.place(name), lambda: fs.cat_file(path, start=start, end=end))
        return data

    def read_all(self, names: Sequence[str]) -> Iterator[bytes]:
        """The bytes of many small files, in order. A few files at a time are read in parallel."""
        with ThreadPoolExecutor(_THREADS) as pool:
            for start in range(0, len(names), 4 * _THREADS):
                yield from pool.map(self.read, names[start : start + 4 * _THREADS])

    def write(self, name: str, data: bytes) -> None:
        """Writes a file atomically: it appears complete or not at all. An existing file is replaced."""
        retried(self.place(name), lambda: self._written(self._path(name), data))

    def _written(self, path: str, data: bytes) -> None:
        fs = self._place[0]
        if self.local:
            with WholeFile(Path(path)) as file:
                file.write(data)
            return
        fs.makedirs(fs._parent(path), exist_ok=True)
        fs.pipe_file(path, data)  # object stores show an object only after its upload is complete

    @contextmanager
    def create(self, name: str) -> Iterator[IO[bytes]]:
        """A file to write to. It appears as with `write`, when the block ends without an error."""
        fs, path = self._place[0], self._path(name)
        try:
            if self.local:
                with WholeFile(Path(path)) as file:
                    yield file
                return
            with tempfile.NamedTemporaryFile() as temporary:
                yield temporary
                temporary.flush()
                fs.makedirs(fs._parent(path), exist_ok=True)
                retried(self.place(name), lambda: fs.put_file(temporary.name, path))
        except OSError as error:
            if not error.strerror:  # its message already names the file
                raise
            raise named(error, self.place(name)) from error

    def move(self, name: str, target: str) -> None:
        """Renames a file; an existing target is replaced. The target appears complete or not at all."""
        fs, old, new = self._place[0], self._path(name), self._path(target)
        if self.local:
            Path(new).parent.mkdir(parents=True, exist_ok=True)
            retried(self.place(target), lambda: os.replace(old, new))
            return
        fs.makedirs(fs._parent(new), exist_ok=True)
        retried(self.place(target), lambda: fs.cp_file(old, new))
        self.remove(name)

    def remove(self, name: str) -> None:
        """Removes a file if it exists."""
        fs, path = self._place[0], self._path(name)
        try:
            retried(self.place(name), lambda: fs.rm_file(path))
        except FileNotFoundError:
            return

    def write_new(self, name: str, data: bytes) -> bool:
        """Creates a file; returns False if it already exists. It is atomic if the file system supports that."""
        fs, path = self._place[0], self._path(name)
        try:
            if self.local:
                create_whole(Path(path), data)
            else:
                fs.makedirs(fs._parent(path), exist_ok=True)
                fs.pipe_file(path, data, mode="create")
        except FileExistsError:
            return False
        except Exception as error:  # no retry: the failed attempt may have written the file
            raise named(error, self.place(name)) from error
        return True

    def arrow(self) -> tuple[Any, str]:
        """A pyarrow file system that writes as `write` does, and the path of this folder in it."""
        from pyarrow.fs import FSSpecHandler, PyFileSystem

        fs, root = self._place
        return PyFileSystem(FSSpecHandler(WholeFiles() if self.local else fs)), root

    def remove_partial(self) -> None:
        """Removes the unfinished files of killed writers."""
        for name in self.files() if self.local else ():
            if name.rpartition("/")[2].startswith(".") and name.endswith(".partial"):
                Path(self._path(name)).unlink(missing_ok=True)


def _opened(url: str) -> tuple[Any, str]:
    """The file system and the path in it. A text without :// is always a local path."""
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
            except OSError:  # a broken link
                yield entry.path, 0
                continue
            if stat.S_ISREG(info.st_mode):
                yield entry.path, info.st_size
            elif stat.S_ISDIR(info.st_mode) and not any(os.path.samestat(info, above) for above in chain):
                folders.append((entry.path, [*chain, info]))


def absolute(url: str) -> str:
    """The absolute path; URLs are returned unchanged."""
    return url if "://" in url else os.path.abspath(os.path.expanduser(url))


def absolute_if_file(name: str) -> str:
    """The absolute path of a local file, since workers run in other folders; other names, such as `vgg16`, are
    returned unchanged."""
    return absolute(name) if Path(name).is_file() else name


def read(url: str, what: str = "file") -> bytes:
    """Reads the file at a path or URL that the user gave.

    Raises:
        UsageError: the file does not exist or cannot be read.
    """
    try:
        fs, path = _opened(url)
        data: bytes = retried(url, lambda: fs.cat_file(path))
        return data
    except FileNotFoundError as error:
        raise UsageError(f"{what} {url} does not exist") from error
    except Exception as error:  # also from `_opened`: each file system has its own error classes
        raise UsageError(f"{what} {url} cannot be read: {reason(error, url)}") from error


@contextmanager
def opened(url: str) -> Iterator[IO[bytes]]:
    """Opens the file at a path or URL for reading piece by piece; errors are those of its file system."""
    fs, path = _opened(url)
    with fs.open(path, "rb") as file:
        yield file


def split(url: str) -> tuple[str, str]:
    """The folder and the last part of a path or URL. Paths have the separators of this system (`\\` on Windows)."""
    if "://" in url:
        folder, slash, name = url.rpartition("/")
        return f"{folder}{slash}", name
    path = PurePath(url)
    return str(path.parent), path.name


def join(folder: str, name: str) -> str:
    """The path or URL of a file in a folder; the reverse of `split`."""
    if "://" in folder:
        return f"{folder}{'' if folder.endswith('/') else '/'}{name}"
    return os.path.join(folder, name)  # PurePath would turn `./~x` into `~x`, a home folder


def exists(url: str) -> bool:
    """Whether a file or folder exists at a path or URL; raises a `UsageError` if that cannot be checked."""
    folder, name = split(url)
    try:
        return Folder(folder).exists(name)
    except OSError as error:
        raise UsageError(f"{url} cannot be used: {reason(error, url)}") from error


def write(url: str, data: bytes) -> None:
    """Writes a file like `Folder.write`, to a path or URL that the user gave.

    Raises:
        UsageError: the user cannot write to that place.
        OSError: the file could not be written, for example because the disk is full.
    """
    parent, name = split(url)
    with _refusing(parent, name):
        Folder(parent).write(name, data)


def write_first_free(folder: str, names: Iterable[str], data: bytes) -> str:
    """Writes a file under the first name that is not in use, and returns the name; raises the errors of `write`.

    Two processes that write at the same time use different names.
    """
    place = Folder(folder)
    for name in names:
        with _refusing(folder, name):
            if not place.exists(name) and place.write_new(name, data):
                return name
    raise UsageError(f"{folder} cannot be written: all names are in use")


@contextmanager
def _refusing(folder: str, name: str) -> Iterator[None]:
    """Turns errors that the user can mend into a `UsageError`."""
    try:
        yield
    except (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError) as error:
        why = reason(error, Folder(folder).place(name))
        raise UsageError(f"{join(folder, name)} cannot be written: {why}") from error


def same_file(one: str, other: str) -> bool:
    """Whether two paths or URLs are the same file, also through links and other spellings."""
    first, second = Folder(one), Folder(other)
    if not first.same_system(second):
        return False
    if first.local and os.path.exists(first.path) and os.path.exists(second.path):
        return os.path.samefile(first.path, second.path)
    return first.path == second.path


def check_apart(source: str, output: str, why: str = "the next run would dream the dreams") -> None:
    """Raises a `UsageError` if the output is the input or below it; `why` that is wrong, for the message.

    Symbolic links, and different spellings of a URL, are resolved first.
    """
    above, below = Folder(source), Folder(output)
    if above.same_system(below) and f"{below.path.rstrip('/')}/".startswith(f"{above.path.rstrip('/')}/"):
        raise UsageError(f"output {output} lies in the input: {why}: use another folder")


def check_writable(url: str) -> None:
    """Raises a `UsageError` if a local path cannot be written. URLs are not checked here."""
    if "://" in url:
        return
    target = Path(absolute(url))
    try:
        target.exists()  # raises an OSError if the name is too long
        folder = next((above for above in target.parents if above.exists()), target)
    except OSError as error:
        raise UsageError(f"{url} cannot be written: {error.strerror}") from error
    if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        raise UsageError(f"{url} cannot be written: {folder} is not a folder, or you have no permission to write there")
