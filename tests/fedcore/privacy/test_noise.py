"""Noise: Gaussian to the tails, never repeated, never predictable unless named unsafe."""

import os

import numpy as np
import pytest
from scipy import stats

from fedcore.errors import InvalidPlan
from fedcore.privacy import noise as noise_module
from fedcore.privacy.noise import SecureNoise, UnsafeNoNoise, UnsafeSeededNoise
from fedcore.privacy.plan import GAUSSIAN, UNSAFE_NO_NOISE


@pytest.mark.parametrize("std", [1.0, 0.037, 250.0])
def test_noise_is_gaussian_of_the_asked_spread(std: float) -> None:
    values = UnsafeSeededNoise(11).gaussian((500, 401), std) / std
    flat = values.ravel()
    count = flat.size
    assert stats.kstest(flat, "norm").pvalue > 1e-3
    assert abs(flat.mean()) < 4.5 / np.sqrt(count)
    assert abs(flat.var() - 1) < 4.5 * np.sqrt(2 / count)
    assert abs((flat**4).mean() - 3) < 4.5 * np.sqrt(96 / count)
    beyond = (np.abs(flat) > 4).sum()
    expected = 2 * stats.norm.sf(4) * count
    assert abs(beyond - expected) < 5 * np.sqrt(expected)


def test_values_are_independent_of_their_neighbours_and_pairs() -> None:
    size = noise_module._BLOCK
    values = UnsafeSeededNoise(2).gaussian((2 * size,), 1.0)
    for lag in (1, 2, size // 2, size):
        assert abs((values[lag:] * values[:-lag]).mean()) < 4.5 / np.sqrt(len(values) - lag)
        squares = values**2 - 1
        assert abs((squares[lag:] * squares[:-lag]).mean()) < 4.5 * 2 / np.sqrt(len(values) - lag)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3, 5), (0,), (0, 4), (noise_module._BLOCK + 1,)])
def test_noise_has_the_asked_shape_in_float64(shape: tuple[int, ...]) -> None:
    values = SecureNoise().gaussian(shape, 1.0)
    assert values.shape == shape
    assert values.dtype == np.float64
    assert np.isfinite(values).all()


def test_secure_noise_never_repeats() -> None:
    source = SecureNoise()
    values = np.concatenate(
        [source.gaussian((500,), 1.0), source.gaussian((500,), 1.0), SecureNoise().gaussian((500,), 1.0)]
    )
    assert len(np.unique(values)) == 1500


def test_a_forked_process_makes_other_noise() -> None:
    source = SecureNoise()
    source.gaussian((4,), 1.0)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, source.gaussian((4,), 1.0).tobytes())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 32) != source.gaussian((4,), 1.0).tobytes()


def test_secure_noise_ignores_every_global_seed() -> None:
    np.random.seed(0)
    first = SecureNoise().gaussian((8,), 1.0)
    np.random.seed(0)
    assert (SecureNoise().gaussian((8,), 1.0) != first).all()


def test_each_value_is_four_gaussians_over_two() -> None:
    """The floating-point defence: no value is one Box-Muller output, nor a sum within one pair."""
    source, stream = UnsafeSeededNoise(4), UnsafeSeededNoise(4)
    rows = [noise_module._box_muller(stream._stream.words(6)) for _ in range(4)]
    np.testing.assert_allclose(source.gaussian((5,), 3.0), 3.0 * np.sum(rows, axis=0)[:5] / 2, rtol=1e-12)


def test_box_muller_equals_its_formula() -> None:
    words = np.array([0, 2**64 - 1, 2**63, 2**62], dtype=np.uint64)
    got = noise_module._box_muller(words)
    u = [((int(w) >> 11) + 0.5) * 2.0**-53 for w in words]
    for k in (0, 1):
        radius, angle = np.sqrt(-2 * np.log(u[k])), 2 * np.pi * u[k + 2]
        assert got[k] == pytest.approx(radius * np.cos(angle), abs=1e-12)
        assert got[k + 2] == pytest.approx(radius * np.sin(angle), abs=1e-12)


def test_a_seed_repeats_and_another_does_not() -> None:
    first = UnsafeSeededNoise(1).gaussian((6,), 1.0)
    assert (UnsafeSeededNoise(1).gaussian((6,), 1.0) == first).all()
    assert (UnsafeSeededNoise(2).gaussian((6,), 1.0) != first).all()


@pytest.mark.parametrize("std", [0.0, -1.0, float("nan"), float("inf")])
def test_secure_noise_without_spread_is_refused(std: float) -> None:
    with pytest.raises(InvalidPlan):
        SecureNoise().gaussian((2,), std)


def test_no_noise_refuses_to_stand_in_for_noise() -> None:
    assert not UnsafeNoNoise().gaussian((3,), 0.0).any()
    with pytest.raises(InvalidPlan):
        UnsafeNoNoise().gaussian((3,), 1.0)


def test_mechanisms_are_named_as_plans_name_them() -> None:
    assert SecureNoise.mechanism == UnsafeSeededNoise.mechanism == GAUSSIAN
    assert UnsafeNoNoise.mechanism == UNSAFE_NO_NOISE
