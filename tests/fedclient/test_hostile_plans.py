"""Hostile plans: whatever a coordinator, or someone in its place, sends, no round runs and nothing is spent.

Each case goes through the real `run_round` of a node with the real policy and ledger. Whatever can be signed
is signed with the pinned coordinator's own key: the attacker is the coordinator.
"""

import copy
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domains.language import Encoded
from fedclient.approvals import Consent
from fedclient.consent import LocalPolicy
from fedclient.dataset import PrivateDataset
from fedclient.hours import Hours
from fedclient.ledger import BudgetLimit, Ledger
from fedclient.session import Institution, run_round, unsafe_unaudited
from fedclient.update import AdapterUpdate
from fedcore.adapter import AdapterState, ModelCard
from fedcore.identity import SigningIdentity
from fedcore.privacy.units import PrivacyUnit
from fedcore.round import RoundPlan
from fedcore.wire import Envelope, pack_arrays, read_refusal, seal_plan, verify_header
from tests.reference.shared_noise import fixed_identity, peer, shared_fields

Plans = Callable[..., RoundPlan]
Json = dict[str, Any]
NAN, INF, HUGE = float("nan"), float("inf"), 10**400
FINGERPRINT = "-".join(["1a2b"] * 8)
GONE = object()
"""The key is taken out."""

WRONG_TYPES: tuple[Any, ...] = (None, "1", [], {}, True, NAN, INF, -INF, HUGE)


@dataclasses.dataclass
class Held:
    card: ModelCard


class Counting:
    """A trainer that only counts how often it is asked; it never is."""

    def __init__(self, card: ModelCard) -> None:
        self.base = Held(card)
        self.asked = 0

    def train(self, plan: RoundPlan, state: AdapterState, dataset: PrivateDataset, **sources: Any) -> AdapterUpdate:
        self.asked += 1
        tensors = {t.name: np.ones(t.shape, dtype=np.float32) for t in plan.trained}
        return AdapterUpdate(specs=plan.trained, tensors=tensors)


class Target:
    """An institution under attack, and what the attack reached."""

    def __init__(self, directory: Path, card: ModelCard, **policy: Any) -> None:
        self.coordinator, self.identity = SigningIdentity.generate(), SigningIdentity.generate()
        unit = PrivacyUnit(key="patient")
        self.ledger = Ledger.open(
            directory / "ledger.db", dataset="admissions", unit=unit, limit=BudgetLimit(epsilon=8.0, delta=1e-5)
        )
        self.trainer, self.reads = Counting(card), 0
        bounds: Json = {
            "tasks": ("medicine.record",),
            "unit": unit,
            "least_noise_multiplier": 0.3,
            "largest_clip_norm_l2": 10.0,
            "largest_rank": 64,
            "largest_delta": 1e-5,
        }
        self.institution = Institution(
            name="a",
            identity=self.identity,
            coordinator=self.coordinator.public,
            policy=Consent(
                LocalPolicy(**{**bounds, **policy}),
                coordinator=FINGERPRINT,
                approvals=self.ledger,
                pending=directory / "pending",
                clock=lambda: datetime(2026, 1, 5, 12, 0, tzinfo=UTC),
            ),
            ledger=self.ledger,
            trainer=self.trainer,
            dataset=self.dataset,
            audit=unsafe_unaudited,  # Its own tests are elsewhere; here it would only take time.
        )

    def dataset(self, plan: RoundPlan) -> PrivateDataset:
        self.reads += 1
        return PrivateDataset(units=((Encoded(ids=(5, 6), labels=(-100, 6)),),))

    def sign(self, header: bytes, body: bytes = b"", signer: SigningIdentity | None = None) -> Envelope:
        signature = (signer or self.coordinator).sign(b"concordat/1/plan\0" + header)
        return Envelope(kind="plan", header=header, signature=signature, body=body)

    def refusal(self, envelope: Envelope) -> str:
        """Send it; the code of the signed refusal, after checking that nothing else happened."""
        reply = run_round(envelope, self.institution)
        assert reply.kind == "refusal"
        header = verify_header("refusal", reply.header, reply.signature, self.identity.public)
        assert header["code"].isidentifier()
        assert len(header["code"]) <= 40
        assert not reply.body
        assert (self.trainer.asked, self.reads, self.ledger.events()) == (0, 0, ())
        return str(header["code"])


