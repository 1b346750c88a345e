"""The measured tables of the documentation are the kept outputs of the commands that they name.

That the commands still print outputs of this form is asked where each command is tested.
"""

from fedserver.strategies import strategy_names
from simulations.measured import MEASURED, PAGES, form, kept, render


def test_the_pages_show_the_kept_outputs() -> None:
    pages = [page.read_text(encoding="utf-8") for page in PAGES]
    assert all(any(f"<!-- measured: {name} -->" in page for page in pages) for name in MEASURED)
    assert [render(page, kept) for page in pages] == pages


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
    joint = kept("joint-step")
    assert [row["epsilon"] for row in joint["rows"]] == [1, 3, 8]
    for row in joint["rows"]:
        assert row["shared"] <= 1.02 * row["pooled"]
        assert row["shared"] < row["local"]
    strategies = kept("strategies")
    assert len(strategies["rows"]) == len(strategy_names())
    for row in strategies["rows"]:
        assert max(*row["even_losses"], *row["skewed_losses"]) < row["base"]
    poisoning = kept("poisoning")
    assert len(poisoning["rows"]) == 77
    for row in poisoning["rows"]:
        if row["rule"] == poisoning["recommended"]:
            assert row["clean_loss_lost"] <= 0.02
            assert abs(row["backdoor_gap"]) <= 5
    assert max(row["backdoor_gap"] for row in poisoning["rows"] if row["rule"] == "mean") > 50
    certificate = kept("certificate")
    assert certificate["verified"] is True
    assert certificate["unattested"] == []


def test_form_is_keys_and_kinds() -> None:
    assert form({"b": [1, 2.5], "a": True, "c": None}) == {"a": "bool", "b": ["number"], "c": "NoneType"}
    assert form([{"x": 1}, {"x": 2}, {"y": 1}]) == [{"x": "number"}, {"y": "number"}]
