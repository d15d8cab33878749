"""Commands that make pictures from noise: imagine, walk."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Protocol

import typer

from raydream.cli import commands, pictures
from raydream.data.motion_options import Fps
from raydream.errors import UsageError

if TYPE_CHECKING:
    from raydream.types import Size


class _Picture(Protocol):
    def save(self, path: str) -> None:
        """Writes the picture with its metadata."""


class _Target(NamedTuple):
    """The options -o, -n and --force."""

    output: str
    number: int
    force: bool

    def names(self) -> tuple[str, list[str]]:
        """The folder of -o, and the names of the pictures in it."""
        from raydream.data import storage

        if pictures.is_folder(self.output):
            return self.output, [f"imagined-{number:04d}.png" for number in range(self.number)]
        pictures.check_place(self.output, [""] * self.number, force=True)
        folder, name = storage.split(self.output)
        return folder, [name]


def complete_gan(start: str) -> list[str]:
    """The GANs of the package whose names begin with `start`, for the shell's completion."""
    from raydream import generators

    return [name for name in generators.shipped() if name.startswith(start)]


def imagine(
    output: pictures.Output = ".",
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Number of pictures.")] = 1,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="WxH", help="Width and height in pixels. Default: the recipe's, or 512x512; a GAN has one size."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Another seed gives other pictures.")] = None,
    gan: Annotated[
        str | None,
        typer.Option(
            metavar="GAN",
            help="Use a GAN, not a recipe: natural-dreams-64, or the path or URL of a generator.keras.",
            autocompletion=complete_gan,
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            "-r",
            help="A preset or a .yaml file. Default: noise.",
            autocompletion=pictures.complete_recipe,
        ),
    ] = None,
    set: pictures.Set = None,
    force: pictures.Force = False,
) -> int:
    """Dream pictures from noise, without a photograph. The same command continues where it stopped.

    A recipe dreams pictures of any size, step by step. A GAN, which has learnt from dreams, makes a picture of its own
    size in one pass.
    """
    wanted = None if size is None else _height_and_width(size)
    if gan is None:
        return _dreamed(recipe or "noise", commands.changes(set or []), _Target(output, count, force), wanted, seed)
    if recipe or set:
        raise UsageError("--gan: a GAN has no recipe: leave out --recipe and --set")
    return _generated(gan, _Target(output, count, force), wanted, seed or 0)


def _dreamed(recipe: str, values: dict[str, Any], target: _Target, size: Size | None, seed: int | None) -> int:
    from raydream import api, imagining
    from raydream.recipe import Recipe

    if size is not None:
        values["size"] = [size[1], size[0]]
    if seed is not None:
        values["seed"] = seed
    resolved, backbone = api.loaded(Recipe.load(recipe, values))
    inside = {"recipe_digest": resolved.digest}
    return _made(target, lambda number: inside, lambda number: imagining.dreamed(resolved, backbone, number))


def _generated(gan: str, target: _Target, size: Size | None, seed: int) -> int:
    from raydream import generators

    generator = generators.load(gan)
    if size not in (None, (generator.side, generator.side)):
        raise UsageError(f"--size: GAN {gan} makes pictures of {generator.side}x{generator.side} pixels only")
    inside = {"gan_sha256": generator.digest, "seed": seed}
    return _made(target, lambda number: inside | {"number": number}, lambda number: generator.picture(number, seed))


def _made(target: _Target, inside: Callable[[int], dict[str, Any]], make: Callable[[int], _Picture]) -> int:
    """Makes the pictures that are not there yet, and prints all names.

    Args:
        target: where the pictures go, and how many.
        inside: the metadata in the file of a picture that is there already.
        make: makes the picture with a number.
    """
    from raydream import imagining
    from raydream.data.storage import Folder

    folder, names = target.names()
    out, places = Folder(folder or "."), [pictures.place(folder, name) for name in names]
    there = [imagining.kept(out, name, inside(number)) is not None for number, name in enumerate(names)]
    for name, place, kept in zip(names, places, there, strict=True):
        if not (kept or target.force) and out.exists(name):
            raise UsageError(f"{place} exists: use another name, or --force to overwrite it")
    for number, (place, kept) in enumerate(zip(places, there, strict=True)):
        if not kept:
            make(number).save(place)
        print(place)
    return commands.OK


def _height_and_width(text: str) -> Size:
    if match := re.fullmatch(r"(\d+)x(\d+)", text):
        return int(match[2]), int(match[1])
    raise UsageError(f"--size must be WIDTHxHEIGHT in pixels, such as 768x512, not {text!r}")


def walk(
    gan: Annotated[
        str,
        typer.Argument(
            metavar="GAN",
            help="natural-dreams-64, or the path or URL of a generator.keras.",
            autocompletion=complete_gan,
        ),
    ],
    output: Annotated[str, typer.Option("--output", "-o", help="Output: .mp4, .webm, .webp or .gif.")],
    count: Annotated[int, typer.Option("--count", "-n", min=2, help="Number of pictures in the walk.")] = 8,
    seconds: Annotated[float, typer.Option(min=0.04, max=3600, help="Seconds from each picture to the next.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives other pictures.")] = 0,
    fps: Fps = "25",
    force: pictures.Force = False,
) -> int:
    """Walk through the pictures of a GAN: a looping animation that turns each picture into the next.

    The latents are those of `raydream imagine` with the same seed. The noise stays that of the first picture, so that
    fine details do not flicker.
    """
    from raydream import generators
    from raydream.data import animation
    from raydream.data.motion_options import rate_of

    rate = rate_of(fps)
    if animation.is_folder(output):
        raise UsageError(f"output {output} must end in {', '.join(animation.ENDINGS)}")
    animation.check_output(output, rate, force)
    generator = generators.load(gan)
    frames = max(1, round(seconds * rate))
    about = generators.metadata(generator, seed, walk={"pictures": count, "frames": frames})
    animation.write_images(Path(output), generator.walk(count, seed, frames), rate, about)
    print(output)
    return commands.OK


COMMANDS = {
    imagine: "imagine -n 4 --size 768x512 -o imagined",
    walk: "walk natural-dreams-64 -n 8 -o walk.webp",
}
