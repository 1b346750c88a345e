"""What an institution itself signed of its spend: the header of its newest counted reply."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from fedcore.errors import TrustError
from fedcore.identity import PublicIdentity
from fedcore.wire import Envelope, verify_header

__all__ = ["Attestation"]


@dataclass(frozen=True, kw_only=True)
class Attestation:
    """What an institution itself signed: the header of its newest counted reply, with its spend.

    Raises:
        TrustError: `identity` is not a public key, or `signature` not hexadecimal.
    """

    institution: str
    identity: str
    """Ed25519 public key, hexadecimal."""
    header: str
    """Canonical JSON, exactly as it was signed."""
    signature: str
    """Hexadecimal."""

    def __post_init__(self) -> None:
        PublicIdentity(self.identity)
        try:
            bytes.fromhex(self.signature)
        except ValueError as error:
            raise TrustError("an attestation's signature cannot be read", expected="hexadecimal") from error

    @classmethod
    def of(cls, institution: str, identity: PublicIdentity, reply: Envelope) -> "Attestation":
        """Keep of a reply what proves its spend; the update in its body is not needed for that."""
        return cls(
            institution=institution,
            identity=identity.key_hex,
            header=reply.header.decode(),
            signature=reply.signature.hex(),
        )

    def to_dict(self) -> dict[str, str]:
        """A JSON value; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Attestation":
        """Read an attestation.

        Raises:
            TrustError: A field is missing, unknown or not text.
        """
        names = {f.name for f in fields(cls)}
        if value.keys() != names or not all(isinstance(v, str) for v in value.values()):
            raise TrustError("an attestation cannot be read", expected="the fields " + ", ".join(sorted(names)))
        return cls(**value)

    def verify(self) -> dict[str, Any]:
        """Check the signature; return the header.

        Raises:
            TrustError: It does not hold.
        """
        identity = PublicIdentity(self.identity)
        return verify_header("reply", self.header.encode(), bytes.fromhex(self.signature), identity)

    @property
    def fingerprint(self) -> str:
        """Of the institution's key, to be compared with what its operator says."""
        return PublicIdentity(self.identity).fingerprint
