"""How Chinese writes what a checker must trace. Part of `domains.checks`.

There is no word segmentation: what no fact accounts for must be covered by words of the closed vocabulary,
whatever way it is cut, and what is left over is a fault. A word of the vocabulary that holds a negation or a
side is not used, since two harmless words could spell one ("并" and "非常" stand in "并非常见").

>>> list(HAN.breaks("今日就诊。脉搏76次/分。"))
[(5, 5), (13, 13)]
>>> list(HAN.leftovers("否认胸痛", frozenset({"胸痛"}))), list(HAN.leftovers("左膝", frozenset({"膝"})))
(['negation'], ['laterality'])
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from domains._figures import HELD
from domains._han_figures import han_dates, han_goes_on, han_normalise, han_numbers
from domains._han_numerals import NUMERALS
from domains._lexicon import NEGATIONS, looks_like_drug
from domains._orthography import Orthography, Part

__all__ = ["HAN", "HAN_NEGATIONS", "HAN_SENSES", "HAN_SIDES", "HAN_STOPS", "HAN_WORDS", "joined"]

HAN_WORDS = frozenset(
    """的 了 在 为 是 有 于 与 和 及 并 且 其 该 此 这 以 由 从 至 到 对 被 把 均 仍 也 又 而 则 即 已 后 前 时 中
    内 间 期间 目前 现 现在 当前 同时 另 另外 其中 以及 并且 还 又有 还有 包括 上述 根据 按照 通过 进行 予以
    给予 本次 此次 今日 当日 之后 之前 期末 期初 主要 相关 有关 情况 具体 具有 存在 属于 作为 成为 称为 合计 共
    共计 总计 各 各项 显示 可见 记录 记载 说明 所示 表示 及其 并于 现有 继续 随后 同期 之间 方面""".split()  # noqa: SIM905
)
"""Function words that carry no fact: the base of every pack's vocabulary for prose in Chinese.

