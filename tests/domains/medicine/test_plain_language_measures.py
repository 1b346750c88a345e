"""What a measure of plain language counts, on notes of our own in both languages."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from domains.evaluation import Bench
from domains.medicine.plain_language import PlainLanguageTask
from domains.medicine.plain_language_measures import kept, measure, rare_words
from domains.medicine.synthetic import records
from fedcore.errors import RecordError

# Forty sentences of Chinese notes with places for what varies; nobody in them exists.
_CHINESE = """
患者{sex}，{age}岁，因“{symptom}{n}天”入院
{n}天前出现{symptom}，伴{symptom2}，无{symptom3}
否认{symptom3}，未见{sign}
既往史：高血压病{m}年，口服氨氯地平{dose}mg qd
收缩压最高{sbp}mmHg，舒张压{dbp}mmHg
血压{sbp}/{dbp}毫米汞柱，脉搏{hr}次/分，体温36.{d}℃
双下肢水肿，{side}侧较重
{side}侧胸腔积液，约{n}00ml
{side}下肢深静脉血栓，予依诺肝素{dose}mg 皮下注射 bid
心率{hr}次/分，心律不齐，可闻及心脏杂音
两肺呼吸音粗，可闻及湿性啰音，未闻及哮鸣音
腹部平软，{side}下腹压痛，无反跳痛、肌紧张
空腹血糖{n}.{d}mmol/L，糖化血红蛋白{n}.{d}%
二甲双胍0.{d}g tid，餐后口服
阿莫西林{dose}mg po tid，连用{n}天
白细胞{n}.{d}×10^9/L，中性粒细胞{m}%
血红蛋白{hr}g/L，提示贫血
血小板{hr}，未见瘀斑
肌酐{hr}μmol/L，肾功能较前下降{m}%
{year}年{month}月{n}日行胆囊切除术，术后无发热
{year}-0{d}-1{d}胃镜检查提示消化性溃疡
诊断：冠状动脉粥样硬化性心脏病，心力衰竭
诊断为慢性阻塞性肺疾病急性加重
诊断：{side}肾结石，{n}mm，建议多饮水
患者乏力、纳差{n}周，体重下降{n}公斤
夜间端坐呼吸{n}次，无咯血
心悸每日发作{n}次，每次{m}分钟，可自行缓解
{side}侧肢体麻木{n}小时，无构音障碍
头痛、眩晕{n}天，无恶心、呕吐，无意识障碍
尿频、尿急{n}天，无血尿
便秘与腹泻交替{n}个月，无黑便
对青霉素过敏，无其他过敏史
无家族史，不吸烟
甲状腺结节{n}mm，建议{m}个月后随访
给予头孢呋辛{n}.{d}g 静脉滴注 bid，共{n}天
布洛芬{dose}mg prn，{n}小时内不得重复
{side}侧腰椎间盘突出症，活动受限
皮疹伴瘙痒{n}天，停用可疑药物后好转
神志清楚，生命体征平稳，{side}侧肌力{d}级
预后良好，{n}周后复查心电图
"""
_SYMPTOMS = "呼吸困难 心悸 发热 咳痰 腹痛 腹胀 头痛 乏力 恶心 嗜睡 胸闷 盗汗".split()  # noqa: SIM905


def chinese_notes(n: int, seed: int) -> Iterator[str]:
    """Notes of eight sentences each."""
    random = Random(f"plain-language/{seed}")  # noqa: S311
    for _ in range(n):
        picked = random.sample(_CHINESE.strip().splitlines(), 8)
        yield "。".join(_filled(line, random) for line in picked) + "。"


def _filled(line: str, random: Random) -> str:
    one, two, three = random.sample(_SYMPTOMS, 3)
    return line.format(
        sex=random.choice("男女"),
        age=random.randint(18, 95),
        symptom=one,
        symptom2=two,
        symptom3=three,
        sign=random.choice(("黄疸", "发绀", "水肿", "皮疹")),
        side=random.choice("左右"),
        n=random.randint(2, 9),
        m=random.randint(10, 59),
        d=random.randint(1, 5),
        dose=random.choice((5, 10, 50, 100, 250)),
        sbp=random.randint(100, 190),
        dbp=random.randint(60, 99),
        hr=random.randint(50, 130),
        year=random.randint(2015, 2024),
        month=random.randint(1, 12),
    )


def test_every_template_is_used_and_varied() -> None:
    notes = list(chinese_notes(60, seed=1))
    assert len(_CHINESE.strip().splitlines()) == 40
    assert len(set(notes)) == 60


def _scores(rows: list[dict[str, str]], **more: str) -> dict[str, float]:
    return dict(measure(Bench(rows=rows, records=Path("none"), **more)).metrics)  # type: ignore[arg-type]


def test_chinese_notes_keep_everything_and_lose_rare_words() -> None:
    found = _scores([{"text": note} for note in chinese_notes(60, seed=1)])
    assert found["kept"] == found["negations_kept"] == 1.0
    assert found["rare_word_share"] < 0.7 * found["rare_word_share_original"]


def test_english_notes_keep_everything_and_lose_rare_words() -> None:
    found = _scores([{"text": row["note"]} for row in records("st-anne", 20, seed=3)])
    assert found["kept"] == found["negations_kept"] == 1.0
    assert found["rare_word_share"] < found["rare_word_share_original"]


def test_rows_are_measured_language_by_language() -> None:
    rows = [{"text": "Has dyspnea."}, {"text": "患者心悸。"}]
    languages = measure(Bench(rows=rows, records=Path("none"))).details["languages"]
    assert {lang: found["sentences"] for lang, found in languages.items()} == {"en": 1, "zh": 1}
    assert measure(Bench(rows=rows, records=Path("none"), lang="zh")).details["languages"].keys() == {"zh"}


def test_rows_without_a_text_are_refused() -> None:
    with pytest.raises(RecordError):
        measure(Bench(rows=[{"label": "1"}], records=Path("none")))


@pytest.mark.parametrize(
    ("original", "output", "lang"),
    [
        ("5 mg BID.", "5 mg three times a day.", "en"),
        ("5 mg BID.", "6 mg twice a day.", "en"),
        ("5 mg BID.", "5 mcg twice a day.", "en"),
        ("Denies edema.", "Swelling.", "en"),
        ("Afebrile.", "Running a fever.", "en"),
        ("Two nodules.", "Three small lumps.", "en"),
        ("BP 120/80.", "Blood pressure 120/90.", "en"),
        ("无发热。", "发烧。", "zh"),
        ("5mg bid。", "5mg每天三次。", "zh"),
        ("三天。", "四天。", "zh"),
        ("5mg。", "5ml。", "zh"),
    ],
)
def test_a_change_is_seen(original: str, output: str, lang: str) -> None:
    assert not kept(original, output, lang)  # type: ignore[arg-type]


class _Liar:
    """A model that changes a figure, or drops a negation, in every sentence."""

    def write(self, prompts: list[str], *, max_new_tokens: int, temperature: float, seed: int) -> list[str]:
        return [p.partition("\n")[0].replace("5", "6").replace("no ", "").replace("无", "有") for p in prompts]


def test_a_model_that_changes_figures_and_negations_changes_no_score() -> None:
    rows = [{"text": "Has no dyspnea. Takes 5 mg BID."}, {"text": "无心悸。口服5mg bid。"}]
    scores = measure(Bench(rows=rows, records=Path("none"), writer=_Liar))  # type: ignore[arg-type]
    assert scores.metrics["kept"] == scores.metrics["negations_kept"] == 1.0
    assert all("worded_by_model" not in found for found in scores.details["languages"].values())


def test_rare_words_are_counted_by_frequency() -> None:
    assert rare_words("The patient has dyspnea.", "en") == (1, 4)
    assert rare_words("5 mg, 10%.", "en") == (0, 1)
    assert rare_words("患者心悸。", "zh")[0] >= 1


def test_notes_of_the_generator_are_cut_at_their_stops() -> None:
    note = next(chinese_notes(1, seed=2))
    assert len(PlainLanguageTask().read({"text": note}).sentences) == 8
