"""The sections of a note: which statements stand under which heading, SOAP unless configured otherwise.

>>> soap = layout(None, "en")
>>> soap.section("record.vital"), soap.section("record.problem"), layout("soap", "zh").section("record.drug")
('Objective', 'Assessment', '计划')
>>> layout({"Findings": ["vital", "finding"]}, "en").section("record.drug")
'Other'
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedcore.errors import RecordError

__all__ = ["KINDS", "Layout", "layout"]

_SOAP: tuple[tuple[tuple[str, str], str], ...] = (
    (
        ("Subjective", "主观资料"),
        "date opening encounter reason social deceased history allergy taken",
    ),
    (("Objective", "客观资料"), "vital finding report"),
    (("Assessment", "评估"), "problem past uncertain ruled-out impression flag"),
    (("Plan", "计划"), "drug procedure vaccine administration plan"),
)
KINDS = tuple(kind for _, kinds in _SOAP for kind in kinds.split())
"""What a note can state, in the order in which it does."""
_OTHER = ("Other", "其他")
_DO = "name a layout (soap, none), or map each heading to a list of: " + ", ".join(KINDS)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Headings in order, each with what stands under it; `rest` takes whatever no heading names."""

    headings: tuple[tuple[str, tuple[str, ...]], ...]
    rest: str

    def section(self, rule: str) -> str:
        """The heading of a rule's statements."""
        kind = rule.removeprefix("record.")
        return next((heading for heading, kinds in self.headings if kind in kinds), self.rest)

    def place(self, rule: str) -> tuple[int, int]:
        """Where a rule's statements stand: the section, and the place in it."""
        kind = rule.removeprefix("record.")
        for i, (_, kinds) in enumerate(self.headings):
            if kind in kinds:
                return i, kinds.index(kind)
        return len(self.headings), KINDS.index(kind) if kind in KINDS else len(KINDS)


def layout(value: Any, lang: str) -> Layout:
    """A layout from a record's field: None or "soap", "none", or a mapping from headings to kinds.

    Raises:
        RecordError: None of these; a kind that does not exist, or that two headings claim.
    """
    if value is None or value == "soap":
        headings = tuple((names[lang == "zh"], tuple(kinds.split())) for names, kinds in _SOAP)
        return Layout(headings=headings, rest=_OTHER[lang == "zh"])
    if value == "none":
        return Layout(headings=(), rest="")
    if not isinstance(value, Mapping) or not all(
        isinstance(k, str) and k.strip() and isinstance(v, list | tuple) for k, v in value.items()
    ):
        raise RecordError("the field 'sections' is wrong", expected="a layout", do=_DO)
    named = [kind for kinds in value.values() for kind in kinds]
    if set(named) - set(KINDS) or len(named) != len(set(named)):
        raise RecordError("the field 'sections' names a kind that does not exist, or one twice", do=_DO)
    headings = tuple((" ".join(k.split()), tuple(kinds)) for k, kinds in value.items())
    return Layout(headings=headings, rest=_OTHER[lang == "zh"])
