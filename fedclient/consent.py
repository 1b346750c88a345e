"""What this institution agrees to, whoever asks: a plan is accepted whole or refused by name.

The coordinator proposes. **LocalPolicy** is the institution's own list of what may run on its records; each
of its rules gives one **Finding** on a plan, so that what a person reads before a job and what refuses a
round are the same. It knows public plans alone, and no record, model or budget (the budget is the ledger's).

>>> from fedcore.privacy.units import PrivacyUnit
>>> policy = LocalPolicy(tasks=("medicine.record",), unit=PrivacyUnit(key="patient"), least_noise_multiplier=0.3,
...                      largest_clip_norm_l2=10.0, largest_rank=64, largest_delta=1e-5)
>>> policy.unsafe_allow_no_noise
False
"""

import math
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from domains.base import task_digest
from fedclient.hours import Hours
from fedclient.peers import FINGERPRINT, Peer, parse_peers, unknown
from fedcore.adapter import AdapterSchema
from fedcore.errors import ConfigError, PlanRefused
from fedcore.privacy.accounting import SAMPLERS
from fedcore.privacy.units import PrivacyUnit
from fedcore.round import JobPlan, RoundPlan, rank_of

__all__ = ["WAITING", "Agreement", "ApprovalRule", "Finding", "LocalPolicy", "plain"]

ApprovalRule = Literal["none", "job", "round"]
"""What a person must approve: nothing, each job once, or each round."""

WAITING = ("approval_pending", "outside_hours")
"""Codes of what may be accepted later as it stands."""

_TASK = re.compile(r"(?P<name>[^@\s]+)(@(?P<digest>[0-9a-f]{64}))?")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Agreement(Protocol):
    """Whoever may say no to a plan."""

    def accept(self, plan: RoundPlan) -> None:
        """Return when the plan may run now.

        Raises:
            PlanRefused: It may not.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One rule on one plan: what the plan asks, what is allowed, and whether that holds."""

    rule: str
    code: str
    """What the coordinator learns where it does not hold."""
    asked: str
    allowed: str
    holds: bool

    @property
    def status(self) -> Literal["ok", "refused", "waits"]:
        """Whether it holds, never will, or may later."""
        if self.holds:
            return "ok"
        return "waits" if self.code in WAITING else "refused"

    def describe(self) -> str:
        """The rule in words."""
        allowed = self.allowed if self.allowed.startswith("at ") else f"allowed: {self.allowed}"
        return f"{self.rule} {self.asked} ({allowed})"


