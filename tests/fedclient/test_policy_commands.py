"""`concordat node policy` and `node approve`: what a plan would meet, said before anything runs."""

import dataclasses
import json
import os
import pty
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from domains.base import task_digest
from domains.medicine import synthetic
from fedclient import accountant
from fedclient.approvals import Pending
from fedclient.commands import node
from fedclient.outlook import Outlook
from fedclient.settings import NodeSettings
from fedcore.enrolment import CoordinatorCard
from fedcore.errors import BudgetExhausted, ConcordatError, ConfigError, InvalidPlan, PlanRefused, TrustError
from fedcore.folding import Widths
from fedcore.identity import SigningIdentity
from fedcore.plan_file import write_plan
from fedcore.privacy.bounds import Clipping
from fedcore.round import JobPlan, RoundPlan
from tests.reference.shared_noise import IDENTITIES, peer, shared_fields

Plans = Callable[..., RoundPlan]


class Place:
    """A node's directory, a plan and the commands on them."""

    def __init__(self, directory: Path, plan: RoundPlan) -> None:
        records = directory / "admissions.jsonl"
        rows = synthetic.records(synthetic.SITES[0], 3, 1)
        records.write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.directory, self.file, self.plan = directory / "hospital-a", directory / "plan.json", plan
        options = ["--unit", "patient", "--epsilon", "8", "--delta", "1e-5", "--task", "medicine.record"]
        # A base that is not prepared: what is loaded here cannot be compared.
        self.run("init", str(self.directory), "--records", str(records), *options, "--base", "none", where=False)
        write_plan(self.file, plan)

    def run(self, *arguments: str, where: bool = True) -> tuple[str, ConcordatError | None]:
        """Standard output, and the error that the command ended with."""
        place = ["--dir", str(self.directory)] if where else []
        done = CliRunner().invoke(node, [*arguments, *place])
        if done.exception is not None and not isinstance(done.exception, (ConcordatError, SystemExit)):
            raise done.exception
        return done.stdout, done.exception if isinstance(done.exception, ConcordatError) else None

    def check(self, plan: RoundPlan | JobPlan | None = None) -> tuple[dict[str, Any], ConcordatError | None]:
        if plan is not None:
            write_plan(self.file, plan)
        before = self.files()
        out, error = self.run("policy", "check", str(self.file), "--json")
        assert self.files() == before
        value = json.loads(out)
        assert isinstance(value, dict)
        return value, error

    def files(self) -> set[str]:
        """Names of the node's files, without those that SQLite keeps beside an open ledger."""
        return {p.name for p in self.directory.iterdir() if not p.name.endswith(("-wal", "-shm"))}

    def set(self, key: str, value: str) -> None:
        lines = (self.directory / "node.toml").read_text().splitlines()
        at = next(i for i, line in enumerate(lines) if line.startswith(f"{key} = "))
        lines[at] = f"{key} = {value}"
        (self.directory / "node.toml").write_text("\n".join(lines) + "\n")

    @property
    def settings(self) -> NodeSettings:
        return NodeSettings.load(self.directory)


@pytest.fixture
def place(tmp_path: Path, make_plan: Plans) -> Place:
    return Place(tmp_path, make_plan())


def job_of(plan: RoundPlan, **changes: Any) -> JobPlan:
    fields: dict[str, Any] = {
        "job_id": plan.job_id, "task": plan.task, "schema": plan.schema, "strategy": plan.strategy, "seed": plan.seed,
        "rounds": plan.rounds, "quorum": plan.quorum, "deadline_s": plan.deadline_s, "max_tokens": plan.max_tokens,
        "optimiser": plan.optimiser, "privacy": plan.privacy,
    }  # fmt: skip
    return JobPlan(**{**fields, **changes})


def codes(value: dict[str, Any], status: str) -> list[str]:
    return [rule["code"] for rule in value["rules"] if rule["status"] == status]


def test_a_plan_within_the_policy_is_accepted_with_its_cost(place: Place) -> None:
    for plan in (place.plan, job_of(place.plan)):
        value, error = place.check(plan)
        assert error is None
        assert value["accepted"]
        assert codes(value, "refused") == []
        cost = accountant.epsilon([place.plan.privacy.event(2)], 1e-5)
        assert value["budget"]["in_all"] == {
            "epsilon_spent": 0.0,
            "epsilon_after": pytest.approx(cost),
            "epsilon_limit": 8.0,
            "rounds_lasting": 2,
        }
        assert value["budget"]["epsilon_job"] == pytest.approx(cost)
        assert value["terms_digest"] == place.plan.terms_digest


