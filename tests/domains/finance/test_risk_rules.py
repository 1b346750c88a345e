"""A file of rules is read whole, gives levels at its thresholds, and is refused with file, rule and reason."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from domains.finance import risk_rules
from domains.finance.risk_rules import Rule, load_rules
from fedcore.errors import ConfigError

RULES = load_rules()
OURS = Path(risk_rules.__file__).parent / "rules" / "risk.yaml"
CASES = [(rule, level) for rule in RULES.rules for level, _ in rule.thresholds]
WORSE = {"high": 2, "medium": 1, "low": 0}


@pytest.mark.parametrize(("rule", "level"), CASES, ids=[f"{r.id}-{level}" for r, level in CASES])
@pytest.mark.parametrize("beside", ["under", "at", "over"])
def test_a_level_holds_on_its_own_side_of_the_threshold(rule: Rule, level: str, beside: str) -> None:
    threshold = rule.threshold(level)  # type: ignore[arg-type]
    step = {"under": Decimal("-0.000001"), "at": Decimal(0), "over": Decimal("0.000001")}[beside]
    got = rule.level(threshold + step)
    reached = beside != "under" if rule.above else beside == "under"
    assert (WORSE[got] >= WORSE[level]) == reached
    # So near a threshold, no other level's threshold lies between.
    assert got == level or not reached


def test_all_that_a_rule_says_stands_in_both_languages() -> None:
    for rule in RULES.rules:
        assert rule.why["en"].isascii()
        assert not rule.why["zh"].isascii()
        assert rule.ratio.label["en"] != rule.ratio.label["zh"]
    for phrase in RULES.phrases:
        assert phrase.why["en"].isascii()
        assert not phrase.why["zh"].isascii()


def test_every_category_has_a_rule_or_a_phrase() -> None:
    assert {r.category for r in RULES.rules} | {p.category for p in RULES.phrases} == set(RULES.categories)


def test_a_phrase_is_turned_around_by_what_stands_before_it() -> None:
    phrase = next(p for p in RULES.phrases if p.id == "text.third-party")
    assert phrase.holds("我们与任何第三方分享")
    assert not phrase.holds("我们不会向任何第三方提供")
    assert phrase.holds("任何第三方均可查看，我们不会向您另行说明")


def changed(change: Callable[[Any], None]) -> str:
    value = yaml.safe_load(OURS.read_text(encoding="utf-8"))
    change(value)
    return yaml.safe_dump(value, allow_unicode=True)


def drop(key: str) -> Callable[[Any], None]:
    return lambda v: v["rules"][0].pop(key)


def put(key: str, value: Any) -> Callable[[Any], None]:
    return lambda v: v["rules"][0].__setitem__(key, value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (drop("category"), "the rule liquidity.current-ratio is wrong; expected the key category"),
        (drop("id"), "rule 1 is wrong; expected the key id"),
        (drop("below"), "one of above and below; got neither"),
        (put("above", {"high": "3"}), "one of above and below; got both"),
        (put("category", "weather"), "one of the categories"),
        (put("looks_at", "moon"), "looks_at: a known ratio or figure; got 'moon'"),
        (put("below", {"high": "much"}), "a number for high; got 'much'"),
        (put("below", {"high": "NaN"}), "a finite number for high"),
        (put("below", {"high": "2", "medium": "1"}), "high under medium"),
        (put("below", {"low": "2"}), "keys among high, medium; got 'low'"),
        (put("unit", "litres"), "unit: percent, or none"),
        (put("version", 1), "text in quotation marks; got int"),
        (put("colour", "red"), "keys among"),
        (put("zh", ""), "the rule liquidity.current-ratio, zh is wrong"),
        (
            lambda v: v["rules"].append(v["rules"][0]),
            "the rule liquidity.current-ratio is wrong; expected an id of its",
        ),
        (lambda v: v["phrases"][0].update(level="awful"), "the rule text.disclaimer is wrong; expected level"),
        (lambda v: v["phrases"][0].update(lang="fr"), "expected lang: en or zh"),
        (lambda v: v["phrases"][0].update(any=[]), "a list with something in it"),
        (lambda v: v["ratios"]["current_ratio"].update({"as": "sum"}), "the ratio current_ratio is wrong"),
        (lambda v: v["ratios"]["current_ratio"].update(of=["cash"]), "2 figures for a quotient; got 1"),
        (lambda v: v["ratios"]["current_ratio"].update(of=["cash", "sun"]), "known figures; got 'sun'"),
        (lambda v: v["ratios"]["lawsuits"].update(of=["cash"]), "known events; got 'cash'"),
        (lambda v: v["ratios"].update(idle=v["ratios"]["current_ratio"]), "the ratio idle is wrong; expected a rule"),
        (lambda v: v["figures"]["cash"]["en"].append("Inventory"), "is wrong; expected names of its own"),
        (lambda v: v["judge"].update(high="0.1"), "judge is wrong; expected high over medium"),
        (lambda v: v.pop("categories"), "the file is wrong; expected the key categories"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_rule(tmp_path: Path, change: Callable[[Any], None], says: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(changed(change), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_rules(path)
    assert str(caught.value).startswith("mine.yaml: ")
    assert says in str(caught.value)


@pytest.mark.parametrize("text", ["a: [", "- 1", ""])
def test_a_file_that_holds_no_rules_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"mine\.yaml"):
        load_rules(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.yaml cannot be read"):
        load_rules(tmp_path / "gone.yaml")
