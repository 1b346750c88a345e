r"""Addresses in a text: by the record's own fields, by their shape, or by the word before them.

An English street needs a number and a word such as "Street"; a town needs a state and a postal code, or a cue
such as "lives in". A Chinese address needs a province, a city or a cue to begin with, or a house number.

>>> text = "She lives at 12 Elm Street, Apt 4, Springfield, IL 62704 and walks."
>>> [text[f.start:f.end] for f in places(text)]
['12 Elm Street, Apt 4, Springfield, IL 62704']
>>> text = "现住浙江省杭州市西湖区文三路90号5幢301室,心率 72次/分。"
>>> [text[f.start:f.end] for f in places(text)]
['浙江省杭州市西湖区文三路90号5幢301室']
"""

# A pattern stands on one line, however long: cut in two it can no longer be compared with its neighbours.
# ruff: noqa: E501

import re

from domains._found import HAN, Found, settle

__all__ = ["places"]

_STREET = (
    "Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Way|Place|Pl|Terrace|Ter|Circle|Cir|"
    "Highway|Hwy|Parkway|Pkwy|Square|Sq|Trail|Trl|Close|Crescent|Gardens|Alley|Loop|Row|Mews"
)
_STATE = (
    "AL|AK|AZ|AR|CA|CO|CT|DE|FL|GA|HI|ID|IL|IN|IA|KS|KY|LA|ME|MD|MA|MI|MN|MS|MO|MT|NE|NV|NH|NJ|NM|NY|NC|ND|OH|OK|OR|"
    "PA|RI|SC|SD|TN|TX|UT|VT|VA|WA|WV|WI|WY|DC|Alabama|Alaska|Arizona|Arkansas|California|Colorado|Connecticut|"
    "Delaware|Florida|Georgia|Hawaii|Idaho|Illinois|Indiana|Iowa|Kansas|Kentucky|Louisiana|Maine|Maryland|"
    "Massachusetts|Michigan|Minnesota|Mississippi|Missouri|Montana|Nebraska|Nevada|New Hampshire|New Jersey|New Mexico|"
    "New York|North Carolina|North Dakota|Ohio|Oklahoma|Oregon|Pennsylvania|Rhode Island|South Carolina|South Dakota|"
    "Tennessee|Texas|Utah|Vermont|Virginia|Washington|West Virginia|Wisconsin|Wyoming"
)
_TOWN = r"[A-Z][a-z]+(?:[ -][A-Z][a-z]+){0,2}"
_UNIT = r"(?:(?:Apt|Apartment|Suite|Ste|Unit|Flat|Room|Rm|Floor|Fl|#)\.?\s?#?\s?[\dA-Z-]{1,6})"
_UK = r"[A-Z]{1,2}\d[A-Z\d]? \d[ABD-HJLNP-UW-Z]{2}"
_ZIP = r"\d{5}(?:-\d{4})?"
_TAIL = rf"(?:,?\s+{_UNIT})?(?:,\s+{_TOWN}(?=[,.;\n]|\s+(?:{_STATE}|{_ZIP}|{_UK})\b|$))?(?:,?\s+(?:{_STATE})\b)?(?:,?\s+(?:{_ZIP}|{_UK})\b)?"
_ENGLISH = (
    ("address.street", rf"(?<![\w./])\d{{1,6}}[A-Z]?\s+(?:[NSEW]\.?\s+|North |South |East |West )?(?:[A-Z][a-z]+\s+|\d{{1,3}}(?:st|nd|rd|th)\s+){{1,3}}(?:(?:St|Ave|Rd|Blvd|Dr|Ln|Ct|Pl)\.(?=,)|(?:{_STREET})\b){_TAIL}"),
    ("address.box", rf"\bP\.?\s?O\.?\s?Box\s\d+{_TAIL}"),
    ("address.town", rf"\b{_TOWN},\s+(?:{_STATE})\s+{_ZIP}\b"),
    ("address.zip", rf"(?i:\bzip(?: ?code)?|postal code|postcode)\s*(?:is|:|=)?\s*(?P<id>{_ZIP}|{_UK})\b"),
    ("address.lives", rf"(?i:\b(?:lives?|living|resid(?:es|ing)|resident|moved|relocated|native|born|home(?: is)?|originally)\s+(?:at|in|of|to|from|near))\s+(?P<id>{_TOWN}(?:,\s+(?:{_STATE}|{_TOWN})\b)?)"),
    ("address.label", r"(?i:\b(?:home |mailing |street |residential )?address(?:\s?line)?\s*:)[ \t]*(?P<id>[^\n;|]{4,120}?)(?=[.;|]?\s*(?:\n|$)|\.\s+[A-Z]|[;|]|,?\s+(?i:phone|tel|email|DOB|MRN|city|zip)\b)"),
)  # fmt: skip
_PROVINCES = (
    "北京|天津|上海|重庆|河北|山西|辽宁|吉林|黑龙江|江苏|浙江|安徽|福建|江西|山东|河南|湖北|湖南|广东|海南|四川|贵州|云南|陕西|甘肃|青海|台湾|"
    "内蒙古|广西|西藏|宁夏|新疆|香港|澳门"
)
_CITIES = (
    "石家庄|唐山|太原|大同|沈阳|大连|长春|哈尔滨|南京|苏州|无锡|常州|南通|徐州|扬州|杭州|宁波|温州|嘉兴|绍兴|金华|台州|合肥|芜湖|福州|厦门|泉州|"
    "漳州|南昌|九江|赣州|济南|青岛|烟台|潍坊|临沂|郑州|洛阳|开封|武汉|宜昌|襄阳|长沙|株洲|岳阳|广州|深圳|珠海|佛山|东莞|中山|惠州|汕头|南宁|桂林|"
    "柳州|海口|三亚|成都|绵阳|德阳|贵阳|遵义|昆明|大理|丽江|西安|咸阳|宝鸡|兰州|西宁|银川|乌鲁木齐|呼和浩特|包头|拉萨"
)
_Z = f"[{HAN}A-Za-z0-9]"
_STEP = rf"(?:[{HAN}]{{2,8}}?(?:自治区|特别行政区|自治州|地区|自治县|自治旗|经济开发区|开发区|新区|省|市|盟|区|县|旗|镇|乡|街道|村|社区|小区))"
_ROAD = rf"(?:[{HAN}]{{1,8}}?(?:大道|路|街|巷|胡同|弄|里|道)(?:东|西|南|北|中)?(?:段)?)"
_HOUSE = rf"(?:\d{{1,5}}(?:-\d{{1,4}})?(?:号院|号楼|号|弄|栋|幢|座|单元|楼|层|室|组|户)|[A-Z]座|[{HAN}]{{2,8}}?(?:小区|花园|家园|公寓|大厦|苑|新村)|{_Z}{{1,4}}(?:单元|栋|幢)|\d{{3,4}}(?=[\s,。;]|$))"
_ANCHOR = rf"(?:(?:{_PROVINCES})(?:省|市|壮族自治区|回族自治区|维吾尔自治区|自治区)?|(?:{_CITIES})市?)"
_CHINESE = (
    # 安 and others end many clinical words, so a province alone is no address: a step below it must follow.
    ("address.zh", rf"{_ANCHOR}(?:{_STEP}|{_ROAD}|{_HOUSE}){{1,8}}"),
    ("address.zh-city", rf"(?:{_PROVINCES})(?:省|壮族自治区|回族自治区|维吾尔自治区|自治区)?(?:{_CITIES})市?|(?:{_CITIES})市"),
    ("address.zh-house", rf"(?<![{HAN}])(?:现住|家住|住在?|在|于|到|从)?(?P<id>(?:{_STEP}){{0,3}}{_ROAD}\d{{1,5}}(?:-\d{{1,4}})?(?:号|弄)(?:{_HOUSE}){{0,5}})"),
    ("address.zh-label", rf"(?:(?:家庭|现|通讯|通信|联系|户籍|工作单位|单位|居住)?(?:住址|地址)|籍贯|出生地|户口(?:所在)?地)\s*[:为是]\s*(?P<id>{_Z}[{HAN}A-Za-z0-9\-# ()]{{1,60}}?)(?=[\s,，。;、]|电话|邮编|联系|$)"),
    ("address.zh-lives", rf"(?:现住|家住|住在|居住于|居住在|常住|户籍在|户籍|来自)(?P<id>(?:{_ANCHOR}|{_STEP})(?:{_STEP}|{_ROAD}|{_HOUSE}){{0,8}})"),
    ("address.zh-zip", r"(?:邮编|邮政编码)\s*[:为是]?\s*(?P<id>\d{6})(?!\d)"),
)  # fmt: skip
_PATTERNS = tuple((rule, re.compile(pattern)) for rule, pattern in (*_ENGLISH, *_CHINESE))


def places(text: str) -> list[Found]:
    """Every address in a folded text."""
    found = []
    for rule, pattern in _PATTERNS:
        for m in pattern.finditer(text):
            start, end = m.span("id") if "id" in pattern.groupindex else m.span()
            found.append(Found(kind="ADDRESS", start=start, end=end, rule=rule))
    return settle(found)
