"""quantization: few bits that answer to the data, and better than rounding does."""

import numpy as np
import pytest

from raydream.core.networks.quantization import Moments, gptq, nearest

INPUTS, OUTPUTS = 48, 20


@pytest.fixture(scope="module")
def patches():
    """Correlated, not centred, one input always 0 and one always 1: as the patches of a network are."""
    random = np.random.default_rng(0)
    found = np.maximum(random.normal(0.5, 1.0, (3000, 10)) @ random.normal(0, 1, (10, INPUTS)), 0)
    found[:, 5], found[:, 6] = 0.0, 1.0
    return found.astype(np.float32)


@pytest.fixture(scope="module")
def weights():
    random = np.random.default_rng(1)
    return random.normal(0, 0.1, (INPUTS, OUTPUTS)).astype(np.float32), random.normal(0, 1, OUTPUTS).astype(np.float32)


def error(patches, full, part):
    """Squared error of the outputs over their variance."""
    wanted = patches @ full[0] + full[1]
    return np.square(patches @ part.weights + part.bias - wanted).sum() / np.square(wanted - wanted.mean(0)).sum()


def test_moments_are_numpys_and_add_up(patches):
    both = Moments.of(patches[:1000]) + Moments.of(patches[1000:])
    assert both.count == 3000
    np.testing.assert_allclose(both.mean, patches.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(both.covariance, np.cov(patches.T, bias=True), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("bits", [3, 4, 5, 6])
def test_gptq_makes_a_fraction_of_roundings_error(patches, weights, bits):
    moments = Moments.of(patches[:2000])
    new = patches[2000:]
    rounded, found = error(new, weights, nearest(*weights, bits)), error(new, weights, gptq(*weights, bits, moments))
    print(bits, rounded, found)
    assert found < 0.3 * rounded


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("method", [gptq, nearest])
def test_codes_fit_their_bits(patches, weights, bits, method):
    part = method(*weights, bits, Moments.of(patches))
    assert (part.codes.dtype, part.scales.dtype, part.bias.dtype) == (np.int8, np.float16, np.float32)
    assert np.abs(part.codes.astype(int)).max() <= 2 ** (bits - 1) - 1
    assert len(np.unique(part.codes)) > 2
    np.testing.assert_array_equal(part.weights, part.codes * part.scales.astype(np.float32))


def test_the_mean_error_goes_into_the_bias(patches, weights):
    part = gptq(*weights, 3, Moments.of(patches))
    apart = (patches @ part.weights + part.bias - patches @ weights[0] - weights[1]).mean(0)
    plain = (patches @ (part.weights - weights[0])).mean(0)
    assert np.abs(apart).max() < 1e-4 < 0.01 < np.abs(plain).max()


def test_eight_bits_are_nearly_all(patches, weights):
    assert error(patches, weights, gptq(*weights, 8, Moments.of(patches))) < 1e-5


def test_weights_of_nothing_and_inputs_of_nothing_do_no_harm(weights):
    full = weights[0].copy()
    full[:, 3] = 0.0
    full[:, 4] *= 1e-6
    part = gptq(full, weights[1], 4, Moments.of(np.zeros((10, INPUTS), np.float32)))
    assert np.isfinite(part.weights).all()
    assert not part.weights[:, 3].any()
    assert np.abs(part.weights[:, 4]).max() < 1e-4
    np.testing.assert_array_equal(part.bias, weights[1])


def test_what_does_not_fit_is_refused(patches, weights):
    for bits in (1, 9):
        with pytest.raises(ValueError, match=f"bits must be 2 to 8, not {bits}"):
            gptq(*weights, bits, Moments.of(patches))
    with pytest.raises(ValueError, match="moments of 47 inputs do not fit weights of 48"):
        gptq(*weights, 4, Moments.of(patches[:, 1:]))
