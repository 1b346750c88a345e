"""JOB.toml with joint steps, secure sums and shared noise: what it becomes, what is said of it, what is refused."""

import json
import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fedcore.adapter import ModelCard
from fedcore.errors import ConcordatError, ConfigError, InvalidPlan
from fedcore.folding import DEFAULT_WIDTHS, Widths
from fedcore.identity import SigningIdentity
from fedcore.plan_file import read_plan_file
from fedcore.privacy.plan import DISCRETE_GAUSSIAN
from fedcore.round import JobPlan
from fedcore.secagg import Aggregator, Ask, Party, Terms
from fedcore.secagg._primitives import dtype_of
from fedserver.commands import server
from fedserver.job import forecast, load_job
from fedserver.strategies import load_strategy
from fedserver.sum_forecast import SumForecast, check_expected, check_room
from tests.fedserver.test_commands import JOB, Office

SHARED = (
    JOB.replace("rounds = 2\nquorum = 1", "rounds = 2\nquorum = 3\njoint = true")
    .replace("steps_per_round = 3", "steps_per_round = 1\nhonest_minimum = 3")
    .replace("[adapter]", "[secure_sums]\nthreshold = 3\nparties = 4\n\n[adapter]")
)
MASKED = JOB.replace("quorum = 1", "quorum = 3").replace(
    "[adapter]", "[secure_sums]\nthreshold = 3\nparties = 4\n\n[adapter]"
)

Load = Callable[[str], JobPlan]


@pytest.fixture
def load(tmp_path: Path, card: ModelCard) -> Load:
    (tmp_path / "card.json").write_text(json.dumps(card.to_dict()))

    def read(text: str) -> JobPlan:
        (tmp_path / "job.toml").write_text(text)
        return load_job(tmp_path / "job.toml").plan

    return read


def test_a_job_that_names_no_width_gets_the_default_but_behind_masks(load: Load) -> None:
    assert load(JOB).widths == DEFAULT_WIDTHS
    named = JOB.replace("[adapter]", '[widths]\nup = "float32"\ndown = "bfloat16"\n\n[adapter]')
    assert load(named).widths == Widths(up="float32", down="bfloat16")
    half = JOB.replace("[adapter]", '[widths]\nup = "float32"\n\n[adapter]')
    assert load(half).widths == Widths(up="float32", down=DEFAULT_WIDTHS.down)
    for masked in (SHARED, MASKED):
        assert load(masked).widths == Widths(up="float32", down=DEFAULT_WIDTHS.down)
        with pytest.raises(InvalidPlan, match="that of their ring"):
            load(masked.replace("[adapter]", '[widths]\nup = "int8"\n\n[adapter]'))
    with pytest.raises(ConfigError, match="widths: up is not known"):
        load(JOB.replace("[adapter]", '[widths]\nup = "int2"\n\n[adapter]'))


def test_a_job_that_shares_noise_is_the_plan_that_nodes_check(load: Load) -> None:
    plan = load(SHARED)
    assert plan.joint
    assert (plan.privacy.mechanism, plan.privacy.honest_minimum) == (DISCRETE_GAUSSIAN, 3)
    assert plan.sums is not None
    assert (plan.sums.parties, plan.sums.threshold, plan.sums.colluders) == (4, 3, 0)
    trained = plan.schema.part(*load_strategy(plan.strategy).trains(1))
    plan.sums.check(plan.privacy, sum(t.size for t in trained))
    assert plan.privacy.epsilon(2) <= 8.0
    given = load(SHARED.replace("epsilon = 8.0", "noise_multiplier = 0.7"))
    assert (given.privacy.noise_multiplier, given.privacy.mechanism) == (0.7, DISCRETE_GAUSSIAN)
    assert JobPlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


def test_masks_alone_leave_each_institution_its_own_noise(load: Load) -> None:
    plan = load(MASKED)
    assert (plan.joint, plan.privacy.mechanism, plan.privacy.honest_minimum) == (False, "gaussian", None)
    assert plan.sums is not None
    assert plan.sums.share_std_units == 0
    assert load(JOB.replace("rounds = 2", "rounds = 2\njoint = true").replace("= 3\nexp", "= 1\nexp")).sums is None


def test_institutions_that_are_named_are_the_parties(load: Load) -> None:
    named = SHARED.replace("parties = 4\n", "").replace("rounds = 2", 'rounds = 2\ninstitutions = ["a","b","c","d"]')
    plan = load(named)
    assert plan.sums is not None
    assert plan.sums.parties == 4


