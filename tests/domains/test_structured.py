"""Whatever a model is, its shaped answers parse and obey; what could not be promised is refused before."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domains.language import Base, Writer, set_threads
from domains.structured import AsksBase, AsksServer, Obeys, ask, longest
from fedcore.errors import ConfigError, ModelError
from simulations.tiny import make_tiny_base

LEVELS = ["low", 'mé"d', "高"]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "level": {"enum": LEVELS},
        "chance": {"type": "integer", "minimum": -5, "maximum": 100},
        "sure": {"type": "boolean"},
        "why": {"type": "string", "maxLength": 4},
        "also": {"type": "array", "items": {"enum": [1, 2]}, "maxItems": 2},
    },
    "required": ["level", "chance", "sure", "why", "also"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    set_threads(1)
    return Base.load(make_tiny_base(tmp_path_factory.mktemp("base") / "llama", "llama"))


def test_every_answer_of_a_random_model_parses_and_obeys(base: Base) -> None:
    writer = Writer(base, None, (Obeys(base, SCHEMA),))
    room = longest(SCHEMA) + 1
    prompts = ["", "Note: ", "Level? " * 5]
    seen = set()
    for seed, temperature in ((0, 0.0), (1, 1.0), (2, 2.0), (3, 1.0)):
        for value in ask(writer, prompts, max_new_tokens=room, temperature=temperature, seed=seed):
            assert set(value) == set(SCHEMA["required"])
            assert value["level"] in LEVELS
            assert isinstance(value["chance"], int)
            assert -5 <= value["chance"] <= 100
            assert isinstance(value["sure"], bool)
            assert len(value["why"]) <= 4
            assert len(value["also"]) <= 2
            assert set(value["also"]) <= {1, 2}
            seen.add(value["level"])
    assert len(seen) > 1


def test_a_base_answers_each_question_as_if_it_were_alone(base: Base) -> None:
    prompts = ["", "Note: ", "Level? " * 5]
    together = AsksBase(base).ask(prompts, SCHEMA)
    assert together == [AsksBase(base).ask([p], SCHEMA)[0] for p in prompts]
    assert all(set(value) == set(SCHEMA["required"]) for value in together)


def test_a_server_is_given_the_schema_with_every_question() -> None:
    given: list[Any] = []

    class Answers:
        def write(self, prompts: Sequence[str], *, max_new_tokens: int, **_: Any) -> list[str]:
            given.append(max_new_tokens)
            return ["true"] * len(prompts)

    def connect(schema: dict[str, Any]) -> Answers:
        given.append(schema)
        return Answers()

    assert AsksServer(connect).ask(["a", "b"], {"type": "boolean"}) == [True, True]
    assert given == [{"type": "boolean"}, 6]
    with pytest.raises(ConfigError, match="not bounded"):
        AsksServer(connect).ask(["a"], {"type": "string"})


def test_unshaped_the_same_model_obeys_nothing(base: Base) -> None:
    with pytest.raises(ModelError, match="agreed form"):
        ask(Writer(base), ["Note: "], max_new_tokens=longest(SCHEMA) + 1, temperature=1.0)


def test_too_little_room_is_refused_rather_than_cut_off(base: Base) -> None:
    writer = Writer(base, None, (Obeys(base, SCHEMA),))
    with pytest.raises(ModelError, match="might not fit"):
        ask(writer, ["x"], max_new_tokens=longest(SCHEMA))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {"type": "integer", "minimum": 0},
        {"type": "integer", "minimum": 0, "maximum": True},
        {"type": "number"},
        {"type": "array", "items": {"type": "boolean"}},
        {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": [], "additionalProperties": False},
        {"anyOf": [{"type": "boolean"}]},
        {},
    ],
)
def test_a_schema_without_bounds_is_refused(base: Base, schema: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Obeys(base, schema)


_LEAVES = st.one_of(
    st.just({"type": "boolean"}),
    st.lists(st.one_of(st.text(max_size=4), st.integers(-99, 99)), min_size=1, max_size=3).map(lambda v: {"enum": v}),
    st.tuples(st.integers(-999, 0), st.integers(0, 999)).map(
        lambda b: {"type": "integer", "minimum": b[0], "maximum": b[1]}
    ),
    st.integers(0, 5).map(lambda n: {"type": "string", "maxLength": n}),
)


def _value(schema: dict[str, Any], draw: Any) -> Any:
    """A value that obeys, as long as it can be."""
    if "enum" in schema:
        return draw(st.sampled_from(schema["enum"]))
    if schema["type"] == "boolean":
        return draw(st.booleans())
    if schema["type"] == "integer":
        return draw(st.sampled_from([schema["minimum"], schema["maximum"]]))
    if schema["type"] == "string":
        return draw(st.text(min_size=schema["maxLength"], max_size=schema["maxLength"]))
    if schema["type"] == "array":
        return [_value(schema["items"], draw) for _ in range(schema["maxItems"])]
    return {k: _value(v, draw) for k, v in schema["properties"].items()}


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.text(max_size=5), _LEAVES, max_size=4), st.integers(0, 3), st.data())
def test_no_obedient_value_is_longer_than_longest(leaves: dict[str, Any], items: int, data: st.DataObject) -> None:
    inner = {"type": "object", "properties": leaves, "required": list(leaves), "additionalProperties": False}
    schema = {"type": "array", "items": inner, "maxItems": items}
    value = _value(schema, data.draw)
    for ascii_only in (True, False):
        written = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "replace")
        assert len(written) <= longest(schema)


def test_a_server_that_does_not_hold_to_the_form_is_told_without_its_words() -> None:
    class Talks:
        def write(self, prompts: Sequence[str], **_: Any) -> list[str]:
            return ["My secret is"] * len(prompts)

    with pytest.raises(ModelError) as raised:
        ask(Talks(), ["x"], max_new_tokens=9)
    assert "secret" not in f"{raised.value}{raised.value.__cause__}"


def test_a_base_path_is_no_part_of_a_shape(base: Base, tmp_path: Path) -> None:
    assert str(base.path) not in repr(Obeys(base, {"type": "boolean"}))
