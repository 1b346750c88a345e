"""Clinical pictures that synthetic records are drawn from: a problem, its drugs, vital signs and plans.

Codes are from SNOMED CT's and RxNorm's public browsers; the wording is ours. Doses are ordinary ones, but
nothing here is advice. The file is long because it is data, one picture after another.
"""

from dataclasses import dataclass
from datetime import date

__all__ = ["ALLERGENS", "FAMILIES", "GIVEN", "MIXES", "PICTURES", "Drug", "Picture"]


@dataclass(frozen=True, kw_only=True)
class Drug:
    """A drug by ingredient, with doses as they are written."""

    name: str
    rxnorm: str
    doses: tuple[str, ...]
    never_with: tuple[str, ...] = ()
    """Allergies that rule it out."""
    group: str = ""
    """Two drugs of one group are never given together."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One problem as it comes to a clinic."""

    problem: str
    snomed: tuple[str, str]
    drugs: tuple[Drug, ...]
    vitals: tuple[str, ...]
    plans: tuple[str, ...]
    months: tuple[int, int]
    """Age range of those who have it, in months."""
    beside: tuple[str, ...] = ()
    sex: str | None = None
    high_pressure: bool = False
    fast_heart: bool = False
    fever: bool = False
    short_of_breath: bool = False

    def fits(self, born: date, day: date, sex: str) -> bool:
        """Whether such a person can have it on that day."""
        months = (day - born).days / 30.44
        return self.months[0] <= months <= self.months[1] + 24 and self.sex in (None, sex)


def _drug(name: str, rxnorm: str, *doses: str, never_with: tuple[str, ...] = (), group: str = "") -> Drug:
    return Drug(name=name, rxnorm=rxnorm, doses=doses, never_with=never_with, group=group or name)


_D = {
    d.name: d
    for d in (
        _drug("lisinopril", "29046", "10 mg daily", "20 mg daily", group="renin"),
        _drug("amlodipine", "17767", "5 mg daily", "10 mg daily"),
        _drug("losartan", "52175", "50 mg daily", "100 mg daily", group="renin"),
        _drug("ramipril", "35296", "2.5 mg daily", "5 mg twice daily", group="renin"),
        _drug("bisoprolol", "19484", "2.5 mg daily", "5 mg daily", group="beta"),
        _drug("metoprolol", "6918", "25 mg twice daily", "50 mg twice daily", group="beta"),
        _drug("furosemide", "4603", "20 mg daily", "40 mg twice daily", never_with=("sulfonamides",)),
        _drug("spironolactone", "9997", "25 mg daily"),
        _drug("digoxin", "3407", "125 mcg daily"),
        _drug("apixaban", "1364430", "2.5 mg twice daily", "5 mg twice daily", group="anticoagulant"),
        _drug("rivaroxaban", "1114195", "15 mg daily", "20 mg daily", group="anticoagulant"),
        _drug("warfarin", "11289", "3 mg daily", "4 mg daily", group="anticoagulant"),
        _drug("aspirin", "1191", "75 mg daily", "81 mg daily", never_with=("aspirin",)),
        _drug("clopidogrel", "32968", "75 mg daily"),
        _drug("atorvastatin", "83367", "20 mg daily", "40 mg daily", "80 mg daily"),
        _drug("metformin", "6809", "500 mg twice daily", "850 mg twice daily", "1000 mg twice daily"),
        _drug("gliclazide", "4816", "40 mg twice daily", "80 mg twice daily", never_with=("sulfonamides",)),
        _drug("empagliflozin", "1545653", "10 mg daily", "25 mg daily"),
        _drug("levothyroxine", "10582", "50 mcg daily", "75 mcg daily", "100 mcg daily"),
        _drug("omeprazole", "7646", "20 mg daily", "40 mg daily"),
        _drug("salbutamol", "435", "200 mcg four times daily as needed", "100 mcg four times daily as needed"),
        _drug("budesonide", "19831", "200 mcg twice daily", "400 mcg twice daily"),
        _drug("tiotropium", "69120", "18 mcg daily"),
        _drug("prednisolone", "8638", "30 mg daily", "40 mg daily"),
        _drug("sertraline", "36437", "50 mg daily", "100 mg daily", group="ssri"),
        _drug("citalopram", "2556", "10 mg daily", "20 mg daily", group="ssri"),
        _drug("naproxen", "7258", "250 mg twice daily", "500 mg twice daily", never_with=("aspirin",), group="nsaid"),
        _drug(
            "ibuprofen",
            "5640",
            "50 mg three times daily",
            "100 mg three times daily",
            never_with=("aspirin",),
            group="nsaid",
        ),
        _drug("paracetamol", "161", "500 mg four times daily", "1000 mg three times daily"),
        _drug(
            "amoxicillin",
            "723",
            "250 mg three times daily",
            "500 mg three times daily",
            never_with=("penicillin",),
            group="antibiotic",
        ),
        _drug("phenoxymethylpenicillin", "7984", "125 mg four times daily", never_with=("penicillin",)),
        _drug("doxycycline", "3640", "100 mg daily", "100 mg twice daily", group="antibiotic"),
        _drug("nitrofurantoin", "7454", "50 mg four times daily", "100 mg twice daily", group="antibiotic"),
        _drug("trimethoprim", "10829", "200 mg twice daily", never_with=("sulfonamides",), group="antibiotic"),
        _drug("cetirizine", "20610", "5 mg daily", "10 mg daily"),
        _drug("montelukast", "88249", "4 mg daily", "5 mg daily"),
        _drug("lactulose", "6218", "10 mL twice daily", "15 mL twice daily"),
        _drug("alendronic acid", "46041", "70 mg weekly"),
        _drug("donepezil", "135447", "5 mg daily", "10 mg daily"),
        _drug("memantine", "6719", "10 mg daily", "20 mg daily"),
        _drug("sumatriptan", "37418", "50 mg daily as needed"),
        _drug("propranolol", "8787", "40 mg twice daily", "80 mg twice daily", group="beta"),
        _drug("allopurinol", "519", "100 mg daily", "300 mg daily"),
        _drug("ferrous sulfate", "24947", "200 mg daily", "200 mg twice daily"),
        _drug("colchicine", "2683", "500 mcg twice daily"),
    )
}
_CHILD = {
    d.name: d
    for d in (
        _drug("paracetamol", "161", "120 mg four times daily", "250 mg four times daily"),
        _drug("amoxicillin", "723", "125 mg three times daily", "250 mg three times daily", never_with=("penicillin",)),
        _drug("cetirizine", "20610", "2.5 mg twice daily", "5 mg daily"),
        _drug("budesonide", "19831", "100 mcg twice daily", "200 mcg twice daily"),
        _drug("salbutamol", "435", "100 mcg four times daily as needed", "200 mcg three times daily as needed"),
    )
}


