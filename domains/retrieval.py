"""Find the texts that belong to a question: BM25 over words, and vectors where there is an encoder, fused.

English words lose their endings by a few rules; Chinese is cut by jieba, and its characters count in pairs as
well, so that a cut that went wrong still finds its clause. A title counts beside its text, with less weight.
Nothing here knows what the texts are about.

>>> index = Index([("Deadlines", "Reports are filed within 30 days."), ("", "Records are kept for six years.")])
>>> [i for i, _ in index.search("How long must a record be kept?", 1)]
[1]
>>> terms("The firms reported policies.")
['firm', 'report', 'policy']
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domains.dense import Embeds, FloatArray

__all__ = ["Index", "is_chinese", "terms"]

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|\d+(?:[.,]\d+)*|[\u3400-\u9fff]+")
_STOP = frozenset(
    """a an the and or of to in on at by for with from as is are was were be been being it its this that these those
    which who whom whose what when where how why can could may might must shall should will would do does did has have
    had not no any such other than then there their they them he she his her you your we our us i if into under over
    about also each all both between during upon per via within without please provide elaborate clarify explain
    的 了 和 与 及 或 在 是 有 对 为 于 以 之 其 等 并 由 被 将 把 从 到 而 且 也 都 就 个 各 该 本 这 那
    吗 呢 如何 什么 怎么 哪些 是否 请问
    """.split()  # noqa: SIM905
)
_ENDINGS = (
    ("ational", "ate"), ("isations", "ise"), ("izations", "ize"), ("isation", "ise"), ("ization", "ize"),
    ("ations", "ate"), ("ation", "ate"), ("ements", ""), ("ement", ""), ("ments", ""), ("ment", ""), ("nesses", ""),
    ("ness", ""), ("ities", ""), ("ity", ""), ("ingly", ""), ("edly", ""), ("ings", ""), ("ing", ""), ("ies", "y"),
    ("ied", "y"), ("ively", ""), ("ive", ""), ("ions", ""), ("ion", ""), ("ers", ""), ("er", ""), ("ally", "al"),
    ("ly", ""), ("sses", "ss"), ("es", ""), ("ed", ""), ("s", ""),
)  # fmt: skip
_TITLE_SHARE = 0.1
"""How much a title's BM25 score counts beside its text's."""
_DENSE_SHARE = 0.6
"""How much vectors count where there are any; the rest is BM25's."""
_NEIGHBOUR_SHARES = (0.2, 0.1)
"""How much of its score a text lends to the next in its document, and to the one after."""
_HEADING_WORDS = 6
_STOPS = (".", ";", ":", "。", "；", "：", "!", "?")


def is_chinese(text: str) -> bool:
    """Whether a fifth of a text's letters are Chinese."""
    letters = [c for c in text if c.isalpha()]
    return 5 * sum("\u3400" <= c <= "\u9fff" for c in letters) >= len(letters) > 0


def terms(text: str) -> list[str]:
    """The words that a text is found by, in their order."""
    out: list[str] = []
    for run in _WORD.findall(unicodedata.normalize("NFKC", text).lower()):
        if run[0] < "\u3400":
            if run not in _STOP:
                out.append(_stem(run))
            continue
        out += [w for w in _cut(run) if w not in _STOP]
        out += ["".join(pair) for pair in pairwise(run)]
    return out


@lru_cache(maxsize=65536)
def _stem(word: str) -> str:
    """A word without its ending, at least three letters; a doubled last letter and a last e go too."""
    if word[0].isdigit() or len(word) < 4:
        return word
    word = word.partition("'")[0]
    for ending, instead in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith(("ss", "us", "is")):
            word = word[: len(word) - len(ending)] + instead
            break
    if len(word) > 4 and word[-1] == word[-2] and word[-1] not in "aeiouls":
        word = word[:-1]
    return word[:-1] if len(word) > 4 and word[-1] == "e" else word


def _cut(run: str) -> list[str]:
    """jieba's words of a run of Chinese; its dictionary is loaded on first use."""
    import jieba

    jieba.setLogLevel(60)
    return [str(word) for word in jieba.cut(run)]