def pack(plan: Any, body: bytes, **header: Any) -> bytes:
    """A header as bytes; unlike the house's own writer it does not refuse NaN."""
    value = {"plan": plan, "version": 1, "body_sha256": hashlib.sha256(body).hexdigest(), **header}
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


@pytest.fixture
def target(tmp_path: Path, card: ModelCard) -> Target:
    return Target(tmp_path, card)


@pytest.fixture
def good(make_plan: Plans) -> Json:
    """A plan that would be accepted, as JSON."""
    return json.loads(json.dumps(make_plan().to_dict()))  # type: ignore[no-any-return]


@pytest.fixture
def body(state: AdapterState) -> bytes:
    return pack_arrays(state.part("lora_B"))


# One value put in the place of a good one: path, values, and the code where there is only one.
VALUES: list[tuple[str, tuple[Any, ...], str | None]] = [
    ("privacy.noise_multiplier", (0, 0.0, -0.8, -1e-9, 1e400, *WRONG_TYPES), None),
    ("privacy.noise_multiplier", (0.2999, 1e-3, 1e-300), "noise_too_low"),
    ("privacy.clip_norm_l2", (10.001, 1e9, 1e300), "clip_norm_too_large"),
    ("privacy.clip_norm_l2", (0, -1, *WRONG_TYPES), None),
    ("privacy.delta", (1.1e-5, 0.1, 0.999999), "delta_too_large"),
    ("privacy.delta", (0, 1, -1e-5, 2, *WRONG_TYPES), None),
    ("privacy.sampling_rate", (1.0, 0.9), "budget_exhausted"),
    ("privacy.sampling_rate", (0, -0.05, 1.0000001, 50, *WRONG_TYPES), None),
    ("privacy.steps_per_round", (1_000_000, 100_000), "budget_exhausted"),
    ("privacy.steps_per_round", (0, -3, 1_000_001, 3.5, 3.0, *WRONG_TYPES), None),
    ("privacy.expected_batch_units", (0, -10, *WRONG_TYPES), None),
    ("privacy.examples_per_unit", (0, -1, 1.5, 1_000_001, *WRONG_TYPES), None),
    ("privacy.mechanism", ("UnsafeNoNoise", "laplace", "", "GAUSSIAN", None, 0, [], True), "invalid_plan"),
    ("privacy.sampler", ("truncated_poisson", "shuffled", "uniform", "", None, 1, []), None),
    ("privacy.batch_limit", (0, 1, -1, 1 << 40, "8"), "invalid_plan"),
    ("privacy.largest_units", (0, 1, 1 << 62), "invalid_plan"),
    ("privacy.unit.key", ("record", "Patient", "patient ", "ward"), "unit_mismatch"),
    ("privacy.unit.key", ("", " ", None, 7, [], GONE), None),
    ("privacy.unit.relation", ("replace_one",), "unit_mismatch"),
    ("privacy.unit.relation", ("", "none", "replace_special", None, 1), None),
    ("privacy.unit", ("patient", None, [], {}, 1, {"key": "patient", "size": 1}), None),
    ("privacy.clipping", ({"rule": "none"}, {"rule": "flat"}, {"rule": None}, [], "fixed", {"bound": 1e9}), None),
    ("privacy", (None, [], "none", {}, 0.8), "invalid_plan"),
    ("job_id", ("", "../../etc/passwd", "a/b", "x" * 65, ".job", "job\n", "a b", "a\0", None, 7, [], GONE), None),
    ("round", (0, -1, 3, 1.0, "1", True, None, NAN, HUGE, GONE), None),
    ("rounds", (0, -2, 2.0, "2", None, True, NAN, 10**9, GONE), None),
    ("task", ("finance.report", "", "medicine.records", "MEDICINE.RECORD", None, 7, [], {}), "task_not_allowed"),
    ("task", ("medicine.record\0", "medicine.record ", "x" * 100_000), "task_not_allowed"),
    ("schema.rank", (65, 4096, 1 << 40), "rank_too_large"),
    ("schema.rank", (0, -1, 2.5, *WRONG_TYPES), None),
    ("schema.base_digest", ("cd" * 32, "", "AB" * 32, None, 7, []), None),
    ("schema.alpha", (0, -4, None, "4", NAN, INF, GONE), None),
    ("schema.targets", (["nope"], [], ["up"], ["q_proj", "up"], 7, None, GONE), None),
    ("schema.tensors", ([], None, 7, [{}], [{"name": "x", "shape": [1]}], GONE), None),
    ("schema.tensors.0.name", ("", "../x", "layers.0.q_proj.lora_B", "zzz.lora_A", None, 7), None),
    ("schema.tensors.0.shape", ([4096, 6], [2, 7], [-2, 6], [0, 6], [], None, "26", [1 << 20, 1 << 20]), None),
    ("schema.tensors.0.shape", ([2, 6, 1], [[2], 6], ["2", 6], [2.0, 6], [HUGE, 6]), None),
    ("schema", (None, [], "q_proj", {}), None),
    ("state_digest", ("", "00" * 32, None, 7, []), "state_mismatch"),
    ("seed", (8, -7), "state_mismatch"),
    ("seed", ("7", None, 7.0, [], GONE), "invalid_plan"),
    ("trains", ([], ["weights"], ["lora_B", "base"], "lora_B", [[]], [None], 7, None, GONE), None),
    ("carries", (["weights"], ["lora_A", "lora_B"], [], "lora_B", [{}], 7, None, GONE), None),
    ("cohort", ([], ["b"], ["A"], ["a "]), "not_in_cohort"),
    ("cohort", (None, 7, "ab", ["a", None], {"a": 1}, GONE), "invalid_plan"),
    ("weight", (0, -1, None, "1", [], NAN, INF, HUGE), None),
    ("quorum", (0, -1, 1.5, *WRONG_TYPES), None),
    ("deadline_s", (0, -60, None, "60", [], NAN, INF, HUGE, 1e9), None),
    ("max_tokens", (0, 7, -64, 64.5, 10**9, *WRONG_TYPES), None),
    ("optimiser.name", ("lion", "", None, 7, []), None),
    ("optimiser.learning_rate", (0, -1, 10.1, 1e9, None, "1", NAN, INF, HUGE), None),
    ("optimiser.momentum", (1, -0.1, 2, None, "0", NAN), None),
    ("optimiser.weight_decay", (-1, 2, None, "0", NAN), None),
    ("optimiser", (None, [], "adamw", {"name": "adamw", "hook": "os.system"}), None),
]

