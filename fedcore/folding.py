"""How a coordinator makes one state out of many updates: what a job may name, all of it public.

A **RobustRule** takes the place of the mean where updates are visible; a **ServerOptimiser** takes a step on what a
strategy folded; a **Gate** looks at each folded state on public examples before it stands; **Widths** are those at
which updates and state travel. All of it is post-processing of what institutions noised, and costs no privacy. What
these settings mean is computed elsewhere: `fedserver/robust.py`, `server_optimisers.py`, `gate.py`, and
`fedcore/packing.py`.

>>> RobustRule(name="krum", assumed_bad=1).least_institutions
5
>>> Gate(records="canary.jsonl", largest_rise=0.05).every
1
"""

import math
from dataclasses import dataclass, fields

from fedcore.errors import ConfigError
from fedcore.packing import WIDTHS, Width

__all__ = [
    "DEFAULT_WIDTHS",
    "Gate",
    "RobustRule",
    "ServerOptimiser",
    "WidthSettings",
    "Widths",
    "require_real",
    "require_whole",
    "rules",
]

_RULES = {
    "mean": "the plain mean: where every institution is trusted; one bad update can move it anywhere",
    "norm_bound": "clip each update to a public norm or the median norm, then mean: cheap, against size alone",
    "trimmed_mean": "drop the largest and smallest of each coordinate, then mean: little more noise than the mean",
    "median": "the middle of each coordinate: against f < n/2 of any size; a quarter more noise than the mean",
    "geometric_median": "the point nearest to all (RFA): against f < n/2 of any size, hardly more noise; slowest",
    "multi_krum": "the mean of those with the closest neighbours: against copies of outliers; n >= 2f + 3",
    "krum": "the one update with the closest neighbours: sqrt(n) the mean's noise, so only without noise; n >= 2f + 3",
}

_USES = {
    "trimmed_share": "trimmed_mean",
    "bound_l2": "norm_bound",
    "kept": "multi_krum",
    "smoothing": "geometric_median",
    "iterations": "geometric_median",
}


@dataclass(frozen=True, kw_only=True)
class RobustRule:
    """Which rule, and how many of a round's updates it must survive. All public, fixed when a job is made.

    A field that the rule does not use must be at its default.

    Args:
        name: One of `rules()`.
        assumed_bad: f, how many updates of a round may be bad, >= 0; 0 for the mean.
        trimmed_share: trimmed_mean only: share of the updates dropped at each end of every coordinate, in [0, 0.5).
            Never fewer than `assumed_bad` are dropped.
        bound_l2: norm_bound only: the largest L2 norm kept, > 0; None takes the median of the norms.
        kept: multi_krum only: how many updates are averaged, >= 1; None takes n - f - 2, the most that are covered.
        smoothing: geometric_median only: distances below this share of the median distance count as that long,
            in (0, 1].
        iterations: geometric_median only: passes at most, 1 to 10,000.
    Raises:
        ConfigError: A field is out of range, or belongs to another rule.
    """

    name: str
    assumed_bad: int = 0
    trimmed_share: float = 0.0
    bound_l2: float | None = None
    kept: int | None = None
    smoothing: float = 1e-6
    iterations: int = 50

    def __post_init__(self) -> None:
        if self.name not in _RULES:
            raise ConfigError(f"unknown rule {self.name!r}", expected="one of " + ", ".join(sorted(_RULES)))
        for field in fields(self):
            if field.name in _USES and _USES[field.name] != self.name and getattr(self, field.name) != field.default:
                raise ConfigError(
                    f"the rule {self.name} has no {field.name}",
                    do=f"leave it out, or choose the rule {_USES[field.name]}",
                )
        require_whole("assumed_bad", self.assumed_bad, 0, 1 << 20)
        require_whole("iterations", self.iterations, 1, 10_000)
        if self.kept is not None:
            require_whole("kept", self.kept, 1, 1 << 20)
        require_real("trimmed_share", self.trimmed_share, "a number in [0, 0.5)", low=0.0, below=0.5)
        if self.bound_l2 is not None:
            require_real("bound_l2", self.bound_l2, "a finite number above 0", low=math.ulp(0.0), below=math.inf)
        require_real("smoothing", self.smoothing, "a number in (0, 1]", low=math.ulp(0.0), below=math.nextafter(1, 2))
        if self.name == "mean" and self.assumed_bad:
            raise ConfigError("the mean survives no bad update", do="choose another rule, or assumed_bad = 0")

    @property
    def least_institutions(self) -> int:
        """The fewest updates that it can work on: a job's quorum must not be lower."""
        if self.name == "mean" or (self.name == "norm_bound" and self.bound_l2 is not None):
            return self.assumed_bad + 1
        if self.name in ("krum", "multi_krum"):
            return max(2 * self.assumed_bad + 3, (self.kept or 1) + self.assumed_bad + 2)
        return 2 * self.assumed_bad + 1

    def check(self, institutions: int) -> None:
        """Return when the rule can work on so many updates.

        Raises:
            ConfigError: There are too few.
        """
        if institutions < self.least_institutions:
            raise ConfigError(
                f"the rule {self.name} with assumed_bad = {self.assumed_bad} has too few updates",
                expected=f"at least {self.least_institutions}",
                got=str(institutions),
                do="raise the quorum, or lower assumed_bad" + (" or kept" if self.kept else ""),
            )


