"""Edits of a rule's text that we know to conflict with it, and edits that we know to be harmless.

Only the measure uses them. The tables here are written apart from those that parse clauses: nothing is shared,
so that what the parser does not know can show. An edit returns None where a text gives it nothing to change.

>>> from random import Random
>>> CONFLICTS["duty made optional"]("银行应当报告。", Random(1))
'银行可以报告。'
>>> HARMLESS["digits for words"]("应当在三十日内报告。", Random(1))
'应当在30日内报告。'
"""

import re
from collections.abc import Callable, Mapping, Sequence
from random import Random

__all__ = ["CONFLICTS", "HARMLESS", "HELD_OUT", "Edit"]

Edit = Callable[[str, Random], str | None]

_ZH_NUMBERS = ["一", "二", "三", "五", "六", "七", "十", "十五", "二十", "三十", "四十五", "六十", "九十"]
_EN_NUMBERS = ["one", "two", "three", "five", "six", "seven", "ten", "twelve", "fifteen", "twenty", "thirty"]
_ZH_VALUES = {
    "一": 1,
    "二": 2,
    "三": 3,
    "五": 5,
    "六": 6,
    "七": 7,
    "十": 10,
    "十五": 15,
    "二十": 20,
    "三十": 30,
    "四十五": 45,
    "六十": 60,
    "九十": 90,
}
_EN_VALUES = dict(zip(_EN_NUMBERS, (1, 2, 3, 5, 6, 7, 10, 12, 15, 20, 30), strict=True))
_ZH_FIGURE = re.compile(
    r"(?<![第\d.一二三四五六七八九十百千万条款项])(?P<n>(?:四十五|二十|三十|六十|九十|十五|[一二三五六七十]))"
    r"(?P<u>日|个月|年(?!度)|个工作日|小时|万元|倍(?!以)|名(?=[^称誉义]))(?![以上]?前款)"
)
_FIGURE = re.compile(
    r"(?<![\d.,第$])(?P<c>\$?)(?P<n>\d{1,4})(?P<u>%|日|个月|年(?!\d)|个工作日|小时|万元|元"
    r"| (?:business |working )?days?\b| hours?\b| months?\b| years?\b|(?= from a| in | a year| in one))"
)
_EN_FIGURE = re.compile(
    rf"\b(?P<n>{'|'.join(_EN_NUMBERS)})(?P<u> (?:business |working )?(?:days?|hours?|months?|years?))\b"
)
_ZH_SUBJECTS = (
    "保险人",
    "投保人",
    "被保险人",
    "受益人",
    "发行人",
    "证券公司",
    "基金管理人",
    "基金托管人",
    "商业银行",
    "经营者",
    "消费者",
    "医疗机构",
    "医师",
    "患者",
    "广告主",
    "广告发布者",
    "个人信息处理者",
    "网络运营者",
    "监管机构",
    "客户",
    "银行",
    "借款人",
    "贷款人",
    "经纪商",
    "合规官",
    "董事会",
    "保险代理人",
    "投资顾问",
    "处理者",
    "证券交易所",
)
_EN_SUBJECTS = (
    "firm",
    "employee",
    "adviser",
    "controller",
    "regulator",
    "bank",
    "lender",
    "borrower",
    "broker",
    "issuer",
    "policyholder",
    "insurer",
    "agent",
    "compliance officer",
    "board",
)


def _chance(
    text: str, pattern: re.Pattern[str], random: Random, new: Callable[[re.Match[str]], str | None]
) -> str | None:
    """One match of a pattern replaced."""
    found = list(pattern.finditer(text))
    random.shuffle(found)
    for m in found:
        instead = new(m)
        if instead is not None and instead != m.group():
            return text[: m.start()] + instead + text[m.end() :]
    return None


def _swap(*pairs: tuple[str, str]) -> Edit:
    """An edit that replaces one of some wordings."""

    def edit(text: str, random: Random) -> str | None:
        order = list(pairs)
        random.shuffle(order)
        for old, new in order:
            out = _chance(text, re.compile(old), random, lambda m, new=new: m.expand(new))  # type: ignore[misc]
            if out is not None:
                return out
        return None

    return edit


