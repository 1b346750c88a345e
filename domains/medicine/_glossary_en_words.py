"""English phrases, verbs and abbreviations of the clinic with plain words, written for this project.

Lines are as in `_glossary_en.py`; a verb has a wording for each of its forms. `ABBREVIATIONS` count only as they
are written. `KEPT` are fixed names that hold a term and are left as they are.
"""

__all__ = ["ABBREVIATIONS", "DOSING", "KEPT", "PHRASES", "VERBS"]

PHRASES = """
!afebrile = without fever
!anicteric = not yellow
!asymptomatic = without symptoms
!atraumatic = without injury
!nondistended, non-distended = not swollen
!noncontributory, non-contributory = not important here
!nonproductive, non-productive = not bringing up anything
!nonsmoker, non-smoker = person who does not smoke
!nontender, non-tender = not sore to the touch
!normotensive = without high blood pressure
abdominal = belly
acute = sudden
alert and oriented = awake and aware
ambulatory = able to walk
anterior = front
aortic = main artery
atrial fibrillation = irregular heart rhythm
benign = harmless
bilateral = left and right
bilaterally = on both sides
bony = bone
bowel sounds = belly sounds
buccal = inside the cheek
capillary refill = blood flow in the fingertips
cardiac = heart
cardiopulmonary = heart and lung
cardiovascular = heart and blood vessel
cerebral = brain
cervical spine = neck bones
chronic = long-term
systolic blood pressure, systolic pressure = upper blood pressure
diastolic blood pressure, diastolic pressure = lower blood pressure
systolic murmur, systolic ejection murmur = extra heart sound
benign prostatic hyperplasia, benign prostatic hypertrophy = large prostate
orthostatic hypotension = low blood pressure on standing up
gestational diabetes = diabetes in pregnancy
pulmonary fibrosis = scarred lungs
pulmonary hypertension = high blood pressure in the lungs
plantar fasciitis = heel pain
gastroesophageal reflux = acid reflux
cerebrospinal fluid = fluid around the brain
sleep apnea, obstructive sleep apnea = pauses in breathing during sleep
lymph nodes = glands
lymph node = gland
mucous membranes = moist inner linings
heart failure = weak heart
autosomal recessive = inherited from both parents
autosomal dominant = inherited from a parent
peptic ulcer disease = open sores in the stomach
supplemental oxygen = extra oxygen
range of motion = range of movement
blood glucose = blood sugar
clear to auscultation = clear when listened to
congenital = present-from-birth
coronary = heart artery
costovertebral angle = area over the kidney
cranial = skull
cutaneous = skin
diaphoretic = sweating
diffuse = widespread
distended = swollen
edematous = swollen
endocrine = hormone
erythematous = red
extraocular movements = eye movements
febrile = feverish
gastric = stomach
gastrointestinal = stomach and bowel
genitourinary = bladder and genital
hemodynamically stable = with steady blood pressure
hemorrhagic = bleeding
hepatic = liver
icteric = yellow
idiopathic = unexplained
inguinal = groin area
intermittent = on-and-off
intermittently = on and off
intestinal = bowel
intramuscular = into-the-muscle
intraoperative = during surgery
intravenous = into-the-vein
intravenously = into a vein
lethargic = very tired
lower extremity = leg
lower extremities = legs
lumbar = lower back
malignant = cancerous
musculoskeletal = muscle and bone
myocardial = heart muscle
nasal = nose
nauseated, nauseous = feeling sick
neonatal = newborn
neurologic, neurological = brain and nerve
neurovascularly intact = with normal feeling and blood flow
normocephalic = with a normal head shape
obese = very overweight
ophthalmic = eye
orally = by mouth
otic = ear
palpable = noticeable
palliative = comfort
perioperative = around the time of surgery
periorbital = around the eye
peripheral edema = swollen legs
plantar = sole-of-the-foot
pneumococcal = lung germ
posterior = back
postoperative, post-operative = after-surgery
postoperatively = after surgery
postprandial = after meals
prenatal, antenatal = before birth
preoperative, pre-operative = before-surgery
preoperatively = before surgery
prophylactic = preventive
prophylaxis = prevention
psychiatric = mental health
pulmonary = lung
purulent = pus-filled
radiographic = X-ray
rectal = bottom
recurrent = repeated
refractory = hard to treat
renal = kidney
respiratory = breathing
respiratory distress = trouble breathing
status post = after
subcutaneous = under-the-skin
subcutaneously = under the skin
sublingual = under-the-tongue
sublingually = under the tongue
substernal, retrosternal = behind the breast bone
supine = lying on the back
symmetric, symmetrical = even
systemic = whole-body
tachycardic = with a fast heartbeat
bradycardic = with a slow heartbeat
tender to palpation = sore to the touch
thoracic = chest
topical = on-the-skin
topically = on the skin
transdermal = through the skin
unremarkable = normal
upper extremity = arm
upper extremities = arms
urinary = urine
uterine = womb
vascular = blood vessel
venous = vein
vital signs, vitals = basic body measurements
well-nourished = well fed
adverse effect, adverse reaction = side effect
adverse effects, adverse reactions = side effects
chief complaint = main problem
differential diagnosis = possible causes
history of present illness = story of this illness
past medical history = earlier health problems
past surgical history = earlier surgery
review of systems = questions about the whole body
physical examination = body check
scleral icterus = yellow eyes
atopic dermatitis = eczema
coronary arteries = heart arteries
coronary artery = heart artery
carotid = neck artery
endometrial = womb lining
visual acuity = sharpness of sight
integumentary = skin
neck is supple = neck is soft
supple neck = soft neck
lymphatic = lymph gland
hematologic, hematological = blood
preop = before surgery
postop = after surgery
gravid = pregnant
nocturnal = at night
pharyngeal = throat
"""

