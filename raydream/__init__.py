"""Turns photographs into Deep Dreams, and collections of photographs into dream data sets.

    import raydream
    recipe = raydream.Recipe.load("classic")
    backbone = raydream.load_for(recipe)
    dreams = raydream.dream(images, recipe, backbone, seeds=[1])

Public names load on first use, so that importing raydream imports neither TensorFlow nor Ray.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# The one place that tunes TensorFlow, before anything can import it; what the user has set stands.
# Without AVX-512 TensorFlow leaves oneDNN's convolutions off, which costs a quarter of the speed.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# oneDNN's own memory pool never gives back what a large image took.
os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# Ray gives each worker its share of the cores in OMP_NUM_THREADS, which TensorFlow's own pools ignore.
if "OMP_NUM_THREADS" in os.environ:
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", os.environ["OMP_NUM_THREADS"])
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", os.environ["OMP_NUM_THREADS"])

if TYPE_CHECKING:
    from raydream.core.engine import Step, dream, dream_steps
    from raydream.core.networks.backbones import Backbone, load_backbone, load_for
    from raydream.core.objectives import Term
    from raydream.recipe import Recipe

_HOMES = {
    "Backbone": "core.networks.backbones",
    "Recipe": "recipe",
    "Step": "core.engine",
    "Term": "core.objectives",
    "dream": "core.engine",
    "dream_steps": "core.engine",
    "load_backbone": "core.networks.backbones",
    "load_for": "core.networks.backbones",
}
__all__ = [
    "Backbone",
    "Recipe",
    "Step",
    "Term",
    "dream",
    "dream_steps",
    "load_backbone",
    "load_for",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'raydream' has no attribute {name!r}")
    return getattr(import_module(f"raydream.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
