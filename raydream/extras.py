"""Libraries that are installed only with the extra `video`."""

import importlib
from typing import Any

from raydream.errors import UsageError


def imported(library: str, what: str) -> Any:
    """Imports a library of the extra.

    Args:
        library: name of its module, such as `cv2`.
        what: what needs it, for the message.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise UsageError(f"{what} needs the extra `video`: pip install 'raydream[video]'") from error