# Several values that only together are the attack.
TOGETHER: dict[str, tuple[Json, str]] = {
    "no noise, said out loud": ({"privacy.mechanism": "UnsafeNoNoise", "privacy.noise_multiplier": 0}, "no_noise"),
    "truncated": (
        {"privacy.sampler": "truncated_poisson", "privacy.batch_limit": 20, "privacy.largest_units": 1000},
        "sampler_not_allowed",
    ),
    "another task and another base": ({"task": "x", "schema.base_digest": "cd" * 32}, "task_not_allowed"),
    "last round of too many": ({"round": 3, "rounds": 2}, "invalid_plan"),
}
for limits in (
    (0, 10),
    (10, 0),
    (-1, 10),
    (1 << 41, 1 << 41),
    (1.5, 10),
    (10, "10"),
    (True, 10),
    (None, 10),
    (10, None),
):
    edits = {
        "privacy.sampler": "truncated_poisson",
        "privacy.batch_limit": limits[0],
        "privacy.largest_units": limits[1],
    }
    TOGETHER[f"truncated at {limits}"] = (edits, "invalid_plan")
ADAPTIVE = {"rule": "adaptive", "quantile": 0.5, "learning_rate": 0.2, "count_noise_multiplier": 20.0}
for name, values, code in (
    ("count_noise_multiplier", (GONE, 0, -1, NAN, INF, "20", True), None),
    ("count_noise_multiplier", (0.01, 0.3), "noise_too_low"),
    ("quantile", (GONE, 0, 1, -0.5, 2, NAN, None), None),
    ("learning_rate", (GONE, 0, -0.2, NAN, INF), None),
    ("stability", (0.1,), "invalid_plan"),
):
    for value in values:
        edits = {"privacy.clipping": {k: v for k, v in {**ADAPTIVE, name: value}.items() if v is not GONE}}
        TOGETHER[f"adaptive, {name} {value!r:.20}"] = (edits, code or "")
for stability in (GONE, 0, -1, NAN, "1"):
    clipping = {"rule": "automatic", **({} if stability is GONE else {"stability": stability})}
    TOGETHER[f"automatic, stability {stability!r:.20}"] = ({"privacy.clipping": clipping}, "")

