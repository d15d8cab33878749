"""Commands that make single pictures: dream, replay, scenery."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raydream.cli import commands
from raydream.errors import UsageError

if TYPE_CHECKING:
    from raydream.api import Dream
    from raydream.generators import Picture

_PAINTED = (683, 512)  # pixels; most presets use the same short side

Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a value of the recipe, such as steps=30; `raydream recipes --keys` explains all. Can be repeated.",
    ),
]
Output = Annotated[str, typer.Option("--output", "-o", help="Output: a file (.png, .jpg, .webp) or a folder.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]


def complete_recipe(start: str) -> list[str]:
    """The presets that begin with `start`, for the shell's completion."""
    from raydream.recipe import presets

    return [name for name in presets() if name.startswith(start)]


RecipeName = Annotated[
    str, typer.Option("--recipe", "-r", help="A preset or a .yaml file.", autocompletion=complete_recipe)
]


def dream(
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Photographs: paths or URLs.")],
    output: Output = ".",
    recipe: RecipeName = "classic",
    guide: commands.Guide = None,
    set: Set = None,
    force: Force = False,
) -> int:
    """Dream photographs. If -o is a folder, a new dream never replaces an old one: it gets a number.

    A broken photograph is reported, and the others are still dreamed (exit status 1).
    """
    from raydream import api, runtime
    from raydream.data import storage
    from raydream.recipe import Recipe

    images = list(dict.fromkeys(images))
    _check_images(images)
    check_place(output, images, force)
    asked = Recipe.load(recipe, commands.changes(set or [])).with_images("guide", guide or [])
    # A single photograph is read before the network is loaded, so that an error is shown at once.
    read = {images[0]: storage.read(images[0], what="image")} if len(images) == 1 else {}
    resolved, backbone = api.loaded(asked)
    runtime.advise_precision(asked.precision, gpu=runtime.has_gpu())
    failed = 0
    for source in images:
        try:
            data = read.get(source) or storage.read(source, what="image")
            photograph = api.from_bytes(data, storage.split(source)[1])
            print(saved(api.dreamed(photograph, resolved, backbone), output))
        except UsageError as error:
            print(commands.one_line(f"raydream: {source}: {error}"), file=sys.stderr)
            failed += 1
    return commands.FAILED if failed else commands.OK


def _check_images(images: list[str]) -> None:
    for image in images:
        if "://" not in image and Path(image).is_dir():
            raise UsageError(f"{image} is a folder: use `raydream dataset {image} OUT`")


def check_place(output: str, images: list[str], force: bool) -> None:
    """Raises a `UsageError` if -o cannot be the folder or the picture of these images."""
    from raydream.data import storage

    if is_folder(output):
        storage.check_writable(storage.join(output, "x.png"))
        return
    if len(images) > 1:
        raise UsageError(f"-o {output} is one picture, but there are {len(images)} images: use a folder")
    _check_output(output, {images[0]: "photograph"}, force)


def _check_output(output: str, inputs: dict[str, str], force: bool) -> None:
    """Raises a `UsageError` if -o cannot be written, needs --force, or is an input (name -> what it is)."""
    from raydream import api
    from raydream.data import storage

    api.picture_format(output)
    for name, what in inputs.items():
        if storage.same_file(output, name):
            raise UsageError(f"-o {output} is the {what} itself")
    storage.check_writable(output)
    if not force and storage.exists(output):
        raise UsageError(f"-o {output} exists: use another name, or --force to overwrite it")


def is_folder(output: str) -> bool:
    """Whether -o names a folder, not a picture."""
    return not PurePath(output).suffix or output.endswith(("/", "\\")) or os.path.isdir(output)


def saved(dream: Dream, output: str) -> str:
    """Saves a dream as the file or in the folder of -o; returns its path or URL."""
    if is_folder(output):
        return _save_numbered(dream, output)
    dream.save(output)
    return output


def _save_numbered(dream: Dream, folder: str) -> str:
    """Saves a dream under the first unused name of `cat-dream.png`, `cat-dream-2.png`, ...; returns its path or URL."""
    from raydream.data import storage

    stem = f"{PurePath(dream.id).stem}-dream"
    names = (f"{stem}{number}.png" for number in ("", *map("-{}".format, range(2, 100_000))))
    name = storage.write_first_free(folder, names, dream.encoded())
    return place(folder, name)


