"""The filter's classifier sees kinds of words and what meets what; bad rows are refused by number."""

import random
from pathlib import Path

import numpy as np
import pytest

from domains._offence_features import PRIOR, feature_words, known_words
from domains.classifying import Classifier
from domains.evaluation import Bench
from domains.filter_measures import measure
from domains.filter_task import LABELS, FilterTask, make_filter_base
from fedcore.errors import RecordError

TASK = FilterTask()
RUDE = "外地人都是垃圾，滚出去！"
FAIR = "不要歧视外地人，每个地方都有好人。"


def test_kinds_that_meet_in_one_clause_are_seen() -> None:
    together, apart = feature_words("外地人是垃圾"), feature_words("外地人来了，垃圾在这")
    assert "c:group+slur" in together
    assert "c:group+slur" not in apart
    assert {"k:group", "k:slur"} <= set(together) & set(apart)


def test_a_disguise_changes_no_feature() -> None:
    assert feature_words("垃\u200b圾 ＳＢ") == feature_words("垃圾 sb")


def test_every_word_that_is_known_can_be_given_a_place_and_the_prior_names_known_ones() -> None:
    known = known_words()
    assert len(set(known)) == len(known)
    assert not any(w.split() != [w] for w in known)
    assert set(PRIOR) <= set(known)
    seen = {w for text in (RUDE, FAIR) for w in feature_words(text) if ":" in w}
    assert seen <= set(known)


def test_the_base_tells_insult_from_plea_before_any_training(tmp_path: Path) -> None:
    make_filter_base(tmp_path / "base", dimension=8)
    judge = Classifier.load(tmp_path / "base")
    assert judge.labels == LABELS
    rude, fair = judge.logits([TASK.prompt(TASK.read({"text": t})) for t in (RUDE, FAIR)])
    assert rude[1] - rude[0] > 0 > fair[1] - fair[0]
    make_filter_base(tmp_path / "blank", dimension=8, prior=False)
    assert np.abs(Classifier.load(tmp_path / "blank").logits(["k:slur"])).max() == 0


def test_labels_are_names_or_numbers_and_nothing_else() -> None:
    for label, name in ((0, "fine"), (1, "offensive"), ("1", "offensive"), ("fine", "fine")):
        assert TASK.examples({"text": "x", "label": label}, unit="u")[0].label == name
    for fields in ({"text": "x"}, {"text": "x", "label": "rude words"}, {"text": " ", "label": 1}, {"label": 1}):
        with pytest.raises(RecordError) as raised:
            TASK.examples(fields, unit="u")
        assert "rude words" not in str(raised.value)


def test_the_measure_scores_the_base_alone_where_nothing_is_trained() -> None:
    chooser = random.Random(1)  # noqa: S311
    rows = [{"input": f"{t}{chooser.randint(0, 999)}", "label": y} for y, t in ((1, RUDE), (0, FAIR)) for _ in range(8)]
    scores = measure(Bench(rows=rows, records=Path()))
    assert scores.metrics["filter_macro_f1"] == 1.0
    assert scores.metrics["leaked"] == 0
    assert scores.metrics["false_blocks"] <= 0.05
    assert scores.details["scored"] == 16
    with pytest.raises(RecordError, match="row 2"):
        measure(Bench(rows=[rows[0], {"input": "x", "label": 9}], records=Path()))
