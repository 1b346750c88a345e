"""Chinese is traced like English: what the facts hold passes, and each change of one thing in it fails."""

import re
from dataclasses import replace
from decimal import Decimal

import cn2an
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from domains._han import HAN_NEGATIONS, HAN_SIDES, HAN_WORDS, joined
from domains._han_figures import han_dates, han_normalise, han_numbers
from domains._han_numerals import NUMERALS, han_value, written
from domains.base import Fact, Skeleton, Statement
from domains.checks import Checker
from domains.pipeline import Settings, draft
from fedcore.errors import ConcordatError

NOTE_WORDS = HAN_WORDS | frozenset(
    "患者 就诊 因 诊断 处方 服用 口服 每次 用药 测得 体格检查 一般 进一步 随访 既往史 过敏 过敏史".split()  # noqa: SIM905
)


def _name(text: str, **more: object) -> Fact:
    return Fact(kind="name", path=text, text=text, **more)  # type: ignore[arg-type]


def _number(text: str, value: str, *units: str, **more: object) -> Fact:
    return Fact(kind="number", path=text, text=text, value=Decimal(value), units=frozenset(units), **more)  # type: ignore[arg-type]


def _drug(name: str, dose: str, often: str) -> tuple[Fact, ...]:
    return (
        _name(name, drug=True),
        _number(f"{dose}毫克", dose, "mg", subject=(name,)),
        _name(often, subject=(name,)),
    )


_VISIT = (
    Fact(kind="date", path="day", text="2020-09-08"),
    _number("67岁", "67", "year", cues=frozenset({"年龄"})),
    _name("女性", also=("女", "她")),
    _name("2型糖尿病"),
    _name("右膝关节疼痛"),
    _name("双侧胸腔积液"),
    _name("无胸痛", also=("否认胸痛", "没有胸痛")),
    _number("血压142/88毫米汞柱", "142", "", "mmhg", second=Decimal(88), cues=frozenset({"血压", "BP"})),
    _number("脉搏76次/分", "76", "", "/min", cues=frozenset({"脉搏", "心率"})),
    _number("体温36.5°C", "36.5", "°c", cues=frozenset({"体温"})),
    *_drug("二甲双胍", "500", "每日两次"),
    *_drug("metformin", "850", "每日三次"),
    *_drug("阿司匹林", "75", "每日一次"),
    _name("青霉素", cues=frozenset({"过敏", "过敏史"})),
)
NOTE = Checker(
    Skeleton(
        statements=(Statement(rule="all", text="", facts=_VISIT),),
        vocabulary=NOTE_WORDS,
        forbidden=("无药物过敏史",),
        lang="zh",
    )
)


@pytest.mark.parametrize(
    "sentence",
    [
        "患者为67岁女性，既往史有2型糖尿病。",
        "患者，女，六十七岁。",
        "她于2020年9月8日就诊。",
        "就诊为二〇二〇年九月八日。",
        "2020-09-08就诊，脉搏76次/分。",
        "２０２０年９月就诊，心率７６次／分钟。",
        "血压142/88 mmHg，脉搏 76 次/分，体温 36.5℃。",
        "血压：142/88毫米汞柱；脉搏七十六次每分。",
        "患者无胸痛。",
        "患者否认胸痛，并有右膝关节疼痛和双侧胸腔积液。",
        "服用二甲双胍500毫克，每日两次；阿司匹林七十五毫克每日一次。",
        "给予metformin 850 mg每日三次。",
        "口服500mg的二甲双胍。",
        "患者对青霉素过敏，服用阿司匹林75毫克。",
        "过敏史：青霉素。",
        "进一步随访。",
        "BP 142/88。",
    ],
)
def test_what_the_input_holds_passes(sentence: str) -> None:
    assert NOTE.check(sentence).faults == ()


