"""What the coordinator receives: nothing that equals, holds or goes with any one party's vector."""

import numpy as np
import pytest
from scipy import stats

from fedcore.secagg._primitives import add_mask, dtype_of
from fedcore.secagg.aggregator import Opened
from fedcore.secagg.messages import unpack
from tests.fedcore.secagg.cohort import Cohort, make_terms, names, play

FALSE_ALARM = 1e-8
"""Of one count: keys are fresh in every run, and a run makes 24 counts."""


@pytest.mark.parametrize("bits", [16, 32])
@pytest.mark.parametrize("before", [[], ["p003"]])
def test_no_packet_holds_an_input_or_goes_with_one(bits: int, before: list[str]) -> None:
    """Every packet is searched for every input's bytes, and correlated with every input."""
    length = 4000
    cohort = Cohort.form(make_terms(5, threshold=4, length=length, bits=bits))
    # Small inputs, as updates are: whatever is not masked would show at once.
    random = np.random.default_rng(3)
    inputs = {
        n: random.integers(-50, 50, length).astype(np.int64).astype(np.uint64).astype(dtype_of(bits)) for n in names(5)
    }
    cohort.values = lambda name, seed=0: inputs[name]  # type: ignore[method-assign]
    packets: list[bytes] = []
    outcome, _ = play(cohort, 1, before=before, seen=packets.append)
    assert isinstance(outcome, Opened)
    assert packets
    for packet in packets:
        for values in inputs.values():
            raw = values.tobytes()
            assert not any(raw[at : at + 16] in packet for at in range(0, len(raw), 160))
    vectors = [np.frombuffer(unpack(p)[1], dtype=dtype_of(bits)) for p in packets if len(p) > length * bits // 8]
    assert len(vectors) == 5 - len(before)
    for vector in vectors:
        signed = vector.view(f"<i{bits // 8}").astype(np.float64)
        for values in inputs.values():
            correlation = np.corrcoef(signed, values.view(f"<i{bits // 8}").astype(np.float64))[0, 1]
            assert abs(correlation) < 6.5 / np.sqrt(length)  # Keys are fresh: once in 10**10 pairs.


@pytest.mark.parametrize("bits", [16, 32])
def test_with_the_masks_of_all_others_revealed_the_last_vector_is_uniform(bits: int) -> None:
    """Every seed that any other party holds or opened is taken off; chi-square over the ring, byte by byte."""
    length = 1 << 18
    cohort = Cohort.form(make_terms(4, threshold=3, length=length, bits=bits))
    one = cohort.aggregator.begin(1)
    victim, others = "p000", names(4)[1:]
    seeds = {n: _pair_seed(cohort, one.request, n, victim) for n in others}
    zeros = np.zeros(length, dtype=dtype_of(bits))
    vector = np.frombuffer(unpack(cohort.parties[victim].mask(one.request, zeros))[1], dtype=dtype_of(bits)).copy()
    # All pairwise masks but one party's are known: then all of them, so that only the self-mask is left.
    for count, name in enumerate(others, start=1):
        add_mask(vector, seeds[name], -1 if victim < name else 1)
        for shift in range(0, bits, 8):
            part = (vector >> np.array(shift, dtype=vector.dtype)) & np.array(255, dtype=vector.dtype)
            counts = np.bincount(part.astype(np.int64), minlength=256)
            assert stats.chisquare(counts).pvalue > FALSE_ALARM, (count, shift)
        top = (vector >> np.array(bits - 12, dtype=vector.dtype)).astype(np.int64)
        assert stats.chisquare(np.bincount(top, minlength=4096)).pvalue > FALSE_ALARM
    # And the same count finds a vector that is not masked.
    assert stats.chisquare(np.bincount(zeros.astype(np.int64) & 255, minlength=256)).pvalue < FALSE_ALARM / 100


def _pair_seed(cohort: Cohort, request: bytes, name: str, peer: str) -> bytes:
    """What `name` knows of its pair with `peer`."""
    from fedcore.secagg._primitives import expand
    from fedcore.secagg.messages import Begin, Binding

    party = cohort.parties[name]
    begin = Begin.from_bytes(request)
    binding = Binding(terms=cohort.terms, roster=party._roster, round=begin.round, participants=begin.participants)
    return expand(expand(party._chains[peer], "round", binding.digest), "mask")


def test_the_revealed_pair_seeds_are_the_ones_that_mask() -> None:
    """The control of the test above: with the self-mask off as well, the input appears."""
    cohort = Cohort.form(make_terms(3, threshold=2, length=50))
    one = cohort.aggregator.begin(1)
    seeds = {n: _pair_seed(cohort, one.request, n, "p000") for n in names(3)[1:]}
    messages = cohort.mask(one, names(3))
    for name, message in messages.items():
        one.add_masked(name, message)
    asked = one.close_masked()
    for name, request in asked.requests.items():  # type: ignore[union-attr]
        one.add_unmasked(name, cohort.parties[name].unmask(request))
    vector = np.frombuffer(unpack(messages["p000"])[1], dtype="<u2").copy()
    own = one._recover("p000", None)
    assert own is not None
    add_mask(vector, own, -1)
    for name, seed in seeds.items():
        add_mask(vector, seed, -1 if name > "p000" else 1)
    assert (vector == cohort.inputs["p000"]).all()


def test_masks_of_two_rounds_are_unrelated() -> None:
    """A dropped party's pair seeds of one round are not those of any other."""
    cohort = Cohort.form(make_terms(4, threshold=3, length=1000))
    seeds = []
    for number in (1, 2, 3):
        one = cohort.aggregator.begin(number)
        seeds.append(_pair_seed(cohort, one.request, "p001", "p000"))
        play(cohort, number, before=["p000"])
    assert len(set(seeds)) == 3