BAD: dict[str, tuple[str, str, str, type[ConcordatError], str]] = {
    "quorum below the threshold": (SHARED, "quorum = 3", "quorum = 2", ConfigError, r"a quorum from 3 \(threshold\)"),
    "quorum above the parties": (SHARED, "quorum = 3", "quorum = 5", ConfigError, r"to 4 \(parties\)"),
    "joint with several steps": (SHARED, "steps_per_round = 1", "steps_per_round = 2", InvalidPlan, "steps_per_round"),
    "joint in clear with several steps": (
        JOB, "rounds = 2", "rounds = 2\njoint = true", InvalidPlan, "a joint round is one step",
    ),
    "more honest than can be promised": (
        SHARED, "honest_minimum = 3", "honest_minimum = 4", InvalidPlan, "at most threshold - colluders = 3; got 4",
    ),
    "nobody honest": (SHARED, "honest_minimum = 3", "honest_minimum = 0", InvalidPlan, "honest_minimum is out of"),
    "colluders take the honest ones": (
        SHARED, "threshold = 3", "threshold = 4\ncolluders = 2", InvalidPlan, "threshold - colluders = 2; got 3",
    ),
    "a threshold below a majority": (SHARED, "threshold = 3", "threshold = 2", InvalidPlan, "at least 3 of 4"),
    "a strategy with two sizes": (
        SHARED, "rounds = 2", 'rounds = 2\nstrategy = "alternating"', ConfigError, "trains different numbers",
    ),
    "shared noise without masks": (
        SHARED, "[secure_sums]\nthreshold = 3\nparties = 4\n", "", ConfigError, "shared noise needs masks",
    ),
    "shared noise without joint steps": (SHARED, "joint = true\n", "", ConfigError, "shared noise needs joint steps"),
    "own noise in a masked joint step": (
        SHARED, "honest_minimum = 3\n", "", ConfigError, "does not say among how many",
    ),
    "nobody says how many": (SHARED, "parties = 4\n", "", ConfigError, "how many institutions take part at most"),
    "a price of nothing": (SHARED, "threshold = 3", "threshold = 3\nlargest_price = 1.0", InvalidPlan, "largest_price"),
    "an unknown key": (SHARED, "parties = 4", "partys = 4", ConfigError, "unknown key 'partys'"),
    "joint that is no yes or no": (SHARED, "joint = true", 'joint = "yes"', ConfigError, "joint has the wrong type"),
    "adaptive clipping": (
        SHARED,
        "[privacy]",
        '[privacy.clipping]\nrule = "adaptive"\nquantile = 0.5\nlearning_rate = 0.2\ncount_noise_multiplier = 20.0\n'
        "[privacy]",
        InvalidPlan,
        "no noised count",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_what_does_not_fit_gets_one_clear_line(load: Load, what: str) -> None:
    text, old, new, error, words = BAD[what]
    assert old in text
    with pytest.raises(error, match=words) as refused:
        load(text.replace(old, new, 1))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("institutions", "fits"), [(2, False), (3, True), (4, True), (5, False), (100, False)])
def test_a_forecast_is_of_as_many_as_can_take_part(load: Load, institutions: int, fits: bool) -> None:
    with nullcontext() if fits else pytest.raises(ConfigError, match=r"3 \(threshold\) to 4 \(parties\)"):
        check_expected(load(SHARED), institutions)


def test_forecast_knows_that_shared_noise_is_less_in_the_mean(load: Load) -> None:
    shared = load(SHARED)
    alone = replace(shared.privacy, mechanism="gaussian", honest_minimum=None)
    own = replace(shared, privacy=alone, sums=None)
    ratio = forecast(own, 4).noise_to_signal / forecast(shared, 4).noise_to_signal
    assert ratio == pytest.approx(3**0.5)
    assert forecast(own, 4).epsilon == forecast(shared, 4).epsilon


def test_forecast_of_sums_says_ring_bytes_price_and_what_the_numbers_mean(load: Load) -> None:
    plan = load(SHARED)
    seen = SumForecast.of(plan)
    assert seen is not None
    assert plan.sums is not None
    assert seen.price is not None
    assert 1 <= seen.price <= 1.01
    words = seen.describe()
    for part in (
        f"a ring of {plan.sums.bits} bits",
        f"{seen.bytes_up:,} bytes a round from each institution",
        "No sum of fewer than 3 of 4 is opened",
        "None may collude",
        "3 or more honest institutions in every sum",
        f"{seen.price:.3f} times what real numbers would need",
    ):
        assert part in words
    masked = SumForecast.of(load(MASKED))
    assert masked is not None
    assert (masked.price, "shared" in masked.describe()) == (None, False)
    assert SumForecast.of(load(JOB)) is None
    cheap = SumForecast.of(load(SHARED.replace("parties = 4", "parties = 4\nlargest_price = 3.0")))
    assert cheap is not None
    assert cheap.sums.bits == 16


@pytest.mark.parametrize("parties", [4, 7])
def test_forecast_of_bytes_is_what_a_round_really_sends(load: Load, parties: int) -> None:
    """A full round of real parties with the plan's own ring: headers and signatures are all that comes on top."""
    threshold = parties // 2 + 2
    text = SHARED.replace("threshold = 3\nparties = 4", f"threshold = {threshold}\nparties = {parties}")
    plan = load(text.replace("quorum = 3", f"quorum = {threshold}"))
    seen = SumForecast.of(plan)
    assert seen is not None
    assert plan.sums is not None
    length = sum(t.size for t in plan.schema.part(*load_strategy(plan.strategy).trains(1)))
    everyone = {f"p{number}": SigningIdentity.generate() for number in range(parties)}
    keys = tuple(sorted((n, i.public.key_hex) for n, i in everyone.items()))
    terms = plan.sums.terms(job="j", members=keys, rounds=1, parameters=length)
    sent = _bytes_of_a_round(terms, everyone)
    assert seen.bytes_up <= sent <= seen.bytes_up + 3000
    assert seen.bytes_ratio == seen.bytes_up / (4 * length)


def _bytes_of_a_round(terms: Terms, everyone: dict[str, SigningIdentity]) -> int:
    """Bytes that the first party sends in one round without dropouts."""
    aggregator, parties = Aggregator(terms), {}
    for name, identity in everyone.items():
        parties[name], key = Party.join(terms, name, identity)
        aggregator.add_keys(name, key)
    for party in parties.values():
        party.agree_keys(aggregator.roster())
    one = aggregator.begin(1, sorted(parties))
    vector = np.frombuffer(os.urandom(terms.length * terms.bits // 8), dtype=dtype_of(terms.bits))
    sent = 0
    for name in sorted(parties):
        message = parties[name].mask(one.request, vector)
        one.add_masked(name, message)
        sent = sent or len(message)
    opening = one.close_masked()
    assert isinstance(opening, Ask)
    first = sorted(parties)[0]
    return sent + len(parties[first].unmask(opening.requests[first]))


# The commands ---------------------------------------------------------------------------------------------


@pytest.fixture
def office(tmp_path: Path, card: ModelCard) -> Office:
    return Office(tmp_path, card)


def test_plan_says_what_secure_sums_mean_and_writes_them(office: Office, tmp_path: Path) -> None:
    value = office.call("plan", office.job(SHARED), "--out", tmp_path / "plan.json", where=False)
    written = read_plan_file(tmp_path / "plan.json")
    assert (value["joint"], value["honest_minimum"], value["sums"]["honest_minimum"]) == (True, 3, 3)
    assert value["sums"]["sums"]["threshold"] == 3
    assert written.sums is not None
    assert written.terms_digest == value["terms_digest"]
    assert office.call("plan", office.job(), "--out", tmp_path / "plain.json", where=False)["sums"] is None
    told = CliRunner().invoke(server, ["plan", str(office.job(SHARED)), "--out", str(tmp_path / "again.json")])
    assert value["sums"]["words"] in told.stderr


def test_submit_says_what_secure_sums_mean(office: Office) -> None:
    for name in "abcd":
        office.enrol(name)
    value = office.call("submit", office.job(SHARED))
    assert "No sum of fewer than 3 of 4 is opened" in value["sums"]["words"]


def test_submit_refuses_more_institutions_than_there_is_room_for(office: Office) -> None:
    for name in "abcde":
        office.enrol(name)
    with pytest.raises(ConfigError, match=r"more institutions are enrolled.*at most 4; got 5"):
        office.call("submit", office.job(SHARED))
    assert office.jobs() == ()
    named = SHARED.replace("rounds = 2", 'rounds = 2\ninstitutions = ["a", "b", "c", "d"]')
    assert office.call("submit", office.job(named))["state"] == "queued"


def test_there_is_always_room_without_secure_sums(load: Load) -> None:
    check_room(load(JOB), 1000)
    check_room(load(SHARED), 4)
