"""The words by which rules oblige, permit, forbid, compare and count, in English and Chinese.

Written from general knowledge of how rules are worded. Patterns are tried in their order; the first that
matches at a place wins, so "may not" stands before "may", and "不得少于" is a comparison before "不得" is a
prohibition.
"""

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Literal

__all__ = [
    "CJK_DIGITS",
    "COMPARES_AFTER",
    "COMPARES_BEFORE",
    "EVERY",
    "EXCEPTIONS",
    "HEDGES",
    "MODALS",
    "NEGATIONS",
    "NUMBER_WORDS",
    "OPPOSITES",
    "ORDERS",
    "PARTIES",
    "QUANTIFIERS",
    "REFERENCES",
    "UNITS",
    "Compare",
    "Modality",
]

Modality = Literal["must", "may", "must not", "need not"]
Compare = Literal["", "min", "max", "over", "under", "before", "after"]

MODALS: tuple[tuple[Modality, re.Pattern[str]], ...] = (
    (
        "need not",
        re.compile(
            r"\b(?:need not|(?:is|are|be) not (?:required|obliged|obligated)(?: to)?|(?:does|do) not (?:need|have) to"
            r"|(?:has|have|is under) no (?:obligation|duty)(?: to)?)\b"
            r"|可以?不(?=[再另])|无需|无须|毋须|不必|不需要|可以不|可不(?!必)",
            re.IGNORECASE,
        ),
    ),
    (
        "must not",
        re.compile(
            r"\b(?:must|shall|may|can|will|should) (?:not|never|in no (?:case|event|circumstances))\b|\bcannot\b"
            r"|\b(?:is|are|be) (?:strictly )?(?:prohibited|forbidden|barred|precluded|banned)(?: from)?\b"
            r"|\b(?:is|are|be) not (?:permitted|allowed|authori[sz]ed|entitled)(?: to)?\b"
            r"|\b(?:prohibits?|forbids?)\b|\b(?:is|are) under (?:a |an )?prohibition\b"
            r"|不得以?|严禁|禁止|不准(?!确)|不可以|不允许|不应当?|无权|不能(?!够)|切勿|不许",
            re.IGNORECASE,
        ),
    ),
    (
        "must",
        re.compile(
            r"\b(?:must|shall)\b|\bought to\b|\b(?:is|are|be) (?:required|obliged|obligated|bound)(?: to)?\b"
            r"|\b(?:has|have) (?:to\b|(?:a|the|an) (?:duty|obligation)(?: to)?)|\bneeds? to\b"
            r"|\b(?:is|are) under (?:a |an )?(?:duty|obligation)(?: to)?\b"
            r"|应当|必须|务必|(?<![无毋])须(?!知)|有义务|有责任|负责(?=对|向)"
            r"|(?<![相反适供响照对因理效感])应(?![急用对收付税诉聘届答变邀力有激允验征当该])|应该",
            re.IGNORECASE,
        ),
    ),
    (
        "may",
        re.compile(
            r"\b(?:may|can)\b|\b(?:is|are|be) (?:permitted|allowed|authori[sz]ed|entitled|free)(?: to)?\b"
            r"|\b(?:has|have) (?:the|a) (?:right|option|power|discretion)(?: to)?|\bat (?:its"
            r"|their|his|her) discretion\b"
            r"|可以|有权|允许|准许|得以"
            r"|(?<![许认不])可(?![能靠行疑持见比观控信操追执转撤用预知识以供变分不证])",
            re.IGNORECASE,
        ),
    ),
)

NEGATIONS = re.compile(
    r"\b(?:not|no|never|without|neither|nor|none|non|unless)\b|n't\b"
    r"|未(?!来|成年|满)|没有|(?<![日])非(?!常|法|公开|银行|营利|金融)|无(?!论|效|偿|线|形|形资产|害|关|锡)"
    r"|不(?!动产|良|同|断|仅|但|正当|特定|利|法|当|可抗力|足|满|少|低|超|高|多|服|予|实|公|合格"
    r"|符|符合|明|准确|真实|完整|履行|力|再|幸|定)",
    re.IGNORECASE,
)

