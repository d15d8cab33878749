"""Makes the pictures for README.md and docs/presets.md: `make pictures`, some minutes on two cores.

They are landscapes that raydream paints, and their dreams with the presets, as JPEGs of quality 85 in docs/pictures.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from PIL import Image

from raydream import Recipe, load_for
from raydream.core.engine import dream
from raydream.data import codec, scenery

FOLDER = Path(__file__).parent / "pictures"
SHOWCASE = {"sea": 0, "mountains": 1, "dunes": 0}  # for README.md: kinds of scenes and their seeds
PRESETS = ("subtle", "classic", "vivid", "trip", "portrait", "natural-dreams", "published", "hd")
SCENE, SEED = "cumulus", 1  # for docs/presets.md
SHOWN = (400, 300)  # size in docs/presets.md, in pixels
LARGE = (1366, 1024)  # size of the landscape for `hd`, which is for large photographs


def main() -> None:
    """Writes all pictures."""
    FOLDER.mkdir(exist_ok=True)
    for kind, seed in SHOWCASE.items():
        painted = scenery.scene(kind, seed, 683, 512)
        save(painted, kind)
        for preset in ("classic", "vivid"):
            save(dreamed(painted, preset), f"{kind}-{preset}")
    painted = scenery.scene(SCENE, SEED, 683, 512)
    save(codec.fit(painted, SHOWN), "presets-painted")
    for preset in PRESETS:
        result = dreamed(scenery.scene(SCENE, SEED, *LARGE) if preset == "hd" else painted, preset)
        shown = SHOWN if result.shape[0] != result.shape[1] else (SHOWN[1], SHOWN[1])
        save(codec.fit(result, shown), f"presets-{preset}")


def dreamed(image: Any, preset: str) -> Any:
    """The dream of an image (height, width, 3) in [-1, 1]; prints how long it takes, loading included."""
    began = time.monotonic()
    recipe = Recipe.load(preset)
    result = dream(codec.fit(image, recipe.size)[None], recipe, load_for(recipe), [1])[0]
    print(f"{preset}: {time.monotonic() - began:.0f} s for {result.shape[1]}x{result.shape[0]}")
    return result


def save(image: Any, name: str) -> None:
    """Writes docs/pictures/NAME.jpg."""
    path = FOLDER / f"{name}.jpg"
    Image.fromarray(codec.to_uint8(image)).save(path, quality=85)
    print(path)


if __name__ == "__main__":
    main()
