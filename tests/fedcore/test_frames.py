"""Several byte strings as one, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcore.frames import join, split


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


@pytest.mark.parametrize("data", [b"\0", b"\0\0\0\1", b"\xff\xff\xff\xff" + b"x" * 9])
def test_length_that_lies_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="cut off"):
        split(data)
