"""A coordinator's receipt for a reply: which entry of the institution's ledger paid for it.

A reply names the hash of its ledger entry; the coordinator signs that hash. Entries are hash-chained, so
one receipt countersigns every entry up to its own. A ledger that lacks the entry of a receipt was put back
from an older copy. A receipt is signed as an envelope of kind "receipt" without a body, and is stored as a
line of JSON. It is about public plans alone, and knows no record or update.

>>> from fedcore.identity import SigningIdentity
>>> coordinator = SigningIdentity.generate()
>>> event = DpEvent(sampler="poisson", sampling_rate=0.1, noise_multiplier=1.0, steps=4)
>>> receipt = Receipt(institution="a", number=1, previous="", job="job", round=1, plan="0" * 64, head="1" * 64,
...                   dataset="2" * 64, event=event, at="2026-11-01T12:00:00+00:00")
>>> read_receipt(seal_receipt(receipt, coordinator), coordinator.public, institution="a") == receipt
True
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from fedcore import canonical
from fedcore.errors import ConfigError, InvalidPlan, TrustError
from fedcore.identity import PublicIdentity, SigningIdentity
from fedcore.privacy.accounting import DpEvent
from fedcore.wire import Envelope, seal_bare, verify_header

__all__ = ["Receipt", "read_line", "read_lines", "read_receipt", "seal_receipt", "write_line"]

_DIGEST = re.compile(r"[0-9a-f]{64}")
_FRAME = {"version", "body_sha256"}
"""Fields that sealing adds to those of a receipt."""

_LINE_LIMIT = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What one reply of an institution cost, as its coordinator saw it.

    Args:
        institution: Whose ledger it is about.
        number: 1 for the coordinator's first receipt to this institution, and so on over all jobs. A
            coordinator that was itself put back from a backup uses a number twice: numbers are for people.
        previous: `head` of the receipt before, empty in the first one: what proves that none is missing.
        job: Name of the job.
        round: Which round was answered.
        plan: Digest of the plan that was answered.
        head: Hash of the ledger entry that paid for the reply.
        dataset: The institution's tag of the data set.
        event: What the institution's ledger has reserved for the job since its receipt before: this round,
            and earlier ones that were paid for and never answered.
        at: When the round closed, UTC, ISO 8601.
    Raises:
        TrustError: A field is out of range.
    """

    institution: str
    number: int
    previous: str
    job: str
    round: int
    plan: str
    head: str
    dataset: str
    event: DpEvent
    at: str

    def __post_init__(self) -> None:
        texts = (self.institution, self.job, self.at)
        digests = (self.plan, self.head, self.dataset, *([self.previous] if self.previous else []))
        readable = all(isinstance(t, str) and len(t) <= 200 for t in texts)
        numbers = all(type(n) is int and 1 <= n <= 1 << 53 for n in (self.number, self.round))
        if not (readable and numbers and all(isinstance(d, str) and _DIGEST.fullmatch(d) for d in digests)):
            raise TrustError("a receipt cannot be read")
        try:
            zone = datetime.fromisoformat(self.at).utcoffset()
        except ValueError as error:
            raise TrustError("a receipt's time cannot be read") from error
        if zone is None or not isinstance(self.event, DpEvent):
            raise TrustError("a receipt cannot be read")

    def to_dict(self) -> dict[str, Any]:
        """A JSON value; `from_dict` reads it back."""
        return {**{f.name: getattr(self, f.name) for f in fields(self)}, "event": self.event.to_dict()}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Receipt":
        """Read a receipt.

        Raises:
            TrustError: A field is missing, unknown or out of range.
        """
        try:
            return cls(**{**value, "event": DpEvent.from_dict(value["event"])})
        except (KeyError, TypeError, InvalidPlan) as error:
            raise TrustError("a receipt cannot be read") from error


def seal_receipt(receipt: Receipt, signer: SigningIdentity) -> Envelope:
    """Sign a receipt as the coordinator."""
    return seal_bare("receipt", receipt.to_dict(), signer)


def read_receipt(sealed: Envelope, coordinator: PublicIdentity, *, institution: str) -> Receipt:
    """Verify and read a receipt.

    Raises:
        TrustError: It is not signed by this coordinator, or not for this institution.
    """
    if sealed.kind != "receipt" or sealed.body:
        raise TrustError("a message is not a receipt")
    header = verify_header("receipt", sealed.header, sealed.signature, coordinator)
    receipt = Receipt.from_dict({name: value for name, value in header.items() if name not in _FRAME})
    if receipt.institution != institution:
        raise TrustError("a receipt is for another institution", expected=institution, got=receipt.institution)
    return receipt


def write_line(sealed: Envelope, signer: PublicIdentity) -> str:
    """A sealed receipt as a line of JSON, with the key that its signature is to be checked with."""
    value = {"header": sealed.header.decode(), "signature": sealed.signature.hex(), "signer": signer.key_hex}
    return canonical.encode(value).decode() + "\n"


def read_line(line: str) -> tuple[Envelope, PublicIdentity]:
    """Read what `write_line` wrote. Neither the signature nor the signer is believed here.

    Raises:
        TrustError: It is not such a line.
    """
    try:
        value = canonical.decode(line.encode())
        if not isinstance(value, dict) or value.keys() != {"header", "signature", "signer"}:
            raise ValueError("not a receipt's fields")
        sealed = Envelope(kind="receipt", header=value["header"].encode(), signature=bytes.fromhex(value["signature"]))
        return sealed, PublicIdentity(value["signer"])
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise TrustError("a line is not a receipt") from error


def read_lines(path: Path) -> Iterator[tuple[Envelope, PublicIdentity]]:
    """Read a file of receipts, as 'concordat server receipts' writes it.

    Raises:
        ConfigError: It cannot be read.
        TrustError: A line is not a receipt.
    """
    try:
        with path.open(encoding="utf-8") as file:
            while line := file.readline(_LINE_LIMIT):
                yield read_line(line)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the receipts in {path} cannot be read", do="check the path") from error
