"""Data sets: every example in the group of its unit, capped fairly, silent."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest

from domains.base import Example, Skeleton
from domains.language import Base, Encoded
from fedclient.dataset import PrivateDataset
from fedclient.records import Record
from fedcore.errors import ModelError, NotFhirR4, RecordError
from fedcore.privacy.sampling import UnsafeSeeded
from simulations.tiny import make_tiny_base


class EchoTask:
    """Renders each of a record's texts as an example; claims every one for another unit."""

    name, version = "echo", "1"
    kind: Literal["generate", "classify"] = "generate"
    fields, optional = ("texts",), ("label",)

    def examples(self, fields: Mapping[str, Any], *, unit: str) -> list[Example]:
        if "texts" not in fields:
            raise NotFhirR4("the field 'texts' is missing")
        return [Example(prompt="Say:", target=t, unit="shared", label=fields.get("label")) for t in fields["texts"]]

    def read(self, fields: Mapping[str, Any]) -> Any:
        return fields

    def prompt(self, source: Any) -> str:
        return "Say:"

    def skeleton(self, source: Any) -> Skeleton:
        return Skeleton(statements=(), vocabulary=frozenset())


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return Base.load(make_tiny_base(Path(tmp_path_factory.mktemp("llama")), "llama"), device="cpu")


def rows(*given: tuple[str, list[str]]) -> list[Record]:
    return [Record(unit=unit, fields={"texts": texts}, position=i + 1) for i, (unit, texts) in enumerate(given)]


def test_examples_lie_with_the_unit_of_their_record(base: Base) -> None:
    data = PrivateDataset.build(rows(("p1", ["a", "b"]), ("p2", ["c"]), ("p1", ["d"])), EchoTask(), base, 32)
    assert [len(u) for u in data.units] == [3, 1]
    assert data.units[0][2] == base.encode("Say:", "d", 32)


def test_a_unit_without_an_example_is_not_a_unit(base: Base) -> None:
    assert len(PrivateDataset.build(rows(("p1", []), ("p2", ["c"])), EchoTask(), base, 32)) == 1


def test_a_record_that_cannot_be_rendered_is_named_by_position_and_class(base: Base) -> None:
    bad = [*rows(("p1", ["a"])), Record(unit="p2", fields={"secret": "x"}, position=17)]
    with pytest.raises(NotFhirR4, match="record 17"):
        PrivateDataset.build(bad, EchoTask(), base, 32)


@pytest.mark.parametrize(("given", "got"), [([], "no records"), (rows(("p1", [])), "records without one")])
def test_nothing_to_train_on_is_refused(base: Base, given: list[Record], got: str) -> None:
    with pytest.raises(RecordError, match=got):
        PrivateDataset.build(given, EchoTask(), base, 32)


@pytest.mark.parametrize("units", [(), ((),)])
def test_an_empty_data_set_is_refused(units: tuple[tuple[Encoded, ...], ...]) -> None:
    with pytest.raises(RecordError):
        PrivateDataset(units)


def test_a_classifier_needs_a_label_that_it_has(tmp_path: Path) -> None:
    bert = Base.load(make_tiny_base(tmp_path / "bert", "bert"), device="cpu")

    def labelled(label: int | None) -> list[Record]:
        return [Record(unit="p", fields={"texts": ["a"], "label": label}, position=1)]

    assert PrivateDataset.build(labelled(2), EchoTask(), bert, 32).units[0][0].label == 2
    for label in (None, 3, -1):
        with pytest.raises(ModelError, match="record 1"):
            PrivateDataset.build(labelled(label), EchoTask(), bert, 32)


def test_a_cap_chooses_anew_and_every_example_comes_up(base: Base) -> None:
    data = PrivateDataset.build(rows(("p1", list("abcdef"))), EchoTask(), base, 32)
    source = UnsafeSeeded(2)
    choices = [data.examples_of(0, 2, source) for _ in range(60)]
    assert all(len(c) == 2 and c[0] != c[1] for c in choices)
    assert {e for c in choices for e in c} == set(data.units[0])
    assert data.examples_of(0, 6, source) == data.examples_of(0, 100, source) == data.units[0]


def test_a_data_set_prints_its_class_alone(base: Base) -> None:
    data = PrivateDataset.build(rows(("p1", ["a"])), EchoTask(), base, 32)
    assert repr(data) == str(data) == "PrivateDataset"
