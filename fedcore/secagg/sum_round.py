"""One round of a secure sum at the coordinator: who is in it, what must be asked next, and its total.

See `aggregator.py` for the order of calls. Each vector is added as it comes and then forgotten.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain, combinations
from typing import Any, Literal, TypeVar

import numpy as np

from fedcore import canonical
from fedcore.errors import BadReply, TrustError
from fedcore.secagg._primitives import PRIME, SHARE_BYTES, RingArray, add_mask, combine, dtype_of
from fedcore.secagg.errors import Malformed, SubstitutedKey, WrongBinding
from fedcore.secagg.graph import draw
from fedcore.secagg.messages import (
    Begin,
    Binding,
    Kind,
    Statement,
    View,
    pack,
    read_statement,
    sha256,
    unpack,
    verified,
)
from fedcore.secagg.shares import COMMITMENT_BYTES, MISSING, Layout, commitment, cut

__all__ = ["Abandoned", "Ask", "Opened", "SumRound", "checked", "participants_of"]

Value = TypeVar("Value")

_STATE_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Ask:
    """The next request, one for each survivor that is asked."""

    kind: Literal["confirm", "open"]
    requests: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Opened:
    """The sum of the survivors' vectors in the ring."""

    total: RingArray = field(repr=False)
    contributors: tuple[str, ...]
    dropped: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Abandoned:
    """A round that could not be opened; nothing about any single vector was learnt."""

    reason: Literal["too_few_masked", "disconnected", "too_few_confirmed", "too_few_unmasked", "wrong_seed"]
    dropped: tuple[str, ...]
    blamed: tuple[str, ...] = ()
    """Who dealt shares that do not give the seed it committed to."""


@dataclass
class _Masked:
    """What is kept of a masked message: all but its vector."""

    statement: Statement
    selves: bytes = field(repr=False)
    pairs: bytes = field(repr=False)
    commitments: bytes = field(repr=False)


