"""Who takes part: members that enrolled, those invited to a job, and the quorum that a round needs.

A member is known by a name, an Ed25519 identity that signs its replies, and a transport key by which
Flower lets its node in. Nothing here knows what a member holds.

>>> invited(("b",), exclude=(), enrolled=("a", "b"))
('b',)
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from fedcore.errors import ConfigError
from fedcore.identity import PublicIdentity
from fedcore.round import JobPlan

__all__ = ["Member", "check_reachable", "invited"]


@dataclass(frozen=True, kw_only=True)
class Member:
    """One enrolled institution."""

    name: str
    identity: PublicIdentity
    flower_key: str
    """EC P-384 public key, PEM, of the node's connection."""


def invited(institutions: Collection[str], *, exclude: Collection[str], enrolled: Iterable[str]) -> tuple[str, ...]:
    """Names of the members that a round is for, sorted.

    Args:
        institutions: Those that the job names; none named means all that are enrolled.
        exclude: Those that can take no further part, such as those whose budget is exhausted.
        enrolled: All members.
    """
    return tuple(sorted(n for n in enrolled if (not institutions or n in institutions) and n not in exclude))


def check_reachable(job: JobPlan, enrolled: Collection[str]) -> None:
    """Require that the job's quorum can be reached at all.

    Raises:
        ConfigError: An institution that the job names is not enrolled, or too few are.
    """
    if unknown := sorted(set(job.institutions) - set(enrolled)):
        raise ConfigError(
            f"the institution {unknown[0]!r} is not enrolled",
            expected="one of " + (", ".join(sorted(enrolled)) or "(none is enrolled yet)"),
            do="enrol it with 'concordat server enrol', or correct institutions",
        )
    count = len(job.institutions or enrolled)
    if count < job.quorum:
        raise ConfigError(
            "the job's quorum cannot be reached",
            expected=f"at least {job.quorum} enrolled institutions",
            got=str(count),
            do="enrol more, or lower quorum",
        )
