"""Contender `engine loop`: what the job does without Ray: decode, engine.dream, encode, one thread.

One process of several that run at once: process `part` takes every `actors`-th photograph, and says when each was
finished (seconds since the epoch), as the job's marks do.
"""

import time
from typing import Any

from tests.bench import common


def play(task: common.Task) -> dict[str, Any]:
    """When the first dream began, and when each was on disk."""
    from raydream.assets import load_for
    from raydream.core import engine
    from raydream.data import codec

    recipe = task.recipe()
    backbone = load_for(recipe)
    out = task.place / f"loop-{task.round}-{task.part}"
    out.mkdir()
    began, finished = time.time(), []
    for photo in sorted((task.place / "photos").iterdir())[task.part :: task.actors]:
        image = codec.fit(codec.decode(photo.read_bytes()), recipe.size)
        (dream,) = engine.dream(image[None], recipe, backbone, [recipe.seed_of(photo.name)])
        (out / f"{photo.stem}.png").write_bytes(codec.encode(dream))
        finished.append(time.time())
    return {"began": began, "finished": finished}


if __name__ == "__main__":
    common.main(play)
