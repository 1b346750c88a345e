"""The coordinator's certificates: an authority of its own, and the server certificate that it issues.

Nodes trust this one authority and no other, so nothing is gained by a public one. EC P-384, SHA-384; the
authority may sign server certificates for this coordinator only (path length 0).
"""

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedcore.errors import TrustError
from fedcore.identity import write_private

__all__ = ["Authority", "check_validity"]

_SKEW = timedelta(minutes=5)
CA_DAYS = 3650
SERVER_DAYS = 397


@dataclass(frozen=True, kw_only=True)
class Authority:
    """A certificate authority: its certificate and key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def make(cls, name: str, *, now: datetime | None = None, days: int = CA_DAYS) -> "Authority":
        """A new authority."""
        key = ec.generate_private_key(ec.SECP384R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name[:40]} authority")])
        builder = _builder(subject, subject, key.public_key(), now, days)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(sign=False, certify=True), critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        return cls(certificate=builder.sign(key, hashes.SHA384()), key=key)

    @classmethod
    def read(cls, certificate: Path, key: Path) -> "Authority":
        """Read an authority from two PEM files.

        Raises:
            TrustError: They cannot be read.
        """
        try:
            loaded = serialization.load_pem_private_key(key.read_bytes(), password=None)
            found = x509.load_pem_x509_certificate(certificate.read_bytes())
        except (OSError, ValueError, TypeError) as error:
            raise TrustError(f"the authority in {certificate.parent} cannot be read") from error
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise TrustError(f"the authority's key {key} is of the wrong kind", expected="EC")
        return cls(certificate=found, key=loaded)

    def write(self, certificate: Path, key: Path) -> None:
        """Write both as PEM; the key is readable by its owner alone."""
        write_private(key, _key_pem(self.key))
        certificate.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    @property
    def pem(self) -> str:
        """The certificate, for nodes to trust."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def issue(
        self, host: str, certificate: Path, key: Path, *, now: datetime | None = None, days: int = SERVER_DAYS
    ) -> None:
        """Issue a server certificate for a host name or IP address, and write it with its key as PEM."""
        private = ec.generate_private_key(ec.SECP384R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
        builder = _builder(subject, self.certificate.subject, private.public_key(), now, days)
        builder = builder.add_extension(x509.SubjectAlternativeName([_general_name(host)]), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(sign=True, certify=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
        )
        issued = builder.sign(self.key, hashes.SHA384())
        write_private(key, _key_pem(private))
        certificate.write_bytes(issued.public_bytes(serialization.Encoding.PEM))


def check_validity(certificate: Path, *, now: datetime | None = None) -> None:
    """Return when a certificate is valid now.

    Raises:
        TrustError: It has expired, is not valid yet, or cannot be read.
    """
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError) as error:
        raise TrustError(f"the certificate {certificate} cannot be read", do="run 'concordat server renew'") from error
    at = now or datetime.now(UTC)
    if not found.not_valid_before_utc <= at <= found.not_valid_after_utc:
        raise TrustError(
            f"the certificate {certificate} is not valid now",
            expected=f"a time from {found.not_valid_before_utc:%Y-%m-%d} to {found.not_valid_after_utc:%Y-%m-%d}",
            do="run 'concordat server renew', or correct this machine's clock",
        )


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, now: datetime | None, days: int
) -> x509.CertificateBuilder:
    start = (now or datetime.now(UTC)) - _SKEW
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=days))
    )


def _usage(*, sign: bool, certify: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certify,
        crl_sign=certify,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
