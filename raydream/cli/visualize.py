"""The command that shows what the channels of a network respond to: visualize."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from raydream.cli import commands, pictures
from raydream.cli.networks import Backbone
from raydream.cli.progress import Progress


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


COMMANDS = {visualize: "visualize inception_v3 mixed4 --channels 0-15"}
