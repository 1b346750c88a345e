"""Measures `medicine.plain-language`: is everything kept, and are the words commoner than before.

`kept` is the share of sentences whose figures, units, number words and negations are those of the original, told
by patterns of its own that share nothing with the task's check. A word is rare below Zipf 3, less than once in a
million words, in the public frequency lists of the package wordfreq; no readability formula is used, since those
count syllables and sentence lengths, which a reader does not stumble over.

>>> kept("No edema, 5 mg BID.", "No swelling, 5 mg twice a day.", "en")
True
>>> kept("No edema, 5 mg BID.", "Swelling, 5 mg twice a day.", "en")
False
"""

import logging
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from domains.base import Language
from domains.evaluation import Bench, Scores
from domains.medicine.plain_language import PlainLanguageTask, Text
from domains.pipeline import Settings, WritesText, generate
from fedcore.errors import RecordError

__all__ = ["RARE", "has_negation", "kept", "measure", "rare_words"]

RARE = 3.0
"""Below this many log10 occurrences in a billion words, a word is rare."""
_ROWS_WITH_MODEL = 12
_DIGITS = re.compile(r"\d+(?:[.,:/-]\d+)*")
_DOSES = re.compile(
    r"(\d[\d.,/]*)[ ]?(mg/dl|mmol/l|mcg|mg|ml|kg|g|l|cm|mm|meq|units?|mmhg|bpm|%|days?|weeks?|months?|years?|hours?|"
    r"毫克|微克|克|毫升|毫米汞柱|次/分|片|粒|天|周|个月|年|岁|小时)(?![a-z])",
    re.IGNORECASE,
)
_COUNTS = {
    "en": re.compile(
        r"\b(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty|fifty|hundred|"
        r"thousand|million|half|double|once|twice|first|second|third)\b",
        re.IGNORECASE,
    ),
    "zh": re.compile("[一二三四五六七八九十百千万亿两半]"),
}
_NEGATIONS = {
    "en": re.compile(
        r"\b(?:no|not|never|none|nor|neither|nothing|without|den(?:y|ies|ied|ying)|cannot|absent|negative|afebrile|"
        r"anicteric|asymptomatic|atraumatic|non-?distended|non-?contributory|non-?productive|non-?smoker|non-?tender|"
        r"normotensive|NKDA|NPO|NAD)\b|n't\b",
        re.IGNORECASE,
    ),
    "zh": re.compile("没有|未触及|未闻及|阴性|[无未没否非不]"),
}
_OFTEN = {
    "en": (
        ("twice", r"b\.?i\.?d"),
        ("three", r"t\.?i\.?d"),
        ("four", r"q\.?i\.?d"),
        (r"\1 hours", r"q\.?\s?(\d+)\s?(?:h|hr|hrs|hours?)"),
    ),
    "zh": (("两", r"b\.?i\.?d"), ("三", r"t\.?i\.?d"), ("四", r"q\.?i\.?d"), ("一", r"q\.?o?\.?d")),
}


def measure(bench: Bench) -> Scores:
    """Reword every record and compare both texts, language by language.

    Raises:
        RecordError: No row holds a text.
    """
    task, writer = PlainLanguageTask(), bench.writer()
    sources = [task.read({"text": text, "lang": bench.lang}) for text in map(_text, bench.rows) if text]
    sources = [s for s in sources if bench.lang in (None, s.lang)]
    if not sources:
        raise RecordError("no row holds a clinical text", expected="the field 'text', 'target' or 'input'")
    notes: tuple[str, ...] = ()
    if writer is not None and len(sources) > _ROWS_WITH_MODEL:
        sources = random.Random(0).sample(sources, _ROWS_WITH_MODEL)  # noqa: S311
        notes = (f"With a model, {_ROWS_WITH_MODEL} records are reworded, chosen at random.",)
    counts: dict[str, Counter[str]] = {}
    for source in bench.track(sources, "rewording"):
        counts.setdefault(source.lang, Counter()).update(_compared(task, source, writer))
    total = sum(counts.values(), Counter[str]())
    by_language = {lang: {**_shares(c), **dict(c)} for lang, c in sorted(counts.items())}
    return Scores(metrics=_shares(total), details={"languages": by_language, "rare_below": RARE}, notes=notes)


