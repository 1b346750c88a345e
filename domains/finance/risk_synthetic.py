"""Synthetic sentences of our own, with and without a risk, English and Chinese, from a seed.

What makes a risk is how parts combine, not one word: the same act is none with consent and one without, and a
duty to answer for harm is none where the speaker takes it and one where it is put on the reader. Three
institutions differ in what they write: `harbour` loan terms, `meridian` privacy policies, `oakfield` reports.

>>> row = next(risk_records("meridian", 1, seed=1))
>>> sorted(row)
['category', 'id', 'label', 'lang', 'site', 'text', 'unit']
>>> row == next(risk_records("meridian", 1, seed=1))
True
"""

from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

from fedcore.errors import ConfigError

__all__ = ["RISK_SITES", "risk_public", "risk_records"]

_MIXES: Mapping[str, Mapping[str, int]] = {
    "harbour": {"loan": 60, "duty": 25, "privacy": 15},
    "meridian": {"privacy": 65, "duty": 30, "report": 5},
    "oakfield": {"report": 60, "loan": 25, "duty": 15},
}
RISK_SITES = tuple(_MIXES)
"""The three institutions."""

_ACTS = {
    "en": ("share {o} with {p}", "hand {o} over to {p}", "let {p} read {o}", "sell {o} to {p}", "send {o} to {p}"),
    "zh": ("向{p}共享{o}", "将{o}提供给{p}", "允许{p}读取{o}", "向{p}转让{o}", "把{o}传给{p}"),
}
_OBJECTS = {
    "en": ("your address", "your account history", "your contact list", "your location", "records of your payments"),
    "zh": ("您的地址", "您的账户流水", "您的联系人", "您的位置", "您的付款记录"),
}
_PEERS = {
    "en": ("advertisers", "companies of our group", "data brokers", "suppliers abroad", "other lenders"),
    "zh": ("广告公司", "集团内其他公司", "数据经纪商", "海外供应商", "其他贷款机构"),
}
_CONSENT = {
    "en": ("only with your written consent", "once you have agreed in the app", "if you ask us to in writing"),
    "zh": ("仅在您书面同意后", "在您于应用内确认之后", "在您书面要求时"),
}
_NO_CONSENT = {
    "en": ("without asking you again", "whenever we see fit", "even after you have closed the account"),
    "zh": ("不再另行征求您的意见", "在我们认为合适时", "即使您已销户"),
}
_HARMS = {
    "en": ("losses from an outage", "a mistake in a statement", "a late transfer", "the loss of documents"),
    "zh": ("系统中断造成的损失", "对账单中的差错", "转账延迟", "文件遗失"),
}
_OTHER_DUTIES = {
    "en": ("keep your password to yourself", "tell us of a new address", "read the statement each month"),
    "zh": ("妥善保管密码", "告知新的地址", "每月核对账单"),
}
_LEADS = {
    "en": ("", "As a rule, ", "During the contract, ", "For accounts of this kind, ", "From next year on, "),
    "zh": ("", "通常情况下，", "合同期内，", "对此类账户，", "自明年起，"),
}
_BANKS = {"en": ("The lender", "The bank", "The company", "The issuer"), "zh": ("出借人", "本行", "公司", "发行人")}
_FIRMS = {
    "en": ("The group", "The borrower", "Our main supplier", "The subsidiary"),
    "zh": ("集团", "借款人", "主要供应商", "子公司"),
}
_PLAIN = {
    "en": ("{f} moved its head office", "{f} opened two branches", "{f} changed the design of its report"),
    "zh": ("{f}迁移了总部", "{f}新开两家分支机构", "{f}调整了年报版式"),
}


