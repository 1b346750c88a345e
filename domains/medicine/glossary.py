"""Terms of the clinic found in a text, each with the plain words that may stand in its place.

Terms are found longest first, in every number and tense that the tables give or English forms by rule. A term
within a name ("Pulmonary Associates") or within a fixed name of a disease ("multiple sclerosis") is left alone.
Abbreviations count as they are written; those of dosing (bid) in lower case only after a figure.

>>> [(u.term, u.plain, u.entry) for u in find("Has HTN, nodules; 5 mg BID.", "en")]
[('HTN', 'high blood pressure', 'en.htn'), ('nodules', 'small lumps', 'en.nodule'), ('BID', 'twice a day', 'en.bid')]
>>> reworded("An edematous left leg; dyspnea.", "en")
'A swollen left leg; trouble breathing.'
>>> bracketed("患者心悸。", "zh")
'患者心悸（心慌）。'
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from domains.base import Language, Sensitive
from domains.medicine import _glossary_en as en
from domains.medicine import _glossary_zh as zh

__all__ = ["Entry", "Use", "bracketed", "entries", "find", "replaced", "reworded"]

_HOURS = re.compile(r"\bq\.?\s?(\d+)\s?(?:h|hr|hrs|hours?)\b\.?", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z]+(?:'[a-z]+)?")
_HAN = r"\u3400-\u9fff"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A term of the glossary and its plain words; `absent` where it says that something is not there."""

    name: str
    terms: tuple[str, ...]
    plain: tuple[str, ...]
    """One wording; or one for each term, or one for the plural after it."""
    absent: bool
    table: str


@dataclass(frozen=True, kw_only=True, repr=False)
class Use(Sensitive):
    """A term where it stands in a text."""

    start: int
    end: int
    term: str
    plain: str
    entry: str
    """Its name in the glossary, such as "en.dyspnea"."""


def entries(lang: Language) -> tuple[Entry, ...]:
    """Every entry of a language."""
    if lang == "zh":
        tables = {"terms": zh.HAN_TERMS, "dosing": zh.HAN_DOSING}
    else:
        tables = {
            "nouns": en.NOUNS,
            "phrases": en.PHRASES,
            "verbs": en.VERBS,
            "abbreviations": en.ABBREVIATIONS,
            "dosing": en.DOSING,
        }
    return tuple(_entry(line, table, lang) for table, text in tables.items() for line in text.strip().splitlines())


def _entry(line: str, table: str, lang: Language) -> Entry:
    left, right = line.removeprefix("!").split(" = ")
    terms = tuple(left.split(", "))
    plain = tuple(right.split(", ")) if table == "verbs" else tuple(right.split(" | "))
    name = re.sub(r"[^\w]+", "-", terms[0].lower()).strip("-")
    return Entry(name=f"{lang}.{name}", terms=terms, plain=plain, absent=line.startswith("!"), table=table)


def find(text: str, lang: Language) -> tuple[Use, ...]:
    """The terms of a text in order, none within another."""
    found = sorted(_matches(text, lang), key=lambda u: (u.start, -u.end))
    out: list[Use] = []
    for use in found:
        if not out or use.start >= out[-1].end:
            out.append(use)
    return tuple(u for u in out if u.plain and not (lang == "en" and _is_name(text, u)))


def _matches(text: str, lang: Language) -> Iterator[Use]:
    """Every match; a fixed name has no plain words."""
    words, exact, dosing, pattern, exact_pattern = _tables(lang)
    for m in pattern.finditer(text):
        plain, name = words[m.group().lower()]
        yield Use(start=m.start(), end=m.end(), term=m.group(), plain=_cased(m.group(), plain), entry=name)
    for m in exact_pattern.finditer(text):
        plain, name = exact.get(m.group()) or dosing.get(m.group().lower(), ("", ""))
        loose = m.group() not in exact
        if loose and m.group().islower() and "." not in m.group() and not re.search(r"\d", text[: m.start()]):
            continue
        if plain:
            first = lang == "en" and not re.search(r"\w", text[: m.start()])
            plain = plain[:1].upper() + plain[1:] if first else plain
            yield Use(start=m.start(), end=m.end(), term=m.group(), plain=plain, entry=name)
    for m in _HOURS.finditer(text) if lang == "en" else ():
        yield Use(start=m.start(), end=m.end(), term=m.group(), plain=f"every {m.group(1)} hours", entry="en.hourly")


_Table = dict[str, tuple[str, str]]


