"""Names of FHIR elements, resource types and codes in words, English and Chinese; the Chinese ones are ours.

English labels are the element's own name taken apart ("bodySite" is "body site") unless one reads better.

>>> label("bodySite", "en"), label("bodySite", "zh"), noun("Condition", "zh"), code_words("not-done", "zh")
('body site', '部位', '病情', '未执行')
"""

import re
from collections.abc import Mapping

from domains.medicine._labels_zh import ELEMENTS

__all__ = ["CODED_ONLY", "code_words", "label", "noun", "stem"]

_CHOICES = frozenset(
    """value onset abatement effective performed occurrence medication deceased multipleBirth asNeeded rate dose
    allowed scheduled product detail collected minimumVolume item content age born time bounds probability quantity
    fastingStatus due start additive reported location serviced subject""".split()  # noqa: SIM905
)
_SUFFIX = re.compile(
    r"(?:CodeableConcept|Quantity|DateTime|Period|String|Boolean|Integer|Range|Ratio|SampledData|Reference|Timing|"
    r"Attachment|Duration|Instant|Decimal|Coding|Date|Time|Age|Code|Uri)$"
)
_EN = {
    "effective": "at",
    "performed": "performed",
    "occurrence": "on",
    "onset": "onset",
    "abatement": "abated",
    "authoredOn": "written",
    "recordedDate": "recorded",
    "dateAsserted": "stated",
    "reasonCode": "reason",
    "reasonReference": "reason",
    "statusReason": "reason for the status",
    "dosageInstruction": "dosage",
    "doseAndRate": "dose and rate",
    "asNeeded": "as needed",
    "referenceRange": "reference range",
    "dataAbsentReason": "no value, because",
    "isSubpotent": "less potent than labelled",
    "multipleBirth": "multiple birth",
    "routeofAdministration": "route of administration",
    "numberOfRepeatsAllowed": "repeats allowed",
    "hasMember": "member",
    "usedCode": "used",
    "usedReference": "used",
    "productReference": "product",
    "itemCodeableConcept": "item",
    "conclusionCode": "conclusion",
    "outcomeCodeableConcept": "outcome",
    "outcomeReference": "outcome",
    "outcomeCode": "outcome",
    "complicationDetail": "complication",
    "followUp": "follow-up",
    "div": "text",
}
_NOUNS = {
    "Patient": ("Patient", "患者"),
    "Observation": ("Observation", "观察"),
    "Condition": ("Condition", "病情"),
    "MedicationRequest": ("Medication request", "用药医嘱"),
    "MedicationStatement": ("Medication statement", "用药情况"),
    "MedicationAdministration": ("Medication administration", "给药记录"),
    "MedicationDispense": ("Medication dispense", "发药记录"),
    "Medication": ("Medication", "药品"),
    "DiagnosticReport": ("Diagnostic report", "诊断报告"),
    "Immunization": ("Immunization", "预防接种"),
    "Procedure": ("Procedure", "操作"),
    "AllergyIntolerance": ("Allergy or intolerance", "过敏或不耐受"),
    "Encounter": ("Encounter", "就诊"),
    "CarePlan": ("Care plan", "照护计划"),
    "ServiceRequest": ("Service request", "服务申请"),
    "NutritionOrder": ("Nutrition order", "营养医嘱"),
    "RiskAssessment": ("Risk assessment", "风险评估"),
    "QuestionnaireResponse": ("Questionnaire response", "问卷答复"),
    "ImagingStudy": ("Imaging study", "影像检查"),
    "Goal": ("Goal", "目标"),
    "Specimen": ("Specimen", "标本"),
    "Communication": ("Communication", "沟通"),
    "ClinicalImpression": ("Clinical impression", "临床印象"),
    "Composition": ("Document", "文书"),
    "FamilyMemberHistory": ("Family history", "家族史"),
    "DocumentReference": ("Document reference", "文书索引"),
    "Flag": ("Flag", "警示"),
    "CareTeam": ("Care team", "照护团队"),
    "Appointment": ("Appointment", "预约"),
    "CommunicationRequest": ("Communication request", "沟通申请"),
    "DeviceRequest": ("Device request", "设备申请"),
    "Task": ("Task", "任务"),
    "VisionPrescription": ("Vision prescription", "配镜处方"),
}
_CODES: Mapping[str, tuple[str, str]] = {
    # Standing of a resource or a fact.
    "preparation": ("in preparation, not done yet", "准备中，尚未执行"),
    "in-progress": ("in progress", "进行中"),
    "not-done": ("not done", "未执行"),
    "on-hold": ("on hold", "暂停"),
    "stopped": ("stopped", "已停止"),
    "completed": ("completed", "已完成"),
    "entered-in-error": ("entered in error", "录入错误"),
    "unknown": ("unknown", "不详"),
    "draft": ("draft, not in force", "草稿，未生效"),
    "active": ("active", "有效"),
    "revoked": ("revoked", "已撤销"),
    "cancelled": ("cancelled", "已取消"),
    "declined": ("declined", "已拒绝"),
    "intended": ("intended, not taken yet", "拟用，尚未使用"),
    "not-taken": ("not taken", "未使用"),
    "registered": ("registered, no result yet", "已登记，尚无结果"),
    "partial": ("partial", "部分"),
    "preliminary": ("preliminary", "初步"),
    "final": ("final", "最终"),
    "amended": ("amended", "已修订"),
    "corrected": ("corrected", "已更正"),
    "appended": ("appended", "已补充"),
    "inactive": ("inactive", "非活动"),
    "recurrence": ("recurrence", "复发"),
    "relapse": ("relapse", "再发"),
    "remission": ("in remission", "缓解"),
    "resolved": ("resolved", "已解决"),
    "unconfirmed": ("unconfirmed", "未确认"),
    "provisional": ("provisional", "初步判断"),
    "differential": ("differential diagnosis", "鉴别诊断"),
    "confirmed": ("confirmed", "已确认"),
    "refuted": ("ruled out", "已排除"),
    "planned": ("planned", "计划中"),
    "arrived": ("arrived", "已到达"),
    "triaged": ("triaged", "已分诊"),
    "onleave": ("on leave", "请假离院"),
    "finished": ("finished", "已结束"),
    "proposed": ("proposed", "拟议"),
    "accepted": ("accepted", "已接受"),
    "rejected": ("rejected", "已拒绝"),
    "not-started": ("not started", "未开始"),
    "scheduled": ("scheduled", "已安排"),
    "available": ("available", "可用"),
    "unavailable": ("unavailable", "不可用"),
    "unsatisfactory": ("unsatisfactory", "不合格"),
    "health-unknown": ("health not known", "健康状况不详"),
    "current": ("current", "现行"),
    "superseded": ("superseded", "已被取代"),
    # Intents and priorities.
    "proposal": ("proposal", "建议"),
    "plan": ("plan", "计划"),
    "directive": ("directive", "指令"),
    "order": ("order", "医嘱"),
    "original-order": ("original order", "原始医嘱"),
    "reflex-order": ("reflex order", "反射医嘱"),
    "filler-order": ("filler order", "执行方医嘱"),
    "instance-order": ("instance order", "单次医嘱"),
    "option": ("option", "备选"),
    "routine": ("routine", "常规"),
    "urgent": ("urgent", "紧急"),
    "asap": ("as soon as possible", "尽快"),
    "stat": ("at once", "立即"),
    # Other value sets of R4.
    "male": ("male", "男"),
    "female": ("female", "女"),
    "other": ("other", "其他"),
    "low": ("low", "低"),
    "high": ("high", "高"),
    "unable-to-assess": ("unable to assess", "无法评估"),
    "allergy": ("allergy", "过敏"),
    "intolerance": ("intolerance", "不耐受"),
    "food": ("food", "食物"),
    "medication": ("medication", "药物"),
    "environment": ("environment", "环境"),
    "biologic": ("biologic", "生物制品"),
    "mild": ("mild", "轻度"),
    "moderate": ("moderate", "中度"),
    "severe": ("severe", "重度"),
    "personal": ("personal", "个人"),
    "professional": ("professional", "专业"),
    "legal": ("legal", "法律"),
    "official": ("official", "官方"),
    "replaces": ("replaces", "取代"),
    "transforms": ("transforms", "转换自"),
    "signs": ("signs", "签署"),
    "appends": ("appends", "附加于"),
    "working": ("working", "工作稿"),
    "snapshot": ("snapshot", "快照"),
    "changes": ("changes", "变更"),
    "achieved": ("achieved", "已达成"),
    "vital-signs": ("vital signs", "生命体征"),
    "laboratory": ("laboratory", "实验室检查"),
    "exam": ("examination", "体格检查"),
    "survey": ("survey", "量表"),
    "imaging": ("imaging", "影像"),
    "procedure": ("procedure", "操作"),
    "social-history": ("social history", "社会史"),
    "problem-list-item": ("problem list item", "问题清单"),
    "encounter-diagnosis": ("encounter diagnosis", "就诊诊断"),
}
CODED_ONLY: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "v3-ObservationInterpretation": {
        "H": ("high", "偏高"),
        "HH": ("critically high", "危急偏高"),
        "L": ("low", "偏低"),
        "LL": ("critically low", "危急偏低"),
        "N": ("normal", "正常"),
        "A": ("abnormal", "异常"),
        "AA": ("critically abnormal", "危急异常"),
        "POS": ("positive", "阳性"),
        "NEG": ("negative", "阴性"),
        "ND": ("not detected", "未检出"),
        "DET": ("detected", "检出"),
        "R": ("resistant", "耐药"),
        "S": ("susceptible", "敏感"),
        "I": ("intermediate", "中介"),
    },
    "v3-ActCode": {
        "AMB": ("ambulatory", "门诊"),
        "EMER": ("emergency", "急诊"),
        "IMP": ("inpatient", "住院"),
        "ACUTE": ("inpatient, acute", "急性期住院"),
        "NONAC": ("inpatient, not acute", "非急性期住院"),
        "OBSENC": ("observation", "留观"),
        "PRENC": ("before admission", "入院前"),
        "SS": ("short stay", "短期住院"),
        "HH": ("at home", "居家"),
        "FLD": ("in the field", "现场"),
        "VR": ("virtual", "远程"),
    },
    "v3-ActSite": {"LA": ("left arm", "左臂"), "RA": ("right arm", "右臂")},
}
"""Code system of HL7 -> its codes for those that stand without words."""


def stem(name: str) -> str:
    """An element's name without the type of a choice: "onsetDateTime" is "onset"."""
    short = _SUFFIX.sub("", name)
    return short if short in _CHOICES else name


def label(name: str, lang: str) -> str:
    """An element in words; one that has no Chinese label keeps its English one."""
    name = stem(name)
    plain = _EN.get(name) or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    return ELEMENTS.get(name, plain) if lang == "zh" else plain


def noun(kind: str, lang: str) -> str:
    """A resource type in words."""
    return _NOUNS.get(kind, (kind, kind))[lang == "zh"]


def code_words(code: str, lang: str) -> str:
    """A code of a value set of R4 in words; one that is not in the table is its own words."""
    return _CODES[code][lang == "zh"] if code in _CODES else code.replace("-", " ")
