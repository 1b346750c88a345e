"""A policy's sentence on a topic, in a house's manner or with its departure; every word is ours.

>>> from random import Random
>>> from domains.finance._compliance_topics import TOPICS
>>> said(TOPICS[0], 15, "carve-out", "zh", Random(4))
'本公司收到客户投诉后，应当在十五个工作日内向客户作出书面答复，但业务负责人认为不便的除外。'
"""

import re
from collections.abc import Mapping
from random import Random

from domains.finance._compliance_asides import ASIDES
from domains.finance._compliance_topics import Topic

__all__ = ["aside", "chinese", "filled", "said"]

_NUMERALS = "零一二三四五六七八九"
_EN_NUMBERS = {1: "one", 2: "two", 3: "three", 5: "five", 6: "six", 7: "seven", 10: "ten", 12: "twelve", 15: "fifteen",
               20: "twenty", 30: "thirty"}  # fmt: skip

_ENDS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "carve-out": {
        "en": (
            ", unless the head of the business line decides otherwise",
            ", except where the desk in charge finds this inconvenient",
            ", unless business reasons speak against it",
        ),
        "zh": ("，但业务负责人认为不便的除外", "，但业务部门另有安排的除外", "，但因业务需要的除外"),
    },
    "narrow exception": {
        "en": (
            ", except where a law asks for more",
            ", unless a court orders something stricter",
            ", save where a stricter law applies",
        ),
        "zh": ("，但法律要求更高的除外", "，但法院有更严要求的除外", "，但法律另有更严规定的除外"),
    },
    "narrowed": {
        "en": (", in certain business lines only", ", at selected branches only", ", in some of the cases"),
        "zh": ("，仅限部分业务条线", "，仅适用于个别分支机构", "，仅限某些情形"),
    },
    "wider": {
        "en": (
            ", in all business lines and any branch",
            ", in every case without distinction",
            ", for each product and the whole of the year",
        ),
        "zh": ("，适用于所有业务条线和任何分支机构", "，各项业务一律适用", "，全部产品均适用"),
    },
    "reference": {
        "en": (
            ", as Section 4.2 of this manual sets out",
            " (see Part 3 of the handbook)",
            ", in the form of Annex 2",
        ),
        "zh": ("，具体见本手册第四章", "（参见第三条）", "，格式见第二节"),
    },
    "procedure": {
        "en": (
            ", and a register of such cases must be kept and shown to the board every quarter",
            ", and the unit in charge must train its staff and name a deputy",
            ", and the record of it must be signed by two officers before it is filed",
        ),
        "zh": (
            "，并应当建立台账、每季度报董事会",
            "，责任部门必须培训人员并指定代理人",
            "，相关记录应当经两名主管签字后归档",
        ),
    },
}
"""Manner or departure -> what is added to the end of a sentence that complies."""
_STARTS: Mapping[str, tuple[str, ...]] = {
    "en": ("As far as practicable, ", "In principle, ", "Where convenient, "),
    "zh": ("原则上，", "条件允许时，", "视情况，"),
}
_MIDDLES: Mapping[str, tuple[str, ...]] = {
    "en": (
        ", for which purpose the unit in charge names a deputy, trains its staff and files what it did",
        ", the records of which are kept by the unit in charge, read by its deputy and put before the yearly review",
    ),
    "zh": (
        "，责任部门为此指定代理人、培训人员并将办理情况归档",
        "，有关记录由责任部门保管、经代理人阅看并提交年度检查",
    ),
}
"""What stands between the two ends of a long clause."""
_CONDITIONS: Mapping[str, tuple[str, ...]] = {
    "en": (
        ", provided that the deputy may act in the absence of the head of the unit",
        ", provided that the unit may use the form of the group for this purpose",
    ),
    "zh": ("，但责任部门负责人不在时可以由代理人办理", "，但责任部门可以为此使用集团统一表单"),
}
_FORMAL: Mapping[str, tuple[tuple[str, str], ...]] = {
    "en": (
        (r"\bmust not be\b", "may in no case be"),
        (r"\bmust not\b", "shall not"),
        (r"\bmust be\b", "shall be"),
        (r"\bmust\b", "shall"),
        (r"\bmay cancel\b", "is entitled to cancel"),
    ),
    "zh": (("不得", "严禁"), ("应当", "必须"), ("可以", "有权")),
}
_OTHERS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "en": (
        ("compliance officer", "auditor"),
        ("policyholder", "beneficiary"),
        ("employees", "agents"),
        ("employee", "agent"),
        ("adviser", "broker"),
        ("controller", "processor"),
        ("insurer", "broker"),
        ("issuer", "auditor"),
        ("lender", "custodian"),
        ("broker", "custodian"),
        ("agent", "broker"),
        ("board", "senior management"),
        ("firm", "agent"),
        ("bank", "trustee"),
    ),
    "zh": (
        ("合规官", "审计部门"),
        ("保险代理人", "保险经纪人"),
        ("投保人", "受益人"),
        ("从业人员", "保险代理人"),
        ("投资顾问", "经纪商"),
        ("处理者", "运营者"),
        ("保险人", "保险经纪人"),
        ("发行人", "审计部门"),
        ("贷款人", "经纪商"),
        ("经纪商", "基金托管人"),
        ("董事会", "高级管理人员"),
        ("本公司", "保险代理人"),
        ("全体员工", "合规官"),
        ("员工", "保险代理人"),
        ("银行", "保险人"),
    ),
}
"""Whom a rule binds, and to whom a policy may give the duty instead; the first that is named counts."""
_ORAL: Mapping[str, tuple[tuple[str, str], ...]] = {
    "en": ((r"a written answer", "an oral answer"), (r"in writing", "orally"), (r"written consent", "oral consent")),
    "zh": ((r"书面", "口头"),),
}


