"""The white-box audit: honest code passes and is bounded from near; whatever breaks the plan is refused."""

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from domains.language import collate
from fedclient import accountant, audit, joint
from fedclient._canaries import CanaryGradients, grouped, made_up_records
from fedclient.audit import (
    audit_step,
    full_batches,
    observe,
    observe_joint,
    parts_of,
    require_independent,
    require_mechanism,
    require_sampling,
)
from fedclient.step import UnitOptimizer
from fedcore.errors import PrivacyError
from fedcore.privacy import integer_accounting
from fedcore.privacy.bounds import Clipping
from fedcore.privacy.integer_noise import IntArray, SecureIntegerNoise, UnsafeSeededIntegerNoise
from fedcore.privacy.noise import DoubleArray, SecureNoise, UnsafeNoNoise, UnsafeSeededNoise
from fedcore.privacy.plan import UNSAFE_NO_NOISE, PrivacyPlan
from fedcore.privacy.sampling import PoissonUnits, SystemRandom
from fedcore.privacy.units import PrivacyUnit


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def plan(**changes: Any) -> PrivacyPlan:
    """Noise 1, everyone in, one step: epsilon 4.38."""
    fields: dict[str, Any] = {
        "unit": PrivacyUnit(key="patient"),
        "sampling_rate": 1.0,
        "steps_per_round": 1,
        "expected_batch_units": 40.0,
        "examples_per_unit": 2,
        "clip_norm_l2": 0.7,
        "noise_multiplier": 1.0,
        "delta": 1e-5,
    }
    return PrivacyPlan(**{**fields, **changes})


ADAPTIVE = Clipping(rule="adaptive", quantile=0.5, learning_rate=0.3, count_noise_multiplier=8.0)
PLANS = {
    "all in": plan(),
    "sampled": plan(sampling_rate=0.02, noise_multiplier=0.8, steps_per_round=5),
    "truncated": plan(sampling_rate=0.05, sampler="truncated_poisson", batch_limit=80, largest_units=500),
    "truncated, few units": plan(sampling_rate=0.01, sampler="truncated_poisson", batch_limit=16, largest_units=100),
    "automatic": plan(clipping=Clipping(rule="automatic", stability=0.01)),
    "adaptive": plan(clipping=ADAPTIVE, sampling_rate=0.1),
    "replace": plan(unit=PrivacyUnit(key="record", relation="replace_one"), noise_multiplier=3.0),
    "one example": plan(examples_per_unit=1, clip_norm_l2=1e-3, expected_batch_units=1e6),
    "much noise": plan(noise_multiplier=30.0),
}


@pytest.mark.parametrize("privacy", PLANS.values(), ids=PLANS.keys())
@pytest.mark.filterwarnings("error")
def test_honest_code_passes_and_is_bounded_from_below(privacy: PrivacyPlan) -> None:
    bound = audit_step(privacy, steps=10)
    upper = accountant.epsilon([replace(privacy.event(), steps=10)], privacy.delta)
    assert 0.1 * upper < bound.epsilon_lower < upper
    assert bound.confidence >= 0.999999
    assert privacy.noise_multiplier < bound.noise_multiplier_upper < 2 * privacy.noise_multiplier


def test_the_bound_is_near_the_truth_where_everyone_is_in() -> None:
    bound = audit_step(plan(), steps=1, canaries=2000)
    assert 4.2 < bound.epsilon_lower < 4.38


def test_an_audit_takes_well_under_a_second_of_processor_time() -> None:
    audit_step(plan(), steps=1)
    # It takes half of it; of three, for a core that is shared with others makes any one of them slower.
    assert any(processor_time(plan(sampling_rate=0.02)) < 1.0 for _ in range(3))


def processor_time(privacy: PrivacyPlan) -> float:
    started = time.process_time()
    audit_step(privacy, steps=1000)
    return time.process_time() - started


def test_without_noise_the_bound_is_infinite() -> None:
    bound = audit_step(plan(mechanism=UNSAFE_NO_NOISE, noise_multiplier=0.0), steps=1)
    assert bound.epsilon_lower == math.inf
    assert bound.noise_multiplier_upper == 0.0


def test_canaries_move_an_unnoised_sum_by_exactly_what_they_were_made_for() -> None:
    silent = full_batches(plan(mechanism=UNSAFE_NO_NOISE, noise_multiplier=0.0))
    data = grouped(made_up_records(50))
    seen = observe(silent, data, rounds=1, noise=UnsafeNoNoise(), source=SystemRandom())
    assert len(data) == 50
    assert {len(unit) for unit in data.units} == {1, 2, 3}
    assert np.abs(seen.outputs - seen.designs).max() < 1e-4
    # Everyone counts once: the design's groups hold all the canaries.
    assert seen.designs[0].sum() == pytest.approx(50 * (0.48 + 0.64 + 0.60))


