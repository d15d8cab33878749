"""The data of one image, which the stages pass on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raydream.data.rows import Failure, Row


@dataclass(frozen=True, kw_only=True)
class Item:
    """An image in the pipeline. Each stage fills in more of it.

    Attributes:
        id, name: path of the photograph below the input, and path of its dream.
        image: (height, width, 3), float32 in [-1, 1], or uint8 if that is exact.
        source_digest: SHA-256 of the photograph's file.
        dream: (height, width, 3).
        before, after: objective of the photograph and of the dream.
        seconds: time spent dreaming it.
        row: the encoded dream, to be written.
        failure: why there is no dream.
    """

    id: str
    name: str
    image: NDArray[Any] | None = None
    source_digest: str = ""
    dream: NDArray[np.uint8] | None = None
    before: float | None = None
    after: float | None = None
    seconds: float = 0.0
    row: Row | None = None
    failure: Failure | None = None

    def failed(self, stage: str, error: str) -> Item:
        """The item with a failure and without its pixels."""
        failure = Failure(id=self.id, stage=stage, error=" ".join(error.split())[:500])
        return replace(self, image=None, dream=None, failure=failure)
