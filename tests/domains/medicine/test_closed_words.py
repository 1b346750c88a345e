"""Whatever a model makes of the closed vocabulary and an input's own facts, an auditor that shares no code agrees."""

import random
from collections.abc import Sequence
from typing import Any

import pytest

from domains.checks import Checker
from domains.medicine._audit import audit
from domains.medicine._audit_words import cues
from domains.medicine._words import VOCABULARY
from domains.medicine.record import RecordTask
from domains.medicine.synthetic import public_examples
from domains.pipeline import Settings, generate

TASK = RecordTask()
ROWS = public_examples(4, seed=5)


class Babbles:
    """A model that writes facts of the input among words of the vocabulary, at random."""

    def __init__(self, facts: Sequence[str], seed: int) -> None:
        self._facts, self._random = facts, random.Random(seed)  # noqa: S311

    def write(self, prompts: Sequence[str], **_: Any) -> list[str]:
        return [" ".join(self._sentence() for _ in range(12)) for _ in prompts]

    def _sentence(self) -> str:
        words = [self._random.choice(sorted(VOCABULARY)) for _ in range(self._random.randint(1, 4))]
        words.insert(self._random.randrange(len(words) + 1), self._random.choice(self._facts))
        text = " ".join(words)
        return text[:1].upper() + text[1:] + "."


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
def test_an_auditor_finds_nothing_in_what_passes(row: dict[str, Any], seed: int) -> None:
    source = TASK.read({"bundle": row["bundle"]})
    facts = [f.text for f in TASK.skeleton(source).facts]
    document = generate(TASK, source, Babbles(facts, seed), Settings(max_new_tokens=96, temperature=0.1, seed=seed))
    assert any(s.source == "model" for s in document.sentences)
    found = audit(row["bundle"], document.rendered)
    assert (found.unsupported, found.omitted, found.turned) == (0, 0, 0)


def test_the_vocabulary_holds_no_word_that_the_auditor_takes_for_a_fact() -> None:
    assert {part for word in VOCABULARY for part in word.replace("'", " ").replace("-", " ").split()} <= cues("en")


@pytest.mark.parametrize(
    ("lang", "sentence"),
    [
        ("en", "The patient underwent surgery during the visit."),
        ("en", "The patient was treated."),
        ("en", "The patient was vaccinated and reviewed."),
        ("en", "The patient continues therapy."),
        ("zh", "患者本次手术。"),
        ("zh", "患者继续治疗。"),
    ],
)
def test_an_act_that_no_fact_holds_does_not_pass(lang: str, sentence: str) -> None:
    checker = Checker(TASK.skeleton(TASK.read({"bundle": ROWS[0]["bundle"], "lang": lang})))
    assert "word" in checker.check(sentence).faults
