"""Stances are taken by wordings of our own, and not by others that share their words."""

import numpy as np
import pytest

from domains.finance._pairs import LABELS, PRIOR, pair_words
from domains.finance._stances import MATTERS, STANCES, matter_of, stances_of

KEEP = "Receiving Party may retain some Confidential Information after its return."
COPY = "Receiving Party may create a copy of some Confidential Information."
SHARE = "Receiving Party may share Confidential Information with some third parties, such as advisors."
USE = "Receiving Party shall not use Confidential Information for any other purpose."
KINDS = "Confidential Information shall only include technical information."
MARKS = "All Confidential Information shall be expressly identified by Disclosing Party."


def judged(text: str, clause: str) -> str:
    odds = np.sum([PRIOR.get(w, (0.0, 0.0, 0.0)) for w in pair_words(text, clause).split()], axis=0)
    return LABELS[int(np.argmax(odds))]


@pytest.mark.parametrize(
    ("text", "stance"),
    [
        ("It shall destroy the drawings and retain no copies.", "keep-denied"),
        ("The files shall be permanently erased.", "keep-denied"),
        ("It shall return the drawings together with all copies.", "copies-given-back"),
        ("Every copy of the drawings shall be destroyed.", "copies-given-back"),
        ("It agrees not to copy the drawings.", "copy-denied"),
        ("No copies of the drawings shall be made.", "copy-flatly-denied"),
        ("Without prior consent it shall not duplicate the drawings.", "copy-with-consent"),
        ("It shall refrain from disclosing them to its accountants or agents.", "advisers-denied"),
        ("Information is protected regardless of any marking.", "mark-not-needed"),
        ("Failure to label a drawing does not release the recipient.", "mark-not-needed"),
        ("The recipient is free to use what its staff retain in their memory.", "residuals-free"),
        ("Nothing here restricts the use of residual knowledge.", "residuals-free"),
        ("Information covers prices, customers and drawings.", "defined-business"),
        ("Any financial data is information under this letter.", "defined-business"),
    ],
)
def test_wordings_take_a_stance(text: str, stance: str) -> None:
    assert stance in stances_of(text)


@pytest.mark.parametrize(
    ("text", "stance"),
    [
        ("Except as agreed it shall keep the drawings confidential.", "keep-allowed"),
        ("It may not be disclosed, and must be held and kept in strict confidence.", "keep-denied"),
        ("No lawyer retained by the recipient may see them.", "keep-denied"),
        ("It is not to keep such facts secret.", "keep-denied"),
        ("It shall return the drawings.", "copies-given-back"),
        ("It shall not make copies except for authorized staff.", "copy-with-consent"),
        ("It shall not disclose them to anyone other than its agents.", "advisers-denied"),
        ("It is not required to disclose confidential plans.", "mark-not-needed"),
        ("The residual value of the plant is shown in the books.", "residuals-free"),
        ("Information may be used for the business of the company.", "defined-business"),
        ("Prices and customers are listed.", "defined-business"),
    ],
)
def test_like_words_do_not(text: str, stance: str) -> None:
    assert stance not in stances_of(text)


@pytest.mark.parametrize(
    ("text", "clause", "label"),
    [
        ("It shall return all copies.", KEEP, "contradiction"),
        ("It shall return all copies, but may retain one copy required by law.", KEEP, "entailment"),
        ("It shall not copy the drawings.", COPY, "contradiction"),
        ("It shall refrain from disclosing them to its accountants.", SHARE, "contradiction"),
        ("It may use them for the purpose only. It is free to use residual knowledge.", USE, "contradiction"),
        ("It may use them for the purpose only.", USE, "entailment"),
        ("Confidential information means prices, sales and software.", KINDS, "contradiction"),
        ("All information is protected regardless of any marking.", MARKS, "contradiction"),
        ("The weather is fine.", COPY, "not mentioned"),
    ],
)
def test_one_denial_is_enough_before_any_training(text: str, clause: str, label: str) -> None:
    assert judged(text, clause) == label


def test_matters_name_stances_that_there_are() -> None:
    assert {s for m in MATTERS for s in m.stances} <= set(STANCES)
    assert [getattr(matter_of(c), "name", None) for c in (KEEP, COPY, SHARE, USE, KINDS, MARKS)] == [
        "keep",
        "copy",
        "advisers",
        "purpose",
        "technical",
        "marking",
    ]
