"""The command for style transfer (Gatys et al., "Image Style Transfer", 2016)."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from raydream.cli import commands, pictures


def style(
    image: Annotated[str, typer.Argument(metavar="PHOTOGRAPH", help="A path or URL.")],
    styles: Annotated[
        list[str],
        typer.Argument(
            metavar="STYLE...",
            help="Images with a style; IMAGE:mask=left:weight=2 limits one to a part and doubles its weight.",
        ),
    ],
    output: pictures.Output = ".",
    recipe: pictures.RecipeName = "style",
    content: Annotated[
        float | None, typer.Option(min=0, help="How much of the photograph to keep. Default: as in the recipe (0.5).")
    ] = None,
    dream: Annotated[
        list[str] | None,
        typer.Option(metavar="TERM", help="Also dream a layer, or a term such as '{layer: mixed5, weight: 2}'."),
    ] = None,
    set: pictures.Set = None,
    force: pictures.Force = False,
) -> int:
    """Paint a photograph in the style of other images. The recipe needs style terms, as in style and style-vgg19."""
    from raydream import api
    from raydream.core.objectives import Content, Objective
    from raydream.recipe import Recipe

    pictures.check_place(output, [image], force)
    asked = Recipe.load(recipe, commands.changes(set or [])).with_images("style", styles)
    terms = asked.objective.terms
    if content is not None:
        terms = tuple(replace(term, weight=content) if isinstance(term, Content) else term for term in terms)
    if dream:
        also = [commands.yaml_value("--dream", term) for term in dream]
        terms += Recipe.parse({"objective": also}, where="--dream").objective.terms
    photograph = api.photograph(image)
    resolved, backbone = api.loaded(asked.changed(objective=Objective(terms)))
    print(pictures.saved(api.dreamed(photograph, resolved, backbone), output))
    return commands.OK


COMMANDS = {style: "style photo.jpg painting.jpg -o styled.png"}