def _other_number(text: str, random: Random) -> str | None:
    """Another figure with the same unit, written the same way."""

    def zh(m: re.Match[str]) -> str:
        return random.choice([n for n in _ZH_NUMBERS if _ZH_VALUES[n] not in (_ZH_VALUES[m["n"]],)]) + m["u"]

    def digits(m: re.Match[str]) -> str:
        return m["c"] + str(int(m["n"]) * random.choice((2, 3)) if random.random() < 0.5 else int(m["n"]) + 5) + m["u"]

    def en(m: re.Match[str]) -> str:
        return random.choice([n for n in _EN_NUMBERS if n not in (m["n"], "one")]) + m["u"]

    for pattern, new in ((_ZH_FIGURE, zh), (_FIGURE, digits), (_EN_FIGURE, en)):
        out = _chance(text, pattern, random, new)
        if out is not None:
            return out
    return None


def _other_subject(text: str, random: Random) -> str | None:
    """Somebody else before the modal."""

    def zh(m: re.Match[str]) -> str:
        return (
            random.choice([s for s in _ZH_SUBJECTS if s not in m["s"] and m["s"] not in s and s not in text]) + m["m"]
        )

    def en(m: re.Match[str]) -> str:
        options = [s for s in _EN_SUBJECTS if s != m["s"] and s not in text]
        return f"{m['a']} {random.choice(options)} {m['m']}"

    chinese = re.compile(rf"(?:(?<=^)|(?<=[，。\n；]))(?P<s>{_longest(_ZH_SUBJECTS)})(?P<m>应当|不得|可以|必须)")
    english = re.compile(rf"\b(?P<a>[Tt]he|[Aa]n?) (?P<s>{_longest(_EN_SUBJECTS)}) (?P<m>must|may)\b")
    return _chance(text, chinese, random, zh) or _chance(text, english, random, en)


def _longest(names: Sequence[str]) -> str:
    """Any of some names, the longest first."""
    return "|".join(sorted(names, key=len, reverse=True))


def _parts(text: str) -> list[str]:
    """Sentences with their marks."""
    return [p for p in re.findall(r"[^。；.\n]+(?:[。；\n]+|\.\s*|$)", text) if p.strip()]


def _drop_duty(text: str, random: Random) -> str | None:
    """One sentence that binds is left out, of two or more."""
    parts = _parts(text)
    binding = [p for p in parts if re.search(r"应当|不得|必须|\bmust\b", p) and len(p) > 12]
    if len(parts) < 2 or not binding or re.search(r"[:：]\s*[(（]", text):
        return None
    gone = random.choice(binding)
    left = "".join(p for p in parts if p is not gone).strip()
    return left if len(left) >= 0.4 * len(text) else None  # Enough must stay to tell which rule it is.


def _reorder(text: str, random: Random) -> str | None:
    """Sentences in another order."""
    parts = [p.strip() for p in _parts(text)]
    if len(parts) < 2 or re.search(r"[:：]|前款|前两款|前项|[Ii]t must|其[^他中]", text):
        return None
    turned = parts[1:] + parts[:1]
    joined = [p if p[-1] in "。；." else p + "。" for p in turned]
    return (" " if text.isascii() else "").join(joined)


def _reword(*pairs: tuple[str, str]) -> Edit:
    """All of some wordings replaced by others of the same meaning."""

    def edit(text: str, random: Random) -> str | None:
        out = text
        for old, new in pairs:
            out = re.sub(old, new, out)
        return out if out != text else None

    return edit


def _digits(text: str, random: Random) -> str | None:
    out = _ZH_FIGURE.sub(lambda m: f"{_ZH_VALUES[m['n']]}{m['u']}", text)
    out = _EN_FIGURE.sub(lambda m: f"{_EN_VALUES[m['n']]}{m['u']}", out)
    return out if out != text else None


