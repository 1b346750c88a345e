r"""Rules for numbers and addresses of the net that name a person: by check digit, by shape, or by the word before.

A number is taken by its shape alone where a check digit or a shape that no clinical figure has supports it;
any other needs a cue, such as "MRN" or "住院号". Doses, vital signs, laboratory values and codes have
neither. English and Chinese rules always both run: notes mix the two.

>>> sorted({f.kind for f in identifiers("MRN: 00481516, SSN 219-09-9999, BP 142/88, ICD E11.9")})
['MRN', 'SSN']
>>> sorted({f.kind for f in identifiers("住院号:Z0048151 手机13800138000 血红蛋白 120 g/L")})
['MRN', 'PHONE']
"""

# A pattern stands on one line, however long: cut in two it can no longer be compared with its neighbours.
# ruff: noqa: E501

import re
from collections.abc import Callable
from ipaddress import ip_address

from domains._checksums import (
    is_dea_number,
    is_iban,
    is_luhn,
    is_nhs_number,
    is_resident_id,
    is_ssn,
    is_vehicle_number,
)
from domains._found import HAN, Found, Kind, Rule

__all__ = ["identifiers"]

_ALONE = r"(?<![\w.+-])"
_END = r"(?![\w]|[-.]\d)"
_GAP = r"(?:\s*(?:number|num|no\.?|id|#|code|号码|编号|号|为|是|is|was)){0,3}\s*[:=#]?\s*"
_VALUE = r"(?P<id>[A-Z]{0,5}[-/]?\d[\dA-Z]*(?:[-/][\dA-Z]+){0,5})(?![\w])"
_DIAL = r"(?P<id>\+?\(?\d[\d ().-]{4,17}\d(?:\s?(?:ext\.?|x|转)\s?\d{1,5})?)(?![\w/%])"


def _digits(low: int, high: int = 99) -> Callable[[str], bool]:
    return lambda text: low <= sum(c.isdigit() for c in text) <= high


def _cued(rule: str, kind: Kind, cues: str, *, value: str = _VALUE, least: int = 3) -> Rule:
    """What stands directly after a cue; the cue itself stays."""
    pattern = re.compile(rf"(?<![A-Za-z])(?:{cues}){_GAP}{value}", re.IGNORECASE | re.ASCII)
    return Rule(rule=rule, kind=kind, pattern=pattern, check=_digits(least), rank=1)


def _shape(
    rule: str, kind: Kind, pattern: str, check: Callable[[str], bool] | None = None, *, flags: int = 0, rank: int = 2
) -> Rule:
    return Rule(rule=rule, kind=kind, pattern=re.compile(pattern, flags | re.ASCII), check=check, rank=rank)


def _plain(check: Callable[[str], bool]) -> Callable[[str], bool]:
    """A check on the letters and digits alone."""
    return lambda text: check(re.sub(r"[^0-9A-Za-z]", "", text))


def _is_card(text: str) -> bool:
    digits = re.sub(r"\D", "", text)
    return 13 <= len(digits) <= 19 and digits[0] in "3456" and is_luhn(digits)


def _is_address(text: str) -> bool:
    try:
        found = ip_address(text.split("/")[0])
    except ValueError:
        return False
    return found.version == 4 or sum(bool(part) for part in text.split(":")) >= 2


