"""Makes files of moving pictures: zoom, morph and video. An interrupted run continues after its last finished frame.

The frames come from `motion`. They are kept on disk (`data.frames`) until the output is written (`data.animation`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from raydream import api, extras, motion, runtime
from raydream.api import Photograph
from raydream.cli.progress import Progress
from raydream.data import animation, codec, provenance, storage
from raydream.data.animation import Animation
from raydream.data.frames import Frames
from raydream.data.motion_options import Morph, Video, Zoom, rate_of
from raydream.data.video import Sound, open_clip
from raydream.errors import UsageError
from raydream.motion import Dreaming
from raydream.recipe import Recipe
from raydream.types import Image


@dataclass(frozen=True, kw_only=True)
class _Task:
    """A moving picture to make.

    Attributes:
        kind: `zoom`, `morph` or `video`.
        settings: the options that determine the frames.
        output: the file or folder to write.
        source, digest: id and digest of the photograph or video.
        recipe: the resolved recipe.
        total: number of frames; a damaged video can have fewer.
        frames: makes the frames from a number on, after the last one that is finished.
        rate, times, sound: as in `Animation`.
        back: whether the frames also run backwards.
    """

    kind: str
    settings: dict[str, Any]
    output: str
    source: str
    digest: str
    recipe: Recipe
    total: int
    frames: Callable[[int, Image | None], Iterator[Image]]
    rate: Fraction
    times: Sequence[Fraction] | None = None
    sound: Sound | None = None
    back: bool = False

    def about(self, **frame: int) -> dict[str, Any]:
        """The metadata of the moving picture, or of a frame."""
        inside = provenance.inside(self.recipe, self.source, self.recipe.seed_of(self.source), self.digest)
        return inside | {"motion": {"kind": self.kind, **frame, **self.settings}}


def zoom(settings: Zoom, recipe: Recipe, force: bool = False) -> None:
    """Makes an endless zoom; `force` overwrites a file.

    Raises:
        UsageError: the photograph, recipe or output cannot be used; or frames of another run are in the way.
        WorkError, OSError: the output cannot be written; finished frames are kept.
    """
    rate = rate_of(settings.fps)
    _check(settings.output, settings.photo, rate, force)
    photograph, dreaming = _loaded(settings.photo, recipe, settings.size)
    image, part = photograph.image, dreaming.part(settings.share)
    _run(
        _Task(
            kind="zoom",
            settings=settings.decisive,
            output=settings.output,
            source=photograph.id,
            digest=photograph.digest,
            recipe=dreaming.recipe,
            total=settings.frames,
            frames=lambda done, last: motion.zoom(image, part, settings.zoom, settings.rotate, last),
            rate=rate,
        )
    )


def morph(settings: Morph, recipe: Recipe, force: bool = False) -> None:
    """Makes the way from a photograph to its dream; `force` and errors are those of `zoom`."""
    rate = rate_of(settings.fps)
    _check(settings.output, settings.photo, rate, force)
    photograph, dreaming = _loaded(settings.photo, recipe, settings.size)
    image = photograph.image
    positions = _positions(settings, rate, dreaming.number_of_steps(image))
    _run(
        _Task(
            kind="morph",
            settings=settings.decisive,
            output=settings.output,
            source=photograph.id,
            digest=photograph.digest,
            recipe=dreaming.recipe,
            total=len(positions),
            frames=lambda done, last: motion.morph(image, dreaming, positions[done:]),
            rate=rate,
            back=settings.back,
        )
    )


def video(settings: Video, recipe: Recipe, force: bool = False) -> None:
    """Dreams a video; `force` and errors are those of `zoom`."""
    clip = open_clip(settings.input, None if settings.fps is None else rate_of(settings.fps))
    clip = clip.part(settings.start, settings.limit)
    _check(settings.output, settings.input, clip.rate, force)
    if settings.blend:
        extras.imported("cv2", "optical flow")
    recipe = _sized(recipe, settings.size)
    for image in islice(clip.frames(), 1):  # read before the network is loaded, so that an error is shown at once
        _fitted(image, recipe.size)
    name = storage.split(storage.absolute(settings.input))[1]
    dreaming = _dreaming(recipe, name)

    def frames(done: int, last: Image | None) -> Iterator[Image]:
        images = (_fitted(image, recipe.size) for image in clip.frames(max(0, done - 1)))
        return motion.video(images, dreaming, settings.blend, settings.share, last)

    _run(
        _Task(
            kind="video",
            settings=settings.decisive,
            output=settings.output,
            source=name,
            digest=clip.digest(),
            recipe=dreaming.recipe,
            total=len(clip.times),
            frames=frames,
            rate=clip.rate,
            times=clip.uneven_times(),
            sound=None if settings.silent else clip.sound,
        )
    )


def _check(output: str, source: str, rate: Fraction, force: bool) -> None:
    """Raises a `UsageError` if an output cannot be written, or is the source; an unfinished run may continue."""
    if storage.same_file(output, source):
        raise UsageError(f"output {output} is the input itself")
    if Path(source).is_dir():
        storage.check_apart(source, output)
    kept = _kept(output)
    if kept.began:
        animation.check_format(output, rate)
        return
    animation.check_output(output, rate, force)
    if not kept.is_new:
        raise UsageError(f"folder {kept.folder} is not empty: use another output, or move it")


def _kept(output: str) -> Frames:
    """Where the finished frames of an output are kept: in itself if it is a folder, otherwise in `OUTPUT.frames`."""
    return Frames(Path(output if animation.is_folder(output) else f"{output}.frames"))


def _loaded(photo: str, recipe: Recipe, size: int | None) -> tuple[Photograph, Dreaming]:
    """The photograph at its final size, and how it is dreamed."""
    photograph = api.photograph(photo)  # read before the network is loaded, so that an error is shown at once
    recipe = _sized(recipe, size)
    image = _fitted(photograph.image, recipe.size)
    return replace(photograph, image=image), _dreaming(recipe, photograph.id)


def _dreaming(recipe: Recipe, id: str) -> Dreaming:
    resolved, backbone = api.loaded(recipe)
    runtime.advise_precision(recipe.precision, gpu=runtime.has_gpu())
    return Dreaming(resolved, backbone, resolved.seed_of(id))


def _sized(recipe: Recipe, size: int | None) -> Recipe:
    return recipe if size is None else recipe.changed(size=size)


def _fitted(image: Image, size: int | tuple[int, int] | None) -> Image:
    try:
        return codec.fit(image, size)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _positions(settings: Morph, rate: Fraction, steps: int) -> list[float]:
    """The step that each frame shows; the first frame is the photograph, the last one the dream."""
    if settings.seconds:
        return [float(p) for p in np.linspace(0, steps, max(2, round(settings.seconds * rate)))]
    return [*map(float, range(0, steps, settings.every or 1)), float(steps)]


def _run(task: _Task) -> None:
    """Makes the frames that are not finished yet, then the output."""
    kept = _kept(task.output)
    progress = Progress(task.total, "frames")
    with kept.alone(), closing(progress):
        kept.open({"kind": task.kind, **task.settings, "input": task.digest, "recipe": task.recipe.as_dict()})
        count = _make_frames(task, kept, progress)
        if not animation.is_folder(task.output):
            progress.phase(f"writing {task.output}")
        _write(task, kept, count)


def _make_frames(task: _Task, kept: Frames, progress: Progress) -> int:
    """Makes the frames that are not finished yet; returns the number of all frames."""
    done, last = kept.last(task.total)
    if done:
        progress.advance(done)
    for image in islice(task.frames(done, last), task.total - done):
        kept.add(done, codec.encode(image, metadata=task.about(frame=done)), image)
        done += 1
        progress.advance(1)
    return done


def _write(task: _Task, kept: Frames, count: int) -> None:
    """Writes the output from the frames, and removes what is no longer needed."""
    numbers = [*range(count), *(reversed(range(count - 1)) if task.back else ())]
    if animation.is_folder(task.output):
        for place, number in list(enumerate(numbers))[count:]:
            kept.copy(number, place)
        kept.close(keep=True)
        return
    files = [kept.path(number) for number in numbers]
    times = task.times and task.times[:count]
    movie = Animation(frames=files, rate=task.rate, times=times, sound=task.sound, about=task.about())
    output = Path(task.output)
    animation.write(output, movie, kept.work / f"partial{output.suffix.lower()}")
    kept.close(keep=False)
