"""Several byte strings as one, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcore.frames import MOST_PARTS, head, join, split


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_what_is_joined_is_split_again(parts: list[bytes]) -> None:
    assert split(join(parts)) == parts


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=4), st.data())
def test_what_is_cut_off_is_refused_or_fewer_whole_parts(parts: list[bytes], data: st.DataObject) -> None:
    whole = join(parts)
    cut = whole[: data.draw(st.integers(min_value=0, max_value=len(whole) - 1))]
    try:
        found = split(cut)
    except ValueError:
        return
    assert found == parts[: len(found)]
    assert len(found) < len(parts)


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=6))
def test_the_first_comes_off_and_the_rest_splits(parts: list[bytes]) -> None:
    first, rest = head(join(parts))
    assert [first, *split(rest)] == parts


def test_more_parts_than_a_message_has_are_refused_early() -> None:
    assert len(split(bytes(4 * MOST_PARTS))) == MOST_PARTS
    with pytest.raises(ValueError, match="too many parts"):
        split(bytes(4 * MOST_PARTS + 4))


@pytest.mark.parametrize("data", [b"", b"\0\0\0", b"\0\0\0\1"])
def test_nothing_to_take_off_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="cut off"):
        head(data)


@pytest.mark.parametrize("data", [b"\0", b"\0\0\0\1", b"\xff\xff\xff\xff" + b"x" * 9])
def test_length_that_lies_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="cut off"):
        split(data)
