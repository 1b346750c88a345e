"""Which of some candidate diseases it is: open names, in either language, scored by learned associations.

A candidate is asked for by feature words: pieces of its name, alone and with the department, what it shares with
the findings, and how it relates to the other candidates. The order of candidates and findings says nothing.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from domains.base import Fact, Language, Sensitive, Statement
from domains.medicine._case import language_of
from domains.medicine._diagnosis_sentences import NOTICE, notice_facts, percent, say
from fedcore.errors import RecordError

__all__ = ["NO", "YES", "Choice", "choice_statements", "choice_words", "make_choice_base", "read_choice"]

NO, YES = "no", "yes"
_PRIOR = {"in-name": 1.0, "shared": 0.3}
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_SPACE = re.compile(r"\s+")
_SMALL = frozenset("of the in and with or to a".split())  # noqa: SIM905
_STEM = 5
_SHARED = 6
_TRUE = ("true", "yes", "1", "有", "是")


@dataclass(frozen=True, kw_only=True, repr=False)
class Choice(Sensitive):
    """A patient's findings in words, and the diseases to choose from."""

    present: tuple[str, ...]
    absent: tuple[str, ...]
    candidates: tuple[str, ...]
    department: str = ""
    lang: Language = "en"


def read_choice(fields: Mapping[str, Any]) -> Choice:
    """Read candidates and findings.

    Raises:
        RecordError: A field is missing or wrong.
    """
    candidates, lang = fields.get("candidates"), language_of(fields)
    if not _is_texts(candidates) or len(set(candidates or ())) != len(candidates or ()) or not candidates:
        raise RecordError("the field 'candidates' is wrong", expected="one or more different names")
    present: list[str] = []
    absent: list[str] = []
    raw = fields.get("findings")
    for i, item in enumerate(raw if isinstance(raw, Sequence) and not isinstance(raw, str) else ()):
        pair = (item, True) if isinstance(item, str) else item
        if not isinstance(pair, Sequence) or len(pair) != 2 or not isinstance(pair[0], str):
            raise RecordError(f"findings[{i}] is wrong", expected="a name, or a name and true or false")
        (present if str(pair[1]).strip().lower() in _TRUE else absent).append(pair[0].strip())
    if not present and not absent:
        raise RecordError("the field 'findings' is missing or wrong", expected="a list of findings")
    return Choice(
        present=tuple(sorted(set(present))),
        absent=tuple(sorted(set(absent))),
        candidates=tuple(candidates or ()),
        department=str(fields.get("department") or "").strip(),
        lang=lang,
    )


def _is_texts(value: Any) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and all(isinstance(v, str) and v.strip() for v in value)
    )


def _pieces(text: str, lang: Language) -> set[str]:
    """One and two characters of a Chinese name; the stems of an English name's words."""
    if lang == "zh":
        plain = _SPACE.sub("", text)
        return {plain[i : i + n] for n in (1, 2) for i in range(len(plain) - n + 1)}
    return {w[:_STEM] for w in _WORD.findall(text.lower()) if w not in _SMALL}


def _telling(pieces: set[str], lang: Language) -> set[str]:
    """A single character says too little to count as shared."""
    return {p for p in pieces if len(p) > 1} if lang == "zh" else pieces


def choice_words(choice: Choice, place: int) -> tuple[str, ...]:
    """The words for one candidate; sorted."""
    name, lang = choice.candidates[place], choice.lang
    others = [c for i, c in enumerate(choice.candidates) if i != place]
    own = _pieces(name, lang)
    present = {p for f in choice.present for p in _pieces(f, lang)}
    absent = {p for f in choice.absent for p in _pieces(f, lang)}
    found = [f"{lang}:{p}" for p in own]
    if department := _SPACE.sub("_", choice.department.lower()):
        found += [f"{lang}:{p}|{department}" for p in own]
    shared = min(len(_telling(own, lang) & present), _SHARED)
    found += ["shared"] * shared + ["shared-any"] * (shared > 0)
    found += ["denied-any"] * bool(_telling(own, lang) & absent)
    low = name.lower()
    found += ["in-name"] * any(f.lower() in low or low in f.lower() for f in choice.present)
    found += ["part-of-other"] * any(low in o.lower() for o in others)
    found += ["holds-other"] * any(o.lower() in low for o in others)
    return tuple(sorted(found))


def make_choice_base(directory: Path, *, dimension: int = 4096) -> None:
    """Write the features base of choices: it knows only that shared words speak for a candidate."""
    from domains.features import make_features_base  # Imports torch: only where a base is made.

    known = ("shared", "shared-any", "denied-any", "in-name", "part-of-other", "holds-other")
    prior = {word: [0.0, odds] for word, odds in _PRIOR.items()}
    make_features_base(directory, labels=(NO, YES), known=known, dimension=dimension, prior=prior)


def choice_statements(choice: Choice, probabilities: Sequence[float], temperature: float) -> tuple[Statement, ...]:
    """Notice, findings, and the candidates with their probabilities, the likeliest first; ties by name."""
    lang = choice.lang
    zh = lang == "zh"
    notice = NOTICE[lang]
    out = [Statement(rule="diagnosis.notice", text=notice, facts=notice_facts(lang))]
    findings = [Fact(kind="name", text=f, path="findings") for f in choice.present]
    for start in range(0, len(findings), 5):
        part = findings[start : start + 5]
        out.append(say("diagnosis.findings", "已知：{}。" if zh else "Found: {}.", (part,), zh=zh))
    names = [Fact(kind="name", text=c, path=f"candidates[{i}]") for i, c in enumerate(choice.candidates)]
    if not probabilities:
        text = "候选：{}，未经模型判断。" if zh else "Candidates, not judged by a model: {}."
        return (*out, say("diagnosis.candidates", text, (names,), zh=zh))
    derivation = f"model's probability among the candidates at temperature {temperature:.2f}"
    for i in sorted(range(len(names)), key=lambda i: (-probabilities[i], choice.candidates[i])):
        figure = percent(Decimal(str(probabilities[i])), derivation)
        out.append(say("diagnosis.candidate", "{}：{}。" if zh else "{}: {}.", (names[i], figure), zh=zh))
    return tuple(out)
