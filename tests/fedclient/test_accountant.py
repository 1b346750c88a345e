"""Two accountants that agree, a bound that none may pass below, and refusal of everything else."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.accountants import GaussianAccountant, PRVAccountant
from scipy.optimize import brentq
from scipy.stats import norm

from fedclient import accountant
from fedcore.errors import AccountantMismatch
from fedcore.privacy import accounting
from fedcore.privacy.accounting import DpEvent

DELTA = 1e-5


def event(rate: float, noise: float, steps: int) -> DpEvent:
    return DpEvent(sampler="poisson", sampling_rate=rate, noise_multiplier=noise, steps=steps)


def gaussian_epsilon(noise: float, steps: int, delta: float) -> float:
    """Exact epsilon of `steps` Gaussian mechanisms without sampling (Balle and Wang 2018, Theorem 8)."""
    mu = math.sqrt(steps) / noise

    def excess(epsilon: float) -> float:
        tail = norm.cdf(-mu / 2 - epsilon / mu)
        return float(norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * tail - delta)

    return float(brentq(excess, 0.0, 200.0))


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
def test_accountants_agree_within_one_percent(rate: float, noise: float, steps: int) -> None:
    events = [event(rate, noise, steps)]
    figure, pld = accountant.epsilon(events, DELTA), accounting.epsilon(events, DELTA)
    assert pld <= figure <= max(1.01 * pld, pld + accountant.ABSOLUTE_TOLERANCE)


def test_accountants_agree_on_a_mixture_of_jobs() -> None:
    events = [event(0.02, 1.0, 64), event(0.5, 3.0, 30), event(0.001, 8.0, 500)]
    figure, pld = accountant.epsilon(events, DELTA), accounting.epsilon(events, DELTA)
    assert pld <= figure <= 1.01 * pld


@pytest.mark.parametrize(("noise", "steps"), [(0.8, 1), (2.0, 8), (8.0, 64), (40.0, 1000)])
def test_without_sampling_the_figure_is_the_exact_one_rounded_up(noise: float, steps: int) -> None:
    exact = gaussian_epsilon(noise, steps, DELTA)
    assert exact <= accountant.epsilon([event(1.0, noise, steps)], DELTA) <= 1.005 * exact


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
)
def test_the_floor_is_never_above_an_accountant(rate: float, noise: float, steps: int, delta: float) -> None:
    events = [event(rate, noise, steps)]
    assert accountant.floor(events, delta) <= accounting.epsilon(events, delta) * (1 + 1e-6) + 1e-6


def test_the_floor_of_one_step_without_sampling_is_the_exact_epsilon() -> None:
    assert accountant.floor([event(1.0, 2.0, 8)], DELTA) == pytest.approx(gaussian_epsilon(2.0, 8, DELTA), rel=1e-3)


def test_an_accountant_that_understates_is_refused() -> None:
    """Opacus' GDP accountant leaves out part of the cost of sampling."""
    events = [event(0.02, 0.8, 200)]
    wrong = GaussianAccountant()
    wrong.history = [(0.8, 0.02, 200)]
    with pytest.raises(AccountantMismatch):
        accountant.require_agreement(
            prv=wrong.get_epsilon(DELTA), pld=accounting.epsilon(events, DELTA), least=accountant.floor(events, DELTA)
        )


@pytest.mark.parametrize(
    ("prv", "pld", "least"),
    [
        (1.02, 1.0, 0.5),
        (1.0, 1.02, 0.5),
        (1.0, 1.0, 1.01),
        (math.inf, 1.0, 0.5),
        (math.nan, 1.0, 0.5),
        (1.0, math.nan, 0.5),
        (0.0, 0.002, 0.0),
    ],
)
def test_disagreement_is_refused(prv: float, pld: float, least: float) -> None:
    with pytest.raises(AccountantMismatch):
        accountant.require_agreement(prv=prv, pld=pld, least=least)


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
