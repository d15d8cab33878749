"""Reads the frames of a video file, or of a folder of images, one after the other.

Needs the extra `video` for files (PyAV, which contains FFmpeg), but not for folders.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from raydream import extras
from raydream.data import codec, inputs, storage
from raydream.errors import UsageError
from raydream.types import Image

# FFmpeg also "plays" text, and follows playlists to other files and machines.
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,ogg,asf,flv,gif,apng,yuv4mpegpipe,m4v,h264,hevc,mpegvideo"
)


@dataclass(frozen=True)
class Sound:
    """The sound that belongs to some frames of a video file: from `begin` up to `end`, in seconds of the file."""

    path: str
    begin: Fraction
    end: Fraction


@dataclass(frozen=True, kw_only=True)
class Clip:
    """The frames of a video, or a part of them.

    Attributes:
        path: path of the video file, or of the folder.
        names: file names of the frames in the folder; None for a video file.
        rate: frames per second.
        times: when each frame is shown, in seconds of the file.
        timed: whether the file says when each frame is shown.
        has_sound: whether the file has sound.
    """

    path: str
    names: tuple[str, ...] | None = None
    rate: Fraction
    times: tuple[Fraction, ...]
    timed: bool = True
    has_sound: bool = False

    @property
    def sound(self) -> Sound | None:
        """The sound of these frames."""
        return Sound(self.path, self.times[0], self.times[-1] + 1 / self.rate) if self.has_sound else None

    def uneven_times(self) -> list[Fraction] | None:
        """When each frame is shown, in seconds from the first one; None if `rate` says it to within half a frame."""
        times = [time - self.times[0] for time in self.times]
        even = all(abs(time * self.rate - number) <= 0.5 for number, time in enumerate(times))
        return None if even else times

    def part(self, start: float, limit: int | None) -> Clip:
        """The frames from `start` on, in seconds, at most `limit`; raises a `UsageError` if there are none."""
        begin = self.times[0] + Fraction(str(start))  # 1.6 as it is written: the float is a little more
        first = next((n for n, time in enumerate(self.times) if time >= begin), len(self.times))
        chosen = slice(first, None if limit is None else first + limit)
        if first == len(self.times):
            length = float(self.times[-1] - self.times[0] + 1 / self.rate)
            raise UsageError(f"--start {start:g} is after the last frame of {self.path}, which lasts {length:.2f} s")
        return replace(self, times=self.times[chosen], names=self.names and self.names[chosen])

    def digest(self) -> str:
        """SHA-256 of the file; for a folder, of the names and digests of its frames."""
        if self.names is None:
            return _digest(Path(self.path))
        lines = [f"{name} {_digest(Path(self.path, name))}\n" for name in self.names]
        return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()

    def frames(self, first: int = 0) -> Iterator[Image]:
        """The frames (height, width, 3) in [-1, 1] from number `first` on; 0 is the first one of this part.

        Raises:
            UsageError: a frame cannot be read, or has another size than the first one.
        """
        return self._from_folder(first) if self.names is not None else self._from_file(first)

    def _from_folder(self, first: int) -> Iterator[Image]:
        size: tuple[int, ...] | None = None
        for name in (self.names or ())[first:]:
            path = storage.join(self.path, name)
            try:
                image = codec.decode(storage.read(path, "frame"))
            except codec.UnreadableImage as error:
                raise UsageError(f"{path}: {error}") from error
            size = size or image.shape
            if image.shape != size:
                (height, width, _), (high, wide, _) = image.shape, size
                raise UsageError(f"{path} has {width}x{height} pixels, other frames {wide}x{high}: resize them first")
            yield image

    def _from_file(self, first: int) -> Iterator[Image]:
        begin, number = self.times[first], first
        with opened(self.path) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            if begin > 1 and self.timed:
                container.seek(int(begin * 1_000_000), backward=True)  # to a key frame before it, in microseconds
            try:
                for count, frame in enumerate(container.decode(stream)):
                    time = frame.pts * frame.time_base if self.timed else count / self.rate
                    if time < begin:
                        continue
                    yield _image(frame, stream.sample_aspect_ratio or Fraction(1))
                    number += 1
                    if number == len(self.times):
                        return
            except extras.imported("av", "video").FFmpegError as error:
                raise _broken(self.path, number, error) from error


def open_clip(path: str, fps: Fraction | None = None) -> Clip:
    """The clip in a video file or a folder of frames, whose names are sorted by their numbers.

    Args:
        path: path of the file or the folder.
        fps: frames per second of a folder; None for 25.

    Raises:
        UsageError: it is not a video, or has no frames; or `fps` is given for a video.
    """
    if "://" in path:
        raise UsageError(f"{path} is a URL: download the video first")
    if Path(path).is_dir():
        names = tuple(sorted(inputs.list_input(path).ids, key=_by_number))
        rate = fps or Fraction(25)
        return Clip(path=path, names=names, rate=rate, times=tuple(n / rate for n in range(len(names))))
    if fps is not None:
        raise UsageError(f"--fps is only for a folder of frames: {path} has its own")
    return _probed(path)


def _probed(path: str) -> Clip:
    if Path(path).suffix.lower() in codec.IMAGE_ENDINGS - {".gif", ".apng"}:
        raise UsageError(f"{path} is an image: use `raydream dream {path}`")
    with opened(path) as container:
        if not container.streams.video:
            raise UsageError(f"{path} has no video, only sound")
        stream = container.streams.video[0]
        rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
        packets = [p for p in container.demux(stream) if p.size and not p.is_discard]
        if not packets:
            raise UsageError(f"{path} has no frames: it is empty or cut off")
        timed = all(packet.pts is not None for packet in packets)
        times = sorted(packet.pts * packet.time_base if timed else n / rate for n, packet in enumerate(packets))
        sound = bool(container.streams.audio)
        return Clip(path=path, rate=rate, times=tuple(times), timed=timed, has_sound=sound)


@contextmanager
def opened(path: str) -> Iterator[Any]:
    """The PyAV container of a video file; raises a `UsageError` if it is not one, or PyAV is not installed."""
    av = extras.imported("av", f"the video {path}")
    try:
        container = av.open(path, options={"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"})
    except FileNotFoundError as error:
        raise UsageError(f"{path} does not exist") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        raise UsageError(f"{path} is not a video that can be read, or is empty or cut off") from error
    with container:
        yield container


def _broken(path: str, number: int, error: Exception) -> UsageError:
    why = getattr(error, "strerror", None) or type(error).__name__
    before = f": use --limit {number} for the frames before it" if number else ""
    return UsageError(f"{path}: frame {number + 1} cannot be decoded ({why}){before}")


def _image(frame: Any, aspect: Fraction) -> Image:
    """A frame as it is meant to be shown, in [-1, 1]: upright, and with square pixels; `aspect` is theirs."""
    image = codec.from_uint8(frame.to_ndarray(format="rgb24"))
    if aspect != 1:
        image = codec.fit(image, (round(frame.width * aspect), frame.height))
    return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90) % 4))


def _by_number(name: str) -> list[tuple[int, int | str]]:
    """A key that sorts `frame2.png` before `frame10.png`."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"([0-9]+)", name)]


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
