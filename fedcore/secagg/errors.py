"""Why a party of a secure sum says no, as a branch of the house's family.

    TrustError
    └── SumRefused                  what was asked would weaken the promise, so nothing was done
        ├── Malformed                   bytes that are not the message they claim to be
        ├── WrongBinding                another job, round, cohort, roster or set of participants
        ├── SubstitutedKey              a key that its owner did not sign for this job
        ├── SurvivorsDisagree           another survivor set than the one agreed to, or one that contradicts itself
        ├── BelowThreshold              a sum of too few
        ├── AlreadyAnswered             a second, different request of one kind in one round
        └── RoundOver                   a round that was abandoned, finished or left behind

What the aggregator refuses of a party is a `fedcore.errors.BadReply` with a `kind`.

>>> SumRefused.code
'secure_sum'
"""

from fedcore.errors import TrustError

__all__ = [
    "AlreadyAnswered",
    "BelowThreshold",
    "Malformed",
    "RoundOver",
    "SubstitutedKey",
    "SumRefused",
    "SurvivorsDisagree",
    "WrongBinding",
]


class SumRefused(TrustError):
    """A party refused, and its state is as it was."""

    code = "secure_sum"


class Malformed(SumRefused):
    """Bytes that are not the message they claim to be."""

    code = "malformed"


class WrongBinding(SumRefused):
    """A message of another job, round, cohort, roster or set of participants: perhaps a replay."""

    code = "wrong_binding"


class SubstitutedKey(SumRefused):
    """A key that its owner did not sign for this job, or not mine where mine should be."""

    code = "substituted_key"


class SurvivorsDisagree(SumRefused):
    """A survivor set other than the one agreed to, or one that contradicts itself."""

    code = "survivors_disagree"


class BelowThreshold(SumRefused):
    """A sum of fewer parties, or agreed to by fewer, than the terms allow."""

    code = "below_threshold"


class AlreadyAnswered(SumRefused):
    """A second request of one kind in one round that is not the first one's bytes."""

    code = "already_answered"


class RoundOver(SumRefused):
    """A round that was abandoned, finished or left behind."""

    code = "round_over"
