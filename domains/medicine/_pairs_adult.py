"""What goes with what in adult medicine: a condition, findings that speak for it, what fits it, what does not.

Written from general medical knowledge as textbooks share it; no text of a data set is in it. Its author had
read the training share of a public set of notes with errors before, which decided in part what is covered, so
figures measured on that set flatter it. A line is names | findings | tests and treatments that fit | those that do not. A star marks a finding that few other
conditions have. It serves to doubt a sentence, never to treat anybody.
"""

# A condition stands on one line, however long, as in any table.
# ruff: noqa: E501

__all__ = ["LINES"]

LINES = """
subarachnoid hemorrhage; ruptured aneurysm | sudden headache, *worst headache, neck stiffness, nuchal rigidity, *xanthochromia, photophobia, knees flexed neck | ct head; lumbar puncture; nimodipine; surgical clipping; coiling; angiography | burr hole; heparin; aspirin; thrombolysis; sumatriptan
subdural hematoma | fall elderly, *crescent, confusion weeks, warfarin, alcohol, headache gradual, *bridging veins, retinal hemorrhages infant | ct head; burr hole; craniotomy; evacuation | clipping; heparin; lumbar puncture
epidural hematoma | *lucid interval, *biconvex, temporal bone fracture, middle meningeal, loss consciousness head trauma | ct head; craniotomy; evacuation | lumbar puncture; heparin
ischemic stroke; cerebral infarction | sudden weakness, facial droop, aphasia, slurred speech, hemiparesis, atrial fibrillation, hemianopia | ct head without contrast; thrombolysis; tissue plasminogen activator; alteplase; aspirin; thrombectomy | heparin; craniotomy
transient ischemic attack | resolved within minutes, transient weakness, transient loss vision, carotid bruit | aspirin; clopidogrel; carotid duplex; statin; endarterectomy | thrombolysis; alteplase
carotid stenosis | carotid bruit, carotid stenosis, carotid duplex | aspirin; statin; endarterectomy | stenting coronary; warfarin
bacterial meningitis | fever headache, neck stiffness, nuchal rigidity, photophobia, petechiae, turbid cerebrospinal fluid, low glucose cerebrospinal, kernig | lumbar puncture; ceftriaxone; vancomycin; dexamethasone; blood cultures; ampicillin | acyclovir alone; oral amoxicillin
herpes simplex encephalitis | *temporal lobe, fever confusion, seizure, behavior change, lymphocytic pleocytosis | acyclovir; lumbar puncture; pcr | ganciclovir; ceftriaxone alone
multiple sclerosis | *optic neuritis, internuclear ophthalmoplegia, *oligoclonal bands, periventricular, *lhermitte, relapsing weakness, heat worsens | mri; methylprednisolone; interferon; glatiramer; natalizumab | plasmapheresis first; riluzole
guillain-barre syndrome | *ascending weakness, absent reflexes, areflexia, diarrhea weeks ago, *albuminocytologic, tingling feet | intravenous immunoglobulin; plasmapheresis; spirometry; vital capacity | corticosteroid; prednisone; pyridostigmine
myasthenia gravis | *fatigable weakness, ptosis, diplopia, improves rest, *ice pack, thymoma, acetylcholine receptor | pyridostigmine; edrophonium; ct chest; thymectomy; electromyography | aminoglycoside; gentamicin; botulinum; beta blocker
lambert-eaton syndrome | proximal weakness, *improves with use, small cell, dry mouth | ct chest; amifampridine; diaminopyridine | pyridostigmine alone
amyotrophic lateral sclerosis | fasciculations, *upper and lower motor, hyperreflexia atrophy, tongue fasciculations, dysphagia, weakness without sensory | riluzole; edaravone; electromyography; spirometry | corticosteroid; interferon; immunoglobulin
parkinson disease | *resting tremor, *pill-rolling, bradykinesia, rigidity cogwheel, shuffling gait, masked | levodopa; carbidopa; pramipexole; ropinirole; selegiline | haloperidol; metoclopramide; propranolol
essential tremor | *tremor improves alcohol, action tremor, postural tremor, family tremor | propranolol; primidone | levodopa; trihexyphenidyl
huntington disease | chorea, caudate atrophy, *cag repeat, father died dementia, jerky movements personality | tetrabenazine; genetic testing | levodopa
normal pressure hydrocephalus | *magnetic gait, urinary incontinence gait dementia, enlarged ventricles, wide-based gait | lumbar puncture; ventriculoperitoneal shunt; mri | donepezil; levodopa
alzheimer disease | memory loss progressive, getting lost, forgetful, hippocampal atrophy, finances difficulty | donepezil; memantine; rivastigmine; galantamine | haloperidol; benztropine; diphenhydramine
lewy body dementia | *visual hallucinations, fluctuating cognition, parkinsonism dementia, rem sleep behavior | rivastigmine; donepezil; quetiapine | haloperidol
frontotemporal dementia | *disinhibition, personality change, apathy, socially inappropriate, frontal atrophy, compulsive eating | selective serotonin; supportive | donepezil
creutzfeldt-jakob disease | *myoclonus, rapidly progressive dementia, *14-3-3, periodic sharp wave, startle | supportive | donepezil; acyclovir
vascular dementia | *stepwise decline, hypertension strokes, infarcts lacunar | aspirin; blood pressure | levodopa
migraine | throbbing headache, unilateral headache, photophobia, phonophobia, aura, nausea headache | sumatriptan; triptan; chlorpromazine; prochlorperazine; metoclopramide; topiramate; propranolol; naproxen | oxygen; carbamazepine; ct angiography; clipping
cluster headache | *lacrimation, *rhinorrhea unilateral, periorbital pain, ptosis headache, restless pacing | oxygen; sumatriptan; verapamil | propranolol; carbamazepine
tension headache | bilateral band, pressing headache, stress headache, bandlike | ibuprofen; acetaminophen; amitriptyline; naproxen | sumatriptan; ct head; oxygen
trigeminal neuralgia | *electric shock face, stabbing facial pain, chewing triggers, brushing teeth pain | carbamazepine; mri | sumatriptan; oxygen
giant cell arteritis; temporal arteritis | *jaw claudication, temporal tenderness, scalp tenderness, elevated erythrocyte sedimentation, vision loss elderly headache | prednisone; temporal artery biopsy; corticosteroid; methylprednisolone | sumatriptan; aspirin alone
idiopathic intracranial hypertension; pseudotumor cerebri | *papilledema obese, headache obese young woman, transient visual obscurations, isotretinoin headache, tetracycline headache, elevated opening pressure | acetazolamide; weight loss; lumbar puncture; optic nerve fenestration | furosemide alone; mannitol
status epilepticus | seizure minutes continues, tonic-clonic ongoing, seizing arrival, without regaining consciousness | lorazepam; diazepam; midazolam; fosphenytoin after lorazepam | oral; carbamazepine; fosphenytoin first; haloperidol
absence seizures | *staring spells, daydreaming, *3-hz, hyperventilation provokes | ethosuximide; valproate | carbamazepine; phenytoin; lorazepam
spinal cord compression | back pain weakness legs, metastatic cancer back pain, sensory level, hyperreflexia legs, urinary retention back pain | dexamethasone; mri spine; corticosteroid; radiation; decompression | x-ray; observation; physical therapy; ct
cauda equina syndrome | *saddle anesthesia, urinary retention, decreased anal sphincter, leg weakness bilateral, absent ankle reflexes | mri; emergency decompression; laminectomy | physical therapy; ct; nsaid; bed rest
lumbar disc herniation; lumbar strain | radiating leg pain, straight leg raise, lifted heavy, paraspinal tenderness | ibuprofen; naproxen; acetaminophen; stay active; physical therapy; reassurance | mri immediate; bed rest; surgery; opioid
brain abscess; cerebral toxoplasmosis; toxoplasmosis | *ring-enhancing, hiv headache seizure, cd4 low seizure, multiple ring lesions | pyrimethamine; sulfadiazine; brain biopsy | amphotericin; radiation
cryptococcal meningitis | *india ink, hiv headache fever, cryptococcal antigen, elevated opening pressure hiv | amphotericin; flucytosine; fluconazole; serial lumbar puncture | fluconazole alone; pyrimethamine; ceftriaxone
progressive multifocal leukoencephalopathy | *non-enhancing white matter, jc virus, natalizumab | antiretroviral | pyrimethamine
wernicke encephalopathy; wernicke-korsakoff | *ophthalmoplegia ataxia confusion, alcohol nystagmus confusion, malnourished alcohol | thiamine | glucose before thiamine; haloperidol; lorazepam
delirium tremens; alcohol withdrawal | tremulous last drink, *last drink days ago, hallucinations alcohol, agitation diaphoresis tachycardia alcohol, surgery days tremor | lorazepam; chlordiazepoxide; diazepam; benzodiazepine | haloperidol; propranolol; naltrexone; disulfiram
opioid overdose; opioid intoxication | *pinpoint pupils, respiratory depression, miosis, heroin, needle marks | naloxone; bag-mask ventilation | flumazenil; activated charcoal; methadone
opioid withdrawal | *yawning, dilated pupils rhinorrhea, piloerection, lacrimation diarrhea cramps | methadone; buprenorphine; clonidine | naloxone; naltrexone
benzodiazepine overdose | somnolent slurred speech benzodiazepine, alprazolam overdose | supportive; airway; flumazenil | naloxone; charcoal
cocaine intoxication; cocaine-induced chest pain | cocaine, dilated pupils chest pain, agitated tachycardia mydriasis, nasal septum | lorazepam; benzodiazepine; diazepam; aspirin; nitroglycerin; phentolamine | beta blocker; propranolol; metoprolol; labetalol; haloperidol
acetaminophen overdose; acetaminophen toxicity | acetaminophen pills, *acetaminophen level, elevated transaminases overdose, ingested pills suicide | acetylcysteine; charcoal; acetaminophen level | ipecac; deferoxamine; transplant first
salicylate poisoning; aspirin toxicity | *tinnitus, hyperventilation aspirin, mixed respiratory alkalosis metabolic acidosis, aspirin bottle | sodium bicarbonate; hemodialysis; charcoal; alkalinization | acetylcysteine; intubation; acetazolamide
tricyclic antidepressant overdose | *wide qrs, amitriptyline overdose, dilated pupils dry flushed qrs, prolonged qrs overdose | sodium bicarbonate; charcoal | physostigmine; lidocaine; flumazenil; procainamide
organophosphate poisoning; cholinergic toxicity | *farmer salivation, lacrimation urination, miosis diarrhea wheezing, pesticide, bronchorrhea bradycardia | atropine; pralidoxime | physostigmine; glucagon; succinylcholine; neostigmine
anticholinergic toxicity | dry flushed skin, *jimsonweed, mydriasis urinary retention dry, diphenhydramine overdose, absent bowel sounds delirium | physostigmine; benzodiazepine | atropine; pralidoxime; haloperidol
beta blocker overdose; beta blocker toxicity | bradycardia hypotension wheezing hypoglycemia, *propranolol overdose, metoprolol overdose, atenolol overdose | glucagon; atropine; calcium; insulin | pralidoxime; naloxone; digoxin
digoxin toxicity | *yellow halos, digoxin nausea, blurry yellow vision, digoxin arrhythmia | digoxin-specific antibody; fab; digoxin level | calcium gluconate; cardioversion; amiodarone; verapamil
carbon monoxide poisoning | *cherry-red, heater headache family, garage exhaust, fire headache confusion, carboxyhemoglobin | oxygen; hyperbaric; carboxyhemoglobin; non-rebreather | hydroxycobalamin alone; naloxone; methylene blue
cyanide poisoning | *bitter almonds, house fire lactate, nitroprusside confusion lactate, severe lactic acidosis smoke | hydroxocobalamin; hydroxycobalamin; sodium thiosulfate; amyl nitrite | methylene blue; naloxone; hyperbaric; dimercaprol
methemoglobinemia | *chocolate-brown blood, dapsone cyanosis, benzocaine, cyanosis unresponsive oxygen, nitrites saturation 85 | methylene blue | hydroxocobalamin; hyperbaric; exchange
lead poisoning | *basophilic stippling, old house abdominal pain, wrist drop, battery factory, peeling paint, microcytic lead | succimer; edetate; dimercaprol; chelation; lead level | deferoxamine; penicillamine first; iron
iron poisoning | *prenatal vitamins ingested, bloody vomiting toddler pills, radiopaque tablets | deferoxamine; whole bowel irrigation | charcoal; succimer; acetylcysteine
methanol poisoning; ethylene glycol poisoning | *antifreeze, *oxalate crystals, high anion gap osmolal gap, blurred vision moonshine | fomepizole; ethanol; hemodialysis | naloxone; charcoal; acetylcysteine
serotonin syndrome | *clonus, hyperreflexia hyperthermia, linezolid sertraline, tramadol fluoxetine, mydriasis diarrhea agitation, diaphoresis clonus | cyproheptadine; benzodiazepine; discontinue | dantrolene; bromocriptine; haloperidol; physostigmine
neuroleptic malignant syndrome | *lead-pipe rigidity, haloperidol fever rigidity, antipsychotic fever rigidity, elevated creatine kinase rigidity, hyperthermia rigidity olanzapine | dantrolene; bromocriptine; discontinue; cooling | cyproheptadine; haloperidol; physostigmine; benztropine
malignant hyperthermia | *succinylcholine rigidity, halothane fever, sevoflurane hyperthermia, masseter | dantrolene | cyproheptadine; bromocriptine; acetaminophen
acute dystonia | *torticollis haloperidol, neck spasm antipsychotic, oculogyric, muscle spasm metoclopramide | benztropine; diphenhydramine; trihexyphenidyl | dantrolene; propranolol; lorazepam first; haloperidol
akathisia | *inability sit still, restless haloperidol, pacing antipsychotic | propranolol; benztropine; reduce dose | increase haloperidol; dantrolene
tardive dyskinesia | *lip smacking, tongue movements antipsychotic, grimacing years antipsychotic | switch clozapine; valbenazine; discontinue; quetiapine | benztropine; increase dose
lithium toxicity; nephrogenic diabetes insipidus | *lithium tremor, lithium confusion, polyuria lithium, dilute urine unresponsive desmopressin | hemodialysis; amiloride; hydrochlorothiazide; lithium level; stop lithium | desmopressin; demeclocycline; ibuprofen
central diabetes insipidus | *urine osmolality rises desmopressin, polyuria after head trauma, hypernatremia dilute urine, polyuria pituitary surgery | desmopressin; water deprivation | hydrochlorothiazide; demeclocycline; fluid restriction
primary polydipsia | *psychiatric drinks water excessive, hyponatremia dilute urine schizophrenia | fluid restriction; water restriction | desmopressin; hypertonic saline
syndrome of inappropriate antidiuretic hormone; siadh | hyponatremia concentrated urine, *euvolemic hyponatremia, small cell hyponatremia, carbamazepine hyponatremia | fluid restriction; hypertonic saline; tolvaptan; demeclocycline | desmopressin; normal saline; furosemide alone
major depressive disorder | depressed mood weeks, anhedonia, loss of interest, insomnia guilt, weight loss suicidal, low energy concentration | sertraline; fluoxetine; escitalopram; citalopram; psychotherapy; electroconvulsive; bupropion | lithium; haloperidol; alprazolam; amitriptyline first
persistent depressive disorder; dysthymia | *two years depressed, low mood years, chronic low mood | sertraline; psychotherapy | lithium
bipolar disorder; mania | *decreased need sleep, grandiose, pressured speech, spending spree, elevated mood, flight ideas | lithium; valproate; quetiapine; olanzapine; risperidone | sertraline; fluoxetine alone; amitriptyline
schizophrenia | *months hallucinations, voices six months, delusions disorganized flat affect months, year hearing voices | risperidone; olanzapine; aripiprazole; haloperidol; clozapine after two | lithium; sertraline; alprazolam
schizophreniform disorder | *voices months less six, psychosis two months, psychosis three months, four months hearing voices | risperidone; olanzapine; antipsychotic | lithium
brief psychotic disorder | *psychosis days, voices one week, delusions two weeks stressor | risperidone; antipsychotic short | lithium
schizoaffective disorder | *psychosis without mood symptoms two weeks, mania hallucinations persist | risperidone; paliperidone | alprazolam
delusional disorder | *non-bizarre delusion, functioning otherwise, believes spouse unfaithful, poisoned belief | antipsychotic; risperidone | lithium
schizotypal personality disorder | *magical thinking, odd beliefs eccentric, clairvoyant, strange dress few friends | psychotherapy | clozapine
schizoid personality disorder | *prefers solitary, no desire relationships, detached content alone | psychotherapy | antipsychotic
avoidant personality disorder | *fear rejection, desires friends shy, feels inadequate | psychotherapy | antipsychotic
borderline personality disorder | *unstable relationships, self-cutting, fear abandonment, splitting, impulsive anger | dialectical behavior | alprazolam
generalized anxiety disorder | *worries everything, months worry, excessive worry, muscle tension irritability, difficulty relaxing | buspirone; sertraline; escitalopram; venlafaxine; paroxetine; cognitive behavioral | propranolol; alprazolam long; haloperidol
panic disorder | *sudden palpitations fear dying, panic attacks, episodes chest tightness doom | sertraline; paroxetine; cognitive behavioral; lorazepam acute; fluoxetine | buspirone; propranolol; cardiac catheterization
social anxiety disorder | *public speaking, performance anxiety, fear embarrassment, blushing | propranolol; sertraline; paroxetine; cognitive behavioral | buspirone; haloperidol
obsessive-compulsive disorder | *compulsions, washing hands repeatedly, intrusive thoughts, checking locks, counting rituals | fluoxetine; sertraline; fluvoxamine; clomipramine; exposure response | buspirone; lithium; alprazolam
post-traumatic stress disorder | *flashbacks, nightmares combat, hypervigilance, avoids reminders, month after trauma | sertraline; paroxetine; prazosin; psychotherapy; exposure | alprazolam; lorazepam; propranolol
acute stress disorder | *days after trauma, nightmares two weeks accident, flashbacks less month | cognitive behavioral; trauma-focused | alprazolam
adjustment disorder | *stressor months sad, after divorce tearful, job loss sad not meeting | psychotherapy; supportive | sertraline first; lithium
conversion disorder; functional neurologic disorder | *sudden paralysis stress, hoover sign, blindness argument, inconsistent neurologic exam, indifferent, seizure eyes closed | reassurance; education; psychotherapy; physical therapy | tissue plasminogen; antiepileptic; lorazepam
somatic symptom disorder | *multiple symptoms years doctors, excessive worry symptoms, many physicians tests | regular visits; regularly scheduled; primary care | further imaging; opioid; exploratory
illness anxiety disorder | *convinced serious disease normal tests, fears cancer minimal symptoms | regular visits; psychotherapy | further imaging
factitious disorder; munchausen | *insulin low c-peptide, healthcare worker unexplained, eager procedures, multiple hospital scars | psychotherapy; c-peptide | surgery
malingering | *compensation, lawsuit, wants opioids, secondary gain, military avoid | confront | surgery
anorexia nervosa | *fear gaining weight, low bmi amenorrhea, lanugo, bmi 16, restricts | nutritional; hospitalize; psychotherapy; olanzapine | bupropion; fluoxetine first
bulimia nervosa | *parotid enlargement, vomiting binge, calluses knuckles, dental erosion | fluoxetine; cognitive behavioral | bupropion
attention deficit hyperactivity disorder | *inattentive school, hyperactive, interrupts, forgetful homework, fidgets | methylphenidate; amphetamine; atomoxetine; behavioral | alprazolam; fluoxetine
tourette syndrome | *vocal tics, motor tics, throat clearing blinking | guanfacine; haloperidol; risperidone; clonidine; behavioral | methylphenidate
insomnia | difficulty falling asleep, insomnia, sleep hygiene | sleep hygiene; cognitive behavioral; zolpidem | diphenhydramine elderly; alprazolam
narcolepsy | *cataplexy, sleep attacks, hypnagogic, sleep paralysis | modafinil; sleep study | zolpidem
obstructive sleep apnea | *snoring, daytime sleepiness obese, morning headache, apneic episodes wife | polysomnography; continuous positive airway; weight loss | zolpidem; oxygen
restless legs syndrome | *urge move legs, legs crawling night, relief walking | pramipexole; ropinirole; ferritin; gabapentin; iron | levodopa first; haloperidol; zolpidem
acute coronary syndrome; myocardial infarction | substernal chest pain, st elevation, st-segment, troponin, radiates left arm, diaphoresis chest pain | aspirin; percutaneous coronary; catheterization; heparin; clopidogrel; beta blocker; metoprolol; electrocardiogram; nitroglycerin | nifedipine; thrombolysis nstemi; ibuprofen; prednisone
stable angina | exertional chest pain, relieved rest, chest pain climbing, nitroglycerin relieves | stress test; nitroglycerin; metoprolol; aspirin; statin; exercise | catheterization first; ct pulmonary
vasospastic angina; prinzmetal | *chest pain night rest young, transient st elevation, raynaud chest pain | diltiazem; amlodipine; nitroglycerin; calcium channel | propranolol; metoprolol; aspirin
right ventricular infarction | *inferior leads hypotension clear lungs, jugular distention inferior st, v4r | normal saline; fluid bolus; intravenous fluids | nitroglycerin; furosemide; morphine
pericarditis | *pain relieved leaning forward, friction rub, diffuse st elevation, pr depression, pleuritic chest pain | ibuprofen; colchicine; aspirin; indomethacin; nsaid | heparin; prednisone first; thrombolysis; catheterization
cardiac tamponade | *pulsus paradoxus, muffled heart, electrical alternans, jugular distention hypotension, equalization | pericardiocentesis; echocardiography; pericardial window; thoracotomy | furosemide; nitroglycerin; needle decompression
aortic dissection | *tearing chest pain, blood pressure differs arms, widened mediastinum, radiates back, marfan chest pain | ct angiography; esmolol; labetalol; transesophageal; surgical repair; nitroprusside after | heparin; aspirin; thrombolysis; nitroprusside first; hydralazine
abdominal aortic aneurysm | *pulsatile abdominal mass, back pain smoker hypotension, smoker 65 | ultrasound; surgical repair; ultrasonography; vascular surgery | ct if unstable; heparin; colonoscopy
aortic stenosis | *crescendo-decrescendo, syncope exertion, radiates carotids, delayed carotid, systolic murmur second intercostal right | valve replacement; echocardiography; transcatheter | nitroglycerin; vasodilator; balloon adult; exercise test
bicuspid aortic valve | young systolic ejection click, *ejection click, turner murmur, coarctation murmur | echocardiography; valve replacement | catheterization
aortic regurgitation; aortic insufficiency | *bounding pulses, wide pulse pressure, diastolic decrescendo, early diastolic | valve replacement; nifedipine; ace inhibitor; echocardiography | beta blocker; balloon pump
mitral stenosis | *opening snap, diastolic rumble, rheumatic fever childhood, dyspnea pregnancy murmur | balloon valvotomy; echocardiography; diuretic; beta blocker | digoxin alone
mitral regurgitation; mitral insufficiency; mitral valve regurgitation | *holosystolic apex, radiates axilla, blowing systolic apex | echocardiography; valve repair; ace inhibitor; surgery | balloon; beta blocker alone
mitral valve prolapse | *midsystolic click, mid-systolic click, late systolic murmur | reassurance; echocardiography; beta blocker | antibiotic prophylaxis; surgery
hypertrophic cardiomyopathy | *murmur increases valsalva, athlete collapsed, sudden death family, murmur decreases squatting, asymmetric septal | metoprolol; beta blocker; verapamil; avoid sports; implantable defibrillator; echocardiography | nitroglycerin; diuretic; digoxin; furosemide; amlodipine; ramipril; nifedipine; enalapril; isosorbide
heart failure | orthopnea, bilateral crackles edema, *s3, reduced ejection, paroxysmal nocturnal dyspnea, jugular edema | furosemide; lisinopril; ace inhibitor; metoprolol succinate; carvedilol; spironolactone; echocardiography; bnp | verapamil; diltiazem; ibuprofen; rosiglitazone; pioglitazone; metoprolol acute
atrial fibrillation | *irregularly irregular, palpitations irregular, absent p waves | metoprolol; diltiazem; anticoagulation; warfarin; apixaban; cardioversion unstable; rate control | adenosine; lidocaine; aspirin alone; atropine
supraventricular tachycardia; paroxysmal supraventricular tachycardia | *narrow complex regular tachycardia, sudden palpitations 180, narrow qrs tachycardia | vagal; adenosine; carotid massage; valsalva | amiodarone first; defibrillation; lidocaine; digoxin
wolff-parkinson-white syndrome | *delta wave, short pr | procainamide; ablation; ibutilide; cardioversion | adenosine; verapamil; digoxin; diltiazem; metoprolol
ventricular tachycardia | wide complex tachycardia, *wide qrs tachycardia, monomorphic | amiodarone; synchronized cardioversion; procainamide; lidocaine | verapamil; adenosine; unsynchronized
ventricular fibrillation; pulseless ventricular tachycardia | *no pulse, pulseless, unresponsive no pulse, chaotic | defibrillation; unsynchronized; cardiopulmonary resuscitation; epinephrine; chest compressions | synchronized; adenosine; atropine
torsades de pointes | *prolonged qt, polymorphic ventricular, twisting | magnesium; defibrillation | amiodarone; procainamide; sotalol
bradycardia; heart block; sick sinus | bradycardia dizziness, third-degree, *dissociation p waves, mobitz, pauses | pacemaker; atropine; transcutaneous pacing | beta blocker; adenosine; metoprolol
hypertensive emergency | *blood pressure papilledema, severe hypertension encephalopathy, severe hypertension kidney injury | nicardipine; labetalol; nitroprusside; clevidipine | oral nifedipine; sublingual
essential hypertension | elevated blood pressure repeated, high blood pressure asymptomatic, hypertension diabetes | hydrochlorothiazide; lisinopril; amlodipine; chlorthalidone; lifestyle; losartan | clonidine first; hydralazine; propranolol first
renal artery stenosis; fibromuscular dysplasia | *abdominal bruit, young woman hypertension, string of beads, creatinine rises lisinopril, resistant hypertension smoker | angioplasty; ct angiography; duplex; ramipril unilateral; angiotensin | lisinopril bilateral; aortorenal bypass first; stent young
primary aldosteronism; conn syndrome | *hypertension hypokalemia, low renin, adrenal adenoma hypokalemia | spironolactone; eplerenone; aldosterone renin; adrenalectomy; adrenal vein | hydrochlorothiazide; furosemide; lisinopril
pheochromocytoma | *episodic headache palpitations sweating, metanephrines, paroxysmal hypertension | phenoxybenzamine; metanephrines; adrenalectomy after; prazosin | propranolol first; beta blocker first; metoprolol; biopsy
infective endocarditis | *janeway, new murmur fever, intravenous drug murmur, splinter hemorrhages, osler, vegetations, roth | blood cultures; vancomycin; echocardiography; ceftriaxone gentamicin | oral antibiotics; warfarin; prednisone
acute rheumatic fever | *migratory arthritis, erythema marginatum, sore throat weeks ago chorea, subcutaneous nodules | penicillin; aspirin; benzathine | ceftriaxone; methotrexate
deep vein thrombosis | *calf swelling, unilateral leg swelling, leg swelling flight, leg pain surgery immobile | heparin; rivaroxaban; apixaban; compression ultrasonography; dalteparin; enoxaparin; duplex; warfarin | thrombolysis; embolectomy; filter first; aspirin
pulmonary embolism | *pleuritic chest pain immobile, sudden dyspnea tachycardia, dyspnea after surgery, hemoptysis leg swelling, oral contraceptive dyspnea | ct angiography; heparin; enoxaparin; anticoagulation; rivaroxaban; ventilation perfusion | thrombolysis stable; d-dimer high; aspirin
acute limb ischemia; arterial embolism | *pulseless cold leg, pallor leg sudden, inaudible arterial, atrial fibrillation cold leg | heparin; embolectomy; thrombectomy; surgical revascularization | amputation viable; warfarin; compression; cilostazol
peripheral arterial disease; claudication | *calf pain walking relieved rest, ankle-brachial, diminished pedal pulses, hair loss leg | exercise; cilostazol; aspirin; statin; ankle-brachial; smoking cessation | bypass first; heparin; amputation; propranolol
raynaud phenomenon | *fingers white blue cold, color change fingers | nifedipine; amlodipine; avoid cold; antinuclear antibody | propranolol; heparin
anaphylaxis | *hives hypotension, wheezing urticaria, bee sting, peanut throat, swelling lips stridor | epinephrine; intramuscular epinephrine | diphenhydramine first; methylprednisolone first; intravenous epinephrine first
septic shock | hypotension fever lactate, *unresponsive fluids hypotension, warm extremities hypotension, sepsis | norepinephrine; intravenous fluids; broad-spectrum; vancomycin; blood cultures; crystalloid | dopamine; phenylephrine first; hydroxyethyl starch; albumin first; dobutamine first
hemorrhagic shock | *trauma hypotension tachycardia, stab hypotension, flat neck veins, blood loss | packed red blood cells; transfusion; intravenous fluids; massive transfusion 1:1:1; laparotomy | norepinephrine; hydroxyethyl starch; dopamine; ct unstable
asthma | wheezing, *expiratory wheezing episodic, cough night exercise, eczema cough, cold air cough | albuterol; inhaled corticosteroid; fluticasone; montelukast; beclomethasone; spirometry; methacholine; prednisone | propranolol; salmeterol alone; theophylline first; omalizumab first; azithromycin
aspirin-exacerbated respiratory disease | *nasal polyps asthma, aspirin wheezing polyps | montelukast; zileuton; avoid aspirin; desensitization | omalizumab first; ibuprofen
status asthmaticus | *silent chest, normal co2 asthma, drowsy asthma, cannot speak sentences wheezing | intubation; magnesium; albuterol ipratropium; methylprednisolone | sedation without; theophylline; montelukast
chronic obstructive pulmonary disease; copd | smoker cough sputum, *barrel chest, prolonged expiration, pack-year dyspnea, reduced fev1 | tiotropium; albuterol; smoking cessation; prednisone exacerbation; azithromycin; noninvasive ventilation; bipap; oxygen | propranolol; montelukast; high-flow oxygen
community-acquired pneumonia | productive cough fever, *lobar consolidation, crackles fever, egophony, rust-colored | azithromycin; ceftriaxone; doxycycline; chest x-ray; levofloxacin; amoxicillin | vancomycin first; isoniazid; metronidazole
legionella pneumonia | *hyponatremia diarrhea pneumonia, cruise pneumonia, air conditioning, confusion diarrhea cough | azithromycin; levofloxacin; urine antigen | ceftriaxone alone; vancomycin; amoxicillin
mycoplasma pneumonia | *interstitial infiltrates young, dry cough college, cold agglutinins, bullous myringitis | azithromycin; doxycycline | amoxicillin; ceftriaxone; penicillin
pneumocystis pneumonia | *bilateral ground-glass hiv, cd4 dry cough, hypoxia hiv diffuse interstitial, lactate dehydrogenase hiv | trimethoprim-sulfamethoxazole; prednisone; bronchoalveolar | azithromycin; ceftriaxone; isoniazid
aspiration pneumonia; lung abscess | *foul-smelling sputum, alcoholic cavity, right lower lobe poor dentition, air-fluid level lung | clindamycin; ampicillin-sulbactam; amoxicillin-clavulanate | metronidazole alone; vancomycin; isoniazid
tuberculosis | *night sweats cavitary, upper lobe cavity, hemoptysis immigrant, acid-fast, weight loss cough prison | rifampin isoniazid pyrazinamide ethambutol; sputum; isolation; airborne | isoniazid alone active; ceftriaxone; levofloxacin first
latent tuberculosis | *positive tuberculin skin normal chest, induration normal x-ray, ppd positive asymptomatic | isoniazid; rifampin; chest x-ray; pyridoxine | four-drug; repeat; quantiferon after
pleural empyema; complicated parapneumonic effusion | *ph 7.1 pleural, loculated, low glucose pleural, pus pleural | chest tube; tube thoracostomy; drainage; antibiotics | decortication first; thoracentesis repeat; observation
pleural effusion | dullness percussion decreased breath, decreased fremitus | thoracentesis; diuretic | chest tube first
tension pneumothorax | *tracheal deviation, absent breath sounds hypotension, hyperresonance jugular distention | needle decompression; needle thoracostomy; chest tube; thoracostomy | chest x-ray first; ct; pericardiocentesis; intubation first
spontaneous pneumothorax | *tall thin smoker, sudden unilateral chest pain tall, hyperresonance young | oxygen; observation small; chest tube; needle aspiration | heparin; antibiotics
bronchial rupture | *persistent air leak, pneumomediastinum trauma, subcutaneous emphysema chest tube fails | bronchoscopy; surgical repair | observation
acute respiratory distress syndrome | *bilateral infiltrates hypoxia refractory, pancreatitis hypoxia, pao2 fio2, normal wedge | low tidal volume; peep; mechanical ventilation; prone | high tidal; diuretic first; antibiotics only
pulmonary fibrosis; idiopathic pulmonary fibrosis | *honeycombing, velcro, inspiratory crackles clubbing, restrictive, bleomycin dyspnea, radiotherapy dyspnea, amiodarone dyspnea | high-resolution ct; nintedanib; pirfenidone; transplant | azithromycin; albuterol; furosemide
sarcoidosis | *bilateral hilar, noncaseating, erythema nodosum, hypercalcemia hilar, uveitis hilar | prednisone; corticosteroid; biopsy; chest x-ray | isoniazid; amphotericin; methotrexate first
lung cancer; small cell lung cancer | weight loss smoker hemoptysis, *lung mass smoker, central mass | ct chest; biopsy; cisplatin-etoposide; chemotherapy radiation; resection; lobectomy | resection small cell; observation; antibiotics
adenocarcinoma of the lung; non-small cell lung cancer | *peripheral mass nonsmoker, nodule spiculated, lobe adenocarcinoma | lobectomy; resection; biopsy; pulmonary function | cisplatin-etoposide first; radiation alone
pulmonary hamartoma | *popcorn calcification, incidental coin lesion calcified | reassurance; observation; ct; no further | lobectomy; chemotherapy
superior vena cava syndrome | *facial swelling plethora, arms swelling mediastinal mass, dilated neck veins facial | ct chest; radiation; stent; steroids | furosemide; heparin
granulomatosis with polyangiitis | *saddle nose, sinusitis hematuria hemoptysis, c-anca, proteinase 3, nasal crusting perforation | cyclophosphamide; rituximab; corticosteroid; anca | plasmapheresis alone; antibiotics; methotrexate
eosinophilic granulomatosis with polyangiitis; churg-strauss syndrome | *asthma eosinophilia, eosinophilia neuropathy wheezing, foot drop asthma, p-anca asthma | corticosteroid; prednisone; cyclophosphamide | montelukast; albendazole
goodpasture syndrome; anti-glomerular basement membrane disease | *linear immunofluorescence, hemoptysis hematuria young man, anti-gbm | plasmapheresis; cyclophosphamide; corticosteroid | rituximab alone; antibiotics
polyarteritis nodosa | *hepatitis b vasculitis, livedo mesenteric aneurysms, microaneurysms | cyclophosphamide; corticosteroid; angiography | plasmapheresis
takayasu arteritis | *absent pulses young woman, weak pulses asian, pulseless | corticosteroid; angiography | heparin
systemic lupus erythematosus | *malar rash, photosensitive rash arthritis, anti-ds, oral ulcers joint pain, discoid, antinuclear antibody rash | hydroxychloroquine; antinuclear antibody; anti-dsdna; corticosteroid | isoniazid; methotrexate first; allopurinol
antiphospholipid syndrome | *recurrent miscarriages, prolonged partial thromboplastin thrombosis, false positive vdrl, anticardiolipin | heparin; aspirin; warfarin; lupus anticoagulant | vitamin k; plasma; rivaroxaban
rheumatoid arthritis | *morning stiffness hour, symmetric joint, metacarpophalangeal swelling, anti-ccp, rheumatoid nodules | methotrexate; hydroxychloroquine; etanercept; anti-ccp; nsaid bridge | allopurinol; colchicine; azathioprine first; opioid
osteoarthritis | *worse activity joint elderly, crepitus knee, heberden, joint space narrowing osteophytes, stiffness minutes | acetaminophen; ibuprofen; weight loss; exercise; physical therapy; intra-articular; topical diclofenac | methotrexate; allopurinol; arthroscopy; opioids
gout | *great toe, first metatarsophalangeal, negatively birefringent, tophi, beer joint pain | indomethacin; colchicine; naproxen; prednisone; allopurinol chronic; arthrocentesis | allopurinol acute; aspirin; hydrochlorothiazide; vancomycin
pseudogout; calcium pyrophosphate | *positively birefringent, chondrocalcinosis, rhomboid, hemochromatosis knee | nsaid; colchicine; intra-articular corticosteroid; arthrocentesis | allopurinol; febuxostat
septic arthritis | *joint hot fever unable bear, synovial leukocyte 50, purulent synovial, refuses walk fever | arthrocentesis; vancomycin; irrigation; drainage; ceftriaxone | corticosteroid injection; observation; nsaid; colchicine
prosthetic joint infection | *hip replacement pain fever, prosthesis loosening, knee replacement drainage | debridement; removal; arthrocentesis; staphylococcus epidermidis | oral antibiotic alone
osteomyelitis | *bone tenderness fever, probe to bone, sickle cell bone pain fever, foot ulcer bone | mri; bone biopsy; vancomycin; debridement; salmonella sickle; staphylococcus aureus | x-ray alone; topical; corticosteroid
ankylosing spondylitis | *back stiffness improves exercise, sacroiliac, bamboo, young man back morning, hla-b27, schober | nsaid; indomethacin; x-ray sacroiliac; infliximab; etanercept; physical therapy | bed rest; mri lumbar surgery; prednisone; methotrexate
reactive arthritis | *urethritis conjunctivitis arthritis, can't see pee, chlamydia knee, keratoderma | nsaid; indomethacin; doxycycline | methotrexate; allopurinol; vancomycin
polymyalgia rheumatica | *shoulder hip stiffness elderly, difficulty raising arms morning, elevated sedimentation girdle | prednisone; low-dose corticosteroid | creatine kinase; statin; biopsy muscle
polymyositis; dermatomyositis | *heliotrope, gottron, proximal weakness elevated creatine kinase, difficulty climbing stairs elevated ck, anti-jo | corticosteroid; muscle biopsy; malignancy screening; methotrexate | pyridostigmine; statin; levothyroxine
fibromyalgia | *tender points, widespread pain fatigue normal, trigger points sleep | exercise; amitriptyline; duloxetine; pregabalin; milnacipran | prednisone; opioid; methotrexate; nsaid alone
systemic sclerosis; scleroderma; crest syndrome | *sclerodactyly, skin tightening, calcinosis, telangiectasia raynaud, anti-centromere, dysphagia raynaud | ace inhibitor renal crisis; captopril; nifedipine; omeprazole; antinuclear | prednisone high; propranolol
sjogren syndrome | *dry eyes dry mouth, parotid swelling dry, anti-ro, dental caries dry | artificial tears; pilocarpine; schirmer | atropine; amitriptyline; diphenhydramine
osteoporosis | *vertebral compression postmenopausal, t-score, hip fracture thin, height loss | alendronate; bisphosphonate; dexa; calcium vitamin d; denosumab | estrogen first; raloxifene male; observation
osteomalacia | *low phosphate bone pain adult, low vitamin d elevated alkaline phosphatase, looser, celiac bone | vitamin d; ergocalciferol; calcium | alendronate; calcitonin
paget disease of bone | *hat size, isolated alkaline phosphatase, bowing hearing loss, mosaic bone | alendronate; zoledronic; bisphosphonate | calcium; vitamin d alone
gastroesophageal reflux disease; gerd | *heartburn, burning after meals lying, regurgitation sour, hoarse throat clearing, chronic cough lying, asthma nocturnal obese hoarse | omeprazole; pantoprazole; proton pump; esomeprazole; endoscopy alarm; weight loss | echocardiogram; barium; fundoplication first; metoclopramide; sucralfate; antibiotics
peptic ulcer disease; helicobacter pylori | *epigastric pain relieved food, epigastric nsaid, urea breath, melena epigastric | omeprazole; clarithromycin amoxicillin; endoscopy; urea breath; stool antigen | surgery; sucralfate alone; ibuprofen; aspirin
perforated ulcer; perforated viscus | *free air, rigid abdomen, air under diaphragm, sudden severe abdominal rigidity | exploratory laparotomy; laparotomy; surgery; chest x-ray upright | endoscopy; barium; observation; colonoscopy
esophageal varices; variceal bleeding | *hematemesis cirrhosis, vomiting blood alcohol ascites, spider angiomata hematemesis | octreotide; endoscopic ligation; ceftriaxone; band; propranolol prophylaxis; balloon tamponade | nitroglycerin; surgery first; tips first; vasopressin
mallory-weiss tear | *vomiting retching then blood, binge vomiting hematemesis | supportive; endoscopy; observation | balloon tamponade; surgery
boerhaave syndrome; esophageal perforation | *vomiting chest pain crepitus, subcutaneous emphysema vomiting, pneumomediastinum retching | water-soluble esophagram; gastrografin; surgery; ct | endoscopy; barium first; observation
achalasia | *bird beak, dysphagia solids liquids, absent peristalsis manometry, regurgitates undigested | manometry; pneumatic dilation; myotomy; endoscopy | omeprazole; nifedipine first; botulinum young
esophageal cancer | *progressive dysphagia solids, weight loss dysphagia smoker | endoscopy biopsy; esophagogastroduodenoscopy; ct staging; chemoradiotherapy | manometry; omeprazole trial; ph monitoring
eosinophilic esophagitis | *food impaction, rings esophagus, allergies dysphagia young | fluticasone swallowed; budesonide; proton pump; elimination | dilation first; nystatin
celiac disease | *dermatitis herpetiformis, bloating diarrhea iron deficiency, tissue transglutaminase, villous atrophy, steatorrhea | gluten-free; tissue transglutaminase; biopsy; dapsone | prednisone; antibiotics; lactose
lactose intolerance | *bloating milk, diarrhea dairy, hydrogen breath | avoid dairy; lactase; lactose-free; eliminate dairy | gluten-free; rifaximin; loperamide
irritable bowel syndrome | *abdominal pain relieved defecation, alternating constipation diarrhea, bloating young woman no blood | dietary; rifaximin; dicyclomine; loperamide; fiber; reassurance; fodmap | colonoscopy; prednisone; mesalamine; ct; antibiotics
crohn disease | *skip lesions, terminal ileum, perianal fistula, cobblestone, transmural, aphthous ulcers diarrhea | prednisone; budesonide; infliximab; azathioprine; colonoscopy; mesalamine | colectomy; sulfasalazine only
ulcerative colitis | *bloody diarrhea urgency, crypt abscess, continuous rectum, tenesmus bloody, sclerosing cholangitis colitis | mesalamine; sulfasalazine; corticosteroid; colonoscopy; colectomy | loperamide; antibiotics; surgery first
toxic megacolon | *dilated colon fever, colonic distention bloody diarrhea | bowel rest; corticosteroid; surgery; nasogastric | colonoscopy; barium; loperamide; opioid
clostridioides difficile; clostridium difficile colitis | *diarrhea after antibiotics, clindamycin diarrhea, pseudomembran, hospital watery diarrhea leukocytosis | vancomycin oral; fidaxomicin; metronidazole; toxin assay; discontinue | loperamide; intravenous vancomycin; ciprofloxacin
diverticulitis | *left lower quadrant fever, left lower quadrant tenderness, constipation left lower quadrant | ct abdomen; ciprofloxacin metronidazole; bowel rest; ct-guided drainage; percutaneous drainage abscess; amoxicillin-clavulanate | colonoscopy; barium; laparoscopic drainage first; sigmoidoscopy; surgery first
diverticulosis; diverticular bleeding | *painless hematochezia, painless rectal bleeding elderly | colonoscopy; fluids | antibiotics; ct-guided
appendicitis | *right lower quadrant, mcburney, periumbilical migrates, psoas, rovsing, anorexia migrat | appendectomy; ct abdomen; ultrasound child; surgery | colonoscopy; observation; antibiotics alone; barium
cholecystitis; acute cholecystitis | *murphy, right upper quadrant fever, gallbladder wall thickening, pericholecystic | ultrasonography; cholecystectomy; antibiotics | ercp first; colonoscopy; ursodiol
acalculous cholecystitis | *icu right upper quadrant, critically ill gallbladder no stones, burn gallbladder distended | percutaneous cholecystostomy; antibiotics; ultrasonography | ercp; ursodiol; elective
biliary colic; cholelithiasis; cholecystolithiasis | *fatty meal right upper quadrant, gallstones, postprandial right upper pain resolves | ultrasonography; elective cholecystectomy | antibiotics; ercp; ct
choledocholithiasis | *dilated common bile duct, jaundice right upper quadrant stones, elevated alkaline phosphatase direct bilirubin | ercp; magnetic resonance cholangiopancreatography; cholecystectomy | liver biopsy; observation
cholangitis; ascending cholangitis | *fever jaundice right upper quadrant, charcot, reynolds, confusion hypotension jaundice | ercp; antibiotics; biliary drainage; piperacillin | cholecystectomy first; observation; hida
acute pancreatitis | *epigastric radiating back, lipase, amylase, alcohol epigastric vomiting, gallstones epigastric back | intravenous fluids; analgesia; nothing by mouth; fluids; lipase; ultrasonography | antibiotics; laparotomy; ercp routine; ct immediate
chronic pancreatitis | *pancreatic calcifications, steatorrhea alcohol, chronic epigastric alcohol | pancreatic enzyme; alcohol cessation; ct | opioid; surgery first; gluten
pancreatic cancer | *painless jaundice, courvoisier, weight loss jaundice, palpable gallbladder, migratory thrombophlebitis | ct abdomen; whipple; pancreaticoduodenectomy; endoscopic ultrasound | cholecystectomy; liver biopsy; ursodiol
pancreatic ductal injury; pancreatic injury | *handlebar, epigastric blunt trauma amylase, steering wheel epigastric | ct abdomen; ercp | observation
primary biliary cholangitis | *pruritus middle-aged woman, antimitochondrial, xanthelasma pruritus fatigue | ursodeoxycholic; ursodiol; antimitochondrial; cholestyramine | cholecystectomy; corticosteroid; ercp; methotrexate
primary sclerosing cholangitis | *beading, ulcerative colitis alkaline phosphatase, onion-skin | mrcp; transplant; cholangiopancreatography | ursodiol; corticosteroid
hepatic encephalopathy | *asterixis, cirrhosis confusion, ammonia, flapping | lactulose; rifaximin; correct potassium | protein restriction; lorazepam; haloperidol; neomycin first; diazepam
spontaneous bacterial peritonitis | *ascites fever abdominal pain, neutrophils 250 ascitic, cirrhosis abdominal tenderness fever | paracentesis; cefotaxime; ceftriaxone; albumin | laparotomy; vancomycin; ct; diuretic
cirrhosis; ascites | spider angiomata, ascites, gynecomastia alcohol, caput, palmar erythema | spironolactone; furosemide; paracentesis; screening ultrasound; endoscopy; propranolol | ibuprofen; tips first; biopsy
hemochromatosis | *bronze skin, diabetes hepatomegaly arthropathy, elevated ferritin transferrin saturation, hyperpigment diabetes | phlebotomy; ferritin; hfe; deferoxamine | iron supplementation; penicillamine; transfusion
wilson disease | *kayser-fleischer, low ceruloplasmin, liver young psychiatric tremor, dysarthria hepat young | penicillamine; trientine; zinc; ceruloplasmin | phlebotomy; deferoxamine; levodopa
hepatitis a | *travel jaundice shellfish, raw oysters jaundice, igm hepatitis a | supportive; vaccine | interferon; lamivudine
hepatitis b | *hbsag, surface antigen, intravenous drug jaundice, needle stick unvaccinated | immunoglobulin vaccine exposure; tenofovir; entecavir; hepatitis b immunoglobulin; vaccine | interferon acute; ribavirin
hepatitis c | *intravenous drug elevated transaminases, hepatitis c, transfusion before, cryoglobulinemia | sofosbuvir; hepatitis c antibody; ledipasvir | lamivudine; vaccine; immunoglobulin
autoimmune hepatitis | *anti-smooth muscle, young woman transaminases autoimmune | prednisone; azathioprine | ursodiol; interferon
hepatocellular carcinoma | *alpha-fetoprotein, cirrhosis mass, arterial enhancement | alpha-fetoprotein; ct; resection; transplant; ultrasound six months | biopsy first
hepatic cavernous hemangioma; cavernous hemangioma | *peripheral nodular enhancement, centripetal, incidental hyperechoic liver | observation; reassurance; mri | biopsy; resection
focal nodular hyperplasia | *central scar, stellate | observation; reassurance | resection
hepatic adenoma | *oral contraceptive liver mass, anabolic steroid liver | discontinue oral contraceptive; resection | biopsy
acute mesenteric ischemia | *pain out of proportion, atrial fibrillation abdominal pain, lactate abdominal | ct angiography; laparotomy; embolectomy; heparin | colonoscopy; barium; observation
chronic mesenteric ischemia | *postprandial pain weight loss smoker, food fear | ct angiography; angiography; revascularization | cholecystectomy; colonoscopy
small bowel obstruction | *air-fluid levels, prior surgery distention vomiting, high-pitched bowel, obstipation | nasogastric decompression; fluids; laparotomy peritonitis; ct | colonoscopy; metoclopramide; laxative
sigmoid volvulus | *coffee bean, nursing home distention, bent inner tube | sigmoidoscopy; flexible; detorsion; resection peritonitis | barium; metoclopramide
colorectal cancer; colon cancer | *iron deficiency elderly man, change stool caliber, weight loss hematochezia, occult blood | colonoscopy; resection; ct staging; cea | iron alone; reassurance; sigmoidoscopy; barium
hemorrhoids; thrombosed hemorrhoid | *painless bright red blood straining, perianal lump, blood toilet paper | fiber; sitz bath; conservative; excision thrombosed; band | colonoscopy young; antibiotics; incision drainage
anal fissure | *painful defecation tear, severe pain bowel movement blood | sitz bath; stool softener; nitroglycerin topical; nifedipine topical; fiber | incision drainage; sphincterotomy first; band
perianal abscess; perirectal abscess; pilonidal | *fluctuant mass anal, throbbing perianal fever, natal cleft, gluteal cleft | incision and drainage; drainage | sitz bath; antibiotics alone; observation; fiber
carcinoid syndrome; carcinoid tumor | *flushing diarrhea, 5-hydroxyindoleacetic, tricuspid flushing, wheezing flushing | octreotide; 5-hydroxyindoleacetic; ct; niacin | loperamide; propranolol
vipoma | *watery diarrhea hypokalemia achlorhydria, secretory diarrhea pancreatic | octreotide; vip level | omeprazole
zollinger-ellison syndrome; gastrinoma | *multiple ulcers, gastrin, ulcers jejunum diarrhea, secretin | gastrin level; omeprazole; resection | sucralfate; antibiotics
whipple disease | *pas-positive, arthralgia diarrhea lymphadenopathy, tropheryma | ceftriaxone; trimethoprim-sulfamethoxazole | gluten-free
tropical sprue | *tropical travel months diarrhea megaloblastic, caribbean steatorrhea | tetracycline; folate | gluten-free
diabetic ketoacidosis | *fruity breath, kussmaul, ketones glucose, anion gap glucose, type 1 vomiting | intravenous insulin; normal saline; potassium; fluids | bicarbonate; subcutaneous insulin; metformin; glucagon
hyperosmolar hyperglycemic state | *glucose 900, type 2 confusion polyuria osmolality, glucose without ketones, blurry vision confused hyperglycemia | normal saline; insulin; fluids | bicarbonate; metformin; glucagon; desmopressin
hypoglycemia; insulinoma | *whipple, low glucose relieved eating, high c-peptide, glucose 38, diaphoresis tremor glucose low | dextrose; glucose; glucagon; c-peptide; sulfonylurea screen; juice | insulin; octreotide first; metformin
type 2 diabetes mellitus | hemoglobin a1c, polyuria obese, acanthosis, fasting glucose | metformin; lifestyle; statin; foot exam; eye exam; empagliflozin; liraglutide; influenza vaccine; pneumococcal | insulin first; glyburide first; rosiglitazone
diabetic gastroparesis; gastroparesis | *early satiety diabetes, bloating vomiting undigested diabetes, delayed gastric | metoclopramide; erythromycin; small meals; gastric emptying | loperamide; omeprazole; ondansetron alone; amitriptyline
diabetic neuropathy | *burning feet diabetes, stocking, decreased vibration diabetes, pins needles feet | pregabalin; gabapentin; duloxetine; amitriptyline | opioid; carbamazepine; riluzole
hypothyroidism; hashimoto thyroiditis | *cold intolerance, weight gain fatigue constipation, elevated tsh, dry skin hair, delayed reflexes | levothyroxine; tsh; thyroid-stimulating hormone | methimazole; liothyronine; radioactive; selenium
myxedema coma | *hypothermia bradycardia hypothyroid, obtunded thyroidectomy | levothyroxine intravenous; hydrocortisone | propranolol; methimazole
hyperthyroidism; graves disease | *exophthalmos, heat intolerance weight loss, proptosis, tremor palpitations weight, low tsh, pretibial | methimazole; propranolol; radioactive iodine; propylthiouracil pregnancy; thyroidectomy; tsh | levothyroxine; methimazole first trimester; radioiodine pregnancy
thyroid storm | *fever tachycardia delirium hyperthyroid, graves surgery fever | propranolol; propylthiouracil; hydrocortisone; iodine after | aspirin; radioactive; levothyroxine
subacute thyroiditis; de quervain thyroiditis | *painful thyroid, tender goiter after viral, low uptake tender | aspirin; ibuprofen; nsaid; prednisone; propranolol | methimazole; radioactive; levothyroxine; thyroidectomy
thyroid nodule; thyroid cancer | *thyroid nodule, cold nodule, firm nodule thyroid, psammoma | tsh; fine-needle; ultrasound; thyroidectomy | radioactive iodine first; levothyroxine suppress; core; scintigraphy first
medullary thyroid cancer; multiple endocrine neoplasia | *calcitonin, ret, marfanoid mucosal neuroma, amyloid thyroid | metanephrines; thyroidectomy; ret testing | radioactive
cushing syndrome | *purple striae, moon face, buffalo hump, central obesity proximal weakness, easy bruising striae | dexamethasone suppression; 24-hour urine cortisol; late-night cortisol | metanephrine; fludrocortisone; ct first
adrenal insufficiency; addison disease; adrenal crisis | *hyperpigmentation hypotension, hyponatremia hyperkalemia fatigue, salt craving, abrupt steroid stop hypotension, cosyntropin | hydrocortisone; fludrocortisone; cosyntropin; acth stimulation; dexamethasone suspected | dexamethasone alone; norepinephrine; spironolactone; ketoconazole
hyperparathyroidism; primary hyperparathyroidism | *hypercalcemia stones, elevated pth calcium, kidney stones constipation bone pain, subperiosteal | parathyroidectomy; pth; sestamibi; cinacalcet | hydrochlorothiazide; calcium; bisphosphonate first; vitamin d
hypocalcemia; hypoparathyroidism | *perioral numbness, chvostek, trousseau, tingling after thyroidectomy, carpopedal, prolonged qt tetany | calcium gluconate; calcium; vitamin d; magnesium; calcitriol | bisphosphonate; furosemide; calcitonin
hypercalcemia of malignancy; humoral hypercalcemia | *cancer hypercalcemia confusion, low pth calcium, squamous calcium, pthrp | normal saline; zoledronic; bisphosphonate; calcitonin; pamidronate; fluids | hydrochlorothiazide; parathyroidectomy; furosemide first
hyperkalemia | *peaked t waves, potassium 7, wide qrs potassium | calcium gluconate; insulin glucose; hemodialysis; albuterol | polystyrene first; spironolactone; furosemide alone; succinylcholine
hypokalemia | u waves, muscle weakness diuretic, *potassium 2 | potassium chloride; magnesium | furosemide; insulin; bicarbonate
acromegaly | *ring size, shoe size, large hands jaw, igf-1, frontal bossing | igf-1; transsphenoidal; octreotide; mri | cabergoline first; dexamethasone
prolactinoma; hyperprolactinemia | *galactorrhea amenorrhea, prolactin, bitemporal milky, decreased libido prolactin | cabergoline; bromocriptine; mri; prolactin; tsh; pregnancy test | surgery first; levodopa; estrogen; carbidopa
hypopituitarism; sheehan syndrome | *postpartum hemorrhage no lactation, failure lactate, amenorrhea after hemorrhage | hydrocortisone; levothyroxine after; mri | levothyroxine first; cabergoline; bromocriptine
klinefelter syndrome | *small testes tall, gynecomastia infertility tall, 47 | testosterone; karyotype | cabergoline
acute kidney injury; prerenal azotemia | *bun creatinine ratio, fractional sodium less, hypovolemia creatinine, dehydrated creatinine | normal saline; fluids; discontinue nsaid | dialysis; furosemide; contrast
acute tubular necrosis | *muddy brown, granular casts, contrast creatinine, hypotension creatinine casts, aminoglycoside creatinine | supportive; fluids | prednisone; biopsy; dialysis first
acute interstitial nephritis; tubulointerstitial nephritis | *eosinophils urine, white cell casts rash, rash fever creatinine drug, antibiotic rash creatinine, nsaid eosinophilia | discontinue; prednisone | ceftriaxone; dialysis; continue
nephrotic syndrome; minimal change disease | *effacement, child edema proteinuria, periorbital edema frothy, fatty casts, after infection edema child | prednisone; corticosteroid | cyclophosphamide first; antibiotic; biopsy child
membranous nephropathy | *subepithelial spike, hepatitis b proteinuria adult, adult nephrotic cancer, phospholipase a2 | ace inhibitor; rituximab; biopsy | antibiotics
focal segmental glomerulosclerosis | *hiv nephrotic, heroin nephrotic, african-american nephrotic, obese nephrotic | ace inhibitor; corticosteroid; biopsy | antibiotics
iga nephropathy | *hematuria days after upper respiratory, synpharyngitic, gross hematuria during cold | ace inhibitor; supportive | penicillin; cyclophosphamide first
poststreptococcal glomerulonephritis | *weeks after sore throat hematuria, cola-colored, low c3 hematuria, impetigo weeks hematuria, red cell casts child, antistreptolysin | supportive; furosemide; antihypertensive; diuretic | prednisone; cyclophosphamide; dialysis; plasmapheresis
alport syndrome | *hearing loss hematuria, basket weave | ace inhibitor | prednisone
polycystic kidney disease | *bilateral flank masses, enlarged kidneys hypertension family, berry aneurysm kidneys | ace inhibitor; lisinopril; ultrasound; tolvaptan | nephrectomy; antibiotics
nephrolithiasis; kidney stone; ureteral stone | *flank pain radiating groin, colicky flank, hematuria flank, writhing | ct without contrast; tamsulosin; fluids; ketorolac; hydration; lithotripsy; hydrochlorothiazide prevention | low calcium diet; surgery small; antibiotics; furosemide
pyelonephritis | *costovertebral tenderness fever, flank pain fever, white cell casts bacteria | ceftriaxone; ciprofloxacin; urine culture; hospital pregnancy | nitrofurantoin; ct first; observation
cystitis; urinary tract infection | *dysuria frequency, suprapubic, leukocyte esterase nitrite, burning urination | nitrofurantoin; trimethoprim-sulfamethoxazole; fosfomycin; cephalexin pregnancy; amoxicillin pregnancy; urinalysis | ciprofloxacin pregnancy; levofloxacin; doxycycline pregnancy; ct; tetracycline
asymptomatic bacteriuria | *no symptoms bacteria urine, positive culture asymptomatic | nitrofurantoin pregnancy; no treatment; amoxicillin pregnancy | ciprofloxacin; trimethoprim pregnancy
benign prostatic hyperplasia | *hesitancy weak stream, nocturia dribbling, enlarged smooth prostate, postvoid residual | tamsulosin; terazosin; finasteride; doxazosin | oxybutynin; diphenhydramine; prostatectomy first; pseudoephedrine
prostatitis; acute bacterial prostatitis | *tender boggy prostate, perineal pain fever, prostate tender dysuria | ciprofloxacin; trimethoprim-sulfamethoxazole; levofloxacin | prostate massage; tamsulosin alone; biopsy; catheter
prostate cancer | *nodular prostate, psa elevated, hard prostate, blastic | biopsy; bone scan; leuprolide; prostatectomy | finasteride; antibiotics
bladder cancer; urothelial carcinoma | *painless hematuria smoker, dye factory hematuria, gross painless hematuria | cystoscopy; ct urography | antibiotics; reassurance; ultrasound only
renal cell carcinoma | *hematuria flank mass, polycythemia flank, renal mass | ct abdomen; nephrectomy | biopsy; antibiotics; chemotherapy
testicular torsion | *absent cremasteric, sudden testicular pain, high-riding, negative prehn | detorsion; surgery; orchiopexy; exploration; doppler | antibiotics; observation; ceftriaxone doxycycline
epididymitis | *pain relieved elevation, prehn positive, epididymis tender, dysuria scrotal | ceftriaxone doxycycline; levofloxacin; doxycycline | surgery; detorsion
testicular cancer | *painless testicular mass, firm testis nodule, does not transilluminate | orchiectomy; ultrasound; alpha-fetoprotein; tumor markers | biopsy; antibiotics; aspiration
varicocele; hydrocele | *bag worms, transilluminates | reassurance; ultrasound; observation | orchiectomy; aspiration
urge incontinence; overactive bladder | *urge void, sudden urge leak, cannot reach toilet | oxybutynin; bladder training; tolterodine; mirabegron | pessary; sling; bethanechol
stress incontinence | *leaks cough, leak laughing sneezing, multiparous leak | kegel; pelvic floor; sling; pessary; urethropexy | oxybutynin; bethanechol
overflow incontinence; urinary retention | *constant dribbling postvoid, distended bladder diabetes | catheterization; intermittent; bethanechol | oxybutynin; kegel
iron deficiency anemia | *low ferritin, microcytic, pica, ice craving, heavy menses fatigue | iron; ferrous; ferritin; colonoscopy; endoscopy | folate; transfusion; b12; phlebotomy
vitamin b12 deficiency; pernicious anemia | *hypersegmented vibration, vegan neuropathy, macrocytic paresthesia, methylmalonic, gastrectomy macrocytic, ileum macrocytic | cyanocobalamin; vitamin b12; intrinsic factor; methylmalonic | folate alone; iron; thiamine
folate deficiency | *alcoholic macrocytic, hypersegmented normal methylmalonic, methotrexate macrocytic, goat milk | folic acid; folate; leucovorin | iron; b12 alone
thalassemia; beta thalassemia | *target cells microcytic, elevated hba2, mediterranean microcytic, normal ferritin microcytic | hemoglobin electrophoresis; reassurance; transfusion major; deferoxamine | iron; phlebotomy
sickle cell disease; vaso-occlusive crisis | *sickle, african american pain crisis, dactylitis, hydroxyurea | hydroxyurea; fluids; opioid; morphine; penicillin prophylaxis; pneumococcal; exchange transfusion | iron; steroids; transfusion routine; splenectomy
acute chest syndrome | *sickle chest pain infiltrate, sickle hypoxia | antibiotics; exchange transfusion; ceftriaxone azithromycin | furosemide; heparin
aplastic crisis; parvovirus b19 | *reticulocytes low sickle, slapped cheek, spherocytosis sudden anemia, arthralgia daycare | transfusion; supportive; immunoglobulin | splenectomy; hydroxyurea
glucose-6-phosphate dehydrogenase deficiency | *heinz, bite cells, fava, primaquine dark urine, sulfa hemolysis, dapsone hemolysis | supportive; avoid; discontinue | prednisone; splenectomy; iron
hereditary spherocytosis | *spherocytes splenomegaly, osmotic fragility, mchc, gallstones anemia family | splenectomy; folate; eosin-5 | prednisone; iron; plasmapheresis
autoimmune hemolytic anemia; warm autoimmune hemolytic anemia | *coombs positive, direct antiglobulin, spherocytes lupus, hemolysis chronic lymphocytic | prednisone; corticosteroid; rituximab; splenectomy | plasmapheresis first; iron; transfusion first
immune thrombocytopenia; immune thrombocytopenic purpura | *isolated thrombocytopenia, petechiae platelets, petechiae after viral, easy bruising platelets low normal | prednisone; observation; immunoglobulin; hepatitis c antibody; hiv testing; corticosteroid | plasmapheresis; transfusion platelet; anti-platelet antibody; splenectomy first; bone marrow
thrombotic thrombocytopenic purpura | *schistocytes confusion, fever thrombocytopenia neurologic renal, adamts13, fragmented platelets | plasmapheresis; plasma exchange | platelet transfusion; splenectomy; heparin
hemolytic uremic syndrome | *bloody diarrhea renal failure child, schistocytes child diarrhea, undercooked beef, shiga, petting zoo | supportive; dialysis; fluids; transfusion | antibiotics; loperamide; plasmapheresis; platelet; steroids
disseminated intravascular coagulation | *low fibrinogen, oozing venipuncture sepsis, d-dimer prolonged pt ptt platelets low | treat underlying; cryoprecipitate; plasma; supportive | heparin first; vitamin k; aspirin
heparin-induced thrombocytopenia | *platelets fall heparin, heparin days platelets, thrombosis heparin platelets | argatroban; stop heparin; bivalirudin; fondaparinux | warfarin; enoxaparin; platelet; dalteparin; low molecular
hemophilia; hemophilia a | *hemarthrosis boy, prolonged ptt boy, bleeding joint boy uncle, circumcision bleeding | factor viii; desmopressin mild; factor ix | plasma; platelet; vitamin k; aspirin; prothrombin complex
von willebrand disease | *menorrhagia bleeding time, ristocetin, nosebleeds family heavy menses, gum bleeding prolonged bleeding | desmopressin; von willebrand factor | platelet; vitamin k; aspirin; plasma; prothrombin complex
vitamin k deficiency; warfarin overdose | *elevated inr warfarin, inr bleeding, home birth bleeding | vitamin k; prothrombin complex; plasma; fresh frozen | protamine; platelet; desmopressin
acute lymphoblastic leukemia | *child blasts bone pain, tdt, lymphoblasts, mediastinal mass child, pas-positive blasts | chemotherapy; intrathecal; bone marrow | imatinib first; splenectomy
acute myelogenous leukemia; acute myeloid leukemia | *auer rods, needle-shaped inclusions, myeloperoxidase, gum infiltration, blasts adult | chemotherapy; cytarabine; all-trans; bone marrow | imatinib; chlorambucil
chronic myelogenous leukemia; chronic myeloid leukemia | *philadelphia, bcr-abl, basophilia splenomegaly, low leukocyte alkaline phosphatase | imatinib; dasatinib; tyrosine kinase | cytarabine; hydroxyurea alone; chlorambucil
chronic lymphocytic leukemia | *smudge cells, lymphocytosis elderly, mature lymphocytes cd5 | observation; ibrutinib; flow cytometry; venetoclax | imatinib; splenectomy; all-trans
hodgkin lymphoma | *reed-sternberg, painless lymph node night sweats, pain alcohol node, mediastinal young | excisional biopsy; chemotherapy; doxorubicin; abvd | fine-needle; antibiotics; observation
non-hodgkin lymphoma; follicular lymphoma; burkitt lymphoma | *starry sky, t(8;14), jaw mass african, t(14;18) | chemotherapy; rituximab; biopsy | antibiotics
multiple myeloma | *lytic lesions, m spike, rouleaux, back pain anemia hypercalcemia renal, monoclonal, bence jones | electrophoresis; bortezomib; lenalidomide; bone marrow; bisphosphonate | alendronate alone; imatinib; bone scan
polycythemia vera | *pruritus shower, hemoglobin 19, jak2, facial plethora splenomegaly, erythromelalgia | phlebotomy; hydroxyurea; aspirin; ruxolitinib | iron; erythropoietin; imatinib
myelofibrosis | *teardrop, dry tap, massive splenomegaly | ruxolitinib; transplant | imatinib; phlebotomy
essential thrombocythemia | *platelets 900, thrombocytosis jak2 | hydroxyurea; aspirin | imatinib; platelet
tumor lysis syndrome | *chemotherapy hyperkalemia uric phosphate, lymphoma chemotherapy creatinine | allopurinol; rasburicase; fluids | furosemide; calcium; probenecid
neutropenic fever; febrile neutropenia | *chemotherapy fever, neutrophils 300 fever, absolute neutrophil | cefepime; piperacillin-tazobactam; blood cultures; meropenem | oral; ceftriaxone; observation; vancomycin alone
transfusion reaction; acute hemolytic transfusion reaction | *transfusion fever back pain, transfusion dark urine, flank pain transfusion | stop transfusion; fluids; normal saline; direct antiglobulin | diphenhydramine; acetaminophen alone; continue; epinephrine
febrile nonhemolytic transfusion reaction | *transfusion fever chills only, fever hour transfusion | acetaminophen; stop; leukoreduced | epinephrine
breast cancer | *hard breast mass, fixed breast lump, nipple retraction, peau, irregular breast mass | mammography; biopsy; tamoxifen; trastuzumab; lumpectomy radiation; mastectomy; core needle | observation; fine-needle only; reassurance
ductal carcinoma in situ | *microcalcifications, clustered calcification | lumpectomy; radiation; mammography; excision | radical mastectomy; chemotherapy
fibroadenoma | *mobile rubbery breast, young firm mobile breast, well-circumscribed breast young | ultrasound; observation; reassurance; fine-needle | mastectomy; mammography young; chemotherapy
fibrocystic changes | *cyclic breast pain, bilateral breast tenderness before menses, lumpy breast | reassurance; ultrasound; follow-up after menses; supportive bra | mastectomy; biopsy; antibiotics; radical
intraductal papilloma | *bloody nipple discharge, unilateral serosanguinous nipple | ultrasound; mammography; excision; galactography | prolactin; antibiotics; mastectomy
mastitis; lactational mastitis | *breastfeeding erythema fever, lactating breast warm tender | dicloxacillin; cephalexin; continue breastfeeding; analgesia | stop breastfeeding; incision; mammography; formula
breast abscess | *fluctuant breast lactating | needle aspiration; drainage; dicloxacillin | observation; stop feeding
"""
