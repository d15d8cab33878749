"""Writes frames as a moving picture: MP4 and WebM with PyAV (the extra `video`), animated WebP and GIF with Pillow.

.mp4     H.264, yuv420p, BT.709, even sizes; sound as AAC, or as it is
.webm    VP9, and Opus
.webp    quality 90, endless loop
.gif     256 colours per frame, endless loop, at most 50 frames per second
"""

from __future__ import annotations

import heapq
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from raydream import extras
from raydream.data import codec, storage
from raydream.data.video import Sound, opened
from raydream.errors import UsageError, WorkError
from raydream.types import Image, Pixels

# ---- what to write

VIDEOS = {".mp4": "mp4", ".webm": "webm"}
_TICKS = {".webp": 1000, ".gif": 100}  # times per second in the file
ENDINGS = (*VIDEOS, *_TICKS)
_ENCODERS: dict[str, tuple[str, dict[str, str]]] = {
    ".mp4": ("libx264", {"crf": "18", "preset": "medium"}),
    ".webm": ("libvpx-vp9", {"crf": "24", "b": "0", "cpu-used": "3", "row-mt": "1"}),
}
_SOUND_KEPT = {".mp4": {"aac", "mp3", "ac3", "eac3"}, ".webm": {"opus", "vorbis"}}  # without encoding it again
_SOUND_ENCODERS = {".mp4": "aac", ".webm": "libopus"}
_SOUND_RATE = 48_000  # samples per second
_BT709, _LIMITED = 1, 1  # numbers of FFmpeg


@dataclass(frozen=True, kw_only=True)
class Animation:
    """A moving picture to write.

    Attributes:
        frames: the PNG files of its frames, in order; a file can appear several times.
        rate: frames per second.
        times: when each frame is shown, in seconds from the first one; None if all of them last equally long.
        sound: its sound, for MP4 and WebM.
        about: metadata of the file, as JSON.
    """

    frames: Sequence[Path]
    rate: Fraction
    times: Sequence[Fraction] | None = None
    sound: Sound | None = None
    about: Mapping[str, Any]


def is_folder(output: str) -> bool:
    """Whether an output is a folder of PNG frames: it has no ending, or ends with a slash."""
    return not PurePath(output).suffix or output.endswith(("/", "\\"))


def check_output(output: str, rate: Fraction, force: bool) -> None:
    """Raises a `UsageError` if an output cannot be written, needs --force, or needs the extra `video`."""
    ending = PurePath(output).suffix.lower()
    if "://" in output:
        raise UsageError(f"output {output} is a URL: moving pictures are written to this machine")
    if is_folder(output):
        storage.check_writable(storage.join(output, "x"))
        return
    if ending not in ENDINGS:
        raise UsageError(f"output {output} must end in {', '.join(ENDINGS)}, or be a folder (without an ending)")
    if os.path.isdir(output):
        raise UsageError(f"output {output} is a folder: use another name, or remove the folder")
    storage.check_writable(output)
    if not force and os.path.exists(output):
        raise UsageError(f"output {output} exists: use another name, or --force to overwrite it")
    check_format(output, rate)


def check_format(output: str, rate: Fraction) -> None:
    """Raises a `UsageError` if the format of an output has no such rate, or needs the extra `video`."""
    ending = PurePath(output).suffix.lower()
    if ending in VIDEOS:
        extras.imported("av", ending)
    if ending == ".gif" and rate > 50:
        raise UsageError(f"{output}: GIF shows at most 50 frames per second, not {float(rate):g}: use .webp or .mp4")


def write(output: Path, animation: Animation, partial: Path) -> None:
    """Writes a moving picture; it appears complete or not at all.

    Args:
        output: the file; its ending is one of `ENDINGS`.
        animation: what to write.
        partial: name for the unfinished file, in the same file system.

    Raises:
        WorkError: the video cannot be encoded.
        OSError: the file cannot be written.
    """
    ending = output.suffix.lower()
    output.parent.mkdir(parents=True, exist_ok=True)
    if ending in VIDEOS:
        _write_video(partial, ending, animation)
    else:
        _write_pillow(partial, ending, animation)
    with open(partial, "rb+") as file:
        os.fsync(file.fileno())
    partial.replace(output)


