"""Two accountants that agree, two bounds that none may pass, and refusal of everything else."""

import ast
import functools
import math
from collections import Counter
from dataclasses import replace
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import opacus.accountants.analysis.prv as prv
import opacus.accountants.gdp
import pytest
from dp_accounting.pld import privacy_loss_distribution
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.accountants import GaussianAccountant, PRVAccountant, RDPAccountant
from scipy import integrate
from scipy.stats import norm

from fedclient import accountant
from fedclient.accountant import ReplaceOneLoss
from fedcore.errors import AccountantMismatch, InvalidPlan
from fedcore.privacy import accounting
from fedcore.privacy.accounting import DpEvent, merge
from fedcore.privacy.units import Relation
from tests.reference import accounting as twin

DELTA = 1e-5
ADD, REPLACE = "add_or_remove_one", "replace_one"
ROOT = Path(__file__).parents[2]


def event(rate: float, noise: float, steps: int, **more: Any) -> DpEvent:
    fields: dict[str, Any] = {"sampler": "poisson", **more}
    return DpEvent(sampling_rate=rate, noise_multiplier=noise, steps=steps, **fields)


def cut(limit: int, units: int) -> dict[str, Any]:
    """A truncated sampler's fields."""
    return {"sampler": "truncated_poisson", "batch_limit": limit, "largest_units": units}


@pytest.mark.parametrize(
    ("rate", "noise", "steps"),
    [
        (0.001, 0.8, 1000),
        (0.001, 8.0, 1000),
        (0.001, 40.0, 64),
        (0.02, 0.5, 64),
        (0.02, 8.0, 1000),
        (0.02, 40.0, 1000),
        (0.3, 0.5, 8),
        (0.3, 2.0, 64),
        (0.3, 40.0, 1000),
        (0.6, 1.0, 16),
        (0.95, 3.0, 8),
        (1.0, 0.8, 8),
        (1.0, 40.0, 64),
    ],
)
@pytest.mark.parametrize("relation", [ADD, REPLACE])
def test_accountants_agree_within_one_percent(rate: float, noise: float, steps: int, relation: str) -> None:
    events = [event(rate, noise, steps, relation=relation)]
    figure, pld = accountant.epsilon(events, DELTA), accounting.epsilon(events, DELTA)
    assert pld <= figure <= max(1.01 * pld, pld + accountant.ABSOLUTE_TOLERANCE)
    assert accountant.floor(events, DELTA) <= pld
    assert accountant.renyi(events, DELTA) >= figure - accountant.ABSOLUTE_TOLERANCE


@pytest.mark.parametrize("relation", [ADD, REPLACE])
def test_accountants_agree_on_a_mixture_of_jobs(relation: str) -> None:
    parts = [
        event(0.02, 1.0, 64),
        event(0.5, 3.0, 30, also=(("clip_count", 9.0),)),
        event(0.1, 2.0, 50, **cut(80, 300)),
    ]
    events = [DpEvent.from_dict({**e.to_dict(), "relation": relation}) for e in parts]
    figure, pld = accountant.epsilon(events, DELTA), accounting.epsilon(events, DELTA)
    assert pld <= figure <= 1.01 * pld


@pytest.mark.parametrize("relation", [ADD, REPLACE])
@pytest.mark.parametrize(
    ("rate", "noise", "steps", "limit", "units"),
    [(0.02, 1.0, 200, 60, 1000), (0.1, 1.0, 50, 120, 500), (0.5, 3.0, 30, 10, 10), (0.3, 4.0, 64, 240, 500)],
)
def test_accountants_agree_where_truncation_is_rare(
    rate: float, noise: float, steps: int, limit: int, units: int, relation: str
) -> None:
    events = [event(rate, noise, steps, relation=relation, **cut(limit, units))]
    figure, pld = accountant.epsilon(events, DELTA), accounting.epsilon(events, DELTA)
    assert pld <= figure <= 1.01 * pld
    assert figure >= accountant.epsilon([event(rate, noise, steps, relation=relation)], DELTA) * (1 - 1e-6)