_MIN, _MAX = "min", "max"
COMPARES_BEFORE: tuple[tuple[Compare, re.Pattern[str]], ...] = (
    (
        "min",
        re.compile(
            r"(?:(?:(?:must|shall|may|can) not|cannot) be )?(?:\b(?:at least|not? (?:less|fewer"
            r"|lower|shorter|earlier) than"
            r"|(?:a |the )?minimum(?: period)? of|not below|from)\b)"
            r"|(?:不[得准可能应许]?|禁止|严禁)(?:少于|低于|小于|短于)|至少|最少|最低|起码|不下于|达到|达|满",
            re.IGNORECASE,
        ),
    ),
    (
        "max",
        re.compile(
            r"\b(?:(?:in |by )?no (?:more|later|longer) than|within"
            r"|not? (?:more|greater|later|longer|higher) than|at most|up to"
            r"|(?:(?:must|shall|may|can|does|do) not|(?:is|are|be) (?:not (?:permitted|allowed)"
            r"|forbidden)(?: to)?|not to"
            r"|cannot|never) exceed|not exceed(?:ing)?|(?:a |the )?maximum(?: period)? of|not above)\b"
            r"(?: a period of| the period of| a)?"
            r"|(?:不[得准可能应许]?|禁止|严禁)(?:超过|多于|高于|大于|长于|超出|晚于|迟于)|至多"
            r"|最多|最高|最长|最迟|最晚",
            re.IGNORECASE,
        ),
    ),
    (
        "over",
        re.compile(
            r"\b(?:more than|greater than|exceed(?:s|ing|ed)?|over|above|longer than|later than"
            r"|in excess of|higher than)\b"
            r"|超过|多于|高于|大于|超出|长于|晚于|迟于|逾",
            re.IGNORECASE,
        ),
    ),
    (
        "under",
        re.compile(
            r"\b(?:less than|fewer than|below|under|shorter than|lower than)\b|少于|低于|小于|不满|未满|不足|短于",
            re.IGNORECASE,
        ),
    ),
    ("after", re.compile(r"\bafter\b|(?<!之)后(?=\d)", re.IGNORECASE)),
    ("before", re.compile(r"\bbefore\b|提前", re.IGNORECASE)),
)
"""Directly before a figure."""
COMPARES_AFTER: tuple[tuple[Compare, re.Pattern[str]], ...] = (
    ("min", re.compile(r" ?(?:or (?:more|longer|above|over|higher)|and above)\b|(?:及其?)?以上", re.IGNORECASE)),
    (
        "max",
        re.compile(
            r" ?(?:or (?:less|fewer|below|under|lower|sooner|earlier))\b|(?:及其?)?以下|以内|之内|内(?!部|容)",
            re.IGNORECASE,
        ),
    ),
    ("before", re.compile(r",? ?(?:before|prior to|in advance|ahead of)\b|之?前(?!款|项|条)|以前", re.IGNORECASE)),
    ("after", re.compile(r"之?后|以后", re.IGNORECASE)),
)
"""Directly after a figure and its unit."""

CJK_DIGITS: Mapping[str, int] = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2, "俩": 2}
NUMBER_WORDS: Mapping[str, int] = {
    word: value
    for value, word in enumerate(
        """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
        seventeen eighteen nineteen twenty""".split()  # noqa: SIM905
    )
} | {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}

_H, _M, _W = "hours", "months", "working days"
UNITS: Mapping[str, tuple[str, Fraction]] = {
    **dict.fromkeys(("工作日", "个工作日", "交易日", "个交易日"), (_W, Fraction(1))),
    **dict.fromkeys(("working day", "business day", "trading day"), (_W, Fraction(1))),
    **dict.fromkeys(("小时", "个小时", "hour"), (_H, Fraction(1))),
    **dict.fromkeys(("分钟", "minute"), (_H, Fraction(1, 60))),
    **dict.fromkeys(("日", "天", "个自然日", "自然日", "day", "calendar day"), (_H, Fraction(24))),
    **dict.fromkeys(("周", "星期", "个星期", "week"), (_H, Fraction(168))),
    **dict.fromkeys(("个月", "月", "month", "calendar month"), (_M, Fraction(1))),
    **dict.fromkeys(("季度", "个季度", "quarter"), (_M, Fraction(3))),
    **dict.fromkeys(("年", "个年度", "周年", "year", "calendar year"), (_M, Fraction(12))),
    **dict.fromkeys(("元", "元人民币", "人民币", "yuan", "rmb", "cny"), ("CNY", Fraction(1))),
    **dict.fromkeys(("$", "usd", "dollar", "美元"), ("USD", Fraction(1))),
    **dict.fromkeys(("€", "eur", "euro", "欧元"), ("EUR", Fraction(1))),
    **dict.fromkeys(("£", "gbp", "pound"), ("GBP", Fraction(1))),
    **dict.fromkeys(("%", "percent", "per cent"), ("share", Fraction(1, 100))),
    **dict.fromkeys(("‰",), ("share", Fraction(1, 1000))),
    **dict.fromkeys(("个百分点", "percentage point"), ("points", Fraction(1))),
    **dict.fromkeys(("basis point", "个基点", "基点"), ("points", Fraction(1, 100))),
    **dict.fromkeys(("人", "名", "位", "person", "member", "employee", "people", "director"), ("people", Fraction(1))),
    **dict.fromkeys(("次", "time"), ("times", Fraction(1))),
    **dict.fromkeys(("倍", "fold"), ("fold", Fraction(1))),
    **dict.fromkeys(("岁", "周岁", "years old"), ("age", Fraction(1))),
    **dict.fromkeys(("份", "copy", "copies"), ("copies", Fraction(1))),
    **dict.fromkeys(("家", "个", "项", "种"), ("count", Fraction(1))),
}
"""Unit -> what it measures and how much of it; units of one measure compare exactly."""

