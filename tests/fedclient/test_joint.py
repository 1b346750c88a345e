"""Joint steps: the sum equals the slow twin, leaves noised or encoded alone, and is gone afterwards however it ends."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from domains.language import Adapted, Base
from fedclient._fused import FusedGradients
from fedclient.dataset import PrivateDataset
from fedclient.joint import encoded_sum, noised_sum
from fedclient.step import UnitOptimizer, train
from fedcore.errors import InvalidPlan, PrivacyError, RoundError, SamplerMismatch, UnsupportedModel
from fedcore.privacy.bounds import Clipping
from fedcore.privacy.integer_accounting import sensitivity_units
from fedcore.privacy.integer_noise import SecureIntegerNoise, UnsafeSeededIntegerNoise
from fedcore.privacy.noise import DoubleArray, SecureNoise, UnsafeNoNoise, UnsafeSeededNoise
from fedcore.privacy.plan import PrivacyPlan
from fedcore.privacy.sampling import PoissonUnits, SystemRandom, UnsafeSeeded
from fedcore.round import Optimiser
from fedcore.secagg import RingArray
from fedcore.sums import SumPlan, largest_batch_units
from simulations.tiny import KINDS, TinyKind, make_tiny_base
from tests.reference import clipped_sum as twin
from tests.reference.models import GivenGradients, adapt, plan, sequences

DATA = sequences([[9, 4], [3], [12, 5, 7, 2], [6], [2], [8, 8]], seed=0)
KEPT = 1 - 2.0**-18
"""What clipping keeps of the clip norm, so that rounding cannot pass it."""


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[TinyKind, Base]:
    root = Path(tmp_path_factory.mktemp("bases"))
    return {kind: Base.load(make_tiny_base(root / kind, kind), device="cpu") for kind in KINDS}


def private(**changes: Any) -> PrivacyPlan:
    return plan(**{"mechanism": "gaussian", "noise_multiplier": 1.0, **changes})


def shared(**changes: Any) -> PrivacyPlan:
    return private(**{"mechanism": "discrete_gaussian", "honest_minimum": 3, "expected_batch_units": 8.0, **changes})


def sums_of(privacy: PrivacyPlan, parameters: int, parties: int = 3) -> SumPlan:
    return SumPlan.choose(privacy, parameters=parameters, parties=parties, threshold=parties, colluders=0)


def call(
    function: Callable[..., Any],
    source: Adapted | GivenGradients,
    data: PrivateDataset,
    privacy: PrivacyPlan,
    *sums: SumPlan,
    **options: Any,
) -> Any:
    """A joint step with whatever is not given by name as it should be."""
    gradients = FusedGradients(source) if isinstance(source, Adapted) else source
    options.setdefault("order", trained(source) if isinstance(source, Adapted) else source.parameters)
    options.setdefault("batches", privacy.batches(len(data), UnsafeSeeded(1)))
    options.setdefault("noise", UnsafeNoNoise())
    return function(gradients.adapted, data, privacy, *sums, gradients=gradients, **options)


def plain(source: Any, data: PrivateDataset, privacy: PrivacyPlan, **options: Any) -> DoubleArray:
    return np.asarray(call(noised_sum, source, data, privacy, **options), dtype=np.float64)


def encoded(source: Any, data: PrivateDataset, privacy: PrivacyPlan, sums: SumPlan, **options: Any) -> RingArray:
    result: RingArray = call(encoded_sum, source, data, privacy, sums, **options)
    return result


def trained(adapted: Adapted) -> list[torch.nn.Parameter]:
    return [p for p in adapted.parameters.values() if p.requires_grad]


def joined(sums: twin.Sums) -> DoubleArray:
    return np.concatenate([g.flatten().numpy() for g in sums.values()])


def table_sum(table: torch.Tensor, clip: float) -> DoubleArray:
    """The clipped sum of given gradients, one row at a time."""
    rows = table.double().numpy()
    scales = np.minimum(1.0, clip * KEPT / np.linalg.norm(rows, axis=1))
    return np.asarray((rows * scales[:, None]).sum(axis=0))


def require_gaussian(values: DoubleArray, std: float) -> None:
    """Mean 0 and this standard deviation; honest values fail less than once in 10**6."""
    n = values.size
    assert abs(values.mean()) <= 5.1 * std / np.sqrt(n)
    assert stats.chi2.ppf(2.5e-7, n) <= float((values**2).sum()) / std**2 <= stats.chi2.isf(2.5e-7, n)


@pytest.mark.parametrize("micro_batch", [1, 3, 64])
@pytest.mark.parametrize("kind", KINDS)
def test_a_joint_sum_equals_one_unit_at_a_time(bases: dict[TinyKind, Base], kind: TinyKind, micro_batch: int) -> None:
    adapted = adapt(bases[kind], kind)
    clip = sorted(twin.norm(twin.unit_gradient(adapted, u)) for u in DATA.units)[3]
    found = plain(adapted, DATA, plan(clip_norm_l2=clip), micro_batch=micro_batch)
    expected = joined(twin.clipped_sum(adapted, DATA.units, clip * KEPT))
    assert np.linalg.norm(found - expected) <= 1e-6 * np.linalg.norm(expected)


@pytest.mark.parametrize("trains", [("lora_A",), ("lora_B",), ("head",), ("lora_B", "head")])
def test_a_joint_sum_is_of_what_trains_in_the_order_that_is_asked_for(
    bases: dict[TinyKind, Base], trains: tuple[str, ...]
) -> None:
    adapted = adapt(bases["bert"], "bert", trains)
    backwards = trained(adapted)[::-1]
    expected = twin.clipped_sum(adapted, DATA.units, KEPT)
    found = plain(adapted, DATA, plan(), order=backwards)
    turned = joined(dict(reversed(expected.items())))
    assert np.linalg.norm(found - turned) <= 1e-6 * np.linalg.norm(turned)
    missing = trained(adapted)[1:]
    others = [p for p in adapted.parameters.values() if not p.requires_grad]
    for order in (missing, [*missing, missing[0]], [*trained(adapted), *others[:1]] if others else missing):
        with pytest.raises(UnsupportedModel, match="not those of the sum"):
            plain(adapted, DATA, plan(), order=order)


def test_sums_of_three_institutions_decode_to_the_twin_within_the_stated_bound(bases: dict[TinyKind, Base]) -> None:
    adapted = adapt(bases["llama"], "llama")
    privacy = plan(expected_batch_units=6.0)
    parts = [PrivateDataset(DATA.units[i::3]) for i in range(3)]
    sums = sums_of(privacy, sum(p.numel() for p in trained(adapted)))
    ring = sums.ring(sum(p.numel() for p in trained(adapted)))
    vectors = [encoded(adapted, part, privacy, sums) for part in parts]
    found = ring.decode(vectors[0] + vectors[1] + vectors[2])
    pooled = joined(twin.clipped_sum(adapted, DATA.units, KEPT))
    assert np.abs(found - pooled).max() <= ring.error_bound + 1e-6
    # Pooled data in one place give the same sum, by the same code.
    assert np.abs(plain(adapted, DATA, privacy) - pooled).max() <= 1e-6


@pytest.mark.parametrize("rate", [1.0, 1e-12], ids=["units", "an empty batch"])
def test_a_joint_sum_has_the_noise_of_the_plan(rate: float) -> None:
    table = torch.randn(4, 5000, generator=torch.Generator().manual_seed(0))
    gradients, privacy = GivenGradients(table), private(noise_multiplier=0.8, clip_norm_l2=0.5, sampling_rate=rate)
    expected = table_sum(table, 0.5) if rate == 1 else np.zeros(5000)
    found = np.stack([plain(gradients, gradients.data, privacy, noise=SecureNoise()) for _ in range(20)])
    require_gaussian((found - expected).ravel(), 0.8 * 0.5)
    assert len({row.tobytes() for row in found}) == 20


@pytest.mark.parametrize("rate", [1.0, 1e-12], ids=["units", "an empty batch"])
def test_a_joint_share_has_its_part_of_the_noise_and_three_carry_all_of_it(rate: float) -> None:
    table = torch.randn(4, 4000, generator=torch.Generator().manual_seed(0))
    gradients, privacy = GivenGradients(table), shared(noise_multiplier=0.8, clip_norm_l2=0.5, sampling_rate=rate)
    sums = sums_of(privacy, 4000)
    ring = sums.ring(4000)
    vectors = [encoded(gradients, gradients.data, privacy, sums, noise=SecureIntegerNoise()) for _ in range(21)]
    expected = table_sum(table, 0.5) if rate == 1 else np.zeros(4000)
    alone = np.stack([ring.decode(v) for v in vectors]) - expected
    share_std = sums.share_std_units * sums.resolution
    require_gaussian(alone.ravel(), share_std)
    threes = [ring.decode(a + b + c) for a, b, c in zip(vectors[0::3], vectors[1::3], vectors[2::3], strict=True)]
    together = np.stack(threes) - 3 * expected
    require_gaussian(together.ravel(), np.sqrt(3) * share_std)
    # One has too little by itself; three have what the plan promises, and no more than a hundredth beside.
    assert share_std < 0.6 * 0.8 * 0.5
    assert 0.8 * 0.5 <= np.sqrt(3) * share_std <= 1.01 * 0.8 * 0.5


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(1, 6),
    st.integers(2, 5),
    st.sampled_from([0.05, 1.0, 30.0]),
    st.sampled_from([2.0**-14, 2.0**-6, 2.0**-2]),
    st.integers(0, 2**31),
)
def test_removing_one_unit_moves_a_decoded_sum_at_most_by_its_sensitivity(
    d: int, units: int, clip: float, resolution: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    table = torch.tensor(random.normal(size=(units, d)) * random.choice([0.01, 1.0, 1e4], size=(units, 1))).float()
    privacy = plan(clip_norm_l2=clip, expected_batch_units=6.0)
    sums = replace(sums_of(privacy, d), bits=32, resolution=resolution)
    coins = random.random(d)  # Drawn before the data are looked at: neighbours have the same.

    def decoded(rows: torch.Tensor) -> DoubleArray:
        gradients = GivenGradients(rows)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("fedcore.secagg.encoding._uniform", lambda count: coins)
            vector = encoded(gradients, gradients.data, privacy, sums)
        return sums.ring(d).decode(vector)

    moved = float(np.linalg.norm(decoded(table) - decoded(table[1:])))
    assert moved <= sensitivity_units(clip, resolution, d) * resolution


def test_a_batch_above_the_expected_one_is_scaled_to_the_bound_and_never_overflows() -> None:
    privacy = shared(noise_multiplier=0.5, expected_batch_units=1.0, clip_norm_l2=2.0)
    sums = sums_of(privacy, 3)
    ring, units = sums.ring(3), 40 * largest_batch_units(privacy)
    gradients = GivenGradients(torch.tensor([[0.0, 5.0, 0.0]]).repeat(units, 1))
    vectors = [encoded(gradients, gradients.data, privacy, sums, noise=SecureIntegerNoise()) for _ in range(3)]
    noise = 6 * sums.share_std_units * sums.resolution
    for vector in vectors:
        assert np.abs(ring.decode(vector) - [0.0, sums.bound_l2, 0.0]).max() <= noise + sums.resolution
    total = ring.decode(vectors[0] + vectors[1] + vectors[2])
    assert np.abs(total - [0.0, 3 * sums.bound_l2, 0.0]).max() <= 2 * noise + 3 * sums.resolution


def test_units_are_drawn_clipped_and_capped_as_in_local_steps(bases: dict[TinyKind, Base]) -> None:
    adapted = adapt(bases["llama"], "llama")
    for rule in (Clipping(), Clipping(rule="automatic", stability=0.01)):
        privacy = plan(sampling_rate=0.5, examples_per_unit=1, clip_norm_l2=0.3, clipping=rule)
        found = plain(adapted, DATA, privacy, batches=privacy.batches(len(DATA), UnsafeSeeded(9)))
        before = [p.detach().clone() for p in trained(adapted)]
        batches = privacy.batches(len(DATA), UnsafeSeeded(9))
        sgd = Optimiser(name="sgd", learning_rate=1.0)
        train(adapted, DATA, privacy, sgd, batches=batches, noise=UnsafeNoNoise())
        moved = [(a - b.detach()).flatten() for a, b in zip(before, trained(adapted), strict=True)]
        assert np.abs(found).max() > 0.01
        np.testing.assert_allclose(found, torch.cat(moved).numpy(), atol=1e-6)
        with torch.no_grad():
            for p, value in zip(trained(adapted), before, strict=True):
                p.copy_(value)


def test_in_bfloat16_each_unit_has_its_passes_to_itself() -> None:
    for dtype, passes in ((torch.bfloat16, [[0], [1], [2], [3], [4]]), (torch.float32, [[0, 1, 2, 3, 4]])):
        gradients = GivenGradients(torch.ones(5, 3))
        gradients.adapted.base.model = SimpleNamespace(dtype=dtype)
        plain(gradients, gradients.data, plan())
        encoded(gradients, gradients.data, plan(expected_batch_units=5.0), sums_of(plan(expected_batch_units=5.0), 3))
        assert gradients.seen == passes * 2


def test_nothing_trains_and_nothing_is_left_on_the_model(bases: dict[TinyKind, Base]) -> None:
    adapted, told = adapt(bases["llama"], "llama"), []
    before = [p.detach().clone() for p in adapted.parameters.values()]
    parameters = sum(p.numel() for p in trained(adapted))
    privacy = shared()
    plain(adapted, DATA, private(), noise=SecureNoise(), report=lambda *done: told.append(done))
    sums = sums_of(privacy, parameters)
    encoded(adapted, DATA, privacy, sums, noise=SecureIntegerNoise(), report=lambda *done: told.append(done))
    assert told == [(1, 1), (1, 1)]
    assert all(torch.equal(a, b) for a, b in zip(before, adapted.parameters.values(), strict=True))
    assert_clean(adapted.parameters.values())
    assert not any(m._forward_hooks or m._backward_hooks or "forward" in vars(m) for m in adapted.module.modules())


def assert_clean(parameters: Any) -> None:
    for p in parameters:
        assert p.grad is None
        assert not any(hasattr(p, name) for name in ("grad_sample", "summed_grad"))


class Failing:
    """Noise that fails when it is asked for, or an encoder's input that is of the wrong length."""

    origin: ClassVar[str] = "test"

    def __init__(self, mechanism: str) -> None:
        self.mechanism = mechanism

    def gaussian(self, shape: tuple[int, ...], std: float) -> DoubleArray:
        raise OSError("no entropy")

    def discrete_gaussian(self, count: int, std: int) -> Any:
        return np.zeros(count + 1, dtype=np.int64)  # Found out after the sum was made.