UNKNOWN = ("", "schema", "privacy", "privacy.unit", "privacy.clipping", "optimiser")
REQUIRED = (
    *(
        f"privacy.{n}"
        for n in ("unit", "sampling_rate", "noise_multiplier", "clip_norm_l2", "delta", "steps_per_round")
    ),
    *("privacy.examples_per_unit", "privacy.expected_batch_units", "privacy", "schema", "schema.rank"),
    *("task", "state_digest", "weight", "quorum", "deadline_s", "max_tokens", "optimiser", "schema.base_digest"),
)


def edits_of_a_plan() -> Iterator[tuple[str, Json, str]]:
    """Name, what is changed, and the code ("" where several are right)."""
    for path, values, code in VALUES:
        for number, value in enumerate(values):
            yield f"{path} = {'gone' if value is GONE else f'{value!r:.24}'} ({number})", {path: value}, code or ""
    for name, (edits, code) in TOGETHER.items():
        yield name, edits, code
    for path in UNKNOWN:
        yield f"an unknown key in {path or 'the plan'}", {f"{path}.unsafe_allow_no_noise".lstrip("."): True}, ""
    for path in REQUIRED:
        yield f"{path} is missing", {path: GONE}, ""


def edited(plan: Json, edits: Json) -> Json:
    """The plan with values put in or taken out at their paths."""
    plan = copy.deepcopy(plan)
    for path, value in edits.items():
        *parents, last = path.split(".")
        place: Any = plan
        for parent in parents:
            place = place[int(parent) if isinstance(place, list) else parent]
        if value is GONE:
            del place[last]
        elif isinstance(place, list):
            place[int(last)] = value
        else:
            place[last] = value
    return plan


EDITS = {name: (edits, code) for name, edits, code in edits_of_a_plan()}


@pytest.mark.parametrize("name", EDITS)
def test_a_hostile_plan_of_the_coordinator_runs_no_round(target: Target, good: Json, body: bytes, name: str) -> None:
    edits, code = EDITS[name]
    found = target.refusal(target.sign(pack(edited(good, edits), body), body))
    assert not code or found == code


@pytest.mark.parametrize("name", [n for n in EDITS if n.startswith(("schema", "trains", "state", "seed"))])
def test_a_hostile_schema_runs_no_round_where_no_tensor_travels(target: Target, good: Json, name: str) -> None:
    """With nothing to carry, what is wrong with a schema is not found by the shapes of what came."""
    edits, code = EDITS[name]
    empty = pack_arrays({})
    found = target.refusal(target.sign(pack(edited({**good, "carries": []}, edits), empty), empty))
    assert not code or found == code


def test_the_plan_that_the_others_are_made_of_is_accepted(target: Target, good: Json, body: bytes) -> None:
    """Otherwise every refusal above could have one and the same reason."""
    for plan, carried in ((good, body), ({**good, "carries": []}, pack_arrays({}))):
        reply = run_round(target.sign(pack(plan, carried), carried), target.institution)
        assert reply.kind == "reply"
    assert target.trainer.asked == 2


# Plans of joint steps behind masks, with noise that is shared.


@pytest.fixture
def masked(target: Target, make_plan: Plans) -> Json:
    """A plan that the policy accepts: only the keys of its sums are not agreed here."""
    fields = shared_fields(make_plan())
    fields["members"] = (("a", target.identity.public.key_hex), *fields["members"][1:])
    consent = target.institution.policy
    own = f"a={target.identity.public.fingerprint}"
    known = {"largest_honest_minimum": 3, "peers": tuple(map(peer, "bcd")), "own": own}
    consent._policy = dataclasses.replace(consent._policy, **known)  # type: ignore[attr-defined]
    return json.loads(json.dumps(make_plan(**fields).to_dict()))  # type: ignore[no-any-return]


