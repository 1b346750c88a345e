"""Words that carry no figure and no cause of their own: all that a report may use beside its tables.

The lists are closed and hold no reasons ("demand", "pricing"): why a figure moved is not in a table, so a
sentence that gives a reason of its own fails. They hold no negation and no superlative either.
"""

__all__ = ["VOCABULARY", "VOCABULARY_ZH"]

VOCABULARY = frozenset(
    """a an the this that these those it its which is are was were be been being has have had with for of on in at to
    by from as per and or both while whereas when compared against versus over above below between during year years
    period periods fiscal ended end prior previous preceding earlier latest current same we our company company's
    group group's companies total totalled totaled amounted amount amounts figure figures value values level levels
    respectively respective also further table shown reported recorded posted stood came reached represents
    represented percent percentage point points us usd dollar dollars share shares stated composition
    rose rise rising increased increase increases increasing grew growth grow growing climbed gained gain up higher
    fell fall falling decreased decrease decreases decreasing declined decline declining dropped drop down lower
    reduced reduction stayed stable unchanged remained flat change changed changes
    """.split()  # noqa: SIM905
)

VOCABULARY_ZH = frozenset(
    """的 了 在 为 是 有 于 与 和 及 并 且 其 该 此 以 由 从 至 到 均 仍 也 而 其中 以及 分别 分别为 合计 共计
    总计 期间 期末 期初 年份 年度 年末 本期 上期 上年 去年 本年 同期 同比 环比 相比 较 比 占 比重 占比 构成 比例 比率
    金额 数额 数值 水平 公司 集团 本公司 企业 行业 报告 报告期 所涉 列示 显示 实现 达 达到 约 人民币 上升 增长
    增加 提高 下降 减少 降低 增幅 降幅 增至 升至 降至 减至 持平 不变 稳定 变动 变化 情况 方面 数据 指标
    """.split()  # noqa: SIM905
)
