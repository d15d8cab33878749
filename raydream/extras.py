"""Libraries that are installed only with an extra, such as `video`."""

import importlib
from typing import Any

from raydream.errors import UsageError


def imported(library: str, what: str, extra: str = "video") -> Any:
    """Imports a library of an extra.

    Args:
        library: name of its module, such as `cv2`.
        what: what needs it, for the message.
        extra: name of the extra.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise UsageError(f"{what} needs the extra `{extra}`: pip install 'raydream[{extra}]'") from error
