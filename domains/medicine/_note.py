"""What a note of a visit must say, statement by statement, in English or Chinese, with the facts in each.

A drug's dose belongs to that drug, a figure to its own sign; whatever carries a negation, a doubt or an end is
one phrase, so that no other sentence can say it without.

>>> from domains.medicine.synthetic import records
>>> from domains.medicine.visit import visits
>>> bundle = next(records("riverside", 1, seed=1))["bundle"]
>>> [s.rule for s in statements(visits(bundle)[0])][:2], statements(visits(bundle, "zh")[0])[1].text[:3]
(['record.date', 'record.opening'], '患者为')
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from domains._lexicon import UNITS
from domains.base import Fact, Statement
from domains.medicine._drugs import Medication
from domains.medicine._labels import noun
from domains.medicine._values import Speech, plain_number
from domains.medicine._words import acts
from domains.medicine.visit import Entry, Item, Visit, Vital

__all__ = ["forbidden", "lower", "person", "phrase", "statements", "upper", "vital_words", "who"]

_PERSONS: Mapping[tuple[str, str], tuple[str, str]] = {
    ("female", "adult"): ("woman", "女性"),
    ("male", "adult"): ("man", "男性"),
    ("female", "child"): ("girl", "女童"),
    ("male", "child"): ("boy", "男童"),
}
_ALSO_SEX = {
    ("female", "en"): ("woman", "girl", "female", "lady", "she", "her"),
    ("male", "en"): ("man", "boy", "male", "gentleman", "he", "his", "him"),
    ("female", "zh"): ("女性", "女童", "女", "女士", "她"),
    ("male", "zh"): ("男性", "男童", "男", "先生", "他"),
}
_CUES = {
    "BP": ("BP", "blood pressure"),
    "heart rate": ("heart rate", "HR", "pulse"),
    "respiratory rate": ("respiratory rate", "RR"),
    "temperature": ("temperature", "temp"),
    "SpO2": ("SpO2", "oxygen saturation", "saturation", "sats"),
    "weight": ("weight", "weighs"),
    "height": ("height",),
    "BMI": ("BMI", "body mass index"),
    "HbA1c": ("HbA1c",),
}
_CUES_ZH = {
    "BP": ("血压", "BP"),
    "heart rate": ("心率", "脉搏", "脉率"),
    "respiratory rate": ("呼吸频率", "呼吸"),
    "temperature": ("体温",),
    "SpO2": ("血氧饱和度", "SpO2"),
    "weight": ("体重",),
    "height": ("身高",),
    "BMI": ("体重指数", "BMI"),
    "HbA1c": ("糖化血红蛋白", "HbA1c"),
}
_ALLERGY = ("allergic", "allergy", "allergies")
_ALLERGY_ZH = ("过敏",)
_NO_ALLERGIES = ("no known allergies", "no known allergy", "no known drug allergies", "nkda", "no allergies")
_NO_ALLERGIES_ZH = ("无已知过敏", "无过敏史", "否认过敏史", "无药物过敏史", "否认药物过敏史", "未发现过敏")
_ALSO_OFTEN = {
    "daily": ("once daily", "once a day", "every day", "per day", "a day"),
    "twice daily": ("twice a day", "two times daily", "two times a day", "bid"),
    "three times daily": ("three times a day", "thrice daily", "tid"),
    "four times daily": ("four times a day", "qid"),
    "weekly": ("once weekly", "once a week", "every week"),
    "twice weekly": ("twice a week",),
    "monthly": ("once monthly", "once a month"),
}
_ABSENT = ("no allergies are recorded", "未记录过敏情况")
_TITLES: Mapping[str, tuple[str, str]] = {
    "problem": ("Problems", "诊断"),
    "procedure": ("Procedures done", "已行操作"),
    "vaccine": ("Vaccines given", "已接种疫苗"),
    "plan": ("Plan", "计划"),
    "allergy": ("Allergic to", "过敏"),
    "drug": ("Prescribed", "处方"),
    "taken": ("Takes", "服用"),
    "past": ("Past problem", "既往问题"),
    "reason": ("Reason for the visit", "就诊原因"),
}
_ALSO_REASON = ("seen for {}", "visit for {}", "comes because of {}")


def statements(visit: Visit) -> list[Statement]:
    """Everything that must be said, in the order in which notes say it."""
    zh = visit.lang == "zh"
    out = [
        *_opening(visit),
        *_kind(visit),
        *(_entry(e, zh) for e in visit.entries if e.kind in ("reason", "encounter", "social", "deceased", "history")),
        *_allergies(visit, zh),
        *(_drug(d, zh) for d in visit.drugs if d.taken),
        *(_vital(v, zh) for v in visit.vitals),
        *_listed("problem", visit.problems, zh),
        *(_drug(d, zh) for d in visit.drugs if not d.taken),
        *_listed("procedure", visit.procedures, zh),
        *_listed("vaccine", visit.vaccines, zh),
        *(_one("plan", p, zh) for p in visit.plans),
    ]
    said = {"reason", "encounter", "social", "deceased", "history", "allergy"}
    return out + [_entry(e, zh) for e in visit.entries if e.kind not in said]


def forbidden(visit: Visit) -> tuple[str, ...]:
    """Phrases that contradict the input."""
    if visit.no_allergies and not visit.allergies:
        return ()
    return _NO_ALLERGIES_ZH if visit.lang == "zh" else _NO_ALLERGIES


def lower(text: str) -> str:
    """Lower case at the start, unless the word is an abbreviation."""
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def upper(text: str) -> str:
    """Upper case at the start."""
    return text[:1].upper() + text[1:]


def person(visit: Visit) -> str:
    """The patient in one word."""
    young = visit.age is not None and (visit.age[1] == "month" or visit.age[0] < 18)
    zh = visit.lang == "zh"
    return _PERSONS.get((visit.sex, "child" if young else "adult"), ("patient", "患者"))[zh]


def who(visit: Visit) -> str:
    """The patient with the age."""
    if visit.age is None:
        return person(visit)
    if visit.lang == "zh":
        return f"{visit.age[0]}{'岁' if visit.age[1] == 'year' else '个月'}{person(visit)}"
    return f"{visit.age[0]}-{visit.age[1]}-old {person(visit)}"


def vital_words(vital: Vital, zh: bool = False) -> str:
    """A vital sign with its figure and unit."""
    name = _CUES_ZH[vital.name][0] if zh else vital.name
    unit = "次/分" if zh and vital.unit == "/min" else vital.unit
    second = f"/{plain_number(vital.second)}" if vital.second is not None else ""
    gap = "" if unit in ("%", "/min", "次/分") else " "
    return f"{name} {plain_number(vital.value)}{second}{gap}{unit}"


def phrase(drug: Medication, zh: bool = False) -> str:
    """A drug with all that is stated of it."""
    if drug.whole:
        return drug.whole
    stop = "，" if zh else " "
    parts = [drug.name if zh else lower(drug.name)]
    if drug.amount is not None:
        gap = "" if zh and not drug.unit.isascii() else " "
        parts[0] += f" {plain_number(drug.amount)}{gap}{drug.unit}"
        parts.append(drug.frequency)
        parts += ["必要时" if zh else "as needed"] if drug.as_needed else []
        parts += [drug.instruction] if drug.instruction else []
    elif drug.instruction:
        parts.append(f"（{drug.instruction}）" if zh else f"({drug.instruction})")
    text = stop.join(parts)
    return (f"{text}（{drug.more}）" if zh else f"{text} ({drug.more})") if drug.more else text


def _named(text: str, path: str, kind: str = "", *, zh: bool = False, **more: Any) -> Fact:
    """A fact in words, with the words that may stand beside one of its kind."""
    return Fact(kind="name", text=text, path=path, beside=acts(kind, "zh" if zh else "en"), **more)


def _joined(items: Sequence[str], zh: bool) -> str:
    if zh:
        return "、".join(items)
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _sentence(kind: str, body: str, zh: bool) -> str:
    title = _TITLES[kind][zh]
    if zh:
        return f"{title}：{body}。"
    return f"{title} {body}." if kind in ("allergy", "drug", "taken") else f"{title}: {body}."


def _opening(visit: Visit) -> list[Statement]:
    """The day, then who it is."""
    zh = visit.lang == "zh"
    out = []
    if visit.day is not None:
        fact = Fact(kind="date", text=visit.day.isoformat(), path=visit.paths["day"])
        day = Speech(visit.lang).day(visit.day.isoformat())
        out.append(
            Statement(rule="record.date", text=f"就诊日期：{day}。" if zh else f"Visit of {day}.", facts=(fact,))
        )
    facts: list[Fact] = []
    if visit.age is not None:
        facts.append(
            Fact(
                kind="number",
                text=str(visit.age[0]),
                path=visit.paths["age"],
                value=Decimal(visit.age[0]),
                units=frozenset(
                    {visit.age[1], "岁" if visit.age[1] == "year" else "个月"} if zh else {"", visit.age[1]}
                ),
                cues=frozenset({"年龄"} if zh else {"aged", "age"}),
                derivation="encounter date - birth date",
            )
        )
    if (visit.sex, visit.lang) in _ALSO_SEX:
        facts.append(_named(person(visit), visit.paths["sex"], also=_ALSO_SEX[visit.sex, visit.lang]))
    if facts:
        text = who(visit)
        article = "An" if re.match(r"8|11-|18-", text) else "A"
        text = f"患者为{text}。" if zh else f"{article} {text}."
        out.append(Statement(rule="record.opening", text=text, facts=tuple(facts)))
    return out


def _kind(visit: Visit) -> list[Statement]:
    if not visit.kind:
        return []
    text = f"就诊类型：{visit.kind}。" if visit.lang == "zh" else f"Type of visit: {lower(visit.kind)}."
    return [Statement(rule="record.encounter", text=text, facts=(_named(visit.kind, visit.paths["kind"]),))]


def _listed(kind: str, items: Sequence[Item], zh: bool) -> list[Statement]:
    """Statements of at most three items each."""
    return [
        Statement(
            rule=f"record.{kind}",
            text=_sentence(kind, _joined([i.text if zh else lower(i.text) for i in items[n : n + 3]], zh), zh),
            facts=tuple(_named(i.text, i.path, kind, zh=zh) for i in items[n : n + 3]),
        )
        for n in range(0, len(items), 3)
    ]


def _one(kind: str, item: Item, zh: bool) -> Statement:
    fact = _named(item.text, item.path, kind, zh=zh)
    return Statement(rule=f"record.{kind}", text=_sentence(kind, item.text, zh), facts=(fact,))


def _entry(entry: Entry, zh: bool) -> Statement:
    """An entry as one phrase; only a title that cannot mislead stands before it."""
    rule = f"record.{entry.kind}"
    if entry.kind == "reason":
        title = _TITLES["reason"][zh]
        text = f"{title}：{entry.text}" if zh else f"{title}: {lower(entry.text)}"
        also = () if zh else tuple(a.format(entry.text) for a in _ALSO_REASON)
        return Statement(rule=rule, text=_stopped(text, zh), facts=(_named(text, entry.path, also=also),))
    if entry.kind == "social":
        also = _also_social(entry.text)
        return Statement(rule=rule, text=_stopped(entry.text, zh), facts=(_named(entry.text, entry.path, also=also),))
    titled = entry.kind in ("past", "taken", "drug") and not _names_type(entry.text, zh)
    measured = entry.kind in ("finding", "report")
    said = "measured" if measured else entry.kind if titled else ""
    fact = _named(entry.text, entry.path, said, zh=zh, drug=entry.kind in ("drug", "taken"))
    text = _sentence(entry.kind, entry.text, zh) if titled else _stopped(entry.text, zh)
    return Statement(rule=rule, text=text, facts=(fact,))


def _names_type(text: str, zh: bool) -> bool:
    """Whether a phrase begins with the type of its resource, and so needs no title."""
    kinds = ("MedicationRequest", "MedicationStatement")
    return text.lower().startswith(tuple(noun(k, "zh" if zh else "en").lower() for k in kinds))


def _also_social(text: str) -> tuple[str, ...]:
    """ "Marital status: married" may be said as "is married"."""
    title, _, value = text.partition(": ")
    return (f"is {value.lower()}",) if title == "marital status" and " " not in value else ()


def _stopped(text: str, zh: bool) -> str:
    return f"{text}。" if zh else f"{upper(text)}."


def _vital(vital: Vital, zh: bool) -> Statement:
    text = vital_words(vital, zh)
    more = {"次/分"} if zh and vital.unit == "/min" else set()
    fact = Fact(
        kind="number",
        text=text,
        path=vital.path,
        value=vital.value,
        second=vital.second,
        units=frozenset({"", vital.unit.lower(), *more}),
        cues=frozenset((_CUES_ZH if zh else _CUES)[vital.name]),
        beside=acts("measured", "zh" if zh else "en"),
    )
    return Statement(rule="record.vital", text=_stopped(text, zh), facts=(fact,))


def _drug(drug: Medication, zh: bool) -> Statement:
    """The drug by name; its dose and frequency belong to it and to no other."""
    plain = re.split(r"\s+\d", drug.name, maxsplit=1)[0]
    names = (drug.name, plain) if plain else (drug.name,)
    kind = "taken" if drug.taken else "drug"
    needed = [_named(drug.name, drug.path, kind, zh=zh, also=names[1:], drug=True)]
    place = f"{drug.path}.{'dosage' if drug.taken else 'dosageInstruction'}[0]"
    if drug.amount is not None:
        also = _ALSO_OFTEN.get(drug.frequency, ())
        needed.append(_dose(drug.amount, drug.unit if zh else drug.unit.lower(), names, f"{place}.doseAndRate[0]"))
        needed.append(_named(drug.frequency, f"{place}.timing", also=also, subject=names))
        if drug.as_needed:
            text = "必要时" if zh else "as needed"
            needed.append(_named(text, f"{place}.asNeededBoolean", subject=names))
    if drug.instruction:
        needed.append(_named(drug.instruction, f"{place}.text", subject=names))
    if drug.more:
        needed.append(_named(drug.more, drug.path, subject=names))
    return Statement(rule=f"record.{kind}", text=_sentence(kind, phrase(drug, zh), zh), facts=tuple(needed))


def _dose(value: Decimal, unit: str, names: tuple[str, ...], path: str) -> Fact:
    """A dose; one in a unit of the bundle's own, such as "vagtab", may be said only in its own words."""
    text = f"{plain_number(value)}{'' if not unit.isascii() else ' '}{unit}"
    if unit.lower() not in UNITS:
        return _named(text, path, subject=names)
    return Fact(kind="number", text=text, path=path, value=value, units=frozenset({UNITS[unit.lower()]}), subject=names)


