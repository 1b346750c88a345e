"""The hazardous material against published vectors and slow twins."""

import itertools
import math
import secrets
from fractions import Fraction

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcore.secagg import _primitives as primitives
from fedcore.secagg._primitives import (
    PRIME,
    AgreementKey,
    add_mask,
    combine,
    dtype_of,
    expand,
    open_sealed,
    seal,
    split,
)
from fedcore.secagg.errors import Malformed, SubstitutedKey


def test_the_field_is_prime_and_the_least_above_every_secret() -> None:
    def is_probably_prime(n: int) -> bool:
        odd, twos = n - 1, 0
        while odd % 2 == 0:
            odd, twos = odd // 2, twos + 1
        for _ in range(40):
            x = pow(secrets.randbelow(n - 3) + 2, odd, n)
            if x not in (1, n - 1) and all((x := x * x % n) != n - 1 for _ in range(twos - 1)):
                return False
        return True

    assert is_probably_prime(PRIME)
    assert not any(is_probably_prime(n) for n in range(2**256 + 1, PRIME, 2))


def slow_combine(shares: dict[int, bytes]) -> int:
    """Gaussian elimination of the Vandermonde system over the field: no Lagrange."""
    rows = [[pow(x, k, PRIME) for k in range(len(shares))] + [int.from_bytes(s, "big")] for x, s in shares.items()]
    size = len(rows)
    for column in range(size):
        pivot = next(r for r in range(column, size) if rows[r][column] % PRIME)
        rows[column], rows[pivot] = rows[pivot], rows[column]
        inverse = pow(rows[column][column], -1, PRIME)
        rows[column] = [v * inverse % PRIME for v in rows[column]]
        for r in range(size):
            if r != column:
                rows[r] = [(a - rows[r][column] * b) % PRIME for a, b in zip(rows[r], rows[column], strict=True)]
    return rows[0][-1]


@settings(max_examples=40, deadline=None)
@given(
    secret=st.binary(min_size=32, max_size=32),
    points=st.lists(st.integers(1, 5000), min_size=1, max_size=8, unique=True),
    data=st.data(),
)
def test_any_threshold_of_shares_gives_the_secret(secret: bytes, points: list[int], data: st.DataObject) -> None:
    threshold = data.draw(st.integers(1, len(points)))
    shares = split(secret, threshold, points)
    chosen = data.draw(st.permutations(points))[:threshold]
    some = {x: shares[x] for x in chosen}
    assert combine(some) == secret
    assert slow_combine(some) == int.from_bytes(secret, "big")


def test_a_published_example_of_shamirs_scheme() -> None:
    """Secret 1234, coefficients 166 and 94 (the worked example of Wikipedia's article, over the integers)."""
    values = {1: 1494, 2: 1942, 3: 2578, 4: 3402, 5: 4414, 6: 5614}
    for three in itertools.combinations(values, 3):
        assert combine({x: values[x].to_bytes(33, "big") for x in three}) == (1234).to_bytes(32, "big")
        direct = sum(values[i] * math.prod(Fraction(-j, i - j) for j in three if j != i) for i in three)
        assert direct == 1234


def test_fewer_shares_than_the_threshold_fit_every_secret() -> None:
    """For two shares of three needed and any secret there is a polynomial: they say nothing."""
    shares = split(bytes(32), 3, (1, 2, 3))
    for guess in (0, 1, 2**256 - 1):
        third = _interpolate({0: guess, **{x: int.from_bytes(shares[x], "big") for x in (1, 2)}}, 3)
        assert combine({1: shares[1], 2: shares[2], 3: third.to_bytes(33, "big")}) == guess.to_bytes(32, "big")


def _interpolate(points: dict[int, int], at: int) -> int:
    total = 0
    for i, y in points.items():
        for j in points:
            if j != i:
                y = y * (at - j) * pow(i - j, -1, PRIME) % PRIME
        total += y
    return total % PRIME