class SumRound:
    """One round. Each vector is added as it comes and then forgotten."""

    def __init__(self, binding: Binding) -> None:
        self._binding = binding
        terms = binding.terms
        graph = draw(binding.participants, binding.digest, colluders=terms.colluders, threshold=terms.threshold)
        self._layout = Layout(graph)
        self._total: RingArray = np.zeros(terms.length, dtype=dtype_of(terms.bits))
        self._masked: dict[str, _Masked] = {}
        self._view: View | None = None
        self._confirmed: dict[str, bytes] | None = None
        self._unmasked: dict[str, dict[tuple[str, str | None], bytes]] | None = None

    @property
    def request(self) -> bytes:
        """What every participant is sent first."""
        return Begin(round=self._binding.round, participants=self._binding.participants).to_bytes()

    def add_masked(self, sender: str, data: bytes) -> None:
        """Take a masked vector.

        Raises:
            BadReply: It is not counted; see the module for the kinds.
        """
        if sender not in self._binding.participants:
            raise BadReply("a masked vector came from no participant", kind="unknown_party")
        if self._view is not None:
            raise BadReply(f"{sender}: a masked vector came after the set was closed", kind="late")
        if sender in self._masked:
            raise BadReply(f"{sender}: a masked vector came twice", kind="duplicate")
        parts = checked(sender, lambda: unpack(data, 5))
        vector = parts[1]
        message = self._message(sender, *parts)
        self._total += np.frombuffer(vector, dtype=self._total.dtype)
        self._masked[sender] = message

    def close_masked(self) -> Ask | Abandoned:
        """Decide the survivors: all whose vectors were taken."""
        if self._view is None:
            view = View(binding=self._binding, masked={n: m.statement for n, m in self._masked.items()})
            if len(view.survivors) < self._binding.terms.threshold:
                return Abandoned(reason="too_few_masked", dropped=view.dropped)
            if not self._layout.graph.connects(view.survivors):
                return Abandoned(reason="disconnected", dropped=view.dropped)
            self._view = view
        if self._layout.needs_confirmation(self._view):
            self._confirmed = {} if self._confirmed is None else self._confirmed
            return self._ask_confirm()
        return self._ask_open()

    def add_confirmation(self, sender: str, data: bytes) -> None:
        """Take a survivor's signature of the set.

        Raises:
            BadReply: It is not counted.
        """
        view = self._open_phase(sender, self._confirmed)
        if self._unmasked is not None:
            raise BadReply(f"{sender}: a confirmation came after they were closed", kind="late")
        if self._confirmed is None or sender in self._confirmed:
            raise BadReply(f"{sender}: a confirmation came twice", kind="duplicate")
        statement = self._statement(sender, "confirm", data)
        if statement.fields["view"] != view.digest:
            raise BadReply(f"{sender}: a confirmation is of another set", kind="wrong_view")
        self._confirmed[sender] = data

    def close_confirmations(self) -> Ask | Abandoned:
        """Ask those who confirmed to unmask."""
        if self._view is None or self._confirmed is None:
            raise TrustError("no confirmations were asked for")
        if len(self._confirmed) < self._binding.terms.threshold:
            return Abandoned(reason="too_few_confirmed", dropped=self._view.dropped)
        return self._ask_open()

    def add_unmasked(self, sender: str, data: bytes) -> None:
        """Take the shares that a survivor opened.

        Raises:
            BadReply: None of them is counted.
        """
        view = self._open_phase(sender, self._unmasked)
        if self._unmasked is None or sender in self._unmasked:
            raise BadReply(f"{sender}: shares came twice", kind="duplicate")
        header, body = checked(sender, lambda: unpack(data, 2))
        statement = self._statement(sender, "unmask", header)
        if statement.fields["view"] != view.digest:
            raise BadReply(f"{sender}: shares are of another set", kind="wrong_view")
        if statement.fields["shares_sha256"] != sha256(body):
            raise BadReply(f"{sender}: the shares are not those that were signed", kind="wrong_digest")
        entries = self._layout.opened(sender, view)
        try:
            pieces = cut(body, [SHARE_BYTES] * len(entries))
        except Malformed as error:
            raise BadReply(f"{sender}: {error}", kind="wrong_length") from error
        shares: dict[tuple[str, str | None], bytes] = {}
        for entry, share in zip(entries, pieces, strict=True):
            if share == MISSING:
                continue
            if int.from_bytes(share, "big") >= PRIME or not self._is_committed(entry.owner, entry.peer, sender, share):
                raise BadReply(f"{sender}: a share is not the one that was dealt", kind="wrong_share")
            shares[entry.owner, entry.peer] = share
        self._unmasked[sender] = shares

    @property
    def can_finish(self) -> bool:
        """Whether the shares that came are enough; more are waited for only in case some are wrong."""
        return self._unmasked is not None and all(len(self._shares(*key)) >= self._needed for key in self._seeds())

    def finish(self) -> Opened | Abandoned:
        """Recover the seeds, take off the masks. All seeds are checked before any is used."""
        view = self._view
        if view is None or self._unmasked is None:
            raise TrustError("nobody was asked to unmask yet")
        if not self.can_finish:
            return Abandoned(reason="too_few_unmasked", dropped=view.dropped)
        seeds: dict[tuple[str, str | None], bytes] = {}
        for owner, peer in self._seeds():
            seed = self._recover(owner, peer)
            if seed is None:
                return Abandoned(reason="wrong_seed", dropped=view.dropped, blamed=(owner,))
            seeds[owner, peer] = seed
        total = self._total.copy()
        for (owner, peer), seed in seeds.items():
            add_mask(total, seed, -1 if peer is None or owner < peer else 1)
        return Opened(total=total, contributors=view.survivors, dropped=view.dropped)

    @property
    def survivors(self) -> tuple[str, ...]:
        """Whose vectors are in the sum; empty until the set is closed."""
        return self._view.survivors if self._view else ()

    @property
    def pending(self) -> Ask | None:
        """What has been asked and not been closed yet; None while vectors are taken."""
        if self._view is None:
            return None
        return self._ask_confirm() if self._unmasked is None else self._ask_open()

    def state(self) -> bytes:
        """What a restart needs, to be kept before the requests of an Ask are sent.

        It holds what the coordinator was sent and nothing more: a masked total, and sealed shares. Shares
        that were opened are not in it: they are asked for again, and the same request gets the same answer.
        """
        phase = "masked" if self._view is None else "confirm" if self._unmasked is None else "open"
        header = {
            "version": _STATE_VERSION,
            "binding": self._binding.digest,
            "round": self._binding.round,
            "participants": list(self._binding.participants),
            "phase": phase,
        }
        masked = [self._masked[name] for name in sorted(self._masked)]
        messages = [pack([m.statement.to_bytes(), m.selves, m.pairs, m.commitments]) for m in masked]
        confirmations = [self._confirmed[name] for name in sorted(self._confirmed or {})] if self._confirmed else []
        return pack([canonical.encode(header), self._total.tobytes(), pack(messages), pack(confirmations)])

    @classmethod
    def resume(cls, binding: Binding, state: bytes) -> "SumRound":
        """Go on from a stored state. Every statement in it is verified anew.

        Raises:
            TrustError: It does not hold, or is of another round.
        """
        one = cls(binding)
        header, total, messages, confirmations = unpack(state, 4)
        phase = _header(header)["phase"]
        if _header(header)["binding"] != binding.digest:
            raise WrongBinding("a stored round is of another job, roster, number or set of participants")
        if len(total) != one._total.nbytes:
            raise Malformed("a stored round's total has the wrong length")
        one._total = np.frombuffer(total, dtype=one._total.dtype).copy()
        try:
            for message in unpack(messages):
                statement, *rest = unpack(message, 4)
                sender = read_statement(statement, "masked", binding).sender
                if sender not in binding.participants or sender in one._masked:
                    raise Malformed("a stored round holds a message twice, or of no participant")
                one._masked[sender] = one._message(sender, statement, None, *rest)
            asked = None if phase == "masked" else one.close_masked()
            for confirmation in unpack(confirmations):
                one.add_confirmation(read_statement(confirmation, "confirm", binding).sender, confirmation)
            if phase == "open" and isinstance(asked, Ask) and asked.kind == "confirm":
                asked = one.close_confirmations()
        except BadReply as error:
            raise Malformed("a stored round holds a message that does not hold") from error
        if asked is not None and not (isinstance(asked, Ask) and asked.kind == phase):
            raise Malformed("a stored round is not in the phase that it names")
        return one

    @property
    def _number(self) -> bytes:
        return str(self._binding.round).encode()

    @property
    def _needed(self) -> int:
        return self._layout.graph.parameters.share_threshold

    def _ask_confirm(self) -> Ask:
        """The same request for every survivor: what all of them signed."""
        view = self._require_view()
        return Ask(kind="confirm", requests=dict.fromkeys(view.survivors, pack([self._number, self._statements(view)])))

    def _ask_open(self) -> Ask:
        """Each survivor's own request to unmask: what all signed, and the sealed pieces that are its own.

        Where the set had to be confirmed, only those who did are asked.
        """
        view, layout = self._require_view(), self._layout
        self._unmasked = {} if self._unmasked is None else self._unmasked
        names = view.survivors if self._confirmed is None else tuple(sorted(self._confirmed))
        confirmations = pack(self._confirmed[name] for name in names) if self._confirmed else b""
        statements = self._statements(view)
        requests = {}
        for name in names:
            owners = layout.owners(name, view)
            selves = b"".join(layout.self_piece(o, name, self._masked[o].selves) for o in owners)
            wanted = owners if view.dropped else []
            pairs = b"".join(layout.pair_piece(o, name, self._masked[o].pairs) for o in wanted)
            requests[name] = pack([self._number, statements, confirmations, selves, pairs])
        return Ask(kind="open", requests=requests)

    def _statements(self, view: View) -> bytes:
        return pack(view.masked[name].to_bytes() for name in view.survivors)

    def _message(
        self, sender: str, header: bytes, vector: bytes | None, selves: bytes, pairs: bytes, commitments: bytes
    ) -> _Masked:
        """What is kept of a masked message; a stored one has no vector any more.

        Raises:
            BadReply: A part is not the one that was signed, or does not fit.
        """
        statement, layout = self._statement(sender, "masked", header), self._layout
        fields = statement.fields
        parts = [
            (selves, layout.self_bytes(sender)),
            (pairs, layout.pairs_bytes(sender)),
            (commitments, layout.commitments_bytes(sender)),
        ]
        digests = [(selves + pairs, "shares_sha256"), (commitments, "commitments_sha256")]
        if vector is not None:
            parts.append((vector, self._total.nbytes))
            digests.append((vector, "vector_sha256"))
        for part, size in parts:
            if (got := len(part)) != size:
                raise BadReply(
                    f"{sender}: a part has the wrong length", kind="wrong_length", expected=str(size), got=str(got)
                )
        for part, name in digests:
            if sha256(part) != fields[name]:
                raise BadReply(f"{sender}: a part is not the one that was signed", kind="wrong_digest")
        if re.fullmatch(rf"[0-9a-f]{{{2 * COMMITMENT_BYTES}}}", fields["self_commitment"]) is None:
            raise BadReply(f"{sender}: a commitment cannot be read", kind="malformed")
        return _Masked(statement, selves, pairs, commitments)

    def _statement(self, sender: str, kind: Kind, data: bytes) -> Statement:
        return checked(sender, lambda: verified(data, kind, self._binding, sender))

    def _require_view(self) -> View:
        if self._view is None:
            raise TrustError("the survivors are not decided yet")
        return self._view

    def _open_phase(self, sender: str, phase: object) -> View:
        """The survivor set, when this phase was asked for and the sender is in it."""
        if self._view is None or phase is None:
            raise BadReply("an answer came to what was not asked", kind="late")
        if sender not in self._view.masked:
            raise BadReply("an answer came from no survivor", kind="unknown_party")
        return self._view

    def _seeds(self) -> list[tuple[str, str | None]]:
        """All seeds to be recovered: each survivor's own, and those of its pairs with the dropped."""
        view = self._require_view()
        gone, graph = set(view.dropped), self._layout.graph
        return [
            (owner, peer)
            for owner in view.survivors
            for peer in (None, *(k for k in graph.neighbours(owner) if k in gone))
        ]

    def _shares(self, owner: str, peer: str | None) -> dict[int, bytes]:
        """The shares of one seed that came, by the holder's point."""
        unmasked, terms = self._unmasked or {}, self._binding.terms
        return {
            terms.index(holder) + 1: unmasked[holder][owner, peer]
            for holder in self._layout.graph.holders(owner)
            if holder in unmasked and (owner, peer) in unmasked[holder]
        }

    def _is_committed(self, owner: str, peer: str | None, holder: str, share: bytes) -> bool:
        """Whether a share is the one that its dealer committed to; only those of self-masks are committed."""
        if peer is not None:
            return True
        committed = self._layout.share_commitment(owner, holder, self._masked[owner].commitments)
        return committed == commitment(self._binding, owner, f"share {holder}", share)

    def _recover(self, owner: str, peer: str | None) -> bytes | None:
        """A seed, when some of the shares give the one that was committed to."""
        shares = sorted(self._shares(owner, peer).items())
        message = self._masked[owner]
        if peer is None:
            expected, purpose = bytes.fromhex(message.statement.fields["self_commitment"]), "self"
        else:
            expected = self._layout.pair_commitment(owner, peer, message.commitments)
            purpose = f"pair {peer}"
        # A holder may lie about the share of a pair: the seed is found around one or two liars.
        points = [point for point, _ in shares]
        for left_out in chain([()], combinations(points, 1), combinations(points, 2)):
            rest = [one for one in shares if one[0] not in left_out][: self._needed]
            if len(rest) < self._needed:
                break
            try:
                seed = combine(dict(rest))
            except Malformed:
                continue
            if commitment(self._binding, owner, purpose, seed) == expected:
                return seed
        return None