def risk_records(site: str, count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield sentences of one institution; about three in ten are a risk.

    Args:
        site: One of `RISK_SITES`.
        count: How many, >= 0.
        seed: The same seed gives the same records on every machine.
    Raises:
        ConfigError: The site is not one of the three.
    """
    if site not in _MIXES:
        raise ConfigError(f"the site {site!r} is not known", expected="one of " + ", ".join(RISK_SITES))
    yield from _records(site, count, f"institution/{site}/{seed}")


def risk_public(count: int, seed: int) -> list[dict[str, Any]]:
    """Sentences of no institution, for evaluation; their random streams are never those of `risk_records`."""
    streams = [_records(site, count, f"public/{site}/{seed}") for site in RISK_SITES]
    rows = (next(streams[i % len(streams)]) for i in range(count))
    return [{k: row[k] for k in ("text", "label", "category", "lang")} for row in rows]


def _records(site: str, count: int, stream: str) -> Iterator[dict[str, Any]]:
    for index in range(count):
        random = Random(f"concordat/finance/risk/{stream}/{index}")  # noqa: S311
        names, weights = zip(*_MIXES[site].items(), strict=True)
        topic = random.choices(names, weights)[0]
        lang = random.choice(("en", "zh"))
        risky = random.random() < 0.3
        text, category = _TOPICS[topic](lang, risky, random)
        text = random.choice(_LEADS[lang]) + text
        if lang == "en":
            text = text[:1].upper() + text[1:]
        yield {
            "id": f"{site}-{stream.rsplit('/', 1)[-1]}-{index}",
            "site": site,
            "unit": f"{site}-{index}",
            "lang": lang,
            "text": text + ("." if lang == "en" else "。"),
            "label": "risk" if risky else "none",
            "category": category,
        }


def _privacy(lang: str, risky: bool, random: Random) -> tuple[str, str]:
    """Who may take data, and who must be asked."""
    act = random.choice(_ACTS[lang]).format(o=random.choice(_OBJECTS[lang]), p=random.choice(_PEERS[lang]))
    shape = random.randrange(3)
    if lang == "en":
        if risky:
            how = random.choice(_NO_CONSENT["en"])
            return (f"{how}, we may {act}", f"we may {act} {how}", f"you allow us to {act}, {how}")[shape], "data"
        how = random.choice(_CONSENT["en"])
        return (f"we never {act}", f"{how}, we may {act}", f"we may {act}, but {how}")[shape], "data"
    if risky:
        how = random.choice(_NO_CONSENT["zh"])
        return (f"{how}，我们可能{act}", f"我们可能{act}，且{how}", f"您允许我们{act}，{how}")[shape], "data"
    how = random.choice(_CONSENT["zh"])
    return (f"我们从不{act}", f"{how}，我们可能{act}", f"我们可能{act}，但{how}")[shape], "data"


def _duty(lang: str, risky: bool, random: Random) -> tuple[str, str]:
    """Who answers for harm."""
    harm, bank = random.choice(_HARMS[lang]), random.choice(_BANKS[lang])
    shape = random.randrange(3)
    if lang == "en":
        own = bank[:1].lower() + bank[1:]
        if risky:
            return (
                f"{own} does not answer for {harm}",
                f"you alone bear {harm}",
                f"whoever goes on using the account waives any claim for {harm}",
            )[shape], "legal"
        return (
            f"{own} answers for {harm}",
            f"you do not bear {harm}",
            f"please {random.choice(_OTHER_DUTIES['en'])}, so that {harm} can be avoided",
        )[shape], "legal"
    if risky:
        return (f"{bank}对{harm}不予负责", f"{harm}由您独自承担", f"继续使用账户即放弃就{harm}提出的请求")[
            shape
        ], "legal"
    return (
        f"{bank}对{harm}负责",
        f"{harm}不由您承担",
        f"请{random.choice(_OTHER_DUTIES['zh'])}，以避免{harm}",
    )[shape], "legal"


def _loan(lang: str, risky: bool, random: Random) -> tuple[str, str]:
    """What falls due, and whether it can be paid."""
    firm, days = random.choice(_FIRMS[lang]), random.choice((15, 30, 45, 60, 90))
    shape = random.randrange(3)
    if lang == "en":
        own = firm[:1].lower() + firm[1:]
        if risky:
            return (
                f"{own} has been late with interest for {days} days",
                f"{own} asked to put off a repayment by {days} days, as cash ran short",
                f"the lender may call the whole loan within {days} days if {own} misses one covenant",
            )[shape], "credit" if shape == 0 else "liquidity"
        return (
            f"{own} paid interest {days} days before it fell due",
            f"{own} asked for a statement of the last {days} days",
            f"the lender must give {own} {days} days before it calls the loan",
        )[shape], "credit" if shape == 0 else "liquidity"
    if risky:
        return (
            f"{firm}已逾期{days}天未付利息",
            f"{firm}因现金不足请求将还款推迟{days}天",
            f"{firm}一旦违反任一约定，出借人可在{days}天内要求全部偿还",
        )[shape], "credit" if shape == 0 else "liquidity"
    return (
        f"{firm}提前{days}天支付了利息",
        f"{firm}请求提供近{days}天的对账单",
        f"出借人要求{firm}还款前须提前{days}天通知",
    )[shape], "credit" if shape == 0 else "liquidity"


def _report(lang: str, risky: bool, random: Random) -> tuple[str, str]:
    """What a report says of a business."""
    firm, share = random.choice(_FIRMS[lang]), random.choice((35, 42, 55, 61, 70))
    shape = random.randrange(3)
    categories = ("concentration", "operational", "market")
    if lang == "en":
        own = firm[:1].lower() + firm[1:]
        if risky:
            return (
                f"{own} earns {share}% of its revenue from one customer, whose contract ends soon",
                f"{own} has no second source for a part in {share}% of its products",
                f"{own} owes {share}% of its debt in a currency that it earns nothing in",
            )[shape], categories[shape]
        return (
            f"{own} earns {share}% of its revenue at home, from many customers",
            random.choice(_PLAIN["en"]).format(f=own),
            f"{own} owes {share}% of its debt in the currency that it earns",
        )[shape], categories[shape]
    if risky:
        return (
            f"{firm}收入的{share}%来自一家客户，其合同即将到期",
            f"{firm}{share}%的产品所用部件没有第二来源",
            f"{firm}{share}%的债务以其毫无收入的货币计价",
        )[shape], categories[shape]
    return (
        f"{firm}收入的{share}%来自国内，客户众多",
        random.choice(_PLAIN["zh"]).format(f=firm),
        f"{firm}{share}%的债务以其收入货币计价",
    )[shape], categories[shape]


_TOPICS = {"privacy": _privacy, "duty": _duty, "loan": _loan, "report": _report}
