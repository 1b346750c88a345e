"""How well a statement of a note goes with the rest of it, by a small table of what goes with what.

The findings of a note are looked up in the table, as in a search: each condition gets a share of belief. A
statement that names a condition is backed by that condition's share; one that names a test or a treatment is
backed by the shares of the conditions it fits and opposed by those of the conditions it does not. Findings
that are denied count for a quarter.

>>> note = ["A man has sudden tearing chest pain radiating to the back.", "Blood pressure differs between the arms."]
>>> belief = believed(note)
>>> right, wrong = backing("Esmolol and CT angiography are ordered.", belief), backing("Heparin is given.", belief)
>>> right.net > 0 > wrong.net
True
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from domains.base import Sensitive
from domains.medicine import _pairs_adult, _pairs_special

__all__ = ["Backing", "backing", "believed", "stems"]

Belief = npt.NDArray[np.float64]

_WORD = re.compile(r"[a-z0-9](?:[a-z0-9'/.:]*[a-z0-9])?")
_SMALL = frozenset("of the a an and or to in on with for at by is was after first alone only".split())  # noqa: SIM905
_DENIED_WEIGHT = 0.25
_DENIED = frozenset(("no", "not", "denie", "denies", "without", "negativ", "absent", "never", "none", "deny"))
_COMMON = frozenset(
    """old year year-old examination physician blood woman man boy girl pressure history temperature ago pulse
    month week medication normal pain right emergency day days respiration during present within one sign
    hour started start lung exam left time daily test does up disease pack last loss abdominal cigarette
    illness minute air period type symptom bilateral perform light feel clear well visit mother father since
    general previous progressive multiple treatment two three few oral family extremity night episode upper
    lower infection severe hospital age care difficulty use through based increase increased decreased level
    home concentration serum patient syndrome acute chronic after before positive negative number several
    elevated low high show shows drink status sound lesion disorder adult exercise elderly young prescribed
    brought followup 1 2 3 4 5 6 7 8 9 10 30 50 c f x no not without""".split()  # noqa: SIM905
)
"""Words that most notes have, whatever is wrong."""
_GATES = (
    (
        "pregnan gestation labor postpartum placenta fetal trimester cesarean gravid prenatal",
        "pregnan gestation labor postpartum placenta fetal fetus trimester cesarean gravid prenatal delivery",
    ),
    (
        "infant newborn neonatal child toddler preterm premature boy",
        "infant newborn neonatal child toddler preterm boy girl son daughter month-old school",
    ),
    ("prostate testicular testis scrotal", "man boy male prostate testicular scrotal"),
    ("uterus uterine ovarian cervix menses vaginal vulva", "woman girl female"),
)
"""Where the table speaks of the first words, a note must hold one of the second."""
_CLASSES = (
    "corticosteroid: prednisone prednisolone methylprednisolone dexamethasone hydrocortisone budesonide",
    "beta blocker: metoprolol propranolol atenolol carvedilol labetalol esmolol bisoprolol",
    "ace inhibitor: lisinopril enalapril ramipril captopril benazepril",
    "nsaid: ibuprofen naproxen indomethacin ketorolac diclofenac meloxicam",
    "benzodiazepine: lorazepam diazepam midazolam alprazolam clonazepam chlordiazepoxide",
    "selective serotonin: sertraline fluoxetine paroxetine citalopram escitalopram fluvoxamine",
    "antipsychotic: haloperidol risperidone olanzapine quetiapine aripiprazole ziprasidone",
    "tricyclic antidepressant: amitriptyline nortriptyline imipramine clomipramine",
    "proton pump: omeprazole pantoprazole esomeprazole lansoprazole",
    "statin: atorvastatin simvastatin rosuvastatin pravastatin",
    "calcium channel: amlodipine nifedipine diltiazem verapamil nicardipine",
    "antihistamine: cetirizine loratadine fexofenadine diphenhydramine",
    "diuretic: furosemide hydrochlorothiazide spironolactone chlorthalidone",
    "anticoagulation: heparin warfarin enoxaparin dalteparin apixaban rivaroxaban",
    "macrolide: azithromycin clarithromycin erythromycin",
    "triptan: sumatriptan rizatriptan zolmitriptan",
    "opioid: morphine oxycodone hydrocodone fentanyl",
    "antiretroviral: tenofovir zidovudine cart haart",
    "combined contraceptive: ethinyl",
    "fluids: saline ringer crystalloid",
    "transfusion: packed",
)
"""Drugs that count for their class where a line of the table names the class."""
_TEMPERATURE = 2.0
_GATED = 0.2
_FAINT = 0.3
_STEM = 9
_FIRM = 1.5
"""How much more a finding counts that few other conditions have."""


@dataclass(frozen=True, kw_only=True)
class _Condition:
    """A line of the table, in stems."""

    names: tuple[tuple[str, ...], ...]
    findings: Mapping[str, float]
    fits: tuple[tuple[str, ...], ...]
    against: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True, repr=False)
class Backing(Sensitive):
    """What speaks for a statement and against it, as shares of belief from 0 to 1."""

    named: float
    """Belief in the conditions that it names."""
    rank: int
    """Place of the best of them among all, 1 the likeliest; 0 where it names none."""
    fits: float
    against: float
    first: int
    """1 where it fits the likeliest condition, -1 where it does not, 0 where the table is silent."""

    @property
    def net(self) -> float:
        """For less against."""
        return self.named + self.fits - self.against

    @property
    def silent(self) -> bool:
        """The table knows nothing that the statement names."""
        return not (self.rank or self.fits or self.against)


def stems(text: str) -> list[str]:
    """The words of a text, cut so that "infections" and "infection" are one."""
    return [_stem(w) for w in _WORD.findall(text.lower().replace("-", " "))]


def believed(sentences: Sequence[str]) -> Belief:
    """A share of belief for each condition of the table; they sum to 1."""
    weights: dict[str, float] = {}
    for sentence in sentences:
        words = stems(sentence)
        for i, word in enumerate(words):
            denied = any(w in _DENIED for w in words[max(0, i - 4) : i])
            weights[word] = max(weights.get(word, 0.0), _DENIED_WEIGHT if denied else 1.0)
    index, lengths = _index()
    scores = np.zeros(len(lengths))
    for word, weight in weights.items():
        for place, value in index.get(word, ()):
            scores[place] += weight * value
    scores /= 0.5 + 0.5 * lengths / lengths.mean()
    for needs, (_, speakers) in zip(_gates(), _GATES, strict=True):
        if not any(stem in weights for stem in stems(speakers)):
            scores[needs] *= _GATED
    shares = np.exp((scores - scores.max()) / _TEMPERATURE)
    return np.asarray(shares / shares.sum())


def backing(statement: str, belief: Belief) -> Backing:
    """How far what is believed backs a statement."""
    words = stems(statement)
    held = set(words)
    for name, members in _classes():
        if held & members:
            held |= name
    named = [i for i, c in enumerate(_table()) if any(_in_order(n, words) for n in c.names)]
    fits = [i for i, c in enumerate(_table()) if any(held.issuperset(a) for a in c.fits)]
    against = [i for i, c in enumerate(_table()) if any(held.issuperset(a) for a in c.against)]
    top = int(belief.argmax())
    best = max((float(belief[i]) for i in named), default=0.0)
    return Backing(
        named=float(belief[named].sum()) if named else 0.0,
        rank=1 + int((belief > best).sum()) if named else 0,
        fits=float(belief[fits].sum()) if fits else 0.0,
        against=float(belief[against].sum()) if against else 0.0,
        first=(top in fits or top in named) - (top in against),
    )


def _stem(word: str) -> str:
    for ending in ("ies", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word[: -len(ending)][:_STEM]
    return word[:_STEM]


def _phrase(text: str) -> tuple[str, ...]:
    return tuple(
        s for w, s in zip(_WORD.findall(text.lower().replace("-", " ")), stems(text), strict=True) if w not in _SMALL
    )


def _in_order(phrase: tuple[str, ...], words: Sequence[str]) -> bool:
    size = len(phrase)
    return any(tuple(words[i : i + size]) == phrase for i in range(len(words) - size + 1))


@cache
def _table() -> tuple[_Condition, ...]:
    """The table as it is used."""
    out = []
    for line in (*_pairs_adult.LINES.strip().splitlines(), *_pairs_special.LINES.strip().splitlines()):
        names, findings, fits, against = (part.strip() for part in line.split("|"))
        weights: dict[str, float] = {}
        for finding in filter(None, map(str.strip, findings.split(","))):
            for word in _phrase(finding.lstrip("*")):
                weights[word] = max(weights.get(word, 0.0), _FIRM if finding.startswith("*") else 1.0)
        own = tuple(_phrase(n) for n in names.split(";"))
        for word in (w for name in own for w in name):
            weights.setdefault(word, 1.0)
        out.append(
            _Condition(
                names=own,
                findings=weights,
                fits=tuple(filter(None, map(_phrase, fits.split(";")))),
                against=tuple(filter(None, map(_phrase, against.split(";")))),
            )
        )
    return tuple(out)


@cache
def _index() -> tuple[Mapping[str, tuple[tuple[int, float], ...]], npt.NDArray[np.float64]]:
    """Word -> the conditions that have it, with what it says for each; and how many words each condition has."""
    table = _table()
    spread = Counter(word for c in table for word in c.findings)
    common = frozenset(stems(" ".join(_COMMON)))
    index: dict[str, list[tuple[int, float]]] = {}
    for i, condition in enumerate(table):
        for word, weight in condition.findings.items():
            rarity = math.log((len(table) - spread[word] + 0.5) / (spread[word] + 0.5) + 1)
            index.setdefault(word, []).append((i, weight * rarity * (_FAINT if word in common else 1.0)))
    lengths = np.array([len(c.findings) for c in table], dtype=np.float64)
    return {word: tuple(places) for word, places in index.items()}, lengths


@cache
def _gates() -> tuple[list[int], ...]:
    """For each gate, the conditions that stand behind it."""
    return tuple(
        [i for i, c in enumerate(_table()) if not c.findings.keys().isdisjoint(stems(first))] for first, _ in _GATES
    )


@cache
def _classes() -> tuple[tuple[frozenset[str], frozenset[str]], ...]:
    """The words of each class's name, and its members."""
    pairs = (line.split(": ") for line in _CLASSES)
    return tuple((frozenset(_phrase(name)), frozenset(stems(members))) for name, members in pairs)
