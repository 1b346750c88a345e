"""Other institutions that this one knows by itself, and the members of a plan that it does not.

Masks and shared noise protect among members, and the coordinator names the members: one that invents them
invents colluders. A **Peer** is an institution whose fingerprint the operator compared with its own operator.
Whoever else a plan names may be anybody, and counts as standing with the coordinator.

>>> peer = Peer.parse("st-anne=" + "-".join(["1a2b"] * 8))
>>> unknown([("st-anne", "ab" * 32)], (peer,))
('st-anne',)
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from fedcore.errors import ConfigError, TrustError
from fedcore.identity import PublicIdentity

__all__ = ["FINGERPRINT", "Peer", "parse_peers", "unknown"]

FINGERPRINT = re.compile(r"[0-9a-f]{4}(-[0-9a-f]{4}){7}")
"""As `PublicIdentity.fingerprint` writes it."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Peer:
    """An institution's name and the fingerprint of its identity."""

    name: str
    fingerprint: str

    @classmethod
    def parse(cls, text: str) -> "Peer":
        """Read "name=fingerprint".

        Raises:
            ConfigError: It is not that.
        """
        name, _, fingerprint = text.partition("=")
        if not (_NAME.fullmatch(name) and FINGERPRINT.fullmatch(fingerprint)):
            raise ConfigError(
                "a peer cannot be read",
                expected="name=fingerprint, as 'concordat node status' prints it there",
                got=repr(text),
            )
        return cls(name=name, fingerprint=fingerprint)

    def __str__(self) -> str:
        return f"{self.name}={self.fingerprint}"


def parse_peers(texts: Iterable[str]) -> tuple[Peer, ...]:
    """Read a list of peers, each an institution of its own.

    Raises:
        ConfigError: One cannot be read, or two have one name or one fingerprint.
    """
    peers = tuple(map(Peer.parse, texts))
    for what in ("name", "fingerprint"):
        values = [getattr(p, what) for p in peers]
        if twice := sorted({v for v in values if values.count(v) > 1}):
            raise ConfigError(f"two peers have one {what}", got=twice[0], do="remove one of them")
    return peers


def unknown(members: Iterable[Any], known: Collection[Peer]) -> tuple[str, ...]:
    """Names of the members that are not known, in their order; whatever cannot be read is not known.

    Args:
        members: (name, Ed25519 public key in hexadecimal) as a coordinator wrote them.
        known: Peers, and the institution itself.
    """
    return tuple(name for name, peer in map(_read, members) if peer is None or peer not in known)


def _read(member: Any) -> tuple[str, Peer | None]:
    """A member's name for people, and who it says it is."""
    try:
        name, key = member
        # A key has one spelling: another one of the same key would be a second member.
        if _KEY.fullmatch(key) is None:
            return str(name), None
        return str(name), Peer(name=name, fingerprint=PublicIdentity(key).fingerprint)
    except (TypeError, ValueError, TrustError):
        return str(member), None
