"""GPTQ for convolutions: weights of few bits that answer to real images as the full ones do. NumPy arrays in and out.

A convolution is a matrix product of patches: `patch @ weights + bias`, with weights (inputs, outputs) and
inputs = kernel height * kernel width * channels. Rounding each weight to the nearest of 2^bits levels changes the
products. GPTQ (Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers",
2022) rounds the inputs one after the other and lets those still to come make up for the error, as well as the
second moments of real patches allow.

Three things differ from the paper. The moments are centred, and the mean of the error goes into the bias. The inputs
are taken in the order of falling variance (the paper's code has this as an option). The scale of an output channel may
clip its largest weights, where that makes the squared error of the weights smaller.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_BLOCK = 64  # inputs whose errors are passed on together
_CLIPS = np.linspace(0.5, 1.0, 26)  # largest level over an output's largest weight
_MOST_CODE = 127  # codes are int8


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over the patches that a convolution sees: what GPTQ needs to know of the data. They add up with `+`.

    Attributes:
        count: patches.
        total: (inputs,) their sum.
        square: (inputs, inputs) the sum of their outer products.
    """

    count: int
    total: Floats
    square: Floats

    @classmethod
    def of(cls, patches: NDArray[np.floating]) -> Moments:
        """Those of patches (count, inputs)."""
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
    """Weights as `codes * scales`: codes int8 (inputs, outputs), scales float16 (outputs,); and biases (outputs,)."""

    codes: NDArray[np.int8]
    scales: NDArray[np.float16]
    bias: NDArray[np.float32]

    @property
    def weights(self) -> NDArray[np.float32]:
        """(inputs, outputs)."""
        return self.codes.astype(np.float32) * self.scales.astype(np.float32)


def nearest(
    weights: NDArray[np.floating], bias: NDArray[np.floating], bits: int, moments: Moments | None = None
) -> Quantized:
    """Weights rounded to the nearest level: what GPTQ is measured against. As `gptq`, but moments are not used."""
    wide = weights.astype(np.float64)
    scales = _scales(wide, bits)
    codes = _rounded(wide, scales.astype(np.float64), bits)
    return Quantized(codes.astype(np.int8), scales, bias.astype(np.float32))


def gptq(
    weights: NDArray[np.floating], bias: NDArray[np.floating], bits: int, moments: Moments, damping: float = 0.01
) -> Quantized:
    """Weights of few bits whose products with the patches are near those of the full ones.

    Args:
        weights: (inputs, outputs).
        bias: (outputs,).
        bits: 2 to 8 a weight.
        moments: of the patches that the weights will meet.
        damping: added to the diagonal of the covariance, as a share of its mean: the less data, the more.

    Raises:
        ValueError: bits out of range, or arrays that do not fit together.
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
    """For each output, the distance of its levels, of those that clip a little, with the least squared error."""
    most = 2 ** (bits - 1) - 1
    largest = np.maximum(np.abs(weights).max(0), 1e-4)  # float16 holds no much smaller scales
    candidates = (largest * _CLIPS[:, None] / most).astype(np.float16)
    errors = [np.square(weights - _rounded(weights, s, bits) * s).sum(0) for s in candidates.astype(np.float64)]
    best: NDArray[np.float16] = np.take_along_axis(candidates, np.argmin(errors, axis=0)[None], 0)[0]
    return best


def _rounded(weights: Floats, scales: Floats, bits: int) -> Floats:
    most = 2 ** (bits - 1) - 1
    return np.clip(np.rint(weights / scales), -most, most)


def _damped(covariance: Floats, damping: float) -> Floats:
    """The covariance, made invertible; inputs that are always the same get the mean variance."""
    variances = np.diag(covariance)
    usual = float(variances.mean()) or 1.0
    return covariance + damping * usual * np.eye(len(covariance))


def _coded(weights: Floats, scales: Floats, bits: int, hessian: Floats) -> Floats:
    """The paper's algorithm 1: codes (inputs, outputs), the inputs of largest variance first."""
    order = np.argsort(-np.diag(hessian), kind="stable")
    left = weights[order]
    codes = np.empty_like(left)
    # Upper triangular: row i says how the inputs after i make up for an error at i.
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
