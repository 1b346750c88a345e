"""Words that carry no clinical fact of their own: all that a note may use beside what the input holds.

A closed list is what makes it certain that a model adds nothing: any other word fails its sentence. No
negation is in it, since a negation outside a fact's own wording could turn that fact around. Words for acts that notes
seldom need, such as surgery, treatment or advice, come with facts alone; those that they are written with (prescribed,
given, performed, vaccine) still stand here: "a procedure was performed" passes beside a fact where none is recorded.
"""

__all__ = ["VOCABULARY", "VOCABULARY_ZH"]

VOCABULARY = frozenset(
    """a an the this that these those it its their they who which is are was were be been being has have had having
    does do did and or with for of on in at to by from as per into after before during while when where also both
    including here there today now then currently current visit visits seen see sees attended attends attending
    attendance back presents presented presenting presentation follow up follow-up consultation appointment patient
    patient's person old aged age known history background diagnosis problem problems condition conditions complaint
    complaints comes came because assessment examination exam on-examination findings finding found shows showed
    measured recorded record records reading readings vital vitals signs sign observations observation note notes
    noted documented documentation summary prescribed prescription prescriptions takes taken medication medications
    given plan planned care other performed done procedure procedures vaccine vaccines received impression conducted
    immunization immunizations type reason past following date encounter
    """.split()  # noqa: SIM905
)

VOCABULARY_ZH = frozenset(
    """患者 病人 为 是 有 的 及 和 与 并 在 于 本次 此次 今日 当前 目前 现 曾 就诊 来诊 复诊 随访 门诊 日期 类型 原因 因
    诊断 问题 既往 病史 主诉 查体 检查 测量 测得 记录 显示 生命体征 体征 处方 开具 服用 使用 给予 用药 药物 药品
    已行 操作 已接种 接种 疫苗 过敏史 计划 随诊 包括 其他 年龄 性别""".split()  # noqa: SIM905
)
"""The same for Chinese. No negation is in it, and no word that could join another to make one."""
