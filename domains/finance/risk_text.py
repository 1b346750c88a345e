"""`finance.risk-text`: is a sentence a risk, or which kind of risk? A classifier that institutions train together.

A record has `text`, and a `label` to train on; it may have `before` (the sentence before it) and `site`. The
prompt is feature words for a features base: runs of characters, and **marks**, which are what our own lexicons
see: who answers for harm, what silence means, who else may take the data. A mark in the scope of a negation is
another mark.

>>> marks("若您继续使用，即视为您同意，我们概不负责。")
('deemed', 'disclaimed', 'ongoing')
>>> marks("我们不会向任何第三方提供。")
('not:third',)
>>> RiskTextTask().examples({"text": "We are not liable.", "label": "risk"}, unit="u")[0].label
'risk'
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from domains.base import Example, Language, Sensitive, Skeleton
from fedcore.errors import RecordError

__all__ = ["LABELS", "Passage", "RiskTextTask", "category_of", "feature_words", "is_han", "marks", "sentences"]

LABELS = ("none", "risk")
_DIMENSION = 16_384
"""Inputs that all feature words share."""

_MARKS: Mapping[str, tuple[str, str]] = {
    # What a sentence does -> how Chinese and English say it. Ours, from how policies and contracts are drafted.
    "disclaimed": (
        "不承担|不负责|概不负责|不负任何|没有能力|没有义务|无义务|不再对|不保证|无法保证|无法控制|不受我们控制|免责|免除责任",
        r"not (?:be )?(?:liable|responsible)|no (?:liability|responsibility)|disclaims?|as is|without warrant",
    ),
    "shifted": (
        "自行承担|由您承担|由你承担|您本人负责|全权承担|后果自负|自行负责|您应当?承担|赔偿我们",
        r"at your own risk|you (?:alone )?(?:bear|assume)|indemnify",
    ),
    "without-consent": (
        "无需征得|无需事先|无须|无需获得|不需要征得|未经.{0,4}同意|无需您|不经您|另行通知",
        r"without (?:your|prior|further) (?:consent|notice|permission)|at any time without",
    ),
    "exempt-state": (
        "国家安全|国防安全|公共安全|公共卫生|犯罪侦查|判决执行|重大公共利益|刑事",
        r"national security|public (?:safety|interest|health)|criminal",
    ),
    "exempt-law": (
        "履行法律法规|法律法规规定的义务|法定义务|法定职责|法律法规有|行政法规规定的其他",
        r"required by law|legal obligations?|as permitted by law",
    ),
    "exempt-life": ("重大合法权益|难以得到|很难得到|生命.{0,4}财产", r"vital interests?|life or property"),
    "exempt-public": (
        "自行向社会|自行公开|合法公开披露|新闻报道|政府信息公开|已经合法公开",
        r"publicly (?:available|disclosed)|news reports?",
    ),
    "exempt-work": (
        "所必需的|所必须的|签订和履行合同|履行合同|安全稳定运行|学术研究|统计",
        r"necessary (?:for|to)|academic research|perform(?:ance of)? (?:a|the) contract",
    ),
    "deemed": (
        "视为|视作|即表示|表示(?:您|你)?(?:同意|认同|接受|已充分|理解)|即代表|意味着(?:您|你)?(?:同意|接受)?|默认",
        r"deemed|constitutes? (?:your )?(?:acceptance|consent)|by (?:continuing|using)",
    ),
    "ongoing": ("继续使用|持续授权|继续访问", r"continued? (?:to )?(?:use|access)"),
    "kept-effect": (
        "此前基于|撤回前|之前基于|已进行的|此前已|不(?:会)?影响.{0,10}(?:此前|之前|撤回|基于|效力)",
        r"does not affect|prior to (?:the )?withdrawal",
    ),
    "third": (
        "第三方|合作方|合作伙伴|关联公司|关联方|广告商|服务商|供应商|SDK",
        r"third part(?:y|ies)|partners?|affiliates?|vendors?",
    ),
    "may-take": (
        "可能会?(?:收集|获取|共享|转让|披露|使用|放置|被|向|将|需要)",
        r"may (?:collect|share|transfer|disclose|use|sell)",
    ),
    "abroad": ("境外|海外|跨境|国外|其他国家|其他地区|全球", r"abroad|overseas|other countries|cross-border"),
    "lost-service": (
        "将?无法(?:使用|获得|正常|提供|享受|登录|为您|向您)|不能使用|影响.{0,6}(?:使用|体验)",
        r"(?:unable|not be able) to (?:use|access|provide)",
    ),
    "kept-data": (
        "无法立即|不会立即|备份|无法删除|不会被删除|不能注销|仍可能|仍会|仍需|仍将|将保留|继续(?:保存|保留|存储)|缓存",
        r"backups?|retain|residual cop(?:y|ies)",
    ),
    "forever": ("无限期|永久|长期|一直|始终|期间持续", r"indefinitely|forever|permanently"),
    "changes": ("变更|修订|更新后|修改后|不时|单方|最终解释权", r"amend|modif|change these|sole discretion|revis"),
    "warned": (
        "请注意|请您注意|请你注意|知悉|特别提示|特别说明|请您理解|请理解|请了解|谨慎|提醒您|务必|充分了解",
        r"please note|be aware|caution|understand and agree",
    ),
    "public": ("公开发布|公开区域|其他用户可见|公开分享|他人|公众|自愿共享|主动公开", r"publicly|other users"),
    "for-others": (
        "他人的(?:合法)?授权|取得他人|他人知晓|监护人同意|确保.{0,6}(?:授权|有权)",
        r"on behalf of others|you (?:warrant|represent) that",
    ),
    "at-once": ("即生效|即刻生效|立即生效|取代此前|优先适用|为准", r"effective (?:immediately|upon)|supersede|prevail"),
    "merger": ("合并|收购|破产|清算|资产转让|重组", r"merger|acquisition|bankruptcy|insolvency|liquidation"),
    "refused": (
        "不予响应|不予|拒绝.{0,4}(?:请求|响应)|合理费用|无法响应|多次重复|不能响应|滥用权利|主观恶意|商业秘密",
        r"refuse|decline your|reasonable fee",
    ),
    "protected": (
        "加密|安全措施|匿名化|去标识|脱敏|征得您|取得您|明示同意|单独同意|授权同意|保密|严格",
        r"encrypt|safeguards?|anonymi[sz]|with your (?:explicit )?consent|confidential",
    ),
    "in-hand": (
        "您可以|您有权|您可|你可以|您能够|撤回|关闭|注销|查询|更正",
        r"you (?:may|can) (?:withdraw|delete|access|opt|correct)|your rights?",
    ),
    "excepted": ("除外|以下情况|下列情形|以下情形|例外|包括但不限于", r"except|unless|including but not limited to"),
    "sensitive": (
        "敏感|身份证|人脸|指纹|生物|精确位置|银行卡|通讯录|麦克风|摄像头|面部",
        r"sensitive|biometric|face|fingerprint|precise location",
    ),
    "unsafe": (
        "泄露|丢失|毁损|不安全|黑客|攻击|绝对安全|百分之百|非授权|被盗",
        r"breach|loss|unauthori[sz]ed|not (?:completely |fully )?secure|hack",
    ),
    "harm": ("后果|损失|赔偿|索赔|纠纷|责任", r"damages?|losses|harm|adversely|liabilit"),
    "authority": ("监管|司法|行政机关|执法|有权机关|法院", r"regulators?|courts?|law enforcement|authorit"),
}
_HAN_NOT = "不会|不得|不向|并不|绝不|禁止|不应|从不"
_ENGLISH_NOT = r"\b(?:not|never|no|neither|nor|cannot|won't|don't)\b"
_TURNED = frozenset({"third", "may-take", "abroad", "forever", "public", "unsafe", "sensitive", "kept-data"})
"""Marks that a negation before them turns into their opposite; in others the negation is part of the wording."""
_SCOPE = 24
"""Characters that a negation reaches, unless a mark of punctuation stands between."""
_ITEM = re.compile(r"^\s*[(（•·●-]?\s*(?:\d{1,2}|[a-z]|[ivx]{1,4}|[一二三四五六七八九十]{1,3})[)）、.．,：:]")
_HAN = re.compile(r"[\u3400-\u9fff]")
_HAN_CUT = re.compile(r"(?<=[。！？!?；;])[”’」』）》]*\s*|\n+")
_ENGLISH_CUT = re.compile(r"(?<=[.!?])[\"')]*\s+(?=[A-Z0-9(\"'])|\n+")
_MARK, _SITE, _SITE_MARK = 6, 15, 4
"""How often a mark, a site, and a site with a mark stand in a prompt, where a run of characters stands once."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Passage(Sensitive):
    """A sentence of the input, as it stands there."""

    text: str
    path: str
    number: int


