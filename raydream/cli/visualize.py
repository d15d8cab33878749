"""The command that shows what the channels of a layer respond to."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from raydream.cli import commands
from raydream.cli.pictures import Set
from raydream.cli.progress import Progress


def visualize(
    backbone: Annotated[
        str, typer.Argument(help="inception_v3, vgg16, vgg19, or the path or URL of a .keras or .npz file.")
    ],
    layer: Annotated[str, typer.Argument(help="A layer; `raydream layers` lists them.")],
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="Folder for the pictures. Default: LAYER-channels.")
    ] = None,
    channels: Annotated[str, typer.Option(metavar="LIST", help="Channels, such as 0-15,40, or all.")] = "0-15",
    set: Set = None,
) -> int:
    """Show what the channels of a layer respond to most: a picture for each, a grid, and a page (index.html).

    The pictures are dreamed from noise. The same command continues where it stopped.
    """
    from raydream import assets, runtime, visualizing
    from raydream.core.networks import backbones
    from raydream.data import codec
    from raydream.data.storage import Folder
    from raydream.pages import atlas

    runtime.worker()
    values = {"backbone": backbone, **commands.changes(set or [])}
    first = assets.resolve(visualizing.recipe_for(layer, 0, values))
    files = assets.locate(first.backbone, first.weights)
    wanted = visualizing.chosen(channels, backbones.channels_of(files.backbone, files.weights)[layer])
    out = Folder(output or f"{layer}-channels")
    progress = Progress(len(wanted))
    found = []
    with contextlib.closing(progress):
        for channel in visualizing.pictures(out, layer, wanted, values):
            found.append(channel)
            progress.advance(1)
    out.write("grid.png", codec.encode(visualizing.grid(found)))
    facts = {"backbone": backbone, "layer": layer, "steps": str(first.steps)}
    atlas.write(out, found, layer, facts)
    print(out.place(atlas.NAME))
    return commands.OK


COMMANDS = {visualize: "visualize inception_v3 mixed4 --channels 0-15"}
