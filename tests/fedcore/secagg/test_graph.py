"""Graphs: complete while small; sparse ones hold their promises, by exact tails and by trial."""

import math
import random
from fractions import Fraction

import pytest
from scipy import stats

from fedcore.secagg import graph
from fedcore.secagg.graph import choose, draw


@pytest.mark.parametrize("count", [2, 3, 64])
def test_up_to_64_participants_everybody_masks_with_everybody(count: int) -> None:
    names = [f"p{i:03}" for i in range(count)]
    one = draw(names, "seed", colluders=0, threshold=count)
    assert one.parameters.is_complete
    assert one.parameters.share_threshold == count
    assert all(len(one.neighbours(n)) == count - 1 and one.holders(n) == tuple(names) for n in names)


@pytest.mark.parametrize(("count", "colluders", "threshold"), [(100, 5, 80), (256, 12, 171), (1000, 50, 800)])
def test_the_tails_are_those_of_the_hypergeometric_distribution(count: int, colluders: int, threshold: int) -> None:
    shape = choose(count, colluders=colluders, threshold=threshold)
    assert not shape.is_complete
    secure = 2.0 ** -(graph.SECURITY_BITS + graph.GRINDING_BITS)
    bad = stats.hypergeom(count - 1, colluders, shape.degree)
    window = stats.hypergeom(count, colluders, shape.degree // 2)
    assert count * bad.sf(shape.share_threshold - 1) <= secure * 1.000001
    assert count * window.sf(shape.window_least - 1) <= secure * 1.000001
    gone = stats.hypergeom(count - 1, count - threshold, shape.degree)
    assert count * gone.sf(shape.degree - shape.share_threshold) <= 2.0**-graph.FAILURE_BITS * 1.000001


def test_the_least_rare_count_equals_a_slow_sum_of_fractions() -> None:
    for population, marked, drawn, times, bits in (
        (20, 6, 8, 20, 10),
        (50, 10, 25, 3, 20),
        (9, 9, 4, 1, 5),
        (9, 0, 4, 1, 5),
    ):

        def tail(count: int, p: int = population, m: int = marked, d: int = drawn) -> Fraction:
            total = sum(math.comb(m, c) * math.comb(p - m, d - c) for c in range(count, min(m, d) + 1))
            return Fraction(total, math.comb(p, d))

        expected = next(c for c in range(1, drawn + 2) if times * tail(c) <= Fraction(1, 1 << bits))
        assert graph._least_rare(population, marked, drawn, times, bits) == expected


def test_neighbours_are_mutual_and_of_one_degree() -> None:
    names = [f"p{i:03}" for i in range(128)]
    one = draw(names, "seed", colluders=6, threshold=100)
    assert not one.parameters.is_complete
    for name in names:
        near = one.neighbours(name)
        assert len(set(near)) == one.parameters.degree
        assert name not in near
        assert all(name in one.neighbours(n) for n in near)


def test_the_order_depends_on_every_bit_of_the_seed_and_on_nothing_else() -> None:
    names = [f"p{i:03}" for i in range(128)]
    rings = {draw(names, f"seed {i}", colluders=6, threshold=100).ring for i in range(20)}
    assert len(rings) == 20
    assert draw(names, "seed 3", colluders=6, threshold=100).ring in rings


def test_a_connected_set_stays_connected_without_any_colluders() -> None:
    """Whatever 6 colluders are struck from a set that `connects`, the rest is one component."""
    names = [f"p{i:03}" for i in range(128)]
    one = draw(names, "seed", colluders=6, threshold=86)
    chance = random.Random(1)  # noqa: S311 - a test's own dice.
    connected = 0
    for _ in range(300):
        gone = set(chance.sample(names, chance.randint(0, 42)))
        survivors = [n for n in names if n not in gone]
        if not one.connects(survivors):
            continue
        connected += 1
        honest = set(survivors) - set(chance.sample(survivors, 6))
        seen, front = set(), {next(iter(honest))}
        while front:
            here = front.pop()
            seen.add(here)
            front |= (set(one.neighbours(here)) & honest) - seen
        assert seen == honest
    assert connected > 50


def test_a_window_without_survivors_does_not_connect() -> None:
    names = [f"p{i:03}" for i in range(128)]
    one = draw(names, "seed", colluders=6, threshold=86)
    half = one.parameters.degree // 2
    assert one.connects(names)
    for start in (0, 60, 127):
        gone = {one.ring[(start + i) % 128] for i in range(half)}
        assert not one.connects([n for n in names if n not in gone])