@pytest.mark.parametrize(
    ("sentence", "fault"),
    [
        ("患者为68岁女性。", "number"),
        ("患者，女，六十八岁。", "number"),
        ("患者为67个月女性。", "number"),
        ("患者为六十多岁女性。", "number"),
        ("患者约67岁。", "word"),
        ("患者67岁余。", "number"),
        ("脉搏七八十次/分。", "number"),
        ("脉搏第76次/分。", "number"),
        ("脉搏数十次/分。", "number"),
        ("脉搏76-80次/分。", "number"),
        ("脉搏76~80次/分。", "number"),
        ("脉搏76次以上。", "number"),
        ("脉搏76次/分以上。", "word"),
        ("脉搏＞76次/分。", "symbol"),
        ("脉搏负76次/分。", "number"),
        ("脉搏76%。", "number"),
        ("脉搏百分之七十六。", "number"),
        ("脉搏76万。", "number"),
        ("脉搏七十六点五次/分。", "number"),
        ("血压142/89毫米汞柱。", "number"),
        ("血压142毫米汞柱。", "number"),
        ("血压142，88。", "number"),
        ("血压142/88千帕。", "number"),
        ("血压76，脉搏142/88。", "attribution"),
        ("体温36.5。", "number"),
        ("体温36,5°C。", "number"),
        ("2020年9月9日就诊。", "date"),
        ("2020年九月十八日就诊。", "date"),
        ("20年9月8日就诊。", "number"),
        ("2021年就诊。", "number"),
        ("10月就诊。", "date"),
        ("服用阿司匹林500毫克。", "attribution"),
        ("服用二甲双胍500毫克每日一次，阿司匹林75毫克每日两次。", "attribution"),
        ("服用二甲双胍500微克。", "number"),
        ("服用二甲双胍500克。", "number"),
        ("服用二甲双胍500。", "number"),
        ("服用二甲双胍500毫克/千克。", "number"),
        ("服用二甲双胍500mg/kg。", "number"),
        ("服用二甲双胍500毫克半。", "number"),
        ("服用两片二甲双胍。", "number"),
        ("服用阿托伐他汀。", "drug"),
        ("服用losartan 500 mg。", "drug"),
        ("服用青霉素。", "attribution"),
        ("对青霉素、阿司匹林过敏。", "attribution"),
        ("过敏史：阿司匹林。", "attribution"),
        ("对青霉素无过敏。", "negation"),
        ("无药物过敏史。", "negation"),
        ("患者有胸痛。", "word"),
        ("患者无2型糖尿病。", "negation"),
        ("患者非2型糖尿病。", "negation"),
        ("已排除2型糖尿病。", "negation"),
        ("2型糖尿病消失。", "negation"),
        ("患者denies 2型糖尿病。", "negation"),
        ("左膝关节疼痛。", "laterality"),
        ("双右膝关节疼痛。", "laterality"),
        ("左侧胸腔积液。", "laterality"),
        ("双侧右膝关节疼痛。", "laterality"),
        ("1型糖尿病。", "word"),
        ("12型糖尿病。", "number"),
        ("2型糖尿病肾病。", "word"),
        ("糖尿病。", "word"),
        ("由于2型糖尿病就诊。", "word"),
        ("患者为67岁男性。", "word"),
        ("病房B12。", "code"),
        ("脉搏LXXVI。", "word"),
        ("脉搏⑦⑦次/分。", "number"),
        ("脉搏½。", "number"),
        ("脉搏三分之一。", "number"),
        ("脉搏几十次/分。", "number"),
        ("脉搏76🙂。", "symbol"),
        ("の女性。", "word"),
    ],
)
def test_what_the_input_does_not_hold_fails(sentence: str, fault: str) -> None:
    assert fault in NOTE.check(sentence).faults


def test_a_chinese_text_is_cut_at_its_own_stops() -> None:
    text = "今日就诊。血压142/88；脉搏76次/分！体温36.5°C？“随访。”服用metformin. Seen today. 完"
    sentences = NOTE.sentences(text)
    assert sentences[:5] == ["今日就诊。", "血压142/88；", "脉搏76次/分！", "体温36.5°C？", "“随访。”"]
    assert sentences[5:] == ["服用metformin.", "Seen today.", "完"]


def test_a_stop_inside_a_name_ends_no_sentence() -> None:
    name = _name("复查。必要时")
    checker = Checker(
        Skeleton(statements=(Statement(rule="r", text="", facts=(name,)),), vocabulary=HAN_WORDS, lang="zh")
    )
    assert checker.sentences("有复查。必要时。有复查。必要时。") == ["有复查。必要时。"] * 2


def test_sentences_are_joined_as_their_language_does() -> None:
    assert joined(joined("", "今日就诊。"), "完。") == "今日就诊。完。"
    assert joined("Seen today.", "Well.") == "Seen today. Well."


@given(st.text(max_size=60))
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert han_normalise(han_normalise(text)) == han_normalise(text)


# Numbers in characters, against two twins.