def _words(text: str, random: Random) -> str | None:
    back_zh, back_en = {v: k for k, v in _ZH_VALUES.items()}, {v: k for k, v in _EN_VALUES.items()}

    def new(m: re.Match[str]) -> str:
        value = int(m["n"])
        if m["c"] or m["u"] in ("%", ""):
            return m.group()
        if m["u"][0] == " ":
            return back_en[value] + m["u"] if value in back_en else m.group()
        return back_zh[value] + m["u"] if value in back_zh else m.group()

    out = _FIGURE.sub(new, text)
    return out if out != text else None


def _full_width(text: str, random: Random) -> str | None:
    out = re.sub(r"[0-9]", lambda m: chr(ord(m.group()) + 0xFEE0), text).replace("%", "％")
    return out if out != text else None


def _example(text: str, random: Random) -> str | None:
    """An illustration that binds nobody."""
    if re.search(r"[\u3400-\u9fff]", text):
        if not text.rstrip().endswith("。"):
            return None
        chinese = (
            "例如，常见情形包括线上渠道和线下网点。",
            "比如柜面、电话以及网络等渠道。",
            "具体示例见内部操作手册。",
        )
        return text.rstrip() + random.choice(chinese)
    more = ("Examples are listed in the staff handbook.", "For example, this covers branches and online channels.")
    return text.rstrip() + " " + random.choice(more)


def _frame(text: str, random: Random) -> str | None:
    """Words before the rule that say nothing of their own."""
    if re.search(r"[\u3400-\u9fff]", text):
        return random.choice(("根据有关要求，本公司规定如下：", "为进一步规范管理，明确如下：")) + text
    return random.choice(("For the avoidance of doubt: ", "In line with our values, the following applies: ")) + text


def _equal_unit(text: str, random: Random) -> str | None:
    """The same time in another unit."""
    pairs = (
        (r"(?<![一二三四五六七八九十\d])一年(?=[内以后前])", "十二个月"),
        (r"(?<![一二三四五六七八九十\d])二年(?=[内以后前])", "二十四个月"),
        (r"六个月", "半年"),
        (r"二十四小时", "一日"),
        (r"\b24 hours", "one day"),
        (r"\b48 hours", "two days"),
        (r"(?<!\d)24小时", "1日"),
        (r"(?<!\d)48小时", "2日"),
        (r"(?<!\d)72小时", "3日"),
        (r"\b72 hours", "three days"),
        (r"十二个月", "一年"),
    )
    return _swap(*pairs)(text, random)


def _numbered(text: str, random: Random) -> str | None:
    """The number that a policy would give it."""
    if re.search(r"[\u3400-\u9fff]", text):
        return random.choice(("3.2 ", "（四）", "七、")) + text
    return random.choice(("3.2 ", "(d) ", "7. ")) + text


