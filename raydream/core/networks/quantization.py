"""GPTQ for convolutions: quantizes weights with almost no change of the outputs on real images. Uses only NumPy arrays.

A convolution is a matrix product of patches: `patch @ weights + bias`, with weights (inputs, outputs) and
inputs = kernel height * kernel width * channels. Rounding each weight to the nearest of 2^bits - 1 levels changes the
products. GPTQ (Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers",
2022) rounds the weights of one input after the other. After each input, it adjusts the weights that are not yet
rounded, so that the error of the products is smallest for patches with the given second moments.

There are three differences from the paper. The moments are centred, and the mean error is added to the bias. The inputs
are processed in order of decreasing variance (an option in the paper's code). The scale of an output channel may clip
its largest weights if that makes the squared error of the weights smaller.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_BLOCK = 64  # inputs after which the errors are passed on to all later inputs
_CLIPS = np.linspace(0.5, 1.0, 26)  # candidates for the largest level, as a share of an output's largest weight


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over the input patches of a convolution: all that GPTQ needs from the data. `+` adds moments.

    Attributes:
        count: number of patches.
        total: (inputs,) sum of the patches.
        square: (inputs, inputs) sum of their outer products.
    """

    count: int
    total: Floats
    square: Floats

    @classmethod
    def of(cls, patches: NDArray[np.floating]) -> Moments:
        """The moments of patches (count, inputs)."""
        wide = patches.astype(np.float64)
        return cls(len(wide), wide.sum(0), wide.T @ wide)

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.count + other.count, self.total + other.total, self.square + other.square)

    @property
    def mean(self) -> Floats:
        """(inputs,) mean patch."""
        return self.total / self.count

    @property
    def covariance(self) -> Floats:
        """(inputs, inputs) centred second moments."""
        mean = self.mean
        return self.square / self.count - np.outer(mean, mean)


@dataclass(frozen=True, eq=False)
class Quantized:
    """Weights as `codes * scales`: codes (inputs, outputs), with one scale and one bias for each output."""

    codes: NDArray[np.int8]
    scales: NDArray[np.float16]
    bias: NDArray[np.float32]

    @property
    def weights(self) -> NDArray[np.float32]:
        """(inputs, outputs), in float32."""
        return self.codes.astype(np.float32) * self.scales.astype(np.float32)


def nearest(
    weights: NDArray[np.floating], bias: NDArray[np.floating], bits: int, moments: Moments | None = None
) -> Quantized:
    """Weights rounded to the nearest level, as a baseline. Arguments as for `gptq`; the moments are not used."""
    wide = weights.astype(np.float64)
    scales = _scales(wide, bits)
    codes = _rounded(wide, scales.astype(np.float64), bits)
    return Quantized(codes.astype(np.int8), scales, bias.astype(np.float32))


def gptq(
    weights: NDArray[np.floating], bias: NDArray[np.floating], bits: int, moments: Moments, damping: float = 0.01
) -> Quantized:
    """Quantized weights whose products with the patches are close to those of the full weights.

    Args:
        weights: (inputs, outputs).
        bias: (outputs,).
        bits: bits per weight, 2 to 8.
        moments: moments of the input patches.
        damping: added to the diagonal of the covariance, as a share of its mean; few patches need more damping.

    Raises:
        ValueError: bits are out of range, or the shapes do not match.
    """
    if not 2 <= bits <= 8:
        raise ValueError(f"bits must be 2 to 8, not {bits}")
    if moments.square.shape != (len(weights), len(weights)):
        raise ValueError(f"moments of {len(moments.total)} inputs do not fit weights of {len(weights)}")
    full = weights.astype(np.float64)
    scales = _scales(full, bits)
    codes = _coded(full, scales.astype(np.float64), bits, _damped(moments.covariance, damping))
    error = full - codes * scales.astype(np.float64)
    return Quantized(codes.astype(np.int8), scales, (bias + moments.mean @ error).astype(np.float32))


def _scales(weights: Floats, bits: int) -> NDArray[np.float16]:
    """The distance between levels for each output: the candidate with the smallest squared error."""
    most = 2 ** (bits - 1) - 1
    largest = np.maximum(np.abs(weights).max(0), 1e-4)  # float16 has no precise values for much smaller scales
    candidates = (largest * _CLIPS[:, None] / most).astype(np.float16)
    errors = [np.square(weights - _rounded(weights, s, bits) * s).sum(0) for s in candidates.astype(np.float64)]
    best: NDArray[np.float16] = np.take_along_axis(candidates, np.argmin(errors, axis=0)[None], 0)[0]
    return best


def _rounded(weights: Floats, scales: Floats, bits: int) -> Floats:
    most = 2 ** (bits - 1) - 1
    return np.clip(np.rint(weights / scales), -most, most)


def _damped(covariance: Floats, damping: float) -> Floats:
    """The covariance with a damped diagonal, so that it can be inverted even if some inputs are constant."""
    mean_variance = float(np.diag(covariance).mean()) or 1.0
    return covariance + damping * mean_variance * np.eye(len(covariance))


def _coded(weights: Floats, scales: Floats, bits: int, hessian: Floats) -> Floats:
    """Algorithm 1 of the paper: codes (inputs, outputs). The inputs with the largest variance are rounded first."""
    order = np.argsort(-np.diag(hessian), kind="stable")
    left = weights[order]
    codes = np.empty_like(left)
    # Upper triangular: row i holds the adjustments of the later inputs' weights for an error at input i.
    factor = np.linalg.cholesky(np.linalg.inv(hessian[np.ix_(order, order)])).T
    for start in range(0, len(left), _BLOCK):
        block = slice(start, min(start + _BLOCK, len(left)))
        errors = np.empty_like(left[block])
        for i in range(block.start, block.stop):
            codes[i] = _rounded(left[i], scales, bits)
            errors[i - start] = (left[i] - codes[i] * scales) / factor[i, i]
            left[i : block.stop] -= np.outer(factor[i, i : block.stop], errors[i - start])
        left[block.stop :] -= factor[block, block.stop :].T @ errors
    result = np.empty_like(codes)
    result[order] = codes
    return result
