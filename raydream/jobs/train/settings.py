"""The settings of a run, stored in its output. A run can only be continued with the same settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any

from raydream.data.storage import Folder
from raydream.errors import UsageError

_SETTINGS = "_raydream/settings.json"


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


def check_or_store(output: str, settings: Mapping[str, Any]) -> None:
    """Stores the settings of a new run, or checks that an earlier run in the output had the same.

    Args:
        output: a folder's path or URL.
        settings: plain data, as in JSON.

    Raises:
        UsageError: the earlier run had other settings; the message names the first difference.
    """
    folder = Folder(output)
    if folder.exists(_SETTINGS):
        check(output, settings)
    else:
        folder.write(_SETTINGS, json.dumps(dict(settings), indent=1).encode())


def check(output: str, settings: Mapping[str, Any]) -> None:
    """Checks that an earlier run in the output, if there is one, had these settings; see `check_or_store`."""
    folder = Folder(output)
    if not folder.exists(_SETTINGS):
        return
    try:
        before = json.loads(folder.read(_SETTINGS))
    except ValueError as error:
        raise UsageError(f"{folder.place(_SETTINGS)} is damaged: use another output") from error
    for key, value in json.loads(json.dumps(dict(settings))).items():
        if before.get(key) != value:
            raise UsageError(
                f"{output} holds a run with {key} {before.get(key)!r}, not {value!r}: "
                f"use the same to continue it, or choose another output"
            )
