"""Style transfer: a photograph in the style of other images (Gatys et al., "Image Style Transfer", 2016)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from raydream.errors import UsageError
from raydream.recipe import Recipe


class _Layers(NamedTuple):
    style: tuple[str, ...]
    content: str


# Of VGG: those of the paper. Of InceptionV3, whose first layers have no names: chosen by the look of the pictures.
_LAYERS = {
    "inception_v3": _Layers(("mixed0", "mixed1", "mixed2", "mixed3"), "mixed3"),
    "vgg16": _Layers(tuple(f"block{n}_conv1" for n in range(1, 6)), "block4_conv2"),
    "vgg19": _Layers(tuple(f"block{n}_conv1" for n in range(1, 6)), "block4_conv2"),
}
RECIPE: dict[str, Any] = {
    "size": 512,
    "octaves": 3,
    "octave_scale": 1.6,
    "steps": [80, 60, 30],
    "optimizer": "adam",
    "step_size": 0.03,
    "carry": "blend",
    "blend": 0.0,
}


def recipe_for(styles: Sequence[str], content: float, values: Mapping[str, Any]) -> Recipe:
    """The recipe for some styles.

    Args:
        styles: paths or URLs of images, with options as in `IMAGE:weight=2:mask=left`; see `Recipe.guided`.
        content: weight of the photograph's content; a style has 1 for each layer.
        values: values of the recipe that differ from `RECIPE`; terms in `objective` are added, such as dreams.

    Raises:
        UsageError: a value or option is wrong, or the backbone is a file, whose layers are not known.
    """
    values = {**RECIPE, **values}
    backbone = values.get("backbone", "inception_v3")
    if backbone not in _LAYERS:
        raise UsageError(f"style transfer needs one of {', '.join(_LAYERS)} as backbone, not {backbone!r}")
    if backbone != "inception_v3":
        values = {"pooling": "average", **values}
    layers = _LAYERS[backbone]
    plain = Recipe.parse({**values, "objective": list(layers.style)}, where="style")
    terms = []
    for term in plain.guided(styles).as_dict()["objective"]:
        if "match" in term:
            raise UsageError("match is an option of guides, not of styles")
        terms.append({"style" if key == "guide" else key: value for key, value in term.items()} | {"kind": "style"})
    wanted = {"kind": "content", "layer": layers.content, "weight": content}
    more = values.get("objective") or []
    return Recipe.parse(
        values, {"objective": [wanted, *terms, *(more if isinstance(more, list) else [more])]}, where="style"
    )