class Interrupted(GivenGradients):
    """The second pass never ends."""

    def of(self, batch: Any) -> list[torch.Tensor]:
        if self.seen:
            raise KeyboardInterrupt
        return super().of(batch)


@pytest.mark.parametrize(
    ("function", "kind", "error"),
    [
        (noised_sum, GivenGradients, OSError),
        (encoded_sum, GivenGradients, RoundError),
        (noised_sum, Interrupted, KeyboardInterrupt),
        (encoded_sum, Interrupted, KeyboardInterrupt),
    ],
    ids=["noise fails", "encoding fails", "interrupted before noise", "interrupted before encoding"],
)
def test_no_sum_without_noise_can_be_reached_after_a_failure(
    function: Callable[..., Any], kind: type[GivenGradients], error: type[BaseException]
) -> None:
    gradients = kind(torch.full((4, 64), 0.25))
    is_shared = function is encoded_sum
    privacy = shared() if is_shared else private()
    sums = (sums_of(privacy, 64),) if is_shared else ()
    with pytest.raises(error) as caught:
        call(function, gradients, gradients.data, privacy, *sums, noise=Failing(privacy.mechanism), micro_batch=2)
    assert gradients.seen  # There was a sum.
    assert_clean(gradients.parameters)
    # The exception keeps frames alive, and those keep what stands in them: no sum may be among it.
    traceback, found = caught.value.__traceback__, []
    while traceback is not None:
        found += list(traceback.tb_frame.f_locals.values())
        traceback = traceback.tb_next
    holders = [value for value in found if isinstance(value, UnitOptimizer)]
    found += [total for holder in holders for total in holder._sums]
    doubles = [v for v in found if isinstance(v, (np.ndarray, torch.Tensor)) and v.dtype in (np.float64, torch.float64)]
    assert not any(bool(v.any()) for v in doubles if v.shape == (64,))
    assert holders or any(len(v) == 64 for v in doubles)  # The test has looked where a sum would be.
    assert not any(holder._units or holder._count for holder in holders)