@pytest.mark.parametrize("relation", [ADD, REPLACE])
@pytest.mark.parametrize("limit", [4, 20, 40, 60])
def test_batches_truncated_often_are_refused_with_a_way_out(limit: int, relation: str) -> None:
    with pytest.raises(AccountantMismatch, match="raise batch_limit"):
        accountant.epsilon([event(0.1, 1.0, 100, relation=relation, **cut(limit, 300))], DELTA)


@pytest.mark.parametrize(("noise", "steps"), [(0.8, 1), (2.0, 8), (8.0, 64), (40.0, 1000)])
def test_without_sampling_the_figure_is_the_exact_one_rounded_up(noise: float, steps: int) -> None:
    exact = twin.gaussian_epsilon(noise, steps, DELTA)
    assert exact <= accountant.epsilon([event(1.0, noise, steps)], DELTA) <= 1.005 * exact
    replaced = twin.gaussian_epsilon(noise / 2, steps, DELTA)
    assert replaced <= accountant.epsilon([event(1.0, noise, steps, relation=REPLACE)], DELTA) <= 1.005 * replaced


def test_a_count_beside_the_sum_costs_as_one_gaussian_of_both() -> None:
    both = event(0.1, 1.0, 20, also=(("clip_count", 1.0),))
    # Two Gaussians of noise 1 are one of 1 / sqrt(2); neither accountant may see the gradients alone.
    alone = accountant.epsilon([event(0.1, 1 / math.sqrt(2), 20)], DELTA)
    assert accountant.epsilon([both], DELTA) == pytest.approx(alone, rel=1e-9)
    assert accountant.floor([both], DELTA) == pytest.approx(
        accountant.floor([event(0.1, 1 / math.sqrt(2), 20)], DELTA), rel=1e-9
    )


def test_two_relations_are_refused_before_anything_is_asked() -> None:
    with pytest.raises(InvalidPlan):
        accountant.epsilon([event(0.1, 1e-6, 4), event(0.1, 1.0, 4, relation=REPLACE)], DELTA, enough=1.0)


def test_the_order_of_events_does_not_matter() -> None:
    one, other = event(0.1, 1.0, 4), event(0.2, 2.0, 8)
    assert accountant.epsilon([one, other, one], DELTA) == accountant.epsilon([other, one, one], DELTA)


def test_no_events_cost_nothing_and_no_noise_costs_everything() -> None:
    assert accountant.epsilon([], DELTA) == 0.0
    assert accountant.epsilon([event(0.1, 1.0, 1), event(0.1, 0.0, 1)], DELTA) == math.inf


@settings(max_examples=20, deadline=None)
@given(
    rate=st.floats(1e-3, 1.0),
    noise=st.floats(0.4, 40.0),
    steps=st.integers(1, 400),
    delta=st.sampled_from([1e-3, 1e-5, 1e-7]),
    relation=st.sampled_from([ADD, REPLACE]),
)
def test_the_floor_is_never_above_nor_renyi_below_an_accountant(
    rate: float, noise: float, steps: int, delta: float, relation: str
) -> None:
    events = [event(rate, noise, steps, relation=relation)]
    pld = accounting.epsilon(events, delta)
    assert accountant.floor(events, delta) <= pld * (1 + 1e-6) + 1e-6
    assert accountant.renyi(events, delta) >= pld * (1 - 2e-3) - 1e-4


def test_the_floor_of_one_step_without_sampling_is_the_exact_epsilon() -> None:
    exact = twin.gaussian_epsilon(2.0, 8, DELTA)
    assert accountant.floor([event(1.0, 2.0, 8)], DELTA) == pytest.approx(exact, rel=1e-3)
    replaced = twin.gaussian_epsilon(1.0, 8, DELTA)
    assert accountant.floor([event(1.0, 2.0, 8, relation=REPLACE)], DELTA) == pytest.approx(replaced, rel=1e-3)


