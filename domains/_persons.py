"""Names of people in a text: those that the record itself gives, and those that a title or a label tells.

A known name counts in every order and case, with initials, alone or with others. A name that is a word too
("May", "Long") counts alone only where it is written as a name. Medical terms made of names ("Wilson's
disease") stay. What was found by a cue is looked for in the rest of the text as well.

>>> from domains._found import settle
>>> text = "COLLINS, Martha was seen by Dr. Okafor; Okafor agrees."
>>> [text[f.start:f.end] for f in settle(persons(text, [Person(family="Collins", given=("Martha",))]))]
['COLLINS, Martha', 'Okafor', 'Okafor']
>>> text = "患者王小明,男,45岁。王医生查房。"
>>> [text[f.start:f.end] for f in settle(persons(text, []))]
['王小明', '王']
"""

# A pattern stands on one line, however long: cut in two it can no longer be compared with its neighbours.
# ruff: noqa: E501

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from domains._found import HAN, Found
from domains._name_words import COMMON_GIVEN, COMPOUND, EPONYM_HEADS, NEVER, NEVER_HAN, SURNAMES, WORDS
from domains.base import Sensitive

__all__ = ["Person", "persons", "tokens"]

_WORD = re.compile(r"[A-Za-zÀ-ÖØ-öø-ÿĀ-ſ]+\d*(?:['-][A-Za-zÀ-ÿ]+)*")
_HAN = re.compile(f"[{HAN}]")
_CAP = r"(?:(?:Mc|Mac|O'|D'|De|Le|La)?[A-ZÀ-Þ][a-zß-ÿā-ž]+\d*(?:-[A-ZÀ-Þ][a-zß-ÿā-ž]+\d*)?)"
_ANY = rf"(?:{_CAP}|(?:[OD]')?[A-ZÀ-Þ]{{2,}}(?:[-'][A-ZÀ-Þ]{{2,}})*|[A-Z]\.)"
_PART = r"(?:(?:van|von|der|den|de|la|del|da|di|bin|ibn|al|el|ter)\s+)"
_NAME = rf"{_ANY}(?:[ \t]+{_PART}{{0,2}}{_ANY}){{0,3}}"
_LISTED = rf"(?:{_ANY}(?:[ \t]{_ANY})?,[ \t]*{_ANY}(?:[ \t]{_ANY})?|{_NAME})"
_CREDENTIALS = (
    r"(?:M\.?D\.?|D\.O\.?|DO|R\.?N\.?|N\.?P\.?|P\.?A\.?(?:-C)?|Ph\.?D\.?|FACS|FACP|MBBS|LPN|PharmD|DPM|DDS|FNP)\b"
)
_RELATIONS = (
    "wife|husband|son|daughter|mother|father|brother|sister|partner|friend|neighbou?r|caregiver|carer|roommate|"
    "fianc[eé]e?|spouse|grandson|granddaughter|niece|nephew|aunt|uncle|cousin|girlfriend|boyfriend|guardian"
)
_LABELS = (
    r"(?:patient(?:'s)?|full|first|last|family|given|maiden|preferred|legal)\s+name|name|next of kin|NOK|"
    r"emergency contact(?: person)?|contact person|"
    r"(?:attending|referring|primary|ordering|consulting|treating)(?: care)?(?: physician| provider| doctor| surgeon)|"
    r"(?:dictated|transcribed|(?:electronically )?signed|seen|reviewed|verified|authored) by|radiologist|pathologist|"
    r"ana?esthetist|anesthesiologist"
)
# In a conversation these stand before what somebody says, so a whole name must follow and end there.
_SPEAKERS = (
    "patient|pt|contact|PCP|GP|provider|physician|surgeon|doctor|attending|interpreter|cc|author|guardian|caregiver|spouse|"
    "nurse|mother|father|consultant|assistant"
)
_ENGLISH = tuple(
    (rule, re.compile(pattern, flags))
    for rule, pattern, flags in (
        ("name.title", rf"\b(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Professor|Doctor|Nurse|MR|MRS|MS|DR)\b\s?\.?\s+(?P<id>{_NAME})", 0),
        ("name.title", r"\b(?:mr\s?\.|(?:mrs|ms|dr)\s?\.?)\s(?P<id>[a-z]{2,})\b", 0),
        ("name.label", rf"(?<![\w-])(?i:{_LABELS})[ \t]*[:=][ \t]*(?:(?:Dr|Mr|Mrs|Ms|Miss)\.?[ \t]+)?(?P<id>{_LISTED})", 0),
        ("name.speaker", rf"(?<![\w-])(?i:{_SPEAKERS})[ \t]*[:=][ \t]*(?:(?:Dr|Mr|Mrs|Ms|Miss)\.?[ \t]+)?(?P<id>{_LISTED})(?=[ \t]*(?:\n|$|[;(]|,[ \t]*(?:\d|[a-z]|DOB|MRN|M\.?D)))", 0),
        ("name.relation", rf"\b(?:{_RELATIONS})(?:,| is| named| called)?\s+(?P<id>{_CAP}(?:[ \t]{_CAP})?)\b", 0),
        ("name.credentials", rf"(?P<id>{_CAP}(?:[ \t](?:[A-Z]\.|{_PART}?{_CAP})){{1,3}}),?[ \t]+{_CREDENTIALS}", 0),
        ("name.stated", rf"(?i:\bname(?: is|'s)| named| goes by)\s+(?P<id>{_NAME})", 0),
        ("name.stated", r"\b(?:my|his|her|patient's) name is (?P<id>[a-z]{3,})\b", 0),
    )
)  # fmt: skip
_FIRST = rf"(?:{'|'.join(COMPOUND)}|[{SURNAMES}])"
_REST = f"(?:(?![由请和与及的为是在于对向经到因示诉可无男女系])[{HAN}])"
_FULL = rf"(?:{_FIRST}{_REST}{{1,2}})"
_ROLES = (
    "患者|病人|产妇|患儿|联系人|紧急联系人|家属|监护人|陪护人?|陪同人?|代诉人|病史陈述者|供史者|主治医[师生]|主管医[师生]|住院医[师生]|"
    "(?:副)?主任医[师生]|经治医[师生]|接诊医[师生]|管床医[师生]|上级医[师生]|手术医[师生]|医[师生]|术者|主刀|手术者|第?[一二]助手?|"
    "麻醉医?师|责任护士|护士|记录者|记录人|书写者|报告医[师生]|报告者|审核医[师生]|审核者|检查者|检验者|录入者"
)
_TITLES = "先生|女士|小姐|太太|医生|医师|大夫|主任|副主任|教授|护士长|护士|院长|阿姨|大爷|大妈|奶奶|爷爷|同志|老师|药师|技师|师傅|某某|某"
_KIN = "儿子|女儿|妻子|丈夫|爱人|父亲|母亲|配偶|其子|其女|其妻|其夫|之子|之女|哥哥|弟弟|姐姐|妹妹|朋友|邻居|同事"
_CHINESE = tuple(
    (rule, re.compile(pattern))
    for rule, pattern in (
        ("name.zh-label", rf"(?:姓\s?名|签\s?[名字])\s*[:为是]\s*(?P<id>[{HAN}·]{{2,8}}?|{_NAME})(?=[\s,，。;、()]|性别|年龄|男|女|电话|日期|$)"),
        ("name.zh-label", rf"(?:{_ROLES})(?:姓名|签[名字])?\s*:\s*(?P<id>[{HAN}]{{2,4}}?|[{HAN}]+·[{HAN}·]+)(?=[\s,，。;、(]|性别|男|女|电话|医|主|$)"),
        ("name.zh-patient", rf"(?:患者|病人|患儿|产妇)(?P<id>{_FULL})(?=\s?[,、(]?\s?(?:男|女|\d{{1,3}}\s?岁)|系|因|于|[,，]?主诉|诉)"),
        ("name.zh-title", rf"(?<![主责上])(?P<id>{_FIRST}{_REST}{{0,2}}?)(?=(?:{_TITLES})(?![{HAN}]?炎))"),
        ("name.zh-kin", rf"(?:{_KIN})(?P<id>{_FULL}?)(?=[,，(:;。]|电话|陪|联系|代诉|签)"),
        ("name.zh-self", rf"(?:我叫|名叫|我是|叫做)(?P<id>{_FULL})(?=[,，。;]|$)"),
    )
)  # fmt: skip
_HEAD = re.compile(rf"(?:'s|')?\s+(?:{'|'.join(EPONYM_HEADS.split())})\b", re.IGNORECASE)
_GAP = re.compile(r"[ \t]*[,.'\-/]?[ \t]*\n?[ \t]*")
_INITIAL_BEFORE = re.compile(r"(?<![\w.-])(?:[A-Z]\.?[ \t]){1,2}$")
_INITIAL_AFTER = re.compile(r",?[ \t][A-Z]\.?(?![\w'])")
_TITLE_BEFORE = re.compile(r"\b(?:mr|mrs|ms|miss|dr|prof)\s?\.?\s*$", re.IGNORECASE)
_SENTENCE = re.compile(r"(?:^|[.!?:]\s+|\n\s*)$")
_SAYS = re.compile(
    r"(?:'s)?\s+(?:is|was|has|had|reports?|presents?|denies|states?|says|complains|returns|came|comes)\b"
)
_GREETING = re.compile(r"(?:\bhi|\bhello|\bhey|\bmorning|\bafternoon|\bevening|\bthanks|\bthank you)\s*,?\s*$")
_VOCATIVE = re.compile(r"(?:^|[,.?!\]]|\bso|\bokay|\bwell)\s*$")


