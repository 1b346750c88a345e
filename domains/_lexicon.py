"""The words by which checks read a figure: numbers in words, scales, units, directions, negations, drugs.

The drug list is a net under the closed vocabulary, not a formulary: it names what an unknown word is.
"""

import re
from decimal import Decimal

__all__ = ["NEGATIONS", "NUMBER_WORDS", "SCALES", "SENSES", "UNITS", "looks_like_drug", "number_of"]

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_ORDINALS = (
    "zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth "
    "fifteenth sixteenth seventeenth eighteenth nineteenth"
)
_SINGLE = {
    **{w: Decimal(i) for i, w in enumerate(_ONES.split())},
    **{w: Decimal(10 * i) for i, w in enumerate(_TENS.split(), 2)},
    **{w: Decimal(i) for i, w in enumerate(_ORDINALS.split())},
    **{w[:-1] + "ieth": Decimal(10 * i) for i, w in enumerate(_TENS.split(), 2)},
    **{w: Decimal(n) for w, n in (("once", 1), ("twice", 2), ("thrice", 3), ("single", 1), ("double", 2))},
    **{w: Decimal(n) for w, n in (("doubled", 2), ("triple", 3), ("tripled", 3), ("dozen", 12), ("pair", 2))},
    **{w: Decimal(n) for w, n in (("couple", 2), ("nil", 0), ("nought", 0), ("half", "0.5"), ("halved", "0.5"))},
    **{w: Decimal(n) for w, n in (("halves", "0.5"), ("quarter", "0.25"), ("quarters", "0.25"), ("score", 20))},
}
_BIG = {"hundred": Decimal(100), "thousand": Decimal(1000), "million": Decimal(10**6), "billion": Decimal(10**9)}
_BIG |= {"trillion": Decimal(10**12)}
_PLURALS = ("dozens", "hundreds", "thousands", "millions", "billions", "trillions", "tens", "twos", "thirds", "fifths")
NUMBER_WORDS = frozenset(_SINGLE) | frozenset(_BIG) | frozenset(_PLURALS)
"""Every word that is a figure by itself."""

SCALES = {
    **{w: Decimal(10**3) for w in ("thousand", "thousands", "k")},
    **{w: Decimal(10**6) for w in ("million", "millions", "mn", "mln", "m")},
    **{w: Decimal(10**9) for w in ("billion", "billions", "bn", "b")},
    **{w: Decimal(10**12) for w in ("trillion", "trillions", "tn")},
}

UNITS = {
    alias: unit
    for unit, aliases in {
        "year": "year years yr yrs y year-old years-old year-olds yo",
        "month": "month months month-old months-old mo mos",
        "week": "week weeks wk wks week-old",
        "day": "day days day-old",
        "hour": "hour hours hr hrs h",
        "minute": "minute minutes mins",
        "mg": "mg mgs milligram milligrams",
        "mcg": "mcg µg μg ug microgram micrograms",
        "g": "g gram grams",
        "kg": "kg kgs kilogram kilograms",
        "lb": "lb lbs pound pounds",
        "ml": "ml mls milliliter milliliters millilitre millilitres",
        "l": "l liter liters litre litres",
        "mg/ml": "mg/ml",
        "mcg/ml": "mcg/ml",
        "mg/dl": "mg/dl",
        "mmol/l": "mmol/l",
        "mmol/mol": "mmol/mol",
        "unt": "unt unit units iu",
        "unt/ml": "unt/ml units/ml",
        "meq": "meq",
        "mmhg": "mmhg",
        "/min": "/min bpm beats/min beats breaths breaths/min /minute",
        "°c": "°c c celsius degrees degree",
        "°f": "°f f fahrenheit",
        "cm": "cm centimetre centimetres centimeter centimeters",
        "m": "m metre metres meter meters",
        "kg/m2": "kg/m2 kg/m²",
        "%": "% percent pct percents",
        "point": "point points pp",
        "basis point": "bp bps bips",
        "puff": "puff puffs",
        "tablet": "tablet tablets tab tabs",
        "capsule": "capsule capsules",
        "drop": "drop drops",
        "usd": "usd",
        "dollar": "dollar dollars",
    }.items()
    for alias in aliases.split()
}
"""Alias -> unit, lower case. "m" and "c" are read as units only where no scale is asked for."""

SENSES = {
    "up": frozenset(
        """rose rise rises rising increased increase increases increasing grew grow grows growth growing climbed gained
        gain up higher above over""".split()  # noqa: SIM905
    ),
    "down": frozenset(
        """fell fall falls falling decreased decrease decreases decreasing declined decline declines declining dropped
        drop down lower reduced reduction below""".split()  # noqa: SIM905
    ),
    "flat": frozenset("stayed stable unchanged remained flat".split()),  # noqa: SIM905
}
"""Direction -> the words that state it."""

NEGATIONS = frozenset(
    """no not never none nor neither cannot can't without denies denied deny denying negative absent absence lacks
    lacking free excluded excludes unlikely isn't wasn't aren't weren't hasn't haven't doesn't didn't don't nil
    non nothing nobody refused refuses stopped stop stops discontinue discontinued""".split()  # noqa: SIM905
)

