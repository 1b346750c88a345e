"""What prompts begin with alike: the prefixes hold, and are used only where they save reading."""

from hypothesis import given, settings
from hypothesis import strategies as st

from domains._prefixes import prefixes

ROWS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=8)


@settings(max_examples=400, deadline=None)
@given(ROWS)
def test_each_row_begins_with_its_prefix_and_goes_on_and_fewer_places_are_filled(rows: list[list[int]]) -> None:
    found = prefixes(rows)
    if found is None:
        return
    assert sorted(set(found.which)) == list(range(len(found.distinct)))
    rests = []
    for row, which in zip(rows, found.which, strict=True):
        prefix = found.distinct[which]
        assert tuple(row[: len(prefix)]) == prefix
        rests.append(len(row) - len(prefix))
    assert min(rests) >= 1, "the model must read something to go on from"
    read = len(found.distinct) * max(len(p) for p in found.distinct) + len(rows) * max(rests)
    assert read < len(rows) * max(len(row) for row in rows)


@given(st.lists(st.integers(0, 2), min_size=2, max_size=30), st.integers(3, 20))
def test_the_same_prompt_many_times_is_read_once(row: list[int], times: int) -> None:
    found = prefixes([row] * times)
    assert found is not None
    assert found.distinct == (tuple(row[:-1]),)


def test_prompts_that_begin_with_the_same_few_words_stay_apart() -> None:
    rows = [[1, 2, *[10 + i] * 20] for i in range(6)]
    assert prefixes(rows) is None
    assert prefixes([rows[0]]) is None
    assert prefixes([[7]] * 9) is None
