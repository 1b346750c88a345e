"""A review quotes both sides word for word, says what no rule speaks of, and names what is missing."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from domains.dense import FloatArray
from domains.finance._cross import cross
from domains.finance._review import Body
from domains.finance.compliance_synthetic import policy, regulation
from domains.knowledge import Clause, KnowledgeBase


def body(*texts: str) -> Body:
    clauses = tuple(Clause(id=str(i), text=t, source="Rules") for i, t in enumerate(texts, 1))
    return Body(KnowledgeBase(name="rules", clauses=clauses))


def test_every_quote_is_a_slice_of_its_text() -> None:
    for lang in ("en", "zh"):
        rules = regulation(lang, 3)
        texts = {c.id: c.text for c in rules}
        text = "\n".join(policy(lang, 3).values())
        findings = Body(KnowledgeBase(name="r", clauses=rules)).review(text)
        assert len(findings) >= len(rules)
        for f in findings:
            assert text[f.start : f.start + len(f.quote)] == f.quote
            assert not f.clause_id or f.clause_quote in texts[f.clause_id]


def test_a_policy_that_complies_has_no_conflict() -> None:
    for lang in ("en", "zh"):
        for seed in range(4):
            rules = Body(KnowledgeBase(name="r", clauses=regulation(lang, seed)))
            for text in policy(lang, seed).values():
                assert [f.kind for f in rules.review(text) if f.verdict == "conflict"] == []


def test_what_no_rule_speaks_of_is_not_specified() -> None:
    (found,) = body("Complaints must be answered within 15 days.").review("Visitors must sign the visitor register.")
    assert (found.verdict, found.clause_id, found.quote) == (
        "not specified",
        "",
        "Visitors must sign the visitor register.",
    )


def test_no_conflict_is_said_where_a_rule_was_consulted() -> None:
    (found,) = body("Complaints must be answered within 15 days.").review("Complaints must be answered within 15 days.")
    assert (found.verdict, found.clause_id) == ("no conflict found", "1")


def test_a_duty_that_is_left_out_is_found_with_an_empty_quote() -> None:
    rules = body("The broker must hold client money apart. The broker must not lend client money to its owners.")
    found = rules.review("The broker must hold client money apart.")
    assert [(f.verdict, f.kind, f.quote) for f in found][-1] == ("conflict", "missing duty", "")
    assert found[-1].clause_quote == "The broker must not lend client money to its owners."


def test_clauses_against_each_other_repeat_or_contradict() -> None:
    rules = body(
        "A complaint must be answered within 15 days.",
        "A complaint must be answered within 20 days.",
        "Gifts from clients must be refused by all staff.",
        "Gifts from clients must be refused by all staff.",
    )
    found = [(f.verdict, {f.clause_id, f.other_id}) for f in cross([rules])]
    assert ("conflict", {"1", "2"}) in found
    assert ("duplicate", {"3", "4"}) in found
    assert len(found) == 2


def test_clauses_between_bodies_are_held_against_each_other() -> None:
    ours, theirs = (
        body("Client records must be kept for six years."),
        body("Client records must be kept for two years."),
    )
    renamed = Body(replace(theirs.base, clauses=(replace(theirs.base.clauses[0], id="B"),)))
    assert [(f.verdict, f.clause_id, f.other_id) for f in cross([ours, renamed])] == [("conflict", "B", "1")]


class Meaning:
    """An encoder to which one clause is all that matters."""

    name, dimension = "meaning", 2

    def embed(self, texts: Sequence[str]) -> FloatArray:
        rows = [[1.0, 0.0] if "ledger" in t or len(t) < 80 else [0.0, 1.0] for t in texts]
        return np.array(rows, dtype=np.float32)


def test_vectors_bring_in_a_clause_that_words_alone_pass_over() -> None:
    text = "Complaints must be answered by the bank within 30 days."
    around = " ".join(f"The ledger of desk {i} must be closed by its clerk every evening." for i in range(60))
    long = Clause(id="long", text=f"{around} Complaints must be answered by the bank within 15 days.")
    echo = "Complaints answered, bank, 30 days: of complaints answered by the bank within 30 days. " * 2
    short = [Clause(id=f"s{i}", text=echo) for i in range(9)]
    rules = KnowledgeBase(name="rules", clauses=(*short, long))

    def found(embeds: Meaning | None) -> set[tuple[str, str]]:
        return {(f.clause_id, f.kind) for f in Body(rules, embeds).review(text) if f.quote and f.kind}

    assert ("long", "looser deadline") not in found(None)
    assert ("long", "looser deadline") in found(Meaning())
