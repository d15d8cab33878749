"""Options of moving pictures, as frozen data.

Fields with a `typer.Option` are options of the command line (see `cli.options`). Annotations are evaluated in this
module, which imports nothing heavy, so that `--help` stays fast.
"""

from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Annotated, Any

import typer

from raydream.errors import UsageError

_SHARE = typer.Option(min=0.001, max=1, help="Share of the recipe's steps for each frame after the first.")
_OUTPUT = "Output: .mp4, .webm, .webp, .gif, or a folder for PNG frames."
_FPS = "Frames per second, such as 25 or 30000/1001."
Output = Annotated[str, typer.Option("--output", "-o", help=_OUTPUT)]
Fps = Annotated[str, typer.Option(help=_FPS)]
Size = Annotated[int | None, typer.Option(min=1, help="Short side in pixels; short for --set size=N.")]


def rate_of(text: str) -> Fraction:
    """Frames per second from a text such as `25`, `23.976` or `30000/1001`.

    Raises:
        UsageError: it is not a number between 0.01 and 1000.
    """
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not Fraction(1, 100) <= rate <= 1000:
        raise UsageError(f"--fps must be a number from 0.01 to 1000, such as 25 or 30000/1001, not {text!r}")
    return rate


@dataclass(frozen=True, kw_only=True)
class Zoom:
    """An endless zoom into a photograph.

    Attributes:
        photo: path or URL of the photograph, which is the first frame.
        output: the file or folder to write.
        frames: number of frames.
        zoom: how much larger everything becomes from one frame to the next, whatever `fps` is.
        rotate: clockwise rotation from one frame to the next, in degrees.
        share: share of the recipe's steps that each frame is dreamed with; at least one step for each octave.
        fps: frames per second.
        size: short side in pixels; None for that of the recipe.
    """

    photo: Annotated[str, typer.Option(help="The photograph: a path or URL.")]
    output: Output
    frames: Annotated[int, typer.Option(min=1, max=1_000_000, help="Number of frames.")] = 120
    zoom: Annotated[float, typer.Option(min=0.5, max=2, help="Enlargement from one frame to the next.")] = 1.03
    rotate: Annotated[float, typer.Option(min=-180, max=180, help="Degrees per frame, clockwise.")] = 0.0
    share: Annotated[float, _SHARE] = 0.1
    fps: Fps = "25"
    size: Size = None

    @property
    def decisive(self) -> dict[str, Any]:
        """The options that determine the frames."""
        return _without(asdict(self), "photo", "output", "fps", "size")


@dataclass(frozen=True, kw_only=True)
class Morph:
    """The way from a photograph to its dream.

    Attributes:
        photo: path or URL of the photograph, which is the first frame.
        output: the file or folder to write.
        every: steps of the dream from one frame to the next; None for 1, or as `seconds` requires.
        seconds: how long the way to the dream takes; None to use `every`.
        back: whether the frames also run backwards to the photograph.
        fps: frames per second.
        size: short side in pixels; None for that of the recipe.
    """

    photo: Annotated[str, typer.Option(help="The photograph: a path or URL.")]
    output: Output
    every: Annotated[int | None, typer.Option(min=1, help="Show every N-th step. Default: 1.")] = None
    seconds: Annotated[
        float | None,
        typer.Option(min=0.04, max=3600, help="Seconds from the photograph to its dream, instead of --every."),
    ] = None
    back: Annotated[bool, typer.Option("--back", help="Return to the photograph at the end.")] = False
    fps: Fps = "25"
    size: Size = None

    def __post_init__(self) -> None:
        if self.every and self.seconds:
            raise UsageError("--every and --seconds exclude each other: use one of them")

    @property
    def decisive(self) -> dict[str, Any]:
        """The options that determine the frames."""
        return {"seconds": self.seconds, "fps": self.fps} if self.seconds else {"every": self.every or 1}


@dataclass(frozen=True, kw_only=True)
class Video:
    """A dream of a video, each frame from the previous one.

    Attributes:
        input: path of the video, or of a folder with its frames.
        output: the file or folder to write.
        blend: share of the dream's change to one frame that is moved to the next frame; 0 dreams each frame alone.
        share: share of the recipe's steps for each frame after the first; at least one step for each octave.
        start: where to start, in seconds.
        limit: number of frames; None for all.
        fps: frames per second, only for a folder; None for 25.
        silent: whether the sound is left out.
        size: short side in pixels; None for that of the recipe.
    """

    input: Annotated[str, typer.Option(help="A video, or a folder of its frames.")]
    output: Annotated[str, typer.Option(help=_OUTPUT)]
    blend: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of the dream's change to one frame that the next frame starts with."),
    ] = 0.9
    share: Annotated[float, _SHARE] = 0.1
    start: Annotated[float, typer.Option(min=0, max=1_000_000, help="Start after this many seconds.")] = 0.0
    limit: Annotated[int | None, typer.Option(min=1, help="Take only the first N frames.")] = None
    fps: Annotated[str | None, typer.Option(help=f"{_FPS} Only for a folder. Default: 25.")] = None
    silent: Annotated[bool, typer.Option("--silent", help="Leave the sound out.")] = False
    size: Size = None

    @property
    def decisive(self) -> dict[str, Any]:
        """The options that determine the frames."""
        return _without(asdict(self), "input", "output", "fps", "silent", "size")


def _without(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}
