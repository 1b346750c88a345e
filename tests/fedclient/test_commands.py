"""`concordat node`: from an empty directory to a node that may run."""

import json
import os
import pty
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from domains.medicine import synthetic
from fedclient import accountant
from fedclient._setup import enrolment_request
from fedclient.commands import node
from fedclient.receipts import Receipts, dataset_tag
from fedclient.settings import NodeSettings
from fedcore.enrolment import CoordinatorCard, EnrolmentRequest
from fedcore.errors import ConcordatError, ConfigError, LedgerBehind, LedgerError, NoPrivacyUnit, TrustError
from fedcore.identity import SigningIdentity
from fedcore.receipt import Receipt, seal_receipt
from fedcore.round import RoundPlan
from tests.reference.shared_noise import peer

PRIVACY = ["--unit", "patient", "--epsilon", "8", "--delta", "1e-5"]


def call(*arguments: str | Path) -> str:
    """Run a command; what it printed on standard output."""
    result = CliRunner().invoke(node, [str(a) for a in arguments])
    if isinstance(result.exception, ConcordatError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def value(*arguments: str | Path) -> dict[str, Any]:
    """The one object that a command prints with --json, and nothing beside it."""
    parsed = json.loads(call(*arguments, "--json"))
    assert isinstance(parsed, dict)
    return parsed


@pytest.fixture
def records(tmp_path: Path) -> Path:
    path = tmp_path / "admissions.jsonl"
    rows = synthetic.records(synthetic.SITES[0], 5, 1)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def directory(tmp_path: Path, records: Path) -> Path:
    path = tmp_path / "hospital-a"
    call("init", path, "--records", records, *PRIVACY, "--task", "medicine.record")
    return path


@pytest.fixture
def coordinator_card(tmp_path: Path) -> Path:
    path = tmp_path / "coordinator.json"
    identity = SigningIdentity.generate().public.key_hex
    CoordinatorCard(name="north", address="127.0.0.1:9092", ca_pem="pem", identity=identity).write(path)
    return path


def test_init_makes_keys_and_settings_that_load(directory: Path, records: Path) -> None:
    settings = NodeSettings.load(directory)
    assert (settings.name, settings.dataset, settings.unit.key) == ("hospital-a", "admissions", "patient")
    assert (settings.limit.epsilon, settings.limit.delta) == (8.0, 1e-5)
    assert settings.records.path == records.resolve()
    assert settings.policy.tasks == ("medicine.record",)
    for key in (settings.files.identity, settings.files.flower_key):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    SigningIdentity.load(settings.files.identity)
    enrolment_request(settings).verify()


def test_init_reports_one_object(tmp_path: Path, records: Path) -> None:
    made = value(
        "init", tmp_path / "b", "--records", records, *PRIVACY, "--name", "beta", "--dataset", "2025", "--threads", 1
    )
    assert (made["name"], made["dataset"], made["unit"], made["epsilon_limit"]) == ("beta", "2025", "patient", 8.0)
    assert made["fingerprint"] == enrolment_request(NodeSettings.load(tmp_path / "b")).fingerprint


def test_init_writes_the_relation_and_the_years_limit_where_they_can_be_read(tmp_path: Path, records: Path) -> None:
    made = value("init", tmp_path / "b", "--records", records, *PRIVACY)
    assert (made["relation"], made["epsilon_per_year"]) == ("add_or_remove_one", 8.0)
    assert 'relation = "add_or_remove_one"' in (tmp_path / "b" / "node.toml").read_text()
    made = value(
        "init", tmp_path / "c", "--records", records, *PRIVACY, "--relation", "replace_one", "--epsilon-per-year", 2
    )
    assert (made["relation"], made["epsilon_per_year"]) == ("replace_one", 2.0)
    assert NodeSettings.load(tmp_path / "c").unit.relation == "replace_one"


def test_init_writes_shared_noise_as_comments_until_it_is_decided(tmp_path: Path, records: Path) -> None:
    made = value("init", tmp_path / "b", "--records", records, *PRIVACY)
    assert (made["largest_honest_minimum"], made["peers"]) == (None, [])
    text = (tmp_path / "b" / "node.toml").read_text()
    assert "\n# largest_honest_minimum = 3" in text
    assert "\n# peers = [" in text
    peers = ("--peer", peer("a"), "--peer", peer("c"))
    made = value("init", tmp_path / "d", "--records", records, *PRIVACY, "--largest-honest-minimum", 3, *peers)
    assert (made["largest_honest_minimum"], made["peers"]) == (3, [peer("a"), peer("c")])
    assert NodeSettings.load(tmp_path / "d").policy.peers == (peer("a"), peer("c"))
    # What a comment proposes becomes a rule by taking its mark away.
    opened = text.replace("# largest_honest_minimum = 3", "largest_honest_minimum = 3")
    opened = opened.replace('# peers = ["st-anne=1a2b-..."]', f'peers = ["{peer("d")}"]')
    (tmp_path / "b" / "node.toml").write_text(opened)
    policy = NodeSettings.load(tmp_path / "b").policy
    assert (policy.largest_honest_minimum, policy.peers) == (3, (peer("d"),))


def test_an_institution_tells_its_peers_the_fingerprint_of_its_identity(directory: Path) -> None:
    identity = SigningIdentity.load(NodeSettings.load(directory).files.identity)
    own = f"hospital-a={identity.public.fingerprint}"
    for arguments in (("status",), ("policy", "show")):
        assert value(*arguments, "--dir", directory)["peer"] == own
        assert own in "".join(call(*arguments, "--dir", directory).split("\n"))


@pytest.mark.parametrize("option", ["--unit", "--epsilon", "--delta"])
def test_privacy_has_no_silent_default(tmp_path: Path, records: Path, option: str) -> None:
    at = PRIVACY.index(option)
    with pytest.raises(ConfigError, match=option):
        call("init", tmp_path / "b", "--records", records, *PRIVACY[:at], *PRIVACY[at + 2 :])
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("option", "given", "error"),
    [
        ("--unit", " ", NoPrivacyUnit),
        ("--epsilon", "0", ConfigError),
        ("--epsilon", "inf", ConfigError),
        ("--delta", "1", ConfigError),
        ("--relation", "replace_some", ConfigError),
        ("--epsilon-per-year", "0", ConfigError),
        ("--epsilon-per-year", "inf", ConfigError),
        ("--name", "../x", ConfigError),
        ("--task", "medicine.horoscope", ConfigError),
        ("--format", "xml", ConfigError),
        ("--field", "note", ConfigError),
        ("--records", "nowhere.jsonl", ConfigError),
        ("--peer", "st-anne", ConfigError),
        ("--peer", "st-anne=1a2b", ConfigError),
        ("--peer", peer("b"), ConfigError),
        ("--largest-honest-minimum", "0", ConfigError),
    ],
)
def test_init_refuses_what_cannot_hold_and_makes_nothing(
    tmp_path: Path, records: Path, option: str, given: str, error: type[ConcordatError]
) -> None:
    with pytest.raises(error):
        call("init", tmp_path / "b", "--records", records, *PRIVACY, option, given)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("existing", ["node.toml", "identity.key", "flower.key", "ledger.db", "coordinator.json"])