def test_people_read_the_terms_the_rules_and_the_cost(place: Place) -> None:
    out, error = place.run("policy", "check", str(place.file))
    assert error is None
    for words in (
        "LoRA of rank 2",
        "one patient",
        "a chance of 0.05",
        "noise_multiplier",
        "at least 0.3",
        "spent before",
    ):
        assert words in out
    assert "This node would accept it." in out


def test_every_rule_that_refuses_is_shown_and_the_exit_code_is_that_of_a_refusal(place: Place) -> None:
    privacy = dataclasses.replace(place.plan.privacy, noise_multiplier=0.2, clip_norm_l2=50.0)
    value, error = place.check(dataclasses.replace(place.plan, privacy=privacy, task="finance.report"))
    assert isinstance(error, PlanRefused)
    assert error.exit_code == 5
    assert codes(value, "refused") == ["task_not_allowed", "noise_too_low", "clip_norm_too_large"]
    assert not value["accepted"]


def test_a_budget_that_does_not_last_has_its_own_exit_code(place: Place, make_plan: Plans) -> None:
    privacy = dataclasses.replace(place.plan.privacy, noise_multiplier=0.6, steps_per_round=20)
    plan = make_plan(privacy=privacy, rounds=50)
    value, error = place.check(plan)
    assert isinstance(error, BudgetExhausted)
    assert error.exit_code == 4
    lasting = value["budget"]["in_all"]["rounds_lasting"]
    assert 0 < lasting < 50
    assert value["budget"]["in_all"]["epsilon_after"] is None
    assert (
        accountant.epsilon([privacy.event(lasting)], 1e-5) <= 8 < accountant.epsilon([privacy.event(lasting + 1)], 1e-5)
    )
    assert f"lasts for {lasting} of 50 rounds" in str(error)


def test_what_was_spent_before_counts(place: Place, make_plan: Plans) -> None:
    ledger = place.settings.open_ledger()
    ledger.reserve(make_plan(job_id="before"))
    value, _ = place.check()
    assert value["budget"]["in_all"]["epsilon_spent"] == ledger.epsilon()
    both = accountant.epsilon([place.plan.privacy.event(3)], 1e-5)
    assert value["budget"]["in_all"]["epsilon_after"] == pytest.approx(both)
    ledger.close()


def test_the_year_has_a_limit_of_its_own(place: Place, make_plan: Plans) -> None:
    place.set("epsilon_per_year", "1.5")
    value, error = place.check(make_plan(rounds=5))
    assert isinstance(error, BudgetExhausted)
    assert value["budget"]["in_all"]["rounds_lasting"] == 5
    assert value["budget"]["in_year"]["rounds_lasting"] < 5


def test_a_round_plan_counts_from_its_round_on(place: Place, make_plan: Plans) -> None:
    value, _ = place.check(make_plan(round=4, rounds=5))
    assert value["budget"]["rounds"] == 2


def test_an_outlook_without_noise_is_infinite(place: Place, make_plan: Plans) -> None:
    from datetime import UTC, datetime

    privacy = dataclasses.replace(place.plan.privacy, noise_multiplier=0.0, mechanism="UnsafeNoNoise")
    limit = place.settings.limit
    outlook = Outlook.of(make_plan(privacy=privacy), None, limit, now=datetime.now(UTC), cost=accountant.epsilon)
    assert not outlook.lasts
    assert outlook.to_dict()["in_all"]["epsilon_after"] is None


def test_hours_and_approval_are_for_later_and_refuse_nothing_now(place: Place) -> None:
    place.set("approval", '"job"')
    place.set("hours", '["Mon 03:00-03:01"]')
    place.set("timezone", '"Pacific/Kiritimati"')
    value, error = place.check()
    assert error is None
    assert value["accepted"]
    assert codes(value, "waits")[0] == "approval_pending"


def test_a_task_that_changed_since_it_was_pinned_is_refused(place: Place) -> None:
    place.set("tasks", f'["medicine.record@{task_digest("medicine.record")}"]')
    assert place.check()[1] is None
    place.set("tasks", f'["medicine.record@{"cd" * 32}"]')
    value, error = place.check()
    assert isinstance(error, PlanRefused)
    assert codes(value, "refused") == ["task_changed"]