STRANGER = fixed_identity("a stranger").public.key_hex
SUM_VALUES: list[tuple[str, tuple[Any, ...], str | None]] = [
    ("joint", (False, 0, 1, "true", None, [], NAN, GONE), None),
    ("sums", (None, [], {}, "32", 7, True, GONE), "invalid_plan"),
    ("sums.parties", (3, 1, 0, -4, 4097, 4.0, *WRONG_TYPES, GONE), None),
    ("sums.threshold", (2, 1, 0, -3, 5, 3.0, *WRONG_TYPES, GONE), None),
    ("sums.colluders", (1, 4, -1, 0.0, *WRONG_TYPES, GONE), None),
    ("sums.bits", (8, 16, 31, 33, 64, 0, -32, 32.0, *WRONG_TYPES, GONE), None),
    ("sums.resolution", (0, 0.0, -(2.0**-20), 0.003, 3.0, 1e-300, 1e300, 5e-324, *WRONG_TYPES, GONE), None),
    ("sums.bound_l2", (0, 0.0, -1.0, 1e12, 1e300, *WRONG_TYPES, GONE), None),
    ("sums.share_std_units", (0, 1, 3, 4, 100, -100, 1 << 25, 1 << 40, 1e6, *WRONG_TYPES, GONE), None),
    ("sums.unsafe_allow_no_noise", (True, 0), "invalid_plan"),
    ("privacy.honest_minimum", (4, 5, 4096), "invalid_plan"),
    ("privacy.honest_minimum", (0, -3, 3.0, *WRONG_TYPES, GONE), None),
    ("privacy.honest_minimum", (1, 2), "invalid_plan"),  # The shares of so few carry less than the plan claims.
    ("privacy.noise_multiplier", (0.81, 2, 40), "invalid_plan"),
    ("privacy.mechanism", ("gaussian", "UnsafeNoNoise", "skellam"), "invalid_plan"),
    ("privacy.steps_per_round", (2, 3, 0), "invalid_plan"),
    ("privacy.clipping", (ADAPTIVE,), "invalid_plan"),
    ("members", ((), [], None, "ab", 7, [["a"]], [["a", "b", "c"]], [[]], {"a": "b"}, GONE), "invalid_plan"),
    ("members.3", (["d", STRANGER], ["zz", STRANGER]), None),
    ("members.3", (["c", STRANGER], ["a", STRANGER], ["", STRANGER], ["d", "zz"], ["d", ""], ["d", None]), None),
    ("members.3.1", (STRANGER.upper(), STRANGER + " ", STRANGER[:-1], "0x" + STRANGER[2:], 7), "invalid_plan"),
    ("members.0.1", (STRANGER,), "peers_unknown"),
    ("cohort", (["a", "e"], ["a", "b", "c", "d", "zz"]), "invalid_plan"),
    ("quorum", (2, 1), "invalid_plan"),
    ("weight", (2, 0.5), "invalid_plan"),
]
SUM_TOGETHER: dict[str, Json] = {
    "no noise behind masks": {
        "privacy.mechanism": "UnsafeNoNoise",
        "privacy.noise_multiplier": 0,
        "privacy.honest_minimum": None,
        "sums.share_std_units": 0,
    },
    "own noise that is not there": {
        "privacy.mechanism": "gaussian",
        "privacy.honest_minimum": None,
        "sums.share_std_units": 0,
    },
    "the threshold and the assumption lowered": {"sums.threshold": 2, "privacy.honest_minimum": 2, "quorum": 2},
    "colluders and the assumption traded": {"sums.colluders": 1, "privacy.honest_minimum": 2},
    "a clip norm that the share was not made for": {"privacy.clip_norm_l2": 8.0},
    "members invented beside those known": {
        "members.1": ["b", STRANGER],
        "members.2": ["c", "ab" * 32],
    },
}


def edits_of_sums() -> Iterator[tuple[str, Json, str]]:
    for path, values, code in SUM_VALUES:
        for number, value in enumerate(values):
            yield f"{path} = {'gone' if value is GONE else f'{value!r:.24}'} ({number})", {path: value}, code or ""
    for name, edits in SUM_TOGETHER.items():
        yield name, edits, ""


SUM_EDITS = {name: (edits, code) for name, edits, code in edits_of_sums()}


def test_the_masked_plan_that_the_others_are_made_of_passes_all_but_the_agreement(
    target: Target, masked: Json, body: bytes
) -> None:
    """Otherwise every refusal below could have one and the same reason."""
    assert target.refusal(target.sign(pack(masked, body), body)) == "sum_not_joined"


@pytest.mark.parametrize("name", SUM_EDITS)
def test_a_hostile_plan_of_sums_runs_no_round(target: Target, masked: Json, body: bytes, name: str) -> None:
    edits, code = SUM_EDITS[name]
    found = target.refusal(target.sign(pack(edited(masked, edits), body), body))
    assert found == code if code else found != "sum_not_joined"


