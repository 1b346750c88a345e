"""Plain words never change what a sentence states; where they would, the sentence stays as it is."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domains.base import Language
from domains.medicine import plain_language
from domains.medicine._kept import stated
from domains.medicine.glossary import Use
from domains.medicine.plain_language import PlainLanguageTask
from domains.pipeline import Document, Settings, WritesText, draft, generate
from fedcore.errors import RecordError

TASK = PlainLanguageTask()
NOTE = "HTN, on lisinopril 10 mg QD. Denies dyspnea. Left knee edema since 3/4/2024. Seen by Dr. Smith."


class _Model:
    """Words sentences as a function of the prompt's first line."""

    def __init__(self, word: "object") -> None:
        self._word = word

    def write(self, prompts: Sequence[str], *, max_new_tokens: int, temperature: float, seed: int) -> list[str]:
        return [" " + self._word(p.partition("\n")[0]) for p in prompts]  # type: ignore[operator]


def _plain(text: str, writer: WritesText | None = None, **fields: str) -> Document:
    return generate(TASK, TASK.read({"text": text, **fields}), writer, Settings())


def test_every_sentence_stands_beside_its_original_and_names_its_source() -> None:
    document = _plain(NOTE)
    assert [(s.original, s.text, s.source, s.rule) for s in document.sentences] == [
        (
            "HTN, on lisinopril 10 mg QD.",
            "High blood pressure, on lisinopril 10 mg every day.",
            "skeleton",
            "en.htn, en.qd",
        ),
        ("Denies dyspnea.", "Denies trouble breathing.", "skeleton", "en.dyspnea"),
        ("Left knee edema since 3/4/2024.", "Left knee swelling since 3/4/2024.", "skeleton", "en.edema"),
        ("Seen by Dr. Smith.", "Seen by Dr. Smith.", "skeleton", "plain.as-written"),
    ]


def test_a_trace_leads_from_plain_words_to_their_term() -> None:
    first = _plain(NOTE).sentences[0].to_dict()
    assert first["original"] == "HTN, on lisinopril 10 mg QD."
    assert [(t["text"], t["path"], t["derivation"]) for t in first["trace"]] == [
        ("High blood pressure", "text.sentence[0]", "glossary en.htn"),
        ("10 mg", "text.sentence[0]", ""),
        ("every day", "text.sentence[0]", "glossary en.qd"),
    ]


def test_a_chinese_text_is_known_by_its_letters() -> None:
    document = _plain("患者心悸，口服metoprolol 25mg bid。无水肿。")
    assert document.text == "患者心慌，吃metoprolol 25mg 每天两次。无肿。"
    assert TASK.read({"text": "患者心悸。", "lang": "en"}).lang == "zh"
    assert TASK.read({"text": "CT：ABC DEF GHI。", "lang": "zh"}).lang == "en"