@pytest.mark.parametrize(("rate", "noise"), [(0.1, 1.0), (0.6, 0.5)])
def test_the_floor_of_one_replaced_step_is_the_exact_epsilon(rate: float, noise: float) -> None:
    """The likelihood ratio grows with the output, so a threshold is the best test there is."""
    exact = twin.step_epsilon(noise, rate, DELTA, REPLACE)
    found = accountant.floor([event(rate, noise, 1, relation=REPLACE)], DELTA)
    assert 0.995 * exact <= found <= exact * (1 + 1e-6)


def test_the_floor_of_a_truncated_sampler_is_that_of_a_plain_one() -> None:
    assert accountant.floor([event(0.1, 1.0, 9, **cut(4, 300))], DELTA) == accountant.floor([event(0.1, 1.0, 9)], DELTA)


@pytest.mark.parametrize(("rate", "noise"), [(0.01, 0.8), (0.3, 2.0), (0.9, 0.5), (1.0, 3.0)])
def test_the_loss_of_replacing_has_the_distribution_that_drawing_from_it_shows(rate: float, noise: float) -> None:
    rng = np.random.default_rng(9)
    x = (rng.random(200_000) < rate) + noise * rng.standard_normal(200_000)
    p, q = twin.densities(x, noise, rate, REPLACE)
    loss = np.sort(np.log(p) - np.log(q))
    at = np.quantile(loss, np.linspace(0.01, 0.99, 25))
    share = np.searchsorted(loss, at) / len(loss)
    assert np.abs(ReplaceOneLoss(rate, noise).cdf(at) - share).max() < 5 * 0.5 / math.sqrt(len(loss))


@given(rate=st.floats(1e-4, 1.0), noise=st.floats(0.3, 40.0), x=st.floats(-8, 8))
def test_the_loss_of_replacing_inverts_the_likelihood_ratio(rate: float, noise: float, x: float) -> None:
    """P[loss <= loss(x)] is P[X <= x], for the loss grows with x."""
    x *= noise
    there, back = rate * math.exp((2 * x - 1) / (2 * noise**2)), rate * math.exp((-2 * x - 1) / (2 * noise**2))
    loss = math.log(1 - rate + there) - math.log(1 - rate + back) if rate < 1 else 2 * x / noise**2
    expected = (1 - rate) * norm.cdf(x / noise) + rate * norm.cdf((x - 1) / noise)
    # At low rates a loss is small against the float64 numbers that it is the difference of.
    slope = 1e-13 / max(abs(there - back) / max(abs(x), 1e-3), 1e-12)
    assert float(ReplaceOneLoss(rate, noise).cdf(loss)) == pytest.approx(expected, rel=1e-6, abs=1e-9 + slope)


@pytest.mark.parametrize(("rate", "noise"), [(0.02, 0.8), (0.3, 2.0), (1.0, 1.5)])
@pytest.mark.parametrize("order", [1.5, 4.0, 32.0])
def test_renyi_of_replacing_equals_an_adaptive_integral(rate: float, noise: float, order: float) -> None:
    def log_mixture(x: float, shift: float) -> float:
        terms = [math.log(rate) - (x - shift) ** 2 / (2 * noise**2)]
        if rate < 1:
            terms.append(math.log1p(-rate) - x**2 / (2 * noise**2))
        return max(terms) + math.log(sum(math.exp(t - max(terms)) for t in terms))

    found = float(accountant._renyi_of_replacing(rate, noise)[accountant._ORDERS.index(order)])

    def integrand(x: float) -> float:
        """Over what the integral should be, so that it should come to 1."""
        exponent = order * log_mixture(x, 1.0) + (1 - order) * log_mixture(x, -1.0) - (order - 1) * found
        return math.exp(exponent) / (noise * math.sqrt(2 * math.pi))

    edges = [-1 - 12 * noise, 0.0, 1.0, order, 2 * order - 1, 2 * order + 12 * noise]
    total = sum(integrate.quad(integrand, a, b, limit=400)[0] for a, b in pairwise(edges))
    assert math.log(total) / (order - 1) == pytest.approx(0.0, abs=1e-6 * found + 1e-9)


