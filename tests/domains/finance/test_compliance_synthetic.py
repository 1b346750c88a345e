"""Made-up policies: what a departure and a manner are, read by the rules' own parser, and how institutions differ."""

from collections import Counter, defaultdict
from random import Random

import pytest

from domains.finance._clauses import norms
from domains.finance._compliance_asides import ASIDES
from domains.finance._compliance_houses import DEPARTURES, HOUSES, MANNERS
from domains.finance._compliance_topics import TOPICS
from domains.finance._compliance_turns import aside, filled, said
from domains.finance._conflicts import compare
from domains.finance._pairs import pair_words
from domains.finance.compliance_synthetic import SITES, compliance_records
from fedcore.errors import ConfigError

LANGS = ("en", "zh")
DRAWS = [(t, v, lang) for t in TOPICS for v in t.values for lang in LANGS]


def kinds(rule: str, text: str) -> set[str]:
    """What the rules find between the first sentences, which name the figure."""
    return {c.kind for c in compare(norms(rule)[0], norms(text)[0])}


@pytest.mark.parametrize("way", ["looser", "stricter"])
def test_a_figure_moves_the_way_that_it_is_said_to(way: str) -> None:
    random, moved = Random(1), 0  # noqa: S311
    for topic, value, lang in DRAWS:
        if topic.title["en"] == "Cooling off":
            continue  # A right: the parser reads its days as a deadline, of which more is looser.
        rule = filled(random.choice(topic.rules[lang]), value, lang, random)
        found = {k.split()[0] for k in kinds(rule, said(topic, value, way, lang, random))} & {"looser", "stricter"}
        assert found <= {way}, (topic.title["en"], value, lang)
        moved += bool(found)
    assert moved > len(DRAWS) / 3


@pytest.mark.parametrize("way", DEPARTURES)
def test_no_departure_words_the_rule_as_one_that_complies(way: str) -> None:
    random = Random(2)  # noqa: S311
    for topic, value, lang in DRAWS:
        complying = {filled(p, value, lang, random) for p in topic.policies[lang] for _ in range(16)}
        assert said(topic, value, way, lang, random) not in complying


@pytest.mark.parametrize("lang", LANGS)
def test_a_long_clause_turns_the_rule_round_at_its_far_end(lang: str) -> None:
    random = Random(3)  # noqa: S311
    for topic in TOPICS:
        value = topic.values[0]
        text = said(topic, value, "far proviso", lang, random)
        turn = norms(filled(topic.against[lang][0], value, lang, random))[0].segment.text.rstrip(".。")
        place = text.lower().find(turn.lower())
        assert place > len(turn), text
        assert len(norms(text)) == len(norms(filled(topic.policies[lang][0], value, lang, random)))


def test_an_aside_stands_for_every_topic_and_rules_nothing() -> None:
    assert set(ASIDES) == {t.title["en"] for t in TOPICS}
    for topic in TOPICS:
        for lang in LANGS:
            assert not any(norm.modals for norm in norms(aside(topic, lang)))


@pytest.fixture(scope="module")
def words() -> dict[str, list[tuple[str, str]]]:
    """The label and the feature words of each institution's records."""
    return {
        site: [(r["label"], pair_words(r["text"], r["clause"])) for r in compliance_records(site, 50, seed=1)]
        for site in SITES
    }


def test_every_institution_has_its_ways_and_hardly_meets_the_others(words: dict[str, list[tuple[str, str]]]) -> None:
    shares: dict[str, dict[str, float]] = {}
    for site, rows in words.items():
        broken = [w.split() for label, w in rows if label == "contradiction"]
        met = Counter(word for w in broken for word in set(w))
        shares[site] = {word: met[word] / len(broken) for word in met}
    for word, home in (("hedge", "harbour"), ("party", "meridian"), ("quantifier", "oakfield")):
        share = {site: shares[site].get(f"conflict:{word}", 0.0) for site in SITES}
        assert share[home] > 3 * max(v for s, v in share.items() if s != home), share


def test_records_are_neither_plain_nor_hopeless(words: dict[str, list[tuple[str, str]]]) -> None:
    """The best that any reader of the feature words could do, and what the commonest label would do."""
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for label, prompt in (row for rows in words.values() for row in rows):
        seen[prompt][label] += 1
    total = sum(c.total() for c in seen.values())
    commonest = max(sum(seen.values(), Counter[str]()).values()) / total
    assert commonest < 0.55
    assert 0.75 < sum(max(c.values()) for c in seen.values()) / total < 0.95


def test_habits_name_known_ways_and_areas() -> None:
    areas = {t.area for t in TOPICS}
    for house in HOUSES.values():
        assert set(house.areas) <= areas
        assert set(house.departures) <= set(DEPARTURES)
        assert set(house.manners) <= set(MANNERS)


def test_a_policy_has_each_topic_once() -> None:
    random = Random(4)  # noqa: S311
    for house in HOUSES.values():
        assert len({t.title["en"] for t in house.topics(6, random)}) == 6


def test_an_unknown_site_is_refused() -> None:
    with pytest.raises(ConfigError, match="not known"):
        next(compliance_records("elsewhere", 1, seed=1))
