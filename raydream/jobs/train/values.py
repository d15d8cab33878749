"""What all training jobs require of their options. It imports nothing large, since `--help` needs it."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

from raydream.errors import UsageError


def check_values(settings: Mapping[str, Any], batch_size: int) -> None:
    """Checks what all training jobs require of their settings, `seed` and `workers` among them.

    Raises:
        UsageError: the workers cannot share a batch evenly, the seed is too large, or a number is not finite.
    """
    workers, seed = settings["workers"], settings["seed"]
    if workers and batch_size % workers:
        more = -(-batch_size // workers) * workers
        raise UsageError(f"batch_size {batch_size} is not a multiple of workers {workers}: {more} is")
    if seed >= 2**63:  # TensorFlow's and Arrow's integers are smaller
        raise UsageError(f"seed {seed}: must be below 2**63")
    for name, value in settings.items():
        if isinstance(value, float) and not isfinite(value):
            raise UsageError(f"{name} {value}: must be a finite number")
