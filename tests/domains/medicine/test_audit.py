"""The auditor sees what a note makes up, leaves out or turns round, and finds nothing in notes of the pipeline."""

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from domains.medicine._audit import Audit, audit
from domains.medicine.record import RecordTask
from domains.medicine.synthetic import SITES, records
from domains.pipeline import Settings, generate
from tests.domains.medicine.rich import PROBLEMS, bundles, coded, whole

TASK = RecordTask()
ENDS = ("", " (active)", " for 12 years", " of the left knee")
NOTHING = Audit(0, 0, 0)
MANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Says:
    """A writer that says one thing."""

    def __init__(self, text: str) -> None:
        self.text = text

    def write(self, prompts: Any, **_: Any) -> list[str]:
        return [self.text] * len(prompts)


def _note(bundle: dict[str, Any], text: str | None = None) -> str:
    writer = None if text is None else Says(text)
    return generate(TASK, TASK.read({"bundle": bundle}), writer, Settings()).rendered


@MANY
@given(bundles())
def test_nothing_is_made_up_left_out_or_turned_in_any_bundle(bundle: dict[str, Any]) -> None:
    assert audit(bundle, _note(bundle)) == NOTHING


@MANY
@given(bundles())
def test_the_same_holds_for_the_wording_in_chinese(bundle: dict[str, Any]) -> None:
    skeleton = TASK.skeleton(TASK.read({"bundle": bundle, "lang": "zh"}))
    assert skeleton.lang == "zh"
    assert audit(bundle, "".join(s.text for s in skeleton.statements), "zh") == NOTHING


@MANY
@given(
    bundles(),
    st.lists(
        st.sampled_from(
            [
                *(f"{a} {name}{b}." for a in ("Known", "Seen for", "Patient has") for name in PROBLEMS for b in ENDS),
                "Takes ramipril 5 mg daily.",
                "No known allergies.",
                "Colonoscopy done.",
                "Prescribed metformin.",
            ]
        ),
        max_size=6,
    ),
)
def test_whatever_a_writer_says_a_negated_thing_is_never_affirmed(bundle: dict[str, Any], said: list[str]) -> None:
    assert audit(bundle, _note(bundle, " " + " ".join(said))) == NOTHING


@MANY
@given(bundles(), st.data())
def test_changing_one_element_changes_the_note_and_the_old_one_is_seen_to_be_wrong(
    bundle: dict[str, Any], data: st.DataObject
) -> None:
    places = list(_places(bundle))
    assume(places)
    path, old = data.draw(st.sampled_from(places))
    new = old + 1 if isinstance(old, int | float) else "zz" + old
    changed = _put(bundle, path, new)
    before, after = _note(bundle), _note(changed)
    assert before != after
    assert audit(changed, before) != NOTHING


@MANY
@given(bundles(), st.data())
def test_dropping_one_statement_is_an_omission(bundle: dict[str, Any], data: st.DataObject) -> None:
    statements = TASK.skeleton(TASK.read({"bundle": bundle})).statements
    kept = [s for s in statements if s.rule not in ("record.opening", "record.allergy")]
    dropped = data.draw(st.sampled_from(kept))
    text = " ".join(s.text for s in statements if s is not dropped)
    assert audit(bundle, text).omitted > 0


def _places(value: Any, path: tuple[Any, ...] = ()) -> Any:
    """Where names, sites and values of the clinical resources stand."""
    if isinstance(value, dict):
        for key, part in value.items():
            if key in ("text", "value") and not isinstance(part, dict):
                yield (*path, key), part
            else:
                yield from _places(part, (*path, key))
    elif isinstance(value, list):
        for i, part in enumerate(value):
            yield from _places(part, (*path, i))


def _put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    if isinstance(value, list):
        return [_put(v, path[1:], new) if i == path[0] else v for i, v in enumerate(value)]
    return {k: _put(v, path[1:], new) if k == path[0] else v for k, v in value.items()}


REFUTED = whole(
    {
        "resourceType": "Condition",
        "code": {"text": "gout"},
        "verificationStatus": coded("condition-ver-status", "refuted"),
        "subject": {"reference": "Patient/p"},
    }
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Visit of 2024-06-14. Ruled out: gout.", Audit(0, 0, 0)),
        ("Visit of 2024-06-14. Problems: gout.", Audit(0, 1, 1)),
        ("Visit of 2024-06-14. Ruled out: gout. Aged 44.", Audit(1, 0, 0)),
        ("Visit of 2024-06-15. Ruled out: gout.", Audit(1, 1, 0)),
        ("Visit of 2024-06-14. Ruled out: gout. Takes aspirin.", Audit(2, 0, 0)),
        ("Visit of 2024-06-14. Ruled out: gout. No known allergies.", Audit(0, 0, 1)),
        ("Visit of 2024-06-14.", Audit(0, 2, 0)),
    ],
)
def test_each_kind_of_fault_is_counted(text: str, found: Audit) -> None:
    assert audit(REFUTED, text) == found


def test_notes_of_our_own_records_pass_and_a_changed_figure_does_not() -> None:
    for site in SITES:
        for row in records(site, 15, seed=21):
            note = _note(row["bundle"])
            assert audit(row["bundle"], note) == NOTHING
            wrong = re.sub(r"\d+(?= mg| mmHg|%)", lambda m: str(int(m.group()) + 1000), note, count=1)
            assert (audit(row["bundle"], wrong).unsupported > 0) == (wrong != note)
