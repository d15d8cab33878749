"""How much more like its guide does a dream become? What does a second pass over the tiles cost?

python -m tests.bench.guides pair PHOTOGRAPH GUIDE GUIDE     # a photograph with each of two guides
python -m tests.bench.guides local FOLDER [--pairs 20]       # two guides, each in its own part, on photographs
python -m tests.bench.guides passes PHOTOGRAPH               # CPU seconds of a step with one and with two passes

The figures of guides are cosines between the channel means of `mixed5` on a dream, or on a part of it, and on a guide
image at the size of guides. `unguided` is a dream with the mean of `mixed5` as its objective.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from raydream import api
from raydream.data import codec
from raydream.recipe import Recipe

LAYER = "mixed5"
SMALL = {"size": 224, "octaves": 3, "steps": [30, 20, 10]}  # of the preset `guided`, for many dreams
PARTS = (("left", "right"), ("top", "bottom"), ("disc", "around"))


def main() -> None:
    """Runs one of the three measurements."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.guides", description="Guides and passes.")
    parser.add_argument("what", choices=("pair", "local", "passes"))
    parser.add_argument("files", nargs="+")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("guides"), help="folder for the dreams")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    {"pair": pair, "local": local, "passes": passes}[given.what](given)


def pair(given: argparse.Namespace) -> None:
    """Prints the cosine of each dream with each guide."""
    photograph, *guides = given.files
    dreams = {"unguided": dreamed(photograph, (), {"objective": LAYER})}
    dreams |= {Path(guide).stem: dreamed(photograph, (guide,), {}) for guide in guides}
    for name, image in dreams.items():
        save(image, given.out / f"{name}.png")
        print(f"{name:<12}", *(f"{Path(guide).stem} {cosine(means(image), means(guide)):.3f}" for guide in guides))


def local(given: argparse.Namespace) -> None:
    """Prints, for each photograph and part, the cosines with the part's own guide, unguided and with the other."""
    names = sorted(map(str, Path(given.files[0]).glob("*.jpg")))
    disc(given.out)
    good = []
    for number in range(given.pairs):
        photograph, *guides = (names[(number * 3 + shift) % len(names)] for shift in (0, 7, 13))
        masks = PARTS[number % len(PARTS)]
        words = [f"{guide}:mask={mask_name(mask, given.out)}" for guide, mask in zip(guides, masks, strict=True)]
        square = {**SMALL, "size": [224, 224]}
        plain, image = dreamed(photograph, (), {**square, "objective": LAYER}), dreamed(photograph, words, square)
        save(image, given.out / f"local-{number:02d}.png")
        for mask, own, other in zip(masks, guides, reversed(guides), strict=True):
            here = [means(picture, mask) for picture in (image, plain)]
            figures = [cosine(here[0], means(own)), cosine(here[1], means(own)), cosine(here[0], means(other))]
            good.append(figures[0] >= figures[1] + 0.1 and figures[0] > figures[2])
            print(
                number, f"{mask:<7}", "own {:.3f}  unguided {:.3f}  other {:.3f}".format(*figures), good[-1], flush=True
            )
    both = [all(two) for two in zip(good[::2], good[1::2], strict=True)]
    print(f"{sum(good)} of {len(good)} parts; pairs with both: {sum(both)} of {len(both)}")


def passes(given: argparse.Namespace) -> None:
    """CPU seconds of a dream in tiles with a linear objective, and with one that needs two passes."""
    photograph = api.photograph(given.files[0])
    plan = {"size": 800, "octaves": 1, "steps": 4, "tile": 300}
    objectives = {
        "one pass": LAYER,
        "two passes": [{"layer": LAYER}, {"kind": "content", "layer": LAYER, "weight": 0.0}],
    }
    for _, (name, objective) in itertools.product(range(4), objectives.items()):
        recipe, backbone = api.loaded(Recipe.load("classic", {**plan, "objective": objective}))
        began = time.process_time()
        api.dreamed(photograph, recipe, backbone, progress=False)
        print(f"{name:<11} {time.process_time() - began:.2f} s", flush=True)


def dreamed(photograph: str, guides: Sequence[str], changes: dict[str, object]) -> NDArray[np.float32]:
    """The dream of a photograph with the preset `guided`."""
    recipe = Recipe.load("guided", changes).with_images("guide", guides)
    return api.dream(photograph, recipe, progress=False).array


def means(picture: str | NDArray[np.float32], part: str = "") -> NDArray[np.float64]:
    """The channel means of the layer on a dream, or on a part of it, or on a guide (a file) at the size of guides."""
    from raydream.core import masks

    image = codec.fit(api.photograph(picture).image, 224) if isinstance(picture, str) else picture
    _, backbone = api.loaded(Recipe(objective=LAYER))
    features = np.asarray(backbone.activations(image[None])[0])[0]
    if not part:
        return features.mean(axis=(0, 1), dtype=np.float64)
    size = features.shape[:2]
    inside = masks.half(part, size) if part in masks.HALVES else _disc(part, size)
    return np.asarray((features * inside[..., None]).sum(axis=(0, 1)) / inside.sum(), np.float64)


def cosine(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """The cosine of the angle between two vectors."""
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def _disc(part: str, size: tuple[int, ...]) -> NDArray[np.float64]:
    rows, columns = (np.linspace(-1, 1, n) for n in size[:2])
    inside = (rows[:, None] ** 2 + columns[None] ** 2 < 0.6).astype(np.float64)
    return inside if part == "disc" else 1.0 - inside


def disc(folder: Path) -> None:
    """Writes the masks `disc` and `around` as images."""
    for part in PARTS[2]:
        Image.fromarray((255 * _disc(part, (224, 224))).astype(np.uint8)).save(folder / f"{part}.png")


def mask_name(part: str, folder: Path) -> str:
    """A mask's name in a recipe."""
    return str(folder / f"{part}.png") if part in PARTS[2] else part


def save(image: NDArray[np.float32], path: Path) -> None:
    """Writes a picture as PNG."""
    Image.fromarray(codec.to_uint8(image)).save(path)


if __name__ == "__main__":
    main()
