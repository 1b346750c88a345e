"""What all formats show, worked out once: title, label, blocks of sentences, notes on where each comes from, stamp.

>>> from domains.formats._example import EXAMPLE
>>> shown = page(EXAMPLE)
>>> shown.blocks[0].heading, shown.blocks[0].sentences[0].note, shown.notes[0][:30]
('Findings', 1, 'rule record.vitals: Bundle.ent')
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from domains import stamping
from domains.base import Sensitive

__all__ = ["Block", "Figure", "Page", "Sentence", "page"]

_PATHS = 4
"""Places of the input that a note names; the JSON format has all."""

_WORDS: dict[str, dict[str, str]] = {
    "en": {
        "model": "model, checked",
        "rule": "rule",
        "more": "and {} more",
        "sources": "Where each sentence comes from",
        "stamp": "Stamp",
        "figures": "Charts",
        "content": "content number",
        "made": "model used",
        "base": "base model",
        "release": "release",
        "none": "none",
        "epsilon": "privacy spent",
        "task": "task",
        "rules": "rules",
        "knowledge": "knowledge",
        "filter": "filter",
        "watermark": "watermark",
        "checks": "checks",
        "checked": "{figures} figures, {untraced} not traced; {model} sentences by a model, {rules} by rules",
        "unsafe": "UNSAFE",
        "colon": ": ",
    },
    "zh": {
        "model": "模型撰写，已核对",
        "rule": "规则",
        "more": "另有 {} 处",
        "sources": "各句来源",
        "stamp": "生成标识",
        "figures": "图表",
        "content": "内容编号",
        "made": "所用模型",
        "base": "基础模型",
        "release": "发布版本",
        "none": "无",
        "epsilon": "隐私预算",
        "task": "任务",
        "rules": "规则版本",
        "knowledge": "知识库",
        "filter": "内容过滤",
        "watermark": "水印",
        "checks": "核对",
        "checked": "{figures} 个数字，{untraced} 个无来源；模型撰写 {model} 句，规则生成 {rules} 句",
        "unsafe": "不安全",
        "colon": "：",
    },
}


@dataclass(frozen=True, kw_only=True, repr=False)
class Sentence(Sensitive):
    """A sentence and the number of its note."""

    text: str
    note: int
    by_model: bool


@dataclass(frozen=True, kw_only=True, repr=False)
class Block(Sensitive):
    """Sentences under one heading; "" for none."""

    heading: str
    sentences: tuple[Sentence, ...]


@dataclass(frozen=True, kw_only=True, repr=False)
class Figure(Sensitive):
    """A chart."""

    caption: str
    png: bytes


@dataclass(frozen=True, kw_only=True, repr=False)
class Page(Sensitive):
    """All that is shown."""

    title: str
    lang: str
    label: str
    blocks: tuple[Block, ...]
    figures: tuple[Figure, ...]
    notes: tuple[str, ...]
    """Note 1 first."""
    stamp: tuple[tuple[str, str], ...]
    """Names and values."""
    words: Mapping[str, str]


def page(sheet: Mapping[str, Any]) -> Page:
    """Work out what a sheet shows."""
    lang = "zh" if sheet["lang"] == "zh" else "en"
    words = _WORDS[lang]
    notes: dict[str, int] = {}
    blocks = []
    for heading, group in groupby(sheet["sentences"], key=lambda s: s.get("section", "")):
        sentences = tuple(
            Sentence(
                text=s["text"], note=notes.setdefault(_note(s, words), len(notes) + 1), by_model=s["source"] == "model"
            )
            for s in group
        )
        blocks.append(Block(heading=heading, sentences=sentences))
    return Page(
        title=sheet["title"],
        lang=lang,
        label=sheet["stamp"]["label"],
        blocks=tuple(blocks),
        figures=tuple(Figure(caption=f["caption"], png=base64.b64decode(f["png"])) for f in sheet["figures"]),
        notes=tuple(notes),
        stamp=_stamp(sheet, words),
        words=words,
    )


def _note(sentence: Mapping[str, Any], words: Mapping[str, str]) -> str:
    """Who worded a sentence, and where in the input it is founded."""
    who = words["model"] if sentence["source"] == "model" else f"{words['rule']} {sentence['rule']}".strip()
    places = list(
        dict.fromkeys(t["path"] + (f" ({t['derivation']})" if t["derivation"] else "") for t in sentence["trace"])
    )
    shown = "; ".join(places[:_PATHS])
    if len(places) > _PATHS:
        shown += "; " + words["more"].format(len(places) - _PATHS)
    return f"{who}{words['colon']}{shown}" if shown else who


def _stamp(sheet: Mapping[str, Any], words: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The stamp in lines for people; the metadata has it whole."""
    where, checks = sheet["stamp"], sheet["checks"]
    by_model = sum(s["source"] == "model" for s in sheet["sentences"])
    digest = (where["base_digest"] or "")[:12]
    spent = "" if where["epsilon"] is None else f"epsilon {where['epsilon']:.3g}, delta {where['delta']:.1g}"
    lines = [
        ("content", stamping.short(where["content"])),
        ("made", _made(where["model"], sheet["lang"])),
        ("base", f"{where['base']} {digest}".strip() if where["base"] else words["none"]),
        ("release", where["release"] or words["none"]),
        ("epsilon", spent),
        ("unsafe", ", ".join(where["unsafe"])),
        ("task", f"{where['task']} {where['task_version']} {where['task_digest'][:12]}".strip()),
        ("rules", _versions(where["rules"])),
        ("knowledge", _versions(where["knowledge"])),
        ("filter", "" if where["filter"] is None else where["filter"]["version"]),
        ("watermark", where["watermark"] or ""),
        (
            "checks",
            words["checked"].format(
                figures=checks["figures"],
                untraced=checks["untraced"],
                model=by_model,
                rules=len(sheet["sentences"]) - by_model,
            ),
        ),
    ]
    return tuple((words[name], value) for name, value in lines if value)


_MODELS_ZH = {
    "rules only": "仅规则",
    "base model alone": "仅基础模型",
    "base model and released adapter": "基础模型与已发布的适配器",
    "server model ": "服务器模型 ",
    " (withheld by the filter: rules wrote)": "（被内容过滤拦下，由规则撰写）",
}


def _made(model: str, lang: str) -> str:
    """The model used, in the language of the document; the metadata keep the English words."""
    for english, chinese in _MODELS_ZH.items() if lang == "zh" else ():
        model = model.replace(english, chinese)
    return model


def _versions(value: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version[:12]}" for name, version in sorted(value.items()))