VERBS = """
alleviate, alleviates, alleviated, alleviating = ease, eases, eased, easing
ambulate, ambulates, ambulated, ambulating = walk, walks, walked, walking
auscultate, auscultates, auscultated, auscultating = listen to, listens to, listened to, listening to
discontinue, discontinues, discontinued, discontinuing = stop, stops, stopped, stopping
endorse, endorses, endorsed, endorsing = report, reports, reported, reporting
exacerbate, exacerbates, exacerbated, exacerbating = make worse, makes worse, made worse, making worse
excise, excises, excised, excising = cut out, cuts out, cut out, cutting out
expectorate, expectorates, expectorated, expectorating = cough up, coughs up, coughed up, coughing up
immunize, immunizes, immunized, immunizing = vaccinate, vaccinates, vaccinated, vaccinating
metastasize, metastasizes, metastasized, metastasizing = spread, spreads, spread, spreading
palpate, palpates, palpated, palpating = feel, feels, felt, feeling
resect, resects, resected, resecting = remove, removes, removed, removing
titrate, titrates, titrated, titrating = adjust, adjusts, adjusted, adjusting
urinate, urinates, urinated, urinating = pass water, passes water, passed water, passing water
radiate, radiates, radiated, radiating = spread, spreads, spread, spreading
recur, recurs, recurred, recurring = come back, comes back, came back, coming back
"""

ABBREVIATIONS = """
!NKDA = no known drug allergies
!NPO = nothing by mouth
RRR = regular heart rate and rhythm
!NAD = no distress
CTAB = clear on both sides
AFib = irregular heart rhythm
AKI = sudden kidney damage
BMI = weight for height
BMP = blood salts test
BP = blood pressure
BPH = large prostate
BUN = kidney blood test
CABG = heart bypass surgery
CAD = narrowed heart arteries
CBC = blood cell count
CHF = weak heart with fluid build-up
CKD = long-term kidney disease
COPD = long-term lung disease
CPAP = breathing machine for sleep
CVA = stroke
CXR = chest X-ray
DJD = wear of the joints
DOE = trouble breathing during activity
DVT = blood clot in a deep vein
Dx = diagnosis
ECG, EKG = heart tracing
EEG = brain wave test
EtOH, ETOH = alcohol
FBS = morning blood sugar
Fx = broken bone
GERD = acid reflux
GI = stomach and bowel
GU = bladder and genital
H&P = history and body check
HCTZ = water pill hydrochlorothiazide
HEENT = head, eyes, ears, nose and throat
HLD = high blood fats
HPI = story of this illness
HR = heart rate
HTN = high blood pressure
Hx = history
IBS = irritable bowel
ICU = intensive care
IM = into a muscle
JVD = swollen neck veins
LFT, LFTs = liver blood tests
LLE = left leg
RLE = right leg
LUE = left arm
RUE = right arm
LLQ = left lower belly
RLQ = right lower belly
LUQ = left upper belly
RUQ = right upper belly
LVEF = share of blood that the heart pumps out
MVA = car accident
NSAID = pain medicine like ibuprofen
NSAIDs = pain medicines like ibuprofen
OA = wear of the joints
OSA = pauses in breathing during sleep
PFT, PFTs = breathing tests
PMH = earlier health problems
PO = by mouth
PSH = earlier surgery
PTSD = stress after a bad event
PVD = poor blood flow in the legs
RBC, RBCs = red blood cells
ROS = questions about the whole body
RR = breathing rate
Rx = prescription
SOB = trouble breathing
STI, STD = infection from sex
SubQ, SQ = under the skin
TIA = brief stroke
TSH = thyroid blood test
UA = urine test
URI = cold
UTI = bladder infection
VS = basic body measurements
WBC, WBCs = white blood cells
MSK = muscle and bone
SLE = lupus
ESRD = end-stage kidney disease
"""

DOSING = """
BID, b.i.d. = twice a day
TID, t.i.d. = three times a day
QID, q.i.d. = four times a day
QD, q.d. = every day
QOD, q.o.d. = every other day
QHS, q.h.s. = every night at bedtime
QAM = every morning
QPM = every evening
PRN, p.r.n. = when needed
p.o. = by mouth
AC, a.c. = before meals
PC, p.c. = after meals
HS, h.s. = at bedtime
gtt, gtts = drops
stat = immediately
"""

KEPT = """
multiple sclerosis
amyotrophic lateral sclerosis
lateral sclerosis
tuberous sclerosis
systemic sclerosis
cystic fibrosis
rheumatoid arthritis
psoriatic arthritis
juvenile arthritis
ulcerative colitis
anorexia nervosa
malignant hyperthermia
malignant melanoma
portal hypertension
intracranial hypertension
spinal muscular atrophy
muscular atrophy
optic atrophy
acute lymphoblastic leukemia
acute lymphocytic leukemia
acute myeloid leukemia
acute myelogenous leukemia
chronic lymphocytic leukemia
chronic myeloid leukemia
chronic myelogenous leukemia
chronic myelomonocytic leukemia
Friedreich's ataxia
Friedreich ataxia
ataxia telangiectasia
acid reflux
carcinoma in situ
acute intermittent porphyria
respiratory syncytial virus
essential tremor
diabetes insipidus
neuroleptic malignant syndrome
fibrous dysplasia
ectodermal dysplasia
recurrent respiratory papillomatosis
"""