@cache
def _tables(lang: Language) -> tuple[_Table, _Table, _Table, re.Pattern[str], re.Pattern[str]]:
    """Words in any case, abbreviations as written, those of dosing in lower case, and a pattern for each kind."""
    words: _Table = {}
    exact: _Table = {}
    dosing: _Table = {}
    for entry in entries(lang):
        for i, term in enumerate(entry.terms):
            plain = entry.plain[i] if entry.table == "verbs" else entry.plain[0]
            if entry.table == "abbreviations":
                exact[term] = plain, entry.name
            elif entry.table == "dosing":
                dosing[term.lower()] = plain, entry.name
            else:
                words[term.lower()] = plain, entry.name
            if entry.table == "nouns":
                for plural in _plurals(term.lower()):
                    words.setdefault(plural, (entry.plain[-1], entry.name))
    for kept in (zh.HAN_KEPT if lang == "zh" else en.KEPT).strip().splitlines():
        words[kept.lower()] = "", ""
    edge = ("", "") if lang == "zh" else (r"(?<![\w-])", r"(?![\w-])(?!'\w)")
    latin = (r"(?<![A-Za-z])", r"(?![A-Za-z])") if lang == "zh" else edge
    return words, exact, dosing, _pattern(words, *edge), _pattern({**exact, **dosing}, *latin)


def _pattern(terms: _Table, left: str, right: str) -> re.Pattern[str]:
    ordered = sorted(terms, key=lambda t: (-len(t), t))
    return re.compile(f"{left}(?:{'|'.join(re.escape(t) for t in ordered)}){right}", re.IGNORECASE)


def _plurals(noun: str) -> Iterator[str]:
    """Every plural that a medical noun may have; one that is no word matches nothing."""
    for end, plural in (("sis", "ses"), ("us", "i"), ("um", "a"), ("ma", "mata"), ("ex", "ices"), ("y", "ies")):
        if noun.endswith(end):
            yield noun.removesuffix(end) + plural
    yield noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


def _cased(term: str, plain: str) -> str:
    """Capitals as the term has them."""
    if len(term) > 4 and term.isupper():
        return plain.upper()
    return plain[:1].upper() + plain[1:] if term[:1].isupper() else plain


def _is_name(text: str, use: Use) -> bool:
    """Whether a capital in mid-sentence, with another beside it, makes the term part of a name."""
    if not use.term[:1].isupper() or use.term.isupper() or not use.term[1:2].islower():
        return False
    before, after = text[: use.start].rstrip(), text[use.end :].lstrip()
    beside = [_WORD.findall(before)[-1:], _WORD.findall(after[:40])[:1]]
    starts = not before or before[-1] in ".:;!?-•*)"
    near = [w[0] for w, side in zip(beside, (before[-1:].isalpha(), after[:1].isalpha()), strict=True) if w and side]
    return not starts and any(w[:1].isupper() and not w.isupper() for w in near)


def replaced(text: str, uses: tuple[Use, ...], lang: Language) -> tuple[str, list[tuple[int, int]]]:
    """Each term replaced by its plain words, and where these stand. In English "a" and "an" follow them."""
    out, spans, position = "", [], 0
    for use in uses:
        out += text[position : use.start]
        if lang == "en" and (article := re.search(r"\b([Aa])n?(\s+)$", out)):
            joint = "n" if use.plain[:1].lower() in "aeiou" else ""
            out = out[: article.start()] + article.group(1) + joint + article.group(2)
        elif lang == "zh" and re.match(rf"[{_HAN}]", use.plain) and re.search(rf"[{_HAN}] $", out):
            out = out.rstrip()
        spans.append((len(out), len(out) + len(use.plain)))
        out, position = out + use.plain, use.end
        # "prognosis (likely outcome)" needs its bracket no longer.
        said = re.match(rf"\s?[(（]{re.escape(use.plain)}[)）]", text[position:], re.IGNORECASE)
        position += said.end() if said else 0
    return out + text[position:], spans


def reworded(text: str, lang: Language) -> str:
    """A text with the plain words in place of the terms."""
    return replaced(text, find(text, lang), lang)[0]


def bracketed(text: str, lang: Language) -> str:
    """A text as it is, with the plain words in brackets after the terms; none that hold a figure or negation."""
    out, position = "", 0
    dosing = {e.name for e in entries(lang) if e.table == "dosing" or e.absent} | {"en.hourly"}
    for use in find(text, lang):
        if use.entry not in dosing:
            gloss = f"（{use.plain}）" if lang == "zh" else f" ({use.plain})"
            out, position = out + text[position : use.end] + gloss, use.end
    return out + text[position:]
