r"""A de-identification pass over text, English and Chinese: identifiers become typed placeholders.

Names that the record itself gives are looked for first, in all orders; then come numbers by check digit or
shape, what a cue tells, addresses, dates, and ages over 89. The list is that of HIPAA's Safe Harbor (45 CFR
164.514(b)(2)); `SAFE_HARBOR` says which kind stands for which of its identifiers, and which of them text
cannot hold. Doses, vital signs, laboratory values and codes stay. The same name keeps its number within a
document, and the report holds counts, never content.

What it is not: a proof. A name that no field, title, label or list of names tells is not found, so a text
goes on holding what only a reader would notice; that is why known names are taken from the bundle.

>>> text = "Martha Collins, DOB 3 May 1961, MRN 00481516. BP 142/88. Ms. Collins takes metformin 500 mg."
>>> clean = deidentify(text, known=Identities(people=(Person(family="Collins", given=("Martha",)),)))
>>> clean.text
'[NAME-1], DOB [DATE-1], MRN [MRN-1]. BP 142/88. Ms. [NAME-1] takes metformin 500 mg.'
>>> clean.report.kinds
{'DATE': 1, 'MRN': 1, 'NAME': 2}
>>> deidentify("患者王小明,男,电话13800138000,血压142/88mmHg。", lang="zh").text
'患者[NAME-1],男,电话[PHONE-1],血压142/88mmHg。'
"""

import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from domains._days import days, moved
from domains._found import Found, Kind, fold, settle
from domains._identifiers import identifiers
from domains._persons import Person, persons, tokens
from domains._places import places
from domains.base import Sensitive
from fedcore.errors import ConfigError

__all__ = [
    "SAFE_HARBOR",
    "Deidentified",
    "Finding",
    "Identities",
    "Pass",
    "Person",
    "Report",
    "deidentify",
    "shift_days",
]

SAFE_HARBOR: Mapping[str, tuple[str, tuple[Kind, ...]]] = MappingProxyType(
    {
        "A": ("names", ("NAME",)),
        "B": ("geographic subdivisions smaller than a state", ("ADDRESS",)),
        "C": ("dates but for the year, and ages over 89", ("DATE", "AGE")),
        "D": ("telephone numbers", ("PHONE",)),
        "E": ("fax numbers", ("FAX",)),
        "F": ("electronic mail addresses", ("EMAIL",)),
        "G": ("social security numbers", ("SSN",)),
        "H": ("medical record numbers", ("MRN",)),
        "I": ("health plan beneficiary numbers", ("PLAN",)),
        "J": ("account numbers", ("ACCOUNT",)),
        "K": ("certificate and license numbers", ("LICENSE",)),
        "L": ("vehicle identifiers and serial numbers, license plates", ("VEHICLE",)),
        "M": ("device identifiers and serial numbers", ("DEVICE",)),
        "N": ("web addresses", ("URL",)),
        "O": ("internet protocol addresses", ("IP",)),
        "P": ("biometric identifiers", ()),
        "Q": ("full-face photographs", ()),
        "R": ("any other unique identifying number, characteristic or code", ("ID",)),
    }
)
"""The identifiers of 45 CFR 164.514(b)(2)(i) and the kinds that stand for them.

P and Q are no text: `domains.medicine.identities` takes them out of a bundle. Of R, numbers and codes are
found; what makes somebody unique in words is not.
"""
_PLACEHOLDER = re.compile(r"\[(?:[A-Z]{2,7}-\d{1,3}|AGE-90\+)\]")
_OVER_89 = "[AGE-90+]"
_PLAIN = re.compile(r"[^0-9A-Za-z\u3400-\u9fff]")


