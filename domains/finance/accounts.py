"""The accounts that a report knows by name, in English and Chinese, and the part of a report each belongs to.

The table is ours: a row is recognised where its label, without brackets, numbering and footnotes, is one of
the names, whole and in any case. A label that only resembles one is not recognised: a wrong ratio is worse
than a missing one.

>>> recognise("Net income (loss)").key, recognise("一、营业总收入").key, recognise("Revenue of the segment")
('net_income', 'revenue', None)
>>> recognise("Total current assets").name("zh")
'流动资产合计'
"""

import re
from dataclasses import dataclass
from typing import Literal

from domains._figures import normalise

__all__ = ["ACCOUNTS", "SECTIONS", "Account", "recognise", "section_title"]

Lang = Literal["en", "zh"]

SECTIONS: dict[str, tuple[str, str]] = {
    "overview": ("Overview", "概览"),
    "revenue": ("Revenue", "营业收入"),
    "composition": ("Composition", "收入构成"),
    "costs": ("Costs", "成本与费用"),
    "margins": ("Profit and margins", "盈利能力"),
    "balance": ("Balance sheet", "资产与负债"),
    "cash": ("Cash flow", "现金流量"),
    "share": ("Per share", "每股指标"),
    "other": ("Other figures", "其他指标"),
    "findings": ("Findings on the figures", "数据核对"),
}
"""The parts of a report in their order: key -> title in English and Chinese."""

_TABLE = """
revenue | revenue | Revenue | 营业收入 | revenues; total revenue; total revenues; net revenue; net revenues; total net revenue; total net revenues; sales; net sales; total net sales; total sales; turnover; operating revenues; total operating revenues; revenue from contract with customer excluding assessed tax; turnover revenue; revenue from contracts with customers | 营业总收入; 主营业务收入; 收入; 总收入; 收入总额; 收入合计; 销售收入; 营收
cost_of_revenue | costs | Cost of revenue | 营业成本 | cost of revenues; total cost of revenue; total cost of revenues; cost of sales; total cost of sales; cost of goods sold; costs of sales; cost of goods and services sold | 主营业务成本; 销售成本
research | costs | Research and development | 研发费用 | research and development expense; research and development expenses; research, development and engineering; research costs; technology and development | 研究开发费用; 研发支出
selling_general | costs | Selling, general and administrative | 销售及管理费用 | selling, general and administrative expense; selling, general and administrative expenses; selling, general, and administrative; sg&a; marketing, general and administrative | 销售及行政开支
selling | costs | Selling expenses | 销售费用 | selling expense; sales and marketing; selling and marketing; marketing expenses | 营销费用
administrative | costs | Administrative expenses | 管理费用 | general and administrative; general and administrative expense; general and administrative expenses; administrative expense | 行政费用
finance_costs | costs | Finance costs | 财务费用 | finance cost; finance expenses | 融资成本
interest | costs | Interest expense | 利息费用 | interest expenses; interest costs | 利息支出
tax | costs | Income tax expense | 所得税费用 | income taxes; provision for income taxes; income tax provision; provision for taxes on income; total income tax expense; income tax expense benefit | 所得税; 所得税支出
operating_costs | costs | Operating expenses | 营业费用 | total operating expenses; operating costs; total costs and expenses | 营业总成本; 经营费用
gross_profit | margins | Gross profit | 毛利 | total gross profit; gross income | 毛利润; 营业毛利
operating_income | margins | Operating income | 营业利润 | income from operations; operating profit; total operating income; operating income loss; loss from operations; operating loss; earnings from operations | 经营利润
pretax | margins | Income before tax | 利润总额 | income before income taxes; income before taxes; earnings before income taxes; profit before tax; profit before income tax; income before provision for income taxes; earnings before taxes; income loss from continuing operations before income taxes extraordinary items noncontrolling interest; profit loss on ordinary activities before tax | 税前利润; 除税前利润
net_income | margins | Net income | 净利润 | net earnings; net profit; net loss; profit for the year; profit for the period; income for the year; net income loss; consolidated net income; profit loss; net income including noncontrolling interest | 净亏损; 年度利润; 本年利润
parent_income | margins | Net income attributable to shareholders | 归属于母公司股东的净利润 | net income attributable to common shareholders; net income attributable to common stockholders; profit attributable to owners of the parent | 归属于上市公司股东的净利润; 归母净利润; 归属于母公司所有者的净利润
cash | balance | Cash and cash equivalents | 货币资金 | cash; cash and equivalents; cash and cash equivalents at carrying value | 现金及现金等价物
receivables | balance | Accounts receivable | 应收账款 | trade receivables; accounts receivable, net; receivables, net; trade accounts receivable; receivables; accounts receivable net current | 应收帐款; 应收票据及应收账款
inventories | balance | Inventories | 存货 | inventory; inventories, net; inventory, net; merchandise inventories; inventory net | 库存
current_assets | balance | Total current assets | 流动资产合计 | current assets; assets current | 流动资产
total_assets | balance | Total assets | 资产总计 | assets | 总资产; 资产总额; 资产合计
current_liabilities | balance | Total current liabilities | 流动负债合计 | current liabilities; liabilities current | 流动负债
total_liabilities | balance | Total liabilities | 负债合计 | liabilities | 总负债; 负债总额; 负债总计
debt | balance | Total debt | 有息负债 | total borrowings; borrowings | 有息债务; 借款总额
equity | balance | Total equity | 所有者权益合计 | total shareholders' equity; total stockholders' equity; shareholders' equity; stockholders' equity; equity; stockholders equity; total shareholders equity; total stockholders equity | 股东权益合计; 净资产; 股东权益; 所有者权益; 权益合计; 权益总额
liabilities_and_equity | balance | Total liabilities and equity | 负债和所有者权益总计 | total liabilities and shareholders' equity; total liabilities and stockholders' equity; liabilities and stockholders equity | 负债和股东权益总计; 负债及股东权益总计; 负债和所有者权益合计
operating_cash | cash | Net cash from operating activities | 经营活动产生的现金流量净额 | net cash provided by operating activities; net cash provided by used in operating activities; cash flows from operating activities; operating cash flow; cash flow from operations; cash generated by operating activities; cash provided by operating activities | 经营活动现金流量净额; 经营现金流; 经营性现金流净额
investing_cash | cash | Net cash from investing activities | 投资活动产生的现金流量净额 | net cash used in investing activities; net cash provided by used in investing activities; net cash used for investing activities | 投资活动现金流量净额
financing_cash | cash | Net cash from financing activities | 筹资活动产生的现金流量净额 | net cash used in financing activities; net cash provided by used in financing activities; net cash provided by financing activities; net cash used for financing activities | 筹资活动现金流量净额
capital_spending | cash | Capital expenditures | 资本开支 | capital expenditure; capital spending; purchases of property and equipment; purchases of property, plant and equipment; payments to acquire property plant and equipment; additions to property, plant and equipment; capex | 购建固定资产、无形资产和其他长期资产支付的现金; 资本支出
earnings_per_share | share | Basic earnings per share | 基本每股收益 | basic eps; earnings per share; earnings per share basic; basic earnings per common share; net income per share basic | 每股收益; 每股盈利
diluted_per_share | share | Diluted earnings per share | 稀释每股收益 | diluted eps; earnings per share diluted; diluted earnings per common share | 摊薄每股收益
dividend_per_share | share | Dividends per share | 每股股利 | dividends declared per share; dividend per share; dividends per common share | 每股分红; 每股股息
minority | balance | Noncontrolling interests | 少数股东权益 | noncontrolling interest; non-controlling interests; non-controlling interest; redeemable noncontrolling interests; minority interest; mezzanine equity; temporary equity | 非控制性权益
gross_margin | margins | Gross margin | 毛利率 | gross margin percentage; gross profit margin; total gross margin; gross profit percentage | 综合毛利率; 销售毛利率
operating_margin | margins | Operating margin | 营业利润率 | operating margins; operating profit margin | 经营利润率
net_margin | margins | Net margin | 净利率 | net profit margin; net income margin | 净利润率; 销售净利率
tax_rate | margins | Effective tax rate | 实际税率 | effective income tax rate; effective rate | 有效税率; 实际所得税税率
current_ratio | balance | Current ratio | 流动比率 | | 流动比例
return_on_equity | margins | Return on equity | 净资产收益率 | roe; return on average equity | 加权平均净资产收益率; 加权净资产收益率
return_on_assets | margins | Return on assets | 总资产收益率 | roa | 资产收益率; 总资产报酬率
leverage | balance | Liabilities to assets | 资产负债率 | debt ratio | 负债率
free_cash | cash | Free cash flow | 自由现金流 | free cash flow non-gaap | 自由现金流量
"""  # fmt: skip  # noqa: E501

