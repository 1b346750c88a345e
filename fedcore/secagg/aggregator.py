"""The coordinator's side of a secure sum: relays what parties signed, sums, and takes off the masks.

It is as pure as the party: bytes come in and go out. It learns the sum of the survivors and nothing else of
their vectors; what a party sent wrongly is refused by name (`BadReply.kind`) and never stops the others.
This file holds the job's keys; one round is in `sum_round.py`.

    aggregator = Aggregator(terms)
    aggregator.add_keys(name, ...)           once a job, for each member
    roster = aggregator.roster()             -> everyone
    one = aggregator.begin(round)            one.request -> every participant
    one.add_masked(name, ...)                exchange 1
    asked = one.close_masked()               Ask("open"), Ask("confirm") or Abandoned
    one.add_confirmation(name, ...)          only after Ask("confirm")
    asked = one.close_confirmations()        Ask("open") or Abandoned
    one.add_unmasked(name, ...)              exchange 2
    outcome = one.finish()                   Opened or Abandoned

A restart. Two byte strings are all that must be kept: `roster()`, before it is sent, and the round's `state()`
after each close, before the requests of its Ask are sent. `Aggregator.resume` and `resume_round` go on from there,
and every party is shown the survivor set that it was shown before.

Kinds of `BadReply`: "unknown_party", "duplicate", "late", "malformed", "bad_signature", "wrong_binding",
"wrong_length", "wrong_digest", "wrong_view", "wrong_share".
"""

from collections.abc import Sequence

from fedcore.errors import BadReply
from fedcore.secagg._primitives import AgreementKey
from fedcore.secagg.errors import BelowThreshold, SubstitutedKey, WrongBinding
from fedcore.secagg.messages import Binding, Statement, pack, read_statement, roster_digest, unpack, verified
from fedcore.secagg.sum_round import Abandoned, Ask, Opened, SumRound, checked, participants_of
from fedcore.secagg.terms import Terms

__all__ = ["Abandoned", "Aggregator", "Ask", "Opened", "SumRound"]


class Aggregator:
    """The job's keys. `roster()` is all its state: `Aggregator.resume` goes on from it."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self._keys: dict[str, Statement] = {}
        self._roster: bytes | None = None

    @classmethod
    def resume(cls, terms: Terms, roster: bytes) -> "Aggregator":
        """Go on with the keys of a roster that was handed out.

        Raises:
            TrustError: It does not hold.
        """
        aggregator = cls(terms)
        for data in unpack(roster):
            statement = read_statement(data, "keys", Binding(terms=terms))
            aggregator._keys[statement.sender] = statement
        aggregator._roster = roster
        return aggregator

    def add_keys(self, sender: str, data: bytes) -> None:
        """Take a member's signed public key.

        Raises:
            BadReply: It does not hold, came before, or came after the roster was closed.
        """
        if sender in self._keys:
            raise BadReply(f"{sender}: a key came twice", kind="duplicate")
        if self._roster is not None:
            raise BadReply(f"{sender}: a key came after the roster was closed", kind="late")
        statement = checked(sender, lambda: verified(data, "keys", Binding(terms=self.terms), sender))
        try:
            # Whoever is honest refuses a key that agrees with no secret: it must not get into the roster.
            AgreementKey.generate().agree(bytes.fromhex(statement.fields["public"]))
        except (ValueError, SubstitutedKey) as error:
            raise BadReply(f"{sender}: a public key cannot be used", kind="malformed") from error
        self._keys[sender] = statement

    def roster(self) -> bytes:
        """Close the roster: all keys that came, as everyone must see them.

        Raises:
            BelowThreshold: Fewer than the threshold.
        """
        if self._roster is None:
            if len(self._keys) < self.terms.threshold:
                raise BelowThreshold("too few members sent keys", expected=f"at least {self.terms.threshold}")
            self._roster = pack(self._keys[name].to_bytes() for name in sorted(self._keys))
        return self._roster

    @property
    def members(self) -> tuple[str, ...]:
        """Who is in the roster."""
        return tuple(sorted(self._keys))

    def begin(self, number: int, participants: Sequence[str] | None = None) -> "SumRound":
        """A round; numbers rise within a job, since keys only move forward.

        Args:
            number: 1 to terms.rounds.
            participants: Of the roster; all of it when none are named.
        Raises:
            BelowThreshold: Fewer than the threshold.
            WrongBinding: Somebody who is not in the roster.
        """
        self.roster()
        names = self.members if participants is None else tuple(sorted(set(participants)))
        if not set(names) <= self._keys.keys():
            raise WrongBinding("a participant is not in the roster")
        if len(names) < self.terms.threshold:
            raise BelowThreshold("too few participants", expected=f"at least {self.terms.threshold}")
        return SumRound(self._binding(number, names))

    def resume_round(self, state: bytes) -> SumRound:
        """A round from where `SumRound.state` left it.

        Raises:
            TrustError: It does not hold, or is of another job or roster.
        """
        self.roster()
        number, names = participants_of(state)
        if not set(names) <= self._keys.keys():
            raise WrongBinding("a participant of a stored round is not in the roster")
        return SumRound.resume(self._binding(number, names), state)

    def _binding(self, number: int, participants: tuple[str, ...]) -> Binding:
        publics = {name: bytes.fromhex(one.fields["public"]) for name, one in self._keys.items()}
        roster = roster_digest(self.terms, publics)
        return Binding(terms=self.terms, roster=roster, round=number, participants=participants)
