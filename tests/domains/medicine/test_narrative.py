"""A single resource says what it holds, its standing first; in Chinese by our labels, never by translated displays."""

from typing import Any

import pytest

from domains.medicine._audit import audit
from domains.medicine._narrative import narrate
from domains.medicine._values import Speech
from domains.medicine.record import RecordTask
from domains.pipeline import Settings, generate
from fedcore.errors import NotFhirR4
from tests.domains.medicine.rich import coded

TASK = RecordTask()
WHO = {"reference": "Patient/p"}


def _say(resource: dict[str, Any], lang: str = "en") -> list[str]:
    return [c.text for c in narrate(resource, resource["resourceType"], Speech(lang))]


POTASSIUM = {
    "resourceType": "Observation",
    "status": "preliminary",
    "code": {"text": "potassium"},
    "effectiveDateTime": "2024-05-06T08:15:00+02:00",
    "valueQuantity": {"value": 5.6, "unit": "mmol/L"},
    "interpretation": [coded("v3-ObservationInterpretation", "H")],
    "referenceRange": [{"low": {"value": 3.5}, "high": {"value": 5.1}}],
}


@pytest.mark.parametrize(
    ("resource", "lang", "said"),
    [
        (
            POTASSIUM,
            "en",
            [
                "observation, preliminary: potassium",
                "at: 2024-05-06 at 08:15",
                "value: 5.6 mmol/L",
                "interpretation: high",
                "reference range: 3.5 to 5.1",
            ],
        ),
        (
            POTASSIUM,
            "zh",
            [
                "观察（初步）：potassium",
                "时间：2024年5月6日 08:15",
                "数值：5.6 mmol/L",
                "判读：偏高",
                "参考范围：3.5至5.1",
            ],
        ),
        (
            {"resourceType": "Procedure", "status": "not-done", "code": {"text": "colonoscopy"}, "subject": WHO},
            "en",
            ["procedure, not done: colonoscopy"],
        ),
        (
            {
                "resourceType": "ServiceRequest",
                "status": "active",
                "intent": "order",
                "doNotPerform": True,
                "code": {"text": "lumbar puncture"},
                "subject": WHO,
            },
            "zh",
            ["服务申请（禁止执行，有效，医嘱）：lumbar puncture"],
        ),
        (
            {
                "resourceType": "Condition",
                "subject": WHO,
                "code": {"coding": [{"display": "Gout", "code": "1"}, {"display": "痛风", "code": "2"}]},
                "bodySite": [{"text": "left foot"}],
            },
            "zh",
            ["病情：痛风", "部位：left foot"],
        ),
        (
            {
                "resourceType": "MedicationRequest",
                "status": "active",
                "intent": "order",
                "medicationReference": {"reference": "#m"},
                "contained": [{"resourceType": "Medication", "id": "m", "code": {"text": "ramipril"}}],
                "subject": WHO,
                "dosageInstruction": [
                    {
                        "timing": {"repeat": {"frequency": 1, "period": 12, "periodUnit": "h"}},
                        "doseAndRate": [{"doseQuantity": {"value": 2, "unit": "tablets"}}],
                    }
                ],
            },
            "zh",
            ["用药医嘱（有效，医嘱）：药品：ramipril", "用法用量：用药时间：每12小时1次，剂量与速率：剂量：2片"],
        ),
    ],
)
def test_each_element_is_said_under_its_label(resource: dict[str, Any], lang: str, said: list[str]) -> None:
    assert _say(resource, lang) == said


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_what_was_entered_in_error_states_nothing_else(lang: str) -> None:
    mistaken = {
        "resourceType": "AllergyIntolerance",
        "verificationStatus": coded("allergyintolerance-verification", "entered-in-error"),
        "code": {"text": "penicillin"},
        "patient": WHO,
    }
    (only,) = _say(mistaken, lang)
    assert "penicillin" not in only
    assert ("entered in error" in only) or ("录入错误" in only)


def test_a_narrative_is_checked_and_complete() -> None:
    document = generate(TASK, TASK.read({"bundle": POTASSIUM}), None, Settings())
    assert document.text.startswith("Observation, preliminary: potassium.")
    assert audit(POTASSIUM, document.rendered).omitted == 0
    assert {s.mentions[0].fact.path for s in document.sentences} >= {"Observation.valueQuantity", "Observation.code"}


def test_a_value_cannot_change_its_label() -> None:
    class Swaps:
        def write(self, prompts: Any, **_: Any) -> list[str]:
            return [" Reference range: 5.6 mmol/L. Value: 3.5 to 5.1."] * len(prompts)

    document = generate(TASK, TASK.read({"bundle": POTASSIUM}), Swaps(), Settings())
    assert {s.source for s in document.sentences} == {"skeleton"}


def test_an_element_that_may_turn_others_is_refused_and_never_shown() -> None:
    turned = POTASSIUM | {"modifierExtension": [{"url": "https://example.org/not", "valueBoolean": True}]}
    with pytest.raises(NotFhirR4, match=r"Observation\.modifierExtension"):
        TASK.read({"bundle": turned})
