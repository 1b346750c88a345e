"""What is said of an epsilon holds for every attacker: held against mechanisms whose attacks are all tried out."""

import itertools
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from fedcore.errors import ConfigError
from fedcore.explain import FALSE_ALARMS, Explanation, belief, best_guess, hit_rate, percent, unit_words
from fedcore.privacy.units import RELATIONS, PrivacyUnit

PATIENT = PrivacyUnit(key="patient")
EPSILONS = st.floats(0, 30)
DELTAS = st.one_of(st.just(0.0), st.floats(1e-12, 0.5))
PRIORS = st.floats(0.001, 0.999)


def responses(epsilon: float, delta: float) -> tuple[np.ndarray, np.ndarray]:
    """Chances of the four outputs with and without the unit: the truth with chance delta, else randomised response."""
    lie = (1 - delta) / (1 + math.exp(epsilon))
    honest = (1 - delta) - lie
    return np.array([delta, honest, lie, 0.0]), np.array([0.0, lie, honest, delta])


def all_tests(inside: np.ndarray, outside: np.ndarray) -> list[tuple[float, float]]:
    """(false alarms, hits) of every set of outputs on which an attacker could say yes."""
    sets = itertools.product((0.0, 1.0), repeat=len(inside))
    return [(float(np.dot(yes, outside)), float(np.dot(yes, inside))) for yes in map(np.array, sets)]


@settings(max_examples=200, deadline=None)
@given(epsilon=EPSILONS, delta=DELTAS, prior=PRIORS)
def test_no_attack_on_randomised_response_passes_the_bounds_and_one_meets_them(
    epsilon: float, delta: float, prior: float
) -> None:
    tests = all_tests(*responses(epsilon, delta))
    for false_alarms, hits in tests:
        assert hits <= hit_rate(epsilon, delta, false_alarms=false_alarms) + 1e-9
    best = max(prior * hits + (1 - prior) * (1 - alarms) for alarms, hits in tests)
    assert best == pytest.approx(best_guess(epsilon, delta, prior=prior), abs=1e-9)


@settings(max_examples=200, deadline=None)
@given(epsilon=EPSILONS, prior=PRIORS)
def test_belief_without_delta_is_met_by_randomised_response_exactly(epsilon: float, prior: float) -> None:
    inside, outside = responses(epsilon, 0.0)
    seen = [prior * i / (prior * i + (1 - prior) * o) for i, o in zip(inside[1:3], outside[1:3], strict=True)]
    low, high, fails = belief(epsilon, 0.0, prior=prior)
    assert (min(seen), max(seen)) == pytest.approx((low, high), rel=1e-6)
    assert fails == 0


def gaussian_delta(sigma: float, epsilon: float) -> float:
    """Delta of one Gaussian release (Balle and Wang 2018, theorem 8)."""
    a, b = 1 / (2 * sigma), epsilon * sigma
    return float(stats.norm.cdf(a - b) - math.exp(epsilon) * stats.norm.cdf(-a - b))


@pytest.mark.parametrize("sigma", [0.3, 0.7, 1.0, 3.0])
@pytest.mark.parametrize("delta", [1e-2, 1e-5, 1e-8])
def test_no_threshold_attack_on_the_gaussian_mechanism_passes_the_bounds(sigma: float, delta: float) -> None:
    epsilon = optimize.brentq(lambda e: gaussian_delta(sigma, e) - delta, 0.0, 300.0)
    thresholds = np.linspace(-8 * sigma, 1 + 8 * sigma, 4001)
    alarms, hits = stats.norm.sf(thresholds / sigma), stats.norm.sf((thresholds - 1) / sigma)
    bounds = np.array([hit_rate(epsilon, delta, false_alarms=a) for a in alarms])
    assert np.all(hits <= bounds + 1e-9)
    for prior in (0.01, 0.5, 0.9):
        reached = np.max(prior * hits + (1 - prior) * (1 - alarms))
        assert reached <= best_guess(epsilon, delta, prior=prior) + 1e-9


