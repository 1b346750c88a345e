"""One unit moves a step's sum by at most the clip norm, and the sum is the one that Opacus would take.

Over random models, ranks, targets, parts that train, paddings, groupings, micro-batches and rules of clipping;
sums are read in float64 before noise, from the real `train`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from domains.language import Adapted, Base
from fedclient._fused import FusedGradients
from fedclient._hooks import ExampleGradients
from fedclient.dataset import PrivateDataset
from fedcore.adapter import Form
from fedcore.privacy.bounds import Clipping
from simulations.tiny import KINDS, TinyKind, make_tiny_base
from tests.reference import clipped_sum as twin
from tests.reference.models import adapt, plan, sequences
from tests.reference.observed import sum_of
from tests.reference.opacus_sum import opacus_sum

TARGETS: dict[TinyKind, list[tuple[str, ...]]] = {
    "llama": [("q_proj", "v_proj"), ("down_proj",), ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj")],
    "gpt2": [("c_attn",), ("c_attn", "c_fc")],
    "moe": [("q_proj", "v_proj"), ("o_proj",)],
    "bert": [("query", "value"), ("key",)],
}
RULES = [
    Clipping(),
    Clipping(rule="automatic", stability=0.01),
    Clipping(rule="adaptive", quantile=0.5, learning_rate=0.2, count_noise_multiplier=0.0),
]
SOURCES: list[Callable[[Adapted], Any]] = [FusedGradients, ExampleGradients]

few = settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate],  # A model is made for each example: shrinking would take minutes.
)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[TinyKind, Path]:
    root = Path(tmp_path_factory.mktemp("bases"))
    return {kind: make_tiny_base(root / kind, kind) for kind in KINDS}


@pytest.fixture(scope="module")
def bases(paths: dict[TinyKind, Path]) -> dict[TinyKind, Base]:
    return {kind: Base.load(path, device="cpu") for kind, path in paths.items()}


@pytest.fixture(scope="module")
def halves(paths: dict[TinyKind, Path]) -> dict[TinyKind, Base]:
    """The bases that can be loaded in bfloat16: a classifier's head is trained in float32."""
    return {k: Base.load(path, device="cpu", dtype="bfloat16") for k, path in paths.items() if k != "bert"}


@dataclass(frozen=True)
class Case:
    kind: TinyKind
    trains: tuple[str, ...]
    rank: int
    targets: tuple[str, ...]
    seed: int
    shape: list[list[int]]
    micro_batch: int
    source: Callable[[Adapted], Any]
    form: Form = "lora"
    residual_rank: int = 0

    def adapted(self, bases: dict[TinyKind, Base]) -> Adapted:
        return adapt(
            bases[self.kind],
            self.kind,
            self.trains,
            self.seed % 1000,
            rank=self.rank,
            targets=self.targets,
            form=self.form,
            residual_rank=self.residual_rank,
        )

    @property
    def data(self) -> PrivateDataset:
        return sequences(self.shape, self.seed)


@st.composite
def cases(draw: st.DrawFn, kinds: tuple[TinyKind, ...] = KINDS) -> Case:
    kind = draw(st.sampled_from(kinds))
    trains = [("lora_A", "lora_B"), ("lora_A",), ("lora_B",)]
    return Case(
        kind=kind,
        trains=draw(st.sampled_from([*trains, ("lora_B", "head"), ("head",)] if kind == "bert" else trains)),
        rank=draw(st.integers(1, 4)),
        targets=draw(st.sampled_from(TARGETS[kind])),
        seed=draw(st.integers(0, 2**31)),
        shape=draw(st.lists(st.lists(st.integers(2, 14), min_size=1, max_size=4), min_size=1, max_size=5)),
        micro_batch=draw(st.integers(1, 9)),
        source=draw(st.sampled_from(SOURCES)),
    )


@st.composite
def cases_of_forms(draw: st.DrawFn, kinds: tuple[TinyKind, ...] = KINDS) -> Case:
    """Cores alone, with a head, beside a residual; and a residual beside factors that train."""
    case = draw(cases(kinds))
    form: Form = draw(st.sampled_from(("core", "core", "lora")))
    trains = case.trains
    if form == "core":
        trains = draw(st.sampled_from([("core",), ("core", "head")] if case.kind == "bert" else [("core",)]))
    residual_rank = draw(st.integers(0, 5)) if form == "core" else draw(st.integers(1, 5))
    return replace(case, form=form, trains=trains, residual_rank=residual_rank)


def distance(one: twin.Sums, other: twin.Sums) -> float:
    return twin.norm({name: one[name] - other[name] for name in other})


def between(norms: list[float], share: float) -> float:
    """A clip norm that a share of the units passes."""
    ordered = sorted(norms)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 0.9


@pytest.mark.slow
@few
@given(cases(), st.floats(0, 1))
def test_the_sum_equals_opacus_and_one_unit_at_a_time(bases: dict[TinyKind, Base], case: Case, share: float) -> None:
    adapted, data = case.adapted(bases), case.data
    grads = [twin.unit_gradient(adapted, unit) for unit in data.units]
    norms = [twin.norm(g) for g in grads]
    clip = between(norms, share)
    slow = twin.clipped_sum(adapted, data.units, clip)
    # Where units cancel, a small relative error of each is a large one of the sum.
    assume(twin.norm(slow) >= 0.5 * min(clip, max(norms)))
    # Opacus divides by the norm plus 1e-6.
    assume(min(norms) >= 0.2)
    found = sum_of(case.source(adapted), data, plan(clip_norm_l2=clip), micro_batch=case.micro_batch)
    assert distance(found, slow) <= 1e-5 * twin.norm(slow)
    assert distance(found, opacus_sum(adapted, data.units, clip)) <= 1e-5 * twin.norm(slow)