def test_shared_noise_is_refused_by_a_node_that_never_agreed_to_it(
    tmp_path: Path, card: ModelCard, target: Target, masked: Json, body: bytes
) -> None:
    """A policy that says nothing of honest_minimum allows none."""
    consent = target.institution.policy
    consent._policy = dataclasses.replace(  # type: ignore[attr-defined]
        consent._policy,  # type: ignore[attr-defined]
        largest_honest_minimum=None,
    )
    assert target.refusal(target.sign(pack(masked, body), body)) == "honest_minimum_too_large"


# Messages that are not what the coordinator signed, or not a plan at all.


def messages(target: Target, good: Json, body: bytes) -> dict[str, Envelope]:
    """Envelopes by name; all but the last group are bytes that no honest program would send."""
    header = pack(good, body)
    sealed = target.sign(header, body)
    stranger = SigningIdentity.generate()
    changed = dataclasses.replace
    out = {
        "no signature": changed(sealed, signature=b""),
        "a signature of zeros": changed(sealed, signature=b"\0" * 64),
        "half a signature": changed(sealed, signature=sealed.signature[:32]),
        "a signature twice": changed(sealed, signature=sealed.signature * 2),
        "another coordinator's signature": target.sign(header, body, stranger),
        "the node's own signature": target.sign(header, body, target.identity),
        "signed as a reply": changed(sealed, signature=target.coordinator.sign(b"concordat/1/reply\0" + header)),
        "signed as a receipt": changed(sealed, signature=target.coordinator.sign(b"concordat/1/receipt\0" + header)),
        "signed without its kind": changed(sealed, signature=target.coordinator.sign(header)),
        "sent as a reply": changed(sealed, kind="reply"),
        "sent as a refusal": changed(sealed, kind="refusal"),
        "one bit changed": changed(sealed, header=header.replace(b'"round":1', b'"round":2')),
        "a space more": changed(sealed, header=header + b" "),
        "no body": changed(sealed, body=b""),
        "a longer body": changed(sealed, body=body + b"\0"),
        "another body": changed(sealed, body=body[:-4] + b"\0\0\0\1"),
        "a body of a million bytes": changed(sealed, body=b"\0" * 1_000_000),
        "a header above the limit": target.sign(header[:-1] + b',"pad":"' + b"x" * (4 << 20) + b'"}', body),
        "a key twice": target.sign(header[:-1] + b',"version":1}', body),
        "a plan twice": target.sign(header[:-1] + b',"plan":' + json.dumps(good).encode() + b"}", body),
        "not JSON": target.sign(b"not json", body),
        "empty": target.sign(b"", body),
        "a list": target.sign(b"[" + header + b"]", body),
        "null": target.sign(b"null", body),
        "another encoding": target.sign(header.decode().encode("utf-16"), body),
        "not UTF-8": target.sign(header.replace(b"medicine", b"med\xff\xfeine"), body),
        "half a surrogate": target.sign(header.replace(b"medicine.record", b"\\ud800"), body),
        "a pickle": target.sign(b"cos\nsystem\n(S'true'\ntR.", body),
        "a million brackets": target.sign(b"[" * 1_000_000, body),
        "a million tables": target.sign(b'{"plan":' * 400_000, body),
        "a number of a million digits": target.sign(b'{"plan":' + b"9" * 1_000_000 + b"}", body),
        "a plan in a string": target.sign(pack(json.dumps(good), body), body),
        "a plan in a list": target.sign(pack([good], body), body),
        "a plan that is null": target.sign(pack(None, body), body),
        "no plan": target.sign(pack(good, body).replace(b'"plan":', b'"plans":'), body),
    }
    for version in (0, 2, "1", None, 1.5, [1]):
        out[f"version {version!r}"] = target.sign(pack(good, body, version=version), body)
    for digest in ("", "00" * 32, None, 7, body.hex()):
        out[f"body digest {digest!r:.12}"] = target.sign(pack(good, body, body_sha256=digest), body)
    spec = {"layers.0.q_proj.lora_B": (4, 2), "layers.1.q_proj.lora_B": (4, 2)}
    zeros = {n: np.zeros(s, dtype=np.float32) for n, s in spec.items()}
    first = next(iter(zeros))
    for name, tensors in {
        "NaN in the state": {**zeros, first: np.full((4, 2), np.nan, dtype=np.float32)},
        "infinity in the state": {**zeros, first: np.full((4, 2), np.inf, dtype=np.float32)},
        "a tensor is missing": {first: zeros[first]},
        "a tensor too many": {**zeros, "layers.0.q_proj.lora_A": np.zeros((2, 6), dtype=np.float32)},
        "a tensor of another shape": {**zeros, first: np.zeros((2, 4), dtype=np.float32)},
        "a tensor of another type": {**zeros, first: np.zeros((4, 2), dtype=np.float64)},
        "a state that is not the plan's": {**zeros, first: np.ones((4, 2), dtype=np.float32)},
    }.items():
        packed = pack_arrays(tensors)
        out[name] = target.sign(pack(good, packed), packed)
    for name, packed in {
        "a body of text": b"hello",
        "a body that claims 2**60 bytes": (1 << 60).to_bytes(8, "little") + b"{}",
    }.items():
        out[name] = target.sign(pack(good, packed), packed)
    return out


