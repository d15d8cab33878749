"""The files that a recipe names, brought to this machine."""

from __future__ import annotations

from raydream.data.storage import fetch
from raydream.recipe import Recipe


def with_local_files(recipe: Recipe) -> Recipe:
    """The recipe with the files behind its URLs brought to this machine."""
    weights = recipe.weights and fetch(recipe.weights, "weights")
    return recipe.changed(backbone=fetch(recipe.backbone, "backbone"), weights=weights)
