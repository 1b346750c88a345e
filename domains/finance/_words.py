"""Words that carry no figure and no cause of their own: all that a report may use beside its tables.

The list is closed and holds no reasons ("demand", "pricing"): why a figure moved is not in a table, so a
sentence that gives a reason of its own fails. It holds no negation either.
"""

__all__ = ["VOCABULARY"]

VOCABULARY = frozenset(
    """a an the this that these those it its which is are was were be been being has have had with for of on in at to
    by from as per and or both while whereas when compared against versus over above below between during year years
    period periods fiscal ended end prior previous preceding earlier latest current same we our company company's
    group group's companies total totalled totaled amounted amount amounts figure figures value values level levels
    respectively respective also further table shown reported recorded posted stood came reached represents
    represented percent percentage point points us usd dollar dollars
    rose rise rising increased increase increases increasing grew growth grow growing climbed gained gain up higher
    fell fall falling decreased decrease decreases decreasing declined decline declining dropped drop down lower
    reduced reduction stayed stable unchanged remained flat change changed changes
    """.split()  # noqa: SIM905
)
