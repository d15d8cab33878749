"""Makes the pictures of README.md and the pages in docs, and the recipes in docs/presets.md: `make pictures`.

It takes half an hour on two cores; `python docs/pictures.py NAME...` makes only the pictures with these names.
Photographs and guides are painted and imagined by raydream. The pictures are JPEGs of quality 85 in docs/pictures.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from raydream import Recipe, api, generators, imagining, visualizing
from raydream.data import codec, scenery
from raydream.data.storage import Folder

FOLDER = Path(__file__).parent / "pictures"
PAGE = Path(__file__).parent / "presets.md"
PRESETS = ("subtle", "classic", "vivid", "eyes", "trip", "portrait", "natural-dreams", "published", "hd")
EXAMPLE_SIZE = (400, 300)  # of the presets' examples in docs/presets.md, in pixels

# Animations: name -> the arguments of `raydream` before the size.
MOVIES = {
    "zoom": ["zoom", "mountains.jpg", "--frames", "48", "--fps", "12"],
    "morph": ["morph", "dunes.jpg", "--seconds", "2", "--fps", "12", "--back"],
}


def main() -> None:
    """Makes all pictures, or those named on the command line."""
    FOLDER.mkdir(exist_ok=True)
    wanted = sys.argv[1:]
    for name, make in makers().items():
        if not wanted or name in wanted:
            began = time.monotonic()
            Image.fromarray(codec.to_uint8(make())).save(FOLDER / f"{name}.jpg", quality=85)
            print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
    for name, arguments in MOVIES.items():
        if not wanted or name in wanted:
            command = [sys.executable, "-m", "raydream", *arguments, "--size", "240", "-o", f"{name}.webp", "--force"]
            subprocess.run(command, cwd=FOLDER, check=True)
    PAGE.write_text(with_recipes(PAGE.read_text()))


def makers() -> dict[str, Callable[[], Any]]:
    """Name of a picture -> the function that makes it; pictures come after those that they are made from."""
    found: dict[str, Callable[[], Any]] = {}
    for kind in ("sea", "mountains", "dunes"):
        found[kind] = partial(scenery.scene, kind, 0, 683, 512)
        for preset in ("classic", "vivid"):
            found[f"{kind}-{preset}"] = partial(dreamed, kind, preset)
    found["presets-painted"] = partial(painted, EXAMPLE_SIZE)
    for preset in PRESETS:
        found[f"presets-{preset}"] = partial(example, preset)
    # From noise; these are also the guides and styles below.
    for name, objective in {"garden": ["mixed4", "mixed5"], "fur": "mixed4", "worms": "mixed3"}.items():
        found[name] = partial(imagined, objective)
    found["guided"] = partial(dreamed, "mountains", "guided", guides=["worms"])
    found["guided-local"] = partial(dreamed, "sea", "guided", guides=["worms:mask=left", "garden:mask=right"])
    found["mosaic"] = partial(channel, "mixed1", 9)
    found["style"] = partial(dreamed, "mountains", "style", styles=["mosaic"])
    found["channels"] = partial(channels, "mixed4", 8)
    found["gan"] = partial(generated, "natural-dreams-64", 12)
    return found


def painted(size: tuple[int, int]) -> Any:
    """The landscape of docs/presets.md."""
    return codec.fit(scenery.scene("cumulus", 1, 683, 512), size)


def example(preset: str) -> Any:
    """The dream of the landscape with a preset, at the size in docs/presets.md; `hd` is for large photographs."""
    landscape = scenery.scene("cumulus", 1, *((1366, 1024) if preset == "hd" else (683, 512)))
    dream = api.dream(landscape, preset, progress=False).array
    return codec.fit(dream, EXAMPLE_SIZE if dream.shape[0] != dream.shape[1] else (EXAMPLE_SIZE[1], EXAMPLE_SIZE[1]))


def imagined(objective: Any) -> Any:
    """A picture from noise."""
    recipe, backbone = api.loaded(Recipe.load("noise", {"objective": objective}))
    return imagining.dreamed(recipe, backbone, 0, progress=False).array


def channel(layer: str, number: int) -> Any:
    """What a channel responds to."""
    recipe, backbone = api.loaded(visualizing.recipe_for(layer, number, {"size": [512, 384]}))
    return imagining.dreamed(recipe, backbone, number, progress=False).array


def channels(layer: str, count: int) -> Any:
    """The first channels of a layer, in two rows; they are kept in the folder `atlas`, like those of atlas.py."""
    found = visualizing.pictures(Folder("atlas"), layer, range(count), {})
    pictures = [codec.fit(codec.decode(one.picture), (160, 160)) for one in found]
    rows = pictures[: count // 2], pictures[count // 2 :]
    return np.concatenate([np.concatenate(row, axis=1) for row in rows])


def generated(gan: str, count: int) -> Any:
    """Pictures of a GAN, in two rows, at twice their size."""
    images = generators.load(gan).images(range(count), 0).repeat(2, axis=1).repeat(2, axis=2)
    return np.concatenate([np.concatenate(row, axis=1) for row in np.split(images, 2)])


def dreamed(name: str, preset: str, guides: Sequence[str] = (), styles: Sequence[str] = ()) -> Any:
    """The dream of a picture, with other pictures as guides or styles."""
    recipe = Recipe.load(preset)
    for kind, images in (("guide", guides), ("style", styles)):
        recipe = recipe.with_images(kind, [re.sub(r"^(\w+)", rf"{FOLDER}/\1.jpg", image) for image in images])
    return api.dream(FOLDER / f"{name}.jpg", recipe, progress=False).array


def with_recipes(page: str) -> str:
    """The page with the YAML of each preset after the line `<summary>NAME.yaml</summary>`."""

    def filled(match: re.Match[str]) -> str:
        text = (resources.files("raydream") / "recipes" / f"{match[2]}.yaml").read_text("utf-8")
        lines = [line for line in text.splitlines(keepends=True) if not line.startswith("#")]
        return f"{match[1]}{''.join(lines)}```"

    return re.sub(r"(<summary>([\w-]+)\.yaml</summary>\n\n```yaml\n)(?:.*?)```", filled, page, flags=re.DOTALL)


if __name__ == "__main__":
    main()
