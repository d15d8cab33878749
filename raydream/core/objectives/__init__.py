"""What a dream maximises: a weighted sum of terms over activations, as plain data.

`mean("mixed3") + 0.5 * l2("mixed5", channels=(7, 12))` is an `Objective`: frozen, hashable, and storable in a recipe's
YAML. `terms.py` holds the objective and its terms. To add a kind of term, add a small class in a new file here, and
export its function below.
"""

from raydream.core.objectives.terms import CLASS_LAYER, Objective, Term, l2, logit, mean

__all__ = ["CLASS_LAYER", "Objective", "Term", "l2", "logit", "mean"]
