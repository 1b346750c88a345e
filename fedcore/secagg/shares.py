"""Which secrets of a round are shared with whom, and where they lie in a message.

Each participant i shares, among its holders (its neighbours and itself), the seed of its self-mask and the
seed of each pairwise mask it used. Of a survivor's seeds its holders open that of the self-mask and those of
the pairs with *dropped* neighbours. Of a dropped participant's shares they open none. So what is opened
depends on the survivor set alone, and no set opens both masks of one pair, or both masks of one party.

Two sealed pieces go from i to each holder: the share of the self-mask, which every round needs, and the
shares of the pairs, which only a round with dropouts needs.

>>> from fedcore.secagg.graph import draw
>>> Layout(draw(("a", "b", "c"), "", colluders=0, threshold=2)).self_bytes("a")
183
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from fedcore import canonical
from fedcore.secagg._primitives import SEALED_EXTRA_BYTES, SHARE_BYTES
from fedcore.secagg.errors import Malformed
from fedcore.secagg.graph import Graph
from fedcore.secagg.messages import Binding, Statement, View

__all__ = [
    "COMMITMENT_BYTES",
    "MISSING",
    "SELF_PIECE_BYTES",
    "Entry",
    "Layout",
    "bound_to",
    "commitment",
    "context",
    "cut",
]

COMMITMENT_BYTES = 32
MISSING = b"\xff" * SHARE_BYTES
"""Stands for a share that could not be opened; no field element begins with 0xff."""

SELF_PIECE_BYTES = SHARE_BYTES + SEALED_EXTRA_BYTES
"""Size of the sealed share of a self-mask for one holder."""


def commitment(binding: Binding, owner: str, purpose: str, secret: bytes) -> bytes:
    """A hash that binds `owner` to a secret of 256 random bits without showing it."""
    label = canonical.encode([binding.digest, owner, purpose])
    return hashlib.sha256(b"concordat/1/secagg/commit\0" + label + b"\0" + secret).digest()


def bound_to(binding: Binding, sender: str, holder: str, piece: str, vector: str, self_commitment: str) -> bytes:
    """What a sealed piece belongs to: round, sender, holder, and the very vector it helps to unmask."""
    return canonical.encode([binding.digest, sender, holder, piece, vector, self_commitment])


@dataclass(frozen=True)
class Entry:
    """One share that a holder opens: the self-mask of `owner`, or its pair with a dropped `peer`."""

    owner: str
    peer: str | None


@dataclass(frozen=True)
class Layout:
    """Places and sizes of all shares of a round."""

    graph: Graph

    def self_bytes(self, owner: str) -> int:
        """Size of the sealed shares of the self-mask, all holders together."""
        return SELF_PIECE_BYTES * len(self.graph.holders(owner))

    def pair_piece_bytes(self, owner: str) -> int:
        """Size of the sealed shares of the pairs for one holder."""
        return SEALED_EXTRA_BYTES + SHARE_BYTES * len(self.graph.neighbours(owner))

    def pairs_bytes(self, owner: str) -> int:
        """Size of the sealed shares of the pairs, all holders together."""
        return self.pair_piece_bytes(owner) * len(self.graph.holders(owner))

    def commitments_bytes(self, owner: str) -> int:
        """Size of the commitments: of each share of the self-mask, and of each pair's seed."""
        return COMMITMENT_BYTES * (len(self.graph.holders(owner)) + len(self.graph.neighbours(owner)))

    def self_piece(self, owner: str, holder: str, data: bytes) -> bytes:
        """The sealed share of the self-mask for `holder`."""
        at = SELF_PIECE_BYTES * self.graph.holders(owner).index(holder)
        return data[at : at + SELF_PIECE_BYTES]

    def pair_piece(self, owner: str, holder: str, data: bytes) -> bytes:
        """The sealed shares of the pairs for `holder`."""
        size = self.pair_piece_bytes(owner)
        at = size * self.graph.holders(owner).index(holder)
        return data[at : at + size]

    def share_commitment(self, owner: str, holder: str, data: bytes) -> bytes:
        """The commitment of the holder's share of the self-mask."""
        at = COMMITMENT_BYTES * self.graph.holders(owner).index(holder)
        return data[at : at + COMMITMENT_BYTES]

    def pair_commitment(self, owner: str, peer: str, data: bytes) -> bytes:
        """The commitment of the seed of a pair."""
        at = COMMITMENT_BYTES * (len(self.graph.holders(owner)) + self.graph.neighbours(owner).index(peer))
        return data[at : at + COMMITMENT_BYTES]

    def owners(self, holder: str, view: View) -> list[str]:
        """The survivors of whom `holder` holds shares, sorted."""
        near = set(self.graph.holders(holder))
        return [name for name in view.survivors if name in near]

    def opened(self, holder: str, view: View) -> list[Entry]:
        """What `holder` opens for a survivor set, in order."""
        gone = set(view.dropped)
        return [
            Entry(owner, peer)
            for owner in self.owners(holder, view)
            for peer in (None, *(k for k in self.graph.neighbours(owner) if k in gone))
        ]

    def needs_confirmation(self, view: View) -> bool:
        """Whether survivors must sign the set before anyone opens.

        Not when nobody dropped and everybody holds shares of everybody: who opens the full set is then one
        of too few left for any other set to find a threshold. In a sparse graph a coordinator could gather
        one neighbourhood on each side, so there it is always needed.
        """
        return bool(view.dropped) or not self.graph.parameters.is_complete


def context(statement: Statement, binding: Binding, holder: str, piece: str) -> bytes:
    """`bound_to`, read from a masked statement."""
    fields = statement.fields
    return bound_to(
        binding, statement.sender, holder, piece, str(fields["vector_sha256"]), str(fields["self_commitment"])
    )


def cut(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    """Cut bytes into pieces of exactly these sizes.

    Raises:
        Malformed: They are longer or shorter.
    """
    if len(data) != sum(sizes):
        raise Malformed("shares have the wrong length", expected=f"{sum(sizes)} bytes", got=str(len(data)))
    pieces, at = [], 0
    for size in sizes:
        pieces.append(data[at : at + size])
        at += size
    return pieces