def _spelt(n: int) -> str:
    """The slow, obvious twin: digit by digit from the left, with a zero wherever places are skipped."""
    places = ["", "十", "百", "千"]
    groups, out = [], ""
    while n:
        groups.append(n % 10000)
        n //= 10000
    for index in range(len(groups) - 1, -1, -1):
        group = groups[index]
        if not group:
            continue
        for place in (3, 2, 1, 0):
            digit = group // 10**place % 10
            if digit:
                out += "零一二三四五六七八九"[digit] + places[place]
            elif out and not out.endswith("零"):
                out += "零"
        out = out.rstrip("零") + ["", "万", "亿", "万亿"][index]
        if index and groups[index - 1] < 1000 and any(groups[:index]):
            out += "零"
    return re.sub("零+", "零", out).rstrip("零") or "零"


@given(st.integers(0, 10**8 - 1))
def test_every_number_written_out_is_read_back(n: int) -> None:
    assert written(n) == _spelt(n)
    assert han_value(_spelt(n)) == n
    assert han_value(_spelt(n).removeprefix("一") if 10 <= n < 20 else _spelt(n)) == n


@given(st.integers(0, 10**12))
def test_numbers_are_read_as_another_library_writes_them(n: int) -> None:
    assert han_value(cn2an.an2cn(n)) == n
    assert han_value(cn2an.an2cn(n, "rmb").removesuffix("元整").removeprefix("元") or "零") in (n, None)


@given(st.text(st.sampled_from("零〇一二三四五六七八九两十百千万亿点"), min_size=1, max_size=8))
def test_whatever_is_read_is_read_so_by_another_library_too(text: str) -> None:
    value = han_value(text)
    if value is not None:
        assert Decimal(str(cn2an.cn2an(text.replace("〇", "零"), "smart"))) == value


@pytest.mark.parametrize(
    ("text", "value", "unit", "scale"),
    [
        ("三百二十", "320", "", ""),
        ("3.2万元", "3.2", "cny", "万"),
        ("三点二万元", "3.2", "cny", "万"),
        ("1.5亿", "1.5", "", "亿"),
        ("十五亿元", "15", "cny", "亿"),
        ("一万零五百元", "10500", "cny", ""),
        ("两千股", "2000", "share", ""),
        ("百分之五", "5", "%", ""),
        ("百分之五点三", "5.3", "%", ""),
        ("5%", "5", "%", ""),
        ("5个百分点", "5", "point", ""),
        ("五千克", "5", "kg", ""),
        ("5千元", "5", "cny", "千"),
        ("半片", "0.5", "tablet", ""),
        ("一年半", "1.5", "year", ""),
        ("两个半小时", "2.5", "hour", ""),
        ("1,234.5元", "1234.5", "cny", ""),
        ("¥320", "320", "", ""),
        ("负百分之五", "5", "%", ""),
        ("7.2毫摩尔/升", "7.2", "mmol/l", ""),
        ("120 U/L", "120", "unt/l", ""),
        ("3.4×10^9/L", "3.4", "10^9/l", ""),
        ("3.4×10⁹/L", "3.4", "10^9/l", ""),
        ("3天来", "3", "day", ""),
    ],
)
def test_a_figure_has_its_value_unit_and_scale(text: str, value: str, unit: str, scale: str) -> None:
    (figure,) = han_numbers(han_normalise(text))
    assert (figure.value, figure.unit, figure.scale) == (Decimal(value), unit, scale)
    assert figure.negative == text.startswith("负")


@pytest.mark.parametrize(
    "text", ["三四天", "三百二", "十几次", "十来天", "3亿2000万元", "1.2.3", "5天多", "三分之二", "12,34元"]
)
def test_a_figure_that_cannot_be_told_has_no_value(text: str) -> None:
    assert any(f.value is None for f in han_numbers(text))


@given(st.dates())
def test_a_date_is_read_in_every_way_of_writing_it(day: object) -> None:
    year, month, date = day.year, day.month, day.day  # type: ignore[attr-defined]
    words = "".join("〇一二三四五六七八九"[int(c)] for c in f"{year:04}")
    told = lambda n: written(n).removeprefix("一") if 10 <= n < 20 else written(n)  # noqa: E731
    for text in (
        f"{year:04}年{month}月{date}日",
        f"{year:04}-{month:02}-{date:02}",
        f"{words}年{told(month)}月{told(date)}号",
    ):
        (when,) = han_dates(text)
        assert (year, month, date) in when.readings


# A report: levels, changes, directions and years.


