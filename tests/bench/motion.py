"""Does a dreamed video flicker, smear, drift or brighten? A slow pan over a photograph, whose true motion is known.

python -m tests.bench.motion PHOTOGRAPH [--frames 24] [--height 240] [--pan 3,1] [--blend B] [--share S] [--out FOLDER]

Dreams the frames of the pan with `motion.video`, and each frame alone, both with the preset `quick` at a part of its
steps. It prints, in levels of 0..255:

    flicker   mean absolute difference between a dream and the next one, moved back by the true pan
    strength  mean absolute difference between a dream and its frame: a picture that is hardly dreamed flickers little
    light     mean of a dream minus that of its frame, for the first and the last frames: no drift, no brightening
    detail    standard deviation of the difference of neighbouring pixels, for the first and the last dream: no smear
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from raydream import api, motion
from raydream.data import codec
from raydream.recipe import Recipe
from raydream.types import Image


def main() -> None:
    """Prints the figures; writes the frames as PNG if --out is given."""
    given = arguments()
    pan = tuple(map(int, given.pan.split(",")))
    frames = panned(api.photograph(given.photograph).image, given.frames, given.height, (pan[0], pan[1]))
    recipe, backbone = api.loaded(Recipe.load("quick", {"size": None, "steps": given.steps, "octaves": 4}))
    dreaming = motion.Dreaming(recipe, backbone, seed=1)
    ways = {}
    for name, blend in {"video": given.blend, "alone": 0.0}.items():
        began = time.monotonic()
        ways[name] = list(motion.video(frames, dreaming, blend, given.share))
        print(f"{name:<8} {(time.monotonic() - began) / len(frames):.2f} s per frame  ", end="")
        print(report(ways[name], frames, (pan[0], pan[1])), flush=True)
    print(f"flicker of the video: {flicker(ways['video'], pan) / flicker(ways['alone'], pan):.2f} of frames alone")
    if given.out:
        write(given.out, {"frame": frames, **ways})


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.motion", description="Flicker of a dreamed video.")
    parser.add_argument("photograph")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--height", type=int, default=240, help="of the frames, in pixels; the width is 4/3 of it")
    parser.add_argument("--pan", default="3,1", help="pixels to the right and down per frame")
    parser.add_argument("--steps", type=lambda text: [int(n) for n in text.split(",")], default=[20, 18, 8, 3])
    parser.add_argument("--blend", type=float, default=0.9)
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def panned(photograph: Image, number: int, height: int, pan: tuple[int, int]) -> list[Image]:
    """Frames of a camera that moves over a photograph by whole pixels."""
    width, (high, wide, _) = height * 4 // 3, photograph.shape
    scale = max((height + (number - 1) * pan[1]) / high, (width + (number - 1) * pan[0]) / wide)
    image = codec.fit(photograph, (math.ceil(wide * scale), math.ceil(high * scale)))
    places = ((n * pan[1], n * pan[0]) for n in range(number))
    return [np.ascontiguousarray(image[y : y + height, x : x + width]) for y, x in places]


def flicker(dreams: Sequence[Image], pan: Sequence[int]) -> float:
    """Mean absolute difference between dreams and the next ones moved back by the pan, in levels of 0..255."""
    right, down = pan
    pairs = pairwise(dreams)
    apart = [np.abs(a[down:, right:] - b[: b.shape[0] - down, : b.shape[1] - right]).mean() for a, b in pairs]
    return float(np.mean(apart)) * 127.5


def report(dreams: Sequence[Image], frames: Sequence[Image], pan: tuple[int, int]) -> str:
    """The figures of a way to dream, in one line."""
    changes = [dream - frame for dream, frame in zip(dreams, frames, strict=True)]
    strength = [np.abs(change).mean() * 127.5 for change in changes]
    light = [change.mean() * 127.5 for change in changes]
    detail = [np.diff(dream, axis=1).std() * 127.5 for dream in (dreams[0], dreams[-1])]
    return (
        f"flicker {flicker(dreams, pan):.2f}  "
        f"strength {strength[0]:.1f} {strength[len(strength) // 2]:.1f} {strength[-1]:.1f}  "
        f"light {light[0]:+.2f} {light[len(light) // 2]:+.2f} {light[-1]:+.2f}  detail {detail[0]:.1f} {detail[1]:.1f}"
    )


def write(folder: Path, ways: dict[str, list[Image]]) -> None:
    """Writes all frames as PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, images in ways.items():
        for number, image in enumerate(images):
            (folder / f"{name}-{number:03}.png").write_bytes(codec.encode(image))


if __name__ == "__main__":
    main()
