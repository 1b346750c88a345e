"""Names of FHIR elements, resource types and codes in words, English and Chinese; the Chinese ones are ours.

English labels are the element's own name taken apart ("bodySite" is "body site") unless one reads better.

>>> label("bodySite", "en"), label("bodySite", "zh"), noun("Condition", "zh"), code_words("not-done", "zh")
('body site', '部位', '病情', '未执行')
"""

import re
from collections.abc import Mapping

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
_ZH = dict(
    line.split(" ")
    for line in """abatement 缓解时间
accident 事故
achievementStatus 达成情况
active 在用
activity 活动
actor 执行者
actual 实际
additionalInstruction 补充说明
additiveProductName 添加剂名称
additiveType 添加剂类型
addresses 针对
admitSource 入院来源
administration 给予
administrationInstruction 给予说明
age 年龄
agent 执行者
allergyIntolerance 过敏
allowed 允许
amount 数量
answer 回答
appliesTo 适用于
asNeeded 必要时
asserter 陈述者
assessor 评估者
attachment 附件
attester 签署
authenticator 认证者
author 作者
authored 填写时间
authoredOn 开具时间
baseFormulaProductName 基础配方名称
baseFormulaType 基础配方类型
basedOn 依据
basis 依据
birthDate 出生日期
bodySite 部位
born 出生
bounds 起止
caloricDensity 热量密度
careTeam 照护团队
category 类别
class 就诊类别
clinicalStatus 临床状态
code 名称
collected 采集时间
collection 采集
collector 采集者
comment 备注
communication 沟通语言
complication 并发症
complicationDetail 并发症
component 分项
conclusion 结论
conclusionCode 结论
condition 疾病
confidentiality 保密级别
contact 联系人
container 容器
content 内容
context 背景
contributedToDeath 导致死亡
count 次数
countMax 最多次数
course 病程
courseOfTherapyType 疗程类型
created 创建时间
creation 创建时间
criticality 风险程度
custodian 保管方
dailyAmount 每日用量
data 数据
dataAbsentReason 无数值原因
date 日期
dateAsserted 陈述时间
dateTime 时间
deceased 死亡
denominator 分母
derivedFrom 源自
description 描述
destination 去向
detail 详情
detailRange 范围
detectedIssue 问题
device 设备
diagnosis 诊断
dietPreference 饮食偏好
dimensions 维数
dischargeDisposition 出院去向
dispenseRequest 发药要求
dispenseInterval 发药间隔
div 文本
doNotPerform 禁止执行
docStatus 文档状态
documentType 文档类型
dosage 用法用量
dosageInstruction 用法用量
dose 剂量
doseAndRate 剂量与速率
due 期限
dueDate 期限
duration 持续时间
education 宣教
effective 时间
encounter 就诊
end 结束
enteralFormula 肠内营养
estimatedAge 估计年龄
event 事件
eventHistory 历史事件
evidence 依据
excludeFoodModifier 忌食
expectedSupplyDuration 预计供药时长
expirationDate 失效日期
expressedBy 提出者
exposureRoute 接触途径
facilityType 机构类型
factor 系数
finding 发现
fluidConsistencyType 液体稠度
focalDevice 设备
focus 对象
followUp 随访
foodPreferenceModifier 饮食偏好
form 剂型
format 格式
function 职能
fundingSource 费用来源
gender 性别
generalPractitioner 全科医生
goal 目标
hasMember 成员
high 上限
hospitalization 住院
individual 人员
informationSource 信息来源
ingredient 成分
initialFill 首次发药
instance 图像
instruction 说明
intent 意图
interpretation 判读
interpreter 判读者
investigation 检查
isBrand 品牌药
isSubpotent 效价不足
issued 发布时间
item 项目
kind 种类
language 语言
lastOccurrence 末次发生
laterality 侧别
length 时长
lifecycleStatus 状态
link 链接
location 地点
lotNumber 批号
low 下限
lowerLimit 下界
managingOrganization 管理机构
manifestation 表现
manufacturer 生产者
maritalStatus 婚姻状况
maxDosePerAdministration 单次最大剂量
maxDosePerLifetime 终身最大剂量
maxDosePerPeriod 限期最大剂量
maxVolumeToDeliver 最大输注量
measure 指标
media 图像
medication 药品
medium 方式
member 成员
method 方法
mitigation 缓解措施
modality 检查方式
mode 方式
modifier 调整
multipleBirth 多胎
name 姓名
note 备注
number 编号
numberOfInstances 图像数
numberOfRepeatsAllowed 可重复次数
numberOfSeries 序列数
numerator 分子
nutrient 营养素
occurrence 发生时间
offset 间隔
onBehalfOf 代表
onset 起病时间
oralDiet 口服饮食
orderDetail 医嘱细节
orderer 开单者
organization 机构
origin 原点
outcome 结果
outcomeCode 结果
outcomeCodeableConcept 结果
outcomeReference 结果
parent 上级
part 部分
partOf 属于
participant 参与者
party 签署方
patient 患者
patientInstruction 患者须知
payload 内容
performed 执行时间
performer 执行者
performerType 执行者类型
period 时间
practiceSetting 科室
prediction 预测
preferred 首选
presentationDate 宣教日期
previous 既往
primarySource 第一手来源
priorPrescription 先前处方
priority 优先级
probability 概率
problem 问题
procedure 操作
procedureCode 操作
procedureReference 操作
processing 处理
product 产品
productName 产品名称
productReference 产品
prognosisCodeableConcept 预后
prognosisReference 预后
programEligibility 项目资格
progress 进展
protocol 方案
protocolApplied 接种方案
publicationDate 出版日期
qualitativeRisk 定性风险
quantity 数量
rank 次序
rate 速率
rationale 理由
reaction 反应
reason 原因
reasonCode 原因
reasonReference 原因
received 接收
receivedTime 接收时间
recipient 接收者
recorded 记录时间
recordedDate 记录日期
recorder 记录者
referenceRange 参考范围
referrer 转诊者
related 相关
relatesTo 关联
relationship 关系
relativeRisk 相对风险
relevantHistory 相关历史
replaces 取代
report 报告
reportOrigin 报告来源
reported 转述
request 申请
requester 开具者
result 结果
resultsInterpreter 判读者
role 角色
route 给药途径
routeofAdministration 给予途径
schedule 时间安排
scheduled 时间安排
section 章节
securityLabel 保密级别
sender 发送者
sent 发送时间
series 序列
serviceProvider 服务机构
serviceType 服务类型
severity 严重程度
sex 性别
site 部位
source 来源
sourcePatientInfo 患者信息
specimen 标本
stage 分期
start 开始日期
startDate 开始日期
started 开始时间
status 状态
statusDate 状态日期
statusHistory 状态历史
statusReason 状态原因
strength 规格
subject 患者
subpotentReason 效价不足原因
substance 物质
substitution 替代
summary 小结
supplement 营养补充
supportingInfo 支持信息
supportingInformation 支持信息
target 目标
targetDisease 目标疾病
text 文本
texture 质地
time 时间
timing 用药时间
title 标题
topic 主题
type 类型
upperLimit 上界
usedCode 使用
usedReference 使用
vaccineCode 疫苗
validityPeriod 有效期
value 数值
verificationStatus 确认状态
when 时间
whenRange 时间
who 人员
batch 批次
signature 签名""".splitlines()
)
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
    return _ZH.get(name, plain) if lang == "zh" else plain


def noun(kind: str, lang: str) -> str:
    """A resource type in words."""
    return _NOUNS.get(kind, (kind, kind))[lang == "zh"]


def code_words(code: str, lang: str) -> str:
    """A code of a value set of R4 in words; one that is not in the table is its own words."""
    return _CODES[code][lang == "zh"] if code in _CODES else code.replace("-", " ")
