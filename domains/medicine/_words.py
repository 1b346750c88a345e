"""All the words that a note may use beside what the input holds: a closed list, so that a model adds nothing.

`VOCABULARY` joins facts and carries none of its own: any other word fails its sentence. No negation is in it, since a
negation outside a fact's own wording could turn that fact around. `acts` says that something was done, found or
planned: such words stand only in a sentence that states a fact of their kind and none of another kind, so that "a
vaccine was given" passes beside the vaccine of an Immunization, and not where the sentence names a plan too.

>>> "performed" in VOCABULARY, "performed" in acts("procedure"), "performed" in acts("drug")
(False, True, False)
"""

from collections.abc import Mapping

__all__ = ["KINDS", "VOCABULARY", "VOCABULARY_ZH", "acts"]

VOCABULARY = frozenset(
    """a an the this that these those it its their they who which is are was were be been being has have had having
    does do did and or with for of on in at to by from as per into after before during while when where also both
    including here there today now then currently current visit visits seen see sees attended attends attending
    attendance back presents presented presenting presentation follow up follow-up consultation appointment patient
    patient's person old aged age known history background diagnosis problem problems condition conditions complaint
    complaints comes came because assessment findings finding found shows showed recorded record records note notes
    noted documented documentation summary plan other impression type reason past following date encounter
    """.split()  # noqa: SIM905
)

VOCABULARY_ZH = frozenset(
    """患者 病人 为 是 有 的 及 和 与 并 在 于 本次 此次 今日 当前 目前 现 曾 就诊 来诊 复诊 随访 门诊 日期 类型 原因 因
    诊断 问题 既往 病史 主诉 记录 显示 计划 包括 其他 年龄 性别""".split()  # noqa: SIM905
)
"""The same for Chinese. No negation is in it, and no word that could join another to make one."""

_ACTS: Mapping[str, tuple[str, str]] = {
    "drug": (
        "prescribed prescription prescriptions takes taken medication medications",
        "处方 开具 服用 使用 给予 用药 药物 药品",
    ),
    "taken": ("takes taken medication medications", "服用 使用 用药 药物 药品"),
    "procedure": ("procedure procedures performed done conducted", "已行 操作"),
    "vaccine": ("vaccine vaccines immunization immunizations given received", "已接种 接种 疫苗"),
    "plan": ("planned care", "随诊"),
    "allergy": ("allergic allergy allergies", "过敏 过敏史"),
    "measured": (
        "measured reading readings vital vitals signs sign exam examination on-examination observation observations",
        "查体 检查 测量 测得 生命体征 体征",
    ),
}
KINDS = tuple(_ACTS)


def acts(kind: str, lang: str = "en") -> frozenset[str]:
    """The words that may stand beside a fact of a kind; none for a kind that has none."""
    return frozenset(_ACTS.get(kind, ("", ""))[lang == "zh"].split())
