"""What an epsilon means for one unit, in plain words: bounds on any attacker's success, in English and Chinese.

The attacker knows everything but one unit: the code, all messages, the records of everybody else. They test
whether the unit took part. (epsilon, delta)-differential privacy bounds every such test:

    hits <= min(e^epsilon a + delta,  1 - e^-epsilon (1 - a - delta))      a: share of false alarms

and nothing else does; every figure here follows from these two lines, which randomised response meets
(Kairouz et al. 2015, arXiv:1311.0776, Theorems 2.1 and 3.2).

>>> round(best_guess(1.0, 0.0, prior=0.5), 3)
0.731
"""

import math
from dataclasses import dataclass
from typing import Any

from fedcore._certificate_words import Language, word
from fedcore.errors import ConfigError
from fedcore.privacy.units import PrivacyUnit

__all__ = ["Explanation", "assumption", "belief", "best_guess", "hit_rate", "unit_words"]

FALSE_ALARMS = (0.001, 0.01, 0.1)
_TIMES_DELTA = 10

_UNITS_ZH = {
    "record": "一条记录",
    "patient": "一名患者（其全部记录）",
    "customer": "一位客户（其全部记录）",
    "company": "一家公司（其全部记录）",
    "account": "一个账户（其全部记录）",
}
_RELATIONS_ZH = {"add_or_remove_one": "加入或移除", "replace_one": "替换为另一个"}


def hit_rate(epsilon: float, delta: float, *, false_alarms: float) -> float:
    """The largest share of true cases that a test can find while it is wrong about `false_alarms` of the others.

    Reference: Kairouz et al. 2015, arXiv:1311.0776, Theorem 2.1.
    """
    first = math.exp(epsilon) * false_alarms + delta if epsilon < 700 else (1.0 if false_alarms else delta)
    second = 1 - math.exp(-epsilon) * (1 - false_alarms - delta)
    return max(0.0, min(1.0, first, second))


def best_guess(epsilon: float, delta: float, *, prior: float) -> float:
    """The largest chance of a right answer for who believes in presence with probability `prior` beforehand.

    A guess is right with prior * hits + (1 - prior) * (1 - false alarms). The bound on the hits is made of two
    lines, so the best test stands where they cross or at one of their ends: never, or always, saying yes.
    """
    crossing = (1 + delta * math.exp(-epsilon)) / (1 + math.exp(-epsilon))
    return min(1.0, max(crossing, (1 - prior) + prior * delta, prior + (1 - prior) * delta))