EVERY: tuple[tuple[Fraction, re.Pattern[str]], ...] = (
    (Fraction(1, 30), re.compile(r"\b(?:daily|every day|each day|once a day|per day)\b|每[日天]", re.IGNORECASE)),
    (
        Fraction(7, 30),
        re.compile(r"\b(?:weekly|every week|each week|once a week)\b|每[个一]?(?:周|星期)", re.IGNORECASE),
    ),
    (
        Fraction(3),
        re.compile(r"\b(?:quarterly|every quarter|each quarter|once a quarter)\b|每[个一]?季度?", re.IGNORECASE),
    ),
    (
        Fraction(6),
        re.compile(
            r"\b(?:half-yearly|semi-annual(?:ly)?|every six months|twice (?:a|each|every|per) year)\b|每半年",
            re.IGNORECASE,
        ),
    ),
    (Fraction(1), re.compile(r"\b(?:monthly|every month|each month|once a month)\b|每[个一]?月", re.IGNORECASE)),
    (Fraction(24), re.compile(r"\b(?:every (?:two|2|second) years|biennial(?:ly)?)\b|每[两二2]年", re.IGNORECASE)),
    (Fraction(36), re.compile(r"\b(?:every (?:three|3|third) years|triennial(?:ly)?)\b|每[三3]年", re.IGNORECASE)),
    (
        Fraction(12),
        re.compile(
            r"\b(?:annual(?:ly)?|yearly|every (?:calendar )?year|each (?:calendar )?year|once (?:a|every|per) year)\b"
            r"|每一?年度?|逐年",
            re.IGNORECASE,
        ),
    ),
)
"""How often, in months between two times."""

