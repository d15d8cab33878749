"""How near the network that ships is to the full InceptionV3: `python -m tests.bench.compact WHAT...`.

curve: by bits, and for rounding to the nearest level beside GPTQ: bytes, errors and cosines of gradients, from the
statistics of a finished `compress_backbone` job. transfer: dreams made with either network, measured with the full one.
sheet: photographs, and below them what both dream. published: the seed project's published dreams, and below them those
of the preset `published` from the same images. All need the full weights and the photographs beside the project.
"""

from __future__ import annotations

import argparse
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.bench.common import SHARED, weights_file

Image = NDArray[np.float32]
PHOTOS = SHARED / "images" / "photos"
PUBLISHED = SHARED / "seed" / "natural_dreams"
OBJECTIVES = [["mixed3", "mixed5"], ["mixed7"]]


def main() -> None:
    """Runs the studies that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.compact", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", nargs="*", choices=[*STUDIES, []], metavar="WHAT", help=f"some of {', '.join(STUDIES)}")
    parser.add_argument("--job", type=Path, help="output of compress_backbone, for curve")
    parser.add_argument("--recipes", nargs="+", default=["natural-dreams", "classic"], help="for transfer and sheet")
    parser.add_argument("--photographs", type=int, default=16, help="for transfer; default: %(default)s")
    parser.add_argument("--sheet", type=Path, default=Path("sheet.png"), help="default: %(default)s")
    arguments = parser.parse_args()
    weights = weights_file()
    if weights is None or not PHOTOS.is_dir():
        print("compact: needs the full weights ($RAYDREAM_WEIGHTS) and photographs in ../shared", file=sys.stderr)
        sys.exit(2)
    if "curve" in arguments.what and not arguments.job:
        parser.error("curve needs --job")
    for what in arguments.what or ("transfer",):
        for line in STUDIES[what](arguments, str(weights)):
            print(line, flush=True)


def curve(arguments: Any, weights: str) -> Iterator[str]:
    """A table of bits, as Markdown."""
    from raydream.core.networks import compact, compression, quantization
    from raydream.jobs.compressing import finish, statistics
    from raydream.jobs.compressing.job import Compression
    from raydream.jobs.compressing.original import Original
    from raydream.jobs.train import photographs

    output = str(arguments.job)
    job = Compression(input=str(PHOTOS), output=output, weights=weights, through="mixed8")
    original, found = Original(job), photographs.Photographs.of(str(PHOTOS))
    shards = len([*(arguments.job / statistics.STATISTICS).glob("*.npz")])
    moments, sets = statistics.summed(output, shards), finish.held_out(original, found)
    titles = [f"{name}: {what}" for name in sets for what in ("error", *map("+".join, OBJECTIVES))]
    yield f"| bits | method | bytes | {' | '.join(titles)} |"
    yield f"|{'---|' * (3 + len(titles))}"
    for bits in (3, 4, 5, 6, 8):
        for method in (quantization.nearest, quantization.gptq):
            parts = compression.quantized(original.network, moments, bits, method)
            size = len(compact.dump(original.network, parts, "inception_v3", {}))
            other = compression.restored(original.network, parts)
            cells = [str(bits), method.__name__, f"{size:,}"]
            for images in sets.values():
                errors, cosines = compression.compare(original.network, other, OBJECTIVES, images)
                cells.append(" / ".join(f"{error:.3f}" for error in errors.values()))
                cells += [f"{cosine:.3f}" for cosine in cosines.values()]
            yield f"| {' | '.join(cells)} |"


def held_out(count: int) -> list[Image]:
    """Photographs, as they are, that the job never looked at: some of each eighth, evenly spread."""
    from raydream.data import codec

    names = sorted(PHOTOS.iterdir())[::8]
    return [codec.decode(names[i * len(names) // count].read_bytes()) for i in range(count)]


def dreams(images: list[Image], recipe: Any) -> list[Image]:
    """The dreams of a recipe, one after the other."""
    from raydream.assets import load_for
    from raydream.core.engine import dream
    from raydream.data import codec

    network = load_for(recipe)
    return [dream(codec.fit(image, recipe.size)[None], recipe, network, [i])[0] for i, image in enumerate(images)]


def transfer(arguments: Any, weights: str) -> Iterator[str]:
    """Mean objective of the full network on photographs, on its own dreams, and on those of the one that ships."""
    from raydream.assets import load_for
    from raydream.core.engine import measure
    from raydream.data import codec
    from raydream.recipe import Recipe

    images = held_out(arguments.photographs)
    for name in arguments.recipes:
        full, shipped = Recipe.load(name, {"weights": weights}), Recipe.load(name)
        judge = load_for(full)
        sets = ([codec.fit(image, full.size) for image in images], dreams(images, full), dreams(images, shipped))
        before, own, other = (np.mean([measure(i[None], full, judge)[0] for i in some]) for some in sets)
        yield (
            f"{name}, {len(images)} photographs: {before:.3f}; dreams of the full network {own:.3f} "
            f"({own / before:.2f} times), of the one that ships {other:.3f}: {other / own:.3f} of the full one's"
        )


def sheet(arguments: Any, weights: str) -> Iterator[str]:
    """Rows of photographs, of the full network's dreams, and of the shipped one's."""
    from raydream.data import codec
    from raydream.recipe import Recipe

    images, rows = held_out(6), []
    for name in arguments.recipes:
        sets = (images, dreams(images, Recipe.load(name, {"weights": weights})), dreams(images, Recipe.load(name)))
        rows += [np.concatenate([codec.fit(image, (299, 299)) for image in some], axis=1) for some in sets]
    arguments.sheet.write_bytes(codec.encode(np.concatenate(rows)))
    yield str(arguments.sheet)


def published(arguments: Any, weights: str) -> Iterator[str]:
    """A row of the seed's published dreams, one of each class, above ours from the same images at 30x30 pixels."""
    from raydream.data import codec
    from raydream.recipe import Recipe

    theirs = [sorted(folder.glob("*.jpg"))[1] for folder in sorted(PUBLISHED.iterdir()) if folder.is_dir()]
    with tarfile.open(SHARED / "images" / "natural_images_30px.tar") as tar:
        small = [tar.extractfile(f"natural_images/{path.parent.name}/{path.name}") for path in theirs]
        images = [codec.fit(codec.decode(file.read()), (299, 299)) for file in small if file]
    ours = [codec.decode(codec.encode(dream, "jpeg")) for dream in dreams(images, Recipe.load("published"))]
    rows = [np.concatenate(row, axis=1) for row in ([codec.decode(path.read_bytes()) for path in theirs], ours)]
    arguments.sheet.write_bytes(codec.encode(np.concatenate(rows)))
    yield str(arguments.sheet)


STUDIES = {"curve": curve, "transfer": transfer, "sheet": sheet, "published": published}


if __name__ == "__main__":
    main()