def test_gradients_are_far_above_the_clip_norm() -> None:
    gradients = CanaryGradients(0.7)
    grads = gradients.of(collate([e for unit in grouped(made_up_records(6)).units for e in unit]))
    norms = torch.stack([g.flatten(1).square().sum(dim=1) for g in grads]).sum(dim=0).sqrt()
    assert float(norms.min()) >= 0.99e3 * 0.7


class Broken:
    """Noise that something is wrong with."""

    mechanism: ClassVar[str] = "gaussian"
    origin: ClassVar[str] = "broken"

    def __init__(self, kind: str) -> None:
        self._kind, self._calls, self._block = kind, 0, SecureNoise().gaussian((100_000,), 1.0)

    def gaussian(self, shape: tuple[int, ...], std: float) -> DoubleArray:
        self._calls += 1
        count = int(np.prod(shape))
        if self._kind == "none":
            return np.zeros(shape)
        if self._kind == "not finite":
            return np.full(shape, np.nan)
        if self._kind == "repeated":
            return self._block[:count].reshape(shape) * std
        factor = {"halved": 0.5, "94 %": 0.94}.get(self._kind, 1.0)
        noise = SecureNoise().gaussian(shape, std * factor)
        if self._kind == "one layer" and count > 512:
            noise[-512:] = 0  # The last and smallest layer is the end of what is drawn in one go.
        return noise


@pytest.mark.parametrize("kind", ["none", "not finite", "repeated", "one layer", "halved", "94 %"])
@pytest.mark.parametrize("name", ["all in", "sampled", "adaptive"])
def test_noise_that_is_not_the_plan_s_is_refused(kind: str, name: str) -> None:
    # Noise that repeats may also look like a sum that moves too far, whichever is found first.
    with pytest.raises(PrivacyError, match=r"noise|not finite|more than the clip norm"):
        audit_step(PLANS[name], steps=1, noise=Broken(kind))


def test_more_noise_than_the_plan_s_is_warned_of() -> None:
    class Doubled:
        mechanism, origin = "gaussian", "doubled"

        def gaussian(self, shape: tuple[int, ...], std: float) -> DoubleArray:
            return SecureNoise().gaussian(shape, 2 * std)

    with pytest.warns(UserWarning, match="more noise"):
        bound = audit_step(plan(), steps=1, noise=Doubled())
    assert bound.epsilon_lower < 2.1


def test_noise_that_seeds_decide_alike_on_two_nodes_correlates() -> None:
    def node(canaries: int, seed: int) -> list[Any]:
        data = grouped(made_up_records(canaries))
        seen = observe(full_batches(plan()), data, rounds=1, noise=UnsafeSeededNoise(seed), source=SystemRandom())
        return seen.noise()

    with pytest.raises(PrivacyError, match="repeats"):
        require_independent(node(60, 5) + node(90, 5))
    require_independent(node(60, 5) + node(90, 6))


class Wrong:
    """A sampler that something is wrong with."""

    def __init__(self, kind: str, privacy: PrivacyPlan, units: int) -> None:
        self._kind, self._rate, self._units = kind, privacy.sampling_rate, units

    def draw(self) -> Any:
        if self._kind == "fixed size":
            return np.arange(round(self._rate * self._units))
        if self._kind == "all or nothing":
            return np.arange(self._units if np.random.default_rng().random() < self._rate else 0)
        factor = {"too often": 1.2, "too seldom": 0.8}[self._kind]
        return PoissonUnits(sampling_rate=factor * self._rate, units=self._units, source=SystemRandom()).draw()


@pytest.mark.parametrize("kind", ["fixed size", "all or nothing", "too often", "too seldom"])
@pytest.mark.parametrize("rate", [0.5, 0.02, 0.001])
def test_sampling_that_is_not_the_plan_s_is_refused(kind: str, rate: float) -> None:
    privacy = plan(sampling_rate=rate)
    with pytest.raises(PrivacyError, match="sampling"):
        require_sampling(privacy, source=SystemRandom(), batches=lambda units: Wrong(kind, privacy, units))