def _allergies(visit: Visit, zh: bool) -> list[Statement]:
    """Allergies, or that none is known, or that none is recorded: three different things."""
    rule = "record.allergy"
    others = [_entry(e, zh) for e in visit.entries if e.kind == "allergy"]
    if visit.allergies:
        cues = frozenset(_ALLERGY_ZH if zh else _ALLERGY)
        plain = [a for a in visit.allergies if not a.text.endswith((")", "）"))]
        groups = [plain] * bool(plain) + [[a] for a in visit.allergies if a not in plain]
        return [
            *(
                Statement(
                    rule=rule,
                    text=_sentence("allergy", _joined([a.text if zh else lower(a.text) for a in group], zh), zh),
                    facts=tuple(_named(a.text, a.path, "allergy", zh=zh, cues=cues) for a in group),
                )
                for group in groups
            ),
            *others,
        ]
    if visit.no_allergies:
        none, path = visit.no_allergies.text, visit.no_allergies.path
        if none:
            fact = Fact(kind="none", text=none, path=path)
            return [Statement(rule=rule, text=_stopped(none, zh), facts=(fact,)), *others]
        also = _NO_ALLERGIES_ZH if zh else _NO_ALLERGIES
        fact = Fact(kind="none", text=also[0], also=also, path=path)
        return [Statement(rule=rule, text=_stopped(also[0], zh), facts=(fact,)), *others]
    if others:
        return others
    fact = Fact(kind="none", text=_ABSENT[zh], path="Bundle.entry (no AllergyIntolerance)")
    return [Statement(rule=rule, text=_stopped(_ABSENT[zh], zh), facts=(fact,))]
