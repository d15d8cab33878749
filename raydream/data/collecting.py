"""Collects the images of a list of URLs into class folders: OUT/CLASS/NAME.jpg, and OUT/failures.csv.

A name is a digest of the URL. So the folder itself tells what is done, and a run that was killed loses nothing.
"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import PurePosixPath

from raydream.data import codec
from raydream.data.codec import UnreadableImage
from raydream.data.fetch_options import FetchOptions
from raydream.data.fetching import Failure, Fetcher, web_url
from raydream.data.rows import printable
from raydream.data.storage import Folder
from raydream.data.url_lists import Entries, Entry
from raydream.errors import UsageError

FAILURES = "failures.csv"
_COLUMNS = ("url", "class", "reason", "retry")
_SAVE_EVERY = 5.0  # seconds between two versions of the failures
_MAX_PIXELS = 50_000_000  # several are decoded at once: 600 MB each
_AHEAD = 8  # entries that wait for their hosts, for each download
_SPARE = 4  # more downloads of a class than images it lacks, since some fail


class Collection:
    """The images of a list in an output folder.

    Attributes:
        images: number of images of each class, those of earlier runs included.
        new: number of images of this run.
        failures: (class, URL) -> (reason, whether it may succeed later).
    """

    def __init__(self, url: str, options: FetchOptions) -> None:
        """Reads what earlier runs have left in the folder.

        Raises:
            UsageError: the folder's list of failures is damaged.
        """
        self._out, self._options = Folder(url), options
        self._out.remove_partial()
        self.images: Counter[str] = Counter()
        self.new = 0
        self.failures = dict(_read_failures(self._out))
        self._there: set[str] = set()  # names without endings
        self._same_size: dict[tuple[str, int], list[str]] = defaultdict(list)  # files of earlier runs
        for name, size in self._out.files().items():
            label, _, last = name.rpartition("/")
            if PurePosixPath(last).suffix in codec.IMAGE_ENDINGS and not last.startswith("."):
                self.images[label] += 1
                self._there.add(str(PurePosixPath(name).with_suffix("")))
                self._same_size[label, size].append(name)
        self._digests: dict[tuple[str, str], str] = {}  # of the files that were read or written
        self._claiming = asyncio.Lock()
        self._saved = time.monotonic()

    def select(self, entries: Iterable[Entry], missing: Entries) -> None:
        """Adds the entries that are still to be fetched to `missing`; URLs that are not http or https become failures.

        Raises:
            UsageError: there is no such URL at all.
        """
        urls = 0
        for entry in entries:
            missing.labels[entry.label] = None
            try:
                web_url(entry.url)
                urls += 1
            except Failure as failure:
                self.failures[entry.label, entry.url] = (str(failure), False)
            if self._wanted(entry):
                missing.add(entry)
        if not urls:
            raise UsageError("the list holds no http or https URL of these classes")

    def collect(self, entries: Iterable[Entry], advance: Callable[[int, int], None]) -> None:
        """Downloads images; `advance` is called with numbers of finished entries and, of these, failures.

        Raises:
            OSError: an image cannot be written.
        """
        try:
            asyncio.run(self._collect(iter(entries), advance))
        finally:
            self._save()

    def _wanted(self, entry: Entry) -> bool:
        lasting = not self.failures.get((entry.label, entry.url), ("", True))[1]
        return not (lasting or self._full(entry.label) or _stem(entry) in self._there)

    def _full(self, label: str, flying: int = 0) -> bool:
        """Whether a class has enough images, or enough downloads under way that some may fail."""
        limit = self._options.per_class
        return limit is not None and self.images[label] + flying >= limit + (_SPARE if flying else 0)

    async def _collect(self, entries: Iterator[Entry], advance: Callable[[int, int], None]) -> None:
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as decoders:
            async with Fetcher(self._options) as fetcher:
                await self._all(entries, partial(self._one, fetcher, decoders), advance)

    async def _all(
        self,
        entries: Iterator[Entry],
        one: Callable[[Entry], Coroutine[None, None, bool]],
        advance: Callable[[int, int], None],
    ) -> None:
        """Runs `one` for each entry, as many at a time as the options allow."""
        running: dict[asyncio.Task[bool], Entry] = {}
        waiting: list[Entry] = []
        try:
            while True:
                waiting, passed_over = self._refilled(waiting, entries)
                if passed_over:
                    advance(passed_over, 0)
                for entry in self._startable(waiting, list(running.values())):
                    waiting.remove(entry)
                    running[asyncio.create_task(one(entry))] = entry
                if not running:
                    return
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    advance(1, 0 if task.result() else 1)
                    del running[task]
                if time.monotonic() - self._saved > _SAVE_EVERY:
                    await asyncio.to_thread(self._save)
        finally:  # after an error, asyncio would print those of the other downloads
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _refilled(self, waiting: list[Entry], entries: Iterator[Entry]) -> tuple[list[Entry], int]:
        """The entries to start next, and the number of those that are no longer wanted."""
        kept = [entry for entry in waiting if self._wanted(entry)]
        passed_over = len(waiting) - len(kept)
        while len(kept) < _AHEAD * self._options.parallel and (entry := next(entries, None)):
            if self._wanted(entry):
                kept.append(entry)
            else:
                passed_over += 1
        return kept, passed_over

    def _startable(self, waiting: list[Entry], running: list[Entry]) -> list[Entry]:
        """The entries that may start now: not too many in all, of a host or of a class, and no URL twice at a time."""
        options, started = self._options, []
        hosts = Counter(_host(entry) for entry in running)
        flying = Counter(entry.label for entry in running)
        now = set(running)
        for entry in waiting:
            if len(now) >= options.parallel:
                break
            host, label = _host(entry), entry.label
            if entry not in now and hosts[host] < options.per_host and not self._full(label, flying[label]):
                started.append(entry)
                now.add(entry)
                hosts[host] += 1
                flying[label] += 1
        return started

    async def _one(self, fetcher: Fetcher, decoders: ThreadPoolExecutor, entry: Entry) -> bool:
        """Fetches one image; returns False if it failed."""
        try:
            data = await fetcher.fetch(entry.url)
            work = partial(_checked, data, self._options.size)
            data, ending = await asyncio.get_running_loop().run_in_executor(decoders, work)
            await self._keep(entry, data, ending)
        except (Failure, UnreadableImage) as error:
            again = isinstance(error, Failure) and error.again
            self.failures[entry.label, entry.url] = (str(error), again)
            return False
        self.failures.pop((entry.label, entry.url), None)
        return True

    async def _keep(self, entry: Entry, data: bytes, ending: str) -> None:
        """Writes an image, unless its class has the same bytes already, or enough images."""
        name = f"{_stem(entry)}{ending}"
        key = (entry.label, hashlib.sha256(data).hexdigest())
        async with self._claiming:
            await self._read_digests(entry.label, len(data))
            if self._full(entry.label):
                return
            if (twin := self._digests.setdefault(key, name)) != name:
                raise Failure(f"the same image as {twin}")
            self.images[entry.label] += 1
        await asyncio.to_thread(self._out.write, name, data)
        self._there.add(_stem(entry))
        self.new += 1

    async def _read_digests(self, label: str, size: int) -> None:
        """Reads the files of earlier runs that may be equal to a file, since they have its size."""
        for name in self._same_size.pop((label, size), ()):
            data = await asyncio.to_thread(self._out.read, name)
            self._digests[label, hashlib.sha256(data).hexdigest()] = name

    def _save(self) -> None:
        """Writes the list of failures; its file appears only with the first failure."""
        if self.failures or self._out.exists(FAILURES):
            text = io.StringIO()
            table = csv.writer(text, lineterminator="\n")
            table.writerow(_COLUMNS)
            for (label, url), (reason, again) in sorted(dict(self.failures).items()):
                table.writerow([printable(cell) for cell in (url, label, reason, "yes" if again else "no")])
            self._out.write(FAILURES, text.getvalue().encode())
        self._saved = time.monotonic()


def _read_failures(out: Folder) -> Iterator[tuple[tuple[str, str], tuple[str, bool]]]:
    if not out.exists(FAILURES):
        return
    try:
        for row in csv.DictReader(io.StringIO(out.read(FAILURES).decode())):
            yield (row["class"], row["url"]), (row["reason"], row["retry"] != "no")
    except (KeyError, ValueError, csv.Error) as error:
        raise UsageError(
            f"{out.place(FAILURES)} is not a list of failures of `raydream images fetch`: "
            "remove it, or use another folder"
        ) from error


def _checked(data: bytes, size: int | None) -> tuple[bytes, str]:
    """The bytes to keep, and their ending; raises an `UnreadableImage` unless the whole image can be decoded."""
    image = codec.decode(data, _MAX_PIXELS)
    if size is None:
        return data, codec.ending(data)
    try:
        return codec.encode(codec.fit(image, size), "jpeg"), ".jpg"
    except ValueError as error:
        raise UnreadableImage(str(error)) from error


def _stem(entry: Entry) -> str:
    digest = hashlib.sha256(entry.url.encode()).hexdigest()[:16]
    return f"{entry.label}/{digest}" if entry.label else digest


def _host(entry: Entry) -> str:
    return web_url(entry.url).raw_host or ""