def test_init_overwrites_nothing(tmp_path: Path, records: Path, existing: str) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / existing).write_text("mine")
    with pytest.raises(ConfigError, match="nothing is overwritten"):
        call("init", tmp_path / "b", "--records", records, *PRIVACY)
    assert [p.name for p in (tmp_path / "b").iterdir()] == [existing]
    assert (tmp_path / "b" / existing).read_text() == "mine"


def test_names_with_quotes_survive_the_settings_file(tmp_path: Path, records: Path) -> None:
    odd = tmp_path / 're"cords \\ é😀.jsonl'
    odd.write_bytes(records.read_bytes())
    call("init", tmp_path / "b", "--records", odd, *PRIVACY, "--field", 'note=the "text"')
    settings = NodeSettings.load(tmp_path / "b")
    assert (settings.records.path, settings.records.fields) == (odd.resolve(), {"note": 'the "text"'})


def test_enrol_pins_the_coordinator_and_writes_a_request_that_verifies(directory: Path, coordinator_card: Path) -> None:
    fingerprint = CoordinatorCard.read(coordinator_card).fingerprint
    done = value("enrol", coordinator_card, "--dir", directory, "--fingerprint", fingerprint.upper().replace("-", " "))
    request = EnrolmentRequest.read(directory / "enrolment.json")
    assert (request.name, request.fingerprint) == ("hospital-a", done["fingerprint"])
    assert CoordinatorCard.read(directory / "coordinator.json") == CoordinatorCard.read(coordinator_card)
    assert done["coordinator_fingerprint"] == fingerprint


