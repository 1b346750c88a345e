"""The release gate: a bad state is put aside, the last good one stands again, also after a kill at any point."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from fedcore.adapter import AdapterState
from fedcore.adapter_files import read_adapter
from fedcore.certificate import verify_release
from fedcore.enrolment import EnrolmentRequest
from fedcore.errors import ConfigError, RoundError
from fedcore.folding import Gate
from fedcore.identity import SigningIdentity
from fedcore.privacy.plan import PrivacyPlan
from fedcore.round import Completed, Evaluation, Optimiser
from fedcore.wire import read_plan
from fedserver import messages
from fedserver._job_views import status_of
from fedserver.collect import norm_bound
from fedserver.commands import server
from fedserver.gate import check_gate, due, judge, last_look, none_passed
from fedserver.registry import Registry
from fedserver.settings import Place
from fedserver.store import Store

GATE = Gate(records="canary.jsonl", largest_rise=0.05)
B = "layers.0.q_proj.lora_B"


class Killed(BaseException):
    """The coordinator's process is gone."""


class Public:
    """A loss that is least where every number of B is 0.05, and 1.5 for the base; what a test says comes first."""

    def __init__(self, *said: float) -> None:
        self.said = list(said)
        self.looked: list[str] = []
        self.kill_at: int | None = None

    def loss(self, state: AdapterState | None, *, records: Path, **_: Any) -> float:
        self.looked.append(records.name)
        if self.kill_at == len(self.looked):
            raise Killed
        if state is not None and self.said and records.name == "canary.jsonl":
            return self.said.pop(0)
        middle = 0.0 if state is None else float(np.mean(list(state.part("lora_B").values())))
        return 1.0 + 10 * abs(0.05 - middle)


def bad_in(federation: Any, *rounds: int, name: str = "b") -> None:
    """One institution's update is as far off as the collector lets in, in these rounds."""
    own = federation.institutions[name]

    def answer(envelope: Any) -> Any:
        plan = own.plan(envelope)
        size = 0.99 * norm_bound(plan) / math.sqrt(plan.parameters)
        own.value = -size if plan.round in rounds else 0.01
        return [messages.pack(own.reply(plan))]

    federation.answers(name, answer)


def middle(state: AdapterState) -> float:
    """What every number of B is, when all institutions send the same."""
    return float(state.tensors[B].mean())


def quarantined(result: Any) -> list[int]:
    return [o.round for o in result.outcomes if o.quarantined is not None]


# Pure -------------------------------------------------------------------------------------------------


def outcome(number: int, loss: float | None, reason: str | None = None) -> Completed:
    return Completed(
        round=number, contributors=("a",), dropped={}, state_digest="", seconds=1.0, bytes_up=1, bytes_down=1,
        canary_loss=loss, quarantined=reason,
    )  # fmt: skip


def test_least_loss_counts_only_states_that_stood_and_begins_with_the_base() -> None:
    before = (outcome(1, 1.0), outcome(2, 0.1, "bad"), outcome(3, None), outcome(4, 1.2))
    assert judge(GATE, round=5, loss=1.05, base=2.0, outcomes=before).quarantined is None
    assert judge(GATE, round=5, loss=1.0501, base=2.0, outcomes=before).quarantined is not None
    assert judge(GATE, round=5, loss=0.95, base=0.9, outcomes=before).quarantined is not None


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_loss_that_is_not_finite_never_passes_and_is_never_kept(loss: float) -> None:
    look = judge(replace(GATE, largest_rise=1e300), round=1, loss=loss, base=1.0, outcomes=())
    assert look.loss is None
    assert look.quarantined is not None
    assert "round 1: the canary loss is not finite" in look.quarantined


@pytest.mark.parametrize("every", [1, 2, 3, 7])
def test_last_look_is_the_newest_round_before_at_which_one_was_due(every: int) -> None:
    gate = replace(GATE, every=every)
    for number in range(1, 20):
        before = [r for r in range(1, number) if due(gate, r, 100)]
        assert last_look(gate, number) == max(before, default=0)
    assert due(gate, 5, 5)