_BRACKETS = re.compile(r"\s*\([^()]*\)")
_NUMBERING = re.compile(
    r"^(?:[一二三四五六七八九十]+、|\([一二三四五六七八九十\d]+\)|\d+[.、]\s?)|^(?:其中|减|加|净额)[:]\s?"
)


@dataclass(frozen=True, kw_only=True)
class Account:
    """One account: a key of our own, the part of a report it belongs to, and its names."""

    key: str
    section: str
    english: str
    chinese: str

    def name(self, lang: str) -> str:
        """Its first name in a language."""
        return self.chinese if lang == "zh" else self.english


def _read() -> tuple[dict[str, Account], dict[str, Account]]:
    accounts: dict[str, Account] = {}
    names: dict[str, Account] = {}
    for line in _TABLE.strip().splitlines():
        key, section, english, chinese, *others = (part.strip() for part in line.split("|"))
        accounts[key] = account = Account(key=key, section=section, english=english, chinese=chinese)
        for name in (english, chinese, *(n for other in others for n in other.split(";"))):
            if name.strip():
                names.setdefault(_key(name), account)
    return accounts, names


def _key(label: str) -> str:
    """A label without what does not tell accounts apart."""
    text = _NUMBERING.sub("", normalise(label))
    while (shorter := _BRACKETS.sub(" ", text)) != text:
        text = shorter
    return " ".join(re.sub(r"[^\w&\-'.,]+|[.,](?=\s|$)|,", " ", _NUMBERING.sub("", text).lower()).split())


ACCOUNTS, _NAMES = _read()
"""Every account by its key."""


def recognise(label: str) -> Account | None:
    """The account that a row's label names, or None."""
    return _NAMES.get(_key(label))


def section_title(section: str, lang: str) -> str:
    """A part's title."""
    return SECTIONS[section][lang == "zh"]