def belief(epsilon: float, delta: float, *, prior: float) -> tuple[float, float, float]:
    """The least and the largest belief in presence afterwards, and the chance that what is seen passes them.

    With delta = 0 the odds change by at most e^epsilon, always. Otherwise let S be all outputs whose odds
    change by more than c e^epsilon. Then P(S) <= e^epsilon Q(S) + delta < P(S) / c + delta, so P(S) is below
    delta c / (c - 1). With c = 10 / 9 that is 10 delta, and a share of e^-epsilon / c of it the other way.
    Outside S nothing holds exactly with e^epsilon and delta: that would be a common misreading.

    Reference: Kasiviswanathan and Smith 2014, arXiv:0803.3946, Lemma 3.3 (the same step with other constants).
    """
    factor = math.exp(-epsilon) * (1.0 if delta == 0 else 1 - 1 / _TIMES_DELTA)
    fails = min(1.0, _TIMES_DELTA * delta * (1 + factor))
    return prior * factor / (prior * factor + 1 - prior), prior / (prior + (1 - prior) * factor), fails


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """An epsilon for one unit, explained.

    Args:
        epsilon: >= 0; infinite where no noise was added.
        delta: In [0, 1).
        unit: Whom it protects, and the relation.
        prior: What the attacker believes before they look, in (0, 1).
        honest_minimum: Of shared noise, what the epsilon assumes, >= 1; see `PrivacyPlan`.
    Raises:
        ConfigError: A number is out of range.
    """

    epsilon: float
    delta: float
    unit: PrivacyUnit
    prior: float = 0.5
    honest_minimum: int | None = None

    def __post_init__(self) -> None:
        if not self.epsilon >= 0:
            raise ConfigError("epsilon is out of range", expected="a number from 0", got=f"{self.epsilon:g}")
        if not 0 <= self.delta < 1:
            raise ConfigError(
                "delta is out of range", expected="a number in [0, 1), such as 1e-5", got=f"{self.delta:g}"
            )
        if not 0 < self.prior < 1:
            raise ConfigError(
                "prior is out of range", expected="a number in (0, 1), such as 0.5", got=f"{self.prior:g}"
            )
        if self.honest_minimum is not None and not 1 <= self.honest_minimum <= 4096:
            raise ConfigError(
                "the honest minimum is out of range",
                expected="a whole number from 1 to 4,096",
                got=str(self.honest_minimum),
            )

    @property
    def success(self) -> float:
        """Bound on the chance of a right answer at the prior."""
        return best_guess(self.epsilon, self.delta, prior=self.prior)

    @property
    def alone(self) -> float:
        """Chance of a right answer without looking at anything."""
        return max(self.prior, 1 - self.prior)

    @property
    def verdict(self) -> str:
        """How much the bound rules out: "strong", "moderate", "weak" or "formal"; from `best_guess` at one half."""
        chance = best_guess(self.epsilon, self.delta, prior=0.5)
        return next((name for limit, name in _VERDICTS if chance <= limit), "formal")

    def to_dict(self, language: Language) -> dict[str, Any]:
        """A JSON value: the figures, and the words."""
        low, high, fails = belief(self.epsilon, self.delta, prior=self.prior)
        factor = math.exp(self.epsilon) if self.epsilon < 700 else None
        return {
            "epsilon": self.epsilon if math.isfinite(self.epsilon) else None,
            "delta": self.delta,
            "prior": self.prior,
            "unit": self.unit.key,
            "relation": self.unit.relation,
            "unit_words": unit_words(self.unit, language),
            "odds_factor": factor,
            "belief_low": low,
            "belief_high": high,
            "belief_fails": fails,
            "success": self.success,
            "success_without": self.alone,
            "hit_rates": [
                {"false_alarms": a, "hits": hit_rate(self.epsilon, self.delta, false_alarms=a)} for a in FALSE_ALARMS
            ],
            "verdict": self.verdict,
            "honest_minimum": self.honest_minimum,
            "assumes": self.assumes(language),
            "lang": language,
            "title": self.title(language),
            "means": list(self.means(language)),
            "does_not_mean": list(self.does_not_mean(language)),
        }

    def title(self, language: Language) -> str:
        """Epsilon, delta, unit and relation."""
        figure = f"{self.epsilon:g}" if math.isfinite(self.epsilon) else {"en": "infinite", "zh": "无穷大"}[language]
        who = unit_words(self.unit, language)
        if language == "zh":
            return f"ε = {figure}，δ = {self.delta:g}。保护对象：{who}"
        return f"epsilon {figure} at delta {self.delta:g}, for {who}"

    def means(self, language: Language) -> tuple[str, ...]:
        """What is promised, a paragraph each."""
        low, high, fails = belief(self.epsilon, self.delta, prior=self.prior)
        shown = {
            "prior": percent(self.prior),
            "low": percent(low, up=False),
            "high": percent(high),
            "success": percent(self.success),
            "alone": percent(self.alone),
            "fails": _chance(fails, language),
        }
        hits = [
            (percent(a), percent(hit_rate(self.epsilon, self.delta, false_alarms=a)), f"{a:g}") for a in FALSE_ALARMS
        ]
        if language == "zh":
            who = _UNITS_ZH.get(self.unit.key, f"一个{self.unit.key}").split("（")[0]
            records = who if self.unit.key == "record" else f"{who}的记录"
            question = f"{records}是否参与了训练" if self._is_presence else f"{records}究竟是两个版本中的哪一个"
            first = "参与" if self._is_presence else "第一个版本"
            return (
                f"设想最坏的情形：有人掌握了发布的适配器、该机构发出的全部消息、程序代码，以及其他所有人的记录，只想弄清{question}。"
                f"查看这些内容之前，他认为是“{first}”的可能性为 {shown['prior']}。",
                (f"除去不超过{shown['fails']}的例外，" if fails else "")
                + f"无论看到什么，他的判断最高只能升到 {shown['high']}，最低只能降到 {shown['low']}。",
                f"无论用什么方法，他答对的概率都不超过 {shown['success']}；什么都不看、只凭事先的判断，"
                f"答对的概率是 {shown['alone']}。",
                "换一种说法：" + "；".join(f"若要求误报率不超过 {a}，命中率最多为 {h}" for a, h, _ in hits) + "。",
                _VERDICTS_ZH[self.verdict],
            )
        whose = "one record" if self.unit.key == "record" else f"the records of one {self.unit.key}"
        presence = f"whether {whose} took part in the training"
        question = presence if self._is_presence else f"which of two versions of {whose} was used"
        first = "took part" if self._is_presence else "the first version"
        return (
            "Think of the worst case: somebody who has the released adapter, every message that the institution sent, "
            f"the code, and the records of everybody else, and who only wants to know {question}. Before looking, they "
            f'give "{first}" a chance of {shown["prior"]}.',
            (f"Except with a chance of at most {shown['fails']}, w" if fails else "W")
            + f"hatever they see raises their belief to at most {shown['high']} and lowers it to no less than "
            f"{shown['low']}.",
            f"Whatever they do, their answer is right with a chance of at most {shown['success']}; without looking at "
            f"anything it is {shown['alone']}.",
            "In other words: "
            + "; ".join(f"with at most {a} false alarms they find at most {h}" for a, h, _ in hits)
            + ".",
            _VERDICTS_EN[self.verdict],
        )

    def assumes(self, language: Language) -> str | None:
        """What an epsilon of shared noise assumes; None where each institution adds the whole noise itself."""
        return None if self.honest_minimum is None else assumption(self.honest_minimum, language)

    def does_not_mean(self, language: Language) -> tuple[str, ...]:
        """What is often read into an epsilon and is not there, a sentence or two each."""
        lines = _NOT_ZH if language == "zh" else _NOT_EN
        ten = f"{10 * self.epsilon:g}" if math.isfinite(self.epsilon) else "∞"
        names = ("record",) if self.unit.key == "record" else ("unit",)
        kept = [text for kind, text in lines if kind in ("always", *names)]
        return tuple(text.format(unit=self.unit.key, ten=ten) for text in kept)

    @property
    def _is_presence(self) -> bool:
        return self.unit.relation == "add_or_remove_one"