@dataclass(frozen=True, kw_only=True, repr=False)
class Person(Sensitive):
    """Somebody whom a record names, as its fields have it."""

    family: str = ""
    given: tuple[str, ...] = ()
    other: tuple[str, ...] = ()
    """Full names in other wordings, such as before marriage or in another script."""


def tokens(name: str) -> frozenset[str]:
    """The parts of a name by which two mentions are known to be of one person, lower case."""
    han = "".join(_HAN.findall(name))
    if not han:
        return frozenset(w.lower().rstrip("0123456789") for w in _WORD.findall(name) if len(w) > 1)
    if "·" in name:
        return frozenset({name, *name.split("·")})
    family = han[:2] if han.startswith(COMPOUND) and len(han) > 2 else han[:1]
    return frozenset({han, family, han[len(family) :]} - {""})


def persons(text: str, known: Iterable[Person]) -> list[Found]:
    """Every name in a folded text, known ones first; overlaps are the caller's to settle."""
    known = tuple(known)
    parts, wholes = _parts(known)
    found = [*_latin(text, parts, "name.record", 0), *_han(text, wholes, "name.record")]
    cued = list(_cued(text))
    again = {w for f in cued for w in _WORD.findall(text[f.start : f.end]) if len(w) > 2 and w.lower() not in NEVER}
    full = {text[f.start : f.end] for f in cued if _HAN.match(text[f.start])}
    more = {w.lower() for w in again} - parts
    found += cued
    found += [f for f in _latin(text, more, "name.again", 2) if text[f.start : f.start + 1].isupper()]
    found += _han(text, {n for n in full if len(n) > 1}, "name.again")
    return found