def checked(sender: str, read: Callable[[], Value]) -> Value:
    """Read what a party sent; what does not hold is that party's bad reply."""
    try:
        return read()
    except Malformed as error:
        raise BadReply(f"{sender}: {error}", kind="malformed") from error
    except (WrongBinding, SubstitutedKey) as error:
        raise BadReply(f"{sender}: {error}", kind="wrong_binding") from error
    except TrustError as error:
        raise BadReply(f"{sender}: {error}", kind="bad_signature") from error


def participants_of(state: bytes) -> tuple[int, tuple[str, ...]]:
    """Number and participants of a stored round.

    Raises:
        Malformed: It is not one.
    """
    header = _header(unpack(state, 4)[0])
    return header["round"], tuple(header["participants"])


def _header(data: bytes) -> dict[str, Any]:
    """The header of a stored round, its types checked."""
    try:
        value = dict(canonical.decode(data))
        version, phase, number, names = (value[name] for name in ("version", "phase", "round", "participants"))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Malformed("a stored round cannot be read") from error
    known = (
        version == _STATE_VERSION and phase in ("masked", "confirm", "open") and isinstance(value.get("binding"), str)
    )
    if not known or type(number) is not int or not (isinstance(names, list) and all(isinstance(n, str) for n in names)):
        raise Malformed("a stored round is of another version, or a field has the wrong type")
    return value
