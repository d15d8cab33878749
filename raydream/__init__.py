"""Turns photographs into Deep Dreams, and collections of photographs into dream data sets.

    import raydream
    dream = raydream.dream("cat.jpg", "classic")  # a path, URL, PIL image or array; or a list of these
    dream.save("cat-dream.png")

`dream_steps` returns the single steps of a dream. Public names are imported on first use, so that importing raydream
imports neither TensorFlow nor Ray.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from raydream import runtime

__version__ = "0.1.0"

runtime.set_environment()  # before anything can import TensorFlow

if TYPE_CHECKING:
    from raydream.api import Dream, dream
    from raydream.assets import load_for
    from raydream.core.engine import Step, dream_steps
    from raydream.core.networks.backbones import Backbone, load_backbone
    from raydream.core.objectives import Term
    from raydream.errors import UsageError, WorkError
    from raydream.recipe import Recipe

_HOMES = {
    "Backbone": "core.networks.backbones",
    "Dream": "api",
    "Recipe": "recipe",
    "Step": "core.engine",
    "Term": "core.objectives",
    "UsageError": "errors",
    "WorkError": "errors",
    "dream": "api",
    "dream_steps": "core.engine",
    "load_backbone": "core.networks.backbones",
    "load_for": "assets",
}
__all__ = [
    "Backbone",
    "Dream",
    "Recipe",
    "Step",
    "Term",
    "UsageError",
    "WorkError",
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
