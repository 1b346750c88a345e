"""The words that the auditor of notes goes by: its own lists, kept apart from those that notes are written with.

>>> "ruled out" in OVER["refuted"], SPELT["twice"]
(True, Decimal('2'))
"""

from collections.abc import Mapping
from decimal import Decimal
from functools import cache

__all__ = [
    "DEEDS",
    "HELD",
    "MACHINE",
    "OFTEN",
    "OVER",
    "PERSONS",
    "PLAIN",
    "QUIET",
    "SPELT",
    "STANDINGS",
    "VITALS",
    "cues",
]

STANDINGS = ("status", "clinicalStatus", "verificationStatus", "lifecycleStatus", "docStatus", "intent")
MACHINE = frozenset(
    """resourceType id meta implicitRules language text contained extension identifier masterIdentifier
    accessionIdentifier groupIdentifier requisition preAdmissionIdentifier telecom address photo link endpoint uid
    sopClass sequence instantiatesCanonical instantiatesUri questionnaire url hash size contentType rank sigFormat
    targetFormat data system version userSelected reference display linkId use
    contentType""".split()  # noqa: SIM905
) - {"text", "display"}
PERSONS = frozenset(
    """subject patient performer requester recorder asserter author informationSource source recipient sender
    participant serviceProvider managingOrganization generalPractitioner location custodian attester authenticator
    interpreter resultsInterpreter orderer assessor collector careTeam onBehalfOf manufacturer contact encounter context
    name birthDate gender authored""".split()  # noqa: SIM905
)
"""Who and where: a note of a visit leaves them out."""
QUIET: Mapping[str, frozenset[str]] = {
    "Patient": frozenset(("active", "multipleBirthBoolean", "text")),
    "Encounter": frozenset(("length", "text")),
    "Observation": frozenset(("issued", "text")),
    "DiagnosticReport": frozenset(("issued", "result", "text")),
}
PLAIN = frozenset(
    """Patient Encounter Condition AllergyIntolerance MedicationRequest MedicationStatement MedicationAdministration
    MedicationDispense Observation DiagnosticReport ImagingStudy Specimen Procedure Immunization CarePlan ServiceRequest
    NutritionOrder Goal Communication FamilyMemberHistory QuestionnaireResponse Flag RiskAssessment
    ClinicalImpression""".split()  # noqa: SIM905
)
"""The types of a bundle that a note speaks of."""
OVER: Mapping[str, tuple[str, ...]] = {
    "entered-in-error": ("entered in error", "录入错误"),
    "refuted": ("ruled out", "已排除"),
    "unconfirmed": ("unconfirmed", "未确认"),
    "provisional": ("provisional", "初步判断"),
    "differential": ("differential diagnosis", "鉴别诊断"),
    "inactive": ("inactive", "非活动"),
    "resolved": ("resolved", "已解决"),
    "remission": ("in remission", "缓解"),
    "not-done": ("not done", "未执行"),
    "not-taken": ("not taken", "未使用"),
    "stopped": ("stopped", "已停止"),
    "cancelled": ("cancelled", "已取消"),
    "revoked": ("revoked", "已撤销"),
    "declined": ("declined", "已拒绝"),
    "rejected": ("rejected", "已拒绝"),
    "draft": ("draft", "草稿"),
    "on-hold": ("on hold", "暂停"),
    "preparation": ("in preparation", "准备中"),
    "intended": ("intended", "拟用"),
    "registered": ("registered", "已登记"),
    "preliminary": ("preliminary", "初步"),
    "must-not": ("must not be", "禁止"),
    "proposal": ("proposal", "建议"),
    "option": ("option", "备选"),
}
"""Standings that must be said wherever the thing is named -> words that say so."""
HELD: Mapping[str, str] = {
    "active": "有效",
    "completed": "已完成",
    "in-progress": "进行中",
    "unknown": "不详",
    "partial": "部分",
    "final": "最终",
    "amended": "已修订",
    "corrected": "已更正",
    "appended": "已补充",
    "recurrence": "复发",
    "relapse": "再发",
    "confirmed": "已确认",
    "planned": "计划中",
    "arrived": "已到达",
    "triaged": "已分诊",
    "onleave": "请假离院",
    "finished": "已结束",
    "proposed": "拟议",
    "accepted": "已接受",
    "available": "可用",
    "unavailable": "不可用",
    "unsatisfactory": "不合格",
    "current": "现行",
    "superseded": "已被取代",
    "health-unknown": "健康状况不详",
    "plan": "计划",
    "directive": "指令",
    "order": "医嘱",
    "original-order": "原始医嘱",
    "reflex-order": "反射医嘱",
    "filler-order": "执行方医嘱",
    "instance-order": "单次医嘱",
    "not-started": "未开始",
    "scheduled": "已安排",
}
"""Standings that hold -> their Chinese word; in English they are their own."""
SPELT: Mapping[str, Decimal] = {
    word: Decimal(n)
    for n, words in enumerate(
        (
            "",
            "once one daily weekly monthly",
            "twice two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
        )
    )
    for word in words.split()
}
VITALS: Mapping[str, tuple[str, ...]] = {
    "85354-9": ("bp", "blood pressure", "血压"),
    "8480-6": ("bp", "blood pressure", "血压"),
    "8462-4": ("bp", "blood pressure", "血压"),
    "8867-4": ("heart rate", "hr", "pulse", "心率"),
    "9279-1": ("respiratory rate", "rr", "呼吸频率"),
    "8310-5": ("temperature", "体温"),
    "59408-5": ("spo2", "oxygen saturation", "血氧饱和度"),
    "2708-6": ("spo2", "oxygen saturation", "血氧饱和度"),
    "29463-7": ("weight", "体重"),
    "8302-2": ("height", "身高"),
    "39156-5": ("bmi", "body mass index", "体重指数"),
    "4548-4": ("hba1c", "糖化血红蛋白"),
}
"""LOINC codes of vital signs -> the short names that notes have for them."""
DEEDS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("prescribed", "prescription", "prescriptions", "处方", "开具"), ("MedicationRequest", "MedicationDispense")),
    (("takes", "taken", "medication", "medications", "服用", "用药", "药物", "药品"), ("Medication",)),
    (("given", "received", "给予"), ("Medication", "Immunization")),
    (("vaccine", "vaccines", "immunization", "immunizations", "接种", "疫苗"), ("Immunization",)),
    (("procedure", "procedures", "performed", "done", "conducted", "已行", "操作"), ("Procedure",)),
    (("planned", "care", "随诊"), ("CarePlan", "ServiceRequest", "NutritionOrder", "Goal", "Communication")),
    (("allergic", "有过敏史"), ("AllergyIntolerance",)),
    (
        ("measured", "reading", "readings", "vital", "vitals", "exam", "examination", "查体", "检查", "测量", "测得"),
        ("Observation", "DiagnosticReport", "ImagingStudy", "Specimen"),
    ),
)
"""Words that say that something was done or found -> what the types of resources begin with, one of which says it."""
OFTEN = frozenset("once twice three four times a an per day daily week weekly month monthly as needed".split())  # noqa: SIM905
"""Words of frequency."""
_CODES: Mapping[str, tuple[str, ...]] = {
    "H": ("high", "偏高"),
    "HH": ("critically high", "危急偏高"),
    "L": ("low", "偏低"),
    "LL": ("critically low", "危急偏低"),
    "N": ("normal", "正常"),
    "A": ("abnormal", "异常"),
    "POS": ("positive", "阳性"),
    "NEG": ("negative", "阴性"),
    "EMER": ("emergency", "急诊"),
    "IMP": ("inpatient", "住院"),
    "vital-signs": ("生命体征",),
    "laboratory": ("实验室检查",),
    "exam": ("examination", "体格检查"),
    "survey": ("量表",),
    "imaging": ("影像",),
    "social-history": ("社会史",),
    "problem-list-item": ("问题清单",),
    "encounter-diagnosis": ("就诊诊断",),
    "achieved": ("已达成",),
}
_WORDS = frozenset(
    """a an and of the is are was were with for to in on at from until or more up by not no yes be done given said it
    that states entered error patient woman man girl boy old year years month months week weeks day days hour hours
    minute minutes second seconds visit type reason problem problems past procedures procedure vaccines vaccine plan
    prescribed takes allergic allergy allergies intolerance known recorded possible former ruled out must code item
    document family history medication request statement administration dispense diagnostic report care service
    nutrition order imaging study clinical impression flag condition observation encounter risk assessment
    questionnaire response specimen communication goal immunization reference team subjective objective assessment
    times every over all sampled data printed abated onset written stated performed at less potent than labelled
    value because repeats follow used mmhg c bp hr spo bmi rate heart respiratory temperature weight height blood
    pressure needed lb mcg points before after sleep meal breakfast lunch dinner morning noon afternoon evening night
    waking early late monday tuesday wednesday thursday friday saturday sunday
    preparation progress hold stopped completed unknown draft force active revoked cancelled declined intended taken
    yet registered result partial preliminary final amended corrected appended inactive recurrence relapse remission
    resolved unconfirmed provisional one several confirmed planned arrived triaged leave finished proposed accepted
    rejected started scheduled available unavailable unsatisfactory health current superseded proposal directive
    original reflex filler instance option routine urgent as soon once male female other low high unable assess food
    environment biologic mild moderate severe personal professional legal official replaces transforms signs appends
    working snapshot changes achieved vital signs laboratory examination survey social list diagnosis critically
    normal abnormal positive negative detected resistant susceptible intermediate ambulatory emergency inpatient
    acute observation admission short stay home field virtual left right arm appointment device task vision
    prescription route hispanic non nonhispanic following presenting conducted immunizations medications has have
    history prescriptions received seen date back hr rr also been being both did do does had having here including into
    its now currently today per their then there these they this those when where which while who age aged person
    background note notes noted documented documentation record records summary finding findings found measured
    reading readings observations showed shows presents presented presentation comes came attended attending attends
    attendance consultation visits see sees vitals sign complaint complaints conditions exam during s""".split()  # noqa: SIM905
)
"""Words by which notes join what they state; none of them is a finding, a drug or a name."""


@cache
def cues(code: str) -> frozenset[str]:
    """Words that may stand for a code of HL7 or LOINC; for a language, the joining words that a text in it may have."""
    if code in VITALS:
        return frozenset(VITALS[code])
    if code in ("en", "zh"):
        return _WORDS
    return frozenset(_CODES.get(code, ()))
