"""Tasks are found by name, and what is made from records never prints itself."""

from decimal import Decimal

import pytest

from domains.base import Example, Fact, Skeleton, Statement, Task, load_task, task_names
from fedcore.errors import ConfigError


def test_both_first_tasks_are_installed_and_are_tasks() -> None:
    assert {"medicine.record", "finance.report"} <= set(task_names())
    for name in task_names():
        assert isinstance(load_task(name), Task)
        assert load_task(name).name == name


def test_an_unknown_task_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'medicine\.nothing' is not known; expected one of finance\.report"):
        load_task("medicine.nothing")


def test_nothing_made_from_a_record_prints_its_content() -> None:
    secret = "Ada Abendroth"
    fact = Fact(kind="name", path="p", text=secret, value=Decimal(1))
    statement = Statement(rule="r", text=secret, facts=(fact,))
    skeleton = Skeleton(statements=(statement,), vocabulary=frozenset(), extra=(fact,))
    for value in (Example(prompt=secret, target=secret, unit=secret), fact, statement, skeleton):
        assert repr(value) == str(value) == type(value).__name__


def test_two_entries_that_say_the_same_make_one_claim() -> None:
    one = Fact(kind="name", path="entry[1]", text="Asthma")
    other = Fact(kind="name", path="entry[7]", text="asthma")
    assert one != other
    assert one.claim == other.claim
