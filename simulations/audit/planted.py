"""Faults planted on purpose: each must be caught by a gate that honest code passes.

A gate that has never refused anything proves nothing. Each fault here is a wrapper or subclass around the
real code, run through the same gates as an institution's own audit; production code has no switch for any
of them. The gates are then run on the honest code, where an alarm would be false.

>>> noise_halved(reference_plan()).caught
True
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, ClassVar, cast

import numpy as np
from torch import Tensor

from domains.language import Adapted, Base, Encoded, TokenBatch
from fedclient import step
from fedclient._canaries import CanaryGradients, grouped, made_up_records
from fedclient._fused import FusedGradients
from fedclient._hooks import ExampleGradients
from fedclient.audit import (
    audit_step,
    epsilon_lower,
    full_batches,
    observe,
    require_independent,
    require_mechanism,
    require_sampling,
)
from fedclient.dataset import PrivateDataset
from fedclient.records import Record
from fedcore.adapter import AdapterSchema
from fedcore.errors import ConcordatError, PrivacyError, UnsupportedModel
from fedcore.privacy._stream import SYSTEM
from fedcore.privacy.noise import DoubleArray, NoiseSource, SecureNoise, UnsafeSeededNoise
from fedcore.privacy.plan import PrivacyPlan
from fedcore.privacy.sampling import IntArray, PoissonUnits, SystemRandom
from fedcore.privacy.units import PrivacyUnit
from fedcore.round import Optimiser
from simulations.tiny import TARGETS, make_tiny_base

__all__ = [
    "FAULTS",
    "Planted",
    "clip_skipped",
    "noise_halved",
    "plant_all",
    "reference_plan",
    "seeded_alike",
    "shuffled",
    "token_mean",
    "unit_split",
]

_CANARIES = 400
_SGD = Optimiser(name="sgd", learning_rate=1.0)


@dataclass(frozen=True, kw_only=True)
class Planted:
    """What came of one planted fault.

    Args:
        fault: What was wrong.
        caught: Whether every gate named refused it.
        gate: What refuses it.
        detail: What the gates said, or what let the fault pass.
        false_alarm: Whether a gate refused the honest code too.
    """

    fault: str
    caught: bool
    gate: str
    detail: str
    false_alarm: bool


def reference_plan() -> PrivacyPlan:
    """Noise 1, everyone in, one step: epsilon is 4.38 at delta 1e-5."""
    return PrivacyPlan(
        unit=PrivacyUnit(key="record"),
        sampling_rate=1.0,
        steps_per_round=1,
        expected_batch_units=float(_CANARIES),
        examples_per_unit=3,
        clip_norm_l2=1.0,
        noise_multiplier=1.0,
        delta=1e-5,
    )


def plant_all(privacy: PrivacyPlan, report: Callable[[str], None] = lambda fault: None) -> list[Planted]:
    """Plant every fault in training by a plan that adds noise.

    Args:
        privacy: The plan.
        report: Told of each fault before it is planted.
    """
    results = []
    for name, plant in FAULTS.items():
        report(name)
        results.append(plant(privacy))
    return results


class HalvedNoise:
    """Secure noise of half the standard deviation that is asked for."""

    mechanism: ClassVar[str] = "gaussian"
    origin: ClassVar[str] = "planted: halved"

    def gaussian(self, shape: tuple[int, ...], std: float) -> DoubleArray:
        """Half of what was asked."""
        return SecureNoise().gaussian(shape, std / 2)


def noise_halved(privacy: PrivacyPlan) -> Planted:
    """Noise of half the plan's standard deviation."""
    seen = observe(full_batches(privacy), _canaries(), rounds=3, noise=HalvedNoise(), source=SystemRandom()).form(
        confidence=0.999
    )
    multiplier = seen.noise_multiplier.high
    found = epsilon_lower(multiplier, replace(privacy, sampling_rate=1.0), steps=1, rate=1.0)
    planned = epsilon_lower(privacy.noise_multiplier, replace(privacy, sampling_rate=1.0), steps=1, rate=1.0)
    return _outcome(
        "noise halved",
        "the audit of noise in every layer",
        faulty=[lambda: audit_step(privacy, steps=1, noise=HalvedNoise())],
        honest=[lambda: audit_step(privacy, steps=1)],
        remark=f"a step that samples everyone costs at least {found:.2f} where the plan says {planned:.2f}",
    )