_DRUGS = frozenset(
    """abacavir acarbose acetaminophen aciclovir acyclovir adrenaline albuterol alendronate allopurinol alprazolam
    amiodarone amitriptyline amlodipine amoxicillin ampicillin apixaban aripiprazole aspirin atenolol atorvastatin
    azathioprine azithromycin baclofen benazepril bisoprolol botox budesonide bumetanide bupropion buspirone caffeine
    candesartan captopril carbamazepine carvedilol cefalexin cephalexin ceftriaxone cetirizine chlorthalidone
    ciprofloxacin citalopram clarithromycin clindamycin clonazepam clonidine clopidogrel clozapine codeine colchicine
    cyclosporine dabigatran dapagliflozin dexamethasone diazepam diclofenac digoxin diltiazem diphenhydramine
    donepezil doxazosin doxycycline dulaglutide duloxetine empagliflozin enalapril enoxaparin epinephrine errin
    erythromycin escitalopram esomeprazole estradiol eszopiclone ethambutol etonogestrel ezetimibe famotidine fentanyl
    finasteride fluconazole fluoxetine fluticasone folate formoterol furosemide gabapentin glibenclamide gliclazide
    glimepiride glipizide glyburide haloperidol heparin hydralazine hydrochlorothiazide hydrocodone hydrocortisone
    hydroxychloroquine ibuprofen imipramine indomethacin insulin ipratropium irbesartan isoniazid isosorbide
    ivermectin ketamine ketorolac labetalol lactulose lamotrigine lansoprazole latanoprost levetiracetam levodopa
    levofloxacin levothyroxine lidocaine linagliptin liraglutide lisinopril lithium loperamide loratadine lorazepam
    losartan lovastatin magnesium meloxicam memantine metformin methadone methotrexate methylphenidate
    methylprednisolone metoclopramide metoprolol metronidazole midazolam mirtazapine mometasone montelukast morphine
    mupirocin naloxone naltrexone naproxen nifedipine nitrofurantoin nitroglycerin nortriptyline olanzapine
    olmesartan omeprazole ondansetron oxybutynin oxycodone oxytocin pantoprazole paracetamol paroxetine penicillin
    phenobarbital phenytoin pioglitazone potassium pramipexole pravastatin prazosin prednisolone prednisone
    pregabalin promethazine propofol propranolol quetiapine quinine rabeprazole raloxifene ramipril ranitidine
    rifampicin rifampin risperidone rivaroxaban rosuvastatin salbutamol salmeterol saxagliptin semaglutide senna
    sertraline sildenafil simvastatin sitagliptin sotalol spironolactone sucralfate sulfasalazine sumatriptan
    tacrolimus tadalafil tamoxifen tamsulosin telmisartan terbinafine testosterone theophylline ticagrelor timolol
    tiotropium tizanidine topiramate torsemide tramadol trazodone triamcinolone trimethoprim valacyclovir valproate
    valsartan vancomycin venlafaxine verapamil warfarin zolpidem
    advil ambien ativan augmentin coumadin crestor eliquis humira januvia jardiance keppra keytruda klonopin lantus
    lasix lexapro lipitor lyrica neurontin nexium norvasc ozempic paxil plavix prilosec prozac seroquel singulair
    synthroid tylenol valium ventolin viagra wegovy xanax xarelto zithromax zocor zoloft zyrtec""".split()  # noqa: SIM905
)
_STEMS = re.compile(
    r".{3,}(?:olol|sartan|statin|mycin|micin|cillin|cycline|floxacin|oxacin|azole|prazole|conazole|dipine|gliptin|"
    r"gliflozin|glutide|glitazone|azepam|zolam|barbital|triptan|setron|parin|xaban|gatran|thiazide|semide|lukast|terol|"
    r"sonide|solone|profen|coxib|oxetine|pramine|triptyline|phylline|caine|fibrate|dronate|dronic|tinib|ciclib|rafenib|"
    r"zumab|ximab|mumab|kinumab|vir|ciclovir|tidine|zosin|curium|formin|mide|fenac|codone|morphone|quine|barbitone|"
    r"penem|sulfa|prost|afil|lisib|parib|stigmine|tropium|axine|azine|peridol|peridone)$"
)
# "april" and other everyday words that end like a drug.
_NOT_DRUGS = frozenset("april reservoir magazine triazole savoir elevenmide".split())  # noqa: SIM905
_PRIL = re.compile(r".{3,}pril$")


def looks_like_drug(word: str) -> bool:
    """Whether a word is a drug's name, or ends as the names of a class of drugs do (WHO's INN stems)."""
    low = word.lower()
    return low not in _NOT_DRUGS and (low in _DRUGS or bool(_STEMS.match(low)) or bool(_PRIL.match(low)))


def number_of(words: list[str]) -> Decimal | None:
    """The value of consecutive number words, such as ["twenty", "one"] or ["two", "hundred"].

    Returns:
        None where they are no number that can be told.
    """
    total, current, last = Decimal(0), Decimal(0), "start"
    for word in words:
        if word in _SINGLE:
            value = _SINGLE[word]
            joins = last in ("start", "big") or (last == "tens" and Decimal(0) < value < 10)
            if not joins:
                return None
            current += value
            last = "tens" if value in range(20, 100, 10) else "single"
        elif word in _BIG:
            if last == "start":
                return None
            if word == "hundred":
                current *= 100
            else:
                total, current = total + current * _BIG[word], Decimal(0)
            last = "big"
        else:
            return None
    return total + current
