"""Examines images: reads each file once for its digest, its size in pixels, and whether it can be decoded."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from raydream.data import codec
from raydream.data.codec import UnreadableImage
from raydream.data.retries import reason
from raydream.data.storage import Folder

UNREADABLE = "unreadable.csv"
_THREADS = min(8, 2 * (os.cpu_count() or 1))  # half of them wait for files


@dataclass(frozen=True, kw_only=True)
class Examined:
    """What is known of an image.

    Attributes:
        bytes: size of its file.
        digest: SHA-256 of its file, in hexadecimal; empty if the file cannot be read.
        width, height: size in pixels, upright; 0 if it cannot be decoded.
        error: why it cannot be decoded, in one line; empty if it can.
    """

    bytes: int = 0
    digest: str = ""
    width: int = 0
    height: int = 0
    error: str = ""


def examine(folder: Folder, names: Sequence[str]) -> Iterator[Examined]:
    """Examines images by name, in order; a few at a time are read in parallel."""
    with ThreadPoolExecutor(_THREADS) as pool:
        ahead: deque[Future[Examined]] = deque()
        for name in names:
            ahead.append(pool.submit(_examined, folder, name))
            if len(ahead) > 2 * _THREADS:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _examined(folder: Folder, name: str) -> Examined:
    try:
        data = folder.read(name)
    except OSError as error:
        return Examined(error=reason(error, folder.place(name)))
    digest = hashlib.sha256(data).hexdigest()
    try:
        height, width = codec.decode(data).shape[:2]
    except UnreadableImage as error:
        return Examined(bytes=len(data), digest=digest, error=str(error))
    return Examined(bytes=len(data), digest=digest, width=width, height=height)


def write_unreadable(out: Folder, rows: Sequence[tuple[str, str]]) -> None:
    """Writes `unreadable.csv`: the (name, reason) of images that a job cannot use; no file if there are none."""
    if not rows:
        out.remove(UNREADABLE)
        return
    sink = io.StringIO()
    csv.writer(sink).writerows([("image", "error"), *rows])
    out.write(UNREADABLE, sink.getvalue().encode("utf-8", "backslashreplace"))
