"""Retries temporary storage errors; turns all others into one line that names the file."""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

from raydream.errors import UsageError

T = TypeVar("T")

_DELAYS = (0.5, 1.0, 2.0, 4.0)  # seconds before the next attempt
_LONGEST = 15.0  # seconds, after which there is no other attempt: some libraries also retry
_RETRIED_STATUSES = (408, 425, 429)  # and all of 500 and above
# Libraries whose errors without an HTTP status are network errors.
_NETWORK = {"aiohttp", "botocore", "gcsfs", "google", "httpcore", "httpcore2", "httpx", "httpx2", "requests", "urllib3"}
_PERMANENT = {
    *(errno.EACCES, errno.EBADF, errno.EDQUOT, errno.EEXIST, errno.EFBIG, errno.EINVAL, errno.EISDIR, errno.ELOOP),
    *(errno.ENAMETOOLONG, errno.ENOENT, errno.ENOSPC, errno.ENOTDIR, errno.ENOTEMPTY, errno.ENOTSUP, errno.EPERM),
    *(errno.EROFS, errno.EXDEV),
}
# Built-in errors that keep their class, since callers check it.
_KINDS = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError)


class StorageError(OSError):
    """A file cannot be read, written or listed. The message is one line: the reason, then the file.

    Attributes:
        errno: error number of the operating system; None for other errors.
    """


def retried(place: str, call: Callable[[], T]) -> T:
    """Calls `call` and returns its result; retries temporary errors with exponential back-off, for about 8 seconds.

    Args:
        place: path or URL of the file, for the message.
        call: function without arguments; it must be safe to repeat.

    Raises:
        OSError: the last error. FileNotFoundError, PermissionError and the like keep their class; all others become
            StorageError.
    """
    end = time.monotonic() + _LONGEST
    for delay in (*_DELAYS, None):
        try:
            return call()
        except (UsageError, AssertionError, AttributeError, MemoryError, TypeError):  # not storage errors
            raise
        except Exception as error:  # each file system has its own error classes
            if delay is None or not passes(error) or time.monotonic() > end:
                raise named(error, place) from error
        time.sleep(delay * random.uniform(0.75, 1.25))
    raise AssertionError("the last attempt returns or raises")


def passes(error: BaseException) -> bool:
    """Whether an error is temporary: the same call may succeed a little later."""
    status = _status(error)
    if status is not None:
        return status_passes(status)
    if isinstance(error, (*_KINDS, StorageError)):
        return False
    if isinstance(error, OSError):
        return not isinstance(error, ValueError) and error.errno not in _PERMANENT
    return type(error).__module__.split(".")[0] in _NETWORK


def status_passes(status: int) -> bool:
    """Whether an HTTP status is that of a temporary error."""
    return status in _RETRIED_STATUSES or status >= 500


def named(error: Exception, place: str) -> OSError:
    """The error as an OSError whose one-line message names the file."""
    if isinstance(error, StorageError):
        return error
    kind = next((kind for kind in _KINDS if isinstance(error, kind)), StorageError)
    strerror = error.strerror if isinstance(error, OSError) and type(error).__module__ == "builtins" else None
    if kind is FileNotFoundError:  # the message of some file systems is only the path, or the server's HTML page
        strerror = "No such file or directory"
    result = kind(f"{strerror or one_line(error)}: {place}")
    result.errno = error.errno if isinstance(error, OSError) else None
    return result


def reason(error: BaseException, place: str) -> str:
    """The reason of an error in one line, without the file name that `named` appends."""
    return one_line(error).removesuffix(f": {place}")


def one_line(error: BaseException) -> str:
    """An error's message in one line of at most 200 characters; its class if it has no message."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _status(error: BaseException) -> int | None:
    """The HTTP status of an error; libraries store it in different attributes."""
    holders: list[Any] = [error, getattr(error, "response", None)]
    values = [getattr(holder, name, None) for holder in holders for name in ("status", "status_code", "code")]
    found = [int(value) for value in values if isinstance(value, int | str) and str(value).isdecimal()]
    return next((value for value in found if value >= 400), None)