@pytest.mark.parametrize(
    ("privacy", "noise"),
    [
        (shared(), SecureNoise()),
        (shared(), UnsafeNoNoise()),
        (plan(expected_batch_units=8.0), SecureIntegerNoise()),
        (plan(expected_batch_units=8.0), SecureNoise()),
    ],
    ids=["gaussian for shared", "none for shared", "integers for none", "gaussian for none"],
)
def test_a_share_of_another_mechanism_is_refused(privacy: PrivacyPlan, noise: Any) -> None:
    gradients = GivenGradients(torch.ones(4, 3))
    with pytest.raises(PrivacyError, match="mechanism"):
        encoded(gradients, gradients.data, privacy, sums_of(privacy, 3), noise=noise)
    assert gradients.seen == []


@pytest.mark.parametrize(
    ("privacy", "noise"),
    [(private(), SecureIntegerNoise()), (private(), UnsafeNoNoise()), (plan(), SecureNoise())],
    ids=["integers for gaussian", "none for gaussian", "gaussian for none"],
)
def test_own_noise_of_another_mechanism_is_refused(privacy: PrivacyPlan, noise: Any) -> None:
    gradients = GivenGradients(torch.ones(4, 3))
    with pytest.raises(PrivacyError, match="mechanism"):
        plain(gradients, gradients.data, privacy, noise=noise)
    assert gradients.seen == []


