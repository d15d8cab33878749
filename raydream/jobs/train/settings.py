"""The settings of a run, stored in its output. A run can only be continued with the same settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from raydream.data.storage import Folder
from raydream.errors import UsageError

_SETTINGS = "_raydream/settings.json"


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