def test_a_coordinator_that_is_pinned_but_not_listed_is_refused(place: Place) -> None:
    card = CoordinatorCard(name="n", address="a:1", ca_pem="p", identity=SigningIdentity.generate().public.key_hex)
    card.write(place.settings.files.coordinator)
    place.set("coordinators", f'["{card.fingerprint}"]')
    assert place.check()[1] is None
    place.set("coordinators", f'["{"-".join(["ffff"] * 8)}"]')
    assert codes(place.check()[0], "refused") == ["coordinator_not_allowed"]


def test_an_adapter_that_is_not_of_the_base_here_is_refused(place: Place, make_plan: Plans, card: Any) -> None:
    base = place.directory / "base"
    base.mkdir()
    (base / "card.json").write_text(json.dumps(card.to_dict()))
    place.set("path", '"./base"')
    assert place.check()[1] is None
    (base / "card.json").write_text(json.dumps(dataclasses.replace(card, digest="cd" * 32).to_dict()))
    assert codes(place.check()[0], "refused") == ["base_mismatch"]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", ConfigError),
        (b"{}", ConfigError),
        (b"\x00" * 100, ConfigError),
        (b"[" * 50_000, ConfigError),
        (b'{"version": 1, "kind": "job", "plan": {"job_id": "x"}}', ConfigError),
        (b'{"version": 1, "kind": "round", "plan": {"job_id": "x"}}', InvalidPlan),
        (b"x" * (9 << 20), ConfigError),
    ],
)
def test_a_file_that_is_no_plan_gets_one_clear_line(place: Place, data: bytes, error: type[ConcordatError]) -> None:
    place.file.write_bytes(data)
    out, raised = place.run("policy", "check", str(place.file))
    assert isinstance(raised, error)
    assert str(raised).isprintable()
    assert out == ""
    assert not place.settings.files.ledger.exists()


def test_a_coordinators_words_reach_the_terminal_as_text(place: Place, make_plan: Plans) -> None:
    plan = make_plan(task="x\x1b[2J", strategy="[red]y[/]\x07")
    write_plan(place.file, plan)
    out, error = place.run("policy", "check", str(place.file))
    assert "\x1b[2J" not in out + str(error)
    assert "\x07" not in out
    assert "[red]y[/]" in out


def test_adaptive_clipping_is_said_in_words(place: Place, make_plan: Plans) -> None:
    clipping = Clipping(rule="adaptive", quantile=0.5, learning_rate=0.2, count_noise_multiplier=20.0)
    privacy = dataclasses.replace(place.plan.privacy, clipping=clipping)
    write_plan(place.file, make_plan(privacy=privacy))
    assert "a count with noise multiplier 20 is released beside it" in place.run("policy", "check", str(place.file))[0]


# Shared noise.


def share(place: Place, most: int | None = 3, peers: str = "abcd") -> RoundPlan:
    """Make the place's plan one that shares noise, and its node "a" with a policy on it."""
    place.plan = dataclasses.replace(place.plan, **shared_fields(place.plan))
    write_plan(place.file, place.plan)
    text = (place.directory / "node.toml").read_text()
    text = text.replace('name = "hospital-a"', 'name = "a"')
    known = ", ".join(f'"{peer(name)}"' for name in peers if name != "a")
    rule = f"peers = [{known}]\n" + ("" if most is None else f"largest_honest_minimum = {most}\n")
    (place.directory / "node.toml").write_text(text.replace("[policy]", "[policy]\n" + rule, 1))
    place.settings.files.identity.unlink()
    IDENTITIES["a"].save(place.settings.files.identity)
    return place.plan


def test_a_plan_that_shares_noise_is_shown_with_what_it_assumes(place: Place) -> None:
    plan = share(place)
    for tried in (plan, job_of(plan, joint=True, sums=plan.sums, quorum=3)):
        value, error = place.check(tried)
        assert error is None
        assert value["accepted"]
        assert value["budget"]["honest_minimum"] == 3
    write_plan(place.file, plan)
    shown = " ".join(place.run("policy", "check", str(place.file))[0].split())
    for words in (
        "this institution's sum of clipped gradients for one joint step is masked",
        "only sums of at least 3 of 4 institutions, as long as none of them colludes with it",
        "the noise is shared: what is promised assumes that in every sum 3 or more institutions neither drop out",
        "0.461880 times is this one's own share".replace("0.461880", f"{0.8 / 3**0.5:g}"),
        "at the coordinator",
        "if 3 in every sum are honest",
    ):
        assert words in shown


