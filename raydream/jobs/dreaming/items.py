"""An image on its way through the stages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raydream.data.rows import Failure


@dataclass(frozen=True, kw_only=True)
class Item:
    """An image on its way. `image` is float32 in [-1, 1], or uint8 where that says the same."""

    id: str
    name: str
    image: NDArray[Any] | None = None
    source_digest: str = ""
    dream: NDArray[np.uint8] | None = None
    before: float | None = None
    after: float | None = None
    seconds: float = 0.0
    failure: Failure | None = None

    def failed(self, stage: str, error: str) -> Item:
        """The same image, given up."""
        failure = Failure(id=self.id, stage=stage, error=" ".join(error.split())[:500])
        return replace(self, image=None, dream=None, failure=failure)
