"""What a dream maximises: a weighted sum of terms over activations, as plain data.

`mean("mixed3") + 0.5 * l2("mixed5", channels=(7, 12))` is an `Objective`: frozen, hashable, and storable in a recipe's
YAML. `terms.py` holds the objective and what its terms share. The kinds of terms are in `features.py` (activations
of a layer), `references.py` (likeness to other images) and `penalties.py` (pixels); `kinds.py` lists them all.
To add a kind, add a small class, and its line in that list.
"""

from raydream.core.objectives.features import CLASS_LAYER, L2, Direction, Mean, Neuron, Picked, l2, logit, mean
from raydream.core.objectives.kinds import KINDS, AnyTerm
from raydream.core.objectives.penalties import Likeness, Smoothness
from raydream.core.objectives.references import Content, Difference, Guide, Style
from raydream.core.objectives.terms import HALVES, IMAGE_KEYS, Objective, Reading, Term

__all__ = [
    "CLASS_LAYER",
    "HALVES",
    "IMAGE_KEYS",
    "KINDS",
    "L2",
    "AnyTerm",
    "Content",
    "Difference",
    "Direction",
    "Guide",
    "Likeness",
    "Mean",
    "Neuron",
    "Objective",
    "Picked",
    "Reading",
    "Smoothness",
    "Style",
    "Term",
    "l2",
    "logit",
    "mean",
]
