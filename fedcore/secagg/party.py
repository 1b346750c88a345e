"""One party of a secure sum: a state machine over bytes, which trusts nobody's word.

What it is asked may come from a coordinator that lies, so every answer is preceded by a check of statements
that the other parties signed. In one round a party masks one vector, confirms one survivor set and unmasks
one survivor set, whatever it is asked; a refused request changes nothing.

A restart. `state()` holds all secrets of the job as they are at that moment; keep it encrypted, and write it
before an answer is sent. `Party.resume` goes on from there: a party that had masked can still confirm and
unmask, but never masks that round again, so that one round's pairwise masks cover one input. A party without
its state drops out until keys are agreed anew. If an old state is restored all the same and a second input
is masked, its self-mask is fresh, and of two self-masks of one party honest holders can open only one.

>>> from fedcore.identity import SigningIdentity
>>> me, other = SigningIdentity.generate(), SigningIdentity.generate()
>>> members = (("a", me.public.key_hex), ("b", other.public.key_hex))
>>> terms = Terms(job="j", members=members, threshold=2, colluders=0, rounds=3, length=4, bits=16)
>>> (a, keys_a), (b, keys_b) = Party.join(terms, "a", me), Party.join(terms, "b", other)
>>> a.agree_keys(pack([keys_a, keys_b])); b.agree_keys(pack([keys_a, keys_b])); a
Party
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, final

from fedcore import canonical
from fedcore.errors import InvalidPlan
from fedcore.identity import SigningIdentity
from fedcore.secagg._primitives import (
    PRIME,
    SECRET_BYTES,
    SHARE_BYTES,
    AgreementKey,
    RingArray,
    add_mask,
    dtype_of,
    expand,
    extract,
    open_sealed,
    seal,
    split,
)
from fedcore.secagg.errors import (
    AlreadyAnswered,
    BelowThreshold,
    Malformed,
    RoundOver,
    SubstitutedKey,
    SurvivorsDisagree,
    WrongBinding,
)
from fedcore.secagg.graph import Graph, draw
from fedcore.secagg.messages import (
    Begin,
    Binding,
    Statement,
    View,
    pack,
    read_confirmations,
    read_statement,
    read_view,
    roster_digest,
    sha256,
    unpack,
)
from fedcore.secagg.shares import MISSING, SELF_PIECE_BYTES, Layout, bound_to, commitment, context, cut
from fedcore.secagg.terms import Terms

__all__ = ["Party"]

_STATE_VERSION = 1
Phase = Literal["masked", "confirmed", "unmasked", "over"]


@dataclass(frozen=True, kw_only=True)
class _Round:
    """Where a party is in its current round."""

    binding: Binding
    graph: Graph
    phase: Phase
    masked: bytes = b""
    """My own masked statement."""
    keys: dict[str, bytes] = field(default_factory=dict, repr=False)
    """Owner -> key that opens what it sealed for me; gone once I have unmasked."""
    confirmed: str = ""
    """Digest of the survivor set that I signed."""
    answers: dict[str, tuple[str, bytes]] = field(default_factory=dict, repr=False)
    """Kind of request -> (its digest, my answer)."""


@final
class Party:
    """See the module. It prints as its class name alone."""

    def __init__(self, terms: Terms, name: str, identity: SigningIdentity) -> None:
        if identity.public != terms.identity(name):
            raise SubstitutedKey("the terms name another identity for this party than its own")
        self._terms, self._name, self._identity = terms, name, identity
        self._key: AgreementKey | None = None
        self._roster = ""
        self._chains: dict[str, bytes] = {}
        self._next = 1
        """The round that the chains stand at."""
        self._round: _Round | None = None

    @classmethod
    def join(cls, terms: Terms, name: str, identity: SigningIdentity) -> tuple["Party", bytes]:
        """A party at the beginning of a job, and its signed public key to be sent.

        Raises:
            SubstitutedKey: The terms name another identity for `name`.
        """
        party = cls(terms, name, identity)
        party._key = AgreementKey.generate()
        values = {"public": party._key.public.hex()}
        return party, Statement.sign("keys", Binding(terms=terms), name, values, identity).to_bytes()

    def agree_keys(self, roster: bytes) -> None:
        """Agree on keys with everyone in the roster, once a job. The private key is forgotten.

        Args:
            roster: The signed keys of at least the threshold of the members, as the coordinator relays them.
        Raises:
            AlreadyAnswered: Keys were agreed, and the roster is another one.
            SubstitutedKey: A key is not its owner's, stands twice, or mine is not mine.
            BelowThreshold: Too few members.
        """
        publics: dict[str, bytes] = {}
        for data in unpack(roster):
            statement = read_statement(data, "keys", Binding(terms=self._terms))
            if statement.sender in publics:
                raise SubstitutedKey("a party has two keys in the roster")
            publics[statement.sender] = _public_key(statement)
        digest = roster_digest(self._terms, publics)
        if self._key is None:
            if digest != self._roster:
                raise AlreadyAnswered("keys were agreed with another roster", do="a new job agrees on new keys")
            return
        if publics.get(self._name) != self._key.public:
            raise SubstitutedKey("the roster does not hold the key that I sent")
        if len(publics) < self._terms.threshold:
            raise BelowThreshold("the roster is too small", expected=f"at least {self._terms.threshold}")
        chains = {}
        for peer, public in publics.items():
            # To itself a party is no peer: what it seals for itself only has to be a secret of its own.
            shared = os.urandom(32) if peer == self._name else self._key.agree(public)
            chains[peer] = extract(shared, bytes.fromhex(digest), "chain", *sorted((peer, self._name)))
        self._chains, self._roster, self._key = chains, digest, None

    @property
    def has_keys(self) -> bool:
        """Whether keys were agreed, so that rounds can be masked."""
        return bool(self._chains)

    def check(self, request: bytes) -> None:
        """Return when `mask` would take this request for a new round; changes nothing.

        Raises:
            SumRefused: It would not, for the reasons that `mask` states.
        """
        self._check_begin(Begin.from_bytes(request))

    def mask(self, request: bytes, values: RingArray) -> bytes:
        """Exchange 1: mask a vector for one round.

        Args:
            request: The coordinator's `Begin`.
            values: Ring elements, shape (terms.length,), not changed. When the same request comes again in
                the same process, the same answer is given, whatever they are.
        Raises:
            AlreadyAnswered: This round was masked for another request, or before a restart.
            RoundOver: The round was left behind, or the job has no such round.
            WrongBinding: The participants are not in the roster, or I am not among them.
            BelowThreshold: Too few participants.
            InvalidPlan: The values are not elements of the ring.
        """
        again = self._repeated("mask", request)
        if again is not None:
            return again
        begin = Begin.from_bytes(request)
        self._check_begin(begin)
        dtype = dtype_of(self._terms.bits)
        if values.dtype != dtype or values.shape != (self._terms.length,):
            raise InvalidPlan(
                "the values to be masked are not elements of the ring",
                expected=f"{self._terms.length} of {dtype.name}",
                got=f"{values.shape} of {values.dtype.name}",
            )
        names = begin.participants
        binding = Binding(terms=self._terms, roster=self._roster, round=begin.round, participants=names)
        graph = draw(names, binding.digest, colluders=self._terms.colluders, threshold=self._terms.threshold)
        # The round is used up before its masks exist: whatever fails from here on, they cover no other input.
        self._round = _Round(binding=binding, graph=graph, phase="over")
        secrets = self._ratchet(begin.round, frozenset(graph.holders(self._name)), binding)
        answer, statement = self._masked(binding, graph, secrets, values)
        keys = {peer: expand(secret, "seal", peer, self._name) for peer, secret in secrets.items()}
        self._round = _Round(
            binding=binding,
            graph=graph,
            phase="masked",
            masked=statement.to_bytes(),
            keys=keys,
            answers={"mask": (sha256(request), answer)},
        )
        return answer

    def confirm(self, request: bytes) -> bytes:
        """Between the exchanges, where somebody dropped: sign the one survivor set that I will unmask.

        Args:
            request: The masked statements of the survivors.
        Raises:
            AlreadyAnswered: I signed another set, or unmasked.
            RoundOver: I am not in this round.
            SurvivorsDisagree: The set contradicts itself, leaves me or what I sent out, or falls apart.
            BelowThreshold: It is too small.
        """
        again = self._repeated("confirm", request)
        if again is not None:
            return again
        number, statements = unpack(request, 2)
        here = self._current(number, "masked")
        view = self._view(here, unpack(statements))
        values = {"view": view.digest}
        answer = Statement.sign("confirm", here.binding, self._name, values, self._identity).to_bytes()
        answers = {**here.answers, "confirm": (sha256(request), answer)}
        self._round = replace(here, phase="confirmed", confirmed=view.digest, answers=answers)
        return answer

    def unmask(self, request: bytes) -> bytes:
        """Exchange 2: open the shares that a survivor set asks for, once a round.

        Args:
            request: The masked statements of the survivors, their confirmations where needed, and the sealed
                shares that are mine. A piece that does not open is reported as missing.
        Raises:
            AlreadyAnswered: I unmasked for another request.
            RoundOver: I am not in this round.
            SurvivorsDisagree: Not the set that I signed, or it contradicts itself.
            BelowThreshold: The set, or those who confirmed it, are too few.
        """
        again = self._repeated("unmask", request)
        if again is not None:
            return again
        number, statements, confirmations, selves, pairs = unpack(request, 5)
        here = self._current(number, "masked", "confirmed")
        view = self._view(here, unpack(statements))
        layout = Layout(here.graph)
        if layout.needs_confirmation(view):
            if here.phase != "confirmed":
                raise SurvivorsDisagree("a survivor set was never shown to me to confirm")
            read_confirmations(unpack(confirmations), view)
        if here.phase == "confirmed" and here.confirmed != view.digest:
            raise SurvivorsDisagree("the survivor set to unmask is not the one that I confirmed")
        body = self._opened(here, layout, view, selves, pairs)
        values = {"view": view.digest, "shares_sha256": sha256(body)}
        statement = Statement.sign("unmask", here.binding, self._name, values, self._identity)
        answer = pack([statement.to_bytes(), body])
        answers = {**here.answers, "unmask": (sha256(request), answer)}
        self._round = replace(here, phase="unmasked", keys={}, answers=answers)
        return answer

    def abandon(self) -> None:
        """Forget the secrets of the current round: it will not be confirmed or unmasked any more."""
        if self._round is not None:
            self._round = replace(self._round, phase="over", keys={}, answers={})

    def state(self) -> bytes:
        """Everything that a restart needs, secrets included: keep it encrypted, one version only."""
        value: dict[str, Any] = {
            "version": _STATE_VERSION,
            "terms": self._terms.digest,
            "name": self._name,
            "key": self._key.to_bytes().hex() if self._key else "",
            "roster": self._roster,
            "chains": {peer: chain.hex() for peer, chain in self._chains.items()},
            "next": self._next,
            "round": None,
        }
        here = self._round
        if here is not None:
            value["round"] = {
                "number": here.binding.round,
                "participants": list(here.binding.participants),
                "phase": here.phase,
                "masked": here.masked.hex(),
                "keys": {peer: key.hex() for peer, key in here.keys.items()},
                "confirmed": here.confirmed,
                # Masked vectors are large; a caller that keeps its answers keeps them itself.
                "answers": {k: [d, a.hex()] for k, (d, a) in here.answers.items() if k != "mask"},
            }
        return canonical.encode(value)

    @classmethod
    def resume(cls, terms: Terms, name: str, identity: SigningIdentity, state: bytes) -> "Party":
        """Go on from a stored state.

        Raises:
            Malformed: It is not a state of this party under these terms.
        """
        party = cls(terms, name, identity)
        try:
            value = canonical.decode(state)
            if (value["version"], value["terms"], value["name"]) != (_STATE_VERSION, terms.digest, name):
                raise WrongBinding("a stored state is of another job, cohort or party")
            party._key = AgreementKey.from_bytes(bytes.fromhex(value["key"])) if value["key"] else None
            party._roster, party._next = str(value["roster"]), int(value["next"])
            party._chains = {peer: bytes.fromhex(chain) for peer, chain in value["chains"].items()}
            if value["round"] is not None:
                party._round = party._read_round(value["round"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise Malformed("a stored state cannot be read") from error
        return party

    def _read_round(self, value: dict[str, Any]) -> _Round:
        """The round of a stored state."""
        names = tuple(value["participants"])
        binding = Binding(terms=self._terms, roster=self._roster, round=value["number"], participants=names)
        return _Round(
            binding=binding,
            graph=draw(names, binding.digest, colluders=self._terms.colluders, threshold=self._terms.threshold),
            phase=value["phase"],
            masked=bytes.fromhex(value["masked"]),
            keys={peer: bytes.fromhex(key) for peer, key in value["keys"].items()},
            confirmed=value["confirmed"],
            answers={kind: (digest, bytes.fromhex(answer)) for kind, (digest, answer) in value["answers"].items()},
        )

    def _repeated(self, kind: str, request: bytes) -> bytes | None:
        """The answer given before to these very bytes, if any."""
        here = self._round
        if here is None or here.phase == "over" or kind not in here.answers:
            return None
        digest, answer = here.answers[kind]
        return answer if digest == sha256(request) else None

    def _check_begin(self, begin: Begin) -> None:
        """A new round of this job, with participants that I have keys with."""
        names = begin.participants
        if not self._chains:
            raise RoundOver("no keys were agreed yet")
        if not 1 <= begin.round <= self._terms.rounds:
            raise RoundOver("the job has no such round", expected=f"1 to {self._terms.rounds}")
        if begin.round < self._next:
            here = self._round
            if here is not None and here.binding.round == begin.round and here.phase != "over":
                raise AlreadyAnswered("this round was masked: its masks cover no second input")
            raise RoundOver("the round was left behind", expected=f"{self._next} or later", got=str(begin.round))
        if list(names) != sorted(set(names)) or not set(names) <= self._chains.keys():
            raise WrongBinding("the participants are not sorted members of the roster")
        if self._name not in names:
            raise WrongBinding("I am not among the participants")
        if len(names) < self._terms.threshold:
            raise BelowThreshold("too few participants", expected=f"at least {self._terms.threshold}")

    def _ratchet(self, number: int, peers: frozenset[str], binding: Binding) -> dict[str, bytes]:
        """Each peer's secret of a round; the chains move past it, and what they were is gone."""
        secrets = {}
        for peer, chain in self._chains.items():
            for _ in range(self._next, number):
                chain = expand(chain, "next")
            if peer in peers:
                secrets[peer] = expand(chain, "round", binding.digest)
            self._chains[peer] = expand(chain, "next")
        self._next = number + 1
        return secrets

    def _masked(
        self, binding: Binding, graph: Graph, secrets: dict[str, bytes], values: RingArray
    ) -> tuple[bytes, Statement]:
        """Mask, share and sign."""
        me = self._name
        vector = values.copy()
        own = os.urandom(SECRET_BYTES)
        add_mask(vector, own, 1)
        seeds = {peer: expand(secrets[peer], "mask") for peer in graph.neighbours(me)}
        for peer, seed in seeds.items():
            add_mask(vector, seed, 1 if me < peer else -1)
        data = vector.data.cast("B")
        points = [self._terms.index(name) + 1 for name in graph.holders(me)]
        shared = [split(seed, graph.parameters.share_threshold, points) for seed in (own, *seeds.values())]
        digest, committed = sha256(data), commitment(binding, me, "self", own).hex()
        selves, pairs, commitments = [], [], []
        for holder, point in zip(graph.holders(me), points, strict=True):
            key = expand(secrets[holder], "seal", me, holder)
            selves.append(seal(key, shared[0][point], bound_to(binding, me, holder, "self", digest, committed)))
            plain = b"".join(one[point] for one in shared[1:])
            pairs.append(seal(key, plain, bound_to(binding, me, holder, "pairs", digest, committed)))
            commitments.append(commitment(binding, me, f"share {holder}", shared[0][point]))
        commitments += [commitment(binding, me, f"pair {peer}", seed) for peer, seed in seeds.items()]
        selves_bytes, pairs_bytes, commitments_bytes = b"".join(selves), b"".join(pairs), b"".join(commitments)
        fields = {
            "vector_sha256": digest,
            "shares_sha256": sha256(selves_bytes + pairs_bytes),
            "commitments_sha256": sha256(commitments_bytes),
            "self_commitment": committed,
        }
        statement = Statement.sign("masked", binding, me, fields, self._identity)
        return pack([statement.to_bytes(), bytes(data), selves_bytes, pairs_bytes, commitments_bytes]), statement

    def _current(self, number: bytes, *phases: Phase) -> _Round:
        """My round, if it is the one asked about and in one of these phases."""
        here = self._round
        if here is None or number != str(here.binding.round).encode() or here.phase == "over":
            raise RoundOver("this round is not the one that I am in")
        if here.phase not in phases:
            raise AlreadyAnswered("I answered another request of this kind in this round")
        return here

    def _view(self, here: _Round, statements: list[bytes]) -> View:
        """A survivor set that holds what I sent myself and hangs together."""
        view = read_view(statements, here.binding)
        mine = view.masked.get(self._name)
        if mine is None or mine.to_bytes() != here.masked:
            raise SurvivorsDisagree("the survivor set does not hold what I sent")
        if not here.graph.connects(view.survivors):
            raise SurvivorsDisagree("the survivor set would fall into parts that could be summed apart")
        return view

    def _opened(self, here: _Round, layout: Layout, view: View, selves: bytes, pairs: bytes) -> bytes:
        """The shares of `Layout.opened`, in its order."""
        me, owners = self._name, layout.owners(self._name, view)
        self_pieces = cut(selves, [SELF_PIECE_BYTES] * len(owners))
        wanted: Callable[[str], int] = layout.pair_piece_bytes if view.dropped else lambda _: 0
        pair_pieces = cut(pairs, [wanted(o) for o in owners])
        shares: dict[tuple[str, str | None], bytes] = {}
        for owner, self_piece, pair_piece in zip(owners, self_pieces, pair_pieces, strict=True):
            statement, key = view.masked[owner], here.keys[owner]
            shares[owner, None] = _open(key, self_piece, context(statement, here.binding, me, "self"), 1)[0]
            if view.dropped:
                peers = layout.graph.neighbours(owner)
                plain = _open(key, pair_piece, context(statement, here.binding, me, "pairs"), len(peers))
                shares |= {(owner, peer): share for peer, share in zip(peers, plain, strict=True)}
        return b"".join(shares[entry.owner, entry.peer] for entry in layout.opened(me, view))

    def __repr__(self) -> str:
        return "Party"


def _public_key(statement: Statement) -> bytes:
    """The X25519 key of a statement."""
    try:
        key = bytes.fromhex(statement.fields["public"])
    except ValueError as error:
        raise SubstitutedKey("a public key cannot be read") from error
    if len(key) != 32:
        raise SubstitutedKey("a public key has the wrong length", expected="32 bytes")
    return key


def _open(key: bytes, piece: bytes, bound: bytes, count: int) -> list[bytes]:
    """The shares of a sealed piece; those that cannot be opened or are no field elements are `MISSING`."""
    try:
        plain = open_sealed(key, piece, bound)
    except Malformed:
        return [MISSING] * count
    if len(plain) != SHARE_BYTES * count:
        return [MISSING] * count
    shares = [plain[at : at + SHARE_BYTES] for at in range(0, len(plain), SHARE_BYTES)]
    return [share if int.from_bytes(share, "big") < PRIME else MISSING for share in shares]