def test_a_truncated_batch_that_passes_its_limit_is_refused() -> None:
    privacy = PLANS["truncated"]

    def untruncated(units: int) -> PoissonUnits:
        return PoissonUnits(sampling_rate=privacy.sampling_rate, units=units, source=SystemRandom())

    # Without a limit 100 units enter on average: 8 or fewer do less than once in 10**30 draws.
    tight = replace(privacy, batch_limit=8, largest_units=2000)
    with pytest.raises(PrivacyError, match="limit"):
        require_sampling(tight, source=SystemRandom(), batches=untruncated)


def test_a_rate_of_one_that_leaves_units_out_is_refused() -> None:
    with pytest.raises(PrivacyError, match="leaves units out"):
        require_sampling(
            plan(),
            source=SystemRandom(),
            # All 65 units that are tried enter by chance less than once in 10**19 times.
            batches=lambda n: PoissonUnits(sampling_rate=0.5, units=n, source=SystemRandom()),
        )


def test_a_clip_norm_that_is_not_kept_is_refused() -> None:
    privacy = full_batches(plan())
    looser = replace(privacy, clip_norm_l2=1.1 * privacy.clip_norm_l2, noise_multiplier=1 / 1.1)
    seen = observe(looser, grouped(made_up_records(300)), rounds=2, noise=SecureNoise(), source=SystemRandom())
    # Read as sums in units of the plan's norm, every unit moves them by a tenth too much.
    scaled = audit.Observation(outputs=1.1 * seen.outputs, designs=seen.designs, plain=seen.plain)
    with pytest.raises(PrivacyError, match="clip norm"):
        require_mechanism(scaled, privacy)
    require_mechanism(seen, looser)


def test_an_accountant_that_says_too_little_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    real = accountant.epsilon
    monkeypatch.setattr(accountant, "epsilon", lambda *a, **k: 0.9 * real(*a, **k))
    with pytest.raises(PrivacyError, match="more than is accounted for"):
        audit_step(plan(), steps=1)


@pytest.mark.slow
def test_fifteen_audits_of_honest_code_raise_no_alarm() -> None:
    bounds = [audit_step(plan(sampling_rate=0.3, steps_per_round=2), steps=4) for _ in range(15)]
    assert all(b.noise_multiplier_upper > 1 for b in bounds)


def shared(honest: int, **changes: Any) -> PrivacyPlan:
    return plan(mechanism="discrete_gaussian", honest_minimum=honest, **changes)


JOINT = {
    "one": shared(1),
    "three": shared(3),
    "three, sampled": shared(3, sampling_rate=0.02, noise_multiplier=0.8),
    "eight, automatic": shared(8, clipping=Clipping(rule="automatic", stability=0.01), clip_norm_l2=1e-3),
    "three, replace": shared(3, unit=PrivacyUnit(key="record", relation="replace_one"), noise_multiplier=3.0),
    "twenty, much noise": shared(20, noise_multiplier=30.0),
}


@pytest.mark.parametrize("privacy", JOINT.values(), ids=JOINT.keys())
@pytest.mark.filterwarnings("error")
def test_honest_shares_pass_and_are_bounded_from_below(privacy: PrivacyPlan) -> None:
    bound = audit_step(privacy, steps=10)
    upper = accountant.epsilon([replace(privacy.event(), steps=10)], privacy.delta)
    # So much noise is measured roughly: five standard deviations of the estimate reach to ten times the truth.
    rough = 10 if privacy.noise_multiplier > 10 else 1.2
    assert 0.1 / rough * upper < bound.epsilon_lower < upper
    assert privacy.noise_multiplier < bound.noise_multiplier_upper < rough * privacy.noise_multiplier


@pytest.mark.parametrize("name", ["all in", "sampled", "truncated", "automatic", "replace"])
@pytest.mark.filterwarnings("error")
def test_honest_joint_steps_with_own_noise_pass_too(name: str) -> None:
    privacy = replace(PLANS[name], steps_per_round=1)
    bound = audit_step(privacy, steps=10, joint=True)
    assert privacy.noise_multiplier < bound.noise_multiplier_upper < 1.2 * privacy.noise_multiplier


def test_an_audit_of_shared_noise_takes_no_longer_than_any_other() -> None:
    audit_step(shared(3), steps=1)
    assert any(processor_time(shared(3, sampling_rate=0.02)) < 1.5 for _ in range(3))


