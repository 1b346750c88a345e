"""Notes with planted identifiers and clinical figures, in both languages, from a seed; nobody in them exists.

Names are mostly none of those that the recognisers list. Every piece that must go is planted with its kind and
place, every figure that must stay is named, so that precision and recall can be counted.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from domains._checksums import resident_check
from domains.deidentify import Identities, Person

GIVEN = (
    "Solveig", "Thaddeus", "Oluwaseun", "Birgitta", "Marisol", "Cormac", "Yevgenia", "Ignatius", "Priyanka", "Leopold",
    "Rosalind", "Ebenezer", "Grace", "Mark", "Faith", "Yolanda", "Desmond", "Anneliese", "Tobias", "Ximena",
)  # fmt: skip
FAMILY = (
    "Haverstock", "Nwachukwu", "O'Dowd", "Lindqvist-Berg", "Petrakis", "Zamora", "Thistlewood", "Kowalczyk",
    "Marchetti", "Aldridge", "Young", "Long", "Winterbourne", "Castellanos",
    "Fairweather", "Grünwald", "McAllister", "Ostrander",
)  # fmt: skip
ZH_FAMILY = ("王", "李", "张", "刘", "陈", "杨", "黄", "高", "白", "欧阳", "司马", "康", "谭", "邹", "石", "温")
ZH_GIVEN = ("志远", "雨桐", "建国", "晓梅", "子涵", "丽", "浩然", "淑芬", "明哲", "嘉怡", "伟", "秀兰", "俊杰", "思琪")
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
STREETS = ("Maple Street", "Old Mill Road", "Quarry Lane", "Harbour View Drive", "Sycamore Ave", "Kingsway Court")
TOWNS = (("Millbrook", "OH", "44146"), ("Fairhaven", "MA", "02719"), ("Cedar Rapids", "IA", "52402"))
ZH_PLACES = (
    "浙江省杭州市西湖区文三路{n}号{m}幢{k}室", "北京市海淀区中关村大街{n}号", "广东省深圳市南山区科技园路{n}号{m}栋",
    "四川省成都市武侯区人民南路{n}号", "湖南省长沙市岳麓区桃花岭街道望月小区{m}栋{k}室",
)  # fmt: skip
EN_CLINICAL = (
    "BP {a}/{b} mmHg, HR {c}/min, temperature 37.{d} C, SpO2 9{d}%.",
    "Metformin {e} mg twice daily and lisinopril {d}.5 mg daily.",
    "Hemoglobin 1{d}.{d} g/dL, WBC {d},{e}/mm3, platelets {a},000, HbA1c {d}.{d}%.",
    "Diagnoses: E11.{d}, I10, J45.90{d}; LOINC 8867-4; SNOMED 4405400{d}.",
    "Strength 4/5 on the left, pain {d}/10, ejection fraction {b}%.",
    "Insulin glargine {c} units at bedtime; ibuprofen {e} mg every 6 hours for {d} days.",
    "A white blood cell count was repeated; long QT was ruled out. He may exercise.",
    "Parkinson disease and Wilson's disease were considered; Foley catheter in place.",
)
ZH_CLINICAL = (
    "血压{a}/{b}mmHg,心率{c}次/分,体温37.{d}℃,血氧饱和度9{d}%。",
    "二甲双胍{e}mg,每日两次;赖诺普利{d}.5mg每日一次。",
    "血红蛋白1{a}g/L,白细胞{d}.{d}×10^9/L,血小板{a}×10^9/L,糖化血红蛋白{d}.{d}%。",
    "诊断:2型糖尿病E11.{d}00,高血压病I10.x00,发热{d}天,高热不退。",
    "左侧肌力4级,疼痛评分{d}/10,射血分数{b}%。白细胞升高,黄疸消退。",
    "甘精胰岛素{c}单位睡前皮下注射,布洛芬{e}mg每6小时一次。",
    "麻醉满意,病人安返病房。常规护理,管理血糖,石膏固定。",
)


@dataclass
class Planted:
    """A note, what is planted in it, and what must stay."""

    lang: str
    text: str = ""
    spans: list[tuple[str, int, int]] = field(default_factory=list)
    stays: list[str] = field(default_factory=list)
    known: Identities = field(default_factory=Identities)

    def add(self, *parts: str | tuple[str, str]) -> None:
        """Append plain text and (kind, identifier) pairs."""
        for part in parts:
            if isinstance(part, tuple):
                self.spans.append((part[0], len(self.text), len(self.text) + len(part[1])))
                self.text += part[1]
            else:
                self.text += part


def notes(n: int, seed: int, lang: str) -> Iterator[Planted]:
    """That many notes; the same for the same seed."""
    for i in range(n):
        random = Random(f"planted/{lang}/{seed}/{i}")  # noqa: S311
        yield (_english if lang == "en" else _chinese)(random)


def luhn(head: str) -> str:
    """A card number that begins so."""
    digits = [int(c) for c in head]
    total = sum(sum(divmod(2 * d, 10)) if i % 2 == 0 else d for i, d in enumerate(reversed(digits)))
    return head + str(-total % 10)


def resident(random: Random) -> str:
    """A Chinese resident number with a right check character."""
    area = random.choice(("110105", "330106", "440305", "510107", "430104"))
    born = f"{random.randint(1935, 2015)}{random.randint(1, 12):02d}{random.randint(1, 28):02d}"
    first = f"{area}{born}{random.randrange(1000):03d}"
    return first + resident_check(first)


def nhs(random: Random) -> str:
    """An NHS number with a right check digit."""
    while True:
        nine = f"{random.randrange(400_000_000, 800_000_000)}"
        check = 11 - sum(int(c) * (10 - i) for i, c in enumerate(nine)) % 11
        if check != 10:
            full = nine + str(check % 11)
            return f"{full[:3]} {full[3:6]} {full[6:]}"


def _figures(random: Random, note: Planted, lines: tuple[str, ...]) -> None:
    values = {
        "a": random.randint(100, 180), "b": random.randint(55, 95), "c": random.randint(50, 89),
        "d": random.randint(1, 9), "e": random.choice((250, 500, 850, 1000, 200, 400)),
    }  # fmt: skip
    line = random.choice(lines).format(**values)
    note.stays.append(line)
    note.add(line)


def _date(random: Random) -> str:
    y, m, d = random.randint(2015, 2024), random.randint(1, 12), random.randint(1, 28)
    month = MONTHS[m - 1]
    return random.choice(
        (
            f"{y}-{m:02d}-{d:02d}",
            f"{m}/{d}/{y}",
            f"{m:02d}/{d:02d}/{y % 100:02d}",
            f"{month} {d}, {y}",
            f"{d} {month[:3]} {y}",
        )
    )


def _phone(random: Random) -> str:
    a, b, c = random.randint(201, 989), random.randint(200, 999), random.randint(0, 9999)
    return random.choice(
        (f"({a}) {b}-{c:04d}", f"{a}-{b}-{c:04d}", f"{a}.{b}.{c:04d}", f"+1 {a} {b} {c:04d}", f"+44 20 7946 {c:04d}",
         f"+49 30 {b}{c:04d}", f"07700 {900000 + c % 1000}", f"{a}-{b}-{c:04d} ext. 12")
    )  # fmt: skip


def _english(random: Random) -> Planted:
    note = Planted(lang="en")
    given, family, doctor = random.choice(GIVEN), random.choice(FAMILY), random.choice(FAMILY)
    other = random.choice(GIVEN)
    note.known = Identities(people=(Person(family=family, given=(given,)), Person(family=doctor, given=("Ottilie",))))
    whole = random.choice((f"{given} {family}", f"{family}, {given}", f"{family.upper()}, {given.upper()}"))
    note.add("Patient name: ", ("NAME", whole), "\nDOB: ", ("DATE", _date(random)))
    note.add("\nMRN: ", ("MRN", f"{random.randrange(10**7):08d}"), "\nSeen: ", ("DATE", _date(random)), "\n\n")
    title = random.choice(("Mr.", "Ms.", "Mrs."))
    note.add(
        title,
        " ",
        ("NAME", family),
        random.choice((" is a 58-year-old", " is a 7-year-old", " is a pleasant adult")),
        " seen for follow-up. ",
    )
    _figures(random, note, EN_CLINICAL)
    street, (town, state, code) = random.choice(STREETS), random.choice(TOWNS)
    place = f"{random.randint(1, 9999)} {street}" + random.choice((f", {town}, {state} {code}", ", Apt 4B", ""))
    a, s = random.randint(1, 665), random.randint(1, 9999)
    vin = "1HGCM82633A004352"
    blocks: list[tuple[str | tuple[str, str], ...]] = [
        ("The patient lives at ", ("ADDRESS", place), ". "),
        ("Phone: ", ("PHONE", _phone(random)), ". "),
        ("Reach the family at ", ("PHONE", _phone(random)), " any time. "),
        ("Fax: ", ("FAX", f"617-555-{random.randint(0, 9999):04d}"), ". "),
        (
            "Email ",
            ("EMAIL", f"{given.lower()}.{random.randint(1, 99)}@mail-example.org".replace("ü", "u")),
            " on file. ",
        ),
        ("SSN ", ("SSN", f"{a:03d}-{random.randint(1, 99):02d}-{s:04d}"), ". "),
        ("NHS number ", ("ID", nhs(random)), ". "),
        ("Card on file ", ("ACCOUNT", luhn(f"4{random.randrange(10**14):014d}")), ". "),
        ("Insurance policy number: ", ("PLAN", f"XJ-{random.randrange(10**6):06d}-B"), ". "),
        ("Driver's license no. ", ("LICENSE", f"D{random.randrange(10**7):07d}"), ". "),
        ("Vehicle ", ("VEHICLE", vin), " was towed. "),
        ("Pacemaker serial number ", ("DEVICE", f"PM-{random.randrange(10**6):06d}"), ". "),
        ("Portal ", ("URL", f"https://portal.example.org/p/{random.randrange(10**5)}"), " was used. "),
        (
            "Upload came from ",
            ("IP", f"10.{random.randint(0, 255)}.{random.randint(0, 255)}.{random.randint(1, 254)}"),
            ". ",
        ),
        ("Her sister ", ("NAME", other), " drove. "),
        ("Dr. ", ("NAME", doctor), " agrees. "),
        ("Seen with ", ("NAME", f"Ottilie {doctor}"), ", MD. "),
        ("The father is ", ("AGE", str(random.randint(90, 104))), " years old. "),
        ("Surgery on ", ("DATE", _date(random)), ". "),
        ("Symptoms began in ", ("DATE", random.choice(("March 2019", "June 2021", "Oct 2020"))), ". "),
        (("NAME", given), " was counselled. "),
        ("Lives in ", ("ADDRESS", f"{town}"), ". "),
        (("ADDRESS", f"P.O. Box {random.randint(10, 9999)}"), " for mail. "),
    ]
    for block in random.sample(blocks, 6):
        note.add(*block)
        if random.random() < 0.5:
            _figures(random, note, EN_CLINICAL)
            note.add(" ")
    note.add("\nElectronically signed by ", ("NAME", f"Ottilie {doctor}"), ", MD\n")
    return note


def _zh_date(random: Random) -> str:
    y, m, d = random.randint(2015, 2024), random.randint(1, 12), random.randint(1, 28)
    return random.choice((f"{y}年{m}月{d}日", f"{y}-{m:02d}-{d:02d}", f"{y}/{m}/{d}", f"{y}.{m:02d}.{d:02d}"))


def _chinese(random: Random) -> Planted:
    note = Planted(lang="zh")
    family = random.choice(ZH_FAMILY)
    name, kin = family + random.choice(ZH_GIVEN), random.choice(ZH_FAMILY) + random.choice(ZH_GIVEN)
    doctor_family = random.choice(ZH_FAMILY)
    doctor = doctor_family + random.choice(ZH_GIVEN)
    note.known = Identities(people=(Person(family=family, given=(name[len(family) :],)), Person(other=(doctor,))))
    colon, comma = random.choice(((":", ","), ("：", "，")))
    note.add(
        "姓名",
        colon,
        ("NAME", name),
        comma,
        random.choice("男女"),
        comma,
        "45岁\n出生日期",
        colon,
        ("DATE", _zh_date(random)),
    )
    note.add(
        "\n住院号",
        colon,
        ("MRN", f"{random.choice(('Z', '', 'ZY'))}{random.randrange(10**7):07d}"),
        "\n入院日期",
        colon,
    )
    note.add(("DATE", _zh_date(random)), "\n")
    note.add("患者", ("NAME", name), comma, "因头晕3天入院。")
    _figures(random, note, ZH_CLINICAL)
    place = random.choice(ZH_PLACES).format(
        n=random.randint(1, 999), m=random.randint(1, 30), k=random.randint(101, 2805)
    )
    mobile = f"1{random.choice('3456789')}{random.randrange(10**9):09d}"
    mobile = random.choice(
        (
            mobile,
            f"{mobile[:3]} {mobile[3:7]} {mobile[7:]}",
            f"+86 {mobile}",
            f"{mobile[:3]}-{mobile[3:7]}-{mobile[7:]}",
        )
    )
    wide = str.maketrans("0123456789", "０１２３４５６７８９")
    blocks: list[tuple[str | tuple[str, str], ...]] = [
        ("现住", ("ADDRESS", place), "。"),
        ("家庭住址", colon, ("ADDRESS", place), "。"),
        ("身份证号", colon, ("ID", resident(random)), "。"),
        ("证件", ("ID", resident(random)), "已核对。"),
        ("联系电话", colon, ("PHONE", mobile), "。"),
        ("手机", ("PHONE", mobile.replace(" ", "").replace("+86", "").translate(wide)), "。"),
        ("座机", ("PHONE", f"0571-8{random.randrange(10**7):07d}"), "。"),
        ("医保卡号", colon, ("PLAN", f"{random.randrange(10**9):09d}"), "。"),
        ("银行卡", ("ACCOUNT", luhn(f"62{random.randrange(10**16):016d}")), "退费。"),
        ("护照号", colon, ("LICENSE", f"E{random.randrange(10**8):08d}"), "。"),
        ("车牌号", ("VEHICLE", f"浙A{random.randrange(10**5):05d}"), "。"),
        ("起搏器序列号", colon, ("DEVICE", f"SN{random.randrange(10**7):07d}"), "。"),
        ("邮箱", ("EMAIL", f"user{random.randint(1, 999)}@mail-example.cn"), "。"),
        ("微信号", colon, ("ID", f"wx_{random.randrange(10**6):06d}"), "。"),
        ("联系人", colon, ("NAME", kin), "。"),
        ("其妻", ("NAME", kin), "，陪同入院。"),
        (("NAME", doctor_family), "医生查房后同意。"),
        ("主治医师", colon, ("NAME", doctor), "。"),
        ("其父", ("AGE", str(random.randint(90, 103))), "岁，健在。"),
        ("于", ("DATE", _zh_date(random)), "行手术治疗。"),
        ("自", ("DATE", f"{random.randint(2015, 2023)}年{random.randint(1, 12)}月"), "起头晕。"),
        ("上次就诊", ("DATE", f"{random.randint(1, 12)}月{random.randint(1, 28)}日"), "。"),
        ("登录地址", ("IP", f"192.168.{random.randint(0, 255)}.{random.randint(1, 254)}"), "。"),
        ("网址", ("URL", f"https://example.cn/u/{random.randrange(10**5)}"), "。"),
    ]  # fmt: skip
    for block in random.sample(blocks, 6):
        note.add(*block)
        if random.random() < 0.5:
            _figures(random, note, ZH_CLINICAL)
    note.add("\n医师签名", colon, ("NAME", doctor), "\n")
    return note