def test_shares_have_one_length_and_are_field_elements() -> None:
    for _ in range(20):
        for share in split(bytes(32), 2, (1, 2, 300)).values():
            assert len(share) == 33
            assert int.from_bytes(share, "big") < PRIME


@pytest.mark.parametrize("bad", [b"\x01" + b"\xff" * 32, b"\xff" * 33, b"\x00" * 32, b""])
def test_a_share_outside_the_field_or_of_another_length_is_refused(bad: bytes) -> None:
    shares = split(bytes(32), 2, (1, 2))
    with pytest.raises(Malformed):
        combine({1: shares[1], 2: bad})


def test_hkdf_expand_matches_rfc_5869_test_case_1() -> None:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    derived = HKDF(algorithm=SHA256(), length=42, salt=bytes(range(13)), info=bytes(range(0xF0, 0xFA))).derive(
        b"\x0b" * 22
    )
    assert derived.hex() == ("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865")
    assert len({expand(bytes(32), *labels) for labels in (("ab",), ("a", "b"), ("a",), ("", "ab"), ())}) == 5


def test_x25519_matches_rfc_7748_section_6_1() -> None:
    bob = AgreementKey.from_bytes(bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"))
    assert bob.public.hex() == "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    alice = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    assert bob.agree(alice).hex() == "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"


def test_a_key_of_low_order_is_refused() -> None:
    with pytest.raises(SubstitutedKey):
        AgreementKey.generate().agree(bytes(32))


def test_aes_256_ctr_matches_nist_sp_800_38a_f_5_5() -> None:
    """The library's counter mode, block by block, is AES of the counter: the vector of F.5.5."""
    key = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    counter = bytes.fromhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
    plain = bytes.fromhex("6bc1bee22e409f96e93d7e117393172a")
    assert Cipher(algorithms.AES256(key), modes.CTR(counter)).encryptor().update(plain).hex() == (
        "601ec313775789a5b7a7f504bbf3d228"
    )


@pytest.mark.parametrize("bits", [16, 32, 64])
@pytest.mark.parametrize("length", [1, 7, 1000, 70_001])
def test_a_mask_is_the_key_stream_and_comes_off_again(bits: int, length: int) -> None:
    seed = secrets.token_bytes(32)
    values = np.arange(length).astype(dtype_of(bits))
    masked = values.copy()
    add_mask(masked, seed, 1)
    stream = Cipher(algorithms.AES256(seed), modes.CTR(bytes(16))).encryptor().update(bytes(length * bits // 8))
    for place in {0, length // 2, length - 1}:
        word = int.from_bytes(stream[place * bits // 8 : (place + 1) * bits // 8], "little")
        assert int(masked[place]) == (place + word) % 2**bits
    add_mask(masked, seed, -1)
    assert (masked == values).all()


def test_the_whole_seed_counts() -> None:
    """No two of 257 seeds that differ in one bit each share even their first words."""
    seeds = [bytes(32)] + [(1 << i).to_bytes(32, "big") for i in range(256)]
    streams = set()
    for seed in seeds:
        block = np.zeros(8, dtype="<u4")
        add_mask(block, seed, 1)
        streams.add(block.tobytes())
    assert len(streams) == 257


def test_what_is_sealed_opens_only_with_its_key_binding_and_bytes() -> None:
    key, sealed = bytes(32), seal(bytes(32), b"share", b"here")
    assert open_sealed(key, sealed, b"here") == b"share"
    for attempt in (
        (b"\1" * 32, sealed, b"here"),
        (key, sealed, b"there"),
        (key, sealed[:-1], b"here"),
        (key, b"", b"here"),
        (key, sealed[:-1] + bytes([sealed[-1] ^ 1]), b"here"),
    ):
        with pytest.raises(Malformed):
            open_sealed(*attempt)
    assert seal(key, b"share", b"here") != sealed


def test_private_keys_do_not_print() -> None:
    assert repr(primitives.AgreementKey.generate()) == "AgreementKey"
