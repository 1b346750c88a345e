"""The commands: each works, and each bad input gets one clear line and changes nothing."""

import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from typer.testing import CliRunner

from fedcore.adapter import ModelCard
from fedcore.enrolment import CoordinatorCard, EnrolmentRequest
from fedcore.errors import ConcordatError, ConfigError, InvalidPlan, LinkError, TrustError
from fedcore.identity import SigningIdentity
from fedcore.plan_file import read_plan_file
from fedcore.privacy.accounting import DpEvent
from fedcore.receipt import Receipt, read_lines, read_receipt, seal_receipt
from fedcore.round import JobPlan
from fedserver.commands import server
from fedserver.pki import check_validity
from fedserver.store import Store
from fedserver.strategies import load_strategy, strategy_names

JOB = """
name = "trial"
task = "medicine.record"
card = "card.json"
rounds = 2
quorum = 1
deadline_s = 60
max_tokens = 64

[adapter]
rank = 2
alpha = 4
targets = ["q_proj"]

[privacy]
unit = "patient"
sampling_rate = 0.05
steps_per_round = 3
expected_batch_units = 10
examples_per_unit = 2
clip_norm_l2 = 1.0
delta = 1e-5
epsilon = 8.0
"""


class Office:
    """A coordinator's directory and the commands on it."""

    def __init__(self, directory: Path, card: ModelCard) -> None:
        self.directory = directory / "coordinator"
        self.card = directory / "card.json"
        self.card.write_text(json.dumps(card.to_dict()))
        self.call("init", self.directory, "--address", "127.0.0.1:9443", "--name", "trial", where=False)

    def call(self, *args: object, where: bool = True) -> Any:
        place = ["--dir", str(self.directory)] if where else []
        done = CliRunner().invoke(server, [*map(str, args), *place, "--json"])
        if done.exception is not None:
            raise done.exception
        return json.loads(done.stdout)

    def request(self, name: str) -> tuple[Path, str]:
        key = ec.generate_private_key(ec.SECP384R1()).public_key()
        pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        made = EnrolmentRequest.make(name, SigningIdentity.generate(), pem)
        path = self.card.with_name(f"{name}.json")
        made.write(path)
        return path, made.fingerprint

    def enrol(self, name: str) -> Any:
        path, fingerprint = self.request(name)
        return self.call("enrol", path, "--fingerprint", fingerprint)

    def job(self, text: str = JOB) -> Path:
        path = self.card.with_name("job.toml")
        path.write_text(text)
        return path

    def jobs(self) -> tuple[str, ...]:
        return Store.open(self.directory / "state.db").job_ids()


@pytest.fixture
def office(tmp_path: Path, card: ModelCard) -> Office:
    return Office(tmp_path, card)


def test_init_makes_a_coordinator_whose_settings_load(office: Office) -> None:
    assert {p.name for p in office.directory.iterdir()} >= {
        "server.toml", "ca.crt", "ca.key", "server.crt", "server.key", "identity.key", "coordinator.json", "state.db",
        "releases",
    }  # fmt: skip
    card = CoordinatorCard.read(office.directory / "coordinator.json")
    assert (card.name, card.address) == ("trial", "127.0.0.1:9443")
    assert office.call("members") == {"members": []}


def test_init_overwrites_nothing(office: Office) -> None:
    before = (office.directory / "identity.key").read_bytes()
    with pytest.raises(ConfigError, match="is not empty"):
        office.call("init", office.directory, where=False)
    assert (office.directory / "identity.key").read_bytes() == before


def test_init_with_an_address_that_cannot_be_used_makes_nothing(tmp_path: Path, office: Office) -> None:
    with pytest.raises(LinkError, match="expected host:port"):
        office.call("init", tmp_path / "other", "--address", "nowhere", where=False)
    assert not (tmp_path / "other").exists()


def test_enrolled_institution_is_a_member(office: Office) -> None:
    assert office.enrol("a")["new"]
    found = office.call("members")["members"]
    assert [(m["name"], m["connected"]) for m in found] == [("a", False)]


def test_enrolment_without_a_compared_fingerprint_is_refused(office: Office) -> None:
    path, fingerprint = office.request("a")
    with pytest.raises(TrustError, match=fingerprint):
        office.call("enrol", path)
    with pytest.raises(TrustError, match="not the one given"):
        office.call("enrol", path, "--fingerprint", "0000-" * 7 + "0000")
    assert office.call("members") == {"members": []}


def test_enrolment_that_was_changed_on_its_way_is_refused(office: Office) -> None:
    path, _ = office.request("a")
    made = EnrolmentRequest.read(path)
    replace(made, name="b").write(path)
    with pytest.raises(TrustError):
        office.call("enrol", path, "--fingerprint", replace(made, name="b").fingerprint)
    assert office.call("members") == {"members": []}