def write_images(output: Path, images: Iterable[Image], rate: Fraction, about: Mapping[str, Any]) -> None:
    """Writes images (height, width, 3) in [-1, 1] as a moving picture; see `write`."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".frames-") as place:
        frames = []
        for number, image in enumerate(images):
            frames.append(Path(place) / f"{number:06}.png")
            frames[-1].write_bytes(codec.encode(image))
        write(output, Animation(frames=frames, rate=rate, about=about), Path(place) / f"partial{output.suffix}")


# ---- Pillow


class _Movie(PillowImage.Image):
    """A Pillow image with several frames that reads only one of them at a time."""

    def __init__(self, files: Sequence[Path]) -> None:
        super().__init__()
        self._files = files
        self.n_frames = len(files)
        self.is_animated = True
        self.seek(0)

    def seek(self, frame: int) -> None:
        if frame >= self.n_frames:
            raise EOFError  # as Pillow's own classes do
        with PillowImage.open(self._files[frame]) as image:
            loaded = image.convert("RGB")
        self.im, self._mode, self._size = loaded.im, loaded.mode, loaded.size
        self._at = frame

    def tell(self) -> int:
        return self._at


def _write_pillow(partial: Path, ending: str, animation: Animation) -> None:
    number = len(animation.frames)
    times = animation.times or [n / animation.rate for n in range(number)]
    marks = [round(_TICKS[ending] * time) for time in (*times, times[-1] + 1 / animation.rate)]
    # Rounding the times, not the durations: a long animation keeps its length.
    durations = [(after - before) * 1000 // _TICKS[ending] for before, after in pairwise(marks)]
    about = json.dumps(dict(animation.about))
    options: dict[str, Any] = {"comment": about.encode()[:60_000]}
    if ending == ".webp":
        exif = PillowImage.Exif()
        exif[0x010E], exif[0x0131] = about, "raydream"  # description, software
        options = {"quality": 90, "method": 4, "exif": exif}
    with _Movie(animation.frames) as movie:
        movie.save(partial, ending[1:].upper(), save_all=True, duration=durations, loop=0, **options)


# ---- PyAV


def _write_video(partial: Path, ending: str, animation: Animation) -> None:
    av = extras.imported("av", ending)
    try:
        with ExitStack() as stack:
            container = stack.enter_context(av.open(str(partial), "w", format=VIDEOS[ending], options=_muxing(ending)))
            container.metadata["comment"] = json.dumps(dict(animation.about))
            packets = [_pictures(container, ending, animation)]
            if animation.sound:
                source = stack.enter_context(opened(animation.sound.path))
                packets.append(_sound(container, ending, source, animation.sound))
            for packet in heapq.merge(*packets, key=_when):  # a player reads both from the same place in the file
                container.mux(packet)
    except av.FFmpegError as error:
        hint = ", or leave the sound out with --silent" if animation.sound else ""
        raise WorkError(
            f"the video cannot be encoded: {error.strerror}; its frames are kept: try again{hint}"
        ) from error


def _muxing(ending: str) -> dict[str, str]:
    return {"movflags": "+faststart+use_metadata_tags"} if ending == ".mp4" else {}


def _when(packet: Any) -> Fraction:
    return Fraction((packet.dts if packet.dts is not None else packet.pts or 0) * packet.time_base)


def _pictures(container: Any, ending: str, animation: Animation) -> Iterator[Any]:
    """The packets of the pictures; the stream is added at once."""
    codec, options = _ENCODERS[ending]
    stream = container.add_stream(codec, rate=animation.rate, options=options)
    height, width = (side // 2 * 2 for side in _pixels(animation.frames[0]).shape[:2])
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    context = stream.codec_context
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = _LIMITED
    unit = 1 / animation.rate if animation.times is None else Fraction(1, 90_000)
    context.time_base = unit
    return _encoded(stream, animation, unit)


def _encoded(stream: Any, animation: Animation, unit: Fraction) -> Iterator[Any]:
    av = extras.imported("av", "video")
    for number, path in enumerate(animation.frames):
        pixels = _pixels(path)[: stream.height, : stream.width]
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        frame.pts = number if animation.times is None else round(animation.times[number] / unit)
        frame.time_base = unit
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _pixels(path: Path) -> Pixels:
    with PillowImage.open(path) as image:
        return np.asarray(image.convert("RGB"))


# ---- sound


def _sound(container: Any, ending: str, source: Any, sound: Sound) -> Iterator[Any]:
    """The packets of the sound; the stream is added at once."""
    stream = source.streams.audio[0]
    if stream.codec_context.name in _SOUND_KEPT[ending]:
        return _copied(source, stream, container.add_stream_from_template(stream), sound)
    target = container.add_stream(_SOUND_ENCODERS[ending], rate=_SOUND_RATE, layout="stereo")
    return _encoded_again(source, stream, target, sound)


def _copied(source: Any, stream: Any, target: Any, sound: Sound) -> Iterator[Any]:
    for packet in source.demux(stream):
        if not packet.size or packet.pts is None or packet.is_discard:
            continue
        if not sound.begin <= packet.pts * packet.time_base < sound.end:
            continue
        shift = round(sound.begin / packet.time_base)
        packet.pts -= shift
        packet.dts = packet.pts  # sound has no order of its own for decoding
        packet.stream = target
        yield packet


def _encoded_again(source: Any, stream: Any, target: Any, sound: Sound) -> Iterator[Any]:
    av = extras.imported("av", "video")
    resampler = av.AudioResampler(format=target.codec_context.format, layout="stereo", rate=_SOUND_RATE)
    samples: int | None = None
    for frame in source.decode(stream):
        time = Fraction(frame.pts or 0) * frame.time_base
        if not sound.begin <= time < sound.end:
            continue
        if samples is None:
            samples = round((time - sound.begin) * _SOUND_RATE)
        for piece in resampler.resample(frame):
            piece.pts, piece.time_base = samples, Fraction(1, _SOUND_RATE)
            samples += piece.samples
            yield from target.encode(piece)
    yield from target.encode(None)
