"""How findings are worded, in English and Chinese: fixed words around literal quotes.

Every quote is one fact, so that its figures and names are traced only where the whole quote stands.

>>> from domains.finance._review import Finding
>>> said = statements((Finding(verdict="not specified", quote="Offices close at noon."),), "en")
>>> said[-1].text
'Not specified: no rule that was consulted speaks of "Offices close at noon."'
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Literal

from domains.base import Fact, Statement
from domains.finance._review import Finding

__all__ = ["statements", "vocabulary"]

Lang = Literal["en", "zh"]

_KINDS_ZH: Mapping[str, str] = {
    "contradiction": "相互矛盾",
    "missing duty": "缺少义务",
    "stricter number": "数值更严",
    "looser number": "数值更宽",
    "stricter deadline": "期限更严",
    "looser deadline": "期限更宽",
    "wrong party": "主体不符",
    "permission against prohibition": "许可与禁止相冲突",
}
_LEVELS: Mapping[Lang, tuple[str, str, str]] = {"en": ("high", "medium", "low"), "zh": ("高", "中", "低")}
_HEADINGS: Mapping[Lang, Mapping[str, str]] = {
    "en": {"conflict": "Conflicts", "duplicate": "Repeated clauses", "no conflict found": "No conflict found",
           "not specified": "Not specified"},
    "zh": {"conflict": "冲突", "duplicate": "重复", "no conflict found": "未发现冲突", "not specified": "未作规定"},
}  # fmt: skip
_PHRASES: Mapping[Lang, Mapping[str, str]] = {
    "en": {
        "none": "No conflict was found: nothing in the text was found to contradict a rule.",
        "clear": "No conflict found:",
        "silent": "Not specified: no rule that was consulted speaks of",
        "lacks": "The text does not say this.",
        "contradicts": "A model that was asked sees a contradiction.",
        "agrees": "A model that was asked sees no contradiction.",
        "neither": "A model that was asked sees no connection.",
    },
    "zh": {
        "none": "未发现冲突：文本中没有发现与规则相抵触的内容。",
        "clear": "未发现冲突：",
        "silent": "未作规定：所查规则均未涉及",
        "lacks": "文本未写明该义务。",
        "contradicts": "经询问，模型认为二者矛盾。",
        "agrees": "经询问，模型认为二者并不矛盾。",
        "neither": "经询问，模型认为二者没有关联。",
    },
}  # fmt: skip
"""What is denied stands as a whole, so that no other denial passes."""
_WORDS: Mapping[Lang, str] = {
    "en": "conflict repeated clause clauses says say the text confidence and of probability a "
    "contradiction by classifier",
    "zh": "冲突 重复 条款 规定 文本 写明 写 把握 与 另一 分类器 给出 矛盾 概率 为 的 来自 一致",
}


def vocabulary(lang: Lang) -> frozenset[str]:
    """The words around the quotes."""
    return frozenset(_WORDS[lang].split()) | frozenset(_LEVELS[lang])


def statements(findings: Sequence[Finding], lang: Lang) -> tuple[Statement, ...]:
    """A statement for each finding: conflicts, then repetitions, what was found in order, and what no rule says."""
    order = ("conflict", "duplicate", "no conflict found", "not specified")
    out = [_statement(f, lang) for verdict in order for f in findings if f.verdict == verdict]
    if not any(f.verdict == "conflict" for f in findings):
        phrase = _PHRASES[lang]["none"]
        fact = Fact(kind="none", path="findings", text=phrase)
        out.insert(0, Statement(rule="compliance.none", text=phrase, facts=(fact,), section=_section("conflict", lang)))
    return tuple(out)


def _section(verdict: str, lang: Lang) -> str:
    return _HEADINGS[lang][verdict]


def _statement(f: Finding, lang: Lang) -> Statement:
    facts: list[Fact] = []

    def quote(text: str, path: str) -> str:
        plain = " ".join(text.split())
        facts.append(Fact(kind="name", path=path, text=plain))
        return f'"{plain}"' if lang == "en" else f"“{plain}”"

    def name(text: str, path: str) -> str:
        facts.append(Fact(kind="name", path=path, text=text))
        return text

    def phrase(key: str) -> str:
        facts.append(Fact(kind="none", path="findings", text=_PHRASES[lang][key]))
        return _PHRASES[lang][key]

    rule = f"compliance.{f.rule.replace(' ', '-') or f.verdict.replace(' ', '-')}"
    if f.verdict == "not specified":
        said = f"{phrase('silent')} {quote(f.quote, f'text[{f.start}]')}"
        said = said if lang == "en" else said.replace(" “", "“") + "。"
        return Statement(rule=rule, text=said, facts=tuple(facts), section=_section(f.verdict, lang))
    clause = name(_place(f.clause_id, f.source, lang), "rules")
    ours = quote(f.clause_quote, f"rules.{f.clause_id}")
    other = name(_place(f.other_id, "", lang), "rules") if f.other_id else ""
    theirs = quote(f.quote, f"text[{f.start}]") if f.quote else phrase("lacks")
    level = _level(f.confidence, lang)
    kind = name(f.kind if lang == "en" else _KINDS_ZH.get(f.kind, ""), "findings") if f.kind else ""
    if lang == "en":
        head = {"conflict": f"Conflict, {kind}:", "duplicate": "Repeated:"}.get(f.verdict) or phrase("clear")
        who = f"{other} says {theirs}" if other else f"The text says {theirs}" if f.quote else theirs
        text = f"{head} {clause} says {ours} {who[:1].upper() + who[1:]} Confidence: {level}."
    else:
        head = {"conflict": f"冲突（{kind}）：", "duplicate": "重复："}.get(f.verdict) or phrase("clear")
        who = f"{other}规定{theirs}" if other else f"文本写明{theirs}" if f.quote else theirs.rstrip("。")
        text = f"{head}{clause}规定{ours}，{who}；把握：{level}。"
    if f.probability is not None:
        facts.append(
            Fact(
                kind="number",
                path="classifier",
                text=f"{f.probability:.3f}",
                value=_decimal(f.probability),
                units=frozenset({""}),
                derivation="probability of a contradiction, by the classifier",
            )
        )
        text += (
            f" Probability of a contradiction by the classifier: {f.probability:.3f}."
            if lang == "en"
            else f"分类器给出的矛盾概率为{f.probability:.3f}。"
        )
    if f.opinion:
        text += f" {phrase(f.opinion)}" if lang == "en" else phrase(f.opinion)
    return Statement(rule=rule, text=text, facts=tuple(facts), section=_section(f.verdict, lang))


def _decimal(value: float) -> Decimal:
    return Decimal(f"{value:.3f}")


def _level(confidence: float, lang: Lang) -> str:
    high, medium, low = _LEVELS[lang]
    return high if confidence >= 0.8 else medium if confidence >= 0.6 else low


def _place(clause_id: str, source: str, lang: Lang) -> str:
    """A clause's name: "Article 5" as it stands, a bare number as "clause 3.1"."""
    named = (
        clause_id if re.match(r"[^\W\d_]", clause_id) else f"clause {clause_id}" if lang == "en" else f"条款{clause_id}"
    )
    return f"{named} ({source})" if source and source not in named else named
