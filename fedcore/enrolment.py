"""Enrolment: two small public files by which coordinator and institution come to know each other.

The coordinator hands out its **CoordinatorCard**; the institution answers with an **EnrolmentRequest**.
They travel by any way at all, since nothing in them is secret; what makes them trustworthy is that the
operator on each side compares the fingerprint by telephone or in person before accepting.
"""

import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from fedcore import canonical
from fedcore.errors import ConfigError, TrustError
from fedcore.identity import PublicIdentity, SigningIdentity

__all__ = ["CoordinatorCard", "EnrolmentRequest", "confirm_fingerprint", "pinned_key"]

_CONTEXT = b"concordat/1/enrolment\0"
_LIMIT_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class CoordinatorCard:
    """What an institution pins: where the coordinator is, who signs for it and who certifies its TLS."""

    name: str
    address: str
    """Host and port of the front door."""
    ca_pem: str
    identity: str
    """Ed25519 public key, hexadecimal: signs plans and releases."""

    def __post_init__(self) -> None:
        PublicIdentity(self.identity)

    @property
    def fingerprint(self) -> str:
        """Of key and certificate authority together, in eight groups to be read aloud."""
        return _fingerprint([self.identity, self.ca_pem])

    def write(self, path: Path) -> None:
        """Write the card as JSON."""
        path.write_bytes(canonical.encode(asdict(self)) + b"\n")

    @classmethod
    def read(cls, path: Path) -> "CoordinatorCard":
        """Read a card.

        Raises:
            ConfigError: The file is missing or not a card.
        """
        return _read(cls, path, "a coordinator's card (coordinator.json)")


@dataclass(frozen=True, kw_only=True)
class EnrolmentRequest:
    """An institution's public keys, signed by its own identity so that none can be swapped alone."""

    name: str
    identity: str
    flower_key_pem: str
    """EC P-384 public key by which Flower authenticates the node."""
    signature: str

    @classmethod
    def make(cls, name: str, signer: SigningIdentity, flower_key_pem: str) -> "EnrolmentRequest":
        """Sign a request."""
        identity = signer.public.key_hex
        signature = signer.sign(_signed(name, identity, flower_key_pem)).hex()
        return cls(name=name, identity=identity, flower_key_pem=flower_key_pem, signature=signature)

    def verify(self) -> None:
        """Check keys and signature.

        Raises:
            TrustError: The signature does not hold, or the transport key is not EC P-384.
        """
        try:
            signature = bytes.fromhex(self.signature)
            key = load_pem_public_key(self.flower_key_pem.encode())
        except ValueError as error:
            raise TrustError("an enrolment request cannot be read", do="ask the institution for it again") from error
        PublicIdentity(self.identity).verify(_signed(self.name, self.identity, self.flower_key_pem), signature)
        if not (isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp384r1"):
            raise TrustError("an enrolment request holds the wrong kind of transport key", expected="EC P-384")

    @property
    def fingerprint(self) -> str:
        """Of both keys and the name together, in eight groups to be read aloud."""
        return _fingerprint([self.name, self.identity, self.flower_key_pem])

    def write(self, path: Path) -> None:
        """Write the request as JSON."""
        path.write_bytes(canonical.encode(asdict(self)) + b"\n")

    @classmethod
    def read(cls, path: Path) -> "EnrolmentRequest":
        """Read and verify a request.

        Raises:
            ConfigError: The file is missing or not a request.
            TrustError: It does not verify.
        """
        request = _read(cls, path, "an enrolment request (enrolment.json)")
        request.verify()
        return request


def confirm_fingerprint(actual: str, claimed: str) -> None:
    """Return when the operator's fingerprint is the file's; case and separators do not matter.

    Raises:
        TrustError: It is another.
    """
    if claimed.lower().replace("-", "").replace(" ", "") != actual.replace("-", ""):
        raise TrustError(
            "the fingerprint is not the one given",
            expected=claimed,
            got=actual,
            do="compare it with the other operator again; do not go on",
        )


def pinned_key(key: str | None) -> PublicIdentity:
    """The coordinator's public key from its card or from hexadecimal.

    Raises:
        ConfigError: None given, or neither a card nor a key.
        TrustError: A key that is no Ed25519 key.
    """
    if key is None:
        raise ConfigError("a release is verified against a key", do="give --key coordinator.json")
    if re.fullmatch(r"[0-9a-fA-F]{64}", key):
        return PublicIdentity(key.lower())
    return PublicIdentity(CoordinatorCard.read(Path(key)).identity)


def _fingerprint(parts: list[str]) -> str:
    text = canonical.digest(parts)[:32]
    return "-".join(text[i : i + 4] for i in range(0, 32, 4))


def _signed(name: str, identity: str, flower_key_pem: str) -> bytes:
    return _CONTEXT + canonical.encode([name, identity, flower_key_pem])


T = TypeVar("T", CoordinatorCard, EnrolmentRequest)


def _read(kind: type[T], path: Path, what: str) -> T:
    """Read one of the two files; exactly its fields, all of them text."""
    try:
        data = path.read_bytes()
        value: Any = canonical.decode(data) if len(data) <= _LIMIT_BYTES else None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read", expected=what) from error
    names = {f.name for f in fields(kind)}
    if not (isinstance(value, dict) and value.keys() == names and all(isinstance(v, str) for v in value.values())):
        raise ConfigError(f"{path} is not {what}", expected="the keys " + ", ".join(sorted(names)))
    return kind(**value)
