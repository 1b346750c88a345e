"""The rules of `finance.risk`, read from YAML and checked whole before any is used.

A rule looks at one figure or ratio and gives it a level by thresholds; a phrase rule looks at the words of a
sentence. Wording stands in the file in English and Chinese, so that a rule can be read, and changed, without
code. What is wrong with a file is said with the file, the rule and what was expected.

>>> rules = load_rules()
>>> rule = rules.rule("liquidity.current-ratio")
>>> rule.level(Decimal("0.9")), rule.level(Decimal("1")), rule.level(Decimal("1.5"))
('high', 'medium', 'low')
"""

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import yaml

from domains.base import Language
from fedcore.errors import ConfigError

__all__ = ["LANGUAGES", "LEVELS", "Level", "Phrase", "Ratio", "Rule", "Rules", "load_rules", "plain_name"]

Level = Literal["high", "medium", "low"]
LEVELS: tuple[Level, ...] = ("high", "medium", "low")
"""The worst first."""
LANGUAGES: tuple[Language, ...] = ("en", "zh")
_OURS = Path(__file__).parent / "rules" / "risk.yaml"
_SHAPES = {"quotient": 2, "percent": 2, "change": 1}


def plain_name(name: str) -> str:
    """A figure's name without case, marks and differences of width, as names are matched."""
    text = unicodedata.normalize("NFKC", name).lower().replace("’", "'")
    return " ".join("".join(c if c.isalnum() or c == "'" else " " for c in text).split())


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """What is computed of figures, or counted of events.

    Args:
        name: As rules refer to it.
        of: Names of figures, or types of events.
        shape: "quotient", "percent", "change", "count", or "figure" for a figure as it stands.
        less: A figure that is taken from the first; "" for none.
        label: Language -> its name in words.
    """

    name: str
    of: tuple[str, ...]
    shape: str
    less: str
    label: Mapping[Language, str]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A threshold rule.

    Args:
        id, version: Of the rule.
        category: Key of a category.
        ratio: What it looks at.
        percent: The figure is a percentage.
        above: Levels hold at their threshold and over it; otherwise under it.
        thresholds: Level -> threshold, the worst first.
        why: Language -> what the level means.
        source: Where thresholds are taken from; "" where they are ours.
    """

    id: str
    version: str
    category: str
    ratio: Ratio
    percent: bool
    above: bool
    thresholds: tuple[tuple[Level, Decimal], ...]
    why: Mapping[Language, str]
    source: str

    def level(self, value: Decimal) -> Level:
        """The worst level whose threshold the value reaches; "low" where it reaches none."""
        for level, threshold in self.thresholds:
            if value >= threshold if self.above else value < threshold:
                return level
        return "low"

    def threshold(self, level: Level) -> Decimal:
        """The threshold that decided on a level; for "low", the one that was not reached."""
        return dict(self.thresholds).get(level, self.thresholds[-1][1])


@dataclass(frozen=True, kw_only=True)
class Phrase:
    """A rule on the words of a sentence: any of `any`, with none of `unless` before it."""

    id: str
    version: str
    category: str
    level: Level
    lang: Language
    any: tuple[str, ...]
    unless: tuple[str, ...]
    why: Mapping[Language, str]

    def holds(self, sentence: str) -> bool:
        """Whether the sentence has one of the phrases, outside the scope of what turns it around."""
        text = unicodedata.normalize("NFKC", sentence).lower()
        for phrase in self.any:
            at = text.find(phrase.lower())
            if at >= 0 and not any(0 <= text.find(u.lower()) < at for u in self.unless):
                return True
        return False


@dataclass(frozen=True, kw_only=True)
class Rules:
    """All of a file. `digest` is the SHA-256 of its bytes."""

    version: str
    digest: str
    figures: Mapping[str, str]
    """A figure's name as an input may write it, plain -> its key."""
    labels: Mapping[str, Mapping[Language, str]]
    """Key of a figure or type of event -> its name in words."""
    events: frozenset[str]
    levels: Mapping[Level, Mapping[Language, str]]
    categories: Mapping[str, Mapping[Language, str]]
    terms: Mapping[str, tuple[str, ...]]
    """Category -> words that tell it, in both languages, lower case."""
    rules: tuple[Rule, ...]
    phrases: tuple[Phrase, ...]
    judged: tuple[tuple[Level, Decimal], ...]
    """From which probability on a classifier's word has a level, the worst first."""
    judged_why: Mapping[Language, str]

    def rule(self, name: str) -> Rule:
        """A rule by its id.

        Raises:
            KeyError: There is none.
        """
        return {r.id: r for r in self.rules}[name]


