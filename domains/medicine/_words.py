"""Words that carry no clinical fact of their own: all that a note may use beside what the input holds.

A closed list is what makes it certain that a model adds nothing: any other word fails its sentence. No
negation is in it, since a negation outside a fact's own wording could turn that fact around.
"""

__all__ = ["VOCABULARY"]

VOCABULARY = frozenset(
    """a an the this that these those it its their they who which is are was were be been being has have had having
    does do did and or with for of on in at to by from as per into after before during since while when where also
    both including here there today now then currently current recent recently visit visits seen see sees attended
    attends attending attendance reviewed review back presents presented presenting presentation follow up follow-up
    consultation clinic surgery appointment patient patient's person old aged age known history background
    diagnosis diagnoses diagnosed problem problems condition conditions complaint complaints comes came because due
    assessment assessed examination examined exam on-examination findings finding found shows showed measured
    recorded record records reading readings vital vitals signs sign observations observation note notes noted
    documented documentation summary prescribed prescribes prescription prescriptions prescribe takes taking taken
    take treated treatment treats therapy medication medications medicine medicines drug drugs dose doses
    using uses use given gives give continues continue continued continuing remains remain plan plans
    planned advice advised advise arranged arrange care management managed manage next further other underwent
    performed done procedure procedures vaccine vaccines vaccinated received administered impression
    """.split()  # noqa: SIM905
)
