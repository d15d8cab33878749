"""Reads lists of URLs of images: text, CSV or TSV, also compressed. A list is streamed: it may be larger than memory.

http://host/1.jpg                  a URL alone
tiger http://host/1.jpg            a class, then a URL (separated by a space or a tab)
n02129604_7<TAB>http://host/1.jpg  ImageNet's lists: the class is the WordNet id
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import IO, NamedTuple

from raydream.data import storage
from raydream.data.names import check_folder_name
from raydream.data.retries import one_line
from raydream.errors import UsageError

_LONGEST_LINE = 1 << 20  # bytes
_LABELLED = re.compile(r"(?:(?P<label>.*?)\s+)?(?P<url>[A-Za-z][A-Za-z0-9+.-]*://.*)")
_IMAGENET = re.compile(r"(n\d{8})_\d+")


class Entry(NamedTuple):
    """A URL of an image, and the name of its class; an empty class is none."""

    url: str
    label: str


class Entries:
    """The entries of a list, in a temporary file, since there may be millions; see `no_entries`.

    Attributes:
        labels: all classes of the list, in its order, also those of entries that were left out.
    """

    def __init__(self, file: IO[str]) -> None:
        self.labels: dict[str, None] = {}
        self._file, self._count = file, 0

    def add(self, entry: Entry) -> None:
        """Adds an entry at the end."""
        self._file.write(f"{entry.label}\t{entry.url}\n")
        self._count += 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Entry]:
        self._file.seek(0)
        for line in self._file:
            label, _, url = line.rstrip("\n").partition("\t")
            yield Entry(url, label)


@contextmanager
def no_entries() -> Iterator[Entries]:
    """An empty `Entries`; its file is removed at the end of the block."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n") as file:
        yield Entries(file)


def read_list(source: str) -> Iterator[Entry]:
    """The entries of a list at a path or URL, one by one. Empty lines and lines that begin with `#` are left out.

    The list may be compressed: `.gz`, or the only file of a `.tgz` or `.tar.gz`. A CSV or TSV has a column `url`, and
    may have a column `class` or `label`.

    Raises:
        UsageError: the list cannot be read, a table has no column `url`, or a class cannot be the name of a folder.
    """
    name = source.lower().removesuffix(".gz")
    found = _table(source, "\t" if name.endswith(".tsv") else ",") if name.endswith((".csv", ".tsv")) else _text(source)
    checked: set[str] = {""}
    for entry in found:
        if entry.label not in checked:
            check_folder_name(entry.label, f"list {source}")
            checked.add(entry.label)
        yield entry


def read_categories(source: str, wanted: Mapping[str, str]) -> Iterator[Entry]:
    """The entries of some ImageNet categories, from a list with `ID_NUMBER<TAB>URL` in each line.

    Args:
        source: path or URL of the list. With `{wnid}` in it, there is a list for each category; its lines may be URLs
            alone.
        wanted: WordNet id -> class.

    Raises:
        UsageError: a list cannot be read.
    """
    if "{wnid}" in source:
        for wnid, label in wanted.items():
            for entry in _text(source.replace("{wnid}", wnid)):
                yield Entry(entry.url, label)
        return
    for line in _lines(source):
        if line[:9] in wanted:
            yield Entry(_split(line).url, wanted[line[:9]])


def _text(source: str) -> Iterator[Entry]:
    for line in _lines(source):
        if line and not line.startswith("#"):
            yield _split(line)


def _split(line: str) -> Entry:
    """The URL and the class of a line. What follows a tab is the URL, whatever it is."""
    label, tab, url = line.partition("\t")
    if not tab:
        found = _LABELLED.fullmatch(line)
        label, url = (found["label"] or "", found["url"]) if found else ("", line)
    known = _IMAGENET.fullmatch(label.strip())
    return Entry(" ".join(url.split("\t")[0].split()), known[1] if known else label.strip())


def _table(source: str, delimiter: str) -> Iterator[Entry]:
    rows = csv.DictReader(_lines(source), delimiter=delimiter)
    columns = {str(name).strip().lower(): name for name in rows.fieldnames or ()}
    if "url" not in columns:
        raise UsageError(f"list {source} has no column 'url': its columns are {', '.join(columns) or 'none'}")
    label = columns.get("class", columns.get("label"))
    try:
        for row in rows:
            yield Entry(
                " ".join(str(row[columns["url"]] or "").split()), str(row[label] or "").strip() if label else ""
            )
    except csv.Error as error:
        raise UsageError(f"list {source} cannot be read: {one_line(error)}") from error


def _lines(source: str) -> Iterator[str]:
    """The lines of a text file, without spaces at their ends."""
    try:
        with storage.opened(source) as file:
            for line in _pieces(_unpacked(source, file)):
                yield line.decode("utf-8", "backslashreplace").strip("\ufeff \r\n")
    except FileNotFoundError as error:
        raise UsageError(f"list {source} does not exist") from error
    except Exception as error:  # each file system and each compression has its own error classes
        raise UsageError(f"list {source} cannot be read: {one_line(error)}") from error


def _unpacked(source: str, file: IO[bytes]) -> Iterable[bytes]:
    endings = "".join(PurePosixPath(source).suffixes[-2:]).lower()
    if endings.endswith((".tgz", ".tar.gz")):
        return _first_file(file)
    return _blocks(gzip.GzipFile(fileobj=file) if endings.endswith(".gz") else file)


def _first_file(packed: IO[bytes]) -> Iterator[bytes]:
    with tarfile.open(fileobj=packed, mode="r|gz") as archive:
        for member in archive:
            if (inside := archive.extractfile(member)) is not None:
                yield from _blocks(inside)
                return
    raise ValueError("the archive holds no file")


def _blocks(file: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    while block := file.read(io.DEFAULT_BUFFER_SIZE * 8):
        yield block


def _pieces(blocks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        yield from lines
        if len(rest) > _LONGEST_LINE:
            raise ValueError("a line is longer than 1 MB: it is not a list of URLs")
    if rest:
        yield rest
