"""What a privacy certificate says in words, in English and Chinese.

The English sentences of `NOT_COVERED` are part of what is signed; their names never change, so that another
language can be shown beside them. A sentence that is not known here is shown as it was signed.
"""

from typing import Literal

__all__ = ["LANGUAGES", "NOT_COVERED", "Language", "not_covered", "word"]

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")

NOT_COVERED = {
    "hyperparameters": "How the settings of the job were chosen (rank, learning rate, clip norm, rounds). Trial runs "
    "on the same data that went through the institution's ledger are in its total; a choice made by looking at "
    "records in any other way is counted nowhere.",
    "operator_use": "What an institution's own staff do with their records, and with what they see on their own node.",
    "public_data": "Public examples on which losses are measured, public canaries, and whatever the base model was "
    "trained on before.",
    "other_jobs": "The events of other jobs, whichever coordinator asked for them: they are in the total over all "
    "jobs, but are not listed here. That total is the institution's word, and cannot be computed again from this "
    "certificate; where another job shared its noise, the total assumes what that job assumed.",
    "later_jobs": "What comes after. Each total stands as of the institution's newest counted reply in this job.",
    "other_holders": "Records of the same unit at another institution, or in a data set of another name: a budget is "
    "kept for each data set, and a unit that is in two of them is exposed to both.",
    "groups": "Groups: k units together are protected by k times epsilon, with a larger delta. What is true of many "
    "and can be learned without any one of them is not protected at all.",
    "keys": "That a key is the institution's own: the coordinator enrolled it. Compare the fingerprints with the "
    "institutions themselves.",
    "outside_the_step": "Faults outside the accounted step, such as side channels, hardware and operating systems. "
    "The audit runs the institution's step code on made-up gradients.",
}

_NOT_COVERED_ZH = {
    "hyperparameters": "任务参数（秩、学习率、裁剪范数、轮数）的选择过程。在同一数据上、经过机构账本的试验运行"
    "已计入累计值；以其他方式查看记录后作出的选择，任何地方都没有计入。",
    "operator_use": "机构自己的工作人员如何使用自有记录，以及他们在自己节点上看到的内容。",
    "public_data": "用于测量损失的公开样本、公开的金丝雀样本，以及基础模型此前的训练数据。",
    "other_jobs": "其他任务的事件，无论由哪个协调方发起：它们已计入全部任务的累计值，但未在此列出。"
    "累计值出自机构的陈述，无法凭本证书重新计算；若其他任务的噪声由各机构共同承担，累计值也以该任务的前提为准。",
    "later_jobs": "此后发生的一切。每个累计值截至该机构在本任务中最近一次被计入的回复。",
    "other_holders": "同一保护对象在其他机构、或在另一名称的数据集中的记录："
    "预算按数据集分别记账，同时出现在两处者要承受两处的风险。",
    "groups": "群体：k 个保护对象合在一起，只受 k 倍 ε 的保护，δ 也更大。"
    "多数人共有、不依赖任何一人也能学到的规律不受保护。",
    "keys": "密钥是否确属该机构：密钥由协调方登记，请直接与各机构核对指纹。",
    "outside_the_step": "记账步骤以外的缺陷，例如旁路信道、硬件和操作系统。"
    "审计以虚构的梯度运行机构自己的训练步骤代码。",
}