def rules() -> dict[str, str]:
    """Name -> one line for people: what it does and when to use it."""
    return dict(_RULES)


@dataclass(frozen=True, kw_only=True)
class ServerOptimiser:
    """A step of the coordinator's own on what a round changed, instead of taking the fold as it is.

    With d the folded state minus the state before, for each tensor that a strategy changed:

    - "momentum": m <- momentum m + d; state <- state + learning_rate m. FedAvgM (Hsu et al. 2019, arXiv:1909.06335).
    - "adam": m <- beta1 m + (1 - beta1) d; v <- beta2 v + (1 - beta2) d^2;
      state <- state + learning_rate m / (sqrt(v) + stability). FedAdam (Reddi et al. 2021, arXiv:2003.00295).
    - "yogi": as adam, with v <- v - (1 - beta2) d^2 sign(v - d^2). FedYogi (the same paper).

    As in that paper no moment is corrected for its start at zero, and v starts at stability squared. A number that
    the rule does not use must be at its default.

    Args:
        name: "momentum", "adam" or "yogi".
        learning_rate: In (0, 10].
        momentum: momentum only, in [0, 1).
        beta1: adam and yogi only, in [0, 1).
        beta2: adam and yogi only, in [0, 1).
        stability: adam and yogi only: tau, in (0, 1].
    Raises:
        ConfigError: A field is out of range, or belongs to another rule.
    """

    name: str
    learning_rate: float
    momentum: float = 0.9
    beta1: float = 0.9
    beta2: float = 0.99
    stability: float = 1e-3

    def __post_init__(self) -> None:
        unused = {
            "momentum": ("beta1", "beta2", "stability"),
            "adam": ("momentum",),
            "yogi": ("momentum",),
        }
        if self.name not in unused:
            raise ConfigError(f"unknown server optimiser {self.name!r}", expected="momentum, adam or yogi")
        for field in fields(self):
            if field.name in unused[self.name] and getattr(self, field.name) != field.default:
                raise ConfigError(f"the server optimiser {self.name} has no {field.name}", do="leave it out")
        tiny = math.ulp(0.0)
        require_real("learning_rate", self.learning_rate, "a number in (0, 10]", low=tiny, below=math.nextafter(10, 11))
        for name in ("momentum", "beta1", "beta2"):
            require_real(name, getattr(self, name), "a number in [0, 1)", low=0.0, below=1.0)
        require_real("stability", self.stability, "a number in (0, 1]", low=tiny, below=math.nextafter(1, 2))


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Before a folded state stands, its loss on public canary examples is compared with the best so far.

    A loss that is not finite, or above (1 + largest_rise) times the least loss of the states that stood, quarantines
    the round: its state is put aside, and the last good state stands again.

    Args:
        records: JSONL of public examples; a path.
        largest_rise: >= 0, as a share of the least loss so far.
        limit: Most examples read, >= 1.
        every: Rounds between two looks, >= 1; the last round is always looked at. What lies between the last good
            look and a bad one is undone.
    Raises:
        ConfigError: A field is out of range.
    """

    records: str
    largest_rise: float
    limit: int = 32
    every: int = 1

    def __post_init__(self) -> None:
        require_real("[gate] largest_rise", self.largest_rise, "a number of 0 or more", low=0.0, below=math.inf)
        require_whole("[gate] limit", self.limit, 1, 1 << 20)
        require_whole("[gate] every", self.every, 1, 100_000)


@dataclass(frozen=True, kw_only=True)
class Widths:
    """How wide numbers travel: updates up to the coordinator, the state down to the institutions.

    Raises:
        ConfigError: A width is not known.
    """

    up: Width = "float32"
    down: Width = "float32"

    def __post_init__(self) -> None:
        for name, width in (("up", self.up), ("down", self.down)):
            if width not in WIDTHS:
                raise ConfigError(
                    f"[widths] {name} is not known", expected="one of " + ", ".join(WIDTHS), got=repr(width)
                )


DEFAULT_WIDTHS = Widths(up="int4", down="int8")
"""Of a job that names none: a fifth of the bytes at the same loss, by `concordat bench bytes`."""


@dataclass(frozen=True, kw_only=True)
class WidthSettings:
    """What a person writes under `[widths]`; what is left out is chosen for them.

    Raises:
        ConfigError: A width is not known.
    """

    up: Width | None = None
    down: Width | None = None

    def __post_init__(self) -> None:
        self.choose(masked=False)

    def choose(self, *, masked: bool) -> Widths:
        """The widths of a job: those named, else `DEFAULT_WIDTHS`, but for what masks decide.

        Args:
            masked: Whether updates are summed behind masks. They then travel in a ring, which has a width of its own.
        """
        up: Width = "float32" if masked else DEFAULT_WIDTHS.up
        return Widths(up=self.up or up, down=self.down or DEFAULT_WIDTHS.down)


def require_whole(name: str, value: int, low: int, high: int) -> None:
    """Raise ConfigError unless `value` is a whole number from `low` to `high`."""
    if type(value) is not int or not low <= value <= high:
        raise ConfigError(
            f"{name} is out of range", expected=f"a whole number from {low:,} to {high:,}", got=repr(value)
        )


def require_real(name: str, value: float, expected: str, *, low: float, below: float) -> None:
    """Raise ConfigError unless `value` is a number in [low, below)."""
    if type(value) not in (int, float) or not low <= value < below:
        raise ConfigError(f"{name} is out of range", expected=expected, got=repr(value))