@pytest.mark.parametrize(
    ("most", "peers", "code"),
    [(None, "abcd", "honest_minimum_too_large"), (2, "abcd", "honest_minimum_too_large"), (3, "abc", "peers_unknown")],
)
def test_shared_noise_that_is_not_agreed_to_is_refused(place: Place, most: int | None, peers: str, code: str) -> None:
    share(place, most, peers)
    value, error = place.check()
    assert isinstance(error, PlanRefused)
    assert codes(value, "refused") == [code]
    assert place.settings.open_ledger().events() == ()


def test_local_steps_and_masks_are_said_in_words(place: Place) -> None:
    def seen(**changes: Any) -> str:
        write_plan(place.file, dataclasses.replace(place.plan, **changes))
        return " ".join(place.run("policy", "check", str(place.file))[0].split())

    assert "seen: the coordinator sees this institution's noised update after 3 steps of its own" in seen()
    one = dataclasses.replace(place.plan.privacy, steps_per_round=1)
    assert "this institution's noised sum of clipped gradients for one joint step" in seen(joint=True, privacy=one)
    fields = shared_fields(place.plan)
    masks = {n: fields[n] for n in ("members", "cohort", "quorum")}
    masked = seen(**masks, sums=dataclasses.replace(fields["sums"], share_std_units=0))
    assert "noised update after 3 steps of its own is masked" in masked
    assert "shared" not in masked


def test_the_widths_at_which_numbers_travel_are_said_in_words(place: Place) -> None:
    def said(**changes: Any) -> str:
        write_plan(place.file, dataclasses.replace(place.plan, **changes))
        return " ".join(place.run("policy", "check", str(place.file))[0].split())

    words = said(widths=Widths(up="int4", down="int8"))
    assert "travels: the update leaves at int4, the state comes at int8; it is rounded after noise is added" in words
    assert "which costs no privacy" in words
    wide = said()
    assert "the update leaves at float32, the state comes at float32" in wide
    assert "rounded" not in wide
    fields = shared_fields(place.plan)
    assert "the masked update in a ring, 32 bits a number" in said(**fields)


def test_show_says_whether_noise_may_be_shared_and_with_whom(place: Place) -> None:
    assert json.loads(place.run("policy", "show", "--json")[0])["largest_honest_minimum"] is None
    assert "none that is shared is accepted" in " ".join(place.run("policy", "show")[0].split())
    share(place, 3, "bc")
    value = json.loads(place.run("policy", "show", "--json")[0])
    assert (value["largest_honest_minimum"], value["peers"], value["peer"]) == (3, [peer("b"), peer("c")], peer("a"))
    shown = " ".join(place.run("policy", "show")[0].split())
    assert "at most 3 honest institutions" in shown
    assert "fingerprints: b, c, all others count as colluders" in shown