# The round loop ----------------------------------------------------------------------------------------


def test_bad_round_is_put_aside_and_the_job_goes_on_from_the_last_good_state(
    make_federation: Callable[..., Any],
) -> None:
    federation = make_federation("a", "b", rounds=3, gate=GATE)
    bad_in(federation, 2)
    result = federation.run(evaluator=Public())
    assert result.status == "completed"
    assert quarantined(result) == [2]
    good, bad, _ = result.outcomes
    assert good.canary_loss == pytest.approx(1.4)
    assert bad.canary_loss > 1.5
    assert bad.quarantined.startswith("round 2: canary loss 2.0")
    assert "that of round 1 stands again" in bad.quarantined
    asked = [read_plan(e, federation.identity.public) for e in federation.institutions["a"].asked]
    assert asked[2][0].state_digest == good.state_digest, "round 3 starts where round 1 ended"
    np.testing.assert_allclose(asked[2][1][B], 0.01, rtol=1e-6)
    assert middle(result.state) == pytest.approx(0.02)
    aside = federation.store.quarantined(federation.job)
    assert {n: s.digest for n, s in aside.items()} == {2: bad.state_digest}


def test_quarantined_rounds_are_spent_and_the_release_verifies_with_them(
    make_federation: Callable[..., Any], tmp_path: Path
) -> None:
    federation = make_federation("a", "b", rounds=3, gate=GATE)
    bad_in(federation, 2)
    result = federation.run(evaluator=Public())
    assert result.contributors == {"a": 3, "b": 3}
    assert [s.rounds for s in result.spends] == [3, 3]
    assert [len(federation.store.receipts(n)) for n in "ab"] == [3, 3]
    place = Registry(directory=tmp_path, identity=federation.identity).publish(
        federation.job, result, base_name="paper"
    )
    certificate, manifest = verify_release(place, federation.identity.public)
    assert certificate.unattested == ()
    assert manifest.contributors == {"a": 3, "b": 3}
    assert read_adapter(place, manifest.schema).digest == result.state.digest


def test_bad_last_round_releases_the_state_before_it(make_federation: Callable[..., Any], tmp_path: Path) -> None:
    federation = make_federation("a", "b", rounds=3, gate=GATE, evaluation=Evaluation(records="public.jsonl"))
    bad_in(federation, 3)
    result = federation.run(evaluator=Public())
    assert (result.status, quarantined(result)) == ("completed", [3])
    assert middle(result.state) == pytest.approx(0.02)
    assert result.loss_released == pytest.approx(1.3)
    registry = Registry(directory=tmp_path, identity=federation.identity)
    put_aside = replace(result, state=federation.store.quarantined(federation.job)[3])
    with pytest.raises(RoundError, match="round 3: canary loss"):
        registry.publish(federation.job, put_aside, base_name="paper")
    registry.publish(federation.job, result, base_name="paper")


def test_job_of_which_no_state_passed_fails_and_names_the_rounds(
    make_federation: Callable[..., Any], tmp_path: Path
) -> None:
    federation = make_federation("a", "b", rounds=3, gate=GATE)
    bad_in(federation, 1, 2, 3)
    result = federation.run(evaluator=Public())
    assert result.status == federation.store.job("job").state == "failed"
    assert all(f"round {n}: canary loss" in result.reason for n in (1, 2, 3))
    assert result.state.digest == AdapterState.initial(federation.job.schema, federation.job.seed).digest
    registry = Registry(directory=tmp_path, identity=federation.identity)
    for claim in (result, replace(result, status="completed")):
        with pytest.raises(RoundError):
            registry.publish(federation.job, claim, base_name="paper")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_state_whose_loss_is_not_finite_is_put_aside(make_federation: Callable[..., Any], loss: float) -> None:
    federation = make_federation("a", "b", rounds=2, gate=GATE)
    result = federation.run(evaluator=Public(loss, 1.4))
    assert quarantined(result) == [1]
    assert result.outcomes[0].canary_loss is None
    assert middle(result.state) == pytest.approx(0.01)