def _row(label: str, new: int, old: int) -> tuple[Fact, ...]:
    shared = {"cues": frozenset({label}), "scale": "万"}
    sense = "up" if new > old else "down"
    percent = abs(Decimal(new - old) * 100 / old).quantize(Decimal("0.1"))
    return (
        _name(label),
        _number(f"{new:,}万元", str(new), "", "cny", when="2024", **shared),
        _number(f"{old:,}万元", str(old), "", "cny", when="2023", **shared),
        _number(f"{percent}%", str(percent), "%", when="2024", sense=sense, cues=frozenset({label})),
    )


REPORT = Checker(
    Skeleton(
        statements=(
            Statement(rule="all", text="", facts=(*_row("营业收入", 12682, 11517), *_row("营业成本", 940, 1000))),
        ),
        vocabulary=HAN_WORDS
        | frozenset("同比 上年 较 比 去年 上升 增长 下降 减少 增至 降至 持平 达到 增幅 人民币 亿".split()),  # noqa: SIM905
        extra=(Fact(kind="date", path="h", text="2024"), Fact(kind="date", path="h", text="2023")),
        lang="zh",
    )
)


@pytest.mark.parametrize("words", ["为", "增至", "达到"])
def test_a_level_passes_as_a_level(words: str) -> None:
    assert REPORT.check(f"营业收入{words}12,682万元。").faults == ()


@pytest.mark.parametrize("words", ["增长", "增长了", "同比增长", "上升", "增幅"])
def test_a_level_is_no_change(words: str) -> None:
    assert "attribution" in REPORT.check(f"营业收入{words}12,682万元。").faults


@pytest.mark.parametrize(
    "sentence",
    [
        "2024年营业收入为12,682万元，2023年为11,517万元。",
        "2024年，营业收入同比增长10.1%，达到1.27亿元。",
        "营业收入由11,517万元增至12,682万元，增幅为10.1%。",
        "二〇二四年营业收入较上年的11,517万元增长百分之十点一。",
        "营业收入同比增长10.1%，营业成本下降6.0%，降至940万元。",
        "营业成本为人民币940万元（2024年）。",
    ],
)
def test_a_report_of_the_tables_own_figures_passes(sentence: str) -> None:
    assert REPORT.check(sentence).faults == ()


@pytest.mark.parametrize(
    ("sentence", "fault"),
    [
        ("营业收入同比增长10.2%。", "number"),
        ("营业收入为12,682元。", "number"),
        ("营业收入为12,682亿元。", "number"),
        ("营业收入为1.3亿元。", "number"),
        ("营业收入为12,682万美元。", "number"),
        ("营业收入为-12,682万元。", "number"),
        ("营业收入为940万元。", "attribution"),
        ("2023年营业收入为12,682万元。", "attribution"),
        ("营业收入为11,517万元。", "attribution"),
        ("营业收入由12,682万元增至11,517万元。", "attribution"),
        ("营业收入下降10.1%。", "attribution"),
        ("营业收入增长至10.1%。", "attribution"),
        ("营业收入降至12,682万元。", "direction"),
        ("营业成本增长。", "direction"),
        ("营业收入持平。", "direction"),
        ("营业收入未增长。", "negation"),
        ("营业收入增长10.1个百分点。", "number"),
        ("由于需求旺盛，营业收入增长。", "word"),
        ("由于营业收入增长。", "word"),
        ("2025年营业收入为12,682万元。", "number"),
        ("营业收入翻番。", "word"),
        ("营业收入增长一成。", "number"),
    ],
)
def test_a_report_of_other_figures_fails(sentence: str, fault: str) -> None:
    assert fault in REPORT.check(sentence).faults


# One change of one thing.

_SIDES = ("左", "右", "双侧")
_UNITS = {"毫克": ("微克", "克", "毫升", "片"), "次/分": ("次", "次/分钟半", "%"), "天": ("周", "个月", "年", "小时")}


