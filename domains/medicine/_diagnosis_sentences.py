"""The wording of diagnosis support, by rule, in English and Chinese: every word of it is ours or a fact's."""

import re
from collections.abc import Sequence
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal

from domains.base import Fact, Language, Statement
from domains.medicine._case import Case, Observed
from domains.medicine._ranking import ABSTAIN_BELOW, SEVERE_FROM, Ranked, Ranking
from domains.medicine.conditions import Condition

__all__ = ["NOTICE", "VOCABULARY", "held", "notice_facts", "percent", "say", "statements"]

NOTICE: dict[Language, str] = {
    "en": "This supports a decision and does not make it: a clinician decides.",
    "zh": "本文仅供临床参考，不作诊断结论：由医师决定。",
}
VOCABULARY = frozenset[str]()
"""Empty: fixed wording is itself a fact of its rule, and a model writes no prose here."""
_SLOT = re.compile(r"\{\}")
_EDGES = " .,;:()。，；：、（）"
_STEP = 5

_TEXTS: dict[str, dict[Language, str]] = {
    "age": {"en": "Patient aged {}.", "zh": "患者年龄{}岁。"},
    "sex": {"en": "Sex: {}.", "zh": "性别：{}。"},
    "found": {"en": "Found: {}.", "zh": "已知：{}。"},
    "denied": {"en": "Looked for and not found: {}.", "zh": "已问及而未见：{}。"},
    "book": {
        "en": "The probabilities come from the code book alone and are not calibrated.",
        "zh": "概率仅来自知识库，未经校准。",
    },
    "unsure": {
        "en": "Unsure: none is called the likeliest; that needs {} and two findings.",
        "zh": "尚不能判断：未指出最可能者；须达到{}且有两项发现。",
    },
    "first": {"en": "Most likely: {} ({}), {}.", "zh": "最可能：{}（{}），{}。"},
    "also": {"en": "To consider: {} ({}), {}.", "zh": "可考虑：{}（{}），{}。"},
    "severe": {"en": "Severe, do not miss: {} ({}), {}.", "zh": "重症，不可漏诊：{}（{}），{}。"},
    "for": {"en": "For {}: {}.", "zh": "支持{}：{}。"},
    "unexplained": {"en": "Against {}, since it does not explain: {}.", "zh": "不支持{}，因其不能解释：{}。"},
    "absent": {"en": "Against {}, since not found: {}.", "zh": "不支持{}，因未见：{}。"},
    "weighed": {"en": "The model weighed most for {}: {}.", "zh": "模型判断{}时最看重：{}。"},
    "aside": {"en": "Severe and set aside, each below {}: {}.", "zh": "重症而暂未列入，各低于{}：{}。"},
    "ask": {"en": "Ask next: {} (expected to tell {} bits).", "zh": "下一步询问：{}（预期信息{}比特）。"},
}
_SEX: dict[str, dict[Language, str]] = {"M": {"en": "male", "zh": "男"}, "F": {"en": "female", "zh": "女"}}


def held(text: str, rule: str) -> Fact:
    """Fixed wording as a fact of its rule."""
    return Fact(kind="none", text=text, path=f"rule {rule}")


def say(rule: str, template: str, slots: Sequence[Fact | Sequence[Fact]], *, zh: bool) -> Statement:
    """Fill a template; its fixed pieces become facts of the rule."""
    facts: list[Fact] = []
    filled = template
    for slot in slots:
        group = [slot] if isinstance(slot, Fact) else list(slot)
        facts += group
        text = ("、" if zh else ", ").join(f.text for f in group)
        filled = _SLOT.sub(lambda _, text=text: text, filled, count=1)  # type: ignore[misc]
    for piece in re.split(r"\{\}|[.,;:()。，；：、（）]", template):
        if piece.strip(_EDGES):
            facts.append(held(piece.strip(_EDGES), rule))
    return Statement(rule=rule, text=filled, facts=tuple(facts))


def percent(probability: Decimal, derivation: str) -> Fact:
    """A probability in percent: whole, but to a tenth near 0 and 1, and never 0 or 100 where it is neither."""
    value = probability * 100
    fine = 0 < value < 1 or 99 < value < 100
    value = value.quantize(Decimal("0.1") if fine else Decimal(1), rounding=ROUND_HALF_UP)
    value = min(max(value, Decimal("0.1")), Decimal("99.9")) if fine else value
    return Fact(
        kind="number",
        text=f"{value}%",
        path="model",
        value=value,
        units=frozenset({"%"}),
        derivation=derivation,
    )


