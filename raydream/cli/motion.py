"""Commands that make moving pictures: zoom, morph, video."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from raydream.cli import commands, options
from raydream.cli.pictures import Force, RecipeName, Set
from raydream.data.motion_options import Morph, Video, Zoom


def _zoom(make: Callable[..., Zoom], *, recipe: RecipeName = "quick", set: Set = None, force: Force = False) -> int:
    """Zoom endlessly into a photograph: each frame is the previous one, enlarged and dreamed again.

    The same command continues an interrupted run.
    """
    from raydream import movies

    return _made(movies.zoom, make(), recipe, set, force)


def _morph(make: Callable[..., Morph], *, recipe: RecipeName = "classic", set: Set = None, force: Force = False) -> int:
    """Show the way from a photograph to its dream, step by step. The same command continues an interrupted run."""
    from raydream import movies

    return _made(movies.morph, make(), recipe, set, force)


def _video(make: Callable[..., Video], *, recipe: RecipeName = "quick", set: Set = None, force: Force = False) -> int:
    """Dream a video or a folder of frames. Each frame starts from the previous dream, to avoid flicker.

    The sound is kept in .mp4 and .webm. The same command continues an interrupted run.
    """
    from raydream import movies

    return _made(movies.video, make(), recipe, set, force)


def _made(work: Callable[..., None], settings: Any, recipe: str, set: list[str] | None, force: bool) -> int:
    """Makes a moving picture and prints where it is; returns the exit status."""
    from raydream.recipe import Recipe

    asked = Recipe.load(recipe, commands.changes(set or []))
    try:
        work(settings, asked, force)
    except KeyboardInterrupt:
        print("interrupted: finished frames are kept, the same command continues", file=sys.stderr)
        return commands.INTERRUPTED
    print(settings.output)
    return commands.OK


COMMANDS = {
    "zoom": (options.command(Zoom, _zoom, ["photo"]), "cat.jpg -o cat-zoom.mp4 --zoom 1.03 --rotate 0.5"),
    "morph": (options.command(Morph, _morph, ["photo"]), "cat.jpg -o cat-morph.webp --seconds 4 --back"),
    "video": (options.command(Video, _video, ["input", "output"]), "walk.mp4 walk-dream.mp4 --size 480"),
}