def _picture(
    problem: str,
    snomed: tuple[str, str],
    drugs: str,
    vitals: str,
    plans: tuple[str, ...],
    years: tuple[float, float],
    beside: tuple[str, ...] = (),
    *,
    sex: str | None = None,
    high_pressure: bool = False,
    fast_heart: bool = False,
    fever: bool = False,
    short_of_breath: bool = False,
) -> Picture:
    """A picture with its drugs looked up by name and its ages in years."""
    return Picture(
        problem=problem,
        snomed=snomed,
        drugs=tuple((_CHILD | _D if years[1] > 17 else _D | _CHILD)[d.strip()] for d in drugs.split(",")),
        vitals=tuple(vitals.split()),
        plans=plans,
        months=(round(years[0] * 12), round(years[1] * 12)),
        beside=beside,
        sex=sex,
        high_pressure=high_pressure,
        fast_heart=fast_heart,
        fever=fever,
        short_of_breath=short_of_breath,
    )


PICTURES = {
    p.problem: p
    for p in (
        _picture(
            "hypertension",
            ("38341003", "Hypertensive disorder, systemic arterial (disorder)"),
            "lisinopril, amlodipine, losartan",
            "bp hr",
            ("home blood pressure diary", "review in 4 weeks", "check renal function in 2 weeks"),
            (38, 88),
            ("type 2 diabetes", "hyperlipidaemia", "gout"),
            high_pressure=True,
        ),
        _picture(
            "heart failure",
            ("84114007", "Heart failure (disorder)"),
            "furosemide, bisoprolol, ramipril, spironolactone",
            "bp hr weight spo2",
            ("daily weights at home", "echocardiogram within 6 weeks", "review in 2 weeks"),
            (55, 92),
            ("atrial fibrillation", "type 2 diabetes", "coronary artery disease"),
            fast_heart=True,
            short_of_breath=True,
        ),
        _picture(
            "atrial fibrillation",
            ("49436004", "Atrial fibrillation (disorder)"),
            "apixaban, rivaroxaban, bisoprolol, warfarin, digoxin",
            "hr bp",
            ("repeat ECG in 3 months", "24-hour rhythm monitor", "review in 6 weeks"),
            (52, 91),
            ("hypertension", "heart failure"),
            fast_heart=True,
        ),
        _picture(
            "coronary artery disease",
            ("53741008", "Coronary arteriosclerosis (disorder)"),
            "aspirin, clopidogrel, atorvastatin, metoprolol",
            "bp hr",
            ("cardiac rehabilitation", "stress test within 4 weeks", "review in 3 months"),
            (48, 86),
            ("hypertension", "hyperlipidaemia", "type 2 diabetes"),
        ),
        _picture(
            "hyperlipidaemia",
            ("55822004", "Hyperlipidemia (disorder)"),
            "atorvastatin",
            "bp weight",
            ("repeat lipids in 3 months", "dietary advice", "review in 6 months"),
            (35, 80),
            ("hypertension",),
        ),
        _picture(
            "type 2 diabetes",
            ("44054006", "Diabetes mellitus type 2 (disorder)"),
            "metformin, empagliflozin, gliclazide",
            "hba1c bp weight",
            ("repeat HbA1c in 3 months", "annual eye screening", "foot check at next visit"),
            (35, 85),
            ("hypertension", "hyperlipidaemia"),
        ),
        _picture(
            "hypothyroidism",
            ("40930008", "Hypothyroidism (disorder)"),
            "levothyroxine",
            "hr weight",
            ("repeat TSH in 8 weeks", "review in 6 months"),
            (25, 84),
            ("depression",),
        ),
        _picture(
            "gastro-oesophageal reflux",
            ("235595009", "Gastroesophageal reflux disease (disorder)"),
            "omeprazole",
            "bp weight",
            ("review in 8 weeks", "advice on meals and weight"),
            (22, 80),
            ("hypertension",),
        ),
        _picture(
            "asthma",
            ("195967001", "Asthma (disorder)"),
            "salbutamol, budesonide",
            "spo2 hr",
            ("inhaler technique checked", "peak flow diary", "review in 4 weeks"),
            (12, 60),
            ("allergic rhinitis",),
            short_of_breath=True,
        ),
        _picture(
            "COPD",
            ("13645005", "Chronic obstructive lung disease (disorder)"),
            "tiotropium, salbutamol, prednisolone",
            "spo2 hr",
            ("smoking cessation clinic", "spirometry in 6 weeks", "review in 2 weeks"),
            (50, 85),
            ("hypertension", "heart failure"),
            short_of_breath=True,
        ),
        _picture(
            "depression",
            ("35489007", "Depressive disorder (disorder)"),
            "sertraline, citalopram",
            "bp weight",
            ("talking therapy referral", "review in 2 weeks", "review in 4 weeks"),
            (19, 75),
            ("low back pain", "migraine"),
        ),
        _picture(
            "migraine",
            ("37796009", "Migraine (disorder)"),
            "sumatriptan, propranolol",
            "bp hr",
            ("headache diary", "review in 3 months"),
            (18, 55),
            ("depression",),
        ),
        _picture(
            "low back pain",
            ("279039007", "Low back pain (finding)"),
            "naproxen, paracetamol",
            "bp weight",
            ("physiotherapy referral", "stay active", "review in 6 weeks"),
            (20, 75),
            ("depression",),
        ),
        _picture(
            "urinary tract infection",
            ("68566005", "Urinary tract infectious disease (disorder)"),
            "nitrofurantoin, trimethoprim",
            "temp hr",
            ("urine culture sent", "return if not better in 3 days"),
            (18, 90),
            ("type 2 diabetes",),
            sex="female",
            fever=True,
        ),
        _picture(
            "gout",
            ("90560007", "Gout (disorder)"),
            "allopurinol, colchicine, naproxen",
            "bp weight",
            ("repeat urate in 4 weeks", "review in 6 weeks"),
            (40, 82),
            ("hypertension",),
        ),
        _picture(
            "allergic rhinitis",
            ("61582004", "Allergic rhinitis (disorder)"),
            "cetirizine",
            "hr temp",
            ("saline nasal spray", "review in 4 weeks"),
            (6, 45),
            ("asthma",),
        ),
        _picture(
            "acute otitis media",
            ("3110003", "Acute otitis media (disorder)"),
            "amoxicillin, paracetamol, ibuprofen",
            "temp weight hr",
            ("return if not better in 3 days", "hearing check in 6 weeks"),
            (0.6, 8),
            fever=True,
        ),
        _picture(
            "tonsillitis",
            ("90176007", "Tonsillitis (disorder)"),
            "phenoxymethylpenicillin, ibuprofen, paracetamol",
            "temp hr",
            ("fluids and rest", "return if not better in 4 days"),
            (3, 16),
            fever=True,
        ),
        _picture(
            "bronchiolitis",
            ("4120002", "Bronchiolitis (disorder)"),
            "paracetamol",
            "spo2 temp hr weight",
            ("small frequent feeds", "review tomorrow", "return if breathing worsens"),
            (0.3, 1.7),
            fever=True,
            short_of_breath=True,
        ),
        _picture(
            "childhood asthma",
            ("233678006", "Childhood asthma (disorder)"),
            "salbutamol, montelukast, budesonide",
            "spo2 hr weight",
            ("spacer technique checked", "review in 4 weeks", "written asthma plan"),
            (3, 14),
            ("eczema",),
            short_of_breath=True,
        ),
        _picture(
            "eczema",
            ("43116000", "Eczema (disorder)"),
            "cetirizine",
            "temp weight",
            ("emollients twice daily", "review in 4 weeks"),
            (0.5, 15),
            ("allergic rhinitis",),
        ),
        _picture(
            "constipation",
            ("14760008", "Constipation (finding)"),
            "lactulose",
            "weight hr",
            ("fluids and fibre", "review in 2 weeks"),
            (2, 95),
        ),
        _picture(
            "osteoporosis",
            ("64859006", "Osteoporosis (disorder)"),
            "alendronic acid",
            "bp weight",
            ("bone density scan in 2 years", "falls clinic referral"),
            (66, 95),
            ("hypertension", "iron deficiency anaemia"),
        ),
        _picture(
            "dementia",
            ("52448006", "Dementia (disorder)"),
            "donepezil, memantine",
            "bp weight hr",
            ("carer support meeting", "memory clinic in 3 months", "review in 6 weeks"),
            (70, 96),
            ("hypertension", "constipation", "osteoporosis"),
        ),
        _picture(
            "iron deficiency anaemia",
            ("87522002", "Iron deficiency anemia (disorder)"),
            "ferrous sulfate",
            "hr bp",
            ("repeat blood count in 4 weeks", "stool test sent"),
            (17, 92),
            ("constipation",),
            fast_heart=True,
        ),
        _picture(
            "pneumonia",
            ("233604007", "Pneumonia (disorder)"),
            "doxycycline, amoxicillin",
            "temp spo2 hr",
            ("chest X-ray in 6 weeks", "review in 2 days"),
            (60, 95),
            ("COPD", "heart failure"),
            fever=True,
            short_of_breath=True,
            fast_heart=True,
        ),
    )
}