@dataclass(frozen=True, kw_only=True, repr=False)
class _Given(Sensitive):
    """A sentence with what is known around it."""

    text: str
    site: str = ""


@dataclass(frozen=True, kw_only=True)
class RiskTextTask:
    """The task. It holds no state."""

    name: str = "finance.risk-text"
    version: str = "1"
    kind: Literal["generate", "classify"] = "classify"
    fields: tuple[str, ...] = ("text", "label")
    optional: tuple[str, ...] = ("site",)
    summary: str = "a sentence -> whether it is a risk, or of which category"
    languages: tuple[Language, ...] = ("en", "zh")
    base: str = "risk-text"

    def make_base(self, directory: Path, labels: Sequence[str] = LABELS) -> None:
        """Write the features base of this task into a new directory; it knows nothing before training."""
        from domains.features import make_features_base  # Imports torch: only where a base is made.

        make_features_base(directory, labels=labels, dimension=_DIMENSION)

    def examples(self, fields: Mapping[str, Any], *, unit: str) -> list[Example]:
        """Render a record.

        Raises:
            RecordError: There is no text or no label.
        """
        label = fields.get("label")
        if not isinstance(label, str) or not label.strip():
            raise RecordError("a record has no label", expected="a name such as risk, in the field 'label'")
        return [Example(prompt=self.prompt(self.read(fields)), target="", unit=unit, label=label.strip())]

    def read(self, fields: Mapping[str, Any]) -> Any:
        """Read a sentence.

        Raises:
            RecordError: There is no text.
        """
        text, site = fields.get("text"), fields.get("site") or ""
        if not isinstance(text, str) or not text.strip():
            raise RecordError("a record has no text", expected="a sentence in the field 'text'")
        if not isinstance(site, str):
            raise RecordError("the field 'site' is wrong", expected="text", got=type(site).__name__)
        return _Given(text=text, site=site)

    def prompt(self, source: Any) -> str:
        """Feature words."""
        return " ".join(feature_words(source.text, site=source.site))

    def skeleton(self, source: Any) -> Skeleton:
        """Nothing is written by a classifier."""
        return Skeleton(statements=(), vocabulary=frozenset())


