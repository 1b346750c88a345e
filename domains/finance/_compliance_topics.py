"""What our made-up regulations and policies are about; every sentence is ours, in English and Chinese.

A topic has wordings of the rule, wordings of a policy that complies, and wordings that turn it round. `{n}` is
its figure; a larger one is looser or stricter. It is long because it is one table.
"""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["TOPICS", "Topic"]


@dataclass(frozen=True, kw_only=True)
class Topic:
    """One matter that a regulation rules and a policy words."""

    area: str
    title: Mapping[str, str]
    values: tuple[int, ...]
    more_is_looser: bool
    rules: Mapping[str, tuple[str, ...]]
    policies: Mapping[str, tuple[str, ...]]
    against: Mapping[str, tuple[str, ...]]

    def __hash__(self) -> int:
        return hash(self.title["en"])


def _topic(
    area: str,
    title: tuple[str, str],
    values: tuple[int, ...],
    more_is_looser: bool,
    en: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]],
    zh: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]],
) -> Topic:
    rules, policies, against = ({"en": e, "zh": z} for e, z in zip(en, zh, strict=True))
    return Topic(
        area=area,
        title={"en": title[0], "zh": title[1]},
        values=values,
        more_is_looser=more_is_looser,
        rules=rules,
        policies=policies,
        against=against,
    )