@st.composite
def _cases(draw: st.DrawFn) -> tuple[list[Fact], str, dict[str, str]]:
    """Facts, a sentence of them, and its pieces by what they are."""
    dose, pulse, days = draw(st.integers(1, 999)), draw(st.integers(30, 180)), draw(st.integers(2, 60))
    side, organ = draw(st.sampled_from(_SIDES)), draw(st.sampled_from(("膝关节疼痛", "肺炎", "肾结石")))
    drug = draw(st.sampled_from(("氨氯地平", "metformin", "头孢克肟")))
    absent = draw(st.sampled_from(("发热", "呕吐", "胸痛")))
    spelt = draw(st.booleans())
    figure = written(dose).removeprefix("一") if spelt and 10 <= dose < 20 else written(dose) if spelt else str(dose)
    facts = [
        _name(f"{side}{organ}"),
        _name(f"无{absent}"),
        _name(drug, drug=True),
        _number(f"{dose}毫克", str(dose), "mg", subject=(drug,)),
        _number(f"{pulse}次/分", str(pulse), "/min", cues=frozenset({"脉搏"})),
        _number(f"{days}天", str(days), "day", cues=frozenset({"病程"})),
    ]
    gap = " " if drug.isascii() else ""
    pieces = {
        "side": side,
        "organ": organ,
        "absent": absent,
        "dose": figure,
        "sentence": f"患者{side}{organ}，病程{days}天，无{absent}，脉搏{pulse}次/分，给予{drug}{gap}{figure}毫克。",
    }
    return facts, pieces["sentence"], pieces


def _checker(facts: list[Fact]) -> Checker:
    return Checker(
        Skeleton(statements=(Statement(rule="r", text="", facts=tuple(facts)),), vocabulary=NOTE_WORDS, lang="zh")
    )


@given(_cases())
def test_a_sentence_made_from_facts_passes(case: tuple[list[Fact], str, dict[str, str]]) -> None:
    facts, sentence, _ = case
    checked = _checker(facts).check(sentence)
    assert checked.faults == ()
    assert {m.fact.path for m in checked.mentions} == {f.path for f in facts}


@given(_cases(), st.data())
def test_one_digit_changed_fails(case: tuple[list[Fact], str, dict[str, str]], data: st.DataObject) -> None:
    facts, sentence, _ = case
    places = [i for i, c in enumerate(sentence) if c.isdigit() or c in "一二三四五六七八九"]
    i = data.draw(st.sampled_from(places))
    others = "0123456789" if sentence[i].isdigit() else "一二三四五六七八九"
    other = data.draw(st.sampled_from([c for c in others if c != sentence[i]]))
    assert _checker(facts).check(sentence[:i] + other + sentence[i + 1 :]).faults


@given(_cases(), st.data())
def test_one_digit_added_or_lost_fails(case: tuple[list[Fact], str, dict[str, str]], data: st.DataObject) -> None:
    facts, sentence, _ = case
    i = data.draw(st.sampled_from([i for i, c in enumerate(sentence) if c.isdigit()]))
    added = sentence[:i] + data.draw(st.sampled_from("123456789")) + sentence[i:]
    assert _checker(facts).check(added).faults
    assert _checker(facts).check(sentence[:i] + sentence[i + 1 :]).faults


@given(_cases(), st.sampled_from([(a, b) for a, bs in _UNITS.items() for b in bs]))
def test_one_unit_changed_fails(case: tuple[list[Fact], str, dict[str, str]], change: tuple[str, str]) -> None:
    facts, sentence, _ = case
    changed = re.sub(rf"(?<=[\d{NUMERALS}]){change[0]}", change[1], sentence, count=1)
    assume(changed != sentence)
    assert _checker(facts).check(changed).faults


@given(_cases(), st.sampled_from(sorted(HAN_NEGATIONS)))
def test_a_negation_added_or_lost_fails(case: tuple[list[Fact], str, dict[str, str]], negation: str) -> None:
    facts, sentence, pieces = case
    side, organ, absent = pieces["side"], pieces["organ"], pieces["absent"]
    assert "negation" in _checker(facts).check(sentence.replace(side + organ, negation + side + organ)).faults
    assert _checker(facts).check(sentence.replace("无" + absent, absent)).faults
    assert _checker(facts).check(sentence.replace("无" + absent, "有" + absent)).faults


@given(_cases(), st.sampled_from((*_SIDES, "", "单侧", "对侧")))
def test_another_side_or_none_fails(case: tuple[list[Fact], str, dict[str, str]], other: str) -> None:
    facts, sentence, pieces = case
    assume(other != pieces["side"])
    assert _checker(facts).check(sentence.replace(pieces["side"] + pieces["organ"], other + pieces["organ"])).faults


_ALPHABET = st.sampled_from(
    list("0123456789.,/-%（）， ")
    + list("零〇一二三十百千万亿两半点无不左右双患者为有的在和血压脉搏次分毫克岁年月日对于由")
)


