"""What a secure sum costs one party: CPU seconds and bytes sent, and how they grow; beside Flower's SecAgg+.

Ours is one round without dropouts on keys that were agreed before: mask, (confirm, above 64 parties,) unmask.
The vector is masked at full length; a survivor set and its shares are the same for any length, so
unmasking is measured with short vectors. Flower's SecAgg+ agrees on keys in each round, so its four stages are
counted, called as its client calls them, on floats of the same number and with as many neighbours; what
Flower spends on messages around them is not. Its vectors travel as 64-bit integers.

Both run one after the other in this process, on one thread where the libraries let us choose.

>>> SecAggBenchmark(rows=(), growth={}, flower=None, seconds=0.0).to_dict()["rows"]
[]
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any

import numpy as np

from fedcore.identity import SigningIdentity
from fedcore.secagg import Aggregator, Ask, Party, Terms
from fedcore.secagg.graph import choose

__all__ = ["Row", "SecAggBenchmark", "Setting", "flower_round", "measure", "our_round"]

Say = Callable[[str], None]

_SHORT = 16
# The package shows a function of the same name in place of the module.
_FLOWER = "flwr.client.mod.secure_aggregation.secaggplus_mod"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A cohort: two thirds must stay, and about a tenth may collude."""

    parties: int

    @property
    def threshold(self) -> int:
        """Parties that stay at least."""
        return self.parties * 2 // 3 + 1

    @property
    def colluders(self) -> int:
        """Parties that may stand with the coordinator."""
        return max(0, min(self.parties // 10, 2 * self.threshold - self.parties - 1, self.threshold - 2))

    @property
    def neighbours(self) -> int:
        """With how many others each masks."""
        return choose(self.parties, colluders=self.colluders, threshold=self.threshold).degree


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measurement; `bytes_ratio` is to 4 bytes a parameter."""

    parties: int
    parameters: int
    neighbours: int
    exchanges: int
    cpu_s_per_party: float
    bytes_per_party: int
    bytes_ratio: float
    flower_cpu_s_per_party: float | None
    flower_bytes_per_party: int | None


@dataclass(frozen=True, kw_only=True)
class SecAggBenchmark:
    """The rows, and as what power of parties and parameters each cost grows (least squares on logarithms)."""

    rows: tuple[Row, ...]
    growth: Mapping[str, float]
    flower: str | None
    """Version of Flower beside which it was measured; none when its SecAgg+ could not be called."""
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """A JSON value."""
        return {**asdict(self), "rows": [asdict(row) for row in self.rows]}


def measure(parties: Sequence[int], parameters: Sequence[int], report: Say) -> SecAggBenchmark:
    """Run every pair of sizes, ours and Flower's.

    Args:
        parties: Sizes of cohorts, at least 3.
        parameters: Lengths of vectors.
        report: Called with a line for people.
    """
    started = time.perf_counter()
    rows: list[Row] = []
    flower = _flower_version()
    for count in parties:
        setting = Setting(parties=count)
        cohort = _Cohort.form(setting)
        for length in parameters:
            cpu_s, sent, exchanges = our_round(cohort, length)
            theirs = flower_round(setting, length) if flower else (None, None)
            rows.append(
                Row(
                    parties=count,
                    parameters=length,
                    neighbours=setting.neighbours,
                    exchanges=exchanges,
                    cpu_s_per_party=round(cpu_s, 4),
                    bytes_per_party=sent,
                    bytes_ratio=round(sent / (4 * length), 4),
                    flower_cpu_s_per_party=None if theirs[0] is None else round(theirs[0], 4),
                    flower_bytes_per_party=theirs[1],
                )
            )
            report(f"{count} parties, {length:,} parameters: {cpu_s:.3f} s, {sent / (4 * length):.3f} x 4 bytes")
    seconds = round(time.perf_counter() - started, 1)
    return SecAggBenchmark(rows=tuple(rows), growth=_growth(rows), flower=flower, seconds=seconds)


@dataclass(frozen=True)
class _Cohort:
    """What one cohort's parties do whatever the length: measured once, with short vectors."""

    setting: Setting
    identities: dict[str, SigningIdentity]
    short_s: float
    """CPU seconds of one party's confirming and unmasking."""
    short_bytes: int
    exchanges: int

    @classmethod
    def form(cls, setting: Setting) -> "_Cohort":
        identities = {f"party-{i:04}": SigningIdentity.generate() for i in range(setting.parties)}
        aggregator, parties = _joined(setting, identities, _SHORT, set(identities))
        one = aggregator.begin(1)
        for name, party in parties.items():
            one.add_masked(name, party.mask(one.request, np.zeros(_SHORT, dtype="<u4")))
        me, spent, sent, exchanges = min(parties), 0.0, 0, 1
        asked = one.close_masked()
        while isinstance(asked, Ask):
            exchanges += 1
            for name, request in asked.requests.items():
                started = time.process_time()
                act = parties[name].confirm if asked.kind == "confirm" else parties[name].unmask
                reply = act(request)
                if name == me:
                    spent, sent = spent + time.process_time() - started, sent + len(reply)
                (one.add_confirmation if asked.kind == "confirm" else one.add_unmasked)(name, reply)
            if asked.kind == "open":
                break
            asked = one.close_confirmations()
        one.finish()
        return cls(setting, identities, spent, sent, exchanges)


def our_round(cohort: _Cohort, length: int) -> tuple[float, int, int]:
    """CPU seconds and bytes sent of one party in one round, and its exchanges."""
    me = min(cohort.identities)
    aggregator, parties = _joined(cohort.setting, cohort.identities, length, {me})
    values = np.random.default_rng(0).integers(0, 1 << 32, length, dtype=np.uint32).astype("<u4")
    request = aggregator.begin(1).request
    started = time.process_time()
    message = parties[me].mask(request, values)
    spent = time.process_time() - started
    return spent + cohort.short_s, len(message) + cohort.short_bytes, cohort.exchanges


def _joined(
    setting: Setting, identities: dict[str, SigningIdentity], length: int, who: set[str]
) -> tuple[Aggregator, dict[str, Party]]:
    """An aggregator with everyone's keys, and some of the parties."""
    members = tuple((name, one.public.key_hex) for name, one in sorted(identities.items()))
    terms = Terms(
        job="bench",
        members=members,
        threshold=setting.threshold,
        colluders=setting.colluders,
        rounds=1,
        length=length,
        bits=32,
    )
    aggregator, parties = Aggregator(terms), {}
    for name, identity in identities.items():
        party, key = Party.join(terms, name, identity)
        aggregator.add_keys(name, key)
        if name in who:
            parties[name] = party
    roster = aggregator.roster()
    for party in parties.values():
        party.agree_keys(roster)
    return aggregator, parties


def flower_round(setting: Setting, length: int) -> tuple[float | None, int | None]:
    """The same of Flower's SecAgg+: its client's four stages, as `secaggplus_mod` calls them."""
    # Deferred, and private to Flower: only a benchmark may lean on it.
    from flwr.app import ConfigRecord
    from flwr.common import ndarrays_to_parameters
    from flwr.common.secure_aggregation.secaggplus_constants import Key
    from flwr.common.secure_aggregation.secaggplus_utils import share_keys_plaintext_concat

    theirs: Any = import_module(_FLOWER)
    near = setting.neighbours + 1
    threshold = max(2, near * 2 // 3)

    def configured(node: int) -> tuple[Any, dict[str, Any]]:
        state = theirs.SecAggPlusState()
        state.nid = node
        values: dict[str, Any] = {
            Key.SAMPLE_NUMBER: setting.parties,
            Key.SHARE_NUMBER: near,
            Key.THRESHOLD: threshold,
            Key.CLIPPING_RANGE: 8.0,
            Key.TARGET_RANGE: 1 << 22,
            Key.MOD_RANGE: 1 << 32,
            Key.MAX_WEIGHT: 1000.0,
        }
        return state, theirs._setup(state, ConfigRecord(values))

    peers = {node: configured(node) for node in range(2, near + 1)}
    update = ndarrays_to_parameters([np.random.default_rng(0).normal(0, 0.01, length).astype(np.float32)])
    spent = time.process_time()
    state, mine = configured(1)
    keys = {1: mine, **{node: public for node, (_, public) in peers.items()}}
    relayed = ConfigRecord({str(n): [k[Key.PUBLIC_KEY_1], k[Key.PUBLIC_KEY_2]] for n, k in keys.items()})
    shared = theirs._share_keys(state, relayed)
    spent = time.process_time() - spent
    # What the peers sealed for this party: shares of the usual length.
    share = bytes(len(state.rd_seed_share_dict[1]))
    sealed = [
        theirs.encrypt(state.ss2_dict[node], share_keys_plaintext_concat(node, 1, share, share)) for node in peers
    ]
    started = time.process_time()
    inbox = ConfigRecord({Key.CIPHERTEXT_LIST: sealed, Key.SOURCE_LIST: list(peers)})
    masked = theirs._collect_masked_vectors(state, inbox, 1000, update)
    everyone = ConfigRecord({Key.ACTIVE_NODE_ID_LIST: [1, *peers], Key.DEAD_NODE_ID_LIST: []})
    opened = theirs._unmask(state, everyone)
    spent += time.process_time() - started
    return spent, sum(_size(message) for message in (mine, shared, masked, opened))


def _size(message: Mapping[str, Any]) -> int:
    """Bytes of a stage's answer, its names and framing left out."""
    total = 0
    for value in message.values():
        for one in value if isinstance(value, list) else [value]:
            total += len(one) if isinstance(one, bytes) else 8
    return total


def _flower_version() -> str | None:
    """Flower's version where its SecAgg+ is where we know it."""
    try:
        import flwr

        theirs = import_module(_FLOWER)
    except ImportError:
        return None
    found = all(hasattr(theirs, name) for name in ("_setup", "_share_keys", "_collect_masked_vectors", "_unmask"))
    return str(flwr.__version__) if found else None


def _growth(rows: Sequence[Row]) -> dict[str, float]:
    """Powers of parties and parameters, jointly fitted to each cost."""
    if len({r.parties for r in rows}) < 2 or len({r.parameters for r in rows}) < 2:
        return {}
    grid = np.array([[1.0, math.log(r.parties), math.log(r.parameters)] for r in rows])
    growth = {}
    for name, column in (("cpu", "cpu_s_per_party"), ("bytes", "bytes_per_party")):
        for prefix in ("", "flower_"):
            values = [getattr(r, prefix + column) for r in rows]
            if any(not v for v in values):
                continue
            powers = np.linalg.lstsq(grid, np.log(np.array(values, dtype=float)), rcond=None)[0]
            growth[f"{prefix}{name}_by_parties"] = round(float(powers[1]), 3)
            growth[f"{prefix}{name}_by_parameters"] = round(float(powers[2]), 3)
    return growth
