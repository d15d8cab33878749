"""Makes raydream/weights/inception_v3.html: `make atlas`, half an hour on two cores. `raydream layers` prints its path.

It shows what the first channels of each layer of the network in the package respond to. Finished pictures are kept in
the folder `atlas`.
"""

from __future__ import annotations

from raydream import runtime, visualizing
from raydream.core.networks import backbones
from raydream.data.storage import Folder
from raydream.pages import atlas

CHANNELS = range(10)
SIDE = 128  # of the pictures on the page, in pixels: the page is part of the package


def main() -> None:
    """Writes the page."""
    runtime.worker()
    layers = backbones.channels_of("inception_v3", "compact")
    found = {layer: list(visualizing.pictures(Folder("atlas"), layer, CHANNELS, {})) for layer in layers}
    facts = {"channels": f"the first {len(CHANNELS)} of each layer", "more": "raydream visualize inception_v3 LAYER"}
    Folder("raydream/weights").write("inception_v3.html", atlas.page(found, "inception_v3", facts, SIDE))


if __name__ == "__main__":
    main()