@given(st.text(_ALPHABET, max_size=30))
def test_no_random_text_passes_with_a_figure_that_the_input_lacks(text: str) -> None:
    """The slow twin looks at characters alone, knowing nothing of the checker."""
    checked = NOTE.check(text)
    if not checked.faults:
        held = {"2020", "09", "9", "08", "8", "67", "142", "88", "76", "500", "75", "850", "2", "36.5", "36", "5"}
        assert set(re.findall(r"\d+", checked.text)) <= held
        rest = re.sub("[二三]甲双胍|每日[一两三]次|无胸痛|双侧胸腔积液|右膝关节疼痛", "", checked.text)
        assert not set(rest) & set("无不左右双半百千万亿两")


@given(st.lists(st.sampled_from(sorted(HAN_WORDS)), min_size=1, max_size=6))
def test_function_words_alone_state_no_fact(words: list[str]) -> None:
    checked = NOTE.check("".join(words))
    assert checked.mentions == ()
    assert set(checked.faults) <= {"word"}


def test_no_function_word_holds_a_negation_a_side_or_a_number() -> None:
    assert not [
        w
        for w in HAN_WORDS
        if set(w) & set("".join(HAN_NEGATIONS - {"除外"}) + HAN_SIDES + NUMERALS) - set("中见外取有触及性缺")
    ]


def test_a_pack_cannot_let_a_negation_or_a_side_in_by_its_vocabulary() -> None:
    skeleton = Skeleton(
        statements=(Statement(rule="r", text="", facts=(_name("常见"), _name("膝痛"))),),
        vocabulary=HAN_WORDS | frozenset(("并非", "非常", "左", "无", "不", "左侧")),
        lang="zh",
    )
    checker = Checker(skeleton)
    assert "negation" in checker.check("并非常见。").faults
    assert "laterality" in checker.check("左膝痛。").faults
    assert "negation" in checker.check("无膝痛。").faults


# The whole way, in Chinese.


class _Task:
    name, version = "test.note", "1"


class _Writer:
    """Writes one text, then another for every sentence that is to be written again."""

    def __init__(self, first: str, again: str) -> None:
        self._texts, self._again = [first], again

    def write(self, prompts: list[str], *, max_new_tokens: int, temperature: float, seed: int) -> list[str]:
        return [self._texts.pop() if self._texts else self._again for _ in prompts]


_PULSE = _number("脉搏76次/分", "76", "", "/min", cues=frozenset({"脉搏"}))
_NOTE = Skeleton(
    statements=(
        Statement(rule="note.problem", text="诊断为2型糖尿病。", facts=(_name("2型糖尿病"),)),
        Statement(rule="note.pulse", text="脉搏76次/分。", facts=(_PULSE,)),
        Statement(rule="note.absent", text="无胸痛。", facts=(_name("无胸痛"),)),
    ),
    vocabulary=NOTE_WORDS,
    lang="zh",
)


def _drafted(first: str, again: str = "") -> list[tuple[str, str, str]]:
    document = draft(_Task(), _NOTE, "提示：\n病历：", _Writer(first, again), Settings())  # type: ignore[arg-type]
    assert document.text == "".join(s.text for s in document.sentences)
    return [(s.text, s.source, s.rule) for s in document.sentences]


def test_good_prose_in_chinese_is_kept_and_completed() -> None:
    assert _drafted("患者有2型糖尿病，无胸痛。") == [
        ("患者有2型糖尿病，无胸痛。", "model", "note.problem"),
        ("脉搏76次/分。", "skeleton", "note.pulse"),
    ]


def test_a_false_sentence_in_chinese_is_written_again_or_replaced() -> None:
    false = "患者有2型糖尿病。脉搏86次/分！无胸痛；"
    assert _drafted(false, "患者脉搏76次/分。")[1] == ("患者脉搏76次/分。", "model", "note.pulse")
    assert _drafted(false, "患者脉搏九十六次/分。")[1] == ("脉搏76次/分。", "skeleton", "note.pulse")


def test_a_sentence_cut_off_in_chinese_is_left_out() -> None:
    assert ("患者无胸痛", "model", "note.absent") not in _drafted("患者有2型糖尿病。患者无胸痛")


def test_a_wording_in_chinese_that_cannot_be_traced_stops_everything() -> None:
    wrong = Statement(rule="note.wrong", text="脉搏86次/分。", facts=(_PULSE,))
    with pytest.raises(ConcordatError):
        draft(_Task(), replace(_NOTE, statements=(wrong,)), "", None, Settings())  # type: ignore[arg-type]