def is_han(text: str) -> bool:
    """Whether a text is Chinese: at least every fourth of its characters."""
    return 4 * len(_HAN.findall(text)) >= len(text.strip()) > 0


def sentences(text: str | list[str]) -> tuple[Passage, ...]:
    """Cut a text into its sentences, each as it stands; a list is cut already."""
    if isinstance(text, list):
        found = [(t, f"text[{i}]") for i, t in enumerate(text)]
    else:
        cut = _HAN_CUT if is_han(text) else _ENGLISH_CUT
        found, start = [], 0
        for end, following in [*((m.start(), m.end()) for m in cut.finditer(text)), (len(text), len(text))]:
            piece = text[start:end] if not _HAN_CUT.fullmatch(text[end:following]) else text[start:following]
            found.append((piece.strip(), f"text[{start}:{start + len(piece)}]"))
            start = following
    kept = [(t, p) for t, p in found if any(c.isalpha() for c in t)]
    return tuple(Passage(text=t.strip(), path=p, number=n) for n, (t, p) in enumerate(kept, 1))


@lru_cache(maxsize=1)
def _patterns() -> tuple[tuple[str, re.Pattern[str], re.Pattern[str]], ...]:
    return tuple(
        (name, re.compile(han, re.IGNORECASE), re.compile(rf"\b(?:{english})", re.IGNORECASE))
        for name, (han, english) in sorted(_MARKS.items())
    )


def marks(text: str) -> tuple[str, ...]:
    """What our lexicons see in a sentence, sorted; "not:" before one that a negation turns around."""
    plain = unicodedata.normalize("NFKC", text)
    han = is_han(plain)
    negation = re.compile(_HAN_NOT if han else _ENGLISH_NOT, re.IGNORECASE)
    found = set()
    for name, chinese, english in _patterns():
        if m := (chinese if han else english).search(plain):
            before = re.split(r"[,，。;；:：]", plain[max(0, m.start() - _SCOPE) : m.start()])[-1]
            turned = name in _TURNED and negation.search(before)
            found.add(f"not:{name}" if turned else name)
    return tuple(sorted(found))


def feature_words(text: str, *, site: str = "") -> list[str]:
    """The words of a prompt for a features base.

    Args:
        text: A sentence.
        site: The institution, where it is known: how strict its readers are is part of what a label means.
            A text of no known site is judged by what all sites have in common.
    """
    from domains.features import ngrams, words  # Imports torch: only where a classifier is used.

    plain = re.sub(r"\s+", "" if is_han(text) else " ", unicodedata.normalize("NFKC", text)).strip().lower()
    seen = list(marks(text))
    if _ITEM.match(plain):
        seen.append("item")
    seen.append({"：": "leads", ":": "leads", "；": "listed", ";": "listed"}.get(plain[-1:], "ends"))
    seen.append(f"length{min(6, len(plain) // (25 if is_han(text) else 60))}")
    pairs = [f"{a}+{b}" for i, a in enumerate(seen) for b in seen[i + 1 :]]
    runs = list(ngrams(plain, 1, 2)) if is_han(text) else [*words(plain), *_pairs(words(plain))]
    found = runs + [f"<{m}>" for m in seen] * _MARK + [f"<{p}>" for p in pairs]
    if site:
        name = "_".join(site.split())
        found += [f"site={name}"] * _SITE + [f"{name}<{m}>" for m in seen] * _SITE_MARK
    return found


def _pairs(found: tuple[str, ...]) -> list[str]:
    return [f"{a}_{b}" for a, b in pairwise(found)]


def category_of(text: str, terms: Mapping[str, tuple[str, ...]]) -> str | None:
    """The category that most of its terms stand in a text; None where none does, or two do alike."""
    plain = " " + unicodedata.normalize("NFKC", text).lower() + " "
    counts = {k: sum(plain.count(t) * (1 + t.count(" ")) for t in ts) for k, ts in terms.items()}
    best = max(counts.values())
    found = [k for k, n in counts.items() if n == best]
    return found[0] if best and len(found) == 1 else None
