"""What belongs to a question is found, in English and in Chinese, with vectors and without."""

from collections.abc import Sequence

import numpy as np

from domains.dense import FloatArray, NgramVectors
from domains.retrieval import Index, is_chinese, terms

TEXTS = [
    ("", "A complaint must be answered within 15 days."),
    ("", "Records of customers must be kept for six years."),
    ("", "个人信息处理者应当制定应急预案。"),
    ("", "保险人应当在三十日内作出核定。"),
]


class Pointing:
    """An encoder that puts every text at one place of our choice."""

    name, dimension = "pointing", 2

    def embed(self, texts: Sequence[str]) -> FloatArray:
        return np.array([[1, 0] if "answered" in t or t == "?" else [0, 1] for t in texts], dtype=np.float32)


def test_words_find_their_text_in_both_languages() -> None:
    index = Index(TEXTS)
    assert index.search("How long must customer records be kept?", 1)[0][0] == 1
    assert index.search("核定的期限是多少日", 1)[0][0] == 3


def test_without_vectors_nothing_is_found_by_no_word() -> None:
    assert Index(TEXTS).search("zebra", 3) == []


def test_vectors_find_what_no_word_does() -> None:
    assert Index(TEXTS, embeds=Pointing()).search("?", 1)[0][0] == 0


def test_headings_are_not_found_but_lend_their_words() -> None:
    pairs = [
        ("", "Unrelated words stand here."),
        ("", "Gifts"),
        ("", "They are refused."),
        ("", "Offices close at noon."),
    ]
    found = [i for i, _ in Index(pairs, sources=["a"] * 4).search("gifts", 4)]
    assert 1 not in found
    alone = Index(pairs).search("refused gifts", 2)
    assert alone[0][0] == 2


def test_neighbours_of_another_document_lend_nothing() -> None:
    pairs = [("", "Gifts from clients are refused."), ("", "They are listed."), ("", "They are listed.")]
    near = Index(pairs, sources=["a", "a", "b"]).search("gifts listed", 3)
    scores = dict(near)
    assert scores[1] > scores[2]


def test_endings_and_stop_words_do_not_count() -> None:
    assert terms("The reporting of policies") == terms("reports, a policy")
    assert is_chinese("保险 policy 合同")
    assert not is_chinese("An insurance policy")


def test_ngram_vectors_are_unit_and_alike_for_alike_texts() -> None:
    a, b, c, empty = NgramVectors().embed(["不得泄露客户信息", "禁止泄露客户的信息", "每年披露报告", ""])
    assert abs(float(a @ a) - 1) < 1e-6
    assert float(empty @ empty) == 0
    assert a @ b > a @ c
