"""A case as feature words, and what the knowledge says of each word: the features base of diagnosis support.

One base answers two questions, each with labels of its own: which condition it is ("Pneumonia"), and which
share it has of a differential ("~Pneumonia"). A word of the prompt says which is asked, and its prior shuts the
other labels out; so one training, at one privacy cost, serves both.

What the knowledge gives: for the first question, log-odds against a condition for each finding that does not
belong to it; for the second, for conditions that own one, two or three of the symptoms. Counts of a condition's
symptoms are words themselves (`n:3>=2`), which a linear head could not form.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from domains.medicine._case import MARK, Case, Observed
from domains.medicine.conditions import Condition, Conditions, Finding

__all__ = ["DIFFERENTIAL", "SHARE", "case_words", "differential_words", "known_words", "labels", "make_base", "prior"]

DIFFERENTIAL = "~"
"""Before a condition's name: its label in a differential."""
_ASKED, SHARE = "?which", "?share"
_SHUT = -30.0
_STEPS = (1, 2, 3, 5)
_BELONGING = 0.3
_COUNTED = {1: 2.0, 2: 1.0, 3: 0.5}
"""Log-odds of a share for owning so many of the symptoms; chosen by cross-validation within a share to fit on."""
_DENIED = -0.7
_AGES = (2, 5, 13, 18, 30, 45, 60, 75)
_SIDE = re.compile(r"\((?:R|L)\)$")
_SPACE = re.compile(r"\s+")
_REGIONS = tuple(
    (region, re.compile(rf"\b(?:{'|'.join(stems)})"))
    for region, stems in (
        ("back", ("posterior chest", "renal")),
        ("throat", ("side of the neck", "back of the neck", "under the jaw")),
        ("leg", ("popliteal",)),
        ("arm", ("palmar side of the forearm",)),
        ("face", ("internal cheek",)),
        ("head", ("head", "forehead", "temple", "occiput", "top of the head", "back of head")),
        ("mouth", ("mouth", "lower teeth", "upper teeth", "lower gum", "upper gum", "under the tongue", "above the")),
        ("throat", ("tonsil", "thyroid", "pharynx", "trachea", "uvula", "palace", "palate", "neck")),
        ("face", ("cheek", "nose", "eye", "ear", "jaw", "chin", "bottom lip", "upper lip", "commissure")),
        ("chest", ("chest", "breast", "side of the chest", "lower chest", "upper chest")),
        ("back", ("cervical", "thoracic", "lumbar", "scapula", "trapezius")),
        ("groin", ("groin", "testicle", "scrotum", "penis", "glans", "labia", "vagin", "hymen", "clitoris", "anus")),
        ("groin", ("buttock", "coccyx", "pubis")),
        ("abdomen", ("iliac fossa",)),
        ("abdomen", ("epigastric", "flank", "hypochondrium", "belly", "abdomen", "iliac")),
        ("foot", ("ankle", "foot", "sole", "toe", "big toe", "little toe", "heel", "dorsal aspect of the foot")),
        ("hand", ("hand", "wrist", "palm", "thumb", "finger", "dorsal aspect of the hand", "palmar face")),
        ("arm", ("shoulder", "biceps", "triceps", "forearm", "elbow", "axilla")),
        ("leg", ("thigh", "knee", "hip", "calf", "tibia", "ischio")),
    )
)


def labels(book: Conditions) -> tuple[str, ...]:
    """The base's labels: each condition, then each condition's share of a differential."""
    names = tuple(c.en for c in book.conditions)
    return names + tuple(DIFFERENTIAL + n for n in names)


def case_words(case: Case) -> tuple[str, ...]:
    """Words that ask which condition it is; sorted, so that the order of findings does not matter."""
    found = {_ASKED, *_person(case)}
    for o in case.findings:
        found.update(_words(o.finding, o.value) if o.present else (f"no:{o.finding.code}",))
    return tuple(sorted(found))


def differential_words(case: Case) -> tuple[str, ...]:
    """Words that ask for each condition's share: fewer details, and counts of each condition's symptoms."""
    found = {SHARE, *_person(case)}
    for o in case.findings:
        if not o.present:
            found.add(f"no:{o.finding.code}")
        elif not o.is_usual or not o.finding.values:
            found.update(w for w in _words(o.finding, o.value) if not _is_detail(o, w))
        else:
            found.add(o.finding.code)
    present = case.present
    for i, symptoms in enumerate(_telling(case.book)):
        count = len(symptoms & present)
        found.update(f"n:{i}>={step}" for step in _STEPS if count >= step)
    return tuple(sorted(found))


