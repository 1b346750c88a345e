"""`[secure_sums]` of a job or scenario becomes the SumPlan of its rounds.

>>> SecureSumSettings(threshold=3, parties=4).colluders
0
"""

from dataclasses import dataclass

from fedcore.adapter import AdapterSchema
from fedcore.errors import ConfigError
from fedcore.privacy.plan import PrivacyPlan
from fedcore.round import Optimiser
from fedcore.sums import PRICE, SumPlan
from fedserver.collect import update_bound_l2
from fedserver.strategies import load_strategy

__all__ = ["SecureSumSettings", "make_sums"]


@dataclass(frozen=True, kw_only=True)
class SecureSumSettings:
    """Masked sums, as a researcher writes them; see `fedcore.sums.SumPlan`.

    Args:
        threshold: No sum of fewer institutions is ever opened.
        colluders: How many may stand with the coordinator against the others.
        parties: The most institutions; 0 means as many as the job names.
        largest_price: Of shared noise; see `SumPlan.choose`.
    """

    threshold: int
    colluders: int = 0
    parties: int = 0
    largest_price: float = PRICE


def make_sums(
    settings: SecureSumSettings,
    *,
    privacy: PrivacyPlan,
    schema: AdapterSchema,
    strategy: str,
    rounds: int,
    optimiser: Optimiser,
    joint: bool,
    institutions: int,
) -> SumPlan:
    """The plan of a job's sums.

    Args:
        settings: What was asked for.
        privacy, schema, strategy, rounds, optimiser, joint: Of the job.
        institutions: How many the job names; 0 when it names none.
    Raises:
        ConfigError: The number of parties is not known, or rounds train different numbers of parameters.
        InvalidPlan: The numbers cannot hold, or a sum could overflow.
    """
    parties = settings.parties or institutions
    if parties == 0:
        raise ConfigError(
            "secure sums need to know how many institutions take part at most",
            do="set [secure_sums] parties, or name the institutions",
        )
    chosen = load_strategy(strategy)
    sizes = {sum(t.size for t in schema.part(*chosen.trains(number))) for number in range(1, rounds + 1)}
    if len(sizes) != 1:
        raise ConfigError(
            f"the strategy {strategy} trains different numbers of parameters in different rounds",
            expected="one ring for all rounds of a job with secure sums",
            do="choose another strategy, such as fedavg or frozen_a",
        )
    parameters = sizes.pop()
    plan = SumPlan.choose(
        privacy,
        parameters=parameters,
        parties=parties,
        threshold=settings.threshold,
        colluders=settings.colluders,
        update_bound_l2=None if joint else update_bound_l2(privacy, optimiser, parameters),
        largest_price=settings.largest_price,
    )
    plan.check(privacy, parameters)
    return plan