def test_shared_noise_never_leaves_without_a_ring_and_own_noise_never_in_one() -> None:
    gradients, noise = GivenGradients(torch.ones(4, 3)), UnsafeSeededIntegerNoise(1)
    with pytest.raises(PrivacyError, match="too little by itself"):
        plain(gradients, gradients.data, shared(), noise=noise)
    with pytest.raises(PrivacyError, match="shares its noise"):
        encoded(gradients, gradients.data, private(), sums_of(plan(), 3), noise=UnsafeSeededNoise(1))
    batches, sgd = shared().batches(4, SystemRandom()), Optimiser(name="sgd")
    integers: Any = noise
    with pytest.raises(PrivacyError, match="local steps cannot share"):
        train(gradients.adapted, gradients.data, shared(), sgd, batches=batches, noise=integers, gradients=gradients)
    assert gradients.seen == []


@pytest.mark.parametrize(
    "change",
    [
        lambda s: replace(s, share_std_units=s.share_std_units // 2),
        lambda s: replace(s, share_std_units=0),
        lambda s: replace(s, resolution=s.resolution / 2),
        lambda s: replace(s, bits=16, bound_l2=1e6),
        lambda s: replace(s, parties=4, colluders=1),
    ],
    ids=["half a share", "no share", "steps worth half", "a ring that overflows", "a colluder too many"],
)
def test_sums_that_do_not_carry_the_promise_are_refused_before_anything_is_drawn(
    change: Callable[[SumPlan], SumPlan],
) -> None:
    gradients, privacy = GivenGradients(torch.ones(4, 30)), shared()
    good = sums_of(privacy, 30)
    encoded(gradients, gradients.data, privacy, good, noise=SecureIntegerNoise())
    seen = list(gradients.seen)
    with pytest.raises(InvalidPlan):
        encoded(gradients, gradients.data, privacy, change(good), noise=SecureIntegerNoise())
    assert gradients.seen == seen


def test_samplers_and_steps_that_are_not_accounted_for_are_refused() -> None:
    gradients = GivenGradients(torch.ones(4, 3))
    wrong = PoissonUnits(sampling_rate=0.5, units=4, source=SystemRandom())
    other = PoissonUnits(sampling_rate=1.0, units=5, source=SystemRandom())
    privacy, noise = shared(), SecureIntegerNoise()
    for batches in (wrong, other, [[0, 1]], None):
        with pytest.raises(SamplerMismatch):
            plain(gradients, gradients.data, plan(), batches=batches)
        with pytest.raises(SamplerMismatch):
            encoded(gradients, gradients.data, privacy, sums_of(privacy, 3), batches=batches, noise=noise)
    adaptive = Clipping(rule="adaptive", quantile=0.5, learning_rate=0.2, count_noise_multiplier=0.0)
    for privacy in (plan(steps_per_round=2), plan(clipping=adaptive)):
        with pytest.raises(PrivacyError, match="one sum"):
            plain(gradients, gradients.data, privacy)
        with pytest.raises(PrivacyError, match="one sum"):
            encoded(gradients, gradients.data, privacy, sums_of(plan(), 3))
    assert gradients.seen == []


def test_a_batch_with_more_units_than_rounding_allows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedclient.step.LARGEST_BATCH_UNITS", 5)
    gradients = GivenGradients(torch.ones(6, 3))
    privacy = shared()
    with pytest.raises(PrivacyError, match="more units") as refusal:
        encoded(gradients, gradients.data, privacy, sums_of(privacy, 3), noise=SecureIntegerNoise(), micro_batch=2)
    assert "6" not in str(refusal.value)
    assert_clean(gradients.parameters)


def test_a_unit_whose_gradient_is_not_finite_counts_as_zero() -> None:
    table = torch.randn(4, 30, generator=torch.Generator().manual_seed(0))
    table[1, 3] = float("nan")
    gradients = GivenGradients(table)
    found = plain(gradients, gradients.data, plan())
    np.testing.assert_allclose(found, table_sum(table[[0, 2, 3]], 1.0), atol=1e-6)