def said(topic: Topic, value: int, way: str, lang: str, random: Random) -> str:
    """A policy's wording of a topic.

    Args:
        topic: What it is about.
        value: The rule's figure.
        way: One of `DEPARTURES` or `MANNERS`; one that does not fit a topic gives place to "turned" or "plain".
        lang: "en" or "zh".
        random: Decides wordings.
    """
    if way in ("looser", "stricter"):
        other = [v for v in topic.values if v != value and (v > value) == (topic.more_is_looser == (way == "looser"))]
        if other:
            return filled(random.choice(topic.policies[lang]), random.choice(other), lang, random)
        way = "turned" if way == "looser" else "plain"
    plain = filled(random.choice(topic.policies[lang]), value, lang, random)
    against = filled(random.choice(topic.against[lang]), value, lang, random)
    if way == "turned":
        return against
    if way in ("party", "oral"):
        changed = _first(plain, _OTHERS[lang]) if way == "party" else _all(plain, _ORAL[lang])
        return changed if changed != plain else against
    if way == "formal":
        return _all(plain, _FORMAL[lang])
    if way == "effort":
        return random.choice(_STARTS[lang]) + _lower(plain, lang)
    if way in _ENDS:
        return _ended(plain, random.choice(_ENDS[way][lang]), lang)
    if way == "far condition":
        return _ended(plain, random.choice(_MIDDLES[lang]) + random.choice(_CONDITIONS[lang]), lang)
    if way == "far proviso":
        turn = _sentences(against, lang)[0].rstrip(".。")
        tail = f", provided that {_lower(turn, lang)}" if lang == "en" else f"，但{turn}"
        return _ended(plain, random.choice(_MIDDLES[lang]) + tail, lang)
    return plain


def aside(topic: Topic, lang: str) -> str:
    """A sentence that speaks of a topic without ruling it."""
    return ASIDES[topic.title["en"]][lang == "zh"]


def filled(template: str, value: int, lang: str, random: Random) -> str:
    """A wording with its figure, in digits or in words; amounts and percentages stand in digits."""
    return template.format(n=_figure(value, lang, random, digits="{n}%" in template or "${n}" in template))


def chinese(value: int) -> str:
    """A number below 100 in characters."""
    tens, ones = divmod(value, 10)
    head = ("" if tens == 1 else _NUMERALS[tens]) + "十" if tens else ""
    return head + (_NUMERALS[ones] if ones or not tens else "")


def _figure(value: int, lang: str, random: Random, *, digits: bool) -> str:
    spelt = random.random() < 0.5 and not digits
    if lang == "en":
        return _EN_NUMBERS.get(value, f"{value:,}") if spelt else f"{value:,}"
    return chinese(value) if spelt and value < 100 else str(value)


def _sentences(text: str, lang: str) -> list[str]:
    return re.findall(r"[^。]+。", text) if lang == "zh" else re.split(r"(?<=\.)\s+(?=[A-Z])", text)


def _ended(text: str, tail: str, lang: str) -> str:
    """The tail at the end of the first sentence, which names the duty."""
    first, *rest = _sentences(text, lang)
    stop = first[-1]
    return ("" if lang == "zh" else " ").join([first[:-1] + tail + stop, *rest])


def _lower(text: str, lang: str) -> str:
    return text[:1].lower() + text[1:] if lang == "en" else text


def _first(text: str, pairs: tuple[tuple[str, str], ...]) -> str:
    """The first pair that fits, once and wherever it stands, with the case of its sentence kept."""
    for old, new in pairs:
        found = re.search(rf"\b{old}(?!')\b" if old.isascii() else old, text, re.IGNORECASE)
        if found:
            named = new.capitalize() if found.group()[0].isupper() else new
            return text[: found.start()] + named + text[found.end() :]
    return text


def _all(text: str, pairs: tuple[tuple[str, str], ...]) -> str:
    for old, new in pairs:
        text = re.sub(old, new, text)
    return text
