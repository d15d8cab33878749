"""Peak memory of dreaming a large image, as one actor of the data set job does: `python -m tests.bench.memory`.

Two images, one four times the size of the other, each in a fresh process with one thread: what an image costs is
the difference of the two peaks (VmHWM of /proc/self/status), and the goal is at most 4 copies of it in float32.
Tiles keep the network's share the same for both. The peak does not depend on the number of steps beyond the second.
"""

from __future__ import annotations

import argparse
import json
import pickle
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench import common
from tests.bench.common import ONE_THREAD, SHARED, finished

PHOTO = SHARED / "images" / "large" / "hamburger_2848x2136.jpg"
COPIES = 4


def main() -> None:
    parser = argparse.ArgumentParser(description="Peak memory of dreaming a large image, in an actor's way.")
    parser.add_argument("--image", type=Path, default=PHOTO, help="default: %(default)s")
    parser.add_argument("--carry", choices=("blend", "detail"), default="detail")
    parser.add_argument(
        "--backbone", help="a .keras file in place of InceptionV3, such as a small one for a quick look"
    )
    parser.add_argument("--layer", default="mixed5")
    arguments = parser.parse_args()
    weights = arguments.backbone or common.weights()
    if not arguments.image.is_file():
        print(f"memory: no image {arguments.image}: name one with --image", file=sys.stderr)
        sys.exit(2)
    options = {"carry": arguments.carry, "backbone": arguments.backbone, "layer": arguments.layer, "weights": weights}
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        for factor in (1, 2):
            payload = Path(folder) / f"{factor}.pickle"
            payload.write_bytes(_payload(arguments.image, factor))
            figures += finished("memory", [{**options, "payload": str(payload)}], ONE_THREAD)
            print(_line(figures[-1]), flush=True)
    print(_verdict(*figures))


def _payload(path: Path, factor: int) -> bytes:
    """The image, enlarged, as the load stage hands it to an actor."""
    import numpy as np
    from PIL import Image

    from raydream.jobs.dreaming.stages import Item

    photo = Image.open(path).convert("RGB")
    pixels = np.asarray(photo.resize((photo.width * factor, photo.height * factor), Image.Resampling.BICUBIC))
    return pickle.dumps([Item(id=path.name, name=path.name, image=pixels)], protocol=5)


def _line(figures: dict[str, Any]) -> str:
    height, width = figures["size"]
    return (
        f"{width}x{height} ({width * height / 1e6:.1f} MP): peak {figures['peak']:,.0f} MB, "
        f"of that {figures['loaded']:,.0f} MB before the image, in {figures['seconds']:.0f} s"
    )


def _verdict(small: dict[str, Any], large: dict[str, Any]) -> str:
    pixels = large["size"][0] * large["size"][1] - small["size"][0] * small["size"][1]
    copy, more = pixels * 3 * 4 / 1e6, large["peak"] - small["peak"]
    return (
        f"difference {more:,.0f} MB for {pixels / 1e6:.1f} MP, {more / copy:.1f} float32 copies of it: "
        f"{'met' if more <= COPIES * copy else 'MISSED'} (goal: at most {COPIES} copies, {COPIES * copy:,.0f} MB)"
    )


def measured(payload: str, carry: str, backbone: str | None, layer: str, weights: str) -> dict[str, Any]:
    """In the fresh process: dreams the payload as `stages.Dream` does; peaks in MB."""
    from raydream.jobs.dreaming import stages
    from raydream.recipe import Recipe

    network = {"backbone": backbone} if backbone else {"weights": weights}
    objective = [layer] if backbone else ["mixed3", layer]
    # The second step of the last octave is the first that starts with a gradient left over from another.
    recipe = {"objective": objective, "octaves": 2, "steps": [1, 2], "tile": 512, "carry": carry, **network}
    dream, device = stages.dreaming(Recipe.parse(recipe), None)
    loaded, began = _peak(), time.monotonic()
    (item,) = dream(pickle.loads(Path(payload).read_bytes()))
    pickle.dumps(([item], device), protocol=5)
    seconds = time.monotonic() - began
    return {"size": item.dream.shape[:2], "loaded": loaded, "peak": _peak(), "seconds": seconds}


def _peak() -> float:
    """VmHWM of this process, in MB (10**6 bytes)."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024 / 1e6


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].startswith("{"):
        print(json.dumps(measured(**json.loads(sys.argv[1]))))
    else:
        main()
