"""What goes with what in infections, women's and children's medicine, skin, eyes, bones and injuries.

As `_pairs_adult`: names | findings | tests and treatments that fit | those that do not.
"""

# A condition stands on one line, however long, as in any table.
# ruff: noqa: E501

__all__ = ["LINES"]

LINES = """
gonorrhea; neisseria gonorrhoeae | *gram-negative diplococci, purulent urethral, purulent cervical discharge, newborn eye days purulent | ceftriaxone; doxycycline; azithromycin; screening sexually active | penicillin; metronidazole; fluconazole
chlamydia; chlamydia trachomatis | *no organisms gram urethral, mucopurulent cervicitis, watery discharge urethra, inclusion bodies, newborn eye week, staccato cough | azithromycin; doxycycline; nucleic acid amplification; screening young; erythromycin newborn | penicillin; metronidazole; ceftriaxone alone
trichomoniasis; trichomonas vaginalis | *frothy yellow-green, strawberry cervix, motile, green vaginal discharge | metronidazole; partner; tinidazole | fluconazole; clindamycin cream; azithromycin
bacterial vaginosis; gardnerella; gardnerella vaginalis | *clue cells, fishy odor, gray discharge, ph vaginal 5 | metronidazole; clindamycin | fluconazole; partner; ceftriaxone
vulvovaginal candidiasis; candida | *curd-like, thick white discharge, pruritus vulva pseudohyphae, cottage cheese | fluconazole; clotrimazole; miconazole; nystatin | metronidazole; clindamycin
physiologic leukorrhea | *white odorless discharge normal ph, no pruritus squamous cells discharge | reassurance | metronidazole; fluconazole; azithromycin
pelvic inflammatory disease | *cervical motion tenderness, adnexal tenderness fever discharge, lower abdominal pain fever sexually | ceftriaxone doxycycline; cefoxitin doxycycline; hospitalization; pregnancy test | metronidazole alone; laparoscopy first; hysterectomy; fluconazole
syphilis; primary syphilis; secondary syphilis | *painless ulcer genital, chancre, palms soles rash, condyloma lata, rpr, indurated painless | penicillin; benzathine; rpr; fta-abs; desensitization pregnancy | doxycycline pregnancy; ceftriaxone first; acyclovir; azithromycin
neurosyphilis; tabes dorsalis | *argyll robertson, lightning pains, accommodates not react | intravenous penicillin; lumbar puncture | doxycycline; benzathine
genital herpes; herpes simplex virus | *painful vesicles genital, multinucleated giant, grouped vesicles painful ulcers, tzanck | acyclovir; valacyclovir; cesarean active lesions; pcr | penicillin; azithromycin; vaginal delivery active; ceftriaxone
chancroid; haemophilus ducreyi | *painful ulcer suppurative node, ragged painful ulcer, school of fish | azithromycin; ceftriaxone | acyclovir; penicillin
lymphogranuloma venereum | *painless ulcer buboes, groove sign | doxycycline | penicillin; acyclovir
condylomata acuminata; human papillomavirus | *cauliflower genital, genital warts, koilocyt | podophyllin; cryotherapy; imiquimod; vaccine | acyclovir; penicillin; antibiotics
human immunodeficiency virus; hiv infection | *cd4, acute retroviral, fever rash lymphadenopathy risk, oral thrush weight loss | antiretroviral; elisa; tenofovir; viral load; prophylaxis trimethoprim | acyclovir; live vaccine; ganciclovir
cytomegalovirus retinitis; cytomegalovirus | *cd4 floaters, pizza pie, hiv retinal hemorrhages, owl eye, linear ulcers | ganciclovir; valganciclovir; foscarnet | acyclovir; topical ganciclovir; fluconazole
infectious mononucleosis; epstein-barr virus | *posterior cervical lymphadenopathy, atypical lymphocytes, heterophile, splenomegaly sore throat, rash after amoxicillin | supportive; avoid contact sports; monospot; rest | amoxicillin; acyclovir; prednisone; penicillin
streptococcal pharyngitis; group a streptococcus | *tonsillar exudates no cough, anterior cervical tender sore throat, strawberry tongue, sandpaper, scarlet | penicillin; amoxicillin; rapid streptococcal; throat culture; azithromycin allergy | supportive; ciprofloxacin; antistreptolysin; tetracycline
influenza | *sudden fever myalgia winter, unvaccinated myalgia cough, nursing home myalgia | oseltamivir; supportive; vaccine; zanamivir | azithromycin; amoxicillin; aspirin child; acyclovir; amantadine
common cold; viral upper respiratory infection; rhinovirus; picornavirus | *nasal congestion rhinorrhea clear low, runny nose cough days clear lungs | supportive; reassurance; fluids | azithromycin; amoxicillin; antibiotics
acute sinusitis | *facial pressure purulent nasal, worsening after improvement facial, maxillary tenderness ten days | amoxicillin-clavulanate; supportive; decongestant | ct; azithromycin first; amphotericin
mucormycosis | *black eschar nasal, diabetic facial necrosis, nonseptate | amphotericin; debridement | fluconazole; voriconazole; antibiotics
acute bronchitis | *cough weeks clear lungs after cold, productive cough no fever normal x-ray | supportive; reassurance | antibiotics; azithromycin; amoxicillin; chest x-ray
pertussis; bordetella pertussis | *whooping, post-tussive, paroxysms cough, inspiratory whoop, unvaccinated cough vomiting | azithromycin; macrolide; pcr; prophylaxis contacts; erythromycin | amoxicillin; supportive alone; ceftriaxone; vaccine only
croup; parainfluenza virus; paramyxovirus; laryngotracheitis | *barking cough, steeple, inspiratory stridor child | dexamethasone; racemic epinephrine; humidified; nebulized | antibiotics; albuterol; intubation first; ceftriaxone
epiglottitis; haemophilus influenzae | *drooling tripod, thumb sign, muffled voice unvaccinated, leaning forward stridor | intubation; airway operating room; ceftriaxone | throat examination; x-ray first; dexamethasone; nebulized
bronchiolitis; respiratory syncytial virus | *infant wheezing winter rhinorrhea, infant crackles retractions wheeze | supportive; nasal suction; oxygen; palivizumab; fluids | antibiotics; corticosteroid; albuterol; ribavirin
retropharyngeal abscess; peritonsillar abscess | *uvula deviation, hot potato, trismus sore throat, widened prevertebral | incision drainage; needle aspiration; ct neck; clindamycin | oral antibiotic alone; tonsillectomy; dexamethasone
acute otitis media | *bulging tympanic, tugging ear, erythematous immobile tympanic | amoxicillin; amoxicillin-clavulanate; observation | tympanostomy first; azithromycin first; topical; ciprofloxacin drops
otitis externa | *pain pulling auricle, swimmer ear, tragus tender | ciprofloxacin drops; topical ofloxacin; topical | amoxicillin; oral; tympanostomy
malignant otitis externa; pseudomonas aeruginosa | *diabetic ear granulation, cranial nerve ear diabetic, green sputum cystic, ecthyma gangrenosum, nail through shoe | ciprofloxacin; piperacillin; cefepime; ceftazidime | topical; amoxicillin; ceftriaxone; vancomycin
mastoiditis | *protruding auricle, postauricular swelling | vancomycin; ct; drainage; intravenous antibiotics | topical; oral; observation
cholesteatoma | *pearly mass tympanic, retraction pocket, white mass behind tympanic | surgery; ct; resection | antibiotics; observation
benign paroxysmal positional vertigo | *vertigo turning bed, dix-hallpike, seconds vertigo head position | epley; canalith; dix-hallpike | meclizine; mri; antibiotics; furosemide
meniere disease | *tinnitus vertigo hearing loss, aural fullness, low-frequency hearing | salt restriction; diuretic; hydrochlorothiazide; betahistine | epley; antibiotics; acyclovir
vestibular neuritis; labyrinthitis | *vertigo days after viral, continuous vertigo viral nystagmus | corticosteroid; prednisone; supportive; meclizine | epley; antibiotics; acyclovir
acoustic neuroma; vestibular schwannoma | *unilateral sensorineural, hearing loss unilateral facial numbness, cerebellopontine | mri; resection | epley; hearing aid; corticosteroid
epistaxis | *nosebleed, bleeding nares | direct pressure; compression; oxymetazoline; cautery; packing | embolization first; transfusion
allergic rhinitis | *pale boggy, sneezing itchy eyes, clear secretions turbinates, seasonal, bluish nasal | intranasal corticosteroid; fluticasone; fexofenadine; loratadine; cetirizine; avoid allergen | diphenhydramine; oral prednisone; antibiotics; oxymetazoline
lyme disease; borrelia burgdorferi | *bull's-eye, erythema migrans, hiking connecticut, facial palsy tick, target rash tick | doxycycline; amoxicillin child; ceftriaxone carditis; amoxicillin pregnancy; serology late | doxycycline pregnancy; serology rash; prednisone; rifampin
rocky mountain spotted fever; rickettsia rickettsii | *rash wrists ankles palms, north carolina tick rash, petechial palms tick headache | doxycycline | amoxicillin; ceftriaxone; chloramphenicol; serology first
ehrlichiosis; ehrlichia chaffeensis | *monocytes morulae, leukopenia thrombocytopenia tick no rash, monocytic inclusions | doxycycline | amoxicillin; ceftriaxone
anaplasmosis; anaplasma phagocytophilum | *granulocytes morulae, neutrophil inclusions tick | doxycycline | amoxicillin
babesiosis; babesia | *maltese cross, hemolysis tick, tetrad ring, massachusetts tick hemolysis | atovaquone azithromycin; quinine clindamycin | doxycycline; chloroquine
malaria; plasmodium falciparum | *returned africa fever, banana gametocytes, cyclic fever travel, ring forms | artesunate; artemether; atovaquone-proguanil; quinine; smear; chloroquine; primaquine | doxycycline alone; ceftriaxone; ciprofloxacin
dengue fever | *retro-orbital, breakbone, tropical mosquito fever petechiae arthralgia | supportive; acetaminophen; fluids | aspirin; ibuprofen; ceftriaxone; chloroquine
typhoid fever; salmonella typhi | *rose spots, relative bradycardia, stepwise fever india | ceftriaxone; ciprofloxacin; azithromycin; blood culture | metronidazole; loperamide; vancomycin
salmonella; salmonella enterica | *reptile, turtle diarrhea, eggs diarrhea, sickle osteomyelitis | supportive; ceftriaxone; fluids; ciprofloxacin severe | vancomycin; penicillin; loperamide
campylobacter; campylobacter jejuni | *poultry bloody diarrhea, undercooked chicken, comma-shaped | azithromycin; supportive; erythromycin | metronidazole; vancomycin
shigellosis; shigella | *daycare bloody diarrhea seizure, mucus blood fever child | azithromycin; ciprofloxacin; ceftriaxone | loperamide; metronidazole
cholera; vibrio cholerae | *rice-water | oral rehydration; doxycycline; fluids | loperamide; metronidazole
vibrio vulnificus | *ocean wound bullae, raw oysters liver sepsis, saltwater bullae | doxycycline ceftazidime; doxycycline; debridement | penicillin; observation; cephalexin
staphylococcus aureus food poisoning; bacillus cereus | *picnic vomiting hours, mayonnaise, reheated rice | supportive; rehydration; fluids | antibiotics; ciprofloxacin
giardiasis; giardia | *camping foul fatty, greasy stool hiking, stream water | metronidazole; tinidazole; stool antigen | ciprofloxacin; loperamide; albendazole; gluten
amebiasis; entamoeba histolytica | *flask-shaped, liver abscess travel mexico, anchovy | metronidazole; paromomycin | drainage; albendazole; ciprofloxacin
traveler's diarrhea; enterotoxigenic | *mexico watery diarrhea, travel watery | ciprofloxacin; azithromycin; fluids; loperamide; rifaximin | metronidazole; vancomycin
norovirus; rotavirus; viral gastroenteritis | *cruise vomiting, daycare watery vomiting, unvaccinated watery infant | supportive; oral rehydration; fluids | antibiotics; loperamide; ciprofloxacin; metronidazole
pinworm; enterobius | *perianal itching night, tape test | albendazole; mebendazole; pyrantel | metronidazole; permethrin; nystatin
neurocysticercosis; taenia solium | *pork seizure, mexico seizure cysts, calcified brain cysts | albendazole; praziquantel; corticosteroid | metronidazole; pyrimethamine; amphotericin
hydatid cyst; echinococcus | *sheep dog liver cyst, eggshell calcification, daughter cysts | albendazole; surgical | aspiration; metronidazole; biopsy
schistosomiasis | *egypt hematuria, freshwater africa eosinophilia | praziquantel | metronidazole; albendazole
trichinellosis; trichinella | *periorbital edema myalgia eosinophilia pork, wild boar | albendazole; mebendazole | metronidazole; prednisone alone
histoplasmosis; histoplasma | *bats caves, ohio river, spelunking, oval yeast macrophages | itraconazole; amphotericin | isoniazid; fluconazole first; doxycycline
blastomycosis | *broad-based budding, wisconsin verrucous | itraconazole; amphotericin | isoniazid; fluconazole
coccidioidomycosis; coccidioides | *arizona, spherule, desert california erythema nodosum | fluconazole; itraconazole; supportive | isoniazid; azithromycin
aspergillosis; aspergillus | *fungus ball, halo sign, septate acute angles, air crescent, asthma brown plugs eosinophilia | voriconazole; prednisone allergic; surgery | fluconazole; isoniazid
sporotrichosis | *rose thorn, gardening nodules lymphatic, ascending nodules | itraconazole; potassium iodide | cephalexin; acyclovir; amphotericin
cat-scratch disease; bartonella henselae | *kitten, cat node tender | azithromycin; supportive | penicillin; surgery; doxycycline child
pasteurella | *cat bite hours, dog bite purulent | amoxicillin-clavulanate | cephalexin; erythromycin; clindamycin; amoxicillin alone
rabies | *bat bedroom, hydrophobia, raccoon bite, stray dog bite | immunoglobulin vaccine; rabies immunoglobulin | observation bat; acyclovir; suture
tetanus | *lockjaw, trismus rusty, risus sardonicus | immunoglobulin; toxoid; metronidazole; diazepam | botulinum antitoxin; observation; vaccine alone
botulism; clostridium botulinum | *honey infant floppy, descending paralysis, canned food diplopia, infant constipation weak cry | botulinum immunoglobulin; antitoxin; supportive; intubation | penicillin; gentamicin; pyridostigmine; edrophonium
anthrax | *widened mediastinum wool, black eschar painless, goat hides | ciprofloxacin; doxycycline | ceftriaxone; penicillin first
tularemia; plague; brucellosis | *rabbit ulcer, prairie dog bubo, unpasteurized undulant, goat cheese fever | streptomycin; gentamicin; doxycycline rifampin | amoxicillin; ceftriaxone
leptospirosis | *floods jaundice conjunctival suffusion, rat urine calf pain, kayak conjunctival | doxycycline; penicillin | metronidazole
q fever; psittacosis | *farm birth animals pneumonia, parrot pneumonia | doxycycline | amoxicillin; ceftriaxone
actinomycosis; nocardia | *sulfur granules, jaw draining sinus, branching acid-fast | penicillin; trimethoprim-sulfamethoxazole | metronidazole; fluconazole
gas gangrene; clostridium perfringens | *crepitus wound, gas muscle crush, bronze skin wound pain | debridement; penicillin clindamycin | hyperbaric alone; cephalexin; observation
necrotizing fasciitis | *pain out of proportion erythema, rapidly spreading bullae, dusky crepitus skin, dishwater | debridement; surgical exploration; vancomycin piperacillin; clindamycin | oral; mri; observation; cephalexin
cellulitis; erysipelas | *warm erythematous tender leg, spreading erythema after cut, well-demarcated raised | cephalexin; cefazolin; clindamycin; penicillin; nafcillin; dicloxacillin; vancomycin mrsa | acyclovir; doppler; fluconazole; debridement; prednisone
skin abscess; hordeolum; stye; furuncle | *fluctuant, purulent nodule, eyelid tender nodule | incision and drainage; incision drainage; warm compress hordeolum; hot compresses hordeolum; trimethoprim-sulfamethoxazole | antibiotics alone; observation; prednisone; hot compresses abscess
impetigo | *honey-colored crust, golden crust | mupirocin; cephalexin; topical | acyclovir; permethrin; hydrocortisone; fluconazole
scabies | *burrows interdigital, itching night family web | permethrin; ivermectin | hydrocortisone; acyclovir; clotrimazole; mebendazole
pediculosis | *nits, lice | permethrin; malathion; wet combing | griseofulvin; selenium; hydrocortisone
tinea capitis | *scaly patch hair loss child, broken hairs, black dots scalp, alopecia scaling child lymph | oral griseofulvin; griseofulvin; terbinafine | topical; clotrimazole; zinc-pyrithione; selenium; permethrin; corticosteroid; shampoo
tinea corporis; tinea pedis; tinea cruris; dermatophyte | *annular scaly central clearing, ring-shaped, itchy toes scaling, groin scaly hyphae | topical terbinafine; clotrimazole; topical antifungal; potassium hydroxide | oral griseofulvin; hydrocortisone; nystatin; prednisone; permethrin
tinea versicolor; malassezia | *hypopigmented patches summer, spaghetti meatballs, not tan | selenium; ketoconazole; topical | griseofulvin; hydrocortisone; nystatin
onychomycosis | *thick yellow nails, brittle nails | oral terbinafine; itraconazole | topical corticosteroid; griseofulvin; nystatin
candidal diaper dermatitis; intertrigo | *satellite lesions, diaper beefy folds | topical nystatin; clotrimazole; nystatin | hydrocortisone; zinc alone; biopsy; mupirocin; oral fluconazole
oral candidiasis; oral thrush | *white plaques scraped, thrush | nystatin; fluconazole; clotrimazole | acyclovir; biopsy; penicillin
oral leukoplakia; oral hairy leukoplakia | *white plaque cannot scraped | biopsy; antiretroviral | nystatin; fluconazole
seborrheic dermatitis | *greasy scales, dandruff, yellowish scale scalp eyebrows nasolabial, cradle cap | ketoconazole; selenium; zinc pyrithione; shampoo; hydrocortisone | griseofulvin; permethrin; oral prednisone; antibiotics
atopic dermatitis; eczema | *flexural pruritic, itchy antecubital, cheeks extensor infant, lichenification asthma | emollient; topical corticosteroid; hydrocortisone; moisturizer; tacrolimus | oral prednisone; coal tar; antifungal; permethrin; methotrexate
contact dermatitis; poison ivy | *linear vesicles hiking, nickel, new detergent vesicles | topical corticosteroid; avoidance; prednisone extensive; hydrocortisone | acyclovir; antibiotics; permethrin; antifungal
psoriasis | *silvery, extensor plaques scale, nail pitting, auspitz, knees elbows plaques | topical corticosteroid; calcipotriene; phototherapy; methotrexate; coal tar | oral prednisone; antifungal; permethrin; antibiotics
lichen planus | *purple polygonal, wickham, violaceous papules wrists | topical corticosteroid; hepatitis c | antifungal; acyclovir
lichen sclerosus | *porcelain-white vulva, thin white vulva, cigarette-paper | clobetasol; topical corticosteroid; biopsy | estrogen; antifungal; vulvectomy; fluconazole
pityriasis rosea | *herald patch, christmas tree | reassurance; observation; supportive; antihistamine | antifungal; penicillin; prednisone; permethrin
acne vulgaris; acne | *comedones, blackheads, pustules face adolescent | benzoyl; tretinoin; topical retinoid; doxycycline; isotretinoin severe | prednisone; isotretinoin first; metronidazole; tetracycline pregnant
rosacea | *facial flushing telangiectasia pustules, rhinophyma, spicy food flushing | metronidazole topical; brimonidine; doxycycline; sunscreen | hydrocortisone; isotretinoin first; antifungal
urticaria | *wheals, hives transient | antihistamine; cetirizine; loratadine; fexofenadine; diphenhydramine | epinephrine mild; antibiotics; prednisone first
angioedema; hereditary angioedema | *lip swelling lisinopril, no urticaria swelling, c1 esterase, recurrent swelling abdominal family | discontinue; c1 inhibitor; icatibant; ecallantide; intubation; danazol | epinephrine alone; diphenhydramine; continue; prednisone alone
stevens-johnson syndrome; toxic epidermal necrolysis | *mucosal erosions skin sloughing, nikolsky lamotrigine, positive nikolsky drug, target mucosal drug | discontinue; burn unit; supportive; fluids | prednisone; antibiotics; continue; acyclovir
erythema multiforme | *target lesions hsv, targetoid palms | acyclovir; supportive | discontinue; antibiotics
pemphigus vulgaris | *flaccid bullae oral, intraepidermal, suprabasal, desmoglein | prednisone; corticosteroid; rituximab | topical; dapsone; antibiotics; acyclovir
bullous pemphigoid | *tense bullae elderly, subepidermal, hemidesmosome | topical clobetasol; corticosteroid; prednisone | acyclovir; dapsone first; antibiotics; rituximab first
dermatitis herpetiformis | *pruritic vesicles elbows gluten, grouped vesicles extensor | dapsone; gluten-free | acyclovir; prednisone; permethrin
porphyria cutanea tarda | *blisters hands sun, hepatitis c blisters, uroporphyrin | phlebotomy; hydroxychloroquine | dapsone; prednisone; heme
acute intermittent porphyria | *abdominal pain dark urine neuropathy, port wine urine, porphobilinogen | hemin; glucose; dextrose | phlebotomy; opioid alone; surgery; carbamazepine
herpes zoster; shingles; varicella zoster | *dermatomal, unilateral vesicles band, burning pain vesicles chest | valacyclovir; acyclovir; famciclovir; vaccine | prednisone alone; antibiotics; topical ganciclovir; permethrin
postherpetic neuralgia | *pain after shingles, months after vesicles burning | gabapentin; pregabalin; amitriptyline; lidocaine; nortriptyline | acyclovir; valacyclovir; opioid; prednisone
varicella; chickenpox | *vesicles different stages, dewdrop | supportive; acyclovir adult; immunoglobulin | aspirin; antibiotics; prednisone
melanoma; malignant melanoma | *irregular border mole, changing mole, pigmented streak nail, asymmetric pigmented, hutchinson nail | excisional biopsy; excision; sentinel; wide excision | shave; cryotherapy; observation; fluorouracil; decompress; drainage; laser
subungual hematoma | *nail trauma painful dark, crushed finger nail | trephination; decompress; drainage | excision; biopsy
basal cell carcinoma | *pearly papule, telangiectasia pearly, rolled borders | mohs; excision; biopsy; electrodesiccation | chemotherapy; antibiotics; antifungal; observation
squamous cell carcinoma | *scaly ulcer sun, keratin pearls, nonhealing ulcer, lower lip ulcer, crusted firm nodule | biopsy; excision; mohs | cryotherapy alone; antibiotics; observation
actinic keratosis | *rough scaly sun-exposed, sandpaper-like lesion, gritty | fluorouracil; cryotherapy; imiquimod | wide excision; hydrocortisone; observation; antifungal
keratoacanthoma | *rapidly growing crater, central keratin plug | excision; biopsy | observation; antibiotic
seborrheic keratosis | *stuck-on, waxy greasy, horn cysts | reassurance; cryotherapy; observation | excision wide; biopsy; chemotherapy
kaposi sarcoma; bacillary angiomatosis | *violaceous hiv, purple lesions cd4, vascular papules hiv | antiretroviral; erythromycin bartonella; doxorubicin | acyclovir; excision
vitiligo | *depigmented, well-demarcated white patches | topical corticosteroid; phototherapy; tacrolimus; tsh | antifungal; selenium
alopecia areata; telogen effluvium | *round smooth hair loss, exclamation, diffuse hair loss after stress, hair pull after childbirth | intralesional corticosteroid; reassurance; triamcinolone | griseofulvin; minoxidil; finasteride; ketoconazole
ichthyosis vulgaris | *dry scaly since childhood flexures spared, fish scales winter, palmar creases hyperlinear | emollient; urea; moisturizer | antifungal; oral prednisone; antibiotics
erythema nodosum | *tender red nodules shins, painful shins nodules | nsaid; treat underlying; chest x-ray | antibiotics; excision; acyclovir
pyoderma gangrenosum | *ulcer violaceous border colitis, pathergy | corticosteroid; prednisone | debridement; antibiotics; amputation
pressure ulcer | *sacral ulcer, bedridden ulcer | repositioning; debridement; dressing | antibiotics; skin graft first
burn | *blisters burn, burned, full-thickness | fluids; ringer; intubation singed; topical silver; parkland; escharotomy | oral fluids; antibiotics prophylactic; diuretic
frostbite; hypothermia; heat stroke | *white fingers cold exposure, shivering cold, marathon temperature 41, hot confusion 41 | rewarming; ice water; evaporative; warm water; cooling | acetaminophen; dantrolene; rubbing; aspirin
ectopic pregnancy | *missed period abdominal pain bleeding, adnexal mass positive pregnancy, hcg no intrauterine, shoulder pain pregnancy | methotrexate; laparoscopy; transvaginal ultrasound; salpingectomy; laparoscopic; hcg serial | observation; dilation curettage; oxytocin; misoprostol; ct
spontaneous abortion; threatened abortion; inevitable abortion | *closed cervix bleeding, vaginal bleeding first trimester, open cervix bleeding, passing clots week | expectant; reassurance; ultrasound; misoprostol; dilation and curettage; rh immunoglobulin | hysterectomy; tocolysis; progesterone; bed rest; methotrexate
missed abortion; fetal demise; intrauterine fetal demise | *no cardiac activity, no fetal movement, absent heart beat | induction labor; misoprostol; dilation; expectant; labor induced; oxytocin | cesarean; tocolysis; dilation curettage late; betamethasone
septic abortion | *fever foul discharge abortion, boggy uterus fever termination | suction curettage; antibiotics; gentamicin clindamycin | methotrexate; expectant; misoprostol
hydatidiform mole; molar pregnancy; choriocarcinoma | *snowstorm, uterus larger dates, grape-like, very high hcg, hyperemesis large uterus | suction curettage; dilation; hcg follow; methotrexate; chest x-ray | oxytocin; expectant; hysterectomy first; misoprostol
hyperemesis gravidarum | *vomiting pregnancy ketones, persistent vomiting week weight loss | pyridoxine; doxylamine; fluids; metoclopramide; ondansetron; thiamine | termination; antibiotics; nothing
placenta previa | *painless bleeding third trimester, painless vaginal bleeding weeks | ultrasonography; cesarean; no digital exam; transvaginal ultrasound; pelvic rest | digital; speculum first; vaginal delivery; induction; oxytocin; amniotomy
placental abruption; abruptio placentae | *painful bleeding rigid uterus, firm tender uterus, cocaine bleeding third, trauma contractions bleeding, hypertonic | delivery; cesarean; fluids; monitoring; transfusion | tocolysis; expectant; observation; terbutaline; ultrasound rule
vasa previa | *bleeding after rupture membranes bradycardia, sinusoidal fetal | emergency cesarean | observation; amnioinfusion; vaginal
uterine rupture | *previous cesarean sudden pain loss station, fetal parts palpable, loss fetal station | laparotomy; emergency cesarean | oxytocin; amnioinfusion; vacuum; observation
preeclampsia; severe preeclampsia | *blood pressure protein weeks gestation, headache vision gestation hypertension, proteinuria gestation | magnesium sulfate; labetalol; hydralazine; delivery; induction; methyldopa; nifedipine | lisinopril; furosemide; expectant severe; losartan; diazepam; enalapril; hydrochlorothiazide
eclampsia | *seizure pregnancy hypertension, tonic-clonic pregnant protein | magnesium; delivery; labetalol | lorazepam; phenytoin; valproate; diazepam; levetiracetam; carbamazepine
hellp syndrome | *hemolysis platelets pregnancy transaminases, right upper quadrant pregnancy platelets | delivery; magnesium; induction | plasmapheresis; expectant; corticosteroid only; cholecystectomy
intrahepatic cholestasis of pregnancy; cholestasis of pregnancy | *itching palms soles pregnancy, pruritus pregnancy bile acids | ursodeoxycholic; delivery 37; bile acids | cholestyramine; observation; methotrexate; plasmapheresis; prednisone
acute fatty liver of pregnancy | *third trimester hypoglycemia liver, ammonia third trimester | delivery | ursodiol; observation
gestational diabetes | *glucose challenge, oral glucose tolerance | insulin; diet; lifestyle; glucose tolerance; exercise; nonstress | metformin first; glipizide; glyburide first
preterm labor | *contractions 30 weeks, regular contractions cervix weeks gestation before | betamethasone; terbutaline; nifedipine; magnesium; indomethacin; tocolysis; corticosteroid | oxytocin; cesarean; discharge; hysterectomy; cerclage
premature rupture of membranes; preterm premature rupture | *gush fluid, ferning, nitrazine, leaking fluid pool | betamethasone; ampicillin; azithromycin; induction 34; expectant; penicillin; speculum | tocolysis; digital; cerclage; discharge; amnioinfusion
chorioamnionitis | *fever fetal tachycardia, foul amniotic, uterine tenderness fever labor | ampicillin gentamicin; delivery; induction labor; oxytocin; clindamycin | tocolysis; cesarean first; expectant; betamethasone; observation
group b streptococcus | *rectovaginal, gbs | penicillin; ampicillin; intrapartum; culture 36; swab | oral; ceftriaxone; cesarean; azithromycin; vancomycin
postpartum hemorrhage; uterine atony | *boggy uterus, soft uterus bleeding delivery, bleeding after placenta | uterine massage; oxytocin; methylergonovine; carboprost; misoprostol; tamponade; bimanual | hysterectomy first; terbutaline; methylergonovine hypertension; magnesium; observation
retained placenta; placenta accreta | *placenta not delivered, incomplete placenta, multiple cesareans previa | manual; curettage; hysterectomy accreta; cesarean hysterectomy; dilation and curettage | oxytocin alone; observation; traction
endometritis; postpartum endometritis | *fever after cesarean foul lochia, uterine tenderness postpartum fever | clindamycin gentamicin; antibiotics; clindamycin | curettage first; ampicillin alone; metronidazole alone; oral
shoulder dystocia | *turtle sign, head retracts | mcroberts; suprapubic; flex hips; rubin; posterior arm | fundal pressure; oxytocin; vacuum; cesarean first; traction
umbilical cord prolapse | *cord palpable, cord loop vagina, pulsating cord | cesarean; elevate head; emergency cesarean; knee-chest | vaginal; replace; amnioinfusion; oxytocin
fetal distress; variable decelerations; late decelerations | *variable decelerations, late decelerations, decelerations | maternal repositioning; amnioinfusion; oxygen; fluids; cesarean; stop oxytocin | oxytocin; observation; terbutaline; discharge
arrest of labor; prolonged latent phase | *no cervical change hours, dilation unchanged hours, failure to progress | oxytocin; cesarean; amniotomy; rest; augmentation; sedation | terbutaline; observation; vacuum first
breech presentation; transverse lie | *head palpated fundus, breech, buttocks | external cephalic version; cesarean; observation before 36 | vaginal; oxytocin; internal version; vacuum
hiv in pregnancy | *pregnant hiv, gestation viral load | zidovudine; antiretroviral; cesarean viral load; cart; scheduled cesarean | breastfeeding; vaginal delivery; stop antiretroviral; suggested vaginal
rh incompatibility; rh-negative | *rh-negative, anti-d, rh negative | anti-d immunoglobulin; antibody screen; rho(d); antibody screening | delayed; iron; transfusion; no prophylaxis
prenatal screening; down syndrome prenatal | *advanced maternal age, week prenatal visit first, pregnant 36-year | cell-free fetal dna; chorionic villus; nuchal translucency; amniocentesis; quad screen | mri; ct; x-ray
anencephaly; neural tube defect; spina bifida | *elevated maternal alpha-fetoprotein, valproate pregnancy, polyhydramnios absent calvaria, frog-like | folic acid; ultrasound | iron; amniocentesis only
down syndrome; trisomy 21 | *epicanthal, single palmar crease, upslanting, double bubble | karyotype; echocardiography | phenobarbital
turner syndrome | *webbed neck, short stature amenorrhea, shield chest, streak | karyotype; growth hormone; estrogen; echocardiography | testosterone; cabergoline
primary amenorrhea; androgen insensitivity; mullerian agenesis | *no uterus, blind vaginal pouch, absent pubic hair breasts, 46 xy female | karyotype; gonadectomy; mri; ultrasound | progestin; estrogen first; hysterectomy
polycystic ovary syndrome | *hirsutism irregular menses, acne obesity irregular, lh/fsh, string pearls | oral contraceptive; weight loss; metformin; clomiphene; letrozole; spironolactone; combined | cabergoline; prednisone; oophorectomy; dexamethasone; levothyroxine
endometriosis; adenomyosis | *dysmenorrhea dyspareunia, chocolate cyst, painful periods infertility, uterosacral nodularity, globular boggy | nsaid; oral contraceptive; laparoscopy; leuprolide; combined contraceptive; progestin | hysterectomy first; antibiotics; ct; clomiphene
primary dysmenorrhea | *cramping first day menses adolescent, painful menses normal exam | nsaid; ibuprofen; naproxen; oral contraceptive | laparoscopy; antibiotics; ct; opioid; hysterectomy
uterine leiomyoma; fibroids | *irregularly enlarged uterus, heavy menses bulky, nontender enlarged uterus | myomectomy; oral contraceptive; ultrasound; leuprolide; hysterectomy; levonorgestrel; embolization | antibiotics; dilation; radiation
asherman syndrome | *amenorrhea after curettage, secondary amenorrhea curettage, no withdrawal bleed | hysteroscopy; adhesiolysis | estrogen alone; cabergoline; fsh; clomiphene; hysterectomy
ovarian torsion | *sudden pelvic pain ovarian mass, ovarian cyst sudden pain vomiting, decreased ovarian flow | laparoscopy; detorsion; ultrasound doppler | antibiotics; observation; methotrexate; ct; oral contraceptive
ovarian cyst; ruptured ovarian cyst | *simple cyst, midcycle pain, sudden pain intercourse fluid cul-de-sac | observation; reassurance; analgesia; repeat ultrasound | laparotomy; oophorectomy; antibiotics; aspiration
ovarian cancer | *ascites adnexal postmenopausal, ca-125, bloating pelvic mass elderly | laparotomy; ca-125; debulking; oophorectomy | aspiration; observation; oral contraceptive; biopsy
endometrial cancer; endometrial hyperplasia | *postmenopausal bleeding, obese irregular bleeding, tamoxifen bleeding | endometrial biopsy; hysterectomy; progestin; transvaginal | reassurance; estrogen; oral contraceptive; observation; cytology
cervical cancer; cervical intraepithelial neoplasia | *postcoital bleeding, high-grade squamous, atypical squamous cells, pap | colposcopy; hpv testing; loop; biopsy; cold knife; conization; pap | repeat cytology delayed; observation; hysterectomy first; reassurance
menopause; genitourinary syndrome; atrophic vaginitis | *hot flashes, vaginal dryness postmenopausal, pale dry vaginal, dyspareunia postmenopausal | topical estrogen; vaginal estrogen; hormone; lubricant; moisturizer; venlafaxine | topical corticosteroid; metronidazole; fluconazole; testosterone; raloxifene; oral estrogen history
premature ovarian failure; primary ovarian insufficiency | *elevated fsh young, hot flashes thirty amenorrhea, amenorrhea 35 fsh | estrogen progestin; hormone replacement | clomiphene; cabergoline; observation
contraception; emergency contraception | *unprotected intercourse, wants contraception, condom broke | levonorgestrel; copper; intrauterine; ulipristal; progestin-only breastfeeding; implant | combined smoker; estrogen migraine; estrogen breastfeeding; mammography
pelvic organ prolapse; cystocele | *bulge vagina, vaginal pressure standing, protruding vaginal mass | pessary; kegel; surgery; elevated posterior fornix; fornix | hysterectomy first; antibiotics; oxybutynin; catheter
bartholin abscess; bartholin cyst | *labial mass four o'clock, vestibule cyst tender | incision and drainage; word catheter; marsupialization; drainage; observation cyst | antibiotics alone; sitz baths; excision; sitz
sexual assault; intimate partner violence; domestic abuse | *bruises different stages, inconsistent injuries, partner speaks, assault | private; safety plan; ask alone; emergency contraception; ceftriaxone azithromycin; examine separately | confront partner; police without; couple
child abuse; non-accidental trauma; abusive head trauma | *spiral fracture infant, different stages healing, retinal hemorrhages, posterior rib fractures, inconsistent history infant, cigarette burn | skeletal survey; protective services; fundoscopy; report; ct head; hospital admit | discharge; confront; reassurance; osteogenesis; counseling
shaken baby; abusive | *bulging fontanelle lethargic bruises infant | protective services; ct | discharge
pyloric stenosis | *projectile nonbilious, olive-shaped, hungry after vomiting, hypochloremic | ultrasonography; pyloromyotomy; fluids; correct electrolytes | surgery before fluids; barium; antibiotics; omeprazole
intussusception | *currant jelly, sausage-shaped, colicky drawing knees, target sign | air enema; contrast enema; ultrasound; pneumatic | exploratory laparotomy; laparotomy first; barium upper; antibiotics; ct
malrotation; midgut volvulus | *bilious vomiting neonate, corkscrew, bilious infant days | upper gastrointestinal series; laparotomy; surgery; ladd; nasogastric | enema; observation; pyloromyotomy
duodenal atresia; jejunal atresia | *double bubble, triple bubble, bilious first day polyhydramnios | surgery; nasogastric; duodenoduodenostomy | pyloromyotomy; enema
hirschsprung disease | *failure pass meconium 48, squirt sign, explosive stool, empty rectal vault | rectal biopsy; suction biopsy; pull-through; barium enema | laxative; manometry only; fiber; observation
meconium ileus; cystic fibrosis | *salty, sweat chloride, recurrent pneumonia steatorrhea child, nasal polyps child, microcolon | sweat test; pancreatic enzyme; dornase; hyperosmolar enema; azithromycin | antibiotics alone; gluten-free; isoniazid
necrotizing enterocolitis | *pneumatosis, preterm bloody stool distention, premature feeding distention | bowel rest; antibiotics; nasogastric; surgery perforation; orogastric | enema; continue feeding; barium; surgery first
meckel diverticulum | *painless bleeding toddler, technetium pertechnetate, maroon stool child | technetium; technetium-99m; surgery; diverticulectomy | colonoscopy; bone scan; observation; barium
biliary atresia | *acholic stool, dark urine pale stool infant, direct hyperbilirubinemia infant weeks | ultrasound; kasai; cholangiography; hepatoportoenterostomy | phototherapy; exchange; observation; phenobarbital; reassurance
neonatal jaundice; physiologic jaundice; breast milk jaundice; breastfeeding jaundice | *newborn yellow day three, indirect bilirubin newborn, jaundice well infant | phototherapy; continue breastfeeding; reassurance; observation; frequent feeding; exchange transfusion severe | stop breastfeeding; antibiotics; liver biopsy; phenobarbital; formula
hemolytic disease newborn; abo incompatibility | *jaundice first day, coombs newborn, mother o | phototherapy; exchange transfusion; immunoglobulin | observation; stop breastfeeding
respiratory distress syndrome; neonatal respiratory distress syndrome | *preterm grunting ground-glass, premature retractions reticulogranular, 28 weeks grunting, air bronchograms newborn | surfactant; cpap; betamethasone mother; intubation | antibiotics; supportive only; furosemide; observation
transient tachypnea of the newborn | *cesarean term tachypnea fissure fluid, fluid interlobar, cesarean newborn tachypnea | supportive; oxygen; observation | surfactant; antibiotics; intubation
meconium aspiration | *meconium-stained limp, post-term meconium respiratory | suction; ventilation; oxygen | surfactant first; observation
congenital diaphragmatic hernia | *scaphoid abdomen, bowel sounds chest newborn | intubation; orogastric; surgery | bag mask; chest tube; cpap
tracheoesophageal fistula; choanal atresia | *coiled nasogastric, drooling newborn cannot pass, cyanosis feeding improves crying | surgery; oral airway; catheter pass | surfactant; antibiotics; omeprazole
congenital heart disease; tetralogy of fallot | *boot-shaped, squatting cyanosis, tet spells, harsh left upper sternal cyanosis | knee-chest; surgery; oxygen; propranolol; morphine; phenylephrine | indomethacin; furosemide; digoxin; albuterol
transposition of the great vessels | *egg on string, cyanosis newborn day unresponsive oxygen diabetic mother, single s2 cyanosis | prostaglandin; alprostadil; septostomy; echocardiography | indomethacin; oxygen alone; surfactant
patent ductus arteriosus | *machine-like, continuous murmur, rubella murmur | indomethacin; ligation; ibuprofen | prostaglandin; observation; valve
ventricular septal defect; atrial septal defect | *holosystolic left lower sternal, fixed split, loud harsh lower sternal infant | echocardiography; observation; surgery; reassurance small; closure | indomethacin; prostaglandin; antibiotics
coarctation of the aorta | *weak femoral pulses, upper extremity hypertension, rib notching, differential pressure legs | prostaglandin; surgery; echocardiography; angioplasty; mri | indomethacin; lisinopril; observation
kawasaki disease | *five days fever conjunctivitis, strawberry tongue desquamation, cracked lips rash lymph, edema hands fever child | immunoglobulin; aspirin; intravenous immunoglobulin; echocardiography; high-dose aspirin | prednisone; antibiotics; penicillin; acetaminophen; vitamin a
measles | *koplik, cough coryza conjunctivitis, unvaccinated rash starts face, rash head down | vitamin a; supportive; vaccine exposure; isolation; immunoglobulin exposure | aspirin; antibiotics; acyclovir; intravenous immunoglobulin treat
mumps; rubella; roseola; erythema infectiosum; hand foot mouth disease; coxsackie | *parotid swelling unvaccinated, postauricular lymph rash, high fever then rash, slapped, vesicles palms mouth | supportive; reassurance; vaccine | antibiotics; aspirin; acyclovir; prednisone
henoch-schonlein purpura; iga vasculitis | *palpable purpura buttocks, purpura legs abdominal arthralgia child | supportive; nsaid; hydration; prednisone severe | plasmapheresis; antibiotics; platelet; cyclophosphamide
febrile seizure; simple febrile seizure | *seizure fever toddler brief, fever 39 seizure two-year | reassurance; acetaminophen; supportive; education | phenytoin; lumbar puncture; ct; eeg; phenobarbital; valproate; mri
infantile spasms | *hypsarrhythmia, spasms clusters infant | acth; vigabatrin | phenytoin; carbamazepine; reassurance
breath-holding spells | *cries then cyanotic limp, tantrum loses consciousness, scolded turns blue | reassurance; iron | eeg; phenytoin; echocardiography; valproate
nocturnal enuresis; enuresis | *bedwetting, wets bed, wetting the bed | reassurance; enuresis alarm; desmopressin; restrict fluids; urinalysis | imipramine first; oxybutynin; cystoscopy; ultrasound
constipation functional; encopresis | *hard stools toddler toilet, soiling, withholding | polyethylene glycol; fiber; laxative; disimpaction | rectal biopsy; loperamide; enema alone; barium
vesicoureteral reflux | *febrile urinary infant, hydronephrosis infant | voiding cystourethrogram; ultrasound; prophylaxis | observation; ct; cystoscopy
wilms tumor; neuroblastoma | *abdominal mass smooth child, aniridia, opsoclonus, vanillylmandelic, crosses midline, beckwith macroglossia | ultrasound; ct; nephrectomy; chemotherapy; alpha-fetoprotein monitoring; vanillylmandelic | observation; antibiotics; biopsy
beckwith-wiedemann syndrome | *macroglossia, omphalocele large tongue, hemihypertrophy, ear creases | ultrasound; alpha-fetoprotein; glucose; periodic monitoring | karyotype; observation only
retinoblastoma | *white pupillary reflex, leukocoria | ophthalmology; enucleation; mri | observation; patch; biopsy
strabismus; amblyopia; pseudostrabismus | *eye turns, asymmetric corneal light, broad nasal bridge symmetrical reflex | patch; occlusion; cyclopentolate; ophthalmology; reassurance; eyeglasses | observation; enucleation; botulinum first
developmental dysplasia of the hip | *ortolani, barlow, clunk, asymmetric gluteal folds | ultrasound; pavlik; hip ultrasound; x-ray after 4 | observation; x-ray newborn; physical therapy; mri; triple diapering
legg-calve-perthes disease | *limp boy six years, femoral head avascular boy | x-ray; bracing; observation; mri | antibiotics; pinning; aspirin
slipped capital femoral epiphysis | *obese adolescent limp, obese boy hip knee pain external rotation | surgical pinning; screw; x-ray; non-weight; fixation | physical therapy; pavlik; observation; nsaid; cast
transient synovitis | *hip pain after viral afebrile, limp child normal leukocyte, low fever hip improves | ibuprofen; nsaid; rest; observation; supportive | arthrocentesis; antibiotics; surgery; casting
osgood-schlatter disease; patellofemoral syndrome | *tibial tubercle, anterior knee stairs, pain kneeling athlete adolescent | rest; physical therapy; nsaid; ice; activity modification; stretching; quadriceps | surgery; corticosteroid; arthroscopy; mri; cast
growing pains | *leg pain night bilateral child normal exam, nighttime leg aches | reassurance; massage; supportive; analgesia | x-ray; bone scan; antibiotics; technetium; mri
osteosarcoma; ewing sarcoma; osteoid osteoma | *sunburst, codman, onion skin, night pain relieved nsaid, metaphysis adolescent | biopsy; chemotherapy; nsaid; mri; resection; aspirin osteoid | antibiotics; observation; reassurance
rickets; vitamin d deficiency rickets | *bowed legs child dark breastfed, rachitic, widened wrists infant breastfed | vitamin d; calcium; cholecalciferol | phosphate; observation; antibiotics
vitamin d resistant rickets; x-linked hypophosphatemic rickets | *normal calcium low phosphate bowed, rickets normal vitamin d, phosphate wasting | phosphate calcitriol; phosphate | vitamin d alone
osteogenesis imperfecta | *blue sclera, fractures multiple minimal | bisphosphonate | protective services
juvenile idiopathic arthritis | *salmon rash fever arthritis, child morning stiffness weeks joints | nsaid; methotrexate; slit-lamp; ibuprofen | antibiotics; allopurinol; aspirin
duchenne muscular dystrophy | *calf pseudohypertrophy, gowers, boy waddling | genetic testing; prednisone; corticosteroid; creatine kinase; dystrophin | muscle biopsy first; levodopa; pyridostigmine
spinal muscular atrophy | *floppy infant tongue fasciculations, hypotonia areflexia infant | nusinersen; genetic | botulinum; corticosteroid
cerebral palsy | *preterm spasticity, delayed motor hypertonia, hand preference early | physical therapy; mri; baclofen; botulinum | antiepileptic; corticosteroid
autism spectrum disorder | *no eye contact, repetitive play, language delay lining, does not respond name | hearing test; behavioral; autism screening; speech; risperidone irritability | methylphenidate; reassurance; ssri; observation
conduct disorder; oppositional defiant disorder | *cruel animals, fire setting, steals fights, argues adults defiant | psychotherapy; parent training; behavioral | lithium; ssri; haloperidol
disruptive mood dysregulation disorder; intermittent explosive disorder | *outbursts child irritable between, temper outbursts persistently irritable, explosive rage adult, outbursts regret | psychotherapy; stimulant; parent training; fluoxetine | lithium; haloperidol
separation anxiety disorder; selective mutism | *refuses school stomachaches parent, speaks home not school | cognitive behavioral; exposure; family | alprazolam; stimulant; benzodiazepine
fetal alcohol syndrome | *smooth philtrum, thin upper lip | supportive; early intervention | karyotype
congenital adrenal hyperplasia | *ambiguous genitalia, 17-hydroxyprogesterone, virilized newborn, salt wasting | hydrocortisone; fludrocortisone; fluids; 17-hydroxyprogesterone | dexamethasone alone; testosterone; antibiotics
congenital hypothyroidism | *large fontanelle hypotonia umbilical hernia, puffy infant constipation hoarse | levothyroxine; tsh | observation; karyotype
phenylketonuria; galactosemia; inborn error | *musty odor, cataracts newborn hepatomegaly, maple syrup, fair skin intellectual | dietary restriction; galactose-free; soy; low phenylalanine; restriction | phototherapy; antibiotics; breastfeeding continue
medium-chain acyl-coa; mcad; long-chain fatty acid disorder; carnitine | *hypoketotic, fasting hypoglycemia infant ill, cardiomyopathy hypoglycemia infant | glucose; avoid fasting; dextrose; restrict long-chain; carnitine | insulin; protein restriction; glucagon
vaccination; well-child | *well-child, immunizations up, vaccine due | vaccine; dtap; mmr; hepatitis b; hpv; influenza; reassurance; scheduled | delay; defer; immunoglobulin
severe combined immunodeficiency; x-linked agammaglobulinemia; chronic granulomatous disease; wiskott-aldrich syndrome | *absent thymic, recurrent infections infant boy, absent tonsils, dihydrorhodamine, catalase-positive, eczema thrombocytopenia | transplant; immunoglobulin; itraconazole trimethoprim; interferon gamma; dihydrorhodamine | live vaccine; observation; splenectomy
digeorge syndrome; ataxia-telangiectasia; common variable immunodeficiency; selective iga deficiency | *hypocalcemia cleft, ataxia telangiectasia infections, anaphylaxis transfusion, recurrent sinopulmonary | immunoglobulin; calcium; fish | live vaccine; splenectomy
foreign body aspiration | *sudden choking toddler, unilateral wheeze toddler, peanut cough | rigid bronchoscopy; bronchoscopy | albuterol; antibiotics; observation; dexamethasone; ct
foreign body ingestion; button battery | *swallowed coin, swallowed battery | endoscopy; endoscopic removal; observation stomach coin; x-ray | ipecac; surgery; observation esophagus
caustic ingestion | *drain cleaner, lye, bleach swallowed | endoscopy; supportive; airway; water | ipecac; neutralize; charcoal; vinegar; lavage
acute angle-closure glaucoma | *halos fixed mid-dilated, red painful eye vomiting, hazy cornea headache, rock-hard eye, steamy cornea | tonometry; gonioscopy; timolol; acetazolamide; pilocarpine; iridotomy | atropine; fundoscopy; mydriatic; tropicamide; epinephrine; sumatriptan; antibiotics
open-angle glaucoma | *cupping, peripheral vision loss gradual, cup-to-disc | latanoprost; timolol; tonometry; prostaglandin; trabeculoplasty | atropine; corticosteroid
central retinal artery occlusion | *cherry-red spot, sudden painless vision loss one eye, pale retina, atrial fibrillation vision | ocular massage; carotid; anterior chamber paracentesis; hyperbaric | antibiotics; pilocarpine; photocoagulation
central retinal vein occlusion | *blood thunder, dilated tortuous veins retinal, flame hemorrhages diffuse | ranibizumab; bevacizumab; anti-vegf | ocular massage; pilocarpine
retinal detachment; vitreous hemorrhage | *floaters flashes curtain, photopsia, curtain | retinopexy; laser; surgery; ophthalmology; ultrasound | observation; pilocarpine; corticosteroid; artificial tears
age-related macular degeneration; macular degeneration | *drusen, central vision loss elderly, wavy lines, metamorphopsia | ranibizumab; bevacizumab; antioxidant; smoking cessation; fluorescein | pilocarpine; corticosteroid; timolol; surgery cataract
diabetic retinopathy | *neovascularization, cotton wool diabetes, microaneurysms, dot blot diabetes | photocoagulation; ranibizumab; glycemic; annual eye | pilocarpine; timolol; corticosteroid
cataract | *glare night driving, clouding lens, loss red reflex, opacification | surgery; lens; phacoemulsification | pilocarpine; timolol; antibiotics; observation infant
conjunctivitis; bacterial conjunctivitis; viral conjunctivitis; allergic conjunctivitis | *eyelids stuck, watery discharge eye, itchy bilateral eye, purulent eye | topical erythromycin; olopatadine; warm compress; cold compress; antihistamine; polymyxin; supportive | topical corticosteroid; oral antibiotic; acyclovir; pilocarpine; ganciclovir
keratitis; bacterial keratitis; herpes keratitis | *contact lens ulcer, dendritic, contact lens pain photophobia, corneal opacity contact | topical ofloxacin; ciprofloxacin; moxifloxacin; topical ganciclovir dendritic; trifluridine; acyclovir dendritic; ofloxacin | topical corticosteroid; patch; contact; artificial tears; ganciclovir contact
corneal abrasion | *fluorescein uptake, scratched eye, foreign body sensation | topical erythromycin; fluorescein; topical antibiotic | patch; corticosteroid; anesthetic home; contact
uveitis; iritis | *ciliary flush, constricted painful photophobia, cells flare | topical corticosteroid; cycloplegic; prednisolone | pilocarpine; antibiotics; timolol
orbital cellulitis; preseptal cellulitis | *pain eye movement proptosis, ophthalmoplegia fever, eyelid erythema no proptosis | ct orbits; vancomycin; intravenous antibiotic; oral preseptal | topical; observation; oral orbital; warm
chemical eye injury | *alkali eye, splashed eye, ammonia eye | irrigation; copious; irrigate | ph first; patch; neutralize; fluorescein first
globe rupture; hyphema | *teardrop pupil, metal eye hammer, blood anterior chamber | eye shield; ct; tetanus; surgery; bed rest | tonometry; mri; patch; eye drops; pressure
carpal tunnel syndrome | *thenar, numbness thumb index, phalen, tinel wrist, night hand tingling | wrist splint; splinting; nerve conduction; surgery severe; corticosteroid injection | mri; surgery first; ulnar; opioid
rotator cuff tear; rotator cuff tendinopathy; impingement | *drop arm, pain overhead, weak abduction shoulder, painful arc | mri; physical therapy; nsaid; surgery; corticosteroid injection | casting; opioid; observation
adhesive capsulitis; frozen shoulder | *limited passive shoulder, stiff shoulder diabetes | physical therapy; range motion; injection | surgery; immobilization; sling
anterior shoulder dislocation; posterior shoulder dislocation | *externally rotated abducted, loss contour shoulder, seizure internally rotated, electrocution shoulder | reduction; x-ray; axillary view | physical therapy; surgery first; mri first
lateral epicondylitis; medial epicondylitis | *tennis elbow, wrist extension pain, elbow resisted | rest; nsaid; brace; physical therapy; counterforce | surgery; opioid; antibiotics; mri
radial head subluxation; nursemaid elbow | *pulled arm toddler, arm pronated refuses, lifted by hand | hyperpronation; supination; reduction; flexion | x-ray; cast; surgery; mri; sling
supracondylar fracture; scaphoid fracture; colles fracture | *fall outstretched elbow child, snuffbox, dinner fork | thumb spica; x-ray; cast; reduction; pinning; splint | mri first; bandage; discharge; observation
hip fracture; femoral neck fracture | *shortened externally rotated, fall elderly hip | surgery; fixation; arthroplasty; hemiarthroplasty; x-ray; heparin prophylaxis | physical therapy first; bed rest; traction only; cast
hip dislocation; posterior hip dislocation | *internally rotated adducted shortened, dashboard | reduction; closed reduction; emergency reduction | traction; mri; observation; physical therapy
compartment syndrome | *pain passive stretch, tense leg fracture, paresthesia cast tight, pain out of proportion limb | fasciotomy; remove cast; compartment pressure | elevation; heparin; ice; observation; opioid; angiography
anterior cruciate ligament injury | *lachman, popping knee swelling, anterior drawer knee | mri; surgery; reconstruction; physical therapy | casting; corticosteroid; arthrocentesis; observation
meniscal tear | *locking, mcmurray, catching knee, joint line tenderness | mri; arthroscopy; rest; physical therapy | cast; antibiotics; corticosteroid; knee brace
medial collateral ligament; lateral collateral ligament | *valgus, varus stress | brace; rest; mri; physical therapy | surgery; casting
ankle sprain; anterior talofibular ligament; atfl sprain; cfl sprain | *inversion ankle, rolled ankle, anterior drawer ankle, plantarflexed inverted | rest ice; compression; x-ray ottawa; early mobilization; brace | cast; surgery; mri; observation
achilles tendon rupture | *thompson, pop calf, ciprofloxacin heel, squeeze calf no plantarflexion | surgery; splint; casting; mri | nsaid; physical therapy first; injection
plantar fasciitis | *heel pain first steps, morning heel | stretching; orthotics; nsaid; rest; ice | surgery; cast; mri; antibiotics
stress fracture | *runner shin pain, increased running tenderness, march foot pain | rest; activity; x-ray; mri | surgery; corticosteroid; continue
bursitis; baker cyst; trochanteric bursitis | *lateral hip pain lying, popliteal swelling, olecranon swelling, prepatellar | nsaid; rest; injection; aspiration; ice; physical therapy | surgery; antibiotics aseptic; heparin; arthroscopy
flexor digitorum profundus tendon rupture; jersey finger | *unable flex distal, grabbed jersey | surgery; repair | observation; splint only; extensor
mallet finger; extensor tendon injury | *unable extend distal, ball fingertip | splint extension; splinting | surgery first; flexor
trigger finger; de quervain tenosynovitis; dupuytren contracture | *finger locks, finkelstein, thumb base new mother, palmar nodule | splint; injection; nsaid; corticosteroid injection; rest | surgery first; antibiotics; mri
spinal stenosis | *shopping cart, pain walking downhill relieved sitting, neurogenic claudication | mri; physical therapy; laminectomy; nsaid | arteriography; cilostazol; bed rest; opioid
scoliosis | *adams forward, rib hump, asymmetric shoulders | observation; brace; x-ray; surgery | physical therapy; mri routine; nsaid
complex regional pain syndrome | *allodynia after fracture, swollen burning skin changes limb | physical therapy; gabapentin; amitriptyline; nsaid | casting; surgery; antibiotics; opioid
phantom limb pain | *amputat stump pain absent, amputation pain foot missing | mirror; gabapentin; amitriptyline | antibiotics; surgery; revision
rhabdomyolysis | *dark urine crush, creatine kinase muscle pain urine, blood without red cells, found down | normal saline; aggressive fluids; creatine kinase; hydration; saline | furosemide; dialysis first; mannitol first; antibiotics
splenic rupture; splenic injury | *left shoulder pain trauma, left rib fractures hypotension, kehr | ct stable; laparotomy unstable; splenectomy; fast; embolization | observation unstable; peritoneal; discharge; ct unstable
liver hematoma; liver laceration | *right upper trauma ribs, right rib fracture hypotension | ct; observation stable; laparotomy | discharge
penetrating abdominal trauma | *gunshot abdomen, stab peritonitis, evisceration | exploratory laparotomy; laparotomy | ct; observation; fast; discharge; local exploration
flail chest; pulmonary contusion; rib fracture | *paradoxical chest, rib fractures hypoxia, chest blunt infiltrate | analgesia; intubation; positive pressure; pain control; nerve block | chest binder; antibiotics; fluids liberal; discharge
traumatic brain injury; increased intracranial pressure; concussion | *glasgow coma, unequal pupils trauma, cushing reflex | ct head; intubation; mannitol; hyperventilation; hypertonic; elevate head | lumbar puncture; corticosteroid; hypotonic; sedative
urethral injury; bladder rupture | *blood meatus, high-riding prostate, pelvic fracture cannot void | retrograde urethrogram; suprapubic; cystogram | foley; catheter; observation; ct first
airway obstruction; respiratory failure | *stridor voice hoarse burn, glasgow 7, cannot protect airway, gcs 6 | intubation; endotracheal; cricothyrotomy; secure airway | observation; nasal cannula; transfusion first; ct first
end of life; advance directive; decision-making capacity | *living will, do not resuscitate, surrogate, health care proxy, refuses treatment, next of kin | respect; family meeting; surrogate; comfort; follow directive; discuss; encourage | ethics committee first; court order; intubate against; override
confidentiality; informed consent; minor consent | *emancipated, without parents know, consent parents, jehovah | maintain confidentiality; obtain consent; emergency transfuse child; court order child; treat minor | inform parents; tell; delay
suicide risk; suicidal ideation | *suicidal plan, thoughts ending life, gun access, wants to die | hospitalization; admit; involuntary; admission; ask plan | discharge; contract; outpatient; follow up weeks
smoking cessation; tobacco | *quit smoking, cigarettes wants quit | varenicline; nicotine; bupropion; counseling | bupropion seizure; clonidine first; benzodiazepine
alcohol use disorder | *cage, drinks daily beers, cut down drinking | naltrexone; acamprosate; disulfiram; counseling; motivational; thiamine | benzodiazepine outpatient; methadone; naltrexone opioid
screening; health maintenance | *routine health, annual examination, health maintenance, asymptomatic routine | mammography 50; colonoscopy 50; pap 21; lipid; dexa 65; low-dose ct; influenza vaccine; hiv screening; chlamydia screening | mammography 24; psa; ca-125; chest x-ray; dexa young; ekg
drug reaction; drug-induced | *started new medication, after starting medication, recently prescribed | discontinue; stop; switch; substitute | continue; increase
drug-induced lupus | *hydralazine rash arthralgia, procainamide arthralgia, anti-histone | discontinue; anti-histone | hydroxychloroquine; cyclophosphamide
cough ace inhibitor | *lisinopril dry cough, enalapril cough | losartan; angiotensin; discontinue | antibiotics; omeprazole; albuterol
statin myopathy | *muscle pain statin, atorvastatin weakness | discontinue; creatine kinase; stop | prednisone; biopsy; continue
amyloidosis | *macroglossia purpura, apple-green, congo red, periorbital purpura | biopsy; bortezomib; fat pad | prednisone alone
mastocytosis; carcinoid; eosinophilia | *darier, tryptase, urticaria pigmentosa | antihistamine; tryptase; cromolyn | epinephrine routine
hereditary hemorrhagic telangiectasia | *recurrent nosebleeds telangiectasia lips, arteriovenous lungs | embolization; cautery; imaging | desmopressin
neurofibromatosis; tuberous sclerosis; sturge-weber syndrome; von hippel-lindau | *cafe-au-lait, ash-leaf, shagreen, port-wine face seizure, hemangioblastoma, lisch | mri; genetic; vigabatrin; ophthalmology; eye exam | biopsy; antibiotics
marfan syndrome; ehlers-danlos syndrome; homocystinuria | *arachnodactyly, lens dislocation, hyperextensible, tall thin long fingers, downward lens | echocardiography; beta blocker; pyridoxine; losartan | contact sports; antibiotics
meningioma; glioblastoma; craniopharyngioma; brain metastasis; pituitary adenoma | *dural-based, butterfly, suprasellar calcif, ring lesion smoker, bitemporal hemianopia, hyperdense mass | mri; resection; surgery; radiation; dexamethasone | lumbar puncture; antibiotics; thrombolysis; heparin
torus palatinus; pleomorphic adenoma; oral lesion | *hard palate midline bony, palate midline hard nodule, painless parotid mass, bony palate | reassurance; observation; surgery; no intervention; excision | biopsy; antibiotics; chemotherapy; radiation
syncope; vasovagal syncope; orthostatic hypotension; carotid sinus | *prodrome standing lightheaded, after blood draw fainted, drops standing, collar shaving fainted | reassurance; avoid triggers; fluids; tilt; counterpressure; compression stockings; midodrine | pacemaker; eeg; ct head; fludrocortisone first; antiepileptic
"""