_VERDICTS = ((0.75, "strong"), (0.9, "moderate"), (0.99, "weak"))

_VERDICTS_EN = {
    "strong": "This is a strong promise: even in the worst case the answer stays far from certain.",
    "moderate": "This is a moderate promise: in the worst case there is a real hint, but no certainty.",
    "weak": "This is a weak promise: in the worst case the answer is right more often than not, by far. It limits what "
    "attackers gain on average, and little more.",
    "formal": "By itself this bound rules out little: in the worst case the attacker may be nearly certain. Real "
    "attacks may achieve far less, but that is then shown by an audit, and not promised by this epsilon.",
}

_VERDICTS_ZH = {
    "strong": "这是有力的保证：即使在最坏的情形下，答案也远谈不上确定。",
    "moderate": "这是中等的保证：在最坏的情形下会露出线索，但不足以断定。",
    "weak": "这是较弱的保证：在最坏的情形下，攻击者多半能答对；它只限制平均的收获，此外作用不大。",
    "formal": "单凭这个上界排除不了多少：在最坏的情形下，攻击者可能近乎确定。"
    "实际攻击的效果也许差得多，但那要由审计来证明，不是这个 ε 所保证的。",
}

_NOT_EN = (
    (
        "always",
        "Epsilon is neither a probability nor a share of the records that leak. It is the worst case over all "
        "attackers and all data; what an audit finds is a figure from below.",
    ),
    (
        "always",
        "It does not say that nothing is learned about the unit: what holds for many is learned with or without "
        "this one, and may be applied to it.",
    ),
    (
        "unit",
        "It protects one {unit} at one institution. Two of them together have twice the epsilon, and a {unit} "
        "known to two institutions is exposed to both.",
    ),
    (
        "record",
        "It protects one record and not a person: somebody with ten records is only protected by epsilon {ten}.",
    ),
    (
        "always",
        "It is the cost of what was released until now. Epsilons add up: each further release from the same data "
        "comes on top, and only the institution's ledger knows the sum.",
    ),
    (
        "always",
        "It says nothing of records that are public already, of what the institution itself does with its records, "
        "of how settings were chosen, or of whether what the model writes is true.",
    ),
)

_NOT_ZH = (
    ("always", "ε 不是概率，也不是泄露记录的比例。它针对一切攻击者、一切数据中最坏的情形；审计得到的则是下界。"),
    ("always", "它并不表示对保护对象一无所知：许多人共有的规律，有没有这一个都会被学到，也可能被用到这一个身上。"),
    (
        "unit",
        "它在一家机构内保护单个对象。两个对象合在一起，ε 加倍；同一对象若在两家机构都有记录，则要承受两处的风险。",
    ),
    ("record", "它保护的是一条记录，而不是一个人：有十条记录的人，只受到 ε = {ten} 的保护。"),
    (
        "always",
        "它是迄今为止所发布内容的代价。ε 会累加：同一数据每多发布一次，就多一份代价，总数只有机构自己的账本知道。",
    ),
    ("always", "它不涉及已经公开的记录、机构自己对记录的使用、参数的选择过程，也不涉及模型所写内容是否属实。"),
)


def assumption(honest_minimum: int, language: Language) -> str:
    """What shared noise assumes of the institutions."""
    if honest_minimum == 1:
        return word("assumption_alone", language)
    return word("assumption", language, honest=f"{honest_minimum:,}")


def unit_words(unit: PrivacyUnit, language: Language) -> str:
    """The unit and relation in words."""
    if language == "en":
        return unit.describe()
    who = _UNITS_ZH.get(unit.key, f"一个{unit.key}（其全部记录）")
    return f"{who}，{_RELATIONS_ZH[unit.relation]}"


def percent(value: float, *, up: bool = True) -> str:
    """A share in per cent, rounded away from what would flatter the promise: up, or down for a lower bound."""
    near = min(value, 1 - value)
    if near <= 1e-9:
        return f"{100 * round(value)}%"
    digits = min(8, max(1, 1 - math.floor(math.log10(100 * near))))
    scaled = 100 * value * 10**digits
    # A hair of floating point must not push an exact figure to the next one.
    whole = math.ceil(scaled - 1e-6) if up else math.floor(scaled + 1e-6)
    text = f"{whole / 10**digits:.{digits}f}"
    return text.rstrip("0").rstrip(".") + "%"


def _chance(chance: float, language: Language) -> str:
    """A small chance as one in so many, rounded up."""
    if chance > 0.1:
        return percent(chance)
    many = f"{math.floor(1 / chance + 1e-6):,}" if chance else "∞"
    return f" {many} 分之一" if language == "zh" else f"1 in {many}"
