"""Commands about networks and recipes: layers, recipes."""

from __future__ import annotations

from typing import Annotated

import typer

from raydream.errors import UsageError

Backbone = Annotated[
    str,
    typer.Argument(metavar="BACKBONE", help="inception_v3, vgg16, vgg19, or the path or URL of a .keras or .npz file."),
]


def layers(
    backbone: Backbone,
    weights: Annotated[
        str | None,
        typer.Option(help="compact, imagenet, or a weights file. Default: compact for inception_v3, else imagenet."),
    ] = None,
) -> None:
    """List the layers, and the classes of a classifier, that an objective can name."""
    from importlib import resources

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from raydream import assets, runtime
    from raydream.core.networks import backbones, classes, loading

    if weights and backbone.endswith((".keras", ".npz")):
        raise UsageError(f"--weights: {backbone} contains its own weights: leave the option out")
    runtime.import_tensorflow()
    table = Table("layer", "channels", "stride", "receptive field", title=Text(backbone))
    fetched = weights and assets.fetch(weights, "weights")
    file = assets.fetch(backbone, "backbone")
    for name, channels, field in backbones.describe(file, fetched):
        table.add_row(Text(name), str(channels), f"{field.stride} px", f"{field.width} px")
    Console().print(table)
    named = backbone in loading.ARCHITECTURES and weights in (None, "compact")
    page = resources.files("raydream") / "weights" / f"{backbone}.html"
    see = f"see {page}" if named and page.is_file() else f"use raydream visualize {backbone} LAYER"
    Console().print(Text(f"For what the channels respond to, {see}"), soft_wrap=True)
    if names := classes.classes_of(file):
        Console().print(Text(f"{len(names)} classes: {', '.join(names)}"))


def recipes(
    keys: Annotated[
        bool, typer.Option("--keys", help="Explain the keys of a recipe and the terms of its objective instead.")
    ] = False,
) -> None:
    """List the recipes that come with raydream."""
    from importlib import resources

    from rich.console import Console

    from raydream.cli import keys as explained
    from raydream.recipe import presets

    console = Console()
    if keys:
        explained.show(console)
        return
    for name in presets():
        text = (resources.files("raydream") / "recipes" / f"{name}.yaml").read_text("utf-8")
        head = [line[1:].strip() for line in text.splitlines() if line.startswith("#")]
        console.print(f"[bold]{name}[/]")
        console.print(f"  {' '.join(head)}\n", highlight=False, markup=False)


COMMANDS = {layers: "layers inception_v3", recipes: "recipes"}
