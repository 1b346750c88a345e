"""Every error that Concordat raises on purpose, as one family.

Callers act on the class; people read the message, one line that says what was wrong, what was expected,
what was found and what to do next. A message never holds a record, a prompt or a number computed from
records: it is safe to log, but only `code` may leave the building.

    ConcordatError                      exit 1   code "error"
    ├── ConfigError                     exit 2   settings or arguments that cannot be used
    ├── RecordError                     exit 3   records that cannot be read (by position, never content)
    │   ├── NoPrivacyUnit                        no column or path names the unit to protect
    │   └── NotFhirR4
    ├── PrivacyError                    exit 4   the promise could not be kept, so nothing was done
    │   ├── InvalidPlan                          a plan whose numbers cannot hold
    │   ├── SamplerMismatch                      the loader is not the sampler accounted for
    │   ├── AccountantMismatch                   two accountants disagree
    │   ├── BudgetExhausted
    │   └── LedgerError                          the ledger is damaged or was tampered with
    │       └── LedgerBehind                     it lacks entries that receipts show
    ├── PlanRefused                     exit 5   the institution's own policy says no; has `reason`
    ├── ModelError                      exit 6   a base or adapter that cannot be used
    │   ├── BaseMismatch
    │   └── UnsupportedModel
    ├── TrustError                      exit 7   a signature, digest, key or certificate does not hold
    │   └── TamperedRelease
    ├── RoundError                      exit 8   a round could not be completed
    │   ├── BadReply                             one reply, named and dropped
    │   └── QuorumLost
    ├── LinkError                       exit 9   the network or the port
    ├── StorageError                    exit 10  a disk that is full or fails: what is kept there stands, work stops
    └── Interrupted                     exit 130 Ctrl-C: state is kept

>>> str(ConfigError("unknown key 'epsilom'", expected="one of: epsilon", do="correct job.toml"))
"unknown key 'epsilom'; expected one of: epsilon; correct job.toml"
"""

from typing import ClassVar

__all__ = [
    "AccountantMismatch",
    "BadReply",
    "BaseMismatch",
    "BudgetExhausted",
    "ConcordatError",
    "ConfigError",
    "Interrupted",
    "InvalidPlan",
    "LedgerBehind",
    "LedgerError",
    "LinkError",
    "ModelError",
    "NoPrivacyUnit",
    "NotFhirR4",
    "PlanRefused",
    "PrivacyError",
    "QuorumLost",
    "RecordError",
    "RoundError",
    "SamplerMismatch",
    "StorageError",
    "TamperedRelease",
    "TrustError",
    "UnsupportedModel",
]


class ConcordatError(Exception):
    """The root of the family.

    Args:
        what: What was wrong, without any content of a record.
        expected: What would have been right.
        got: What was found instead.
        do: What the reader should do next.
    """

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "error"
    """The one word that may leave the building."""

    def __init__(
        self, what: str, *, expected: str | None = None, got: str | None = None, do: str | None = None
    ) -> None:
        parts = [what]
        if expected is not None:
            parts.append(f"expected {expected}")
        if got is not None:
            parts.append(f"got {got}")
        if do is not None:
            parts.append(do)
        super().__init__("; ".join(parts))


class ConfigError(ConcordatError):
    """Settings or arguments that cannot be used."""

    exit_code = 2
    code = "config"


class RecordError(ConcordatError):
    """Records that cannot be read. Names positions and columns, never content."""

    exit_code = 3
    code = "records"


class NoPrivacyUnit(RecordError):
    """No column or JSON path names whom to protect."""

    code = "no_privacy_unit"


class NotFhirR4(RecordError):
    """A bundle that is not FHIR R4."""

    code = "not_fhir_r4"


class PrivacyError(ConcordatError):
    """A privacy promise could not be kept, so nothing was done."""

    exit_code = 4
    code = "privacy"


class InvalidPlan(PrivacyError):
    """A plan whose numbers cannot hold what they promise."""

    code = "invalid_plan"


class SamplerMismatch(PrivacyError):
    """The batches do not come from the sampler that the accountant accounts for."""

    code = "sampler_mismatch"


class AccountantMismatch(PrivacyError):
    """Two accountants disagree about the same events."""

    code = "accountant_mismatch"


class BudgetExhausted(PrivacyError):
    """The round would pass the institution's own limit."""

    code = "budget_exhausted"


class LedgerError(PrivacyError):
    """The privacy ledger is damaged, missing or was changed by another hand."""

    code = "ledger"


class LedgerBehind(LedgerError):
    """The ledger lacks an entry that a receipt shows: it was put back from an older copy."""

    code = "ledger_behind"


class PlanRefused(ConcordatError):
    """The institution's policy says no. `reason` is the word that the coordinator may know."""

    exit_code = 5
    code = "plan_refused"

    def __init__(
        self,
        what: str,
        *,
        reason: str,
        expected: str | None = None,
        got: str | None = None,
        do: str | None = None,
    ) -> None:
        super().__init__(what, expected=expected, got=got, do=do)
        self.reason = reason


class ModelError(ConcordatError):
    """A base model or adapter that cannot be used."""

    exit_code = 6
    code = "model"


class BaseMismatch(ModelError):
    """The base here is not the base that the plan or release names."""

    code = "base_mismatch"


class UnsupportedModel(ModelError):
    """A part of a model that cannot be trained privately."""

    code = "unsupported_model"


class TrustError(ConcordatError):
    """A signature, digest, key or certificate does not hold."""

    exit_code = 7
    code = "trust"


class TamperedRelease(TrustError):
    """A release whose files are not what its manifest signs."""

    code = "tampered_release"


class RoundError(ConcordatError):
    """A round could not be completed."""

    exit_code = 8
    code = "round"


class BadReply(RoundError):
    """One reply that was dropped. `code` is refined by `kind`, such as "not_finite" or "wrong_shape"."""

    code = "bad_reply"

    def __init__(self, what: str, *, kind: str, expected: str | None = None, got: str | None = None) -> None:
        super().__init__(what, expected=expected, got=got)
        self.kind = kind


class QuorumLost(RoundError):
    """Fewer good replies than the quorum when the deadline passed."""

    code = "quorum_lost"


class LinkError(ConcordatError):
    """The network, the port or the peer."""

    exit_code = 9
    code = "link"


class StorageError(ConcordatError):
    """A disk that is full or fails, or a file that cannot be used now. What was kept stands, and work goes on later."""

    exit_code = 10
    code = "storage"


class Interrupted(ConcordatError):
    """Stopped by the user; state is kept and the message says how to go on."""

    exit_code = 130
    code = "interrupted"