def test_messages_that_are_no_plan_of_the_coordinator_run_no_round(target: Target, good: Json, body: bytes) -> None:
    for name, envelope in messages(target, good, body).items():
        assert target.refusal(envelope), name


def test_a_forged_plan_is_answered_with_the_word_trust(target: Target, good: Json, body: bytes) -> None:
    forged = target.sign(pack(good, body), body, SigningIdentity.generate())
    assert target.refusal(forged) == "trust"


# Plans that the settings of this node make hostile.


@pytest.mark.parametrize(
    ("policy", "code"),
    [
        ({"coordinators": ("-".join(["ffff"] * 8),)}, "coordinator_not_allowed"),
        ({"bases": ("cd" * 32,)}, "base_mismatch"),
        ({"tasks": ("medicine.record@" + "cd" * 32,)}, "task_changed"),
        ({"tasks": ("finance.report",)}, "task_not_allowed"),
        ({"unit": PrivacyUnit(key="patient", relation="replace_one")}, "unit_mismatch"),
        ({"samplers": ("truncated_poisson",)}, "sampler_not_allowed"),
        ({"least_noise_multiplier": 0.81}, "noise_too_low"),
        ({"largest_clip_norm_l2": 0.5}, "clip_norm_too_large"),
        ({"largest_rank": 1}, "rank_too_large"),
        ({"largest_delta": 1e-6}, "delta_too_large"),
        ({"hours": Hours.parse(("22:00-06:00",), timezone="UTC")}, "outside_hours"),
        ({"approval": "job"}, "approval_pending"),
        ({"approval": "round"}, "approval_pending"),
    ],
)
def test_a_plan_that_this_node_does_not_want_runs_no_round(
    tmp_path: Path, card: ModelCard, good: Json, body: bytes, policy: Json, code: str
) -> None:
    target = Target(tmp_path, card, **policy)
    assert target.refusal(target.sign(pack(good, body), body)) == code


def test_a_refusal_is_bound_to_the_plan_that_it_answers(target: Target, make_plan: Plans, state: AdapterState) -> None:
    plan = make_plan(task="finance.report")
    reply = run_round(seal_plan(plan, state.part("lora_B"), target.coordinator), target.institution)
    assert read_refusal(reply, plan, "a", target.identity.public) == "task_not_allowed"


def test_a_plan_that_was_answered_is_never_run_again(target: Target, good: Json, body: bytes) -> None:
    """Replayed as it was it gets the same bytes; under any other name it is another plan, with its own cost."""
    sealed = target.sign(pack(good, body), body)
    first = run_round(sealed, target.institution)
    assert [run_round(sealed, target.institution) for _ in range(3)] == [first] * 3
    assert (target.trainer.asked, len(target.ledger.events())) == (1, 1)
    run_round(target.sign(pack({**good, "job_id": "other"}, body), body), target.institution)
    assert (target.trainer.asked, len(target.ledger.events())) == (2, 2)


def test_there_are_more_than_two_hundred_hostile_plans(target: Target, good: Json, body: bytes) -> None:
    plans = {pack(edited(good, edits), body) for edits, _ in EDITS.values()}
    others = {(e.kind, e.header, e.signature, e.body) for e in messages(target, good, body).values()}
    assert pack(good, body) not in plans
    assert len(plans) >= 350
    assert len(others) >= 50
