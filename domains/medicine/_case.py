"""A patient as diagnosis support sees one: what was found, what was asked and denied, age and sex."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domains.base import Language, Sensitive
from domains.medicine.conditions import COMMON, Conditions, Finding, load_code_book
from fedcore.errors import RecordError

__all__ = ["MARK", "Case", "Observed", "book_of", "language_of", "read_case", "whole_number"]

MARK = "_@_"
"""Between a finding's code and its value, as in E_55_@_V_85."""
_SEXES = {
    **dict.fromkeys(("m", "male", "man", "boy", "男", "男性"), "M"),
    **dict.fromkeys(("f", "female", "woman", "girl", "女", "女性"), "F"),
}
_MOST = 400
_NO = ("false", "no", "absent", "denied", "无", "否")
_YES = ("true", "yes", "present", "有", "是")


@dataclass(frozen=True, kw_only=True, repr=False)
class Observed(Sensitive):
    """A finding that was looked for: there (with a value where it has one) or not."""

    finding: Finding
    value: str = ""
    present: bool = True
    path: str = ""

    @property
    def is_usual(self) -> bool:
        """Whether its value says nothing."""
        return bool(self.value) and self.value == self.finding.usual

    def name(self, lang: Language) -> str:
        """As a document prints it."""
        name = self.finding.name(lang)
        if not self.value:
            return name
        return f"{name.rstrip(' :')} {self.finding.values.get(self.value, self.value)}"


@dataclass(frozen=True, kw_only=True, repr=False)
class Case(Sensitive):
    """One patient. Findings stand in the order of the book, whatever order they came in."""

    book: Conditions
    findings: tuple[Observed, ...]
    first: str = ""
    """Code of the finding that the patient came with."""
    age: int | None = None
    sex: str = ""
    lang: Language = "en"

    @property
    def present(self) -> frozenset[str]:
        """Codes of what is there and says something."""
        return frozenset(o.finding.code for o in self.findings if o.present and not o.is_usual)

    @property
    def known(self) -> frozenset[str]:
        """Codes of all that was looked for."""
        return frozenset(o.finding.code for o in self.findings)


def book_of(fields: Mapping[str, Any]) -> Conditions:
    """The book that a record names by its path; our own where it names none.

    Raises:
        RecordError: The field is not a path.
        ConfigError: The book cannot be read.
    """
    path = fields.get("book")
    if path is None:
        return COMMON
    if not isinstance(path, str | Path):
        raise RecordError("the field 'book' is wrong", expected="the path of a code book")
    return load_code_book(Path(path))


def language_of(fields: Mapping[str, Any]) -> Language:
    """The language that is wanted; English where none is named.

    Raises:
        RecordError: It is another.
    """
    lang = fields.get("lang") or "en"
    if lang not in ("en", "zh"):
        raise RecordError("the field 'lang' is wrong", expected="en or zh")
    return "zh" if lang == "zh" else "en"


def read_case(fields: Mapping[str, Any]) -> Case:
    """Read a record's findings, age and sex.

    Raises:
        RecordError: A field is missing or wrong, or a finding is not in the book (by position).
    """
    book = book_of(fields)
    lang = language_of(fields)
    raw = fields.get("findings")
    if not isinstance(raw, Sequence) or isinstance(raw, str) or not 0 < len(raw) <= _MOST:
        raise RecordError(
            "the field 'findings' is missing or wrong", expected=f"a list of 1 to {_MOST} codes or names of findings"
        )
    observed: dict[tuple[str, str], Observed] = {}
    for i, item in enumerate(raw):
        one = _observed(item, book, i)
        key = (one.finding.code, one.value)
        if key in observed and observed[key].present != one.present:
            raise RecordError(f"finding {i + 1} contradicts an earlier one", do="give each finding once")
        observed.setdefault(key, one)
    order = {f.code: i for i, f in enumerate(book.findings)}
    found = sorted(observed.values(), key=lambda o: (order[o.finding.code], o.value))
    first = fields.get("first")
    return Case(
        book=book,
        findings=tuple(found),
        first=_observed(first, book, -1).finding.code if first else "",
        age=_age(fields.get("age")),
        sex=_sex(fields.get("sex")),
        lang=lang,
    )


def _observed(item: Any, book: Conditions, position: int) -> Observed:
    """One finding: a code or name, with a value after the mark; or a pair with whether it is there."""
    where = f"findings[{position}]" if position >= 0 else "first"
    present = True
    if isinstance(item, Sequence) and not isinstance(item, str) and len(item) == 2:
        present = _truth(item[1], where)
        item = item[0]
    if not isinstance(item, str):
        raise RecordError(f"{where} is wrong", expected="a name, or a name and true or false")
    name, _, value = item.partition(MARK)
    try:
        finding = book.finding(name)
    except KeyError:
        raise RecordError(
            f"{where} is not in the code book {book.name}", do="use the book's codes or names, or give another book"
        ) from None
    if value and not (value.isdigit() if finding.scale else value in finding.values):
        raise RecordError(f"{where} has a value that the code book {book.name} does not know")
    return Observed(finding=finding, value=value, present=present, path=where)


def _truth(value: Any, where: str) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text not in _YES + _NO:
        raise RecordError(f"{where} does not say whether it is there", expected="true or false")
    return text in _YES


def whole_number(value: Any) -> int | None:
    """A whole number as JSON or text holds it; None for anything else."""
    try:
        number = float(value)
        return int(number) if number == int(number) else None
    except (TypeError, ValueError, OverflowError):
        return None


def _age(value: Any) -> int | None:
    if value in (None, ""):
        return None
    age = None if isinstance(value, bool) else whole_number(value)
    if age is None or not 0 <= age <= 130:
        raise RecordError("the field 'age' is wrong", expected="whole years from 0 to 130")
    return age


def _sex(value: Any) -> str:
    if value in (None, ""):
        return ""
    found = _SEXES.get(str(value).strip().lower())
    if found is None:
        raise RecordError("the field 'sex' is wrong", expected="M, F or nothing")
    return found
