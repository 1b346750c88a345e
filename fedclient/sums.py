"""This institution as a party of masked sums: it joins a job's sums, masks, confirms and opens.

    body = member.answer(ask, envelope.body)            # a question of an exchange, once its signature is checked
    masking = member.prepare(plan)                      # PlanRefused or SumRefused, before anything is reserved
    masked, change = masking.mask(values)
    ledger.commit(reservation, reply, sums=change)      # then the masked vector may leave

The rules of the protocol are those of `fedcore.secagg.Party`; this module is its memory. Each answer resumes
the party from its stored state and stores the new one durably before it is returned, so that a restart is
the normal path and no secret stays in the process between two messages. What is refused changes nothing. Of
two answers that were worked out at once from one state, one is refused.

States are sealed with AES-256-GCM under a key that only this institution's identity gives, and bound to
coordinator and job: another's state, or one that was moved or changed, does not open. It knows neither plans'
costs nor records.
"""

import os
from dataclasses import dataclass, field
from typing import Final, final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedclient.ledger import Ledger, StateChange
from fedcore import canonical
from fedcore.errors import LedgerError, PlanRefused
from fedcore.identity import PublicIdentity, SigningIdentity
from fedcore.round import RoundPlan
from fedcore.secagg import Party, RingArray, Terms
from fedcore.secagg.errors import AlreadyAnswered, Malformed, RoundOver, WrongBinding
from fedcore.secagg.messages import Begin, pack, unpack
from fedcore.wire import SumAsk

__all__ = ["Masking", "SumMember"]

_LABEL: Final = "states of masked sums"
_NONCE_BYTES = 12


