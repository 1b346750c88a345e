"""The deterministic wording of `finance.risk`, English and Chinese, with the facts that each sentence rests on.

Every name of a sentence but its label must stand after that label, so that a model cannot give one figure's
level, or one passage's quote, to another. A negation stands inside a fact's own wording alone.

>>> from domains.finance.risk_rules import load_rules
>>> wording = Wording(load_rules(), "zh")
>>> wording.not_specified(load_rules().rules[:2]).text
'未提供数据，不作判断：流动比率、速动比率。'
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from domains._lexicon import NEGATIONS
from domains.base import Fact, Language, Sensitive, Statement
from domains.finance._words import VOCABULARY
from domains.finance.risk_figures import Finding
from domains.finance.risk_rules import Level, Phrase, Rule, Rules
from domains.finance.risk_text import Passage

__all__ = ["Factor", "Wording"]

_YEAR = re.compile(r"(?:19|20)\d\d")
_DATE = re.compile(r"(?:19|20)\d\d-\d\d-\d\d")
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_DAYS = 3
"""Most dates of events that a sentence names."""
_ENGLISH = VOCABULARY | frozenset(
    "risk risks threshold thresholds being since because passage probability reads means reason on judged".split()  # noqa: SIM905
)
_HAN = frozenset(
    """的 了 在 为 是 有 于 与 和 及 并 其 该 此 这 由 从 至 到 对 仍 也 而 即 已 年 年度 期 本期 上期 显示 表明 可见
    阈值 理由 概率 水平 等级 风险 低于 达到 超过 达到或超过 因为 属于 存在 相关 方面 数据 指标 公司 企业 集团 上述
    首次 最近 发生于 依次""".split()  # noqa: SIM905
)


@dataclass(frozen=True, kw_only=True, repr=False)
class Factor(Sensitive):
    """A sentence that is a risk: by a rule on its words, or by a classifier where `phrase` is None."""

    passage: Passage
    category: str | None
    level: Level
    phrase: Phrase | None
    probability: Decimal | None

    @property
    def quote(self) -> str:
        """The sentence, literally."""
        return self.passage.text

    @property
    def rule(self) -> str:
        """The rule's id and version."""
        return f"{self.phrase.id}@{self.phrase.version}" if self.phrase else "text.judged@1"


