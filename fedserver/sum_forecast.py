"""What secure sums of a job mean and cost, said before it runs. Public numbers only.

forecast = SumForecast.of(plan)
forecast is None or forecast.describe()
"""

from dataclasses import asdict, dataclass
from typing import Any

from fedcore.errors import ConfigError
from fedcore.round import JobPlan
from fedcore.secagg.graph import draw
from fedcore.secagg.shares import MISSING, Layout
from fedcore.sums import SumPlan
from fedserver.strategies import load_strategy

__all__ = ["SumForecast", "check_room", "parameters_of"]


@dataclass(frozen=True, kw_only=True)
class SumForecast:
    """See the module.

    Args:
        sums: Of the job.
        honest_minimum: Of shared noise; None where each institution adds the whole noise itself.
        price: Standard deviation of the shared noise over what real numbers would need; None likewise.
        bytes_up: That an institution sends in a round without dropouts, but for about two kilobytes of headers.
        bytes_ratio: The same over four bytes a parameter.
    """

    sums: SumPlan
    honest_minimum: int | None
    price: float | None
    bytes_up: int
    bytes_ratio: float

    @classmethod
    def of(cls, plan: JobPlan) -> "SumForecast | None":
        """None where the job has no secure sums."""
        sums, parameters = plan.sums, parameters_of(plan)
        if sums is None:
            return None
        size = parameters * sums.bits // 8 + _shares_bytes(sums)
        return cls(
            sums=sums,
            honest_minimum=plan.privacy.honest_minimum,
            price=sums.noise(plan.privacy, parameters).price if plan.privacy.shares_noise else None,
            bytes_up=size,
            bytes_ratio=size / (4 * parameters),
        )

    def describe(self) -> str:
        """The forecast in a few sentences."""
        s = self.sums
        words = (
            f"Secure sums in a ring of {s.bits} bits: about {self.bytes_up:,} bytes a round from each institution,"
            f" {self.bytes_ratio:.2f} times those of float32. No sum of fewer than {s.threshold} of {s.parties} is"
            f" opened: a round with fewer ends the job. {f'Up to {s.colluders}' if s.colluders else 'None'} may collude"
            " with the coordinator."
        )
        if self.honest_minimum is not None and self.price is not None:
            words += (
                f" The noise is shared: what is promised assumes {self.honest_minimum} or more honest institutions in"
                f" every sum; in integers it is {self.price:.3f} times what real numbers would need."
            )
        return words

    def to_dict(self) -> dict[str, Any]:
        """A JSON value."""
        return {**asdict(self), "words": self.describe()}


def check_expected(job: JobPlan, institutions: int) -> None:
    """A forecast is of a job that can run.

    Raises:
        ConfigError: The job's sums never have so many or so few institutions.
    """
    if job.sums is not None and not job.sums.threshold <= institutions <= job.sums.parties:
        raise ConfigError(
            "so many institutions cannot take part in the job's secure sums",
            expected=f"{job.sums.threshold} (threshold) to {job.sums.parties} (parties)",
            got=str(institutions),
        )


def check_room(job: JobPlan, enrolled: int) -> None:
    """Whoever is invited must find room in the job's sums.

    Raises:
        ConfigError: They do not.
    """
    if job.sums is not None and not job.institutions and enrolled > job.sums.parties:
        raise ConfigError(
            "more institutions are enrolled than the job's secure sums have room for",
            expected=f"at most {job.sums.parties}",
            got=str(enrolled),
            do="name the institutions of the job, or raise [secure_sums] parties and threshold",
        )


def parameters_of(plan: JobPlan) -> int:
    """How many numbers travel in the first round; with secure sums in every round."""
    trained = set(load_strategy(plan.strategy).trains(1))
    return sum(t.size for t in plan.schema.part(*trained))


def _shares_bytes(sums: SumPlan) -> int:
    """What masks cost beside the vector where everybody answers: sealed shares, commitments, and shares opened."""
    names = [f"{number:04}" for number in range(sums.parties)]
    graph = draw(names, "", colluders=sums.colluders, threshold=sums.threshold)
    layout, own = Layout(graph), names[0]
    opened = len(MISSING) * len(graph.holders(own))
    return layout.self_bytes(own) + layout.pairs_bytes(own) + layout.commitments_bytes(own) + opened
