"""What is known of conditions: their findings, how severe they are, their codes; in English and Chinese.

`Conditions` is what diagnosis support consults. `COMMON` is our own, short and general: 29 conditions of primary
and emergency care. A code book of another's is read from a file by `read_code_book`; it holds facts (which
evidence belongs to which disease, severities, codes), and stays where it lies.

It is knowledge for support, written for software: not a guideline.

>>> COMMON.condition("Pneumonia").name("zh"), COMMON.condition("Pneumonia").severity
('肺炎', 2)
>>> COMMON.finding("发热").code
'fever'
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from domains.base import Language
from domains.medicine._common_conditions import CONDITIONS, FINDINGS
from fedcore.errors import ConfigError

__all__ = ["COMMON", "SEVERE", "Condition", "Conditions", "Finding", "load_code_book", "read_code_book"]

SEVERE = 2
"""Conditions of this severity or a lower number are severe."""
_LARGEST_BYTES = 16_000_000


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that may be found in a patient.

    Args:
        code: Without white space.
        en, zh: Its names, or the question that asks for it; `zh` is `en` where a book has one language.
        history: It was there before the illness: a risk, not a symptom.
        parent: The code of the finding that it describes more closely; its own where it stands by itself.
        values: Value's code -> its name; empty where it is there or not.
        scale: It is a number on a scale, such as 0 to 10.
        usual: The value that says nothing, such as "nowhere".
    """

    code: str
    en: str
    zh: str
    history: bool = False
    parent: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    scale: bool = False
    usual: str = ""

    def name(self, lang: Language) -> str:
        """Its name in a language."""
        return self.zh if lang == "zh" else self.en

    @property
    def describes(self) -> bool:
        """Whether it only describes another finding."""
        return bool(self.parent) and self.parent != self.code


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A condition: its names, ICD-10 code, severity (1 the gravest, 5 the mildest) and what belongs to it."""

    en: str
    zh: str
    icd10: str
    severity: int
    symptoms: frozenset[str]
    history: frozenset[str] = frozenset()

    def name(self, lang: Language) -> str:
        """Its name in a language."""
        return self.zh if lang == "zh" else self.en

    @property
    def findings(self) -> frozenset[str]:
        """All that belongs to it."""
        return self.symptoms | self.history

    @property
    def is_severe(self) -> bool:
        """Whether missing it is dangerous."""
        return self.severity <= SEVERE


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """A body of knowledge.

    Args:
        name, version: Of the book, for the trace.
        conditions: At least two, in a fixed order.
        findings: All that the conditions name.
        outside: Log-odds against a condition for each finding that does not belong to it: large in a book
            that names every finding of a condition, small in one that names the typical ones.
    Raises:
        ConfigError: A name stands twice, or a condition names a finding that is not there.
    """

    name: str
    version: str
    conditions: tuple[Condition, ...]
    findings: tuple[Finding, ...]
    outside: float

    def __post_init__(self) -> None:
        names, codes = [c.en for c in self.conditions], {f.code for f in self.findings}
        if len(names) < 2 or len(set(names)) != len(names) or len(codes) != len(self.findings):
            raise ConfigError(f"the code book {self.name} names something twice, or fewer than two conditions")
        if any(not c.findings <= codes for c in self.conditions):
            raise ConfigError(f"a condition of the code book {self.name} names a finding that the book lacks")
        if any(not f.code or len(f.code.split()) != 1 for f in self.findings):
            raise ConfigError(f"a finding of the code book {self.name} has a code with white space")

    @cached_property
    def _by_name(self) -> dict[str, Finding]:
        """By name, then by code, which wins."""
        named = {n.casefold(): f for f in self.findings for n in (f.en, f.zh)}
        return named | {f.code.casefold(): f for f in self.findings}

    @cached_property
    def _conditions(self) -> dict[str, Condition]:
        return {n.casefold(): c for c in self.conditions for n in (c.zh, c.en)}

    def finding(self, name: str) -> Finding:
        """A finding by its code or by a name in either language.

        Raises:
            KeyError: The book has none such.
        """
        return self._by_name[name.strip().casefold()]

    def condition(self, name: str) -> Condition:
        """A condition by a name in either language.

        Raises:
            KeyError: The book has none such.
        """
        return self._conditions[name.strip().casefold()]


def read_code_book(value: Any, *, name: str) -> Conditions:
    """Read a code book: {"conditions": {name: {...}}, "evidences": {code: {...}}}.

    A condition has "icd10", "severity" (1 to 5), "symptoms" and "antecedents" (codes), and may have "name_zh";
    an evidence has "q" (its question) and may have "q_zh", "antecedent", "type" ("B" there or not, "M" or "C" with
    values), "parent", "default" and "values".

    Raises:
        ConfigError: It has another shape.
    """
    try:
        findings = [_finding(str(code), e) for code, e in value["evidences"].items()]
        conditions = [
            Condition(
                en=str(en),
                zh=str(c.get("name_zh") or en),
                icd10=str(c["icd10"]).split(",")[0].strip().upper(),
                severity=int(c["severity"]),
                symptoms=frozenset(map(str, c["symptoms"])),
                history=frozenset(map(str, c.get("antecedents", ()))),
            )
            for en, c in value["conditions"].items()
        ]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ConfigError(
            f"the code book {name} has the wrong shape",
            expected='"conditions" with icd10, severity and symptoms, and "evidences" with q',
        ) from None
    return Conditions(name=name, version="1", conditions=tuple(conditions), findings=tuple(findings), outside=8.0)


def _finding(code: str, e: Mapping[str, Any]) -> Finding:
    values = {str(k): str(v) for k, v in e.get("values", {}).items()}
    many = e.get("type", "B") != "B"
    return Finding(
        code=code,
        en=str(e["q"]).strip(),
        zh=str(e.get("q_zh") or e["q"]).strip(),
        history=bool(e.get("antecedent", False)),
        parent=str(e.get("parent") or code),
        values={k: v for k, v in values.items() if not k.isdigit()},
        scale=many and all(k.isdigit() for k in values),
        usual=str(e.get("default", "")) if many else "",
    )


def load_code_book(path: Path) -> Conditions:
    """Read a code book from a JSON file.

    Raises:
        ConfigError: It cannot be read, or has another shape.
    """
    try:
        stat = path.stat()
        if stat.st_size > _LARGEST_BYTES:
            raise ConfigError(f"the code book {path.name} is too large", expected=f"at most {_LARGEST_BYTES:,} bytes")
        return _load(path, stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        raise ConfigError(
            f"the code book {path.name} cannot be read ({error.strerror})", do="check the field 'book'"
        ) from error


@lru_cache(maxsize=8)
def _load(path: Path, _time: int, _size: int) -> Conditions:
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise ConfigError(f"the code book {path.name} is not JSON", expected="a JSON object in UTF-8") from None
    return read_code_book(value, name=path.name)


def _common(findings: Iterable[tuple[str, ...]], conditions: Iterable[tuple[Any, ...]]) -> Conditions:
    """Our own book from its tables."""
    found = tuple(Finding(code=c, en=en, zh=zh, history=bool(h), parent=c) for c, en, zh, *h in findings)
    return Conditions(
        name="concordat-common",
        version="1",
        conditions=tuple(
            Condition(
                en=en,
                zh=zh,
                icd10=icd10,
                severity=severity,
                symptoms=frozenset(symptoms.split()),
                history=frozenset(history.split()),
            )
            for en, zh, icd10, severity, symptoms, history in conditions
        ),
        findings=found,
        outside=1.5,
    )


COMMON = _common(FINDINGS, CONDITIONS)
"""Our own book."""