def test_renyi_of_adding_is_opacus_own() -> None:
    own = RDPAccountant()
    own.history = [(0.9, 0.05, 120)]
    found = accountant.renyi([event(0.05, 0.9, 120)], DELTA)
    assert found == pytest.approx(own.get_epsilon(DELTA), rel=0.01)


def test_renyi_of_a_truncated_step_lies_between_its_two_parts() -> None:
    plain, often = (accountant.renyi([event(0.1, 1.0, 30, **m)], DELTA) for m in ({}, cut(10, 300)))
    pushed = accountant.renyi([event(0.1, 0.5, 30, relation=REPLACE)], DELTA)
    assert plain < often <= pushed * (1 + 1e-9)
    assert accountant.renyi([event(0.1, 1.0, 30, **cut(300, 300))], DELTA) == plain


def test_an_accountant_that_understates_is_refused() -> None:
    """Opacus' GDP accountant leaves out part of the cost of sampling."""
    events = [event(0.02, 0.8, 200)]
    wrong = GaussianAccountant()
    wrong.history = [(0.8, 0.02, 200)]
    with pytest.raises(AccountantMismatch):
        accountant.require_agreement(
            prv=wrong.get_epsilon(DELTA),
            pld=accounting.epsilon(events, DELTA),
            rdp=accountant.renyi(events, DELTA),
            least=accountant.floor(events, DELTA),
        )


@pytest.mark.parametrize(
    ("prv", "pld", "rdp", "least"),
    [
        (1.02, 1.0, 1.2, 0.5),
        (1.0, 1.02, 1.2, 0.5),
        (1.0, 1.0, 1.2, 1.01),
        (1.0, 1.0, 0.98, 0.5),
        (1.0, 1.0, math.nan, 0.5),
        (math.inf, 1.0, 1.2, 0.5),
        (math.nan, 1.0, 1.2, 0.5),
        (1.0, math.nan, 1.2, 0.5),
        (0.0, 0.002, 1.2, 0.0),
        (1.0, 1.0, 1.2, math.nan),
    ],
)
def test_disagreement_is_refused(prv: float, pld: float, rdp: float, least: float) -> None:
    with pytest.raises(AccountantMismatch):
        accountant.require_agreement(prv=prv, pld=pld, rdp=rdp, least=least)


@pytest.mark.parametrize(("prv", "pld", "rdp"), [(1.005, 1.0, 1.1), (1.0, 1.0, 0.995), (0.0005, 0.0001, 0.3)])
def test_agreement_within_rounding_is_believed(prv: float, pld: float, rdp: float) -> None:
    accountant.require_agreement(prv=prv, pld=pld, rdp=rdp, least=0.0)


def test_the_accountant_names_both_and_their_versions() -> None:
    for package in ("opacus", "dp-accounting"):
        assert version(package) in accountant.ACCOUNTANT


def test_opacus_gdp_is_named_nowhere_in_the_product() -> None:
    """It understates epsilon when the rate is below one (measured: down to three quarters)."""
    named = []
    for room in ("fedcore", "fedclient", "fedserver", "domains", "simulations"):
        for path in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                words: list[str] = []
                if isinstance(node, ast.Import | ast.ImportFrom):
                    words = [*(a.name for a in node.names), getattr(node, "module", None) or ""]
                elif isinstance(node, ast.Attribute):
                    words = [node.attr]
                elif isinstance(node, ast.Name):
                    words = [node.id]
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    words = [node.value] if len(node.value) < 40 else []
                if any("gdp" in w.lower().split(".") or "GaussianAccountant" in w for w in words):
                    named.append(f"{path.relative_to(ROOT)}:{node.lineno}")  # type: ignore[attr-defined]
    assert named == []


