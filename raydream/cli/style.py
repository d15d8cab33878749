"""The command for style transfer."""

from __future__ import annotations

from typing import Annotated

import typer

from raydream.cli import commands, pictures


def style(
    image: Annotated[str, typer.Argument(metavar="PHOTOGRAPH", help="A path or URL.")],
    styles: Annotated[
        list[str],
        typer.Argument(
            metavar="STYLE...", help="Images with a style; IMAGE:weight=2:mask=left weights or limits one of several."
        ),
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", help="Output: a file (.png, .jpg, .webp) or a folder.")
    ] = ".",
    content: Annotated[float, typer.Option(min=0, help="Weight of what the photograph shows.")] = 0.5,
    set: pictures.Set = None,
    force: pictures.Force = False,
) -> int:
    """Paint a photograph in the style of other images.

    `--set objective=[mixed5]` adds a dream, and `--set backbone=vgg19` uses the network of the method's paper.
    """
    from raydream import api, styling

    pictures.check_place(output, [image], force)
    recipe = styling.recipe_for(styles, content, commands.changes(set or []))
    photograph = api.photograph(image)
    resolved, backbone = api.loaded(recipe)
    print(pictures.saved(api.dreamed(photograph, resolved, backbone), output))
    return commands.OK


COMMANDS = {style: "style photo.jpg painting.jpg -o styled.png"}
