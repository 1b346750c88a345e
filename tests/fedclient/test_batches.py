"""The sampler inside training: exactly the plan's is accepted, and it samples as it is accounted for."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from fedclient.step import train
from fedcore.errors import SamplerMismatch
from fedcore.privacy.noise import UnsafeNoNoise
from fedcore.privacy.plan import PrivacyPlan
from fedcore.privacy.sampling import PoissonUnits, SystemRandom, TruncatedPoissonUnits
from fedcore.round import Optimiser
from tests.reference.models import GivenGradients, plan
from tests.reference.observed import steps_of

SGD = Optimiser(name="sgd", learning_rate=1.0)
UNITS = 6
TRUNCATED = {"sampling_rate": 0.5, "sampler": "truncated_poisson", "batch_limit": 3, "largest_units": 9}


@pytest.mark.parametrize(
    "changed",
    [{"sampling_rate": 0.4}, {"batch_limit": 4}, {"largest_units": 10}, {"units": UNITS - 1}],
    ids=lambda c: next(iter(c)),
)
def test_truncated_batches_that_are_not_accounted_for_are_refused(changed: dict[str, Any]) -> None:
    gradients = GivenGradients(torch.ones(UNITS, 3))
    honest = {**{k: v for k, v in TRUNCATED.items() if k != "sampler"}, "units": UNITS, "source": SystemRandom()}
    options = {"noise": UnsafeNoNoise(), "gradients": gradients}
    train(gradients.adapted, gradients.data, plan(**TRUNCATED), SGD, batches=TruncatedPoissonUnits(**honest), **options)
    for batches in (
        TruncatedPoissonUnits(**{**honest, **changed}),
        PoissonUnits(sampling_rate=0.5, units=UNITS, source=SystemRandom()),
    ):
        with pytest.raises(SamplerMismatch):
            train(gradients.adapted, gradients.data, plan(**TRUNCATED), SGD, batches=batches, **options)


class Disguised(PoissonUnits):  # type: ignore[misc]
    """A subclass may draw as it likes."""


def test_a_subclass_of_the_sampler_is_refused() -> None:
    gradients = GivenGradients(torch.ones(UNITS, 3))
    batches = Disguised(sampling_rate=1.0, units=UNITS, source=SystemRandom())
    with pytest.raises(SamplerMismatch):
        train(
            gradients.adapted, gradients.data, plan(), SGD, batches=batches, noise=UnsafeNoNoise(), gradients=gradients
        )


def drawn_in_training(privacy: PrivacyPlan, units: int) -> np.ndarray:
    """Which units were in which step: shape (steps, units)."""
    gradients = GivenGradients(torch.ones(units, 2))
    entered = np.zeros((privacy.steps_per_round, units), dtype=bool)
    done = 0

    def note(step: int, _steps: int) -> None:
        nonlocal done
        for passes in gradients.seen:
            assert not entered[done, passes].any()  # Nobody twice in a step.
            entered[done, passes] = True
        gradients.seen.clear()
        done = step

    steps_of(gradients, gradients.data, privacy, report=note, batches=privacy.batches(units, SystemRandom()))
    return entered


def test_inclusions_in_training_fit_a_binomial() -> None:
    steps, units, rate = 1000, 24, 0.3
    entered = drawn_in_training(plan(sampling_rate=rate, steps_per_round=steps), units)
    # Every unit is in a binomial number of steps, and every step has a binomial number of units.
    for counts, tosses in ((entered.sum(axis=0), steps), (entered.sum(axis=1), units)):
        spread = stats.binom.var(tosses, rate) * len(counts)
        assert abs(counts.sum() - len(counts) * tosses * rate) < 5.5 * spread**0.5
        dispersion = ((counts - tosses * rate) ** 2).sum() / stats.binom.var(tosses, rate)
        assert 1e-7 < stats.chi2.cdf(dispersion, len(counts)) < 1 - 1e-7
    # A unit's being in one step says nothing of its being in the next.
    again = (entered[1:] & entered[:-1]).sum()
    assert abs(again - rate**2 * (steps - 1) * units) < 6 * (rate**2 * (steps - 1) * units) ** 0.5


def test_truncated_batches_in_training_have_at_most_their_limit() -> None:
    entered = drawn_in_training(plan(**{**TRUNCATED, "steps_per_round": 1000, "largest_units": 24}), 24)
    sizes = entered.sum(axis=1)
    assert sizes.max() == 3
    # Below the limit, nothing is cut. Exact tails, since batches of two come once in sixty thousand.
    for size, chance in enumerate(stats.binom.pmf(range(3), 24, 0.5)):
        found = (sizes == size).sum()
        assert min(stats.binom.cdf(found, 1000, chance), stats.binom.sf(found - 1, 1000, chance)) > 1e-7
    shares = entered.sum(axis=0) / entered.sum()
    assert np.abs(shares - 1 / 24).max() < 6 * (1 / 24 / entered.sum()) ** 0.5
