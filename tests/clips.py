"""Small videos for tests: a camera that moves over a picture, with a tone as sound."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raydream.data import codec
from tests.conftest import random_images

NTSC = Fraction(30000, 1001)


def panned(number: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Frames (height, width, 3) of uint8; the camera moves 2 pixels to the right per frame.

    They are made of squares of 2x2 pixels, since videos halve the resolution of the colours.
    """
    image = codec.to_uint8(random_images(height // 2 + 1, width // 2 + 1 + number)[0])
    image = image.repeat(2, axis=0).repeat(2, axis=1)[:height]
    return [np.ascontiguousarray(image[:, 2 * n : 2 * n + width]) for n in range(number)]


def make_video(
    path: Path | str,
    frames: list[np.ndarray],
    rate: Fraction = NTSC,
    codecs: tuple[str, str | None] = ("libx264", "aac"),
    times: list[int] | None = None,
    aspect: Fraction = Fraction(1),
) -> None:
    """Writes frames and a tone to a video file; `times` are those of uneven frames, in 1/90000 s.

    `aspect` is the width of a pixel divided by its height.
    """
    av: Any = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codecs[0], rate=rate, options={"crf": "4"})
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        stream.codec_context.time_base = Fraction(1, 90_000) if times else 1 / rate
        sound = container.add_stream(codecs[1], rate=48_000, layout="mono") if codecs[1] else None
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = times[number] if times else number
            frame.time_base = stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound:
            seconds = len(frames) / rate
            tone = np.sin(np.arange(round(48_000 * seconds)) * (2 * np.pi * 440 / 48_000)) * 0.5
            frame = av.AudioFrame.from_ndarray(tone.astype(np.float32)[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 48_000, 0
            container.mux(sound.encode(frame))
            container.mux(sound.encode(None))


def content(path: Path | str) -> dict[str, Any]:
    """What is in a video file: codec, rate, size, times, pixels, sound and metadata."""
    av: Any = pytest.importorskip("av")
    found: dict[str, Any] = {"sound": None}
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        found["codec"], found["rate"] = stream.codec_context.name, stream.average_rate
        found["format"], found["size"] = stream.pix_fmt, (stream.height, stream.width)
        found["colours"] = stream.codec_context.colorspace
        frames = list(container.decode(stream))
        found["times"] = [frame.time for frame in frames]
        found["pixels"] = [frame.to_ndarray(format="rgb24") for frame in frames]
        found["metadata"] = {key.lower(): text for key, text in container.metadata.items()}
    with av.open(str(path)) as container:
        if container.streams.audio:
            sound = container.streams.audio[0]
            found["sound"] = sound.codec_context.name
            pieces = list(container.decode(sound))
            found["seconds"] = sum(piece.samples for piece in pieces) / sound.rate
            found["wave"] = np.concatenate([piece.to_ndarray()[0].astype(float) for piece in pieces])
    return found
