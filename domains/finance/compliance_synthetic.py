"""Synthetic regulations and company policies of our own, in English and Chinese, from a seed.

No such regulator or company exists, and every word is ours. A **regulation** has an article for each topic; a
policy words the same topics in its own way, and complies, departs from the article, or leaves the topic out.

Three institutions differ, as institutions do; every one of them does everything, but most of it seldom:

- `harbour`, a bank: lending, conduct and data. Its policies follow the rule's wording, refer to other sections and add
  procedures of their own; they depart by looser figures and by promising an effort.
- `meridian`, a broker: markets, control and conduct. Formal words for duties and long clauses with a harmless condition
  at the end; departs by giving the duty to somebody else, by turning it round, or by word of mouth.
- `oakfield`, an insurer: insurance, data and control. Stricter figures than asked, wider scope, and often an aside on
  what it does not rule; departs by exceptions that swallow the rule, by narrowing it, and by provisos far from it.

So what one institution's records teach does not cover another's, and some pairs stay open to whoever sees only the
feature words: an exception that takes nothing away reads like one that swallows the rule, a stricter figure like a
looser one. Labels are never wrong.

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

from domains.finance._compliance_houses import HOUSES
from domains.finance._compliance_topics import TOPICS
from domains.finance._compliance_turns import aside, chinese, filled, said
from domains.knowledge import Clause
from fedcore.errors import ConfigError

__all__ = ["SITES", "compliance_records", "policy", "public_examples", "regulation"]

SITES = tuple(HOUSES)
"""The three institutions."""
_LABELS = ("entailment", "contradiction", "not mentioned")
_TOPICS = 6
"""To a policy."""


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
        text = filled(random.choice(topic.rules[lang]), value, lang, random)
        name = f"Article {i}" if lang == "en" else f"第{chinese(i)}条"
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
        filled(random.choice(topic.rules[lang]), value, lang, random)
        name = f"Article {i}" if lang == "en" else f"第{chinese(i)}条"
        out[name] = filled(own.choice(topic.policies[lang]), value, lang, own)
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
    if site not in HOUSES:
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
    house = HOUSES[site]
    for index in range(count):
        random = Random(f"concordat/compliance/{stream}/{index}")  # noqa: S311
        lang = random.choice(("en", "zh"))
        chosen = house.topics(_TOPICS, random)
        labels = random.choices(_LABELS, house.labels, k=len(chosen))
        values = [random.choice(t.values) for t in chosen]
        written = []
        for topic, value, label in zip(chosen, values, labels, strict=True):
            if label != "not mentioned":
                way = house.manner(random) if label == "entailment" else house.departure(random)
                written.append(said(topic, value, way, lang, random))
            elif random.random() < house.asides:
                written.append(aside(topic, lang))
        random.shuffle(written)
        text = ("\n" if lang == "zh" else " ").join(written) or (
            "本制度自发布之日起施行。" if lang == "zh" else "In force."
        )
        for number, (topic, value, label) in enumerate(zip(chosen, values, labels, strict=True)):
            clause = filled(random.choice(topic.rules[lang]), value, lang, random)
            yield {
                "id": f"{site}-{stream.rsplit('/', 1)[-1]}-{index}-{number}",
                "site": site,
                "policy": f"{site}-{stream.rsplit('/', 1)[-1]}-{index}",
                "lang": lang,
                "text": text,
                "clause": clause,
                "label": label,
            }