def test_another_fingerprint_pins_nothing(directory: Path, coordinator_card: Path) -> None:
    with pytest.raises(TrustError):
        call("enrol", coordinator_card, "--dir", directory, "--fingerprint", "0000-" * 7 + "0000")
    assert not (directory / "coordinator.json").exists()
    assert not (directory / "enrolment.json").exists()


def test_without_an_operator_nothing_is_confirmed(directory: Path, coordinator_card: Path) -> None:
    with pytest.raises(TrustError, match="--fingerprint"):
        call("enrol", coordinator_card, "--dir", directory)
    assert not (directory / "coordinator.json").exists()


@pytest.mark.parametrize(("typed", "pinned"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_the_operator_confirms_the_shown_fingerprint(
    directory: Path, coordinator_card: Path, typed: str, pinned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a real terminal; silence means no."""
    ours, theirs = pty.openpty()
    os.write(ours, typed.encode())
    with os.fdopen(theirs, encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        monkeypatch.setattr("builtins.input", lambda prompt="": terminal.readline().rstrip("\n"))
        try:
            get_command(node).main(["enrol", str(coordinator_card), "--dir", str(directory)], standalone_mode=False)
        except TrustError:
            assert not pinned
    os.close(ours)
    assert (directory / "coordinator.json").exists() is pinned


def test_another_coordinator_does_not_replace_the_pinned_one(
    directory: Path, coordinator_card: Path, tmp_path: Path
) -> None:
    first = CoordinatorCard.read(coordinator_card)
    call("enrol", coordinator_card, "--dir", directory, "--fingerprint", first.fingerprint)
    call("enrol", coordinator_card, "--dir", directory, "--fingerprint", first.fingerprint)
    other = CoordinatorCard(name="n", address="a:1", ca_pem="p", identity=SigningIdentity.generate().public.key_hex)
    other.write(tmp_path / "other.json")
    with pytest.raises(TrustError, match="another coordinator"):
        call("enrol", tmp_path / "other.json", "--dir", directory, "--fingerprint", other.fingerprint)
    assert CoordinatorCard.read(directory / "coordinator.json") == first


def test_run_needs_a_pinned_coordinator(directory: Path) -> None:
    for arguments in (["--dir", directory], [directory]):
        with pytest.raises(ConfigError, match="no coordinator is pinned"):
            call("run", *arguments)


def test_budget_of_a_new_node_is_whole(directory: Path) -> None:
    left = value("budget", "--dir", directory)
    assert (left["epsilon_spent"], left["epsilon_left"], left["epsilon_limit"]) == (0.0, 8.0, 8.0)
    assert not (directory / "ledger.db").exists()


def test_budget_shows_what_the_ledger_holds(directory: Path, make_plan: Callable[..., RoundPlan]) -> None:
    ledger = NodeSettings.load(directory).open_ledger()
    ledger.reserve(make_plan())
    left = value("budget", "--dir", directory)
    assert (left["epsilon_spent"], left["rounds_reserved"], left["rounds_answered"]) == (ledger.epsilon(), 1, 0)
    assert left["epsilon_left"] == pytest.approx(8.0 - ledger.epsilon())
    assert f"{ledger.epsilon():.3f}" in call("budget", "--dir", directory)


def test_budget_of_two_jobs_shows_each_alone_and_both_together(
    directory: Path, make_plan: Callable[..., RoundPlan]
) -> None:
    ledger = NodeSettings.load(directory).open_ledger()
    for job, number in (("first", 1), ("first", 2), ("second", 1)):
        ledger.reserve(make_plan(job_id=job, round=number))
    left = value("budget", "--dir", directory)
    rows = {row["job"]: row for row in left["by_job"]}
    event = make_plan().privacy.event
    assert rows["first"]["epsilon"] == pytest.approx(accountant.epsilon([event(2)], 1e-5))
    assert rows["second"]["epsilon"] == pytest.approx(accountant.epsilon([event(1)], 1e-5))
    assert left["epsilon_spent"] == ledger.epsilon() < rows["first"]["epsilon"] + rows["second"]["epsilon"]
    assert [row["epsilon"] for row in left["history"]] == sorted(row["epsilon"] for row in left["history"])
    assert len(left["history"]) == 3
    assert left["year"]["epsilon_spent"] == ledger.epsilon()
    assert left["year"]["epsilon_left"] == pytest.approx(8.0 - ledger.epsilon())
    assert (left["relation"], left["protects"]) == ("add_or_remove_one", NodeSettings.load(directory).unit.describe())
    shown = call("budget", "--dir", directory)
    for words in ("first", "second", "added or removed", "365 days", "█", "╌", f"{ledger.epsilon():.3f}"):
        assert words in shown


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_budget_is_drawn(directory: Path, tmp_path: Path, make_plan: Callable[..., RoundPlan], ending: str) -> None:
    NodeSettings.load(directory).open_ledger().reserve(make_plan())
    drawn = value("budget", "--dir", directory, "--plot", tmp_path / f"budget.{ending}")
    data = (tmp_path / f"budget.{ending}").read_bytes()
    assert drawn["plot"].endswith(ending)
    assert data.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[ending])


def test_budget_is_not_drawn_in_an_unknown_form(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="another ending"):
        call("budget", "--dir", directory, "--plot", tmp_path / "budget.txt")
    with pytest.raises(ConfigError, match="cannot be written"):
        call("budget", "--dir", directory, "--plot", tmp_path / "none" / "budget.png")


def pin(directory: Path, coordinator: SigningIdentity) -> None:
    card = CoordinatorCard(name="n", address="a:1", ca_pem="p", identity=coordinator.public.key_hex)
    card.write(NodeSettings.load(directory).files.coordinator)


def test_ledger_commands_need_a_pinned_coordinator(directory: Path) -> None:
    for command in ("verify", "resolve"):
        with pytest.raises(ConfigError, match="no coordinator is pinned"):
            call("ledger", command, "--dir", directory)


def test_a_whole_ledger_verifies_and_has_nothing_to_resolve(
    directory: Path, make_plan: Callable[..., RoundPlan]
) -> None:
    pin(directory, SigningIdentity.generate())
    ledger = NodeSettings.load(directory).open_ledger()
    ledger.reserve(make_plan())
    found = value("ledger", "verify", "--dir", directory)
    assert (found["entries"], found["receipts"], found["countersigned"]) == (2, 0, 0)
    assert "2 entries" in call("ledger", "verify", "--dir", directory)
    done = value("ledger", "resolve", "--dir", directory)
    assert (done["entered"], done["epsilon_before"], done["epsilon_spent"]) == (0, ledger.epsilon(), ledger.epsilon())
    assert "Nothing is missing" in call("ledger", "resolve", "--dir", directory)


def test_an_older_ledger_is_recognised_and_put_right(directory: Path, make_plan: Callable[..., RoundPlan]) -> None:
    """A copy from before a round that the coordinator countersigned is put back."""
    coordinator, plan = SigningIdentity.generate(), make_plan(cohort=("hospital-a",))
    pin(directory, coordinator)
    settings = NodeSettings.load(directory)
    settings.open_ledger().close()
    old = settings.files.ledger.read_bytes()
    ledger = settings.open_ledger()
    reservation = ledger.reserve(plan, coordinator=coordinator.public.key_hex)
    spent = ledger.epsilon()
    ledger.close()
    receipt = Receipt(
        institution=settings.name, number=1, previous="", job=plan.job_id, round=1, plan=plan.digest,
        head=reservation.head, dataset=dataset_tag(SigningIdentity.load(settings.files.identity), settings.dataset),
        event=plan.privacy.event(), at="2026-11-01T12:00:00+00:00",
    )  # fmt: skip
    kept = Receipts(settings.files.receipts, institution=settings.name, coordinator=coordinator.public)
    kept.keep(seal_receipt(receipt, coordinator))
    assert value("ledger", "verify", "--dir", directory)["receipts"] == 1
    settings.files.ledger.write_bytes(old)
    with pytest.raises(LedgerBehind):
        call("ledger", "verify", "--dir", directory)
    done = value("ledger", "resolve", "--dir", directory)
    assert (done["entered"], done["epsilon_before"]) == (1, 0.0)
    assert done["epsilon_spent"] == pytest.approx(spent)
    assert value("ledger", "verify", "--dir", directory)["countersigned"] > 0
    assert value("budget", "--dir", directory)["epsilon_spent"] == pytest.approx(spent)


def test_budget_of_a_tampered_ledger_is_an_error(directory: Path) -> None:
    (directory / "ledger.db").write_bytes(b"x" * 8192)
    with pytest.raises(LedgerError):
        call("budget", "--dir", directory)


def test_status_says_who_where_and_what_is_left(directory: Path, coordinator_card: Path) -> None:
    before = value("status", "--dir", directory)
    assert (before["coordinator"], before["running"], before["epsilon_left"]) == (None, {}, 8.0)
    call(
        "enrol",
        coordinator_card,
        "--dir",
        directory,
        "--fingerprint",
        CoordinatorCard.read(coordinator_card).fingerprint,
    )
    (directory / "status.json").write_text('{"state": "training", "round": 2}')
    after = value("status", "--dir", directory)
    assert after["coordinator"] == {"name": "north", "address": "127.0.0.1:9092"}
    assert after["running"] == {"state": "training", "round": 2}
    assert "training" in call("status", "--dir", directory)


def test_check_counts_units_and_says_what_would_leave(directory: Path, records: Path) -> None:
    found = value("check", "--dir", directory)
    assert found["units"] == 5
    assert found["records"] == len(records.read_text().splitlines())
    assert found["tasks"]["medicine.record"]["units"] == 5
    assert found["tasks"]["medicine.record"]["bad_rows"] == 0
    assert any("noised" in line for line in found["leaves"])


def test_check_names_bad_rows_by_position_and_never_shows_them(directory: Path, records: Path) -> None:
    rows = [json.loads(line) for line in records.read_text().splitlines()]
    rows[1]["bundle"] = {"resourceType": "Horoscope", "patient": "SECRET"}
    records.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = CliRunner().invoke(node, ["check", "--dir", str(directory), "--json"])
    assert result.exit_code == 3
    task = json.loads(result.stdout)["tasks"]["medicine.record"]
    assert task["bad_rows"] == 1
    assert task["faults"][0].startswith("record 2: ")
    assert "SECRET" not in result.output


def test_check_without_a_fitting_task_is_an_error(directory: Path, records: Path) -> None:
    records.write_text('{"patient": "p", "other": 1}\n')
    result = CliRunner().invoke(node, ["check", "--dir", str(directory), "--json"])
    assert result.exit_code == 3
    assert json.loads(result.stdout)["tasks"]["medicine.record"]["fits"] is False


@pytest.mark.parametrize(
    "command", ["init", "enrol", "run", "budget", "status", "check", "ledger verify", "ledger resolve"]
)
def test_every_help_shows_an_example(command: str) -> None:
    shown = CliRunner().invoke(node, [*command.split(), "--help"]).stdout
    assert f"concordat node {command}" in shown