def test_all_rounds_since_the_last_good_look_are_undone_and_named(make_federation: Callable[..., Any]) -> None:
    federation = make_federation("a", "b", rounds=5, gate=replace(GATE, every=2))
    bad_in(federation, 3)
    public = Public()
    result = federation.run(evaluator=public)
    assert len(public.looked) == 4, "the base, rounds 2 and 4, and the last"
    assert quarantined(result) == [4]
    assert result.outcomes[3].quarantined.startswith("rounds 3 to 4: canary loss")
    assert "their state is put aside, that of round 2 stands again" in result.outcomes[3].quarantined
    assert middle(result.state) == pytest.approx(0.03)


@pytest.mark.parametrize("seed", range(8))
def test_states_are_those_of_a_slow_twin_that_keeps_them_all(make_federation: Callable[..., Any], seed: int) -> None:
    draw = np.random.default_rng(seed)
    rounds, every = int(draw.integers(3, 8)), int(draw.integers(1, 4))
    losses = [float(draw.choice([draw.uniform(0.5, 2.5), math.nan, 1.0])) for _ in range(rounds)]
    counts, good, least, aside, said = [0], 0, 1.5, [], []
    for number in range(1, rounds + 1):
        counts.append(counts[-1] + 1)
        if number % every == 0 or number == rounds:
            said.append(losses[number - 1])
            if said[-1] <= 1.05 * least:
                good, least = counts[-1], min(least, said[-1])
            else:
                aside.append(number)
                counts[-1] = good
    federation = make_federation("a", "b", rounds=rounds, gate=replace(GATE, every=every))
    result = federation.run(evaluator=Public(*said))
    assert quarantined(result) == aside
    asked = [read_plan(e, federation.identity.public)[1] for e in federation.institutions["a"].asked]
    assert [float(t[B].mean()) if t else 0.0 for t in asked] == pytest.approx([0.01 * n for n in counts[:-1]])
    assert middle(result.state) == pytest.approx(0.01 * counts[-1])
    assert result.status == ("completed" if good else "failed")


def test_memory_of_the_optimiser_is_that_of_the_last_good_state(
    make_federation: Callable[..., Any], privacy: PrivacyPlan
) -> None:
    options = {"joint": True, "privacy": replace(privacy, steps_per_round=1), "gate": GATE}
    options["optimiser"] = Optimiser(learning_rate=0.01)
    honest = make_federation("a", "b", rounds=2, **options).run(evaluator=Public(1.0, 1.0))
    federation = make_federation("a", "b", rounds=3, **options)
    bad_in(federation, 2)
    result = federation.run(evaluator=Public(1.0, 9.0, 1.0))
    assert quarantined(result) == [2]
    assert result.state.digest == honest.state.digest, "round 3 takes the step that round 2 would have taken"
    assert middle(result.state) != 0


def test_gate_works_behind_masks(make_masked: Callable[..., Any]) -> None:
    federation = make_masked(rounds=3, gate=GATE)
    result = federation.run(evaluator=Public(1.4, 9.0, 1.3))
    assert (result.status, quarantined(result)) == ("completed", [2])
    plans = [federation.store.round_plan("job", n) for n in (1, 2, 3)]
    assert plans[2].state_digest == result.outcomes[0].state_digest
    # Round 3 does from the state of round 1 what round 2 had done: the same updates, the same sum.
    assert result.state.digest == federation.store.quarantined(federation.job)[2].digest
    assert plans[1].state_digest == plans[2].state_digest != result.state.digest