class BrokenShares:
    """Shares of the noise that something is wrong with."""

    mechanism: ClassVar[str] = "discrete_gaussian"
    origin: ClassVar[str] = "broken"

    def __init__(self, kind: str, honest: int) -> None:
        self._kind, self._honest, self._calls = kind, honest, 0

    def discrete_gaussian(self, count: int, std: int) -> IntArray:
        self._calls += 1
        if self._kind == "none":
            return np.zeros(count, dtype=np.int64)
        if self._kind == "one share for all" and self._calls % self._honest != 1:
            return np.zeros(count, dtype=np.int64)  # The others leave it to the first.
        if self._kind == "the same":
            return UnsafeSeededIntegerNoise(7).discrete_gaussian(count, std)
        factor = {"halved": 0.5, "92 %": 0.92}.get(self._kind, 1.0)
        share = SecureIntegerNoise().discrete_gaussian(count, round(std * factor))
        if self._kind == "one layer":
            share[-512:] = 0
        return share


@pytest.mark.parametrize("kind", ["none", "one share for all", "halved", "92 %", "one layer", "the same"])
@pytest.mark.parametrize("name", ["three", "three, sampled", "twenty, much noise"])
@pytest.mark.filterwarnings("ignore:.*more noise")  # Twenty times the same share is twenty shares' worth.
def test_shares_that_do_not_carry_the_plan_are_refused(kind: str, name: str) -> None:
    privacy = JOINT[name]
    with pytest.raises(PrivacyError, match="noise"):
        audit_step(privacy, steps=1, noise=BrokenShares(kind, privacy.honest_minimum or 1))


def test_shares_planned_for_too_small_a_sensitivity_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    real = integer_accounting.sensitivity_units
    monkeypatch.setattr(integer_accounting, "sensitivity_units", lambda *a: real(*a) / 2)
    with pytest.raises(PrivacyError, match="less noise"):
        audit_step(shared(3), steps=1)


def test_a_joint_step_that_leaves_the_shares_out_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    real = joint.encoded_sum

    class Forgetful:
        mechanism: ClassVar[str] = "discrete_gaussian"

        def discrete_gaussian(self, count: int, std: int) -> IntArray:
            return np.zeros(count, dtype=np.int64)

    monkeypatch.setattr("fedclient._observation.encoded_sum", lambda *a, **k: real(*a, **{**k, "noise": Forgetful()}))
    with pytest.raises(PrivacyError, match="less noise"):
        audit_step(shared(3), steps=1)


@pytest.mark.parametrize("privacy", [shared(3), plan()], ids=["shared noise", "own noise"])
@pytest.mark.filterwarnings("ignore:units move")  # What is too long is scaled down whole.
def test_a_joint_step_without_clipping_in_one_layer_is_refused(
    monkeypatch: pytest.MonkeyPatch, privacy: PrivacyPlan
) -> None:
    class OneLayerUnclipped(UnitOptimizer):
        def clip_and_accumulate(self) -> None:
            last = self.params[-1]
            whole = last.grad_sample.double().sum(dim=0)
            if last.summed_grad is not None:
                whole += last.summed_grad
            super().clip_and_accumulate()
            last.summed_grad = whole

    monkeypatch.setattr("fedclient.joint.UnitOptimizer", OneLayerUnclipped)
    with pytest.raises(PrivacyError, match="more than the clip norm allows"):
        audit_step(privacy, steps=1, joint=True)


def test_more_noise_than_the_shares_should_carry_is_warned_of() -> None:
    class Doubled:
        mechanism, origin = "discrete_gaussian", "doubled"

        def discrete_gaussian(self, count: int, std: int) -> IntArray:
            return SecureIntegerNoise().discrete_gaussian(count, 2 * std)

    with pytest.warns(UserWarning, match="more noise"):
        audit_step(shared(3), steps=1, noise=Doubled())


def test_what_is_seen_of_a_joint_sum_is_the_total_of_all_institutions() -> None:
    data = grouped(made_up_records(60))
    seen = observe_joint(shared(3), parts_of(data, 3), rounds=2, noise=SecureIntegerNoise(), source=SystemRandom())
    assert seen.shares is not None
    assert seen.outputs.shape == seen.designs.shape == (2, 8192)
    assert seen.designs[0].sum() == pytest.approx(60 * (0.48 + 0.64 + 0.60))
    np.testing.assert_allclose(seen.shares.sum(axis=0), seen.outputs[0], atol=1e-9)
    assert 1.0 <= seen.price <= 1.01
    assert np.abs(seen.outputs - seen.designs).max() < 8  # Noise of multiplier 1.


@pytest.mark.slow
def test_fifteen_audits_of_honest_shares_raise_no_alarm() -> None:
    bounds = [audit_step(shared(3, sampling_rate=0.3), steps=4) for _ in range(15)]
    assert all(b.noise_multiplier_upper > 1 for b in bounds)