_SHAPES = (
    _shape("id.cn-resident", "ID", r"(?<![\dA-Za-z])\d{6}[ -]?\d{8}[ -]?\d{3}[\dXx](?![\dA-Za-z])", _plain(is_resident_id), rank=1),
    _shape("ssn.shape", "SSN", rf"{_ALONE}\d{{3}}-\d{{2}}-\d{{4}}{_END}", is_ssn),
    _shape("id.nhs", "ID", rf"{_ALONE}\d{{3}} \d{{3}} \d{{4}}{_END}", is_nhs_number),
    _shape("account.card", "ACCOUNT", rf"{_ALONE}\d{{4}}(?:[ -]?\d{{4}}){{2}}[ -]?\d{{1,4}}(?:[ -]?\d{{3}})?{_END}", _is_card),
    _shape("account.amex", "ACCOUNT", rf"{_ALONE}3[47]\d{{2}}[ -]?\d{{6}}[ -]?\d{{5}}{_END}", _is_card),
    _shape("account.iban", "ACCOUNT", r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)", is_iban),
    _shape("vehicle.vin", "VEHICLE", r"(?<!\w)[A-HJ-NPR-Z0-9]{17}(?!\w)", is_vehicle_number),
    _shape(
        "vehicle.cn-plate", "VEHICLE",
        r"[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼][A-HJ-NP-Z][·•. ]?[A-HJ-NP-Z0-9]{5,6}(?![\w·])",
        _digits(2),
    ),
    _shape("license.dea", "LICENSE", r"(?<!\w)[ABCDEFGHJKLMPRSTUX][A-Z]\d{7}(?!\w)", is_dea_number),
    _shape("device.mac", "DEVICE", r"(?<![\w:])(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}(?![\w:])"),
    _shape("device.udi", "DEVICE", r"\(01\)\d{14}(?:\(\d{2}\)[\w-]{1,20})*"),
    _shape("email", "EMAIL", r"(?<![\w.+-])[A-Za-z0-9][\w.+%-]*\s?@\s?(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}(?![\w-])"),
    _shape("url", "URL", rf"(?:https?|ftp)://[^\s<>\"',;()。、{HAN}]*[\w/]|(?<![\w.@])www\.[\w.-]+\w(?:/[\w./?=&%#-]*)?", flags=re.IGNORECASE),
    _shape(
        "url.bare", "URL",
        r"(?<![\w.@-])(?:[a-z0-9-]+\.)+(?:com|org|net|edu|gov|info|io|cn|uk)(?:/[\w./?=&%#-]*)?(?![\w@-])",
        flags=re.IGNORECASE,
    ),
    _shape("ip.v4", "IP", r"(?<![\w.])(?<!version )(?:\d{1,3}\.){3}\d{1,3}(?:/\d{1,2})?(?![\w]|\.\d)", _is_address),
    _shape("ip.v6", "IP", r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])", _is_address),
    _shape(
        "phone.cn-mobile", "PHONE",
        r"(?<![\dA-Za-z.+-])(?:\(?\+?(?:00)?86\)?[- ]?)?1[3-9]\d[- ]?\d{4}[- ]?\d{4}(?!\d|[A-Za-z.]|\s*(?:/|个|cells|copies|拷贝))",
    ),
    _shape(
        "phone.cn-landline", "PHONE",
        r"(?<![\dA-Za-z./-])(?:\+86[- ]?)?\(?0(?:10|2\d|[3-9]\d{2})\)?[- ]?[2-9]\d{6,7}(?:(?:-|转)\d{1,5})?(?!\d|\.\d|\s*[/%])",
    ),
    _shape("phone.cn-service", "PHONE", r"(?<![\d.-])[48]00[- ]?\d{3}[- ]?\d{4}(?!\d|-\d)", _digits(10)),
    _shape(
        "phone.us", "PHONE",
        r"(?<![\w.+/-])(?:\+?1[-. ]?)?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[-. ])[2-9]\d{2}[-. ]\d{4}(?:,? ?(?:ext\.?|x) ?\d{1,5})?(?![\w/%]|[-.]\d)",
        flags=re.IGNORECASE,
    ),
    _shape(
        "phone.uk", "PHONE",
        r"(?<![\w.+/-])0(?:20 \d{4} \d{4}|7\d{3} ?\d{3} ?\d{3}|1\d{3} \d{6}|1\d{2} \d{3} \d{4})(?![\w/%]|[-.]\d)",
    ),
    _shape(
        "phone.international", "PHONE", r"(?<![\w+])(?:\+|00(?!\d-\d{2}-\d{4}))[1-9]\d{0,2}(?:[ .-]?\(?\d{1,4}\)?){2,6}(?![\w/%]|[.]\d)", _digits(9, 17)
    ),
)  # fmt: skip
_CUES = (
    _cued("ssn.cue", "SSN", r"SSN|social security"),
    _cued("mrn.cue", "MRN", r"MRN|MR#|medical record|hospital (?=no|num)|chart (?=no|num|#)|patient (?=id|no|num|#)"
          r"|unit (?=no|num)|(?:病历|病案|住院|门诊|就诊卡?|登记|患者|急诊)(?=号|编号|ID)"),
    _cued("plan.cue", "PLAN", r"(?:health plan|beneficiary|insurance|member|policy|group|subscriber|medicare|medicaid)"
          r"(?:\s(?:policy|beneficiary|member|card))?\s?(?=id|no\b|no\.|num|#)|HICN|MBI"
          r"|(?:医保|社保|保单|参保|保险|新农合)(?:卡|证|个人)?(?=号|编号|账号)"),
    _cued("account.cue", "ACCOUNT", r"(?:account|acct\.?|billing|invoice|credit card|debit card|card)\s?(?=no\b|no\.|num|#)|IBAN"
          r"|(?:银行卡|信用卡|储蓄卡|借记卡|账户|帐户|账|帐|发票)(?=号)"),
    _cued("license.cue", "LICENSE", r"(?:(?:driver'?s?|driving|medical|state|professional|nursing)\s)?(?:licen[cs]e|certificate|passport)"
          r"\s?(?=no\b|no\.|num|#|:|id)|passport|DEA|NPI|(?:执业证|资格证|驾驶证|驾照|护照|军官证|出生证|医师执业证书|证书)"
          r"(?=号|编号|:)"),
    _cued("vehicle.cue", "VEHICLE", r"(?:licen[cs]e plate|number plate|plate)s?\s?(?=no\b|no\.|num|#|:|was|is)|VIN|车牌(?=号|:)|车架(?=号)"),
    _cued("device.cue", "DEVICE", r"(?:(?:device|pacemaker|implant|pump|lead|model)\s)?serial|S/N|device (?=id|no|num)|UDI|IMEI"
          r"|(?:序列|设备|器械|起搏器)(?=号|编号)"),
    _cued("id.cue", "ID", r"(?:identity card|national id|ID card|NHS|resident id|accession|specimen|case|study|order|claim|employee"
          r"|sample|encounter|visit)\s?(?=no\b|no\.|num|#|id\b)|NHS|身份证(?:件)?|居民身份证|证件(?=号)"
          r"|(?:样本|标本|检查|检验|病理|影像|申请单|条码|工|学|QQ)(?=号|编号)"),
    _cued("id.handle", "ID", r"微信|WeChat", value=r"(?P<id>[A-Za-z][\w-]{5,19})(?![\w-])", least=0),
    _cued("fax.cue", "FAX", r"(?:tele)?fax|传真", value=_DIAL, least=7),
    _cued("phone.cue", "PHONE", r"(?:tele)?phone|tel\.?|mobile|cell\s?(?=phone|no|num)|contact(?=\s?(?:no|num|:))|pager|call\w*(?: \w+)? (?:at|on)"
          r"|reach\w*(?: \w+)? (?:at|on)|电话|手机|联系方式|热线|座机", value=_DIAL, least=7),
)  # fmt: skip


def identifiers(text: str) -> list[Found]:
    """Every identifier of a folded text that its shape, its check digit or the word before it tells."""
    found = [f for rule in (*_SHAPES, *_CUES) for f in rule.find(text)]
    faxes = {f.start for f in found if f.kind == "FAX"}
    return [f for f in found if not (f.kind == "PHONE" and f.start in faxes)]
