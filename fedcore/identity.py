"""Who signs, who is known: Ed25519 identities and their fingerprints.

Every party holds one Ed25519 key (RFC 8032) that outlives certificates and transport keys. Operators
compare its fingerprint by telephone or in person when they enrol.

>>> me = SigningIdentity.generate()
>>> me.public.verify(b"hello", me.sign(b"hello"))
>>> len(me.public.fingerprint.split("-"))
8
"""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedcore.errors import TrustError

__all__ = ["PublicIdentity", "SigningIdentity", "write_private"]


@dataclass(frozen=True)
class PublicIdentity:
    """An Ed25519 public key, 64 hexadecimal characters.

    Raises:
        TrustError: Not such a key.
    """

    key_hex: str

    def __post_init__(self) -> None:
        try:
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.key_hex))
        except ValueError as error:
            raise TrustError("a public key cannot be read", expected="64 hexadecimal characters") from error

    def verify(self, data: bytes, signature: bytes) -> None:
        """Return when the signature holds.

        Raises:
            TrustError: It does not.
        """
        try:
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.key_hex)).verify(signature, data)
        except InvalidSignature as error:
            raise TrustError("a signature does not hold", expected=f"one by {self.fingerprint}") from error

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the key, its first 32 hexadecimal characters in eight groups, to be read aloud."""
        text = hashlib.sha256(bytes.fromhex(self.key_hex)).hexdigest()[:32]
        return "-".join(text[i : i + 4] for i in range(0, 32, 4))


class SigningIdentity:
    """An Ed25519 private key. It prints as its class name alone."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def generate(cls) -> "SigningIdentity":
        """A new key from the operating system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> "SigningIdentity":
        """Read a PEM file.

        Raises:
            TrustError: Missing, or not an Ed25519 key.
        """
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as error:
            raise TrustError(f"the key {path} cannot be read", do="check the path and its permissions") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise TrustError(f"the key {path} is of the wrong type", expected="Ed25519")
        return cls(key)

    def save(self, path: Path) -> None:
        """Write a PEM file that only the owner can read; an existing file is refused."""
        write_private(
            path,
            self._key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )

    def sign(self, data: bytes) -> bytes:
        """An Ed25519 signature, 64 bytes."""
        return self._key.sign(data)

    def derive_key(self, label: str) -> bytes:
        """A secret key of 32 bytes for one purpose: the same for the same label, and of no use for any other.

        HKDF-SHA256 (RFC 5869) of the private key. It tells nothing of the key or of what other labels give.

        Args:
            label: Names the purpose; not empty.
        """
        info = b"concordat/1/derived\0" + label.encode()
        return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(self._key.private_bytes_raw())

    @property
    def public(self) -> PublicIdentity:
        """The half that may be known."""
        raw = self._key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return PublicIdentity(raw.hex())

    def __repr__(self) -> str:
        return "SigningIdentity"


def write_private(path: Path, data: bytes) -> None:
    """Write a new file of mode 0600 and flush it to the disk; an existing file is refused.

    It is there whole or not at all, also where the process is killed: half a key would be refused for ever.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # A link, unlike a rename, never takes the place of another file.
        os.link(draft, path)
    finally:
        Path(draft).unlink()
