"""What a sentence states that no rewording may change: figures, units, dates, negations and sides, in order.

It reads a sentence by itself and knows nothing of how another was made from it, so that comparing the two is a
check. What means the same is read as the same: "BID" and "twice a day", "afebrile" and "without fever".

>>> stated("Afebrile, 5 mg BID for left knee pain.", "en")
('not', '5 mg', '2/day', 'left')
>>> stated("Without fever, 5 mg twice a day for left knee pain.", "en")
('not', '5 mg', '2/day', 'left')
>>> stated("左侧疼痛，无发热，5mg bid", "zh") == stated("左边疼痛，没有发热，5mg每天两次", "zh")
True
"""

import re

from domains._figures import HELD, Figure, When, dates, normalise, numbers
from domains._han import HAN_NEGATIONS
from domains._han_figures import han_dates, han_normalise, han_numbers
from domains._lexicon import NEGATIONS
from domains.base import Language

__all__ = ["stated"]

_NOT = NEGATIONS | frozenset(
    """afebrile anicteric asymptomatic atraumatic nondistended noncontributory nonproductive nonsmoker nontender
    normotensive nkda npo nad""".split()  # noqa: SIM905
)
_DAILY = {"once": "1/day", "twice": "2/day", "three times": "3/day", "four times": "4/day"}
_OFTEN = {
    "en": [
        (r"q\.?\s?o\.?\s?d\b\.?|every other day", "1/2 days"),
        (r"b\.?i\.?d\b\.?", "2/day"),
        (r"t\.?i\.?d\b\.?", "3/day"),
        (r"q\.?i\.?d\b\.?", "4/day"),
        (r"q\.?h\.?s\b\.?|every night at bedtime", "night"),
        (r"qam\b|every morning", "morning"),
        (r"qpm\b|every evening", "evening"),
        (r"q\.?d\b\.?|every day|once daily|once a day|daily", "1/day"),
        (r"(twice|three times|four times) (?:daily|a day|per day)", ""),
        (r"(?:q\.?\s?|every )(\d+)\s?(?:h|hr|hrs|hours?)\b\.?", "hours"),
    ],
    "zh": [
        (r"(?<![a-z])q\.?o\.?d(?![a-z])|隔[天日][一1]次", "1/2 days"),
        (r"(?<![a-z])b\.?i\.?d(?![a-z])\.?|每[天日][两二2]次", "2/day"),
        (r"(?<![a-z])t\.?i\.?d(?![a-z])\.?|每[天日][三3]次", "3/day"),
        (r"(?<![a-z])q\.?i\.?d(?![a-z])\.?|每[天日][四4]次", "4/day"),
        (r"(?<![a-z])q\.?d(?![a-z])\.?|每[天日][一1]次", "1/day"),
    ],
}
_EDGE = {"en": r"(?<![\w-])", "zh": ""}
_PATTERNS = {
    lang: [(re.compile(_EDGE[lang] + f"(?:{p})", re.IGNORECASE), name) for p, name in rules]
    for lang, rules in _OFTEN.items()
}
_SIDES = {
    "en": re.compile(
        r"\b(?:(?P<both>bilateral(?:ly)?|left and right|both sides|CTAB)|(?P<left>left|LLE|LUE|LLQ|LUQ)|"
        r"(?P<right>right|RLE|RUE|RLQ|RUQ))\b",
        re.IGNORECASE,
    ),
    "zh": re.compile(r"(?P<both>双侧|两侧|双|左边和右边|左右)|(?P<left>左)|(?P<right>右)"),
}
_LAB = re.compile(
    r"\s?((?:[A-Za-zμ°]+/[A-Za-z0-9]+)|(?:ng|pg|mosm|mosmol|meq|torr|cm|mm|pack-years?)\b)", re.IGNORECASE
)
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_ABSENT = re.compile("|".join(sorted(HAN_NEGATIONS, key=len, reverse=True)))


def stated(text: str, lang: Language) -> tuple[str, ...]:
    """Figures with their units, dates, negations and sides of a sentence, in its order."""
    text = han_normalise(text) if lang == "zh" else normalise(text)
    found: list[tuple[int, str]] = []
    rest = text
    for pattern, name in _PATTERNS[lang]:
        for m in pattern.finditer(rest):
            detail = m.group(1).lower() if m.groups() and m.group(1) else ""
            found.append((m.start(), f"{detail} {name}".strip() if name else _DAILY[detail]))
        rest = pattern.sub(lambda m: HELD * len(m.group()), rest)
    for when in list(han_dates(rest) if lang == "zh" else dates(rest)):
        found.append((when.start, _day(when)))
        rest = rest[: when.start] + HELD * (when.end - when.start) + rest[when.end :]
    for figure in han_numbers(rest) if lang == "zh" else numbers(rest):
        found.append((figure.start, _figure(figure, rest)))
    if lang == "zh":
        found += [(m.start(), "not") for m in _ABSENT.finditer(text)]
    else:
        found += [(m.start(), "not") for m in _WORD.finditer(text) if m.group().lower() in _NOT]
    found += [(m.start(), m.lastgroup or "") for m in _SIDES[lang].finditer(text)]
    return tuple(name for _, name in sorted(found, key=lambda f: f[0]))


def _day(when: When) -> str:
    return "date " + "|".join("-".join(map(str, r)) for r in when.readings)


def _figure(figure: Figure, text: str) -> str:
    """Its value, unit and scale; as it is written where it has no value, or none of the known units."""
    if figure.value is None:
        return figure.text.lower()
    second = f"/{figure.second}" if figure.second is not None else ""
    lab = _LAB.match(text, figure.end) if not figure.unit else None
    unit = figure.unit or (lab.group(1).lower() if lab else "")
    sign = "-" if figure.negative else ""
    return f"{figure.currency}{sign}{figure.value}{second} {figure.scale}{unit}".strip()
