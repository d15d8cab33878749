"""Commands that dream from noise: imagine, visualize."""

from __future__ import annotations

import contextlib
import re
from typing import Annotated

import typer

from raydream.cli import commands, pictures
from raydream.cli.networks import Backbone
from raydream.cli.progress import Progress
from raydream.errors import UsageError


def imagine(
    output: pictures.Output = ".",
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Number of pictures.")] = 1,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Width and height in pixels. Default: the recipe's, or 512x512.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Another seed gives other pictures.")] = None,
    recipe: pictures.RecipeName = "noise",
    set: pictures.Set = None,
    force: pictures.Force = False,
) -> int:
    """Dream pictures from noise, without a photograph. The same command continues where it stopped."""
    from raydream import api, imagining
    from raydream.data.storage import Folder
    from raydream.recipe import Recipe

    values = commands.changes(set or [])
    if size is not None:
        values["size"] = _width_and_height(size)
    if seed is not None:
        values["seed"] = seed
    resolved, backbone = api.loaded(Recipe.load(recipe, values))
    folder, names = _targets(output, count)
    for number, name in enumerate(names):
        out, place = Folder(folder or "."), pictures.place(folder, name)
        if imagining.kept(out, name, resolved) is None:
            if out.exists(name) and not force:
                raise UsageError(f"{place} exists: use another name, or --force to overwrite it")
            imagining.dreamed(resolved, backbone, number).save(place)
        print(place)
    return commands.OK


def _targets(output: str, count: int) -> tuple[str, list[str]]:
    """The folder of -o, and the names of the pictures in it."""
    from raydream.data import storage

    if pictures.is_folder(output):
        return output, [f"imagined-{number:04d}.png" for number in range(count)]
    pictures.check_place(output, [""] * count, force=True)
    folder, name = storage.split(output)
    return folder, [name]


def _width_and_height(text: str) -> list[int]:
    if match := re.fullmatch(r"(\d+)x(\d+)", text):
        return [int(match[1]), int(match[2])]
    raise UsageError(f"--size must be WIDTHxHEIGHT in pixels, such as 768x512, not {text!r}")


def visualize(
    backbone: Backbone,
    layers: Annotated[
        list[str], typer.Argument(metavar="LAYER...", help="Layers; `raydream layers BACKBONE` lists them.")
    ],
    output: Annotated[str, typer.Option("--output", "-o", help="Folder for the pictures and the page.")] = "atlas",
    channels: Annotated[str, typer.Option(metavar="LIST", help="Channels, such as 0-15,40, or all.")] = "0-15",
    set: pictures.Set = None,
) -> int:
    """Show what the channels of layers respond to: a picture for each, a grid, and a page (index.html).

    The pictures are dreamed from noise. The same command continues where it stopped.
    """
    from raydream import assets, runtime, visualizing
    from raydream.core.networks import backbones
    from raydream.data import codec
    from raydream.data.storage import Folder
    from raydream.pages import atlas

    runtime.worker()
    values = {"backbone": backbone, **commands.changes(set or [])}
    recipes = [assets.resolve(visualizing.recipe_for(layer, 0, values)) for layer in dict.fromkeys(layers)]
    files = assets.locate(recipes[0].backbone, recipes[0].weights)
    counts = backbones.channels_of(files.backbone, files.weights)
    wanted = {layer: visualizing.chosen(channels, counts[layer]) for layer in dict.fromkeys(layers)}
    out = Folder(output)
    found: dict[str, list[atlas.Channel]] = {}
    with contextlib.closing(Progress(sum(map(len, wanted.values())))) as progress:
        for layer, numbers in wanted.items():
            found[layer] = []
            for channel in visualizing.pictures(out, layer, numbers, values):
                found[layer].append(channel)
                progress.advance(1)
            out.write(f"{layer}/grid.png", codec.encode(visualizing.grid(found[layer])))
    out.write("index.html", atlas.page(found, backbone, {"steps": str(recipes[0].steps)}))
    print(out.place("index.html"))
    return commands.OK


COMMANDS = {
    imagine: "imagine -n 4 --size 768x512 -o imagined",
    visualize: "visualize inception_v3 mixed4 --channels 0-15",
}