EXCEPTIONS = re.compile(
    r"\b(?:unless|except|save (?:where|as|for|that)|other than|subject to|provided that|excluding)\b"
    r"|除(?!了|权|名|斥|去|外)[^，。；]{1,40}?(?:外|之外|以外)|另有规定的?除外|除外|但书"
    r"|但是?(?=[^，。；]{1,40}的?除外)",
    re.IGNORECASE,
)
QUANTIFIERS: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "all",
        re.compile(r"\b(?:all|every|each|any|entire|whole|full)\b|全部|所有|一切|任何|全体|全额|各项", re.IGNORECASE),
    ),
    (
        "some",
        re.compile(
            r"\b(?:some|part of|partial|certain|selected|most of)\b|部分|个别|少数|某些|一些|若干", re.IGNORECASE
        ),
    ),
)
ORDERS: tuple[tuple[Compare, re.Pattern[str]], ...] = (
    (
        "before",
        re.compile(r"\b(?:before|prior to|ahead of|in advance)\b|之前|以前|前(?=[，,应不])|事前|先于", re.IGNORECASE),
    ),
    ("after", re.compile(r"\b(?:after|following)\b|之后|以后|后(?=[，,应不])|事后|后于", re.IGNORECASE)),
)
"""What comes first, where no figure stands beside it."""
HEDGES = re.compile(
    r"\bwhere(?:ver)? (?:it is )?(?:convenient|practicable|practical|possible|feasible|appropriate)\b"
    r"|\bas far as (?:possible|practicable)\b|\b(?:reasonable|best) (?:efforts|endeavou?rs)\b|\btry to\b"
    r"|\bendeavou?rs? to\b|\bin principle\b|尽量|尽可能|尽力|努力|酌情|视情况|原则上|条件允许",
    re.IGNORECASE,
)
"""Words that make of a duty an effort."""
OPPOSITES: tuple[tuple[str, str], ...] = (
    (
        r"\b(?:apart|separate(?:ly|d)?|segregated?)\b|分开|分别|隔离|独立",
        r"\b(?:together|commingled?|mixed)\b|合并|混合|一并|混同",
    ),
    (r"\bwritten\b|\bin writing\b|书面", r"\b(?:oral(?:ly)?|verbal(?:ly)?)\b|口头"),
    (r"\bincreas\w+|增加|提高|上调", r"\b(?:decreas|reduc)\w+|减少|降低|下调"),
    (r"\bdirect(?:ly)?\b|(?<!间)直接", r"\bindirect(?:ly)?\b|间接"),
    (r"\bpublic(?:ly)?\b|公开", r"\b(?:secret(?:ly)?|confidential(?:ly)?)\b|(?<!不)保密|秘密"),
    (r"\b(?:free of charge|without charge)\b|免费|无偿", r"\b(?:for a fee|against payment)\b|收费|有偿"),
    (r"\bwithout\b", r"\bwith\b"),
)
"""Words of which one denies the other."""
REFERENCES = re.compile(
    r"《[^》]{1,60}》|第[〇零一二三四五六七八九十百千\d]+(?:章|节|条(?:之[一二三四五六七八九十])?|款|项|编)"
    r"|(?:前|上|下|以下|上述|本)[一二两三四五六七八九十\d]?(?:款|条|项)|[(（][一二三四五六七八九十]{1,3}[)）]"
    r"|\b(?:Articles?|Sections?|Rules?|Paragraphs?|Clauses?|Chapters?|Part|Schedule|Annex|Appendix|Guidance)"
    r"\s+\d+[A-Za-z]?(?:\.\d+)*(?:\([a-z0-9]{1,4}\))*|(?<![\w])\([a-zA-Z0-9]{1,4}\)(?!\s*(?:days?|months?|years?))"
    r"|\d{4}年\d{1,2}月\d{1,2}日|^\s*\d+(?:\.\d+)*[.)、]\s",
    re.IGNORECASE | re.MULTILINE,
)
"""Places in other rules, list marks and dates: their numbers bind nobody."""

_PARTY_NAMES = """
银行业金融机构; 银行业监督管理机构; 保险监督管理机构; 证券监督管理机构; 商业银行; 银行; 保险公司; 保险人;
投保人; 被保险人; 受益人; 保险代理人; 保险经纪人; 证券公司; 证券交易所; 证券登记结算机构; 证券服务机构;
上市公司; 发行人; 控股股东; 实际控制人; 基金管理人; 基金托管人; 基金份额持有人; 投资者; 客户; 经纪商;
处理者; 投资顾问; 经营者; 消费者;
广告主; 广告经营者; 广告发布者; 广告代言人; 个人信息处理者; 网络运营者; 关键信息基础设施的运营者; 运营者;
网络产品、服务的提供者; 医疗机构; 医师; 医务人员; 患者; 患方; 病人; 家属; 疾病预防控制机构; 监护人; 用人单位;
劳动者; 支付机构; 用户; 债权人; 债务人; 借款人; 贷款人; 监管机构; 主管部门; 董事会; 监事会; 股东会; 股东大会;
股东; 董事; 监事; 高级管理人员; 合规部门; 审计部门; 内部审计部门; 审计委员会; 合规官; 算法推荐服务提供者;
科学技术行政部门; 卫生行政部门; 投保机构; 存款人; 存款保险基金管理机构; 收单机构; 商户; bank; firm; insurer;
insured; policyholder; beneficiary; customer; client; consumer; regulator; authority; board; auditor;
controller; processor; data subject; lender; borrower; issuer; investor; broker; dealer; custodian; adviser;
agent; employee; employer; supplier; merchant; compliance officer; compliance function; internal audit;
risk function; senior management; audit committee; receiving party; disclosing party; recipient; discloser;
trustee; fund manager; depositary; shareholder; operator; payment institution; payee; payer;
money laundering reporting officer; data protection officer; creditor; debtor
"""
PARTIES = tuple(name.strip() for name in _PARTY_NAMES.split(";"))
"""Who may owe or be owed something; a body of rules adds its own."""