@pytest.mark.parametrize("sigma", [0.3, 0.7, 1.0, 3.0])
@pytest.mark.parametrize("delta", [1e-2, 1e-5, 1e-8])
@pytest.mark.parametrize("prior", [0.01, 0.5, 0.9])
def test_belief_after_the_gaussian_mechanism_passes_its_bounds_as_seldom_as_said(
    sigma: float, delta: float, prior: float
) -> None:
    epsilon = optimize.brentq(lambda e: gaussian_delta(sigma, e) - delta, 0.0, 300.0)
    low, high, fails = belief(epsilon, delta, prior=prior)

    def place(posterior: float) -> float:
        """The output at which the belief is `posterior`: log-odds are linear in it."""
        odds = math.log(posterior / (1 - posterior)) - math.log(prior / (1 - prior))
        return odds * sigma**2 + 0.5

    above, below = place(high), place(low)
    for mean in (0.0, 1.0):
        outside = stats.norm.sf((above - mean) / sigma) + stats.norm.cdf((below - mean) / sigma)
        assert outside <= fails
    # What is often said instead, "except with chance delta", is not true of this very mechanism.
    naive = prior / (prior + (1 - prior) * math.exp(-epsilon))
    assert stats.norm.sf((place(naive) - 1) / sigma) > delta


def test_no_privacy_and_perfect_privacy_are_the_two_ends() -> None:
    assert best_guess(0.0, 0.0, prior=0.5) == 0.5
    assert best_guess(0.0, 0.0, prior=0.2) == 0.8
    assert best_guess(math.inf, 0.0, prior=0.2) == 1.0
    assert belief(0.0, 0.0, prior=0.3)[:2] == pytest.approx((0.3, 0.3))
    assert belief(math.inf, 1e-5, prior=0.3)[:2] == (0.0, 1.0)
    assert hit_rate(0.0, 0.0, false_alarms=0.01) == pytest.approx(0.01)
    assert hit_rate(math.inf, 0.0, false_alarms=0.01) == 1.0
    assert hit_rate(1000.0, 0.0, false_alarms=0.0) == 0.0


@settings(max_examples=200, deadline=None)
@given(epsilon=EPSILONS, more=st.floats(0, 5), delta=DELTAS, prior=PRIORS)
def test_more_epsilon_never_promises_more(epsilon: float, more: float, delta: float, prior: float) -> None:
    a, b = (best_guess(e, delta, prior=prior) for e in (epsilon, epsilon + more))
    assert max(prior, 1 - prior) <= a + 1e-12
    assert a <= b + 1e-12 <= 1 + 1e-9


@settings(max_examples=300, deadline=None)
@given(value=st.floats(0, 1))
def test_percentages_are_rounded_against_the_promise(value: float) -> None:
    upper, lower = (float(percent(value, up=up).removesuffix("%")) for up in (True, False))
    assert lower - 1e-6 <= 100 * value <= upper + 1e-6
    assert upper - lower <= max(1e-6, 0.2 * min(100 * value, 100 - 100 * value) + 1e-6)


@pytest.mark.parametrize(("epsilon", "verdict"), [(0.5, "strong"), (1.0, "strong"), (2.0, "moderate"), (4.0, "weak")])
def test_verdict_follows_from_the_bound(epsilon: float, verdict: str) -> None:
    assert Explanation(epsilon=epsilon, delta=1e-5, unit=PATIENT).verdict == verdict
    assert Explanation(epsilon=8.0, delta=1e-5, unit=PATIENT).verdict == "formal"
    assert Explanation(epsilon=math.inf, delta=1e-5, unit=PATIENT).verdict == "formal"


