"""Sentences that speak of a matter and rule nothing of what a regulation asks; ours, in English and Chinese.

They are what makes "not mentioned" hard to tell: the words of the topic stand in the policy, the rule does not.
"""

from collections.abc import Mapping

__all__ = ["ASIDES"]

ASIDES: Mapping[str, tuple[str, str]] = {
    "Complaints": (
        "The complaints desk records each customer's complaint in the register of the firm.",
        "客户投诉由投诉岗登记在机构的投诉台账中。",
    ),
    "Gifts": (
        "A list of gifts from clients is shown to each new employee in the first week.",
        "礼品登记表由行政部门在从业人员入职时发放。",
    ),
    "Suitability": (
        "The questionnaire on the risk tolerance of a client is printed on the green form.",
        "客户风险承受能力问卷印制在绿色表单上。",
    ),
    "Breaches": (
        "The log of personal data breaches is owned by the security desk of the controller.",
        "个人信息泄露事件台账由处理者的安全岗维护。",
    ),
    "Sharing": (
        "The list of suppliers names the customer data that each supplier stores.",
        "供应商名录列明各供应商存放的客户信息类别。",
    ),
    "Retention": (
        "Customer identification records are filed by the number of the relationship.",
        "客户身份资料按业务关系编号归档。",
    ),
    "Single exposure": (
        "The ledger shows the bank's loans to a single borrower beside its net capital.",
        "银行对单一借款人的贷款余额在台账中与资本净额并列。",
    ),
    "Early repayment": (
        "The form for early repayment names the borrower, the lender and the amount.",
        "借款人提前还款的申请表载明贷款人和还款金额。",
    ),
    "Collateral": (
        "The valuation report of collateral is filed in the folder of the loan by the bank.",
        "押品估值报告归入银行的贷款档案。",
    ),
    "Client money": (
        "The broker's chart of accounts gives client money a number of its own.",
        "经纪商会计科目表为客户资金单列科目。",
    ),
    "Annual report": (
        "The annual report of the issuer describes the financial year in two languages.",
        "发行人年度报告以两种文字介绍会计年度情况。",
    ),
    "Price orders": (
        "The broker's screen shows orders of clients and orders for its own account in two colours.",
        "经纪商系统以两种颜色显示客户委托和自营委托。",
    ),
    "Cooling off": (
        "The letter with which the policyholder receives the policy names the premium and the insurer.",
        "投保人收到的保险单封面载明保险费和保险人名称。",
    ),
    "Claims": (
        "The insurer's claims desk scans the documents of a claim.",
        "保险人理赔岗扫描理赔材料。",
    ),
    "Concealment": (
        "The important terms of the contract are printed in bold on the agent's leaflet.",
        "合同的重要条款在保险代理人的宣传单上加粗印刷。",
    ),
    "Training": (
        "The course on money laundering is held in the training room for employees.",
        "反洗钱培训的教室设在员工培训中心。",
    ),
    "Suspicious transactions": (
        "The form for a suspicious transaction has a field for the compliance officer and the authority.",
        "可疑交易报告表设有合规官和主管部门栏目。",
    ),
    "Outsourcing": (
        "The contract on the outsourcing of a critical function is stored in the board's archive.",
        "关键职能外包合同存放在董事会档案室。",
    ),
}
"""Title of a topic -> English, Chinese."""