# A coordinator that is killed ---------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("bad", [2, 4])
@pytest.mark.parametrize("point", ["base", "look", "closing", "next plan"])
def test_killed_coordinator_goes_on_to_the_state_of_an_undisturbed_run(
    make_federation: Callable[..., Any], tmp_path: Path, point: str, bad: int, every: int
) -> None:
    gate = replace(GATE, every=every)
    calm = make_federation("a", "b", rounds=4, gate=gate)
    bad_in(calm, bad)
    expected = calm.run(evaluator=Public())
    assert quarantined(expected) == [bad]

    store = Store.open(tmp_path / "state.db")
    federation = make_federation("a", "b", rounds=4, gate=gate, store=store)
    bad_in(federation, bad)
    public = Public()
    seal = SigningIdentity.sign
    if point in ("base", "look"):
        public.kill_at = 1 if point == "base" else 1 + bad // every
    elif point == "next plan":
        kill_when(federation, lambda plan: plan.round == min(bad + 1, 4))
    with pytest.MonkeyPatch.context() as patch:
        if point == "closing":
            # The last thing that the transaction does is to sign the round's receipts.
            def sign(identity: SigningIdentity, data: bytes) -> bytes:
                if data.startswith(b"concordat/1/receipt") and f'"round":{bad}'.encode() in data:
                    raise Killed
                return seal(identity, data)

            patch.setattr(SigningIdentity, "sign", sign)
        with pytest.raises(Killed):
            federation.run(evaluator=public)
    closed = {"base": 0, "next plan": min(bad, 3)}.get(point, bad - 1)
    assert len(store.outcomes("job")) == closed, "all of a round or none"
    assert sorted(store.quarantined(federation.job)) == ([bad] if bad <= closed else [])
    store.close()
    federation.store = Store.open(tmp_path / "state.db")
    federation.grid.before = lambda envelope, node: None
    federation.grid.forget()
    result = federation.run(evaluator=Public())
    assert result.status == "completed"
    assert result.state.digest == expected.state.digest
    assert [(o.state_digest, o.canary_loss, o.quarantined) for o in result.outcomes] == [
        (o.state_digest, o.canary_loss, o.quarantined) for o in expected.outcomes
    ]
    aside = federation.store.quarantined(federation.job)
    assert {n: s.digest for n, s in aside.items()} == {n: s.digest for n, s in calm.store.quarantined(calm.job).items()}


def kill_when(federation: Any, when: Callable[[Any], bool]) -> None:
    """The coordinator dies as it sends a plan."""

    def before(envelope: Any, node: int) -> None:
        if envelope.kind == "plan" and when(read_plan(envelope, federation.identity.public)[0]):
            raise Killed

    federation.grid.before = before


def test_job_that_ended_is_looked_at_no_more(make_federation: Callable[..., Any]) -> None:
    federation = make_federation("a", "b", rounds=2, gate=GATE)
    federation.run(evaluator=Public())
    public = Public()
    again = federation.run(evaluator=public)
    assert public.looked == []
    assert again.status == "completed"


# Refusals -----------------------------------------------------------------------------------------------


def test_gate_without_an_evaluator_is_refused_before_anybody_is_asked(make_federation: Callable[..., Any]) -> None:
    federation = make_federation("a", "b", gate=GATE)
    with pytest.raises(ConfigError, match="no evaluator"):
        federation.run()
    assert federation.institutions["a"].asked == []
    federation.run(evaluator=Public())
    with pytest.raises(ConfigError, match="no evaluator"):
        federation.run()


def test_base_whose_loss_is_not_finite_is_refused(make_federation: Callable[..., Any]) -> None:
    class Broken(Public):
        def loss(self, state: AdapterState | None, **_: Any) -> float:
            return math.nan

    with pytest.raises(ConfigError, match="base's own loss"):
        make_federation("a", "b", gate=GATE).run(evaluator=Broken())