def test_the_words_hold_the_figures() -> None:
    told = Explanation(epsilon=1.0, delta=0.0, unit=PATIENT).to_dict("en")
    text = " ".join(told["means"])
    assert "73.2%" in text
    assert "26.8%" in text
    assert "added or removed" in told["title"]
    assert told["success"] == pytest.approx(math.e / (1 + math.e))
    assert [r["false_alarms"] for r in told["hit_rates"]] == list(FALSE_ALARMS)
    assert told["belief_fails"] == 0
    assert "Except" not in text


def test_chinese_says_the_same_figures_in_chinese() -> None:
    unit = PrivacyUnit(key="customer", relation="replace_one")
    explanation = Explanation(epsilon=2.0, delta=1e-5, unit=unit, prior=0.1)
    english, chinese = (explanation.to_dict(language) for language in ("en", "zh"))
    assert chinese["title"] == "ε = 2，δ = 1e-05。保护对象：一位客户（其全部记录），替换为另一个"
    for said, told in zip(chinese["means"][:4], english["means"][:4], strict=True):
        assert set(re.findall(r"[\d.,]+%", said)) == set(re.findall(r"[\d.,]+%", told))
        assert re.search(r"[\u4e00-\u9fff]", said)
    assert len(chinese["does_not_mean"]) == len(english["does_not_mean"])
    assert not re.search(r"[A-Za-z]{4,}", " ".join(chinese["means"] + chinese["does_not_mean"]))


def test_presence_and_replacement_are_different_questions() -> None:
    by = {r: Explanation(epsilon=1, delta=0, unit=PrivacyUnit(key="patient", relation=r)) for r in RELATIONS}
    assert "whether the records of one patient took part" in by["add_or_remove_one"].means("en")[0]
    assert "which of two versions" in by["replace_one"].means("en")[0]
    assert "是否参与了训练" in by["add_or_remove_one"].means("zh")[0]
    assert "两个版本" in by["replace_one"].means("zh")[0]


def test_a_record_is_said_not_to_be_a_person() -> None:
    words = " ".join(Explanation(epsilon=3.0, delta=1e-5, unit=PrivacyUnit(key="record")).does_not_mean("en"))
    assert "not a person" in words
    assert "epsilon 30" in words
    assert "not a person" not in " ".join(Explanation(epsilon=3.0, delta=1e-5, unit=PATIENT).does_not_mean("en"))


def test_shared_noise_is_explained_with_what_it_assumes() -> None:
    shared = Explanation(epsilon=1.0, delta=1e-5, unit=PATIENT, honest_minimum=5)
    english, chinese = (shared.to_dict(language) for language in ("en", "zh"))
    assert english["honest_minimum"] == chinese["honest_minimum"] == 5
    assert "5 or more institutions, this one among them, neither drop out nor tell" in english["assumes"]
    assert "至少有 5 家机构" in chinese["assumes"]
    assert not re.search(r"[A-Za-z]{4,}", chinese["assumes"])
    alone = Explanation(epsilon=1.0, delta=1e-5, unit=PATIENT)
    assert (alone.assumes("en"), alone.to_dict("en")["honest_minimum"]) == (None, None)
    assert shared.means("en") == alone.means("en")


def test_unit_words_know_units_that_nobody_listed() -> None:
    assert unit_words(PrivacyUnit(key="ward"), "zh") == "一个ward（其全部记录），加入或移除"
    assert unit_words(PATIENT, "en") == PATIENT.describe()


@pytest.mark.parametrize(
    "change",
    [{"epsilon": -1.0}, {"epsilon": math.nan}, {"delta": 1.0}, {"delta": -1e-9}, {"prior": 0.0}, {"prior": 1.0}],
)
def test_numbers_out_of_range_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        Explanation(**({"epsilon": 1.0, "delta": 1e-5, "prior": 0.5} | change), unit=PATIENT)


@pytest.mark.parametrize("honest", [0, -1, 4097])
def test_an_assumption_out_of_range_is_refused(honest: int) -> None:
    with pytest.raises(ConfigError, match="honest minimum"):
        Explanation(epsilon=1.0, delta=1e-5, unit=PATIENT, honest_minimum=honest)