@dataclass(frozen=True, kw_only=True, repr=False)
class Identities(Sensitive):
    """Whom a record is about, and who else it names."""

    people: tuple[Person, ...] = ()
    values: tuple[tuple[Kind, str], ...] = ()
    """Numbers, contacts, streets and towns that the record's own fields hold."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One identifier of the text that was given: its kind, its place and the rule that found it; no content."""

    kind: Kind
    start: int
    end: int
    rule: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """Counts alone: fit for a log."""

    kinds: dict[str, int] = field(default_factory=dict)
    rules: dict[str, int] = field(default_factory=dict)
    people: int = 0
    """How many different people were named, as far as their names tell."""
    shifted: int = 0
    """Dates that were moved rather than masked."""

    @classmethod
    def of(cls, findings: Iterable[Finding], *, people: int = 0, shifted: int = 0) -> "Report":
        """Count findings."""
        found = tuple(findings)
        return cls(
            kinds=dict(sorted(Counter(f.kind for f in found).items())),
            rules=dict(sorted(Counter(f.rule for f in found).items())),
            people=people,
            shifted=shifted,
        )

    def __add__(self, other: "Report") -> "Report":
        return Report(
            kinds=dict(sorted((Counter(self.kinds) + Counter(other.kinds)).items())),
            rules=dict(sorted((Counter(self.rules) + Counter(other.rules)).items())),
            people=max(self.people, other.people),
            shifted=self.shifted + other.shifted,
        )

    def to_dict(self) -> dict[str, Any]:
        """A JSON value."""
        return {"kinds": self.kinds, "rules": self.rules, "people": self.people, "shifted": self.shifted}


@dataclass(frozen=True, kw_only=True, repr=False)
class Deidentified(Sensitive):
    """A text without its identifiers, and where they stood in the text before."""

    text: str
    findings: tuple[Finding, ...]
    report: Report


def shift_days(key: bytes, patient: str, *, limit_days: int = 365) -> int:
    """By how many days a patient's dates are moved: the same for all of them, and unknown without the key.

    Intervals between one patient's dates stay; a day of the week or a season does not.

    Args:
        key: A secret of the institution, at least 16 bytes; it never leaves it.
        patient: Whose dates.
        limit_days: The largest shift to either side, >= 1; a shift is never 0.
    Raises:
        ConfigError: The key is too short, or the limit is below 1.
    """
    if len(key) < 16 or limit_days < 1:
        raise ConfigError(
            "dates cannot be shifted", expected="a key of at least 16 bytes and a limit of at least one day"
        )
    digest = hmac.new(key, patient.encode(), hashlib.sha256).digest()
    number = int.from_bytes(digest[:8]) % (2 * limit_days)
    return number - limit_days if number < limit_days else number - limit_days + 1


def deidentify(
    text: str, *, known: Identities | None = None, lang: str | None = None, shift: int | None = None
) -> Deidentified:
    """Replace every identifier that is found in a text.

    Guarantee: a finding's characters are nowhere in the place where it stood, and what a first pass without
    a shift wrote, a second leaves as it is.

    Args:
        text: The text.
        known: Names and numbers that the record's own fields hold.
        lang: "en" or "zh"; either way both are looked for, since notes mix them.
        shift: Days by which whole dates other than of birth are moved; None masks them all.
    Raises:
        ConfigError: The language is neither.
    """
    return Pass(known=known, lang=lang, shift=shift).clean(text)