_WORDS: dict[str, tuple[str, str]] = {
    "title": ("Privacy certificate", "隐私证书"),
    "of_release": ("of the release", "发布"),
    "verified": (
        "Verified offline: signatures, attestations, and epsilon of this job computed again from its events.",
        "已离线验证：签名、机构签字，以及根据事件重新计算的本任务 ε。",
    ),
    "unpinned": (
        "NOT VERIFIED against a pinned key: whole, but whoever signed it chose the key. Give --key.",
        "未用固定密钥验证：内容完整，但密钥由签名者自己给出。请提供 --key。",
    ),
    "unsafe": (
        "UNSAFE: {marks}. A guarantee was weakened; this release is for research only.",
        "不安全：{marks}。保证已被削弱，此发布仅供研究。",
    ),
    "promise": (
        "Each figure bounds what anyone, the coordinator included, can learn about {unit}, from everything that the "
        "institution sent: (epsilon, delta)-differential privacy at the institution itself.",
        "每个数字都限定了任何人（包括协调方）从该机构发出的全部内容中，能够得知关于“{unit}”的多少信息："
        "即在机构自身处成立的 (ε, δ) 差分隐私。",
    ),
    "promise_shared": (
        "Each figure bounds what anyone, the coordinator included, can learn about {unit} from the sums that were "
        "opened: (epsilon, delta)-differential privacy of every sum, under the assumption below. What the institution "
        "sent by itself is hidden by masks.",
        "每个数字都限定了任何人（包括协调方）从被揭开的总和中，能够得知关于“{unit}”的多少信息："
        "即在下述前提下，每个总和都满足 (ε, δ) 差分隐私。机构单独发出的内容由掩码隐藏。",
    ),
    "assumes": ("assumes", "前提"),
    "assumption": (
        "The noise is shared: each institution adds a part of it. The figures assume that in every sum that is opened "
        "{honest} or more institutions, this one among them, neither drop out nor tell their part to anybody; with "
        "only k of them the noise is the square root of k/{honest} of what is stated.",
        "噪声由各机构共同承担，每家只加入其中一份。这些数字的前提是：在每个被揭开的总和中，至少有 {honest} 家机构"
        "（包括本机构）既未退出，也未向任何人透露自己的那一份；若只有 k 家做到，噪声仅为所述的 √(k/{honest}) 倍。",
    ),
    "assumption_alone": (
        "The noise is shared, and each institution's part is the whole of it: the figures hold for an institution "
        "whatever the others do.",
        "噪声由各机构共同承担，而每家加入的都是全部：无论其他机构怎样做，这些数字对本机构都成立。",
    ),
    "margin": (
        "No sum of fewer than {threshold} institutions is opened, and the assumption holds while at most {colluders} "
        "of all collude with the coordinator.",
        "少于 {threshold} 家机构的总和不会被揭开；只要与协调方串通的机构不超过 {colluders} 家，前提就成立。",
    ),
    "margin_none": (
        "No sum of fewer than {threshold} institutions is opened, and the assumption holds while none of them colludes "
        "with the coordinator.",
        "少于 {threshold} 家机构的总和不会被揭开；只要没有机构与协调方串通，前提就成立。",
    ),
    "integers": (
        "What integer noise and its rounding add to epsilon, below 1e-12 a step, is far under the last printed digit.",
        "整数噪声及其舍入使 ε 增加的部分每步低于 1e-12，远小于所示的最后一位数字。",
    ),
    "sent": ("what was sent", "发送的内容"),
    "sent_local": ("noised updates of local steps", "本地多步训练后加噪的更新"),
    "sent_joint": ("sums of clipped gradients, one joint step a round", "裁剪后梯度之和，每轮一个联合步"),
    "in_clear": ("{sent}, seen by the coordinator one by one", "{sent}，协调方可逐一看到"),
    "masked": (
        "{sent}, behind masks: sums of at least {threshold} of {parties} institutions alone are opened, while at "
        "most {colluders} collude with the coordinator",
        "{sent}，均有掩码：只要与协调方串通的不超过 {colluders} 家，"
        "被揭开的只有 {parties} 家中至少 {threshold} 家的总和",
    ),
    "shared": (
        "a part of a common noise, which {honest} or more institutions carry",
        "共同噪声中的一份，由至少 {honest} 家机构承担",
    ),
    "job": ("job", "任务"),
    "task": ("task", "用途"),
    "base": ("base model", "基础模型"),
    "strategy": ("strategy, rounds", "聚合策略与轮数"),
    "strategy_rounds": ("{strategy}, {rounds} rounds", "{strategy}，{rounds} 轮"),
    "unit": ("unit and relation", "保护对象与相邻关系"),
    "clip": ("clip norm (L2)", "裁剪范数 (L2)"),
    "created": ("made", "生成时间"),
    "code": ("software", "软件版本"),
    "institutions": ("What each institution spent", "各机构的支出"),
    "institution": ("institution", "机构"),
    "epsilon": ("epsilon, all jobs", "ε（全部任务）"),
    "epsilon_job": ("epsilon, this job", "ε（本任务）"),
    "recomputed": ("computed again", "重新计算"),
    "delta": ("delta", "δ"),
    "audited": ("audited, at least", "审计下界"),
    "rounds": ("rounds folded", "计入轮数"),
    "attested": ("attested", "机构签字"),
    "yes": ("yes", "是"),
    "no": ("NO", "否"),
    "infinite": ("infinite", "无穷大"),
    "none": ("not audited", "未审计"),
    "at": ("{value} ({confidence} %)", "{value}（{confidence}%）"),
    "reading": (
        "Epsilon is an upper bound: the institution's accountants give it, and the column beside it was computed "
        "from the events when this was verified. The audited figure is a lower bound, measured on the institution's "
        "own step code, for the steps that it has taken. The truth lies between.",
        "ε 是上界：由机构的记账器给出，旁边一列是验证时根据事件重新计算的结果。"
        "审计值是下界，在机构自己的训练步骤代码上测得，针对它已执行的步骤。"
        "真实值介于两者之间。",
    ),
    "plan_delta": (
        "At the job's own delta, {delta}, this job cost: {figures}.",
        "按任务自身的 δ（{delta}）计算，本任务的支出为：{figures}。",
    ),
    "unattested": (
        "Not attested by the institution itself, stated by the coordinator alone: {names}.",
        "未经机构自己签字、仅由协调方陈述的：{names}。",
    ),
    "events": ("What was released, and how it was made private", "发布了什么，以何种方式保护"),
    "event": (
        "{steps} steps of {released}; {sampler} at rate {rate}; noise multiplier {noise}",
        "{steps} 步{released}；{sampler}，采样率 {rate}；噪声乘数 {noise}",
    ),
    "also": ("; beside it {name}, noise multiplier {noise}", "；同时发布 {name}，噪声乘数 {noise}"),
    "limits": (
        "; at most {batch} units a step, of at most {units}",
        "；每步至多 {batch} 个单位，总数至多 {units}",
    ),
    "nothing": ("nothing", "无"),
    "poisson": ("Poisson sampling", "泊松采样"),
    "truncated_poisson": ("truncated Poisson sampling", "截断泊松采样"),
    "gradients": ("clipped gradients", "裁剪后的梯度"),
    "metrics": ("metrics", "指标"),
    "counts": ("counts", "计数"),
    "canary_scores": ("canary scores", "金丝雀得分"),
    "accountant": ("accountant", "记账器"),
    "noise_source": ("noise from", "噪声来源"),
    "sampling_source": ("sampling from", "采样随机源"),
    "covered_not": ("What these figures do not cover", "这些数字不涵盖的内容"),
    "digests": ("What this is about", "证书对象的摘要"),
    "base_digest": ("base model", "基础模型"),
    "schema_digest": ("adapter schema", "适配器结构"),
    "plan_digest": ("job plan", "任务计划"),
    "state_digest": ("adapter", "适配器"),
    "digest": ("this statement", "本陈述"),
    "signatures": ("Who signs (Ed25519 fingerprints)", "签名者（Ed25519 指纹）"),
    "coordinator": ("coordinator", "协调方"),
    "verify": ("How to verify", "如何验证"),
    "how": (
        "concordat privacy certificate RELEASE --key coordinator.json, without a network; the exported JSON may stand "
        "in the place of RELEASE. Compare the coordinator's fingerprint, and each institution's, by telephone or in "
        "person. This page is a rendering: what is signed is the JSON.",
        "无需联网，运行 concordat privacy certificate RELEASE --key coordinator.json；RELEASE 处也可以"
        "给出导出的 JSON 文件。请通过电话或当面核对协调方和各机构的指纹。本页只是呈现形式，被签名的是 JSON。",
    ),
    "page": ("page {number}", "第 {number} 页"),
}


def word(name: str, language: Language, /, **values: object) -> str:
    """A label or sentence, its places filled in."""
    return _WORDS[name][LANGUAGES.index(language)].format(**values)


def not_covered(name: str, signed: str, language: Language) -> str:
    """A sentence about what is not covered; in another language where it is known and unchanged."""
    known = NOT_COVERED.get(name) == signed and language == "zh"
    return _NOT_COVERED_ZH[name] if known else signed