def test_job_without_a_gate_needs_no_evaluator(make_job: Callable[..., Any]) -> None:
    check_gate(make_job(), evaluator=False)
    check_gate(make_job(gate=GATE), evaluator=True)
    assert none_passed(()) is not None


# Commands -----------------------------------------------------------------------------------------------


def call(*args: object) -> Any:
    done = CliRunner().invoke(server, [*map(str, args), "--json"])
    if done.exception is not None:
        raise done.exception
    return json.loads(done.stdout)


@pytest.fixture
def office(tmp_path: Path) -> Path:
    place = tmp_path / "coordinator"
    call("init", place, "--address", "127.0.0.1:9443", "--name", "trial")
    return place


def test_quarantined_states_are_listed_and_written_and_are_no_release(
    office: Path, tmp_path: Path, make_federation: Callable[..., Any]
) -> None:
    federation = make_federation("a", "b", rounds=3, gate=GATE, store=Store.open(office / "state.db"))
    bad_in(federation, 2)
    result = federation.run(evaluator=Public())
    value = call("quarantine", "job", "--dir", office, "--out", tmp_path / "aside")
    assert value["canary_loss_base"] == 1.5
    (row,) = value["quarantined"]
    assert (row["round"], row["reason"]) == (2, result.outcomes[1].quarantined)
    place = Path(row["path"])
    assert read_adapter(place, federation.job.schema).digest == row["state_digest"] == result.outcomes[1].state_digest
    assert {p.name for p in place.iterdir()} == {"adapter_model.safetensors", "adapter_config.json"}
    with pytest.raises(ConfigError, match="exists already"):
        call("quarantine", "job", "--dir", office, "--out", tmp_path / "aside")
    text = CliRunner().invoke(server, ["quarantine", "job", "--dir", str(office)]).stdout
    assert "round 2: canary loss" in text


def test_status_says_which_rounds_are_quarantined(office: Path, make_federation: Callable[..., Any]) -> None:
    federation = make_federation("a", "b", rounds=3, gate=GATE, store=Store.open(office / "state.db"))
    bad_in(federation, 2)
    result = federation.run(evaluator=Public())
    value = status_of(Place(office), federation.store, federation.store.job("job"))
    assert value["quarantined"] == [2]
    assert [o["quarantined"] for o in value["outcomes"]] == [None, result.outcomes[1].quarantined, None]
    shown = CliRunner().invoke(server, ["status", "job", "--dir", str(office)]).stdout
    assert "quarantined round 2: canary loss" in shown


def test_submitting_a_gate_without_an_evaluator_is_refused(office: Path, tmp_path: Path, card: Any) -> None:
    (tmp_path / "card.json").write_text(json.dumps(card.to_dict()))
    (tmp_path / "canary.jsonl").write_text("{}\n")
    job = tmp_path / "job.toml"
    job.write_text(
        'name = "trial"\ntask = "medicine.record"\ncard = "card.json"\nrounds = 2\nquorum = 1\ndeadline_s = 60\n'
        'max_tokens = 64\n[adapter]\nrank = 2\nalpha = 4\ntargets = ["q_proj"]\n[privacy]\nunit = "patient"\n'
        "sampling_rate = 0.05\nsteps_per_round = 3\nexpected_batch_units = 10\nexamples_per_unit = 2\n"
        "clip_norm_l2 = 1.0\ndelta = 1e-5\nepsilon = 8.0\n"
        '[gate]\nrecords = "canary.jsonl"\nlargest_rise = 0.05\n'
    )
    with pytest.raises(ConfigError, match=r"add \[evaluator\] to server.toml"):
        call("submit", job, "--dir", office)
    assert Store.open(office / "state.db").job_ids() == ()
    Store.open(office / "state.db").enrol(EnrolmentRequest.make("a", SigningIdentity.generate(), "key"))
    with (office / "server.toml").open("a") as settings:
        settings.write('\n[evaluator]\nname = "public"\nbase = "base"\n')
    assert call("submit", job, "--dir", office)["state"] == "queued"