CONFLICTS: Mapping[str, Edit] = {
    "other number": _other_number,
    "other unit": _swap(
        (r"(?<=[一二三五六七十百\d])(?:个工作)?日(?=[内前])", "个月"),
        (r"(?<=[一二三五六七十百\d])个月(?=[内前])", "年"),
        (r"(?<=[一二三五六七十百\d])小时(?=[内之])", "日"),
        (r"(?<=\d|[一二三五十百])万元", "元"),
        (r"(?<= )(?:business |working )?days\b", "months"),
        (r"\bhours\b", "weeks"),
        (r"\bmonths\b", "years"),
        (r"(?<=[至少于存])(?P<n>\d+|[一二三五六七十百]+)年", r"\g<n>个月"),
    ),
    "comparison turned": _swap(
        ("不得少于", "不得超过"),
        ("不少于", "不超过"),
        ("不得低于", "不得高于"),
        ("不低于", "不高于"),
        ("至少", "最多"),
        (r"(?<=[一二三四五六七八九十百千万分之日月年\d元%岁人])以上(?!.{0,14}以下)", "以下"),
        ("不得超过", "不得少于"),
        ("不超过", "不少于"),
        (r"\bat least\b(?! once)", "at most"),
        (r"\bno less than\b", "no more than"),
        (r"\bno more than\b", "no less than"),
        (r"\bmust not exceed\b", "must exceed"),
        (r"not accept (.{0,20})more than", r"not accept \1less than"),
    ),
    "duty made optional": _swap(("应当", "可以"), ("必须", "可以"), (r"\bmust(?! not)\b", "may")),
    "duty forbidden": _swap(("应当", "不得"), (r"\bmust(?! not)\b", "must not")),
    "prohibition lifted": _swap(("不得", "可以"), ("禁止(?!性)", "允许"), (r"\bmust not\b", "may")),
    "permission withdrawn": _swap(("(?<!不)可以", "不得"), (r"\bmay\b(?! not)", "must not")),
    "other party": _other_subject,
    "duty left out": _drop_duty,
    "frequency changed": _swap(
        ("每年", "每两年"),
        ("每季度", "每年"),
        ("每半年", "每年"),
        ("每月", "每季度"),
        ("每日", "每月"),
        (r"\bevery year\b", "every two years"),
        (r"\bEvery year\b", "Every two years"),
    ),
    "condition turned": _swap(
        (r"(?<![尚从])未经", "经"),
        ("未按照", "已按照"),
        (r"\bwithout\b", "with"),
        (r"\bWithout\b", "With"),
        (r"\bapart from\b", "together with"),
        ("分开存放", "合并存放"),
        (r"\bbefore\b", "after"),
        ("之?前，应当", "后，应当"),
    ),
    "scope narrowed": _swap(
        ("全部", "部分"),
        ("所有", "部分"),
        ("任何", "部分"),
        ("全体", "部分"),
        (r"\b[Aa]ll employees\b", "some employees"),
        (r"\bwhole\b", "partial"),
        (r"\bany\b", "some"),
    ),
    "effort only": _swap(("应当", "应当尽量"), (r"\bmust(?! not)\b", "must, where convenient,")),
    "consent dropped": _swap(
        (r"(?<!未)经[^，。；未]{2,16}(?:批准|同意|核准)(?:后，|，|后)?", ""),
        (r",? (?:without|with)(?: the)? (?:[a-z' ]{0,24})?written consent(?: of the customer)?", ""),
    ),
    "currency changed": _swap((r"(?<=[\d万亿])元", "美元"), (r"\$(?=\d)", "£")),
    "exception added": _swap(
        (r"(?<=[。])$", "但经总经理同意的除外。"),
        (r"。$", "，但紧急情况除外。"),
        (r"\.$", ", unless the manager decides otherwise."),
    ),
}

HARMLESS: Mapping[str, Edit] = {
    "synonyms": _reword(
        ("应当", "必须"),
        ("及时", "尽快"),
        ("立即", "马上"),
        ("有关", "相关"),
        ("以及", "及"),
        ("并且", "且"),
        ("告知", "通知"),
        (r"\bmust not\b", "shall not"),
        (r"\bmust\b", "shall"),
        (r"\bwithin\b", "in no more than"),
        (r"\bat least\b", "no less than"),
    ),
    "other order": _reorder,
    "full-width digits": _full_width,
    "example added": _example,
    "digits for words": _digits,
    "words for digits": _words,
    "other marks": _reword(("，", ","), ("；", ";"), ("（", "("), ("）", ")"), (r"\.$", ". "), (", ", " , ")),
    "framed": _frame,
    "equal unit": _equal_unit,
    "numbered": _numbered,
    "spaced": _reword((r"(?<=[\u3400-\u9fff])(\d+)(?=[\u3400-\u9fff])", r" \1 "), (r"\. (?=[A-Z])", ".  ")),
    "other synonyms": _reword(
        ("不得", "不准"),
        ("可以", "有权"),
        ("不超过", "至多"),
        ("不少于", "至少"),
        ("不低于", "至少"),
        ("日内", "天内"),
        (r"\bmust not\b", "is not permitted to"),
        (r"\bmust\b", "is required to"),
        (r"\bmay\b", "is entitled to"),
        ("以内", "之内"),
    ),
}

HELD_OUT = frozenset({"consent dropped", "currency changed", "numbered", "spaced"})
"""Kinds that were written when the rules were finished, and that no rule was changed for."""