MIXES = {
    "st-anne": {
        "heart failure": 22,
        "atrial fibrillation": 22,
        "coronary artery disease": 22,
        "hypertension": 16,
        "hyperlipidaemia": 8,
        "COPD": 4,
        "type 2 diabetes": 4,
        "pneumonia": 2,
    },
    "riverside": {
        "hypertension": 12,
        "type 2 diabetes": 14,
        "depression": 12,
        "asthma": 9,
        "low back pain": 10,
        "migraine": 8,
        "hypothyroidism": 9,
        "gastro-oesophageal reflux": 9,
        "urinary tract infection": 7,
        "gout": 4,
        "allergic rhinitis": 6,
    },
    "northfield": {
        "acute otitis media": 14,
        "tonsillitis": 11,
        "bronchiolitis": 8,
        "childhood asthma": 11,
        "eczema": 8,
        "constipation": 7,
        "dementia": 14,
        "osteoporosis": 11,
        "iron deficiency anaemia": 7,
        "pneumonia": 9,
    },
}
"""Which problems bring patients to which institution, by weight."""

ALLERGENS = ("penicillin", "sulfonamides", "aspirin", "latex", "peanuts", "shellfish")

GIVEN = {
    "female": ("Ada", "Berta", "Clara", "Dunja", "Elif", "Farida", "Greta", "Hanne", "Ines", "Jing", "Kaya", "Lea"),
    "male": ("Anton", "Bruno", "Carlos", "Deniz", "Emil", "Farid", "Georg", "Hugo", "Ivo", "Jun", "Karim", "Leo"),
}
FAMILIES = (
    "Abendroth", "Brookfield", "Castellan", "Dahlberg", "Eversley", "Fontane", "Grünwald", "Holloway",
    "Ivarsen", "Jarosz", "Kestrel", "Lindqvist", "Marchetti", "Norwood", "Okonjo", "Petrescu",
)  # fmt: skip