def statements(
    case: Case,
    ranking: Ranking,
    *,
    judged: bool,
    temperature: float,
    weighed: Sequence[tuple[str, float]] = (),
) -> tuple[Statement, ...]:
    """The whole document, in order.

    Args:
        case, ranking: Of whom, and what was found.
        judged: Whether a model gave the probabilities, rather than the book alone.
        temperature: That calibrated them.
        weighed: Codes of findings and what each added to the likeliest condition.
    """
    lang = case.lang
    out = [Statement(rule="diagnosis.notice", text=NOTICE[lang], facts=notice_facts(lang)), *_known(case)]
    source = f"model's probability at temperature {temperature:.2f}" if judged else f"by {case.book.name} alone"
    if not judged:
        out.append(_line("book", lang, ()))
    if ranking.abstains:
        out.append(_line("unsure", lang, (percent(Decimal(str(ABSTAIN_BELOW)), "rule diagnosis.unsure"),)))
    for i, ranked in enumerate(ranking.listed):
        out += _ranked(ranked, case, source, leads=i == 0 and not ranking.abstains)
    if weighed:
        top = _condition(ranking.listed[0].condition, lang)
        named = [
            Fact(
                kind="name",
                text=case.book.finding(code).name(lang),
                path=f"attribution of {code}",
                derivation=f"added {value:+.2f} to the condition's logit, less the mean of the others",
            )
            for code, value in weighed
        ]
        line = _line("weighed", lang, (top, named))
        opening = held(_TEXTS["weighed"][lang].partition("{}")[0] + top.text, line.rule)
        out.append(replace(line, facts=(*line.facts, opening)))
    limit = percent(Decimal(str(SEVERE_FROM)), "rule diagnosis.aside")
    for start in range(0, len(ranking.set_aside), _STEP):
        names = [_condition(c, lang) for c in ranking.set_aside[start : start + _STEP]]
        out.append(_line("aside", lang, (limit, names)))
    for finding, bits in ranking.ask:
        value = Decimal(str(bits)).quantize(Decimal("0.01"))
        gain = Fact(
            kind="number",
            text=f"{value}",
            path=f"{case.book.name}: {finding.code}",
            value=value,
            units=frozenset({"", "bits", "比特"}),
            derivation="expected information gain over the code book",
        )
        name = Fact(kind="name", text=finding.name(lang), path=f"{case.book.name}: {finding.code}")
        out.append(_line("ask", lang, (name, gain)))
    return tuple(out)


def notice_facts(lang: Language) -> tuple[Fact, ...]:
    """The notice as facts of its rule."""
    pieces = re.split("[.:。：，]", NOTICE[lang])
    return tuple(held(p.strip(_EDGES), "diagnosis.notice") for p in pieces if p.strip(_EDGES))


def _line(key: str, lang: Language, slots: Sequence[Fact | Sequence[Fact]]) -> Statement:
    return say(f"diagnosis.{key}", _TEXTS[key][lang], slots, zh=lang == "zh")


def _known(case: Case) -> list[Statement]:
    """Age, sex, and what was found or denied, five at a time."""
    lang, out = case.lang, []
    if case.age is not None:
        age = Fact(
            kind="number",
            text=str(case.age),
            path="age",
            value=Decimal(case.age),
            units=frozenset({"", "year", "岁"}),
        )
        out.append(_line("age", lang, (age,)))
    if case.sex:
        out.append(_line("sex", lang, (Fact(kind="name", text=_SEX[case.sex][lang], path="sex"),)))
    for key, wanted in (("found", True), ("denied", False)):
        named = [_observed(o, lang) for o in case.findings if o.present is wanted]
        out += [_line(key, lang, (named[n : n + _STEP],)) for n in range(0, len(named), _STEP)]
    return out


def _ranked(ranked: Ranked, case: Case, source: str, *, leads: bool) -> list[Statement]:
    """A condition with its probability, what speaks for it, and what against it."""
    lang = case.lang
    name = _condition(ranked.condition, lang)
    code = Fact(kind="name", text=ranked.condition.icd10, path=f"{case.book.name}: ICD-10")
    key = "first" if leads else "severe" if ranked.condition.is_severe else "also"
    out = [_line(key, lang, (name, code, percent(Decimal(str(ranked.probability)), source)))]
    for kind, found in (("for", ranked.speaks_for), ("unexplained", ranked.unexplained), ("absent", ranked.denied)):
        if found:
            # The findings were all said before; that they speak for this condition was not.
            line = _line(kind, lang, (name, [_observed(o, lang) for o in found[:_STEP]]))
            opening = held(_TEXTS[kind][lang].partition("{}")[0] + name.text, line.rule)
            out.append(replace(line, facts=(*line.facts, opening)))
    return out


def _observed(observed: Observed, lang: Language) -> Fact:
    return Fact(kind="name", text=observed.name(lang), path=observed.path)


def _condition(condition: Condition, lang: Language) -> Fact:
    return Fact(kind="name", text=condition.name(lang), path=f"condition {condition.icd10}")