def place(folder: str, name: str) -> str:
    """The path or URL of a file in a folder, for messages."""
    from raydream.data import storage

    return storage.join(folder, name) if "://" in folder else str(PurePath(folder, name))


def replay(
    image: Annotated[str, typer.Argument(metavar="DREAM", help="A dream made by raydream.")],
    source: Annotated[
        str | None, typer.Option(help="Its photograph, or the folder that contains it. Default: the dream's folder.")
    ] = None,
    output: Annotated[str | None, typer.Option("--output", "-o", help="Write the new dream to this file.")] = None,
    set: Set = None,
    force: Force = False,
) -> int:
    """Make a dream again from its metadata and its photograph, and compare the two (exit status 1 if they differ).

    If the dream was made with a network from a path or URL, a file with the same digest must be on this machine.
    Otherwise use --set backbone=... (or --set gan=... for a picture of a GAN).
    """
    from raydream import api, generators
    from raydream.data import codec, storage

    if output:
        _check_output(output, {image: "dream", **({source: "photograph"} if source else {})}, force)
    data = storage.read(image, what="dream")
    dream: Dream | Picture
    if (inside := codec.read_metadata(data) or {}).get("gan"):
        if source:
            raise UsageError(f"--source: {image} was made from noise by a GAN: leave the option out")
        dream = generators.remake(inside, commands.changes(set or []), image)
    else:
        dream = _dreamed_again(data, image, source, commands.changes(set or []))
    if output:
        dream.save(output)
    return _compared(data, api.from_bytes(data, image).image, dream)


def _dreamed_again(data: bytes, image: str, source: str | None, changes: dict[str, Any]) -> Dream:
    """The dream in the bytes of a file `image`, made again from its photograph, or from noise if it began with that."""
    from raydream import api, imagining
    from raydream.data import provenance
    from raydream.recipe import Recipe

    inside = provenance.found_inside(data, image)
    id, of_noise = inside["id"], imagining.is_noise(inside["id"])
    photograph = None if of_noise else api.from_bytes(provenance.photograph(image, source, inside), id)
    resolved, backbone = api.loaded(provenance.checked_recipe(inside, changes, image))
    seed = resolved.seed_of(id) if changes else inside["seed"]
    photograph = photograph or imagining.noise(id, seed, imagining.size_of(resolved))
    photograph = replace(photograph, digest=inside["source_sha256"])
    dream = api.dreamed(photograph, resolved, backbone, seed=seed)
    return replace(dream, recipe=provenance.renamed(resolved, Recipe.parse(inside["recipe"], changes)))


def _compared(data: bytes, before: Any, dream: Dream | Picture) -> int:
    """Prints how a dream differs from the picture in `data`, whose pixels are `before`; returns the exit status."""
    import numpy as np

    from raydream import api
    from raydream.data import codec

    # JPEG and WebP are lossy: encode the new dream in the same format before comparing.
    format: Any = "png" if data.startswith(b"\x89PNG") else "webp" if data[8:12] == b"WEBP" else "jpeg"
    again = codec.to_uint8(api.from_bytes(codec.encode(dream.array, format, dream.metadata), dream.id).image)
    pixels = codec.to_uint8(before)
    if pixels.shape != again.shape:
        print(f"differs: {pixels.shape[1]}x{pixels.shape[0]} then, {again.shape[1]}x{again.shape[0]} now")
        return commands.FAILED
    apart = np.abs(pixels.astype(int) - again)
    print("identical" if not apart.any() else f"differs by {apart.mean():.2f} of 255, at most {apart.max()}")
    return commands.FAILED if apart.any() else commands.OK


def scenery(
    output: Annotated[str, typer.Argument(help="Folder for the pictures.")],
    count: Annotated[int, typer.Option(min=1, help="Number of pictures.")] = 12,
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives other pictures.")] = 0,
) -> None:
    """Paint skies and landscapes in class folders, as input for dreams without photographs."""
    from raydream.data import codec, scenery, storage

    folder = storage.Folder(output)
    for name, image in scenery.collection(count, seed, *_PAINTED):
        folder.write(name, codec.encode(image))
    print(output)


COMMANDS = {
    dream: "dream cat.jpg -o cat-dream.png --recipe classic",
    replay: "replay cat-dream.png --source cat.jpg",
    scenery: "scenery landscapes --count 24",
}