class Index:
    """A searchable list of (title, text) pairs. It never changes.

    Args:
        pairs: Titles may be empty.
        sources: The document of each; a text is then also found by its neighbours in the same document, as a
            rule is by what stands before and after it.
        embeds: An encoder; its vectors are made on the first search.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[str, str]],
        *,
        sources: Sequence[str] | None = None,
        embeds: Embeds | None = None,
    ) -> None:
        self._pairs = tuple(pairs)
        self._sources = np.array(sources) if sources is not None else None
        self._embeds = embeds

    def __len__(self) -> int:
        return len(self._pairs)

    def search(self, query: str, k: int) -> list[tuple[int, float]]:
        """The best k places with their scores, best first; equal scores in the order of the list.

        Without an encoder, texts that share no word with the query are not found. Headings never are: they
        lend their words to what stands below them. Scores compare within one search alone.
        """
        if not self._pairs:
            return []
        lexical = self.lexical(query)
        scores = _standard(lexical)
        may = lexical > 0
        if self._embeds is not None:
            dense = self.vectors @ self._embeds.embed([query])[0]
            scores = (1 - _DENSE_SHARE) * scores + _DENSE_SHARE * _standard(dense)
            may = np.ones_like(may)
        scores = self._with_neighbours(scores)
        may &= ~self._headings
        order = [int(i) for i in np.argsort(-scores, kind="stable") if may[i]][:k]
        return [(i, float(scores[i])) for i in order]

    def lexical(self, query: str) -> FloatArray:
        """BM25 over words and pairs of words of every text, its title's share added; 0 where nothing is shared."""
        words = _with_pairs(terms(query))
        texts, titles = self._bm25
        return _scores(texts, words, len(self)) + _TITLE_SHARE * _scores(titles, words, len(self))

    @cached_property
    def vectors(self) -> FloatArray:
        """The encoder's vectors of the texts."""
        if self._embeds is None:
            return np.zeros((len(self), 0), dtype=np.float32)
        return self._embeds.embed([text for _, text in self._pairs])

    @cached_property
    def _bm25(self) -> tuple[Any, Any]:
        texts = [_with_pairs(terms(text)) for _, text in self._pairs]
        return _bm25(texts), _bm25([terms(title) for title, _ in self._pairs])

    @cached_property
    def _headings(self) -> NDArray[np.bool_]:
        """Texts of a few words without a stop, where others have more."""
        short = np.array([len(terms(t)) < _HEADING_WORDS and t.rstrip()[-1:] not in _STOPS for _, t in self._pairs])
        return short if not short.all() else np.zeros_like(short)

    def _with_neighbours(self, scores: FloatArray) -> FloatArray:
        if self._sources is None:
            return scores
        out = scores.copy()
        for distance, share in enumerate(_NEIGHBOUR_SHARES, 1):
            same = (self._sources[distance:] == self._sources[:-distance]).astype(np.float32)
            out[distance:] += share * scores[:-distance] * same
            out[:-distance] += share * scores[distance:] * same
        return out


def _with_pairs(words: list[str]) -> list[str]:
    """English words and, beside them, each with the next; Chinese ones come in pairs already."""
    return words + [f"{a} {b}" for a, b in pairwise(words) if a.isascii() and b.isascii()]


def _standard(scores: FloatArray) -> FloatArray:
    """Mean 0 and standard deviation 1."""
    spread = float(scores.std())
    out: FloatArray = (scores - scores.mean()) / (spread if spread > 1e-9 else 1.0)
    return out


def _bm25(documents: list[list[str]]) -> Any:
    """An index, or None where no document has a word."""
    if not any(documents):
        return None
    import bm25s

    index = bm25s.BM25(k1=1.5, b=0.75, method="lucene")
    index.index(documents, show_progress=False)
    return index


def _scores(index: Any, words: list[str], n: int) -> FloatArray:
    """BM25 of every document; words that no document has count nothing."""
    known = [w for w in words if index is not None and w in index.vocab_dict]
    if not known:
        return np.zeros(n, dtype=np.float32)
    scores: FloatArray = index.get_scores(known).astype(np.float32)
    return scores