@dataclass(frozen=True, kw_only=True)
class LocalPolicy:
    """Bounds that every plan must keep.

    Args:
        tasks: Names of the tasks that may be trained, or "name@digest" for one as it is installed now (see
            `domains.base.task_digest`).
        bases: Digests of the base models that may be trained; empty means whichever is loaded here.
        coordinators: Fingerprints of the coordinators whose plans may run; empty means the pinned one.
        unit: Whom every plan must protect, and in which relation.
        least_noise_multiplier: Least noise of everything that one step releases together, > 0.
        largest_clip_norm_l2: Largest clip norm, > 0.
        largest_rank: Largest rank that is trained here, and of a residual beside it, >= 1; where a plan gives
            institutions ranks of their own and `own` is set, this one's.
        largest_delta: Largest delta that a plan may state, in (0, 1).
        samplers: How a plan may draw its batches.
        largest_honest_minimum: How many honest institutions shared noise may assume at most, >= 1; None refuses
            shared noise.
        peers: "name=fingerprint" of each institution whose operator this one's compared fingerprints with; the
            other members of a plan that shares noise count as colluders.
        own: "name=fingerprint" of this institution, which it need not compare, and by whose name it finds its own rank
            in a plan; empty: only `peers` are known.
        hours: When a round may start.
        approval: What a person must approve.
        digest_of: Digest of an installed task.
        unsafe_allow_no_noise: Whether UnsafeNoNoise plans are accepted. For simulation; no settings file
            can set it.
    Raises:
        ConfigError: A bound is out of range, or no task is allowed.
    """

    tasks: tuple[str, ...]
    bases: tuple[str, ...] = ()
    coordinators: tuple[str, ...] = ()
    unit: PrivacyUnit
    least_noise_multiplier: float
    largest_clip_norm_l2: float
    largest_rank: int
    largest_delta: float
    samplers: tuple[str, ...] = ("poisson",)
    largest_honest_minimum: int | None = None
    peers: tuple[str, ...] = ()
    own: str = ""
    hours: Hours = field(default_factory=Hours)
    approval: ApprovalRule = "none"
    digest_of: Callable[[str], str] = field(default=task_digest, repr=False, compare=False)
    unsafe_allow_no_noise: bool = False

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ConfigError("the policy allows no task", do="set [policy] tasks, such as ['medicine.record']")
        for name in ("least_noise_multiplier", "largest_clip_norm_l2"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"policy: {name} is out of range", expected="a number above 0", got=repr(value))
        if self.largest_rank < 1:
            raise ConfigError("policy: largest_rank is out of range", expected="at least 1")
        if not 0 < self.largest_delta < 1:
            raise ConfigError("policy: largest_delta is out of range", expected="a number in (0, 1), such as 1e-5")
        for name, form, expected in (
            ("tasks", _TASK, "a task's name, or name@digest as 'concordat node policy show' prints it"),
            ("bases", _DIGEST, "64 hexadecimal characters, as 'concordat model list' prints them"),
            ("coordinators", FINGERPRINT, "a fingerprint of eight groups, as 'concordat node enrol' prints it"),
        ):
            for entry in getattr(self, name):
                if form.fullmatch(entry) is None:
                    raise ConfigError(f"policy: an entry of {name} cannot be read", expected=expected, got=repr(entry))
        if not self.samplers or not set(self.samplers) <= set(SAMPLERS):
            raise ConfigError("policy: samplers cannot be used", expected="some of " + ", ".join(SAMPLERS))
        most = self.largest_honest_minimum
        if most is not None and (type(most) is not int or most < 1):
            raise ConfigError(
                "policy: largest_honest_minimum is out of range",
                expected="a whole number from 1, or the key left out",
                got=repr(most),
            )
        self._known()
        if self.approval not in ("none", "job", "round"):
            raise ConfigError("policy: approval is not known", expected="none, job or round", got=repr(self.approval))

    def _known(self) -> tuple[Peer, ...]:
        """Peers, and this institution where it is named."""
        own = () if not self.own or self.own in self.peers else (self.own,)
        return parse_peers((*self.peers, *own))

    @property
    def task_names(self) -> tuple[str, ...]:
        """The allowed tasks without their digests."""
        return tuple(dict.fromkeys(t.partition("@")[0] for t in self.tasks))

    def accept(
        self, plan: RoundPlan, *, coordinator: str = "", now: datetime | None = None, approved: bool = False
    ) -> None:
        """Return when every bound holds.

        Args:
            plan: Whose signature was checked.
            coordinator: Fingerprint of the one that signed it, as enrolled. Left out, a policy that lists
                coordinators refuses.
            now: By default the machine's clock.
            approved: Whether a person approved these terms.
        Raises:
            PlanRefused: The message names every bound that does not hold; `reason`, which the coordinator
                learns, is the code of the first: "coordinator_not_allowed", "task_not_allowed",
                "task_changed", "base_mismatch", "unit_mismatch", "sampler_not_allowed", "no_noise",
                "noise_too_low", "honest_minimum_too_large", "peers_unknown", "clip_norm_too_large",
                "rank_too_large", "delta_too_large",
                "approval_pending" or "outside_hours".
        """
        found = self.findings(plan, coordinator=coordinator, now=now, approved=approved)
        refused = [f for f in found if not f.holds]
        if refused:
            raise PlanRefused(
                f"round {plan.round} of {plan.job_id} is not within this institution's policy: "
                + ", ".join(f.describe() for f in refused),
                reason=refused[0].code,
                do=_advice(plan, refused),
            )

    def findings(
        self,
        plan: JobPlan | RoundPlan,
        *,
        coordinator: str = "",
        now: datetime | None = None,
        approved: bool = False,
    ) -> tuple[Finding, ...]:
        """Every rule of this policy on a plan, those that may hold later last; see `accept`."""
        return tuple(self._findings(plan, coordinator, now or datetime.now(UTC), approved))

    def _findings(
        self, plan: JobPlan | RoundPlan, coordinator: str, now: datetime, approved: bool
    ) -> Iterator[Finding]:
        privacy = plan.privacy
        yield Finding(
            rule="coordinator",
            code="coordinator_not_allowed",
            asked=plain(coordinator) or "not pinned",
            allowed=", ".join(self.coordinators) or "the pinned one",
            holds=not self.coordinators or coordinator in self.coordinators,
        )
        yield self._task(plan.task)
        yield Finding(
            rule="base",
            code="base_mismatch",
            asked=plain(plan.schema.base_digest, 64)[:12],
            allowed=", ".join(b[:12] for b in self.bases) or "the one loaded here",
            holds=not self.bases or plan.schema.base_digest in self.bases,
        )
        yield Finding(
            rule="unit",
            code="unit_mismatch",
            asked=plain(privacy.unit.describe()),
            allowed=self.unit.describe(),
            holds=privacy.unit == self.unit,
        )
        yield Finding(
            rule="sampler",
            code="sampler_not_allowed",
            asked=plain(privacy.sampler),
            allowed=" or ".join(self.samplers),
            holds=privacy.sampler in self.samplers,
        )
        # What is released beside the gradients, such as a noised count, takes noise from them: the multiplier
        # that an attacker meets is that of all of it together.
        noise = privacy.event().effective_noise_multiplier
        yield Finding(
            rule="noise_multiplier",
            code="noise_too_low" if privacy.is_private else "no_noise",
            asked=f"{noise:g}" if privacy.is_private else "none at all (UnsafeNoNoise)",
            allowed=f"at least {self.least_noise_multiplier:g}",
            holds=noise >= self.least_noise_multiplier if privacy.is_private else self.unsafe_allow_no_noise,
        )
        if privacy.shares_noise:
            yield self._honest_minimum(plan)
            yield self._peers(plan)
        yield Finding(
            rule="clip_norm_l2",
            code="clip_norm_too_large",
            asked=f"{privacy.clip_norm_l2:g}",
            allowed=f"at most {self.largest_clip_norm_l2:g}",
            holds=privacy.clip_norm_l2 <= self.largest_clip_norm_l2,
        )
        ranks, residuals = self._ranks(plan), _residual_ranks(plan.schema)
        asked = ", ".join(plain(r, 20) for r in ranks[:4])
        if residuals:
            asked += f"; residual {', '.join(plain(r, 20) for r in residuals[:4])}"
        yield Finding(
            rule="rank",
            code="rank_too_large",
            asked=asked,
            allowed=f"at most {self.largest_rank}",
            holds=all(type(r) is int and 1 <= r <= self.largest_rank for r in (*ranks, *residuals)),
        )
        yield Finding(
            rule="delta",
            code="delta_too_large",
            asked=f"{privacy.delta:g}",
            allowed=f"at most {self.largest_delta:g}",
            holds=privacy.delta <= self.largest_delta,
        )
        yield Finding(
            rule="approval",
            code="approval_pending",
            asked="approved" if approved else "nothing" if self.approval == "none" else "not approved",
            allowed={"none": "no approval needed", "job": "once approved", "round": "each round once approved"}[
                self.approval
            ],
            holds=approved or self.approval == "none",
        )
        yield Finding(
            rule="hours",
            code="outside_hours",
            asked=self.hours.clock(now),
            allowed=self.hours.describe(),
            holds=self.hours.allow(now),
        )

    def _ranks(self, plan: JobPlan | RoundPlan) -> list[object]:
        """The rank that is trained here and those that the plan's tensors have, if they have others than it states."""
        stated, *others = _ranks(plan.schema)
        return [rank_of(plan, Peer.parse(self.own).name) if self.own else stated, *others]

    def _honest_minimum(self, plan: JobPlan | RoundPlan) -> Finding:
        """How many others the noise relies on."""
        honest, sums, most = plan.privacy.honest_minimum, plan.sums, self.largest_honest_minimum
        asked = f"{honest}"
        if sums is not None:
            asked += f" of {sums.parties}, threshold {sums.threshold}, colluders {sums.colluders}"
        return Finding(
            rule="honest_minimum",
            code="honest_minimum_too_large",
            asked=asked,
            allowed="no shared noise, since largest_honest_minimum is not set" if most is None else f"at most {most}",
            holds=most is not None and honest is not None and sums is not None and honest <= most,
        )

    def _peers(self, plan: JobPlan | RoundPlan) -> Finding:
        """Whether few enough of those who mask together may be anybody."""
        colluders = 0 if plan.sums is None else plan.sums.colluders
        known = self._known()
        if isinstance(plan, JobPlan):
            # A job does not say who will be connected, but at least the quorum will: this rule decides in each round.
            names = {p.name for p in known}
            strangers = sorted({*plan.institutions} - names)
            least = plan.quorum - len(names & {*plan.institutions} if plan.institutions else names)
            asked = "members are named in each round"
            asked += f"; not known here: {_names(strangers)}" if strangers else ""
            holds = least <= colluders
            asked += "" if holds else f"; of a quorum of {plan.quorum} at least {least} are not known here"
        else:
            strangers = list(unknown(plan.members, known))
            asked = f"not known here: {_names(strangers)}" if strangers else "all known here"
            holds = bool(plan.members) and len(strangers) <= colluders
            if self.own and unknown([m for m in plan.members if m[0] == Peer.parse(self.own).name] or [None], known):
                asked, holds = f"this institution is not among the members with its own key; {asked}", False
        return Finding(
            rule="peers", code="peers_unknown", asked=asked, allowed=f"at most {colluders} unknown", holds=holds
        )

    def _task(self, name: str) -> Finding:
        """Whether a task is listed and, where its digest is, unchanged."""
        digests = [t.partition("@")[2] for t in self.tasks if t.partition("@")[0] == name]
        code, holds, asked = "task_not_allowed", bool(digests), plain(name)
        if digests and "" not in digests:
            found = self._installed(name)
            code, holds, asked = "task_changed", found in digests, f"{asked}@{found[:12]}"
        allowed = ", ".join(t if "@" not in t else t[: t.index("@") + 13] for t in self.tasks)
        return Finding(rule="task", code=code, asked=asked, allowed=allowed, holds=holds)

    def _installed(self, name: str) -> str:
        """Digest of a task here; a word that is no digest where it has none."""
        try:
            return self.digest_of(name)
        except ConfigError:
            return "not installed"


