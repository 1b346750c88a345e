"""Synthetic regulations and company policies of our own, in English and Chinese, from a seed.

No such regulator or company exists, and every word is ours. A **regulation** has an article for each topic; a
policy words the same topics in its own way, and complies, departs from the article, or leaves the topic out.
Three institutions differ in what their policies are about: `harbour` a bank, `meridian` a broker, `oakfield`
an insurer.

>>> row = next(compliance_records("harbour", 1, seed=1))
>>> sorted(row)
['clause', 'id', 'label', 'lang', 'policy', 'site', 'text']
>>> row == next(compliance_records("harbour", 1, seed=1))
True
>>> regulation("zh", seed=1)[0].id
'第一条'
"""

from collections.abc import Iterator
from random import Random
from typing import Any

from domains.finance._compliance_topics import TOPICS, Topic
from domains.knowledge import Clause
from fedcore.errors import ConfigError

__all__ = ["SITES", "compliance_records", "policy", "public_examples", "regulation"]

_MIXES = {
    "harbour": ("lending", "conduct", "data"),
    "meridian": ("markets", "conduct", "control"),
    "oakfield": ("insurance", "data", "control"),
}
SITES = tuple(_MIXES)
"""The three institutions."""
_NUMERALS = "零一二三四五六七八九"
_EN_NUMBERS = {1: "one", 2: "two", 3: "three", 5: "five", 6: "six", 7: "seven", 10: "ten", 12: "twelve", 15: "fifteen",
               20: "twenty", 30: "thirty"}  # fmt: skip


def regulation(lang: str, seed: int) -> tuple[Clause, ...]:
    """The articles of a made-up regulation, one a topic.

    Args:
        lang: "en" or "zh".
        seed: Decides the figures and wordings.
    """
    random = Random(f"concordat/compliance/regulation/{lang}/{seed}")  # noqa: S311
    out = []
    for i, topic in enumerate(TOPICS, 1):
        value = random.choice(topic.values)
        text = _filled(random.choice(topic.rules[lang]), value, lang, random)
        name = f"Article {i}" if lang == "en" else f"第{_chinese(i)}条"
        source = "Model Conduct Regulation" if lang == "en" else "示范行为监管规定"
        out.append(Clause(id=name, text=text, source=source, title=topic.title[lang], lang=lang, date="2026-01-01"))
    return tuple(out)


def policy(lang: str, seed: int) -> dict[str, str]:
    """What a policy that complies with `regulation(lang, seed)` says: article id -> its own wording."""
    random = Random(f"concordat/compliance/regulation/{lang}/{seed}")  # noqa: S311
    own = Random(f"concordat/compliance/policy/{lang}/{seed}")  # noqa: S311
    out = {}
    for i, topic in enumerate(TOPICS, 1):
        value = random.choice(topic.values)
        _filled(random.choice(topic.rules[lang]), value, lang, random)
        name = f"Article {i}" if lang == "en" else f"第{_chinese(i)}条"
        out[name] = _filled(own.choice(topic.policies[lang]), value, lang, own)
    return out


def compliance_records(site: str, count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield rules with what one institution's policies say of them; a policy gives several records.

    Args:
        site: One of `SITES`.
        count: How many policies, >= 0.
        seed: The same seed gives the same records on every machine.
    Raises:
        ConfigError: The site is not one of the three.
    """
    if site not in _MIXES:
        raise ConfigError(f"the site {site!r} is not known", expected="one of " + ", ".join(SITES))
    yield from _records(site, count, f"institution/{site}/{seed}")


def public_examples(n: int, seed: int) -> list[dict[str, Any]]:
    """Rules and policies of no institution for held-out evaluation, as fields of the task, from all sites.

    Their random streams are never those of `compliance_records`, whatever the seeds.
    """
    streams = [_records(site, n, f"public/{site}/{seed}") for site in SITES]
    rows = (next(streams[i % len(streams)]) for i in range(n))
    return [{k: row[k] for k in ("text", "clause", "label", "lang")} for row in rows]


def _records(site: str, count: int, stream: str) -> Iterator[dict[str, Any]]:
    for index in range(count):
        random = Random(f"concordat/compliance/{stream}/{index}")  # noqa: S311
        lang = random.choice(("en", "zh"))
        mine = [t for t in TOPICS if t.area in _MIXES[site]] + random.sample(TOPICS, 3)
        chosen = random.sample(list(dict.fromkeys(mine)), min(6, len(set(mine))))
        labels = [random.choices(("entailment", "contradiction", "not mentioned"), (45, 35, 20))[0] for _ in chosen]
        values = [random.choice(t.values) for t in chosen]
        said = [
            _said(t, v, label, lang, random)
            for t, v, label in zip(chosen, values, labels, strict=True)
            if label != "not mentioned"
        ]
        random.shuffle(said)
        text = ("\n" if lang == "zh" else " ").join(said) or (
            "本制度自发布之日起施行。" if lang == "zh" else "In force."
        )
        for number, (topic, value, label) in enumerate(zip(chosen, values, labels, strict=True)):
            clause = _filled(random.choice(topic.rules[lang]), value, lang, random)
            yield {
                "id": f"{site}-{stream.rsplit('/', 1)[-1]}-{index}-{number}",
                "site": site,
                "policy": f"{site}-{stream.rsplit('/', 1)[-1]}-{index}",
                "lang": lang,
                "text": text,
                "clause": clause,
                "label": label,
            }


def _said(topic: Topic, value: int, label: str, lang: str, random: Random) -> str:
    """A policy's sentence: as the rule asks, or with another figure, or turned round."""
    if label == "entailment":
        return _filled(random.choice(topic.policies[lang]), value, lang, random)
    if len(topic.values) > 1 and random.random() < 0.5:
        worse = [v for v in topic.values if (v > value) == topic.more_is_looser and v != value]
        if worse:
            return _filled(random.choice(topic.policies[lang]), random.choice(worse), lang, random)
    return _filled(random.choice(topic.against[lang]), value, lang, random)


def _filled(template: str, value: int, lang: str, random: Random) -> str:
    """A wording with its figure, in digits or in words; amounts and percentages stand in digits."""
    return template.format(n=_figure(value, lang, random, digits="{n}%" in template or "${n}" in template))


def _figure(value: int, lang: str, random: Random, *, digits: bool) -> str:
    spelt = random.random() < 0.5 and not digits
    if lang == "en":
        return _EN_NUMBERS.get(value, f"{value:,}") if spelt else f"{value:,}"
    return _chinese(value) if spelt and value < 100 else str(value)


def _chinese(value: int) -> str:
    """A number below 100 in characters."""
    tens, ones = divmod(value, 10)
    head = ("" if tens == 1 else _NUMERALS[tens]) + "十" if tens else ""
    return head + (_NUMERALS[ones] if ones or not tens else "")
