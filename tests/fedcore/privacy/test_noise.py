"""Noise: Gaussian to the tails, never repeated, never predictable unless named unsafe."""

import multiprocessing
import os
import threading
from collections.abc import Callable
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from fedcore.errors import InvalidPlan
from fedcore.privacy import noise as noise_module
from fedcore.privacy._stream import FreshStream, SeededStream, Words
from fedcore.privacy.noise import SecureNoise, UnsafeNoNoise, UnsafeSeededNoise
from fedcore.privacy.plan import GAUSSIAN, UNSAFE_NO_NOISE

Values = npt.NDArray[np.float64]


class Scripted:
    """A stream whose first words a test dictates; the rest are a seed's."""

    def __init__(self, first: list[int]) -> None:
        self._first = list(first)
        self._rest = SeededStream("noise", 8)

    def fill(self, words: Words) -> None:
        self._rest.fill(words)
        taken, self._first = self._first[: len(words)], self._first[len(words) :]
        words[: len(taken)] = taken


def polar_twin(words: list[int], count: int) -> list[tuple[float, float]]:
    """Marsaglia's method as it is written: a point at a time, from one batch of words, x first and y after all x."""
    tries = len(words) // 2
    pairs = []
    for x_word, y_word in zip(words[:tries], words[tries:], strict=True):
        x, y = ((w >> 12) * 2.0**-51 - 1.0 for w in (x_word, y_word))
        length = x * x + y * y
        if 0 < length < 1:
            factor = np.sqrt(-2 * np.log(length) / length)
            pairs.append((x * factor, y * factor))
    return pairs[:count]


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


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_with_equal_seeds_and_a_copy_of_one_source_share_no_value(method: str) -> None:
    """A fork copies all memory, a spawned process starts afresh, and the source travels into both."""
    context = multiprocessing.get_context(method)
    source = SecureNoise()
    drawn = [source.gaussian((64,), 1.0)]
    for _ in range(2):
        with context.Pool(1, np.random.seed, (1,)) as pool:
            drawn.append(pool.apply(source.gaussian, ((64,), 1.0)))
    assert len(np.unique([*drawn, source.gaussian((64,), 1.0)])) == 4 * 64


def test_a_process_forked_between_two_draws_makes_other_noise() -> None:
    source = SecureNoise()
    source.gaussian((4,), 1.0)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, source.gaussian((4,), 1.0).tobytes())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 32) != source.gaussian((4,), 1.0).tobytes()


def test_threads_that_share_a_source_share_no_value() -> None:
    source = SecureNoise()
    drawn: list[Values] = []
    ready = threading.Barrier(8)

    def draw() -> None:
        ready.wait()
        drawn.extend(source.gaussian((100,), 1.0) for _ in range(20))

    threads = [threading.Thread(target=draw) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(np.unique(np.concatenate(drawn))) == 8 * 20 * 100


def test_secure_noise_ignores_every_global_seed() -> None:
    np.random.seed(0)
    first = SecureNoise().gaussian((8,), 1.0)
    np.random.seed(0)
    assert (SecureNoise().gaussian((8,), 1.0) != first).all()


def test_a_secure_call_draws_its_key_from_the_operating_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two machines whose operating systems gave the same bytes would make the same noise: nothing else decides it."""
    asked = []

    def same(count: int) -> bytes:
        asked.append(count)
        return bytes(range(count))

    monkeypatch.setattr(os, "urandom", same)
    assert (SecureNoise().gaussian((9,), 1.0) == SecureNoise().gaussian((9,), 1.0)).all()
    assert asked == [32, 32]


def test_polar_pairs_equal_their_formula() -> None:
    words: list[int] = SeededStream("noise", 3).words(2 * noise_module._tries(200)).tolist()
    x, y = noise_module._PolarPairs(200, Scripted(words).fill).draw(200)
    np.testing.assert_allclose(np.stack([x, y], axis=1), polar_twin(words, 200), rtol=1e-12)


def test_points_outside_the_circle_and_at_its_centre_are_thrown_away() -> None:
    tries, middle, edge = noise_module._tries(4), 1 << 63, 0
    inside = 3 << 62
    xs = [middle, edge, inside, edge] + [2**64 - 1] * (tries - 4)
    ys = [middle, middle, middle, edge] + [2**64 - 1] * (tries - 4)
    x, y = noise_module._PolarPairs(4, Scripted(xs + ys).fill).draw(4)
    # Of the scripted points only (1/2, 0) counts; the others come from the next words.
    assert (x[0], y[0]) == pytest.approx((np.sqrt(-2 * np.log(0.25)), 0.0))
    assert np.isfinite(x).all()
    assert np.isfinite(y).all()
    assert len(np.unique(np.concatenate([x, y]))) == 8


def test_the_furthest_value_is_that_of_the_point_nearest_the_centre() -> None:
    tries = noise_module._tries(1)
    words = [(1 << 63) + (1 << 12), *[0] * (tries - 1), 1 << 63, *[0] * (tries - 1)]
    x, y = noise_module._PolarPairs(1, Scripted(words).fill).draw(1)
    assert x[0] == pytest.approx(np.sqrt(204 * np.log(2)))
    assert y[0] == 0.0


def test_each_value_is_four_gaussians_over_two_from_four_pairs() -> None:
    """The floating-point defence: no value is one polar output, nor holds both of a pair."""
    source, stream = UnsafeSeededNoise(4), SeededStream("noise", 4)
    pairs = noise_module._PolarPairs(4 * 3, stream.fill)
    x, y = (side.reshape(4, 3) for side in pairs.draw(4 * 3))
    expected = 3.0 * np.concatenate([x.sum(axis=0), y.sum(axis=0)])[:5] / 2
    np.testing.assert_allclose(source.gaussian((5,), 3.0), expected, rtol=1e-12)


@pytest.mark.parametrize("what", [lambda v: v, lambda v: (v**2 - 1) / np.sqrt(2)], ids=["values", "squares"])
def test_the_four_summands_are_gaussian_and_independent(what: Callable[[Values], Values]) -> None:
    count = 100_000
    x, y = noise_module._PolarPairs(4 * count, SeededStream("noise", 5).fill).draw(4 * count)
    parts = [*x.reshape(4, count), *y.reshape(4, count)]
    for part in parts:
        assert stats.kstest(part, "norm").pvalue > 1e-4
    for one, other in combinations(parts, 2):
        assert abs(np.mean(what(one) * what(other))) < 5 / np.sqrt(count)


def test_a_stream_fills_any_length_with_the_cipher_s_bytes() -> None:
    whole = SeededStream("noise", 6).words(40_000)
    for count in (0, 1, 2, 3, 8191, 8192, 8193, 40_000):
        assert (SeededStream("noise", 6).words(count) == whole[:count]).all()
    stream = SeededStream("noise", 6)
    parts = [stream.words(n) for n in (1, 2, 0, 9000, 5)]
    assert (np.concatenate(parts) == whole[: 1 + 2 + 9000 + 5]).all()
    assert len(np.unique(FreshStream().words(20_000))) == 20_000


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