def plain(value: Any, limit: int = 80) -> str:
    """A coordinator's words made fit for a terminal and a log: printable characters, cut short."""
    text = value if isinstance(value, str) else repr(value)
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(c if c.isprintable() else "?" for c in cut)


def _names(names: Collection[Any]) -> str:
    """A few names in words."""
    shown = ", ".join(plain(n, 40) for n in [*names][:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


def _ranks(schema: AdapterSchema) -> list[object]:
    """The rank that a schema states and those that its trained factors and cores have; they should be one."""
    first = {t.shape[0] if t.shape else 0 for t in schema.part("lora_A")}
    last = {t.shape[-1] if t.shape else 0 for t in schema.part("lora_B")}
    cores = {side for t in schema.part("core") for side in t.shape or (0,)}
    return [schema.rank, *sorted((first | last | cores) - {schema.rank}, key=repr)]


def _residual_ranks(schema: AdapterSchema) -> list[object]:
    """Those of a residual, as `_ranks`; none where there is no residual. It is not trained, but computed with."""
    first = {t.shape[0] if t.shape else 0 for t in schema.part("residual_A")}
    last = {t.shape[-1] if t.shape else 0 for t in schema.part("residual_B")}
    stated = {schema.residual_rank} - {0}
    return [*stated, *sorted((first | last) - stated, key=repr)]


def _advice(plan: RoundPlan, refused: list[Finding]) -> str:
    """What the operator can do about it."""
    codes = {f.code for f in refused}
    if codes == {"outside_hours"}:
        return "nothing needs to be done: it may run within the hours"
    if codes <= set(WAITING):
        return f"read its terms and decide with 'concordat node approve {plan.job_id}'"
    return "the coordinator may propose another plan; change [policy] in node.toml only if you agree to this"
