"""What privacy costs before anything is spent: epsilon against noise, sampling rate and rounds.

A **Question** holds the public numbers of a job and what is to be found; each of its `points` answers for one
epsilon (or one number of rounds). The figures are those of `PrivacyPlan`, so what is planned here is what a
job gets. Nothing is read from records.

>>> from fedcore.privacy.units import PrivacyUnit
>>> asked = Question(unit=PrivacyUnit(key="patient"), units=2000, delta=1e-5, rounds=2, steps_per_round=4,
...                  sampling_rate=0.008, find="noise")
>>> asked.answer(8.0).noise_multiplier < asked.answer(1.0).noise_multiplier
True
"""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from fedcore.errors import ConfigError, InvalidPlan
from fedcore.explain import assumption
from fedcore.plots import Chart, Series
from fedcore.privacy.plan import DISCRETE_GAUSSIAN, GAUSSIAN, PrivacyPlan
from fedcore.privacy.units import PrivacyUnit

__all__ = ["FINDS", "Answer", "Find", "Question", "chart"]

Find = Literal["noise", "rate", "rounds", "epsilon"]
FINDS: tuple[Find, ...] = ("noise", "rate", "rounds", "epsilon")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One line of the trade. What could not be found is None, and `reason` says why."""

    epsilon: float | None
    """What was asked for; where epsilon itself is found, what was found."""
    epsilon_spent: float | None = None
    """What the accountant gives for this line, at most what was asked for."""
    noise_multiplier: float | None = None
    sampling_rate: float | None = None
    batch_units: float | None = None
    """Units expected in a step."""
    rounds: int | None = None
    noise_to_signal: float | None = None
    gain_expected: bool | None = None
    units_needed: int | None = None
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """A JSON value."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Question:
    """A job's public numbers, and what is to be found.

    Args:
        unit: Whom the promise protects, and the relation.
        units: Units that an institution holds, a public number.
        delta: At which epsilon is stated.
        rounds, steps_per_round: Of the job; `rounds` is None where it is to be found.
        find: "noise", "rate" or "rounds" for an epsilon; "epsilon" for a number of rounds.
        sampling_rate: Given unless it is to be found.
        noise_multiplier: Given unless it is to be found.
        institutions: How many are averaged.
        parameters: Numbers that are trained; None leaves out what depends on them.
        clip_norm_l2: Of the plan; noise and signal grow with it alike.
        sampler, batch_limit, largest_units: Of the plan.
        honest_minimum: Where it is given, the noise is shared: `institutions` are at least so many.
    Raises:
        ConfigError: A number is out of range, missing or superfluous.
    """

    unit: PrivacyUnit
    units: int
    delta: float
    rounds: int | None
    steps_per_round: int
    find: Find
    sampling_rate: float | None = None
    noise_multiplier: float | None = None
    institutions: int = 1
    parameters: int | None = None
    clip_norm_l2: float = 1.0
    sampler: str = "poisson"
    batch_limit: int | None = None
    largest_units: int | None = None
    honest_minimum: int | None = None

    def __post_init__(self) -> None:
        if self.find not in FINDS:
            raise ConfigError(f"{self.find!r} cannot be found", expected="one of " + ", ".join(FINDS))
        for name in ("units", "rounds", "steps_per_round", "institutions", "parameters"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= 1 << 40:
                raise ConfigError(f"{name} is out of range", expected="a whole number from 1", got=str(value))
        for name, sought in (("noise_multiplier", "noise"), ("sampling_rate", "rate"), ("rounds", "rounds")):
            given = getattr(self, name) is not None
            if given == (self.find == sought):
                raise ConfigError(
                    f"to find {self.find}, {name.replace('_', ' ')} must {'not ' if given else ''}be given",
                    do="leave it out" if given else "give it",
                )
        if self.honest_minimum is not None and self.institutions < self.honest_minimum:
            raise ConfigError(
                "fewer institutions than shared noise assumes to be honest",
                expected=f"at least {self.honest_minimum}",
                got=str(self.institutions),
                do="give --institutions, the number in every sum",
            )
        # What is to be found has a stand-in, so that all other numbers are checked before the search.
        self._plan(
            1.0 if self.noise_multiplier is None else self.noise_multiplier,
            1.0 if self.sampling_rate is None else self.sampling_rate,
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is allowed and probably not meant."""
        found = []
        if self.delta * self.units >= 1:
            found.append(
                f"delta {self.delta:g} is not below 1 in {self.units:,} units: publishing one whole unit at random "
                "would be allowed; choose a delta well below that"
            )
        if self.sampling_rate is not None and self.sampling_rate * self.units < 1:
            found.append("less than one unit is expected in a step: nearly all steps hold noise alone")
        return tuple(found)

    @property
    def points(self) -> tuple[int, ...]:
        """Numbers of rounds to answer for, when epsilon is to be found: around the job's own."""
        return tuple(sorted({max(1, round((self.rounds or 1) * f)) for f in (1 / 8, 1 / 4, 1 / 2, 1, 2, 4)}))

    def answer(self, asked: float) -> Answer:
        """The line for an epsilon; for a number of rounds, when epsilon is to be found."""
        target = None if self.find == "epsilon" else asked
        try:
            plan, rounds = self._found(asked)
        except InvalidPlan as error:
            return Answer(epsilon=target, reason=str(error))
        if rounds < 1:
            return Answer(epsilon=target, rounds=0, reason="one round costs more")
        spent = plan.epsilon(rounds)
        line = Answer(
            epsilon=spent if target is None else target,
            epsilon_spent=spent,
            noise_multiplier=plan.noise_multiplier,
            sampling_rate=plan.sampling_rate,
            batch_units=plan.expected_batch_units,
            rounds=rounds,
        )
        if self.parameters is None:
            return line
        seen = plan.forecast(
            rounds=rounds, parameters=self.parameters, institutions=self.institutions, units=self.units
        )
        return replace(
            line,
            noise_to_signal=seen.noise_to_signal,
            gain_expected=seen.gain_expected,
            units_needed=seen.units_needed,
        )

    def to_dict(self) -> dict[str, Any]:
        """A JSON value."""
        return {
            **asdict(self),
            "unit": self.unit.key,
            "relation": self.unit.relation,
            "unit_words": self.unit.describe(),
            "assumes": None if self.honest_minimum is None else assumption(self.honest_minimum, "en"),
            "warnings": list(self.warnings),
        }

    def _found(self, asked: float) -> tuple[PrivacyPlan, int]:
        """The plan that keeps within what is asked, and its rounds."""
        if self.find == "epsilon":
            return self._given(), int(asked)
        if self.find == "rounds":
            plan = self._given()
            return plan, plan.most_rounds(asked)
        rounds = self.rounds or 1
        plan = PrivacyPlan.calibrate(
            epsilon=asked,
            delta=self.delta,
            rounds=rounds,
            unit=self.unit,
            units=self.units,
            sampling_rate=self.sampling_rate,
            noise_multiplier=self.noise_multiplier,
            steps_per_round=self.steps_per_round,
            examples_per_unit=1,  # It changes what a unit's gradient is, not what it costs.
            clip_norm_l2=self.clip_norm_l2,
            sampler=self.sampler,
            batch_limit=self.batch_limit,
            largest_units=self.largest_units,
            honest_minimum=self.honest_minimum,
        )
        return plan, rounds

    def _given(self) -> PrivacyPlan:
        """The plan when both of its numbers are given."""
        if self.noise_multiplier is None or self.sampling_rate is None:
            raise ConfigError("noise and sampling rate must both be given")
        return self._plan(self.noise_multiplier, self.sampling_rate)

    def _plan(self, noise: float, rate: float) -> PrivacyPlan:
        return PrivacyPlan(
            unit=self.unit,
            sampling_rate=rate,
            steps_per_round=self.steps_per_round,
            expected_batch_units=rate * self.units,
            examples_per_unit=1,
            clip_norm_l2=self.clip_norm_l2,
            noise_multiplier=noise,
            delta=self.delta,
            mechanism=GAUSSIAN if self.honest_minimum is None else DISCRETE_GAUSSIAN,
            sampler=self.sampler,
            batch_limit=self.batch_limit,
            largest_units=self.largest_units,
            honest_minimum=self.honest_minimum,
        )


def chart(question: Question, answers: tuple[Answer, ...]) -> Chart:
    """The trade as a chart; unit, relation and delta stand in its title.

    Raises:
        ConfigError: No line has an answer.
    """
    title = f"{question.unit.describe()}; delta {question.delta:g}; {question.units:,} units an institution"
    found = [a for a in answers if a.reason is None]
    if question.find == "epsilon":
        x, y = tuple(float(a.rounds or 0) for a in found), tuple(a.epsilon or 0.0 for a in found)
        return Chart(
            title=title,
            x_label="rounds",
            y_label=f"epsilon at noise multiplier {question.noise_multiplier:g}",
            series=(Series(label="", x=x, y=y),),
            log_x=True,
            log_y=True,
        )
    name, label = {
        "noise": ("noise_multiplier", "noise multiplier"),
        "rate": ("sampling_rate", "sampling rate"),
        "rounds": ("rounds", "rounds"),
    }[question.find]
    return Chart(
        title=title,
        x_label=f"epsilon of {'all' if question.find == 'rounds' else question.rounds} rounds",
        y_label=label,
        series=(
            Series(
                label="",
                x=tuple(a.epsilon or 0.0 for a in found),
                y=tuple(float(getattr(a, name)) for a in found),
            ),
        ),
        log_x=True,
        log_y=question.find != "noise",
    )