class _OneLayerUnclipped(step.UnitOptimizer):
    """The real optimiser, but the last layer's gradients enter the sum as they are."""

    def clip_and_accumulate(self) -> None:
        last = self.params[-1]
        whole = cast(Tensor, last.grad_sample).double().sum(dim=0)
        if last.summed_grad is not None:
            whole += last.summed_grad
        super().clip_and_accumulate()
        last.summed_grad = whole


def clip_skipped(privacy: PrivacyPlan) -> Planted:
    """One layer's gradients are summed without being clipped."""

    def faulty() -> None:
        with _in_place(step, "UnitOptimizer", _OneLayerUnclipped):
            audit_step(privacy, steps=1)

    return _outcome(
        "clip skipped for one layer",
        "the audit of clipping in every layer",
        faulty=[faulty],
        honest=[lambda: audit_step(privacy, steps=1)],
    )


class ShuffledBatches:
    """Batches of one size from a shuffled list, as data loaders give them, in the guise of the sampler."""

    sampler: ClassVar[str] = "poisson"

    def __init__(self, sampling_rate: float, units: int) -> None:
        self.sampling_rate, self.units, self.source = sampling_rate, units, SystemRandom()
        self._size = max(1, round(sampling_rate * units))
        self._order = np.arange(0)
        self._random = np.random.default_rng()

    def draw(self) -> IntArray:
        """The next units of the shuffled list; it is shuffled again when it runs out."""
        if len(self._order) < self._size:
            self._order = self._random.permutation(self.units)
        batch, self._order = self._order[: self._size], self._order[self._size :]
        return np.sort(batch)


def shuffled(privacy: PrivacyPlan) -> Planted:
    """A shuffled loader in place of Poisson sampling."""
    quarter = replace(privacy, sampling_rate=min(privacy.sampling_rate, 0.25))
    quarter = replace(quarter, sampler="poisson", batch_limit=None, largest_units=None)
    data = _canaries()

    def trained() -> None:
        batches = ShuffledBatches(quarter.sampling_rate, len(data))
        _train(quarter, data, batches)

    def drawn() -> None:
        require_sampling(
            quarter, source=SystemRandom(), batches=lambda units: ShuffledBatches(quarter.sampling_rate, units)
        )

    return _outcome(
        "shuffled sampler",
        "the step's check of its sampler; the audit of batch sizes",
        faulty=[trained, drawn],
        honest=[
            lambda: _train(quarter, data, quarter.batches(len(data), SystemRandom())),
            lambda: require_sampling(quarter, source=SystemRandom()),
        ],
    )


def unit_split(privacy: PrivacyPlan) -> Planted:
    """Each visit is taken for a unit of its own, so that one patient is clipped once a visit."""
    visits = [
        Record(unit=f"{r.unit}, visit {r.fields['example']}", fields=r.fields, position=r.position)
        for r in made_up_records(_CANARIES)
    ]

    def audited(data: PrivateDataset) -> None:
        whole = full_batches(privacy)
        require_mechanism(observe(whole, data, rounds=2, noise=SecureNoise(), source=SystemRandom()), whole)

    return _outcome(
        "unit split in two",
        "the audit of a unit's influence on the sum",
        faulty=[lambda: audited(grouped(visits))],
        honest=[lambda: audited(_canaries())],
    )


