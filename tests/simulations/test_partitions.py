"""Units into institutions: nothing is lost, nothing is cut, and the same seed gives the same split."""

from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcore.errors import ConfigError
from simulations.partitions import Split, by_column, dirichlet, hold_out, iid

VALUES = st.dictionaries(
    st.text("abcdef123", min_size=1, max_size=4),
    st.lists(st.sampled_from(["north", "south", "east", "west"]), min_size=1, max_size=5),
    min_size=4,
    max_size=30,
)


def is_partition(split: Split, units: Mapping[str, object] | Sequence[str]) -> bool:
    return sorted(u for part in split.values() for u in part) == sorted(units)


@given(VALUES, st.integers(1, 4))
def test_every_unit_is_in_exactly_one_institution_by_column(values: dict[str, list[str]], least: int) -> None:
    assert is_partition(by_column(values, merge_below=least), values)


@given(VALUES, st.integers(1, 4))
def test_no_institution_is_smaller_than_asked(values: dict[str, list[str]], least: int) -> None:
    split = by_column(values, merge_below=least)
    assert all(len(units) >= least for units in split.values())  # At least four units, so four can be had.


@given(VALUES, st.integers(1, 4), st.integers(0, 2**32))
def test_every_unit_is_in_exactly_one_institution_iid(values: dict[str, list[str]], count: int, seed: int) -> None:
    split = iid(values, institutions=count, seed=seed)
    sizes = [len(units) for units in split.values()]
    assert is_partition(split, values)
    assert len(split) == count
    assert max(sizes) - min(sizes) <= 1


@given(VALUES, st.integers(1, 4), st.floats(0.05, 100), st.integers(0, 2**32))
def test_dirichlet_loses_no_unit_and_leaves_none_empty(
    values: dict[str, list[str]], count: int, alpha: float, seed: int
) -> None:
    split = dirichlet(values, institutions=count, alpha=alpha, seed=seed)
    assert is_partition(split, values)
    assert len(split) == count
    assert all(split.values())
    assert split == dirichlet(values, institutions=count, alpha=alpha, seed=seed)


def test_small_alpha_is_more_skewed_than_large() -> None:
    values = {f"u{i}": [("a", "b", "c")[i % 3]] for i in range(300)}

    def purity(alpha: float) -> float:
        split = dirichlet(values, institutions=3, alpha=alpha, seed=5)
        return sum(max(Counter(values[u][0] for u in units).values()) for units in split.values()) / 300

    assert purity(0.05) > purity(1000.0) + 0.2


def test_a_unit_of_several_sites_goes_where_most_of_its_records_are() -> None:
    split = by_column({"p1": ["south", "north", "south"], "p2": ["north"]}, merge_below=1)
    assert split == {"north": ("p2",), "south": ("p1",)}


def test_a_tie_goes_to_the_first_site_by_name() -> None:
    assert by_column({"p1": ["south", "north"]}, merge_below=1) == {"north": ("p1",)}


def test_small_sites_are_merged_and_a_rest_joins_the_smallest() -> None:
    values = {f"big{i}": ["Hospital A"] for i in range(3)} | {"x": ["Clinic B"], "y": ["Clinic C"], "z": ["Clinic D"]}
    split = by_column(values, merge_below=2)
    assert split == {"clinic-b-and-2-more": ("x", "y", "z"), "hospital-a": ("big0", "big1", "big2")}


def test_sites_that_look_alike_once_shortened_are_refused() -> None:
    with pytest.raises(ConfigError, match="told apart"):
        by_column({"p1": ["Clinic A"], "p2": ["clinic-a"]}, merge_below=1)


@given(st.sets(st.text("abc", min_size=1, max_size=5), min_size=5), st.integers(1, 3), st.integers(0, 99))
def test_held_out_units_are_kept_from_training(units: set[str], count: int, seed: int) -> None:
    kept, held = hold_out(units, count, seed)
    assert len(held) == count
    assert sorted((*kept, *held)) == sorted(units)
    assert hold_out(units, count, seed) == (kept, held)


def test_too_few_units_to_hold_some_out_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 5"):
        hold_out(["a", "b", "c", "d"], 3, 0)


def test_more_institutions_than_units_are_refused() -> None:
    with pytest.raises(ConfigError, match="fewer units than institutions"):
        iid(["a", "b"], institutions=3, seed=0)