@pytest.mark.parametrize(
    ("sentence", "gloss"),
    [
        ("He takes 5 mg for hypertension.", "low blood pressure, 6"),
        ("He takes 5 mg for hypertension.", "no high blood pressure"),
        ("He takes 5 mg for hypertension.", "left-sided pressure"),
        ("He takes 5 mg for hypertension.", "pressure once"),
    ],
)
def test_a_gloss_that_changes_a_statement_is_put_in_brackets(
    sentence: str, gloss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check decides, whatever a glossary says."""
    start = sentence.index("hypertension")
    use = Use(start=start, end=start + 12, term="hypertension", plain=gloss, entry="en.wrong")
    monkeypatch.setattr(plain_language, "find", lambda text, lang: (use,))
    (found,) = _plain(sentence).sentences
    assert found.text == "He takes 5 mg for hypertension (high blood pressure)."
    assert found.rule == "plain.bracketed: en.wrong"


@pytest.mark.parametrize(
    "word",
    [
        lambda s: s.replace("10", "20"),
        lambda s: s.replace("mg", "mcg"),
        lambda s: s.replace("Denies", "Has"),
        lambda s: s.replace("Left", "Right"),
        lambda s: s.replace("3/4", "4/3"),
        lambda s: s.replace("lisinopril", "losartan"),
        lambda s: s + " Call 911.",
        lambda s: s.replace(".", ", severe."),
        lambda s: "",
        lambda s: "This patient is well.",
        lambda s: s.replace("knee ", ""),
    ],
)
def test_a_model_that_changes_anything_is_not_heard(word: object) -> None:
    document = _plain(NOTE, _Model(word))
    plain = _plain(NOTE)
    for mine, safe in zip(document.sentences, plain.sentences, strict=True):
        if mine.source == "model":
            assert stated(mine.text, "en") == stated(safe.original, "en")
            assert mine.text == word(safe.original)  # type: ignore[operator]
        else:
            assert mine.text == safe.text
    assert document.replaced >= 1


def test_a_model_that_words_a_sentence_faithfully_is_heard() -> None:
    said = {"Denies dyspnea.": "Denies trouble breathing.", "Has edema.": "Has a swelling."}
    document = _plain("Has edema. Denies dyspnea.", _Model(said.get))
    assert [(s.text, s.source, s.rule) for s in document.sentences] == [
        ("Has a swelling.", "model", "en.edema"),
        ("Denies trouble breathing.", "model", "en.dyspnea"),
    ]
    assert document.replaced == 0


def test_a_model_hears_only_of_sentences_with_terms() -> None:
    heard: list[str] = []
    _plain("Has edema. Feels well.", _Model(lambda s: heard.append(s) or s))
    assert heard == ["Has edema."]


_PIECES = """no not denies left right bilateral edema dyspnea HTN afebrile nontender 5 12.5 120/80 mg mcg mmHg BID QD
q8h prn two once 3/4/2024 , ; and with knee pain lisinopril hypotension discontinued nausea (fever) LLE"""


@given(st.lists(st.sampled_from(_PIECES.split()), min_size=1, max_size=14))
def test_whatever_is_written_its_statements_are_kept(words: list[str]) -> None:
    sentence = " ".join(words) + "."
    (found,) = _plain(sentence).sentences
    if not found.rule.startswith("plain.bracketed"):
        assert stated(found.text, "en") == stated(sentence, "en")
    assert found.original == sentence


@given(
    st.lists(st.sampled_from(list("无否认左右双侧心悸水肿发热，每日两次三天5毫克mg bid口服")), min_size=1, max_size=20)
)
def test_whatever_is_written_in_chinese_its_statements_are_kept(characters: list[str]) -> None:
    text = "患者" + "".join(characters) + "。"
    for found in _plain(text, lang="zh").sentences:
        if not found.rule.startswith("plain.bracketed"):
            assert stated(found.text, "zh") == stated(found.original, "zh")


@pytest.mark.parametrize(
    ("one", "other", "lang"),
    [
        ("5 mg BID", "5 mg TID", "en"),
        ("5 mg", "5 mcg", "en"),
        ("5 mg", "50 mg", "en"),
        ("no pain", "pain", "en"),
        ("afebrile", "febrile", "en"),
        ("left knee", "right knee", "en"),
        ("left knee", "bilateral knee", "en"),
        ("3/4/2024", "4/5/2024", "en"),
        ("120/80", "120/90", "en"),
        ("two stones", "three stones", "en"),
        ("every 6 hours", "every 8 hours", "en"),
        ("12 ng/dL", "12 pg/dL", "en"),
        ("BP 1 then 2", "BP 2 then 1", "en"),
        ("左膝", "右膝", "zh"),
        ("双膝", "左膝", "zh"),
        ("无发热", "发热", "zh"),
        ("5毫克", "5微克", "zh"),
        ("每日两次", "每日三次", "zh"),
        ("三天", "四天", "zh"),
        ("2020年9月8日", "2020年9月9日", "zh"),
    ],
)
def test_a_change_is_seen(one: str, other: str, lang: Language) -> None:
    assert stated(one, lang) != stated(other, lang)


def test_a_skeleton_says_every_sentence_by_itself() -> None:
    source = TASK.read({"text": NOTE})
    document = draft(TASK, TASK.skeleton(source), TASK.prompt(source), None, Settings())
    assert document.text == _plain(NOTE).text


def test_training_pairs_sentences_where_it_can() -> None:
    pair = TASK.examples({"text": "Has edema. Well.", "plain": "Has swelling. Feels well."}, unit="p")
    assert [(e.prompt.partition("\n")[0], e.target) for e in pair] == [
        ("Has edema.", " Has swelling."),
        ("Well.", " Feels well."),
    ]
    (whole,) = TASK.examples({"text": "Has edema. Well.", "plain": "Swelling, well."}, unit="p")
    assert whole.prompt.endswith("Plain words:")


@pytest.mark.parametrize(
    "fields", [{}, {"text": ""}, {"text": 3}, {"text": "x", "lang": "fr"}, {"text": "x" * 200_001}]
)
def test_what_is_no_text_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(RecordError):
        TASK.read(fields)