TOPICS = (
    _topic(
        "conduct",
        ("Complaints", "投诉处理"),
        (5, 10, 15, 20, 30),
        True,
        (
            (
                "A firm must answer a customer's complaint in writing within {n} business days after receiving it.",
                "Within {n} business days of receiving a complaint, a firm must send the customer a written answer.",
            ),
            (
                "The firm must send customers a written answer to each complaint within {n} "
                "business days of receiving it.",
                "Every complaint of a customer must be answered by the firm in writing, within {n} business days.",
            ),
            ("The firm may leave a customer's complaint without a written answer.",),
        ),
        (
            (
                "机构应当自收到客户投诉之日起{n}个工作日内书面答复客户。",
                "客户提出投诉的，机构应当在收到投诉后{n}个工作日内作出书面答复。",
            ),
            (
                "本公司收到客户投诉后，应当在{n}个工作日内向客户作出书面答复。",
                "对客户投诉，本公司应当于收到之日起{n}个工作日内书面答复。",
            ),
            ("本公司可以不对客户投诉作出书面答复。",),
        ),
    ),
    _topic(
        "conduct",
        ("Gifts", "礼品"),
        (100, 200, 500, 1000),
        True,
        (
            (
                "An employee must not accept gifts worth more than ${n} from a client in any year.",
                "Gifts from a client worth more than ${n} a year must not be accepted by an employee.",
            ),
            (
                "Employees must not accept gifts of more than ${n} in one year from any client.",
                "An employee must not take client gifts worth more than ${n} a year.",
            ),
            ("An employee may accept gifts of any value from a client.",),
        ),
        (
            (
                "从业人员一年内不得接受同一客户价值超过{n}元的礼品。",
                "从业人员不得收受同一客户全年累计价值超过{n}元的礼品。",
            ),
            (
                "员工一年内不得接受同一客户价值超过{n}元的礼品。",
                "从业人员全年不得接受同一客户累计价值超过{n}元的礼品。",
            ),
            ("从业人员可以接受客户任何价值的礼品。",),
        ),
    ),
    _topic(
        "conduct",
        ("Suitability", "适当性"),
        (12,),
        True,
        (
            ("An adviser must assess the risk tolerance of a client before recommending a product to the client.",),
            (
                "Before recommending any product, the adviser must assess the client's risk tolerance.",
                "The adviser must assess a client's tolerance for risk before a product is recommended.",
            ),
            ("An adviser may recommend a product without assessing the client's risk tolerance.",),
        ),
        (
            ("投资顾问向客户推荐产品前，应当评估客户的风险承受能力。",),
            (
                "向客户推荐产品之前，投资顾问应当对客户的风险承受能力进行评估。",
                "投资顾问推荐产品前，应当对客户风险承受能力作出评估。",
            ),
            ("投资顾问向客户推荐产品前，可以不评估客户的风险承受能力。",),
        ),
    ),
    _topic(
        "data",
        ("Breaches", "数据泄露"),
        (24, 48, 72),
        True,
        (
            (
                "The controller must notify the regulator of a personal data breach within {n} "
                "hours of becoming aware of it.",
                "A controller that becomes aware of a personal data breach must notify the regulator within {n} hours.",
            ),
            (
                "On becoming aware of a breach of personal data, the controller must notify the "
                "regulator within {n} hours.",
                "Personal data breaches must be notified to the regulator by the controller within {n} hours.",
            ),
            ("The controller need not notify the regulator of a personal data breach.",),
        ),
        (
            (
                "发生个人信息泄露的，处理者应当在{n}小时内向监管机构报告。",
                "处理者知悉个人信息泄露后，应当于{n}小时内报告监管机构。",
            ),
            (
                "处理者知悉发生个人信息泄露的，应当在{n}小时之内向监管机构报告。",
                "一旦发生个人信息泄露，处理者应当在{n}小时内报告监管机构。",
            ),
            ("发生个人信息泄露的，处理者无需向监管机构报告。",),
        ),
    ),
    _topic(
        "data",
        ("Sharing", "信息共享"),
        (12,),
        True,
        (
            ("The controller must not share customer data with a supplier without the customer's written consent.",),
            (
                "Without the written consent of the customer, the controller must not share "
                "customer data with any supplier.",
                "Customer data must not be shared by the controller with a supplier without "
                "written consent of the customer.",
            ),
            ("The controller may share customer data with a supplier without the customer's written consent.",),
        ),
        (
            ("未经客户书面同意，处理者不得向供应商提供客户信息。",),
            (
                "处理者未经客户书面同意，不得将客户信息提供给供应商。",
                "未取得客户书面同意的，处理者不得向供应商提供客户信息。",
            ),
            ("处理者可以不经客户书面同意向供应商提供客户信息。",),
        ),
    ),
    _topic(
        "data",
        ("Retention", "保存期限"),
        (3, 5, 7, 10),
        False,
        (
            ("A firm must keep customer identification records for at least {n} years after the relationship ends.",),
            (
                "After the relationship ends, the firm must keep customer identification records "
                "for at least {n} years.",
                "Records of customer identification must be kept by the firm for no less than "
                "{n} years after the end of the"
                " relationship.",
            ),
            ("A firm may delete customer identification records when the relationship ends.",),
        ),
        (
            (
                "业务关系结束后，机构应当将客户身份资料至少保存{n}年。",
                "客户身份资料自业务关系结束之日起应当至少保存{n}年。",
            ),
            (
                "客户身份资料应当在业务关系结束后保存不少于{n}年。",
                "业务关系结束后，本公司应当保存客户身份资料至少{n}年。",
            ),
            ("业务关系结束后，机构可以删除客户身份资料。",),
        ),
    ),
    _topic(
        "lending",
        ("Single exposure", "单一敞口"),
        (5, 10, 15, 20),
        True,
        (
            ("The bank's loans to a single borrower must not exceed {n}% of its net capital.",),
            (
                "Loans of the bank to a single borrower must not exceed {n}% of the bank's net capital.",
                "The total of loans to a single borrower must be no more than {n}% of net capital.",
            ),
            ("The bank may exceed any share of its net capital with loans to a single borrower.",),
        ),
        (
            ("银行对单一借款人的贷款余额不得超过资本净额的{n}%。",),
            (
                "对单一借款人的贷款余额，银行不得超过资本净额的{n}%。",
                "银行向单一借款人发放的贷款余额应当不超过资本净额的{n}%。",
            ),
            ("银行对单一借款人的贷款余额可以超过资本净额的限制。",),
        ),
    ),
    _topic(
        "lending",
        ("Early repayment", "提前还款"),
        (1, 2, 3),
        True,
        (
            ("The lender must not charge a borrower more than {n}% of the amount for early repayment.",),
            (
                "For early repayment the lender must not charge the borrower more than {n}% of the amount.",
                "A borrower who makes early repayment must not be charged by the lender more than {n}% of the amount.",
            ),
            ("The lender may charge the borrower any amount for early repayment.",),
        ),
        (
            ("借款人提前还款的，贷款人收取的违约金不得超过提前还款金额的{n}%。",),
            (
                "贷款人对借款人提前还款收取的违约金不得超过提前还款金额的{n}%。",
                "对提前还款，贷款人向借款人收取的违约金应当不超过还款金额的{n}%。",
            ),
            ("借款人提前还款的，贷款人可以任意收取违约金。",),
        ),
    ),
    _topic(
        "lending",
        ("Collateral", "押品"),
        (1, 2, 3),
        True,
        (
            ("The bank must revalue collateral at least once every {n} years and must keep the valuation report.",),
            (
                "Collateral must be revalued by the bank at least once every {n} years, and the "
                "valuation report must be kept.",
            ),
            ("The bank need not revalue collateral.",),
        ),
        (
            ("银行应当至少每{n}年对押品重新估值一次，并应当保存估值报告。",),
            ("对押品，银行应当每{n}年至少重新估值一次，并应当保存估值报告。",),
            ("银行无需对押品重新估值。",),
        ),
    ),
    _topic(
        "markets",
        ("Client money", "客户资金"),
        (12,),
        True,
        (
            (
                "The broker must hold client money apart from its own funds. The broker must not "
                "use client money for its own"
                " account.",
            ),
            (
                "Client money must be held by the broker apart from the broker's own funds. It "
                "must not be used by the broker"
                " for its own account.",
                "The broker must keep client money apart from its own funds. It must not use the "
                "money of clients for its own"
                " account.",
            ),
            (
                "The broker may hold client money together with its own funds. The broker may "
                "use client money for its own"
                " account.",
            ),
        ),
        (
            ("经纪商应当将客户资金与自有资金分开存放。经纪商不得将客户资金用于自营。",),
            (
                "客户资金应当与经纪商自有资金分开存放。客户资金不得被经纪商用于自营。",
                "经纪商应当分开存放客户资金和自有资金。经纪商不得把客户资金用于自营业务。",
            ),
            ("经纪商可以将客户资金与自有资金一并存放。经纪商可以将客户资金用于自营。",),
        ),
    ),
    _topic(
        "markets",
        ("Annual report", "年度报告"),
        (2, 3, 4),
        True,
        (
            ("The issuer must publish its annual report within {n} months after the end of the financial year.",),
            (
                "Within {n} months after the financial year ends, the issuer must publish the annual report.",
                "The annual report must be published by the issuer within {n} months of the end of the financial year.",
            ),
            ("The issuer need not publish an annual report after the end of the financial year.",),
        ),
        (
            ("发行人应当在会计年度结束之日起{n}个月内公布年度报告。",),
            (
                "会计年度结束后{n}个月内，发行人应当公布年度报告。",
                "年度报告应当由发行人在会计年度结束之日起{n}个月内公布。",
            ),
            ("会计年度结束后，发行人可以不公布年度报告。",),
        ),
    ),
    _topic(
        "markets",
        ("Price orders", "报价"),
        (12,),
        True,
        (
            ("A broker must not execute orders for its own account before orders of its clients at the same price.",),
            (
                "Before the orders of clients at the same price, the broker must not execute "
                "orders for its own account.",
                "The broker must not place orders for its own account ahead of client orders at the same price.",
            ),
            ("A broker may execute orders for its own account before orders of its clients at the same price.",),
        ),
        (
            ("同等价格下，经纪商不得先于客户委托执行自营委托。",),
            ("经纪商在同等价格下不得先于客户委托执行自营委托。", "价格相同的，经纪商不得先于客户委托执行自营委托。"),
            ("同等价格下，经纪商可以先于客户委托执行自营委托。",),
        ),
    ),
    _topic(
        "insurance",
        ("Cooling off", "犹豫期"),
        (10, 15, 20, 30),
        False,
        (
            (
                "The policyholder may cancel the policy within {n} days of receiving it, and the "
                "insurer must repay the whole"
                " premium.",
            ),
            (
                "Within {n} days of receiving the policy, the policyholder may cancel it, and "
                "the insurer must repay the whole"
                " premium.",
            ),
            ("The policyholder must not cancel the policy after receiving it.",),
        ),
        (
            ("投保人收到保险单后{n}日内可以解除合同，保险人应当退还全部保险费。",),
            ("自收到保险单之日起{n}日内，投保人可以解除合同，保险人应当退还全部保险费。",),
            ("投保人收到保险单后不得解除合同。",),
        ),
    ),
    _topic(
        "insurance",
        ("Claims", "理赔"),
        (10, 15, 30),
        True,
        (
            ("The insurer must decide on a claim within {n} days after receiving the documents.",),
            (
                "After receiving the documents, the insurer must decide on the claim within {n} days.",
                "A claim must be decided on by the insurer within {n} days of receiving the documents.",
            ),
            ("The insurer need not decide on a claim after receiving the documents.",),
        ),
        (
            ("保险人收到理赔材料后，应当在{n}日内作出核定。",),
            ("收到理赔材料之后，保险人应当于{n}日内作出核定。", "保险人应当自收到理赔材料之日起{n}日之内作出核定。"),
            ("保险人收到理赔材料后，无需作出核定。",),
        ),
    ),
    _topic(
        "insurance",
        ("Concealment", "不得隐瞒"),
        (12,),
        True,
        (
            ("An agent must not conceal important terms of the contract from the policyholder.",),
            (
                "Important terms of the contract must not be concealed from the policyholder by the agent.",
                "The agent must not conceal from the policyholder any important terms of the contract.",
            ),
            ("An agent may conceal important terms of the contract from the policyholder.",),
        ),
        (
            ("保险代理人不得向投保人隐瞒合同的重要条款。",),
            ("保险代理人不得对投保人隐瞒合同重要条款。", "合同的重要条款，保险代理人不得向投保人隐瞒。"),
            ("保险代理人可以向投保人隐瞒合同的重要条款。",),
        ),
    ),
    _topic(
        "control",
        ("Training", "培训"),
        (12,),
        True,
        (
            ("All employees must complete training on money laundering every year.",),
            (
                "Every year all employees must complete training on money laundering.",
                "Training on money laundering must be completed by all employees every year.",
            ),
            ("Employees need not complete training on money laundering.",),
        ),
        (
            ("全体员工应当每年完成反洗钱培训。",),
            ("反洗钱培训应当由全体员工每年完成。", "每年，全体员工应当完成反洗钱培训。"),
            ("员工无需完成反洗钱培训。",),
        ),
    ),
    _topic(
        "control",
        ("Suspicious transactions", "可疑交易"),
        (2, 3, 5),
        True,
        (
            (
                "The compliance officer must report a suspicious transaction to the authority "
                "within {n} working days. The"
                " compliance officer must not inform the customer of the report.",
            ),
            (
                "Within {n} working days the compliance officer must report any suspicious "
                "transaction to the authority. The"
                " customer must not be informed of the report by the compliance officer.",
            ),
            ("The compliance officer may inform the customer of the report of a suspicious transaction.",),
        ),
        (
            ("合规官应当在{n}个工作日内向主管部门报告可疑交易。合规官不得将报告情况告知客户。",),
            ("对可疑交易，合规官应当在{n}个工作日内报告主管部门。报告情况不得由合规官告知客户。",),
            ("合规官可以将可疑交易的报告情况告知客户。",),
        ),
    ),
    _topic(
        "control",
        ("Outsourcing", "外包"),
        (12,),
        True,
        (
            ("The outsourcing of a critical function must be approved by the board before the contract is signed.",),
            (
                "Before the contract is signed, the board must approve the outsourcing of a critical function.",
                "A critical function must be outsourced only after approval by the board and "
                "before the contract is signed.",
            ),
            ("A critical function may be outsourced before the board approves the contract.",),
        ),
        (
            ("关键职能外包的，应当在合同签订前经董事会批准。",),
            ("合同签订前，关键职能的外包应当经董事会批准。", "外包关键职能，应当于合同签订之前经董事会批准。"),
            ("关键职能外包的，可以在合同签订前不经董事会批准。",),
        ),
    ),
)
"""Three to an area."""