def test_who_approves_shared_noise_reads_what_it_assumes(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    share(place)
    wait(place)
    with pytest.raises(TrustError):
        get_command(node).main(["approve", "job", "--dir", str(place.directory)], standalone_mode=False)
    shown = capsys.readouterr().err
    assert "the noise is shared: what is promised assumes" in shown
    assert place.run("approve", "job", "--yes", place.plan.terms_digest)[1] is None
    assert approved(place) == place.plan.terms_digest
    # Another assumption is another plan: it waits again.
    fields = shared_fields(place.plan, 2)
    other = dataclasses.replace(place.plan, **fields)
    assert codes(place.check(other)[0], "waits") == ["approval_pending"]


def test_show_says_what_is_accepted_and_the_digest_to_pin(place: Place) -> None:
    out, _ = place.run("policy", "show", "--json")
    value = json.loads(out)
    assert value["installed"] == {"medicine.record": task_digest("medicine.record")}
    assert (value["approval"], value["hours"], value["samplers"], value["pinned"]) == (
        "none",
        "any time",
        ["poisson"],
        None,
    )
    out, _ = place.run("policy", "show")
    assert f"medicine.record@{task_digest('medicine.record')}" in out


# A person's say.


def wait(place: Place) -> None:
    """Let the plan wait, as a node's session would."""
    place.set("approval", '"job"')
    Pending(place.settings.files.pending).keep(place.plan)


def approved(place: Place) -> str | None:
    ledger = place.settings.open_ledger()
    found = ledger.approved("job")
    ledger.close()
    return None if found is None else found.terms_digest


def test_what_waits_is_listed(place: Place) -> None:
    wait(place)
    value = json.loads(place.run("approve", "--json")[0])
    assert value["pending"] == [{"job": "job", "terms_digest": place.plan.terms_digest, "rounds": 2}]
    assert "job: 2 rounds" in place.run("approve")[0]


def test_the_terms_that_were_read_are_approved(place: Place) -> None:
    wait(place)
    out, error = place.run("approve", "job", "--yes", place.plan.terms_digest, "--by", "Dr Lee", "--json")
    assert error is None
    assert json.loads(out) == {"job": "job", "terms_digest": place.plan.terms_digest, "rounds": 2}
    assert approved(place) == place.plan.terms_digest
    assert not Pending(place.settings.files.pending).jobs()
    rules = {rule["code"]: rule["status"] for rule in place.check()[0]["rules"]}
    assert rules["approval_pending"] == "ok"


def test_other_terms_than_those_that_were_read_are_not_approved(place: Place) -> None:
    wait(place)
    assert isinstance(place.run("approve", "job", "--yes", "cd" * 32)[1], TrustError)
    assert approved(place) is None
    assert Pending(place.settings.files.pending).jobs() == ("job",)


def test_without_a_person_nothing_is_approved(place: Place) -> None:
    wait(place)
    _, error = place.run("approve", "job")
    assert isinstance(error, TrustError)
    assert place.plan.terms_digest in str(error)
    assert approved(place) is None


@pytest.mark.parametrize(("typed", "says"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_a_person_reads_and_decides(
    place: Place, typed: str, says: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a real terminal; silence means no."""
    wait(place)
    ours, theirs = pty.openpty()
    os.write(ours, typed.encode())
    with os.fdopen(theirs, encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        monkeypatch.setattr("builtins.input", lambda prompt="": terminal.readline().rstrip("\n"))
        try:
            get_command(node).main(["approve", "job", "--dir", str(place.directory)], standalone_mode=False)
        except TrustError:
            assert not says
    os.close(ours)
    shown = capsys.readouterr().err
    assert "protects: one patient (all of its records), added or removed" in shown
    assert place.plan.terms_digest in shown
    assert (approved(place) == place.plan.terms_digest) is says


def test_a_job_can_be_approved_from_its_file_before_it_begins(place: Place) -> None:
    place.set("approval", '"round"')
    write_plan(place.file, job_of(place.plan))
    assert isinstance(place.run("approve", "other", "--plan", str(place.file))[1], ConfigError)
    out, _ = place.run("approve", "--plan", str(place.file), "--yes", place.plan.terms_digest, "--json")
    assert json.loads(out)["rounds"] == 1
    assert approved(place) == place.plan.terms_digest


def test_an_approval_is_taken_back(place: Place) -> None:
    wait(place)
    place.run("approve", "job", "--yes", place.plan.terms_digest)
    assert json.loads(place.run("approve", "job", "--revoke", "--json")[0]) == {"job": "job", "revoked": True}
    assert approved(place) != place.plan.terms_digest


def test_approval_helps_no_plan_that_the_policy_refuses(place: Place) -> None:
    wait(place)
    place.set("largest_rank", "1")
    assert isinstance(place.run("approve", "job", "--yes", place.plan.terms_digest)[1], PlanRefused)
    assert approved(place) is None


def test_where_nothing_needs_approval_nothing_is_approved(place: Place) -> None:
    _, error = place.run("approve", "job", "--yes", place.plan.terms_digest)
    assert isinstance(error, ConfigError)
    assert not place.settings.files.ledger.exists()


@pytest.mark.parametrize("command", [("policy", "show"), ("policy", "check"), ("approve",)])
def test_every_help_shows_an_example(command: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(node, [*command, "--help"]).stdout
    assert f"concordat node {' '.join(command)}" in shown