@lru_cache(maxsize=8)
def load_rules(path: Path = _OURS) -> Rules:
    """Read and check a file of rules.

    Raises:
        ConfigError: It cannot be read, or something in it is wrong; names file, rule and what was expected.
    """
    try:
        data = path.read_bytes()
        value = yaml.safe_load(data.decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the rules {path} cannot be read", expected="a YAML file in UTF-8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise ConfigError(f"{path.name}{where} is not YAML", do="see domains/finance/rules/risk.yaml") from error
    return _Reader(path.name).rules(value, hashlib.sha256(data).hexdigest())


class _Reader:
    """Reads one file; every complaint names it."""

    def __init__(self, file: str) -> None:
        self._file = file

    def rules(self, value: Any, digest: str) -> Rules:
        top = self._map(value, "the file", need=_TOP, may=frozenset())
        levels = self._map(top["levels"], "levels", need=frozenset(LEVELS), may=frozenset())
        names: dict[str, str] = {}
        labels: dict[str, Mapping[Language, str]] = {}
        for key, words in self._map(top["figures"], "figures").items():
            spoken = self._map(words, f"the figure {key}", need=frozenset(LANGUAGES), may=frozenset())
            for lang in LANGUAGES:
                for name in self._texts(spoken[lang], f"the figure {key}, {lang}"):
                    if names.setdefault(plain_name(name), key) != key:
                        raise self._wrong(
                            f"the figure {key}", "names of its own", f"one that {names[plain_name(name)]} has"
                        )
            labels[key] = {lang: self._texts(spoken[lang], key)[0] for lang in LANGUAGES}
        events = {k: self._words(v, f"the event {k}") for k, v in self._map(top["events"], "events").items()}
        categories, terms = self._categories(top["categories"])
        ratios = self._ratios(top["ratios"], frozenset(labels), frozenset(events))
        judge = self._map(top["judge"], "judge", need=frozenset({"high", "medium", "en", "zh"}), may=frozenset())
        bounds = self._thresholds({k: judge[k] for k in ("high", "medium")}, "judge", above=True)
        rules = tuple(
            self._rule(r, i, categories, ratios, labels) for i, r in enumerate(self._list(top["rules"], "rules"))
        )
        phrases = tuple(self._phrase(p, i, categories) for i, p in enumerate(self._list(top["phrases"], "phrases")))
        ids = [r.id for r in rules] + [p.id for p in phrases]
        if twice := next((i for i in ids if ids.count(i) > 1), None):
            raise self._wrong(f"the rule {twice}", "an id of its own", "one that stands twice")
        if idle := sorted(set(ratios) - {r.ratio.name for r in rules}):
            raise self._wrong(f"the ratio {idle[0]}", "a rule that looks at it", "none")
        return Rules(
            version=self._text(top["version"], "version"),
            digest=digest,
            figures=names,
            labels=labels | events,
            events=frozenset(events),
            levels={level: self._words(levels[level], f"the level {level}") for level in LEVELS},
            categories=categories,
            terms=terms,
            rules=rules,
            phrases=phrases,
            judged=bounds,
            judged_why={
                lang: self._text(self._map(judge[lang], f"judge, {lang}").get("why"), f"judge, {lang}")
                for lang in LANGUAGES
            },
        )

    def _categories(self, value: Any) -> tuple[dict[str, Mapping[Language, str]], dict[str, tuple[str, ...]]]:
        names: dict[str, Mapping[Language, str]] = {}
        terms: dict[str, tuple[str, ...]] = {}
        for key, spoken in self._map(value, "categories").items():
            where = f"the category {key}"
            both = self._map(spoken, where, need=frozenset(LANGUAGES), may=frozenset())
            parts = {
                lang: self._map(both[lang], f"{where}, {lang}", need=frozenset({"name", "terms"}), may=frozenset())
                for lang in LANGUAGES
            }
            names[key] = {lang: self._text(parts[lang]["name"], where) for lang in LANGUAGES}
            terms[key] = tuple(t.lower() for lang in LANGUAGES for t in self._texts(parts[lang]["terms"], where))
        return names, terms

    def _ratios(self, value: Any, figures: frozenset[str], events: frozenset[str]) -> dict[str, Ratio]:
        found: dict[str, Ratio] = {}
        for name, spoken in self._map(value, "ratios").items():
            where = f"the ratio {name}"
            parts = self._map(spoken, where, need=frozenset({"of", "as", *LANGUAGES}), may=frozenset({"less"}))
            of, shape = self._texts(parts["of"], where), parts["as"]
            if shape != "count" and shape not in _SHAPES:
                raise self._wrong(where, "as: quotient, percent, change or count", "something else")
            if shape in _SHAPES and len(of) != _SHAPES[shape]:
                raise self._wrong(where, f"{_SHAPES[shape]} figures for a {shape}", str(len(of)))
            less = parts.get("less", "")
            for key in (*of, *([less] if less else [])):
                if key not in (events if shape == "count" else figures):
                    raise self._wrong(where, "known events" if shape == "count" else "known figures", repr(key))
            found[name] = Ratio(name=name, of=of, shape=shape, less=less, label=self._words(parts, where, exact=False))
        return found

    def _rule(
        self,
        value: Any,
        place: int,
        categories: Mapping[str, Any],
        ratios: Mapping[str, Ratio],
        labels: Mapping[str, Mapping[Language, str]],
    ) -> Rule:
        where = self._where(value, f"rule {place + 1}")
        parts = self._map(value, where, need=_RULE, may=frozenset({"above", "below", "unit", "source"}))
        if ("above" in parts) == ("below" in parts):
            raise self._wrong(where, "one of above and below", "both" if "above" in parts else "neither")
        looks, unit = parts["looks_at"], parts.get("unit", "")
        if looks in ratios:
            ratio = ratios[looks]
        elif looks in labels:
            ratio = Ratio(name=looks, of=(looks,), shape="figure", less="", label=labels[looks])
        else:
            raise self._wrong(where, "looks_at: a known ratio or figure", repr(looks))
        if unit not in ("", "percent"):
            raise self._wrong(where, "unit: percent, or none", repr(unit))
        return Rule(
            id=self._text(parts["id"], where),
            version=self._text(parts["version"], where),
            category=self._category(parts["category"], where, categories),
            ratio=ratio,
            percent=unit == "percent" or ratio.shape in ("percent", "change"),
            above="above" in parts,
            thresholds=self._thresholds(parts.get("above", parts.get("below")), where, above="above" in parts),
            why=self._words(parts, where, exact=False),
            source=self._text(parts.get("source", "ours"), where),
        )

    def _phrase(self, value: Any, place: int, categories: Mapping[str, Any]) -> Phrase:
        where = self._where(value, f"phrase rule {place + 1}")
        parts = self._map(value, where, need=_PHRASE, may=frozenset({"unless"}))
        if parts["level"] not in LEVELS:
            raise self._wrong(where, "level: " + ", ".join(LEVELS), repr(parts["level"]))
        if parts["lang"] not in LANGUAGES:
            raise self._wrong(where, "lang: en or zh", repr(parts["lang"]))
        return Phrase(
            id=self._text(parts["id"], where),
            version=self._text(parts["version"], where),
            category=self._category(parts["category"], where, categories),
            level=parts["level"],
            lang=parts["lang"],
            any=self._texts(parts["any"], where),
            unless=self._texts(parts["unless"], where) if "unless" in parts else (),
            why=self._words(parts, where, exact=False),
        )

    def _thresholds(self, value: Any, where: str, *, above: bool) -> tuple[tuple[Level, Decimal], ...]:
        parts = self._map(value, f"{where}, thresholds", need=frozenset(), may=frozenset({"high", "medium"}))
        found: list[tuple[Level, Decimal]] = []
        for level in LEVELS[:2]:
            if level not in parts:
                continue
            try:
                number = Decimal(str(parts[level]))
            except InvalidOperation:
                raise self._wrong(where, f"a number for {level}", repr(parts[level])) from None
            if not number.is_finite():
                raise self._wrong(where, f"a finite number for {level}", repr(parts[level]))
            found.append((level, number))
        if not found:
            raise self._wrong(where, "a threshold for high or medium", "none")
        if len(found) == 2 and (found[0][1] <= found[1][1] if above else found[0][1] >= found[1][1]):
            raise self._wrong(where, f"high {'over' if above else 'under'} medium", "thresholds the other way round")
        return tuple(found)

    def _category(self, value: Any, where: str, categories: Mapping[str, Any]) -> str:
        if value not in categories:
            raise self._wrong(where, "one of the categories " + ", ".join(categories), repr(value))
        return str(value)

    def _where(self, value: Any, otherwise: str) -> str:
        named = isinstance(value, Mapping) and isinstance(value.get("id"), str)
        return f"the rule {value['id']}" if named else otherwise

    def _words(self, value: Any, where: str, *, exact: bool = True) -> Mapping[Language, str]:
        parts = self._map(value, where, need=frozenset(LANGUAGES), may=frozenset()) if exact else value
        return {lang: self._text(parts[lang], f"{where}, {lang}") for lang in LANGUAGES}

    def _map(
        self, value: Any, where: str, *, need: frozenset[str] = frozenset(), may: frozenset[str] | None = None
    ) -> dict[str, Any]:
        if not isinstance(value, dict) or not value or not all(isinstance(k, str) for k in value):
            raise self._wrong(where, "names with values", type(value).__name__)
        if missing := sorted(need - value.keys()):
            raise self._wrong(where, f"the key {missing[0]}", "none")
        if may is not None and (extra := sorted(value.keys() - need - may)):
            raise self._wrong(where, "keys among " + ", ".join(sorted(need | may)), repr(extra[0]))
        return value

    def _list(self, value: Any, where: str) -> Sequence[Any]:
        if not isinstance(value, list) or not value:
            raise self._wrong(where, "a list with something in it", type(value).__name__)
        return value

    def _texts(self, value: Any, where: str) -> tuple[str, ...]:
        return tuple(self._text(v, where) for v in self._list(value, where))

    def _text(self, value: Any, where: str) -> str:
        if not isinstance(value, str) or not value.strip():
            raise self._wrong(where, "text in quotation marks", type(value).__name__)
        return value.strip()

    def _wrong(self, where: str, expected: str, got: str) -> ConfigError:
        return ConfigError(f"{self._file}: {where} is wrong", expected=expected, got=got)


_TOP = frozenset({"version", "levels", "judge", "figures", "events", "categories", "ratios", "rules", "phrases"})
_RULE = frozenset({"id", "version", "category", "looks_at", *LANGUAGES})
_PHRASE = frozenset({"id", "version", "category", "level", "lang", "any", *LANGUAGES})
