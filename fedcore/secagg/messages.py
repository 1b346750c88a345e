"""What travels in a secure sum, as bytes: signed statements of parties, and what the coordinator asks.

A **Statement** is a JSON header signed by a party's enrolled identity:
b"concordat/1/secagg/" + kind + NUL + header. Kinds: "keys", "masked", "confirm" and "unmask". Every header
names the job, the cohort digest and the sender; those of a round name also the round, the roster of keys and
the participants. Bodies are bound by their digests, so that a header can be relayed without its body.

The coordinator's own requests are not signed here: nothing in them is believed that a party has not signed.

    keys        header: public key
    roster      [keys statement of each member]                             to everyone, once a job
    begin       round, names of the participants                            to every participant
    masked      header, vector, sealed shares, commitments                  exchange 1
    survivors   round, [masked header of each survivor]                     only where somebody dropped
    confirm     header: digest of the survivor set                          its answer
    open        round, [masked headers], [confirmations], my sealed shares  exchange 2
    unmask      header, shares

>>> unpack(pack([b"one", b""]))
[b'one', b'']
"""

import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fedcore import canonical
from fedcore.errors import TrustError
from fedcore.identity import SigningIdentity
from fedcore.secagg.errors import BelowThreshold, Malformed, SurvivorsDisagree, WrongBinding
from fedcore.secagg.terms import Terms

__all__ = [
    "Begin",
    "Binding",
    "Kind",
    "Statement",
    "View",
    "pack",
    "read_confirmations",
    "read_statement",
    "read_view",
    "roster_digest",
    "sha256",
    "unpack",
    "verified",
]

Kind = Literal["keys", "masked", "confirm", "unmask"]
HEADER_LIMIT_BYTES = 4096

_FIELDS: dict[str, frozenset[str]] = {
    "keys": frozenset({"public"}),
    "masked": frozenset({"vector_sha256", "shares_sha256", "commitments_sha256", "self_commitment"}),
    "confirm": frozenset({"view"}),
    "unmask": frozenset({"view", "shares_sha256"}),
}


def sha256(data: Any) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def pack(parts: Iterable[bytes]) -> bytes:
    """Byte strings as one, each after its length."""
    return b"".join(piece for part in parts for piece in (len(part).to_bytes(8, "big"), part))


def unpack(data: bytes, count: int | None = None) -> list[bytes]:
    """Read what `pack` wrote: exactly, with nothing left over.

    Raises:
        Malformed: It is not that, or not of `count` parts.
    """
    parts, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 8], "big")
        if len(data) - at < 8 or size > len(data) - at - 8:
            raise Malformed("a message ends too early")
        parts.append(bytes(data[at + 8 : at + 8 + size]))
        at += 8 + size
    if count is not None and len(parts) != count:
        raise Malformed("a message has another number of parts", expected=str(count), got=str(len(parts)))
    return parts


@dataclass(frozen=True, kw_only=True)
class Binding:
    """What ties a statement to one question: it cannot be replayed to another."""

    terms: Terms
    roster: str = ""
    """Digest of all public keys of the job; empty before they are agreed."""
    round: int = 0
    participants: tuple[str, ...] = ()

    def fields(self, sender: str) -> dict[str, Any]:
        """The header fields of `sender`'s statement."""
        fields: dict[str, Any] = {"job": self.terms.job, "cohort": self.terms.digest, "sender": sender}
        if self.roster:
            fields |= {"roster": self.roster, "round": self.round, "participants": self.participants_digest}
        return fields

    @functools.cached_property
    def participants_digest(self) -> str:
        """SHA-256 over the sorted names."""
        return canonical.digest(list(self.participants))

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 over all of it: the seed of the round's graph, and what sealed shares are bound to."""
        return canonical.digest(self.fields(""))


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A signed header."""

    kind: Kind
    header: bytes
    signature: bytes
    fields: Mapping[str, Any]

    @classmethod
    def sign(
        cls, kind: Kind, binding: Binding, sender: str, values: Mapping[str, Any], signer: SigningIdentity
    ) -> "Statement":
        """A party's statement."""
        fields = {**binding.fields(sender), **values}
        header = canonical.encode(fields)
        return cls(kind=kind, header=header, signature=signer.sign(_signed(kind, header)), fields=fields)

    @property
    def sender(self) -> str:
        """Who signed it."""
        return str(self.fields["sender"])

    @property
    def digest(self) -> str:
        """SHA-256 of the header."""
        return sha256(self.header)

    def to_bytes(self) -> bytes:
        """Header and signature."""
        return pack([self.header, self.signature])


