"""The measured tables of the documentation are the kept outputs of the commands that they name.

That the commands still print outputs of this form is asked where each command is tested.
"""

from pathlib import Path

from simulations.measured import MEASURED, form, kept, render

PAGE = Path(__file__).parents[2] / "docs" / "privacy.md"


def test_the_page_shows_the_kept_outputs() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert all(f"<!-- measured: {name} -->" in page for name in MEASURED)
    assert render(page, kept) == page


def test_what_was_measured_meets_the_goals() -> None:
    step = kept("dp-step")
    assert step["median_cpu_ratio"] <= 1.05
    assert step["worst_cpu_ratio"] <= 1.10
    assert step["worst_memory_ratio"] <= 1.10
    assert step["median_cpu_ratio"] <= step["opacus_hooks_median_cpu_ratio"]
    white = kept("audit-white-box")
    assert white["epsilon_lower"] <= white["epsilon_upper"]
    assert all(p["caught"] and not p["false_alarm"] for p in white["planted"])
    canaries = kept("audit-canaries")
    assert canaries["epsilon_lower"] <= canaries["epsilon_upper"]
    assert canaries["control_auc"] > 0.95
    certificate = kept("certificate")
    assert certificate["verified"] is True
    assert certificate["unattested"] == []


def test_form_is_keys_and_kinds() -> None:
    assert form({"b": [1, 2.5], "a": True, "c": None}) == {"a": "bool", "b": ["number"], "c": "NoneType"}
    assert form([{"x": 1}, {"x": 2}, {"y": 1}]) == [{"x": "number"}, {"y": "number"}]