class Pass:
    """One pass over the texts of one record, so that a name has the same number in all of them."""

    def __init__(self, *, known: Identities | None = None, lang: str | None = None, shift: int | None = None) -> None:
        if lang not in (None, "en", "zh"):
            raise ConfigError(f"the language {lang!r} is not known", expected="en or zh")
        self._known = known or Identities()
        self._shift = shift
        self._names = _Names(self._known.people)
        self._numbers: dict[str, dict[str, int]] = {}

    def clean(self, text: str) -> Deidentified:
        """As `deidentify`."""
        folded = fold(text)
        plain = folded.text
        held = [Found(kind="ID", start=m.start(), end=m.end(), rule="held") for m in _PLACEHOLDER.finditer(plain)]
        found = [*_values(plain, self._known.values), *persons(plain, self._known.people), *identifiers(plain)]
        found += [*places(plain), *days(plain)]
        out: list[str] = []
        findings: list[Finding] = []
        at = shifted = 0
        for item in _whole(settle(found, held), plain):
            start, end = folded.span(item.start, item.end)
            piece = plain[item.start : item.end]
            new = moved(piece, self._shift) if self._shift is not None and item.rule == "date" else None
            shifted += new is not None
            out += [text[at:start], new or self._placeholder(item, piece)]
            findings.append(Finding(kind=item.kind, start=start, end=end, rule=item.rule))
            at = end
        out.append(text[at:])
        report = Report.of(findings, people=self._names.count, shifted=shifted)
        return Deidentified(text="".join(out), findings=tuple(findings), report=report)

    def _placeholder(self, item: Found, piece: str) -> str:
        if item.kind == "AGE":
            return _OVER_89
        if item.kind == "NAME":
            return f"[NAME-{self._names.number(piece)}]"
        numbers = self._numbers.setdefault(item.kind, {})
        return f"[{item.kind}-{numbers.setdefault(_PLAIN.sub('', piece).lower(), len(numbers) + 1)}]"


def _whole(found: Iterable[Found], text: str) -> list[Found]:
    """Findings without the blanks at their ends; a rest that holds no letter or digit is none."""
    out = []
    for item in found:
        piece = text[item.start : item.end]
        left = len(piece) - len(piece.lstrip(" \t\n,.;:"))
        right = len(piece.rstrip(" \t\n,;:"))
        if any(c.isalnum() for c in piece):
            out.append(Found(kind=item.kind, start=item.start + left, end=item.start + right, rule=item.rule))
    return out


def _values(text: str, values: Iterable[tuple[Kind, str]]) -> list[Found]:
    """What the record's fields hold, wherever it stands, whatever separates its parts."""
    found = []
    for kind, value in values:
        parts = re.findall(r"[^\W_]+", fold(value).text)
        if sum(map(len, parts)) < 2:
            continue
        pattern = r"[\s.,()/+_-]{0,3}".join(map(re.escape, parts))
        # Between Chinese characters there is no edge of a word.
        edges = (
            r"(?<![0-9A-Za-z])" if parts[0][0].isascii() else "",
            r"(?![0-9A-Za-z])" if parts[-1][-1].isascii() else "",
        )
        # A town's name may be a word ("Reading"), which counts only as a name is written.
        word = len(parts) == 1 and parts[0].isascii() and parts[0].isalpha()
        if word:
            pattern = f"(?:{parts[0][:1].upper() + parts[0][1:]}|{parts[0].upper()})"
        for m in re.finditer(edges[0] + pattern + edges[1], text, 0 if word else re.IGNORECASE):
            found.append(Found(kind=kind, start=m.start(), end=m.end(), rule=f"{kind.lower()}.record", rank=0))
    return found


class _Names:
    """Which mentions are of one person: their names are the same, or one is a part of the other."""

    def __init__(self, known: Iterable[Person]) -> None:
        self._known = [frozenset().union(*(tokens(n) for n in _wordings(p))) for p in known]
        self._people: list[frozenset[str]] = []

    @property
    def count(self) -> int:
        """People named so far."""
        return len(self._people)

    def number(self, name: str) -> int:
        parts = tokens(name) or frozenset({name.lower()})
        whole = next((k for k in self._known if parts <= k or name.lower() in k), parts)
        for i, person in enumerate(self._people):
            if whole <= person or person <= whole:
                self._people[i] = person | whole
                return i + 1
        self._people.append(whole)
        return len(self._people)


def _wordings(person: Person) -> tuple[str, ...]:
    return (f"{person.family}{''.join(person.given)}", person.family, *person.given, *person.other)