def test_no_figure_is_asked_of_opacus_gdp(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> float:
        raise AssertionError("GDP was asked")

    for name in ("get_epsilon", "step", "__init__"):
        monkeypatch.setattr(GaussianAccountant, name, refuse)
    for name in [n for n in vars(opacus.accountants.analysis.gdp) if n.startswith("compute_")]:
        monkeypatch.setattr(opacus.accountants.analysis.gdp, name, refuse)
    for relation in (ADD, REPLACE):
        assert accountant.epsilon([event(0.07, 1.1, 9, relation=relation)], DELTA) > 0


def test_what_prv_cannot_account_for_is_refused() -> None:
    with pytest.raises(AccountantMismatch):
        accountant.epsilon([event(1.0, 0.8, 1000)], DELTA)


def test_next_to_no_noise_is_known_to_be_too_much_without_asking_the_accountants() -> None:
    """Accounting for a noise multiplier of 1e-6 would take terabytes."""
    assert accountant.epsilon([event(0.5, 1e-6, 1000)], DELTA, enough=8.0) > 8.0


def test_opacus_prv_is_the_accountant_that_is_asked() -> None:
    """The stored figure is PRV's own upper bound where that is the larger one."""
    prv = PRVAccountant()
    prv.history = [(1.0, 0.3, 8)]
    near = accounting.epsilon([event(0.3, 1.0, 8)], DELTA)
    asked = prv.get_epsilon(DELTA, eps_error=1e-3 * near, delta_error=DELTA / 1000)
    assert accountant.epsilon([event(0.3, 1.0, 8)], DELTA) == pytest.approx(asked, rel=1e-9)


# What is kept between calls changes no figure, and saves the dear constructions.

KINDS = [
    event(0.05, 1.1, 1),
    event(0.3, 4.0, 1),
    event(0.1, 2.0, 1, **cut(80, 300)),
    event(0.05, 1.1, 1, also=(("clip_count", 11.0),)),
]


def forget() -> None:
    """Empty everything that either accountant keeps."""
    for module in (accountant, accounting):
        for kept in vars(module).values():
            if hasattr(kept, "cache_clear"):
                kept.cache_clear()


@settings(max_examples=4, deadline=None)
@given(
    reservations=st.lists(st.tuples(st.integers(0, len(KINDS) - 1), st.integers(1, 12)), min_size=3, max_size=4),
    relation=st.sampled_from([ADD, REPLACE]),
)
def test_what_is_kept_between_reservations_changes_no_figure(
    reservations: list[tuple[int, int]], relation: Relation
) -> None:
    """Each figure is that of the same events asked for first, to the last bit."""
    forget()
    events: list[DpEvent] = []
    grown: list[tuple[list[DpEvent], float, float]] = []
    for kind, steps in reservations:
        events = [*events, replace(KINDS[kind], steps=steps, relation=relation)]
        grown.append((events, accountant.epsilon(events, DELTA), accounting.epsilon(events, DELTA)))
    for asked, figure, pld in grown[1::2]:
        forget()
        assert (accountant.epsilon(asked, DELTA), accounting.epsilon(asked, DELTA)) == (figure, pld)
    assert [f for _, f, _ in grown] == sorted(f for _, f, _ in grown)


@pytest.mark.parametrize("relation", [ADD, REPLACE])
@pytest.mark.parametrize("parts", [[(0, 1)], [(0, 7)], [(0, 77)], [(1, 130)], [(2, 33)], [(0, 37), (1, 5), (3, 64)]])
def test_figures_are_those_of_each_library_alone(parts: list[tuple[int, int]], relation: Relation) -> None:
    """Neither the steps put together from kept distributions nor the kept mesh are further off than the tolerance."""
    events = merge(replace(KINDS[kind], steps=steps, relation=relation) for kind, steps in parts)
    spacing = accounting._interval(events)
    whole = functools.reduce(
        lambda one, other: one.compose(other),
        (accounting._step(replace(e, steps=1), spacing).self_compose(e.steps) for e in events),
    )
    assert accounting.epsilon(events, DELTA) == pytest.approx(whole.get_epsilon_for_delta(DELTA), rel=1e-7)
    mesh = accountant._mesh(events, DELTA)
    parts_alone = []
    for e in events:
        loss: Any = (
            ReplaceOneLoss(e.sampling_rate, e.effective_noise_multiplier)
            if relation == REPLACE
            else prv.PoissonSubsampledGaussianPRV(e.sampling_rate, e.effective_noise_multiplier)
        )
        domain = prv.Domain.create_aligned(-mesh.end, mesh.end, mesh.spacing)
        truncated = prv.TruncatedPrivacyRandomVariable(loss, domain.t_min, domain.t_max)
        parts_alone.append(prv.discretize(truncated, domain))
    composed = prv.compose_heterogeneous(parts_alone, [e.steps for e in events])
    error = mesh.spacing * mesh.scale(sum(e.steps for e in events))
    _, _, upper = composed.compute_epsilon(DELTA, mesh.delta_error, error)
    assert accountant._on_mesh(events, DELTA, mesh) == pytest.approx(upper, rel=1e-7)


@pytest.mark.parametrize("relation", [ADD, REPLACE])
@pytest.mark.parametrize("steps", [3, 17, 33, 100])
def test_a_mesh_for_more_steps_is_as_sound_for_fewer(steps: int, relation: Relation) -> None:
    """Its error is no larger than the error that Opacus was asked for before, and it ends no earlier."""
    events = (event(0.05, 1.1, steps, relation=relation),)
    rounded = (replace(events[0], steps=accounting.round_up(steps)),)
    own, kept = accountant._mesh(events, DELTA), accountant._mesh(rounded, DELTA)
    assert kept.end >= own.end - own.spacing * 1e4
    assert kept.end >= max(
        accountant.renyi(events, own.delta_error / 4), accountant.renyi([event(0.05, 1.1, 1)], own.delta_error / 8)
    )
    assert kept.spacing * kept.scale(steps) <= 1.5 * own.spacing * own.scale(steps)
    figures = [accountant._on_mesh(events, DELTA, mesh) for mesh in (own, kept)]
    assert figures[0] == pytest.approx(figures[1], rel=1e-3)
    # Neither upper bound is below what the other proves: its figure less twice its error.
    for one, other, mesh in ((*figures, own), (*reversed(figures), kept)):
        assert other >= one - 2 * mesh.spacing * mesh.scale(steps)


@pytest.mark.parametrize("relation", [ADD, REPLACE])
def test_one_step_more_makes_no_dear_thing_again(relation: Relation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, not timed: in 100 rounds of one step, each dear construction is made once a doubling of the steps."""
    forget()
    made: Counter[str] = Counter()

    def counted(module: Any, name: str) -> None:
        original = getattr(module, name)

        def call(*args: Any, **more: Any) -> Any:
            made[name] += 1
            return original(*args, **more)

        monkeypatch.setattr(module, name, call)

    counted(privacy_loss_distribution, "from_gaussian_mechanism")
    counted(privacy_loss_distribution.PrivacyLossDistribution, "self_compose")
    counted(privacy_loss_distribution.PrivacyLossDistribution, "compose")
    counted(prv, "discretize")
    counted(opacus.accountants.analysis.rdp, "compute_rdp")
    counted(accountant, "_renyi_of_replacing")
    for steps in range(1, 101):
        accountant.epsilon([event(0.05, 1.1, steps, relation=relation)], DELTA)
    doublings = 8
    assert made["from_gaussian_mechanism"] == 1
    assert made["discretize"] == doublings
    assert made["self_compose"] <= 2
    assert made["compute_rdp"] + made["_renyi_of_replacing"] == 1
    # A step more costs one composition; every eighth two.
    assert made["compose"] <= 100 + 2 * doublings + 100 // 8
