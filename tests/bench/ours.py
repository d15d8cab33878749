"""Contender `ours`: raydream.core.engine.dream, one image, all cores."""

from typing import Any

import numpy as np

from tests.bench import common


def play(task: common.Task) -> dict[str, Any]:
    """Seconds of one dream."""
    from raydream.assets import load_for
    from raydream.core import engine

    recipe, image = task.recipe(), task.image()
    backbone = load_for(recipe)

    def dream(steps: int) -> Any:
        return engine.dream(image[None], recipe.changed(steps=steps), backbone, [task.round])

    seconds, dreamed = common.timed(dream, task.steps)
    return {"seconds": seconds, "objective": float(engine.measure(np.asarray(dreamed), recipe, backbone)[0])}


if __name__ == "__main__":
    common.main(play)
