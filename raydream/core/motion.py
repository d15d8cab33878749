"""Motion from frame to frame: zooming, warping along an optical flow, and where a flow can be trusted.

Images are float32 (height, width, 3). A flow is float32 (height, width, 2): how far to the right and down, in pixels,
the content of each pixel of one frame lies in another frame.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from raydream import extras
from raydream.data import codec
from raydream.types import Image

Flow = NDArray[np.float32]  # (height, width, 2)
Share = NDArray[np.float32]  # (height, width, 1), in [0, 1]
Plane = NDArray[np.float32]  # (height, width)

_GREY = np.array([0.299, 0.587, 0.114], np.float32)
_LEAST_DEVIATION = 0.03  # of colours: a picture in one colour gets a little contrast, and a grey one a little colour
_PLACES = range(-1, 3)  # the four pixels around a position, in each direction


def zoomed(image: Image, factor: float, degrees: float = 0.0) -> Image:
    """Enlarges an image around its centre and turns it clockwise; its size stays the same.

    Args:
        image: (height, width, 3) in [-1, 1].
        factor: 1.03 makes everything 3 % larger; below 1, the image is mirrored at its edges.
        degrees: angle of the rotation.
    """
    height, width = image.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    middle_y, middle_x = np.float32((height - 1) / 2), np.float32((width - 1) / 2)
    down, right = (y - middle_y) / np.float32(factor), (x - middle_x) / np.float32(factor)
    cosine, sine = np.float32(math.cos(math.radians(degrees))), np.float32(math.sin(math.radians(degrees)))
    found = sampled(image, middle_x + cosine * right + sine * down, middle_y - sine * right + cosine * down)
    return np.clip(found, -1, 1, out=found)


def with_colours_of(palette: Image, image: Image) -> Image:
    """An image with the mean and the covariance of another one's colours, changed as little as possible.

    This is the linear Monge-Kantorovitch mapping (Pitié and Kokaram, 2007). Without it, frames that are made from
    frames lose their contrast or turn to one colour.

    Args:
        palette: the image whose colours are taken, (height, width, 3) in [-1, 1].
        image: the image to change, of any size.
    """
    mean, spread = _colours(image)
    wanted_mean, wanted = _colours(palette)
    root, inverse = _power(spread, 0.5), _power(spread, -0.5)
    mapping = inverse @ _power(root @ wanted @ root, 0.5) @ inverse
    shift = wanted_mean - mean @ mapping
    return np.clip(image @ mapping.astype(np.float32) + shift.astype(np.float32), -1, 1)


def _colours(image: Image) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and covariance of the colours of an image; no standard deviation is below `_LEAST_DEVIATION`."""
    pixels = image.reshape(-1, 3).astype(np.float64)
    values, vectors = np.linalg.eigh(np.cov(pixels, rowvar=False, ddof=0))
    return pixels.mean(axis=0), (vectors * np.maximum(values, _LEAST_DEVIATION**2)) @ vectors.T


def _power(matrix: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    """A power of a symmetric matrix with positive eigenvalues."""
    values, vectors = np.linalg.eigh(matrix)
    powers: NDArray[np.float64] = values**exponent
    return (vectors * powers) @ vectors.T


def warped(image: Image, flow: Flow) -> Image:
    """The content of a frame, moved to where the flow finds it.

    Args:
        image: (height, width, channels) in the other frame.
        flow: from this frame to the other one.
    """
    height, width = flow.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return sampled(image, x + flow[..., 0], y + flow[..., 1])


def sampled(image: Image, x: Plane, y: Plane) -> Image:
    """Values of an image (height, width, channels) at the positions x and y, in pixels from the first pixel.

    The interpolation is bicubic (Keys, 1981): a bilinear one would blur a little more in each frame. Values can exceed
    the range of the image a little. Beyond its edges, the image is mirrored.
    """
    left, top = np.floor(x).astype(np.int32), np.floor(y).astype(np.int32)
    across, along = _weights(x - left), _weights(y - top)
    columns = [_mirrored(left + place, image.shape[1]) for place in _PLACES]
    result = np.zeros((*x.shape, image.shape[2]), np.float32)
    for place, weight in zip(_PLACES, along, strict=True):
        row = _mirrored(top + place, image.shape[0])
        for column, other in zip(columns, across, strict=True):
            result += (weight * other)[..., None] * image[row, column]
    return result


def _weights(t: Plane) -> list[Plane]:
    """Weights of the four pixels around a position that lies `t` after the second one."""
    return [
        t * (t * (1 - t / 2) - 0.5),
        t * t * (1.5 * t - 2.5) + 1,
        t * (t * (2 - 1.5 * t) + 0.5),
        t * t * (t - 1) / 2,
    ]


def _mirrored(index: NDArray[np.int32], length: int) -> NDArray[np.int32]:
    """Indices in 0..length-1: those beyond an end are mirrored at the pixel at that end."""
    last = max(length - 1, 1)
    return np.minimum(np.abs((index + last) % (2 * last) - last), length - 1)


def flow(one: Image, other: Image) -> Flow:
    """The optical flow from `one` to `other` by dense inverse search (Kroeger et al., 2016).

    Args:
        one, other: frames (height, width, 3) in [-1, 1].

    Raises:
        UsageError: OpenCV is not installed.
    """
    cv2 = extras.imported("cv2", "optical flow")
    height, width = one.shape[:2]
    if min(height, width) < 32:  # too small for its patches
        return np.zeros((height, width, 2), np.float32)
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    found: Flow = search.calc(codec.to_uint8(one @ _GREY), codec.to_uint8(other @ _GREY), None)
    return found


def trusted(there: Flow, back: Flow) -> Share:
    """Where the flow to another frame can be trusted: 1 there, and 0 where content is hidden or outside in that frame.

    Following `there` and then `back` must return to the start, within the tolerance of Sundaram et al. (2010). Between
    one and two tolerances, the share falls from 1 to 0.
    """
    height, width = there.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = x + there[..., 0], y + there[..., 1]
    returned = sampled(back, x, y)
    apart = ((there + returned) ** 2).sum(axis=-1)
    tolerance = 0.01 * ((there**2).sum(axis=-1) + (returned**2).sum(axis=-1)) + 0.5
    inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    share = np.clip(2 - apart / tolerance, 0, 1) * inside
    return share.astype(np.float32)[..., None]
