"""A writer is trained on what of a note its facts bear, and on nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from domains.base import Fact, Skeleton, Statement
from domains.checks import Checker
from domains.medicine._targets import Lifted, faithful
from domains.medicine.record import RecordTask
from domains.medicine.synthetic import SITES, records
from tests.domains.medicine.rich import coded, whole

OVER = Fact(kind="name", path="p", text="asthma (resolved)")
DRUG = Fact(kind="name", path="d", text="ramipril", drug=True)
SKELETON = Skeleton(
    statements=(
        Statement(rule="a", text="Asthma (resolved).", facts=(OVER,)),
        Statement(rule="b", text="Prescribed ramipril.", facts=(DRUG,)),
    ),
    vocabulary=frozenset("history of the was patient prescribed following medications medicines".split()),  # noqa: SIM905
)
LIFTED = [Lifted(words=("Asthma", "Asthma (disorder)"), text=OVER.text)]


def test_headings_and_lists_become_prose_and_names_get_their_standing() -> None:
    note = (
        "# Past\nHistory of asthma (disorder).\n\nThe patient was prescribed the following:\n- ramipril\n- gold salts\n"
    )
    assert faithful(note, SKELETON, LIFTED) == "History of asthma (resolved)."
    note = "# Past\nHistory of asthma.\n\n## Now\nThe patient was prescribed the following medications:\n- ramipril\n"
    wanted = "History of asthma (resolved). The patient was prescribed the following medications: ramipril."
    assert faithful(note, SKELETON, LIFTED) == wanted


def test_a_note_that_its_facts_bear_is_left_as_it_is() -> None:
    task = RecordTask()
    for site in SITES:
        for row in records(site, 20, seed=5):
            assert task.examples(row, unit="u")[0].target == " " + row["note"]


@given(st.lists(st.sampled_from(["History of asthma.", "Never smoked.", "Aged 90.", "Prescribed ramipril.", "Gout."])))
def test_whatever_is_kept_passes_the_check(parts: list[str]) -> None:
    kept = faithful(" ".join(parts), SKELETON, LIFTED)
    good = [p for p in parts if p in ("History of asthma.", "Prescribed ramipril.")]
    checker = Checker(SKELETON)
    if good:
        assert all(not checker.check(s).faults for s in checker.sentences(kept))
        assert len(checker.sentences(kept)) == len(good)


def test_the_patients_own_name_is_not_learnt() -> None:
    bundle = whole(
        {
            "resourceType": "Condition",
            "code": {"text": "gout"},
            "clinicalStatus": coded("condition-clinical", "active"),
            "subject": {"reference": "Patient/p"},
        }
    )
    bundle["entry"][0]["resource"]["name"] = [{"given": ["Ada", "Maria"], "family": "Quux"}]
    note = "Ada Quux is a 33-year-old woman with gout. She bowls."
    (example,) = RecordTask().examples({"bundle": bundle, "note": note}, unit="u")
    assert example.target == " Patient is a 33-year-old woman with gout."
    assert "Quux" not in example.prompt