def _person(case: Case) -> Iterator[str]:
    if case.age is not None:
        yield f"age:{sum(case.age >= a for a in _AGES)}"
    if case.sex:
        yield f"sex:{case.sex}"


def _words(finding: Finding, value: str) -> Iterator[str]:
    """The code; its value; a place without its side, and its region; on a scale, how high."""
    yield finding.code
    if not value:
        return
    if finding.scale:
        yield f"{finding.code}{MARK}{value}"
        for step in (3, 6):
            yield f"{finding.code}>={step}" if int(value) >= step else f"{finding.code}<{step}"
        return
    if value == finding.usual and finding.history:
        return
    name = finding.values.get(value, value)
    if region := _region(name):
        yield f"{finding.code}:{_SPACE.sub('_', _SIDE.sub('', name))}"
        yield f"{finding.code}~{region}"
    else:
        yield f"{finding.code}{MARK}{value}"


def _is_detail(observed: Observed, word: str) -> bool:
    """Whether a word is finer than a differential can use: a place by its name, or a number on a scale."""
    code = observed.finding.code
    return word.startswith(code + ":") or (observed.finding.scale and word.startswith(code + MARK))


@lru_cache(maxsize=4096)
def _region(name: str) -> str:
    """The region of the body that a place lies in; "" where the name is of no place."""
    return next((region for region, pattern in _REGIONS if pattern.match(name.lower())), "")


def _tells(book: Conditions, condition: Condition) -> frozenset[str]:
    """A condition's symptoms that stand by themselves; pain as such tells nothing, nor do its details.

    Such is a finding that others describe more closely and that most conditions have.
    """
    half = len(book.conditions) / 2
    described = {f.parent for f in book.findings if f.describes}
    common = {c for c in described if sum(c in k.symptoms for k in book.conditions) > half}
    return frozenset(
        f.code for f in book.findings if f.code in condition.symptoms and not f.describes and f.code not in common
    )


_TELLING: dict[int, tuple[Conditions, tuple[frozenset[str], ...]]] = {}


def _telling(book: Conditions) -> tuple[frozenset[str], ...]:
    """`_tells` of every condition, kept for the book at hand."""
    held = _TELLING.get(id(book))
    if held is None or held[0] is not book:
        _TELLING.clear()
        held = book, tuple(_tells(book, c) for c in book.conditions)
        _TELLING[id(book)] = held
    return held[1]


def known_words(book: Conditions) -> tuple[str, ...]:
    """Every word that a case of this book can hold."""
    found = {_ASKED, SHARE, "sex:M", "sex:F", *(f"age:{i}" for i in range(len(_AGES) + 1))}
    for finding in book.findings:
        found.add(f"no:{finding.code}")
        values = [str(i) for i in range(11)] if finding.scale else list(finding.values)
        for value in ("", *values):
            found.update(_words(finding, value))
    found.update(f"n:{i}>={step}" for i in range(len(book.conditions)) for step in _STEPS)
    return tuple(sorted(found))


def prior(book: Conditions) -> dict[str, list[float]]:
    """What the book says of each word, as log-odds for each label."""
    count = len(book.conditions)
    rows = {_ASKED: [0.0] * count + [_SHUT] * count, SHARE: [_SHUT] * count + [0.0] * count}
    telling = _telling(book)
    for f in book.findings:
        which = [0.0 if f.code in c.findings else -book.outside for c in book.conditions]
        share = [
            _BELONGING * (f.code in t or (f.history and f.code in c.history and not f.usual))
            for c, t in zip(book.conditions, telling, strict=True)
        ]
        rows[f.code] = which + share
        rows[f"no:{f.code}"] = [_DENIED * (f.code in c.symptoms) for c in book.conditions] * 2
    for i in range(count):
        for step, odds in _COUNTED.items():
            rows[f"n:{i}>={step}"] = [0.0] * count + [odds * (j == i) for j in range(count)]
    return rows


def make_base(directory: Path, book: Conditions, *, scale: float = 8.0) -> None:
    """Write the features base of a book: knowledge alone, before any training.

    Raises:
        ConfigError: As for `make_features_base`.
    """
    from domains.features import make_features_base  # Imports torch: only where a base is made.

    make_features_base(
        directory, labels=labels(book), known=known_words(book), dimension=8, prior=prior(book), scale=scale
    )