class Wording:
    """The sentences of one language."""

    def __init__(self, rules: Rules, lang: Language) -> None:
        self._rules, self._lang = rules, lang
        self._han = lang == "zh"

    @property
    def vocabulary(self) -> frozenset[str]:
        """Words that a sentence may hold beside facts: none that negates, none that names a level."""
        if self._han:
            return _HAN
        spoken = [r.why["en"] for r in self._rules.rules] + [p.why["en"] for p in self._rules.phrases]
        levels = {w["en"] for w in self._rules.levels.values()}
        return (_ENGLISH | frozenset(w for s in spoken for w in _WORD.findall(s.lower()))) - NEGATIONS - levels

    def label(self, rule: Rule) -> str:
        """A ratio's name, as a sentence begins."""
        name = rule.ratio.label[self._lang]
        return name if self._han else name[:1].upper() + name[1:]

    def finding(self, found: Finding) -> Statement:
        """What a threshold rule found; must be said unless the level is low."""
        label = self.label(found.rule)
        figure = self._number(found.shown, found, label, found.path, found.derivation)
        level = self._level(found.level, found.rule.category, label, found.path)
        limit = found.rule.threshold(found.level)
        threshold = self._number(limit, found, label, f"rules.{found.rule.id}", "")
        reached = found.rule.above == (found.level != "low")
        when, facts = self._when(found, label)
        why = self.why(found.rule, label).text if found.level != "low" else ""
        if self._han:
            relation = "达到或超过" if reached else "低于"
            reason = f"，表明{why}" if why else ""
            text = f"{label}为{figure.text}{when}，{level.text}，{relation}阈值{threshold.text}{reason}。"
        else:
            relation, reason = "at or above" if reached else "below", f": {why}" if why else ""
            limit_text = f"being {relation} the threshold of {threshold.text}"
            text = f"{label}: {figure.text}{when}, {level.text}, {limit_text}{reason}."
        return Statement(
            rule=f"{found.rule.id}@{found.rule.version}",
            text=text,
            facts=(self._name(label, found.path), figure, *facts, level, threshold),
            must=found.level != "low",
            section=self._category(found.rule.category),
        )

    def factor(self, factor: Factor) -> Statement:
        """A risky sentence, quoted."""
        passage = factor.passage
        label = f"第{passage.number}句" if self._han else f"Passage {passage.number}"
        quote = self._name(factor.quote, passage.path, label)
        level = self._level(factor.level, factor.category, label, passage.path)
        why = self.why(factor.phrase, label) if factor.phrase else self._judged(label)
        facts = [self._name(label, passage.path), quote, level, why]
        chance = ""
        if factor.probability is not None:
            facts.append(
                Fact(
                    kind="number",
                    path=passage.path,
                    text=str(factor.probability),
                    value=factor.probability,
                    units=frozenset({""}),
                    cues=frozenset({label}),
                    derivation="probability by the classifier",
                )
            )
            chance = f"，概率为{factor.probability}" if self._han else f", with a probability of {factor.probability}"
        if self._han:
            text = f"{label}“{factor.quote}”，{level.text}{chance}，理由：{why.text}。"
        else:
            text = f'{label}, "{factor.quote}": {level.text}{chance}, since {why.text}.'
        return Statement(rule=factor.rule, text=text, facts=tuple(facts), section=self._category(factor.category))

    def why(self, rule: Rule | Phrase, label: str) -> Fact:
        """What a rule's level means, as a fact that stands after its label."""
        return self._name(rule.why[self._lang], f"rules.{rule.id}", label)

    def nothing_found(self) -> Statement:
        """No rule reached a threshold."""
        text = "各项规则均未达到中等及以上风险" if self._han else "No rule found a medium or high risk"
        return self._fixed("risk.none@1", text)

    def not_specified(self, lacking: Sequence[Rule]) -> Statement:
        """The ratios that an input lacks figures for."""
        names = dict.fromkeys(rule.ratio.label[self._lang] for rule in lacking)
        joined = "、".join(names) if self._han else ", ".join(names)
        return self._fixed(
            "risk.not-specified@1", f"未提供数据，不作判断：{joined}" if self._han else f"Not specified: {joined}"
        )

    def not_looked_at(self, unknown: Sequence[tuple[str, str]]) -> Statement:
        """Figures of names that no rule knows."""
        names = dict.fromkeys(name for name, _ in unknown)
        joined = "、".join(names) if self._han else ", ".join(names)
        text = f"无规则涉及：{joined}" if self._han else f"No rule looks at: {joined}"
        return self._fixed("risk.not-looked-at@1", text)

    def line(self, found: Finding) -> str:
        """A finding in a prompt."""
        return self.finding(found).text

    def quoted(self, factor: Factor) -> str:
        """A risky sentence in a prompt."""
        return self.factor(factor).text

    def _fixed(self, rule: str, text: str) -> Statement:
        """Wording that stands whole or not at all, as it holds a negation."""
        stop = "。" if self._han else "."
        return Statement(rule=rule, text=text + stop, facts=(Fact(kind="none", path=f"rules.{rule}", text=text),))

    def _judged(self, label: str) -> Fact:
        return self._name(self._rules.judged_why[self._lang], "rules.judge", label)

    def _category(self, category: str | None) -> str:
        return self._rules.categories[category][self._lang] if category else ""

    def _level(self, level: Level, category: str | None, label: str, path: str) -> Fact:
        """The level with its category: "high liquidity risk"."""
        name, word = self._category(category), self._rules.levels[level][self._lang]
        if self._han:
            text = f"{name or '风险'}等级为{word}" if name else f"风险等级为{word}（类别未定）"
        else:
            text = f"{word} {name}" if name else f"{word} risk of no category"
        return self._name(text, path, label)

    def _name(self, text: str, path: str, label: str = "") -> Fact:
        """A name; one with a label stands after it alone."""
        return Fact(kind="name", path=path, text=text, cues=frozenset({label}) if label else frozenset())

    def _number(self, value: Decimal, found: Finding, label: str, path: str, derivation: str) -> Fact:
        sign, shown = "-" if value < 0 else "", f"{abs(value):,f}"
        return Fact(
            kind="number",
            path=path,
            text=f"{sign}{shown}{'%' if found.rule.percent else ''}",
            value=value,
            units=frozenset({"%"}) if found.rule.percent else frozenset({""}),
            cues=frozenset({label}),
            derivation=derivation,
        )

    def _when(self, found: Finding, label: str) -> tuple[str, tuple[Fact, ...]]:
        """The period, or the days of what was counted."""
        if found.events:
            days = list(dict.fromkeys(e.day for e in found.events))[-_DAYS:]
            facts = tuple(self._date(d, next(e.path for e in found.events if e.day == d)) for d in days)
            return (f"（{'、'.join(days)}）" if self._han else f" ({', '.join(days)})"), facts
        if not found.period:
            return "", ()
        path = found.path.removesuffix(".value") + ".period"
        known = _YEAR.fullmatch(found.period) or _DATE.fullmatch(found.period)
        fact = self._date(found.period, path) if known else self._name(found.period, path, label)
        if _YEAR.fullmatch(found.period):
            return (f"（{found.period}年）" if self._han else f" in {found.period}"), (fact,)
        return (f"（{found.period}）" if self._han else f" ({found.period})"), (fact,)

    def _date(self, text: str, path: str) -> Fact:
        shared: dict[str, Any] = {"kind": "date", "text": text, "path": path}
        return Fact(**shared)