def _text(row: Mapping[str, Any]) -> str:
    """A row's text: `text`, the note that it gives as `target`, or numbered sentences as `input`."""
    value = row.get("text") or row.get("target") or row.get("input")
    if not isinstance(value, str):
        return ""
    return re.sub(r"(?m)^\d+ ", "", value) if "error_flag" in row else value


def _compared(task: PlainLanguageTask, source: Text, writer: WritesText | None) -> Iterator[str]:
    """What is to be counted of one text."""
    document = generate(task, source, writer, Settings())
    whole = [s.original for s in document.sentences] == list(source.sentences)
    for sentence in document.sentences:
        same = whole and kept(sentence.original, sentence.text, source.lang)
        yield "sentences"
        yield from ("kept",) if same else ()
        if has_negation(sentence.original, source.lang):
            yield "with_negation"
            yield from ("negation_kept",) if same else ()
        yield from ("worded_by_model",) if sentence.source == "model" else ()
        yield from ("bracketed",) if sentence.rule.startswith("plain.bracketed") else ()
        yield from ("reworded",) if sentence.text != sentence.original else ()
        for text, name in ((sentence.original, "original"), (sentence.text, "output")):
            rare, words = rare_words(text, source.lang)
            yield from [f"words_{name}"] * words
            yield from [f"rare_{name}"] * rare


def _shares(c: Counter[str]) -> dict[str, float]:
    return {
        "kept": c["kept"] / max(1, c["sentences"]),
        "negations_kept": c["negation_kept"] / c["with_negation"] if c["with_negation"] else 1.0,
        "rare_word_share": c["rare_output"] / max(1, c["words_output"]),
        "rare_word_share_original": c["rare_original"] / max(1, c["words_original"]),
    }


def kept(original: str, output: str, lang: Language) -> bool:
    """Whether digits, doses, number words and negations of two sentences are the same, by patterns alone."""
    a, b = (_spelt_out(t, lang) for t in (original, output))
    return (
        _DIGITS.findall(a) == _DIGITS.findall(b)
        and _DOSES.findall(a.lower()) == _DOSES.findall(b.lower())
        and Counter(_COUNTS[lang].findall(a.lower())) == Counter(_COUNTS[lang].findall(b.lower()))
        and len(_NEGATIONS[lang].findall(a)) == len(_NEGATIONS[lang].findall(b))
    )


def _spelt_out(text: str, lang: Language) -> str:
    """Abbreviations of dosing as the number words that they stand for."""
    for word, pattern in _OFTEN[lang]:
        text = re.sub(rf"(?<![A-Za-z-]){pattern}(?![A-Za-z-])", word, text, flags=re.IGNORECASE)
    return text


def has_negation(text: str, lang: Language) -> bool:
    """Whether a sentence says that something is not so."""
    return bool(_NEGATIONS[lang].search(text))


def rare_words(text: str, lang: Language) -> tuple[int, int]:
    """How many words of a text are rare, and how many words it has. Figures and marks are no words."""
    words = _chinese_words(text) if lang == "zh" else re.findall(r"[A-Za-z]+(?:'[a-z]+)?", text)
    return sum(_zipf(w.lower(), lang) < RARE for w in words), len(words)


def _chinese_words(text: str) -> list[str]:
    from wordfreq.tokens import tokenize  # Loads a dictionary.

    logging.getLogger("jieba").setLevel(logging.WARNING)
    return [w for w in tokenize(text, "zh") if re.fullmatch(r"[\u3400-\u9fffA-Za-z]+", w)]


@cache
def _zipf(word: str, lang: Language) -> float:
    import wordfreq

    return float(wordfreq.zipf_frequency(word, lang))