@final
class SumMember:
    """One institution in the masked sums of all its jobs. It prints as its name alone.

    Args:
        name: As enrolled.
        identity: Signs what a party states, and seals what it keeps.
        coordinator: The pinned key: whose jobs these are.
        ledger: In whose file states are kept.
    """

    def __init__(self, *, name: str, identity: SigningIdentity, coordinator: PublicIdentity, ledger: Ledger) -> None:
        self._name, self._identity, self._ledger = name, identity, ledger
        self._coordinator = coordinator.key_hex

    def answer(self, ask: SumAsk, body: bytes) -> bytes:
        """Answer a question of an exchange. When this returns, what it changed is on the disk.

        Guarantee: the same question gets the same answer; another one of its kind in the same round gets none.

        Args:
            ask: Whose signature was checked against the pinned coordinator.
            body: The question's bytes.
        Returns:
            The signed key, nothing, the confirmation or the opened shares: as `fedcore.wire` lists them.
        Raises:
            PlanRefused: "sum_not_joined": this job was never joined, or its state is gone. "sum_state_changed":
                another question was answered meanwhile.
            SumRefused: The question would weaken the promise; see `Party`.
            LedgerError: The state cannot be read or written.
        """
        self._require_own(ask, body)
        if ask.phase == "join":
            return self._join(ask.job, ask.terms)
        kept = self._resume(ask.job, ask.terms)
        party, answer = kept.party, b""
        if ask.phase == "roster":
            party.agree_keys(body)
        elif ask.phase == "confirm":
            answer = party.confirm(body)
        else:
            answer = party.unmask(body)
        self._ledger.sum_states.keep(self._change(ask.job, kept))
        return answer

    def prepare(self, plan: RoundPlan) -> "Masking":
        """Make sure that a round can be masked here, before anything is spent on it; changes nothing.

        Raises:
            PlanRefused: "sum_not_joined": no keys are agreed for this job here. "sum_round_used": this round, or a
                later one, was masked before.
            SumRefused: The plan's members are not those that keys were agreed with, its cohort is not in the roster,
                or they name another identity for this institution.
            LedgerError: The state cannot be read.
        """
        kept = self._resume(plan.job_id, plan.terms_of_sums(self._coordinator))
        if not kept.party.has_keys:
            raise PlanRefused("this institution agreed on no keys for the sums of this job", reason="sum_not_joined")
        request = Begin(round=plan.round, participants=tuple(sorted(plan.cohort))).to_bytes()
        try:
            kept.party.check(request)
        except (AlreadyAnswered, RoundOver) as error:
            raise PlanRefused("this round's masks were used, or passed over", reason="sum_round_used") from error
        return Masking(member=self, job=plan.job_id, request=request, kept=kept)

    def _require_own(self, ask: SumAsk, body: bytes) -> None:
        """The question must be about one job of the pinned coordinator, and its fields must agree."""
        if not ask.terms.job.startswith(f"{ask.job}/{self._coordinator}/"):
            raise WrongBinding("the terms of a sum are of another job, or of another coordinator's")
        once = ask.phase in ("join", "roster")
        if (ask.round != 0) if once else (unpack(body)[:1] != [str(ask.round).encode()]):
            raise WrongBinding("a question of a sum names another round than it is about")
        if ask.phase == "join" and body:
            raise Malformed("a question to join holds more than its terms")

    def _join(self, job: str, terms: Terms) -> bytes:
        """The signed key: a new one, or for the same terms the one that was sent before."""
        if self._ledger.sum_states.find(self._coordinator, job) is not None:
            return self._resume(job, terms).keys
        party, keys = Party.join(terms, self._name, self._identity)
        self._ledger.sum_states.keep(self._change(job, _Kept(sealed=None, keys=keys, party=party)))
        return keys

    def _resume(self, job: str, terms: Terms) -> "_Kept":
        """The party as it was when it last answered."""
        sealed = self._ledger.sum_states.find(self._coordinator, job)
        if sealed is None:
            raise PlanRefused("this institution has not joined the sums of this job", reason="sum_not_joined")
        try:
            plain = AESGCM(self._key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], self._bound_to(job))
        except (InvalidTag, ValueError) as error:
            raise LedgerError(
                f"the kept state of a masked sum in {self._ledger.path} does not open: it was changed by another hand, "
                "or is of another identity",
                do="ask the coordinator for a new job if the identity was replaced; otherwise find out who changed it",
            ) from error
        keys, state = unpack(plain, 2)
        return _Kept(sealed=sealed, keys=keys, party=Party.resume(terms, self._name, self._identity, state))

    def _change(self, job: str, kept: "_Kept") -> StateChange:
        """What is to be stored of a party that answered."""
        nonce = os.urandom(_NONCE_BYTES)
        plain = pack([kept.keys, kept.party.state()])
        after = nonce + AESGCM(self._key).encrypt(nonce, plain, self._bound_to(job))
        return StateChange(coordinator=self._coordinator, job=job, before=kept.sealed, after=after)

    def _bound_to(self, job: str) -> bytes:
        return canonical.encode(["concordat/1/sum-state", self._coordinator, job])

    @property
    def _key(self) -> bytes:
        return self._identity.derive_key(_LABEL)

    def __repr__(self) -> str:
        return f"SumMember({self._name!r})"


@final
@dataclass(frozen=True, kw_only=True)
class _Kept:
    """A party, and the stored state that it was resumed from."""

    sealed: bytes | None = field(repr=False)
    keys: bytes = field(repr=False)
    """The signed key that was sent when the job was joined."""
    party: Party


@final
@dataclass(frozen=True, kw_only=True)
class Masking:
    """A round that can be masked here, once. Made by `SumMember.prepare`."""

    member: SumMember
    job: str
    request: bytes = field(repr=False)
    kept: _Kept = field(repr=False)

    def mask(self, values: RingArray) -> tuple[bytes, StateChange]:
        """Mask a vector of the ring.

        Args:
            values: Shape (plan.parameters,), of the ring's type; not changed.
        Returns:
            What may leave once the state beside it was stored, and not before.
        Raises:
            InvalidPlan: The values are not elements of the ring.
        """
        masked = self.kept.party.mask(self.request, values)
        return masked, self.member._change(self.job, self.kept)
