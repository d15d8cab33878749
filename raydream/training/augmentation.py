"""Random changes of training images: shear, zoom and mirroring."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image as PillowImage

from raydream.types import Pixels


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes of an image; the defaults are those of the seed project.

    Attributes:
        shear: the largest shear, as the shift per row in units of rows: 0.2 is 11 degrees.
        zoom: the largest change of the size: 0.2 is from 0.8 to 1.2 times.
        flip: whether half of the images are mirrored, left and right.
    """

    shear: float = 0.2
    zoom: float = 0.2
    flip: bool = True

    def __call__(self, image: Pixels, random: np.random.Generator) -> Pixels:
        """The changed image (height, width, 3), of the same size; its mirror image fills what is outside of it."""
        shear = random.uniform(-self.shear, self.shear)
        across, down = random.uniform(1.0 - self.zoom, 1.0 + self.zoom, 2)
        flipped = self.flip and random.random() < 0.5
        if self.shear or self.zoom:
            image = _moved(image, shear, across, down)
        return np.ascontiguousarray(image[:, ::-1]) if flipped else image


def _moved(image: Pixels, shear: float, across: float, down: float) -> Pixels:
    """The image, enlarged by `across` and `down`, then sheared, around its middle."""
    height, width = image.shape[:2]
    margin = (height // 2, height // 2), (width // 2, width // 2), (0, 0)
    padded = np.pad(image, margin, mode="symmetric")
    middle_x, middle_y = width / 2, height / 2
    # Pillow's coefficients lead from the result's pixels to those of `padded`.
    a, b, d, e = 1 / across, shear / across, 0.0, 1 / down
    c = middle_x - a * middle_x - b * middle_y + width // 2
    f = middle_y - d * middle_x - e * middle_y + height // 2
    result = PillowImage.fromarray(padded).transform(
        (width, height),
        PillowImage.Transform.AFFINE,
        (a, b, c, d, e, f),
        PillowImage.Resampling.BILINEAR,
    )
    return np.asarray(result)