def test_submitted_job_is_queued_with_a_forecast(office: Office) -> None:
    office.enrol("a")
    value = office.call("submit", office.job())
    assert value["state"] == "queued"
    assert "times the longest clipped signal" in value["forecast"]
    assert office.call("status")["job"] == "trial"
    assert office.call("status", "trial")["outcomes"] == []


def test_a_plan_is_written_for_institutions_to_read_and_nothing_is_queued(office: Office, tmp_path: Path) -> None:
    value = office.call("plan", office.job(), "--out", tmp_path / "plan.json", where=False)
    written = read_plan_file(tmp_path / "plan.json")
    assert isinstance(written, JobPlan)
    assert (written.job_id, written.rounds, written.terms_digest) == ("trial", 2, value["terms_digest"])
    assert value["noise_multiplier"] == written.privacy.noise_multiplier
    assert value["epsilon"] <= 8.0
    assert "times the longest clipped signal" in value["forecast"]
    assert office.jobs() == ()


def test_the_written_plan_has_the_terms_that_are_submitted(office: Office, tmp_path: Path) -> None:
    office.enrol("a")
    office.call("plan", office.job(), "--out", tmp_path / "plan.json", where=False)
    office.call("submit", office.job())
    submitted = Store.open(office.directory / "state.db").job("trial").plan
    assert submitted.terms_digest == read_plan_file(tmp_path / "plan.json").terms_digest


