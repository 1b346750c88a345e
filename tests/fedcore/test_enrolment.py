from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fedcore.enrolment import CoordinatorCard, EnrolmentRequest, confirm_fingerprint
from fedcore.errors import ConfigError, TrustError
from fedcore.identity import SigningIdentity


def transport_key(curve: ec.EllipticCurve | None = None) -> str:
    key = ec.generate_private_key(curve or ec.SECP384R1()).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.fixture
def request_file(tmp_path: Path) -> Path:
    EnrolmentRequest.make("a", SigningIdentity.generate(), transport_key()).write(tmp_path / "enrolment.json")
    return tmp_path / "enrolment.json"


def test_request_reads_back_and_verifies(request_file: Path) -> None:
    assert EnrolmentRequest.read(request_file).name == "a"


@pytest.mark.parametrize("field", ["name", "identity", "flower_key_pem"])
def test_no_key_can_be_swapped_alone(request_file: Path, field: str) -> None:
    request = EnrolmentRequest.read(request_file)
    other = EnrolmentRequest.make("b", SigningIdentity.generate(), transport_key())
    with pytest.raises(TrustError):
        replace(request, **{field: getattr(other, field)}).verify()


def test_wrong_kind_of_transport_key_is_refused() -> None:
    with pytest.raises(TrustError, match="P-384"):
        EnrolmentRequest.make("a", SigningIdentity.generate(), transport_key(ec.SECP256R1())).verify()


def test_card_reads_back_and_its_fingerprint_covers_the_authority(tmp_path: Path) -> None:
    card = CoordinatorCard(name="c", address="h:1", ca_pem="pem", identity=SigningIdentity.generate().public.key_hex)
    card.write(tmp_path / "coordinator.json")
    assert CoordinatorCard.read(tmp_path / "coordinator.json") == card
    assert replace(card, ca_pem="other").fingerprint != card.fingerprint


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"name": 1}', "x" * 50])
def test_file_that_is_no_card_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(ConfigError, match="card"):
        CoordinatorCard.read(tmp_path / "c.json")


def test_fingerprints_compare_without_case_or_separators(request_file: Path) -> None:
    request = EnrolmentRequest.read(request_file)
    confirm_fingerprint(request.fingerprint, request.fingerprint.replace("-", " ").upper())
    with pytest.raises(TrustError, match="do not go on"):
        confirm_fingerprint(request.fingerprint, "0000-" * 7 + "0000")