def _parts(known: Iterable[Person]) -> tuple[set[str], set[str]]:
    """All names in Latin letters, part by part in lower case; all Chinese names in whole forms."""
    latin: set[str] = set()
    han: set[str] = set()
    for person in known:
        given = "".join(person.given)
        whole = person.family + given if _HAN.search(person.family + given) else ""
        for name in (person.family, *person.given, *person.other, whole):
            if not _HAN.search(name):
                words = [w for w in _WORD.findall(name) if len(w) > 1]
                latin |= {w.lower() for w in words} | {w.lower().rstrip("0123456789") for w in words}
        texts = {whole, *(n for n in person.other if _HAN.search(n))} - {""}
        for text in texts:
            family = person.family or next((c for c in COMPOUND if text.startswith(c)), text[:1])
            rest = text.removeprefix(family)
            han |= {t for t in (text, rest) if len(t) > 1 and t[:2] not in NEVER_HAN}
            han |= {f"{family}\x00"}
    return latin - {"mr", "mrs", "ms", "dr", "jr", "sr", "ii", "iii"}, han


def _latin(text: str, parts: set[str], rule: str, rank: int) -> Iterator[Found]:
    """Runs of known parts: "Martha Collins", "COLLINS, M.", "collins"."""
    if not parts:
        return
    hits = [m for m in _WORD.finditer(text) if _bare(m.group()) in parts]
    plain = not any(c.isupper() for c in text)
    i = 0
    while i < len(hits):
        j = i
        while j + 1 < len(hits) and _GAP.fullmatch(text[hits[j].end() : hits[j + 1].start()]):
            j += 1
        run = hits[i : j + 1]
        start, end = run[0].start(), run[-1].end()
        if text[:end].endswith("'s"):
            end -= 2
        weak = all(_bare(m.group()) in WORDS for m in run)
        if (len({_bare(m.group()) for m in run}) > 1 or not weak or _named(text, start, end, plain)) and not (
            len(run) == 1 and _HEAD.match(text, end)
        ):
            if before := _INITIAL_BEFORE.search(text, max(0, start - 8), start):
                start = before.start()
            if after := _INITIAL_AFTER.match(text, end):
                end = after.end()
            yield Found(kind="NAME", start=start, end=end, rule=rule, rank=rank)
        i = j + 1


