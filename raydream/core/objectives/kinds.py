"""The kinds of terms."""

from typing import get_args

from raydream.core.objectives.features import L2, Direction, Mean, Neuron, Picked
from raydream.core.objectives.penalties import Likeness, Smoothness
from raydream.core.objectives.references import Content, Difference, Guide, Style
from raydream.core.objectives.terms import Term

AnyTerm = Mean | L2 | Neuron | Direction | Picked | Guide | Difference | Content | Style | Smoothness | Likeness
KINDS: dict[str, type[Term]] = {kind.kind: kind for kind in get_args(AnyTerm)}  # by the `kind` of a recipe