Left out on purpose: what makes a figure a guess (以上, 约), a condition (如果), a plan (将), a list open (等), or
a swap possible (分别).
"""
_REASONS = ("由于", "因此", "从而", "由此", "以致", "为此")
"""Words that two harmless ones would spell; they pass only where the vocabulary has them whole."""

HAN_SENSES = {
    "up": "上升 增长 增加 提高 上涨 升高 增至 升至 增长至 上升至 提高至 增加至 上调 回升 攀升 走高 增幅 涨幅 高于",
    "down": "下降 减少 降低 下滑 下跌 回落 降至 减至 下降至 减少至 降低至 下调 走低 降幅 跌幅 低于 缩减",
    "flat": "持平 不变 稳定 维持 平稳",
}
"""Direction -> the words that state it."""
_SENSE = {w: sense for sense, words in HAN_SENSES.items() for w in words.split()}
_DIRECTION = re.compile("|".join(sorted(_SENSE, key=len, reverse=True)))

_NEGATING = "无未没否非不勿莫毋禁停免忌弗拒"
HAN_NEGATIONS = frozenset(_NEGATING) | frozenset(
    "没有 否认 未见 未闻及 未触及 阴性 排除 除外 缺如 缺乏 消失 终止 中断 取消 拒绝 停用 中止 撤销 避免".split()  # noqa: SIM905
)
"""Characters and words that turn a statement around."""
HAN_SIDES = "左右双侧"
"""Characters that say which side of the body is meant."""
_SAFE = frozenset({"不变"})
_HIDING = ("阴性", "排除", "除外", "缺如", "缺乏", "消失", "终止", "中断", "取消", "中止", "撤销")
_DRUGS = re.compile(
    r"霉素|沙星|洛尔|普利|沙坦|他汀|地平|西林|头孢|列汀|列净|鲁肽|格列|单抗|替尼|咪唑|康唑|拉唑|双胍|洛韦|韦德|西泮|唑仑|"
    r"肝素|匹林|布洛芬|胰岛素|激素|地塞|可待因|吗啡|胶囊|注射液|片剂|颗粒"
)

HAN_STOPS = "。！？；"
"""Marks that end a sentence."""
_STOP = re.compile(rf"[{HAN_STOPS}]+[”’」』）》]*|(?<=[.])\s+(?=[A-Z0-9])|(?<=[A-Za-z]{{2}}[.])(?=[\u3400-\u9fff])")
_SYMBOLS = frozenset(" .,;:()'\"-–—/&" + "，。；：！？（）、《》“”‘’「」『』【】·" + HELD)
_RUN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff々〇]+")
_LATIN = re.compile(r"[^\W\d_\u3400-\u9fff\uf900-\ufaff々〇]+(?:'[A-Za-z]+)?")
_LIST = re.compile(r"、|，|和|及|与|或|以及")
_COMPARED = re.compile(r"(?:由|从|自|较|比|相比|对比|(?:上年|去年|上期|上一年|前一年|上季度|同期)的?)(?:为|是)?$")
_LEVEL = re.compile(r"[增升涨高长加降少低滑落跌减](?:至|到|为|达到)$")
_MOVED = re.compile(
    r"(?:上[升涨调]|增[长加幅]|提高|升高|涨幅|回升|攀升|下[降滑跌调]|减少|降[低幅]|回落|跌幅|缩减)了?约?$"
)


def joined(left: str, right: str) -> str:
    """Two sentences set one after the other: with a space, unless the first ends with a Chinese stop."""
    return left + right if left[-1:] in tuple(HAN_STOPS + "”’」』）》") else f"{left} {right}".strip()


def _phrases(phrases: Iterable[str]) -> re.Pattern[str]:
    """Letters and digits at an edge of a phrase never stand inside a longer word or number."""
    ordered = sorted({han_normalise(p) for p in phrases} - {""}, key=lambda p: (-len(p), p))
    return re.compile("|".join(_bounded(p) for p in ordered) or r"(?!)", re.IGNORECASE)


def _bounded(phrase: str) -> str:
    """One phrase with what may not stand beside it."""
    first, last = phrase[0], phrase[-1]
    left = right = ""
    if first.isascii() and first.isalnum():
        left = r"(?<![A-Za-z0-9_+<>~.-])(?<!\d[,/])"
    if first.isdigit() or first in NUMERALS:
        left += rf"(?<![\d.{NUMERALS}点第负之数几])"
    if last.isascii() and last.isalnum():
        right = r"(?![A-Za-z0-9_])(?!-\w)(?![.,/:]\d)"
    if last.isdigit() or last in NUMERALS:
        right += rf"(?![\d{NUMERALS}])"
    return left + re.escape(phrase) + right


def _breaks(text: str) -> Iterator[tuple[int, int]]:
    """After a stop and the marks that close with it."""
    for m in _STOP.finditer(text):
        yield (m.start(), m.end()) if m.group().isspace() else (m.end(), m.end())


@lru_cache(maxsize=64)
def _usable(vocabulary: frozenset[str]) -> tuple[frozenset[str], int, re.Pattern[str]]:
    """The words that may cover text, the length of the longest, and those written like numbers."""
    words = frozenset(
        w
        for w in vocabulary
        if w in _SAFE
        or (_RUN.fullmatch(w) and not any(c in w for c in _NEGATING + HAN_SIDES) and not any(h in w for h in _HIDING))
    )
    counted = sorted((w for w in words if len(w) > 1 and any(c in NUMERALS + "半" for c in w)), key=len, reverse=True)
    pattern = rf"(?<![\d{NUMERALS}点第负])(?:{'|'.join(counted)})" if counted else r"(?!)"
    return words, max(map(len, words), default=0), re.compile(pattern)


def _plain(text: str, vocabulary: frozenset[str]) -> Iterator[tuple[int, int]]:
    """一般 and 进一步, where the vocabulary has them, hold no one."""
    for m in _usable(vocabulary)[2].finditer(text):
        yield m.span()


def _directions(text: str) -> list[Part]:
    return [(m.start(), m.end(), _SENSE[m.group()]) for m in _DIRECTION.finditer(text)]


def _leftovers(rest: str, vocabulary: frozenset[str]) -> Iterator[str]:
    """Chinese must be covered by the vocabulary; other words are looked up one by one."""
    for run in _RUN.finditer(rest):
        for piece in _uncovered(run.group(), vocabulary):
            yield _kind(piece)
    for m in _LATIN.finditer(rest):
        word = m.group().lower()
        if word in NEGATIONS:
            yield "negation"
        elif word not in vocabulary:
            yield "drug" if looks_like_drug(word) else "word"
    if any(c not in _SYMBOLS for c in _LATIN.sub("", _RUN.sub("", rest))):
        yield "symbol"


def _kind(piece: str) -> str:
    """What an unknown piece of Chinese is, by what is worst in it."""
    if any(c in piece for c in _NEGATING) or any(h in piece for h in _HIDING):
        return "negation"
    if any(c in piece for c in HAN_SIDES):
        return "laterality"
    if any(c in piece for c in NUMERALS + "半"):
        return "number"
    return "drug" if _DRUGS.search(piece) else "word"


def _uncovered(run: str, vocabulary: frozenset[str]) -> list[str]:
    """The pieces that no cutting into words of the vocabulary covers, of the cutting that covers most."""
    words, longest, _ = _usable(vocabulary)
    # No two words of the vocabulary may spell a negation or a reason: these are covered by nothing.
    for hidden, mark in [*((h, "无") for h in _HIDING), *((r, HELD) for r in _REASONS)]:
        run = run if hidden in words else run.replace(hidden, mark * len(hidden))
    best: list[tuple[int, int]] = [(0, 0)] * (len(run) + 1)
    for i in range(len(run) - 1, -1, -1):
        options = [(best[i + n][0], n) for n in range(1, min(longest, len(run) - i) + 1) if run[i : i + n] in words]
        best[i] = min([(best[i + 1][0] + 1, 0), *options], key=lambda o: (o[0], -o[1]))
    pieces, i, piece = [], 0, ""
    while i < len(run):
        if size := best[i][1]:
            pieces += [piece] if piece else []
            piece, i = "", i + size
        else:
            piece, i = piece + run[i], i + 1
    return pieces + ([piece] if piece else [])


def _role(text: str, roles: Sequence[Part], names: Sequence[tuple[int, int]], name: tuple[int, int]) -> str | None:
    """The word of a role that closes the list in which a name stands (对青霉素过敏), or else the last one before it.

    A word that closes a list governs nothing after it.
    """
    end = name[1]
    while True:
        after = end + 1 if text[end : end + 1] == "有" else end
        if closing := next((r for r in roles if r[0] in (end, after)), None):
            return closing[2]
        gap = _LIST.match(text, end)
        following = next((n for n in names if gap and n[0] == gap.end()), None)
        if following is None:
            break
        end = following[1]
    ends = {n[1] for n in names}
    closed = {r for r in roles if r[0] in ends or (text[r[0] - 1 : r[0]] == "有" and r[0] - 1 in ends)}
    return next((r[2] for r in reversed(roles) if r[1] <= name[0] and r not in closed), None)


HAN = Orthography(
    normalise=han_normalise,
    phrases=_phrases,
    breaks=_breaks,
    plain=_plain,
    numbers=han_numbers,
    dates=han_dates,
    goes_on=han_goes_on,
    directions=_directions,
    leftovers=_leftovers,
    role=_role,
    compared=_COMPARED,
    level=_LEVEL,
    moved=_MOVED,
    year_first=True,
)
