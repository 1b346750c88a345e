"""The adaptive clip norm in real steps: it follows the quantile, and depends on noised counts alone."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from fedcore.privacy.bounds import Clipping
from fedcore.privacy.noise import DoubleArray, SecureNoise, UnsafeNoNoise
from fedcore.privacy.plan import PrivacyPlan
from tests.reference.models import GivenGradients, plan
from tests.reference.observed import steps_of


def adaptive(quantile: float, rate: float, noise: float = 0.0) -> Clipping:
    return Clipping(rule="adaptive", quantile=quantile, learning_rate=rate, count_noise_multiplier=noise)


def lengths(norms: list[float]) -> GivenGradients:
    """Units whose gradients have these norms."""
    return GivenGradients(torch.tensor(norms)[:, None] * torch.tensor([0.6, 0.8]))


def noisy(units: float, rule: Clipping, **changes: object) -> PrivacyPlan:
    fields = {"mechanism": "gaussian", "noise_multiplier": 1.5, "clip_norm_l2": 4.0, "expected_batch_units": units}
    return plan(**{**fields, "clipping": rule, **changes})


class Recording:
    """Noise that is remembered."""

    mechanism = "gaussian"
    origin = "test"

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[int, ...], float]] = []

    def gaussian(self, shape: tuple[int, ...], std: float) -> DoubleArray:
        self.asked.append((shape, std))
        return SecureNoise().gaussian(shape, std)


@pytest.mark.parametrize("quantile", [0.2, 0.5, 0.8])
def test_without_noise_the_norm_follows_the_quantile(quantile: float) -> None:
    norms = [0.1 * k for k in range(1, 21)]
    privacy = plan(
        clip_norm_l2=5.0,
        steps_per_round=200,
        expected_batch_units=20.0,
        clipping=adaptive(quantile, 0.1),
    )
    seen = steps_of(lengths(norms), lengths(norms).data, privacy)
    assert [s.norm for s in seen[:1]] == [5.0]
    assert all(later.norm == earlier.next_norm for earlier, later in pairwise(seen))
    for step in seen[-20:]:
        assert np.quantile(norms, quantile - 0.06) <= step.norm <= np.quantile(norms, quantile + 0.06)


def test_each_step_clips_to_its_own_norm_and_scales_its_noise_by_it() -> None:
    gradients, noise = lengths([3.0, 8.0, 0.5, 1.0]), Recording()
    seen = steps_of(gradients, gradients.data, noisy(4, adaptive(0.3, 0.5, 2.0), steps_per_round=12), noise=noise)
    assert len({s.norm for s in seen}) > 6
    for step, (sum_asked, count_asked) in zip(seen, zip(noise.asked[::2], noise.asked[1::2], strict=True), strict=True):
        expected = sum(min(step.norm, n) for n in (3.0, 8.0, 0.5, 1.0))
        assert float(step.total[""].norm()) == pytest.approx(expected, rel=1e-5)
        assert sum_asked == ((2,), 1.5 * step.norm)
        assert count_asked == ((1,), 2.0 / 2)


def test_the_norm_never_passes_the_plans_nor_falls_to_nothing() -> None:
    wild = adaptive(0.5, 1000.0, 500.0)
    gradients = lengths([3.0, 1.0])
    seen = steps_of(gradients, gradients.data, noisy(2, wild, steps_per_round=40), noise=SecureNoise())
    norms = [s.next_norm for s in seen]
    assert max(norms) == 4.0
    assert min(norms) == pytest.approx(4e-6)


def test_the_norm_starts_anew_in_each_round() -> None:
    gradients = lengths([0.1, 0.2, 0.3])
    privacy = noisy(3, adaptive(0.5, 0.5, 1.0), steps_per_round=3)
    for _ in range(2):
        assert steps_of(gradients, gradients.data, privacy, noise=SecureNoise())[0].norm == 4.0


def test_the_counts_noise_has_the_promised_spread() -> None:
    # Nobody is drawn, so the count is noise alone; a quantile near 0 keeps the norm below the plan's.
    rate, units, multiplier, steps = 0.01, 10.0, 3.0, 400
    rule = adaptive(0.001, rate, multiplier)
    gradients = lengths([1.0, 2.0])
    privacy = noisy(units, rule, steps_per_round=steps, sampling_rate=1e-12)
    seen = steps_of(gradients, gradients.data, privacy, noise=SecureNoise())
    assert all(s.count == 0.0 for s in seen)
    moves = np.array([math.log(s.next_norm / s.norm) for s in seen if s.next_norm < 4.0])
    counts = units * (-moves / rate - 0.5 + 0.001)
    assert len(counts) >= steps - 10
    std = multiplier / 2
    assert abs(counts.std() - std) < 5 * std / math.sqrt(2 * len(counts))
    assert abs(counts.mean()) < 5 * std / math.sqrt(len(counts))


def test_the_true_count_shows_in_nothing_but_the_noised_one() -> None:
    """Of two data sets with equal sums and counts that differ, all differs that may: the next norm, through noise."""

    class Cancelling(Recording):
        """Noise that takes the count away again: what is left must not know it."""

        def gaussian(self, shape: tuple[int, ...], std: float) -> DoubleArray:
            self.asked.append((shape, std))
            return np.full(shape, -self.count) if shape == (1,) else np.zeros(shape)

    privacy = noisy(4, adaptive(0.5, 0.3, 1.0), steps_per_round=1)
    ends = []
    # Units of norm 0 change no sum; they are below any clip norm and raise the count.
    for norms, count in (([1.0, 9.0], 0.0), ([1.0, 9.0, 0.0, 0.0], 1.0)):
        gradients, noise = lengths(norms), Cancelling()
        noise.count = count  # type: ignore[attr-defined]
        (step,) = steps_of(gradients, gradients.data, privacy, noise=noise)
        assert step.count == count
        ends.append((step.next_norm, step.total[""].tolist(), noise.asked))
    assert ends[0] == ends[1]


def test_a_plan_without_noise_asks_for_none_on_the_count() -> None:
    gradients = lengths([1.0, 9.0])
    privacy = plan(clipping=adaptive(0.5, 0.3), expected_batch_units=2.0, clip_norm_l2=2.0, steps_per_round=4)
    asked = []

    class Silent:
        mechanism, origin = "UnsafeNoNoise", "test"

        def gaussian(self, shape: tuple[int, ...], std: float) -> DoubleArray:
            asked.append((shape, std))
            return UnsafeNoNoise().gaussian(shape, std)

    steps_of(gradients, gradients.data, privacy, noise=Silent())
    assert asked == [((2,), 0.0)] * 4


@pytest.mark.parametrize("micro_batch", [1, 2, 64])
def test_micro_batches_change_neither_count_nor_norm(micro_batch: int) -> None:
    gradients = lengths([0.1 * k for k in range(1, 12)])
    privacy = plan(clipping=adaptive(0.4, 0.3), expected_batch_units=11.0, steps_per_round=6)
    expected = steps_of(gradients, gradients.data, privacy, micro_batch=5)
    found = steps_of(gradients, gradients.data, privacy, micro_batch=micro_batch)
    assert [(s.count, s.norm) for s in found] == [(s.count, s.norm) for s in expected]