def test_a_plan_that_cannot_be_written_is_an_error(office: Office, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        office.call("plan", office.job(), "--out", tmp_path / "none" / "plan.json", where=False)


def test_a_bad_job_becomes_no_plan(office: Office, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown key"):
        office.call("plan", office.job(JOB.replace("epsilon", "epsilom")), "--out", tmp_path / "p.json", where=False)
    assert not (tmp_path / "p.json").exists()


BAD_JOBS: dict[str, tuple[str, str, type[ConcordatError], str]] = {
    "unknown key": ("epsilon = 8.0", "epsilom = 8.0", ConfigError, "unknown key 'epsilom'"),
    "both kinds of noise": ("epsilon = 8.0", "epsilon = 8.0\nnoise_multiplier = 1.0", ConfigError, "got epsilon and"),
    "no noise": ("epsilon = 8.0", "", ConfigError, "got neither"),
    "epsilon below zero": ("epsilon = 8.0", "epsilon = -1.0", InvalidPlan, "epsilon is out of range"),
    "epsilon that cannot be reached": ("epsilon = 8.0", "epsilon = 1e-9", InvalidPlan, "cannot be reached"),
    "no unit": ('unit = "patient"', 'unit = ""', ConcordatError, "no privacy unit is named"),
    "unit left out": ('unit = "patient"', "", ConfigError, "the key 'unit' is missing"),
    "unknown strategy": ("rounds = 2", 'rounds = 2\nstrategy = "best"', ConfigError, "unknown strategy 'best'"),
    "no rounds": ("rounds = 2", "rounds = 0", ConfigError, "rounds is out of range"),
    "unknown target": ('["q_proj"]', '["qq"]', ConfigError, "no module 'qq'; expected one of q_proj, up"),
    "no card": ('card = "card.json"', 'card = "none.json"', ConfigError, "model card .* cannot be read"),
    "name that cannot be used": ('name = "trial"', 'name = "../x"', ConfigError, "job name"),
    "institution that is not enrolled": (
        "rounds = 2", 'rounds = 2\ninstitutions = ["z"]', ConfigError, "'z' is not enrolled; expected one of a",
    ),
    "quorum that cannot be reached": ("quorum = 1", "quorum = 2", ConfigError, "quorum cannot be reached.*got 1"),
    "public examples that are not there": (
        "[privacy]", '[evaluation]\nrecords = "none.jsonl"\n[privacy]', ConfigError, "none.jsonl do not exist",
    ),
    "not TOML": ("[privacy]", "[privacy", ConfigError, "is not TOML"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD_JOBS)
def test_bad_job_gets_one_clear_line_and_changes_nothing(office: Office, fault: str) -> None:
    office.enrol("a")
    old, new, kind, words = BAD_JOBS[fault]
    with pytest.raises(kind, match=words) as raised:
        office.call("submit", office.job(JOB.replace(old, new, 1)))
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code != 0
    assert office.jobs() == ()


def test_directory_that_is_no_coordinators_is_named(tmp_path: Path, office: Office) -> None:
    with pytest.raises(ConfigError, match="is not a coordinator's directory"):
        office.call("members", "--dir", tmp_path, where=False)


def test_unknown_key_in_server_toml_is_an_error(office: Office) -> None:
    path = office.directory / "server.toml"
    path.write_text(path.read_text() + "\nlissten = 1\n")
    with pytest.raises(ConfigError, match="unknown key 'lissten'"):
        office.call("members")


def test_renew_issues_a_certificate_for_the_address_of_now(office: Office) -> None:
    before = (office.directory / "server.crt").read_bytes()
    path = office.directory / "server.toml"
    path.write_text(path.read_text().replace("127.0.0.1:9443", "localhost:9443"))
    office.call("renew")
    assert (office.directory / "server.crt").read_bytes() != before
    check_validity(office.directory / "server.crt")
    assert CoordinatorCard.read(office.directory / "coordinator.json").address == "localhost:9443"


def test_receipts_of_an_institution_are_written_to_a_new_file(office: Office, tmp_path: Path) -> None:
    office.enrol("a")
    signer = SigningIdentity.load(office.directory / "identity.key")
    head = "1" * 64
    event = DpEvent(sampler="poisson", sampling_rate=0.05, noise_multiplier=0.8, steps=3)
    made = Receipt(
        institution="a", number=1, previous="", job="job", round=1, plan="0" * 64, head=head, dataset="2" * 64,
        event=event, at="2026-11-01T12:00:00+00:00",
    )  # fmt: skip
    with sqlite3.connect(office.directory / "state.db") as db:
        sealed = seal_receipt(made, signer)
        db.execute("INSERT INTO receipts VALUES ('a', 1, 'job', ?, 3, ?, ?)", (head, sealed.header, sealed.signature))
    db.close()
    out = tmp_path / "receipts.jsonl"
    assert office.call("receipts", "a", "--out", out)["receipts"] == 1
    ((read, key),) = read_lines(out)
    assert read_receipt(read, key, institution="a") == made
    assert key == signer.public
    with pytest.raises(ConfigError, match="exists already"):
        office.call("receipts", "a", "--out", out)
    with pytest.raises(ConfigError, match="'b' is not enrolled; expected one of a"):
        office.call("receipts", "b", "--out", tmp_path / "other.jsonl")
    assert not (tmp_path / "other.jsonl").exists()


def test_strategies_are_listed_with_one_default_and_what_each_promises(office: Office) -> None:
    found = office.call("strategies", where=False)["strategies"]
    assert [s["name"] for s in found] == list(strategy_names())
    assert [s["name"] for s in found if s["default"]] == ["fedavg"]
    for row in found:
        strategy = load_strategy(row["name"])
        assert {key: row[key] for key in ("when", "exact", "noise", "noisier", "masked", "ranks")} == {
            key: getattr(strategy.traits, key) for key in ("when", "exact", "noise", "noisier", "masked", "ranks")
        }
        assert row["trains"] == [list(strategy.trains(r)) for r in (1, 2)]
    assert [s["name"] for s in found if not s["server_optimiser"]] == ["flexlora"]


def test_strategies_are_listed_for_people_with_every_line_that_a_job_depends_on() -> None:
    told = CliRunner().invoke(server, ["strategies"])
    assert told.exit_code == 0
    for name in strategy_names():
        strategy = load_strategy(name)
        for line in (strategy.summary, strategy.traits.when, strategy.traits.exact, strategy.traits.noise):
            assert line in told.stdout
    assert "fedavg (default): " in told.stdout
    assert told.stdout.count("behind masks: no") == 3


def test_a_noisier_strategy_is_warned_about_when_a_job_is_planned_and_submitted(office: Office) -> None:
    office.enrol("a")
    job, plan = office.job(JOB.replace("rounds = 2", 'rounds = 2\nstrategy = "flora"')), office.directory / "plan.json"
    planned = office.call("plan", job, "--out", plan, where=False)
    submitted = office.call("submit", job)
    assert planned["warnings"] == submitted["warnings"]
    assert planned["warnings"][0].startswith("The strategy flora is noisier under privacy")
    told = CliRunner().invoke(server, ["plan", str(job), "--out", str(plan.with_name("again.json"))])
    assert planned["warnings"][0] in told.stderr
    assert office.call("plan", office.job(), "--out", plan.with_name("calm.json"), where=False)["warnings"] == []


@pytest.mark.parametrize(
    ("strategy", "more", "words"),
    [
        ("flora", "[secure_sums]\nthreshold = 3\nparties = 4\n", "needs to see each update"),
        ("flexlora", '[server_optimiser]\nname = "adam"\nlearning_rate = 0.01\n', "singular values"),
        ("fedavg", "[ranks]\na = 1\n", "same rank"),
    ],
)
def test_what_a_strategy_cannot_do_is_refused_when_the_job_is_made(
    office: Office, strategy: str, more: str, words: str
) -> None:
    text = JOB.replace("rounds = 2\nquorum = 1", f'rounds = 2\nquorum = 3\nstrategy = "{strategy}"') + more
    for name in "abc":
        office.enrol(name)
    with pytest.raises(ConfigError, match=words):
        office.call("submit", office.job(text))
    assert office.jobs() == ()