def read_statement(data: bytes, kind: Kind, binding: Binding) -> Statement:
    """Verify a statement: form, signature by the enrolled identity of its sender, then its binding.

    Raises:
        Malformed: Its form is wrong.
        WrongBinding: It belongs to another job, round, cohort, roster or set of participants.
        TrustError: The signature does not hold.
    """
    header, signature = unpack(data, 2)
    if len(header) > HEADER_LIMIT_BYTES:
        raise Malformed("a statement's header is too large")
    try:
        fields = canonical.decode(header)
    except (ValueError, RecursionError) as error:
        raise Malformed("a statement's header is not JSON") from error
    if not isinstance(fields, dict) or not isinstance(fields.get("sender"), str):
        raise Malformed("a statement names no sender")
    sender = fields["sender"]
    binding.terms.identity(sender).verify(_signed(kind, header), signature)
    expected = binding.fields(sender)
    if fields.keys() != expected.keys() | _FIELDS[kind]:
        raise Malformed(f"a {kind} statement has other fields than it should")
    if any(not isinstance(fields[name], str) for name in _FIELDS[kind]):
        raise Malformed(f"a {kind} statement has a field of the wrong type")
    if any(fields[name] != value or type(fields[name]) is not type(value) for name, value in expected.items()):
        raise WrongBinding(f"a {kind} statement answers another job, round, cohort, roster or set of participants")
    return Statement(kind=kind, header=header, signature=signature, fields=fields)


def _signed(kind: str, header: bytes) -> bytes:
    return b"concordat/1/secagg/" + kind.encode() + b"\0" + header


def roster_digest(terms: Terms, keys: Mapping[str, bytes]) -> str:
    """SHA-256 over the cohort digest and all public keys: the seed of every round's graph."""
    return canonical.digest([terms.digest, [[name, keys[name].hex()] for name in sorted(keys)]])


@dataclass(frozen=True, kw_only=True)
class Begin:
    """The coordinator's request to mask."""

    round: int
    participants: tuple[str, ...]

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical.encode({"round": self.round, "participants": list(self.participants)})

    @classmethod
    def from_bytes(cls, data: bytes) -> "Begin":
        """Read it.

        Raises:
            Malformed: It is not that.
        """
        try:
            value = canonical.decode(data)
            number, names = value["round"], value["participants"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise Malformed("a request to begin cannot be read") from error
        if type(number) is not int or not isinstance(names, list) or not all(isinstance(n, str) for n in names):
            raise Malformed("a request to begin has a field of the wrong type")
        return cls(round=number, participants=tuple(names))


@dataclass(frozen=True, kw_only=True)
class View:
    """A survivor set, by the very statements that its members signed."""

    binding: Binding
    masked: Mapping[str, Statement]
    """Survivor -> its masked statement."""

    @property
    def survivors(self) -> tuple[str, ...]:
        """Who is in the sum, sorted."""
        return tuple(sorted(self.masked))

    @property
    def dropped(self) -> tuple[str, ...]:
        """Which participants are not."""
        return tuple(name for name in self.binding.participants if name not in self.masked)

    @functools.cached_property
    def digest(self) -> str:
        """What survivors sign: each survivor by name and by the digest of its header."""
        return canonical.digest([self.binding.digest, [[name, self.masked[name].digest] for name in self.survivors]])


def read_view(statements: Sequence[bytes], binding: Binding) -> View:
    """Verify a survivor set: every member's own masked statement of this very round.

    Raises:
        SurvivorsDisagree: Somebody stands twice, or is no participant.
        BelowThreshold: There are too few.
        TrustError: A statement does not hold.
    """
    if len(statements) < binding.terms.threshold:
        raise BelowThreshold(
            "a survivor set is too small", expected=f"at least {binding.terms.threshold}", got=str(len(statements))
        )
    if len(statements) > len(binding.participants):
        raise SurvivorsDisagree("a survivor set is larger than the round")
    masked: dict[str, Statement] = {}
    for data in statements:
        statement = read_statement(data, "masked", binding)
        if statement.sender in masked or statement.sender not in binding.participants:
            raise SurvivorsDisagree("a survivor stands twice, or is no participant")
        masked[statement.sender] = statement
    return View(binding=binding, masked=masked)


def read_confirmations(data: Sequence[bytes], view: View) -> tuple[str, ...]:
    """Verify that enough survivors signed the set.

    Raises:
        SurvivorsDisagree: A confirmation is of another set, by one who is not in it, or stands twice.
        BelowThreshold: There are too few.
        TrustError: A statement does not hold.
    """
    names: set[str] = set()
    if len(data) > len(view.masked):
        raise SurvivorsDisagree("there are more confirmations than survivors")
    for one in data:
        statement = read_statement(one, "confirm", view.binding)
        if statement.fields["view"] != view.digest:
            raise SurvivorsDisagree("a confirmation is of another survivor set")
        if statement.sender in names or statement.sender not in view.masked:
            raise SurvivorsDisagree("a confirmation stands twice, or is by one who is not a survivor")
        names.add(statement.sender)
    if len(names) < view.binding.terms.threshold:
        raise BelowThreshold(
            "too few survivors confirmed the set",
            expected=f"at least {view.binding.terms.threshold}",
            got=str(len(names)),
        )
    return tuple(sorted(names))


def verified(data: bytes, kind: Kind, binding: Binding, sender: str) -> Statement:
    """A statement that must be by `sender`.

    Raises:
        TrustError: It is not, or does not hold.
    """
    statement = read_statement(data, kind, binding)
    if statement.sender != sender:
        raise TrustError("a statement is by another party than the one that sent it")
    return statement