def require_bounded(adapted: Adapted, case: Case, rule: Clipping, gone: int, share: float) -> None:
    """Add or remove one unit: at most C. Replace one: at most 2 C."""
    data, gradients = case.data, case.source(adapted)
    units = data.units
    gone %= len(units)
    other = sequences([[9, 3]], case.seed + 1).units[0]
    clip = between([twin.norm(twin.unit_gradient(adapted, unit)) for unit in units], share)
    privacy = plan(clip_norm_l2=clip, clipping=rule)

    def total(chosen: tuple[Any, ...]) -> twin.Sums:
        return sum_of(gradients, PrivateDataset(chosen), privacy, micro_batch=case.micro_batch)

    whole = total(units)
    if len(units) > 1:
        assert distance(whole, total((*units[:gone], *units[gone + 1 :]))) <= clip
    assert distance(whole, total((*units, other))) <= clip
    assert distance(whole, total((*units[:gone], other, *units[gone + 1 :]))) <= 2 * clip
    assert twin.norm(total((units[gone],))) <= clip


@few
@given(cases(), st.sampled_from(RULES), st.integers(0, 9), st.floats(0, 1))
def test_one_unit_moves_the_sum_at_most_the_clip_norm(
    bases: dict[TinyKind, Base], case: Case, rule: Clipping, gone: int, share: float
) -> None:
    require_bounded(case.adapted(bases), case, rule, gone, share)


@few
@given(cases(("llama", "gpt2", "moe")), st.sampled_from(RULES), st.integers(0, 9), st.floats(0, 1))
def test_one_unit_moves_the_sum_at_most_the_clip_norm_in_bfloat16(
    halves: dict[TinyKind, Base], case: Case, rule: Clipping, gone: int, share: float
) -> None:
    require_bounded(case.adapted(halves), case, rule, gone, share)


@few
@given(cases_of_forms(), st.sampled_from(RULES), st.integers(0, 9), st.floats(0, 1))
def test_one_unit_moves_the_sum_of_any_form_at_most_the_clip_norm(
    bases: dict[TinyKind, Base], case: Case, rule: Clipping, gone: int, share: float
) -> None:
    require_bounded(case.adapted(bases), case, rule, gone, share)


@few
@given(cases_of_forms(("llama", "gpt2", "moe")), st.sampled_from(RULES), st.integers(0, 9), st.floats(0, 1))
def test_one_unit_moves_the_sum_of_any_form_at_most_the_clip_norm_in_bfloat16(
    halves: dict[TinyKind, Base], case: Case, rule: Clipping, gone: int, share: float
) -> None:
    require_bounded(case.adapted(halves), case, rule, gone, share)


@few
@given(cases_of_forms(), st.floats(0, 1))
def test_the_sum_of_any_form_equals_one_unit_at_a_time(bases: dict[TinyKind, Base], case: Case, share: float) -> None:
    adapted, data = case.adapted(bases), case.data
    norms = [twin.norm(twin.unit_gradient(adapted, unit)) for unit in data.units]
    clip = between(norms, share)
    slow = twin.clipped_sum(adapted, data.units, clip)
    assume(min(norms) >= 1e-3)  # Zero but for rounding, as of a query that one key alone can answer.
    assume(twin.norm(slow) >= 0.3 * min(clip, max(norms)))
    found = sum_of(case.source(adapted), data, plan(clip_norm_l2=clip), micro_batch=case.micro_batch)
    assert distance(found, slow) <= 2e-5 * twin.norm(slow)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "moe"])
def test_a_bfloat16_gradient_does_not_depend_on_what_shares_its_batch(
    halves: dict[TinyKind, Base], kind: TinyKind
) -> None:
    adapted = adapt(halves[kind], kind)
    units = sequences([[9], [9], [16], [4]], seed=2).units
    gradients, wide = FusedGradients(adapted), plan(clip_norm_l2=1e6)
    pair = sum_of(gradients, PrivateDataset(units[:2]), wide)  # Of one length: nothing to pad.
    with_longer = sum_of(gradients, PrivateDataset((*units[:2], units[2])), wide)
    longer = sum_of(gradients, PrivateDataset((units[2],)), wide)
    difference = {name: with_longer[name] - longer[name] for name in pair}
    assert distance(difference, pair) <= 1e-6 * twin.norm(pair)


def test_a_unit_above_the_clip_norm_moves_the_sum_by_nearly_all_of_it(bases: dict[TinyKind, Base]) -> None:
    adapted, data = adapt(bases["llama"], "llama"), sequences([[9, 4], [3], [12, 5]], seed=0)
    for rule in RULES:
        privacy = plan(clip_norm_l2=0.1, clipping=rule)
        gradients = FusedGradients(adapted)
        moved = distance(sum_of(gradients, data, privacy), sum_of(gradients, PrivateDataset(data.units[1:]), privacy))
        assert 0.097 <= moved <= 0.1
