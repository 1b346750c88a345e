"""A cohort in memory, and one honest round of it: what the tests of this folder play with."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

import numpy as np

from fedcore.identity import SigningIdentity
from fedcore.secagg._primitives import RingArray, dtype_of
from fedcore.secagg.aggregator import Abandoned, Aggregator, Ask, Opened, SumRound
from fedcore.secagg.messages import pack, unpack
from fedcore.secagg.party import Party
from fedcore.secagg.terms import Terms

_IDENTITIES: dict[str, SigningIdentity] = {}


def identity(name: str) -> SigningIdentity:
    return _IDENTITIES.setdefault(name, SigningIdentity.generate())


def names(count: int) -> list[str]:
    return [f"p{i:03}" for i in range(count)]


def make_terms(count: int, *, threshold: int, colluders: int = 0, job: str = "job", **changes: int) -> Terms:
    members = tuple((name, identity(name).public.key_hex) for name in names(count))
    fields = {"rounds": 50, "length": 6, "bits": 16, **changes}
    return Terms(job=job, members=members, threshold=threshold, colluders=colluders, **fields)


@dataclass
class Cohort:
    """Parties and an aggregator that agreed on keys."""

    terms: Terms
    parties: dict[str, Party]
    aggregator: Aggregator
    keys: dict[str, bytes]
    inputs: dict[str, RingArray] = field(default_factory=dict)

    @classmethod
    def form(cls, terms: Terms, absent: Collection[str] = ()) -> "Cohort":
        aggregator, parties, keys = Aggregator(terms), {}, {}
        for name, _ in terms.members:
            if name not in absent:
                parties[name], keys[name] = Party.join(terms, name, identity(name))
                aggregator.add_keys(name, keys[name])
        for party in parties.values():
            party.agree_keys(aggregator.roster())
        return cls(terms, parties, aggregator, keys)

    def values(self, name: str, seed: int = 0) -> RingArray:
        random = np.random.default_rng([seed, self.terms.index(name)])
        limit = 2**self.terms.bits
        return random.integers(0, limit, self.terms.length, dtype=np.uint64).astype(dtype_of(self.terms.bits))

    def mask(self, one: SumRound, who: Iterable[str]) -> dict[str, bytes]:
        """Each one's masked message."""
        messages = {}
        for name in who:
            self.inputs[name] = self.values(name, len(self.inputs))
            messages[name] = self.parties[name].mask(one.request, self.inputs[name])
        return messages

    def expected(self, who: Iterable[str]) -> RingArray:
        total = np.zeros(self.terms.length, dtype=dtype_of(self.terms.bits))
        for name in who:
            total += self.inputs[name]
        return total


def play(
    cohort: Cohort,
    number: int,
    *,
    before: Collection[str] = (),
    masked: Collection[str] = (),
    confirmed: Collection[str] = (),
    participants: Collection[str] | None = None,
    seen: Callable[[bytes], None] = lambda _: None,
) -> tuple[Opened | Abandoned, int]:
    """One round; the three groups vanish before masking, after it, and after confirming. Returns exchanges too."""
    one = cohort.aggregator.begin(number, None if participants is None else sorted(participants))
    alive = [n for n in (participants or cohort.aggregator.members) if n not in before]
    for name, message in cohort.mask(one, sorted(alive)).items():
        seen(message)
        one.add_masked(name, message)
    exchanges = 1
    asked = one.close_masked()
    if isinstance(asked, Ask) and asked.kind == "confirm":
        exchanges += 1
        for name, request in asked.requests.items():
            if name not in masked:
                reply = cohort.parties[name].confirm(request)
                seen(reply)
                one.add_confirmation(name, reply)
        asked = one.close_confirmations()
    if isinstance(asked, Abandoned):
        return asked, exchanges
    exchanges += 1
    for name, request in asked.requests.items():
        if name not in masked and name not in confirmed:
            reply = cohort.parties[name].unmask(request)
            seen(reply)
            one.add_unmasked(name, reply)
    return one.finish(), exchanges


def replace_part(message: bytes, place: int, part: bytes) -> bytes:
    """The message with another part."""
    parts = unpack(message)
    parts[place] = part
    return pack(parts)