def _bare(word: str) -> str:
    return word.lower().removesuffix("'s")


def _named(text: str, start: int, end: int, plain: bool) -> bool:
    """Whether a word that may be a name is written as one here."""
    if _TITLE_BEFORE.search(text, max(0, start - 10), start):
        return True
    if plain:
        if _GREETING.search(text, max(0, start - 12), start):
            return True
        return bool(_VOCATIVE.search(text, max(0, start - 12), start)) and bool(re.match(r"\s*[,.?!]", text[end:]))
    if not text[start].isupper() or text[start:end].isupper():
        return False
    if re.search(r"\d\s*$", text[max(0, start - 3) : start]) or re.match(r"\s+\d", text[end:]):
        return False
    first = _SENTENCE.search(text, max(0, start - 6), start) or start == 0
    return not first or bool(_SAYS.match(text, end))


def _han(text: str, names: set[str], rule: str) -> Iterator[Found]:
    """Chinese names as they stand, also with a space inside; a family name alone before a title."""
    for name in names:
        if name.endswith("\x00"):
            pattern = re.compile(rf"{re.escape(name[:-1])}(?=(?:{_TITLES}))")
        else:
            pattern = re.compile(r"[ \u3000]?".join(map(re.escape, name)))
        for m in pattern.finditer(text):
            yield Found(kind="NAME", start=m.start(), end=m.end(), rule=rule, rank=0)


def _cued(text: str) -> Iterator[Found]:
    """Names that a title, a label, a relation or a common given name tells."""
    for rule, pattern in _ENGLISH:
        for m in pattern.finditer(text):
            if span := _trim(text, *m.span("id"), rule):
                yield Found(kind="NAME", start=span[0], end=span[1], rule=rule)
    for m in re.finditer(rf"(?<![\w-])(?P<id>{_CAP}(?:[ \t](?:[A-Z]\.?|{_PART}?{_CAP})){{1,3}})(?![\w-])", text):
        if m.group().split()[0].lower() in COMMON_GIVEN and (span := _trim(text, *m.span(), "name.given")):
            yield Found(kind="NAME", start=span[0], end=span[1], rule="name.given")
    for rule, pattern in _CHINESE:
        for m in pattern.finditer(text):
            if m.group("id")[:2] not in NEVER_HAN:
                yield Found(kind="NAME", start=m.start("id"), end=m.end("id"), rule=rule)


def _trim(text: str, start: int, end: int, rule: str) -> tuple[int, int] | None:
    """A name up to the first word that is none; None where nothing is left of it."""
    if _HAN.match(text[start]):
        return start, end
    last = start
    for m in _WORD.finditer(text, start, end):
        if m.group().lower() in NEVER or (
            rule not in ("name.label", "name.title") and m.group().isupper() and len(m.group()) > 1
        ):
            break
        last = m.end()
    words = len([w for w in _WORD.findall(text[start:last]) if len(w) > 1])
    if words == 0 or (rule in ("name.credentials", "name.given", "name.speaker") and words < 2):
        return None
    alone = words == 1 and (
        _HEAD.match(text, last) or (rule not in ("name.title", "name.relation") and text[start:last].lower() in WORDS)
    )
    return None if alone else (start, last)
