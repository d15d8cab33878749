"""Options of downloads, as frozen data.

Fields with a `typer.Option` are options of the command line (see `cli.options`). Annotations are evaluated in this
module, which imports nothing heavy, so that `--help` stays fast.
"""

from dataclasses import dataclass
from typing import Annotated

import typer

SIZE = typer.Option(min=1, help="Resize to this short side in pixels (JPEG, quality 95).")


@dataclass(frozen=True, kw_only=True)
class FetchOptions:
    """How images are downloaded.

    Attributes:
        size: short side in pixels to which images are resized; None keeps the files as they are.
        per_class: images of each class; None for all.
        parallel: downloads at the same time.
        per_host: of these, downloads from the same host.
        timeout: longest time for one file in seconds, from the connection to the last byte.
        max_bytes: largest file.
        private: whether addresses of private networks and of this machine are fetched, too.
    """

    size: Annotated[int | None, SIZE] = None
    per_class: Annotated[int | None, typer.Option(min=1, help="Stop after this many images of a class.")] = None
    parallel: Annotated[int, typer.Option(min=1, max=256, help="Downloads at the same time.")] = 16
    per_host: Annotated[int, typer.Option(min=1, help="Downloads at the same time from one host.")] = 4
    timeout: Annotated[float, typer.Option(min=1, help="Longest time for one image, in seconds.")] = 60.0
    max_bytes: Annotated[int, typer.Option(min=1, help="Largest image file.")] = 50_000_000
    private: Annotated[bool, typer.Option("--private", help="Also fetch from private addresses.")] = False
