import hmac
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedcore.errors import TrustError
from fedcore.identity import PublicIdentity, SigningIdentity


def test_saved_key_signs_as_before_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    me = SigningIdentity.generate()
    me.save(tmp_path / "identity.key")
    SigningIdentity.load(tmp_path / "identity.key").public.verify(b"x", me.sign(b"x"))
    assert (tmp_path / "identity.key").stat().st_mode & 0o777 == 0o600
    assert [place.name for place in tmp_path.iterdir()] == ["identity.key"], "no draft of a key stays behind"


def test_existing_key_is_never_overwritten(tmp_path: Path) -> None:
    SigningIdentity.generate().save(tmp_path / "k")
    with pytest.raises(FileExistsError):
        SigningIdentity.generate().save(tmp_path / "k")


def test_rfc_8032_vector_verifies() -> None:
    # RFC 8032 section 7.1, test 2.
    key = PublicIdentity("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    key.verify(
        bytes.fromhex("72"),
        bytes.fromhex(
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    )


def test_other_data_is_refused() -> None:
    me = SigningIdentity.generate()
    with pytest.raises(TrustError, match="signature"):
        me.public.verify(b"y", me.sign(b"x"))


@pytest.mark.parametrize("text", ["", "zz" * 32, "ab" * 31])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(TrustError, match="public key"):
        PublicIdentity(text)


def test_private_key_prints_its_class_name_alone() -> None:
    assert repr(SigningIdentity.generate()) == "SigningIdentity"


def test_a_derived_key_depends_on_identity_and_label_alone(tmp_path: Path) -> None:
    me, other = SigningIdentity.generate(), SigningIdentity.generate()
    me.save(tmp_path / "k")
    key = me.derive_key("states")
    assert len(key) == 32
    assert SigningIdentity.load(tmp_path / "k").derive_key("states") == key
    assert len({key, me.derive_key("state"), other.derive_key("states"), bytes.fromhex(me.public.key_hex)}) == 4


def test_a_derived_key_is_hkdf_by_its_definition() -> None:
    # RFC 5869, section 2, written out with HMAC; the key is that of RFC 8032 section 7.1, test 1.
    raw = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    extracted = hmac.digest(bytes(32), raw, "sha256")
    expected = hmac.digest(extracted, b"concordat/1/derived\0states\1", "sha256")
    assert SigningIdentity(Ed25519PrivateKey.from_private_bytes(raw)).derive_key("states") == expected
