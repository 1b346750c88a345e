"""Certificates: made by the coordinator, for one host, checked for their time."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from fedcore.errors import TrustError
from fedserver.pki import Authority, check_validity


@pytest.mark.parametrize(("host", "kind"), [("127.0.0.1", x509.IPAddress), ("coordinator.example", x509.DNSName)])
def test_server_certificate_names_its_host_and_its_authority_signs_it(tmp_path: Path, host: str, kind: type) -> None:
    authority = Authority.make("trial")
    authority.issue(host, tmp_path / "s.crt", tmp_path / "s.key")
    found = x509.load_pem_x509_certificate((tmp_path / "s.crt").read_bytes())
    found.verify_directly_issued_by(authority.certificate)
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(v) for v in names.get_values_for_type(kind)] == [host]
    assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    authority = Authority.make("trial")
    authority.write(tmp_path / "ca.crt", tmp_path / "ca.key")
    authority.issue("127.0.0.1", tmp_path / "s.crt", tmp_path / "s.key")
    for name in ("ca.key", "s.key"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_authority_is_read_back(tmp_path: Path) -> None:
    authority = Authority.make("trial")
    authority.write(tmp_path / "ca.crt", tmp_path / "ca.key")
    assert Authority.read(tmp_path / "ca.crt", tmp_path / "ca.key").pem == authority.pem
    with pytest.raises(TrustError):
        Authority.read(tmp_path / "ca.crt", tmp_path / "ca.crt")


@pytest.mark.parametrize("days_from_now", [-1, 400])
def test_certificate_out_of_its_time_says_so(tmp_path: Path, days_from_now: int) -> None:
    Authority.make("trial").issue("127.0.0.1", tmp_path / "s.crt", tmp_path / "s.key")
    check_validity(tmp_path / "s.crt")
    with pytest.raises(TrustError, match=r"not valid now.*server renew"):
        check_validity(tmp_path / "s.crt", now=datetime.now(UTC) + timedelta(days=days_from_now))