def seeded_alike(privacy: PrivacyPlan) -> Planted:
    """Two nodes train on different data with noise from one seed: the difference of their updates has none."""
    whole = full_batches(privacy)

    def nodes(make: Callable[[], Any]) -> None:
        series = []
        for canaries in (_CANARIES, _CANARIES // 2):
            data = grouped(made_up_records(canaries))
            series += observe(whole, data, rounds=1, noise=make(), source=SystemRandom()).noise()
        require_independent(series)

    def named(source: NoiseSource) -> None:
        # What a node's spend and its release state: anybody sees it, also where there is one node alone.
        if source.origin != SYSTEM:
            raise PrivacyError(f"the source of noise names itself {source.origin}", expected=SYSTEM)

    return _outcome(
        "noise seeded alike on two nodes",
        "the correlation of two nodes' noise; the name that a source of noise gives itself",
        faulty=[lambda: nodes(lambda: UnsafeSeededNoise(7)), lambda: named(UnsafeSeededNoise(7))],
        honest=[lambda: nodes(SecureNoise), lambda: named(SecureNoise())],
    )


class _TokenMean:
    """An adapted base whose loss is a mean over the tokens of the whole batch, as transformers' own is."""

    def __init__(self, adapted: Adapted) -> None:
        self._adapted = adapted

    def __getattr__(self, name: str) -> Any:
        return getattr(self._adapted, name)

    def sequence_losses(self, batch: TokenBatch) -> Tensor:
        """Each sequence's part of the mean over the batch's tokens."""
        tokens = (batch.labels[:, 1:] != -100).sum(dim=1)
        return self._adapted.sequence_losses(batch) * (tokens / tokens.sum())


def token_mean(privacy: PrivacyPlan) -> Planted:
    """A loss that ties an example's gradient to the lengths of the others."""
    everyone = full_batches(privacy)
    data = PrivateDataset(
        tuple((Encoded(ids=tuple(range(3, 3 + n)), labels=(-100, *range(4, 3 + n))),) for n in (4, 9, 6))
    )
    with TemporaryDirectory() as folder:
        base = Base.load(make_tiny_base(Path(folder) / "llama", "llama"), device="cpu")
    schema = AdapterSchema.for_base(base.card, rank=2, alpha=4, targets=TARGETS["llama"])
    adapted = base.adapt(schema, ("lora_A", "lora_B"))

    def trained(rule: Callable[[Adapted], Any], model: Any) -> None:
        batches = everyone.batches(len(data), SystemRandom())
        step.train(model, data, everyone, _SGD, batches=batches, noise=SecureNoise(), gradients=rule(model))

    mixed = _TokenMean(adapted)
    return _outcome(
        "token-mean loss",
        "the proof against plain autograd, of both ways to form gradients",
        faulty=[lambda: trained(FusedGradients, mixed), lambda: trained(ExampleGradients, mixed)],
        honest=[lambda: trained(FusedGradients, adapted), lambda: trained(ExampleGradients, adapted)],
    )


FAULTS: dict[str, Callable[[PrivacyPlan], Planted]] = {
    "noise halved": noise_halved,
    "clip skipped for one layer": clip_skipped,
    "shuffled sampler": shuffled,
    "unit split in two": unit_split,
    "noise seeded alike on two nodes": seeded_alike,
    "token-mean loss": token_mean,
}
"""Every fault, by name."""


def _outcome(
    fault: str,
    gate: str,
    *,
    faulty: list[Callable[[], object]],
    honest: list[Callable[[], object]],
    remark: str = "",
) -> Planted:
    """Run the faulty code and the honest code through the gates."""
    refusals = [_refusal(run) for run in faulty]
    alarms = [alarm for alarm in map(_refusal, honest) if alarm is not None]
    said = [r or "a gate let it pass" for r in refusals] + ([remark] if remark else [])
    said += [f"false alarm: {a}" for a in alarms]
    return Planted(
        fault=fault,
        caught=None not in refusals,
        gate=gate,
        detail=" | ".join(said),
        false_alarm=bool(alarms),
    )


def _refusal(run: Callable[[], object]) -> str | None:
    """What a gate says; None when it lets pass. Anything but a refusal is a failure of the audit itself."""
    try:
        run()
    except (PrivacyError, UnsupportedModel) as error:
        return _first(error)
    return None


def _first(error: ConcordatError) -> str:
    """The message without what to do next."""
    return str(error).removesuffix("; do not train; report this")


def _canaries() -> PrivateDataset:
    """Honest units."""
    return grouped(made_up_records(_CANARIES))


def _train(privacy: PrivacyPlan, data: PrivateDataset, batches: PoissonUnits | Any) -> None:
    """One round over canaries with these batches."""
    gradients = CanaryGradients(privacy.clip_norm_l2)
    step.train(
        gradients.adapted, data, privacy, _SGD, batches=batches, noise=SecureNoise(), gradients=cast(Any, gradients)
    )


@contextmanager
def _in_place(module: ModuleType, name: str, fault: object) -> Iterator[None]:
    """Put a fault where the real code looks for a name, for a while."""
    real = getattr(module, name)
    setattr(module, name, fault)
    try:
        yield
    finally:
        setattr(module, name, real)
