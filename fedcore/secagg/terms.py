"""The terms of a job's secure sums: who takes part, how many are needed, what ring they sum in.

Every field is public, and every signature is bound to the digest of all of them: parties that were shown
different terms never accept each other's messages.

>>> terms = Terms(job="j", members=(("a", "0" * 64), ("b", "1" * 64), ("c", "2" * 64)), threshold=3,
...               colluders=1, rounds=5, length=10, bits=32)
>>> terms.index("c"), len(terms.digest)
(2, 64)
"""

import functools
import re
from dataclasses import asdict, dataclass

from fedcore import canonical
from fedcore.errors import InvalidPlan
from fedcore.identity import PublicIdentity
from fedcore.secagg.errors import WrongBinding

__all__ = ["LARGEST_COHORT", "Terms"]

LARGEST_COHORT = 4096
_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What all parties of a job agree on before any key.

    Args:
        job: The name that binds all messages; a job whose keys are agreed anew needs another.
        members: (name, Ed25519 public key in hexadecimal) of each enrolled party, sorted by name, 2 to 4,096.
        threshold: No sum of fewer is ever opened.
        colluders: How many parties may stand with the coordinator against the others.
        rounds: Rounds are numbered from 1 to this.
        length: How many numbers are summed.
        bits: The ring is Z_2^bits: 16, 32 or 64.
    Raises:
        InvalidPlan: A field is out of range; or twice the threshold is not above members plus colluders, so
            that two different survivor sets could both be opened (Bonawitz et al. 2017, section 6.2); or
            a sum could hold fewer than two honest inputs.
    """

    job: str
    members: tuple[tuple[str, str], ...]
    threshold: int
    colluders: int
    rounds: int
    length: int
    bits: int

    def __post_init__(self) -> None:
        def require(holds: bool, what: str, expected: str | None = None) -> None:
            if not holds:
                raise InvalidPlan(f"secure sums: {what}", expected=expected)

        names = [name for name, _ in self.members]
        require(bool(self.job) and len(self.job) <= 256, "the job has no usable name")
        require(2 <= len(names) <= LARGEST_COHORT, "the cohort's size is out of range", f"2 to {LARGEST_COHORT}")
        require(names == sorted(set(names)) and all(names), "the members are not sorted by name, or one stands twice")
        # One spelling of each key, or two spellings would be two members.
        require(all(_KEY.fullmatch(key) for _, key in self.members), "a member's key cannot be read", "64 of 0-9a-f")
        require(len({key for _, key in self.members}) == len(names), "two members have one key")
        for name in ("threshold", "rounds", "length"):
            require(type(getattr(self, name)) is int and getattr(self, name) >= 1, f"{name} is out of range", ">= 1")
        require(type(self.colluders) is int and self.colluders >= 0, "colluders is out of range", ">= 0")
        require(self.bits in (16, 32, 64), "bits is out of range", "16, 32 or 64")
        require(self.threshold <= len(names), "the threshold is larger than the cohort")
        require(
            2 * self.threshold > len(names) + self.colluders,
            "two different survivor sets could both be opened",
            f"a threshold of at least {(len(names) + self.colluders) // 2 + 1}",
        )
        require(self.threshold - self.colluders >= 2, "a sum could hold a single honest input")

    def index(self, name: str) -> int:
        """The place of a member.

        Raises:
            WrongBinding: There is none of that name.
        """
        try:
            return self._places[name]
        except KeyError as error:
            raise WrongBinding("a message names a party that is not of this cohort") from error

    def identity(self, name: str) -> PublicIdentity:
        """The enrolled identity of a member."""
        return PublicIdentity(self.members[self.index(name)][1])

    @functools.cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, (name, _) in enumerate(self.members)}

    @functools.cached_property
    def digest(self) -> str:
        """The cohort digest: SHA-256 of all of it, hexadecimal."""
        return canonical.digest(asdict(self))
