"""Types to bytes and back: versioned, canonical, limited in size, and no pickle.

A message is an **Envelope**: a signed JSON header and an optional body of arrays in safetensors form,
which the header names by digest. Signature and digest are checked before the body is parsed. Flower
carries the two byte strings and knows nothing of them.

Signed bytes: b"concordat/1/" + kind + NUL + header. Kinds: "plan", "receipt" and "sum" (coordinator to node),
"reply", "refusal", "ack" and "sum_reply" (node to coordinator). A receipt has no body; it travels by itself or in
the header of a plan, outside the plan's digest (see `fedcore.receipt`).

Masked sums. Where a plan has `sums`, a reply's body is what `fedcore.secagg.Party.mask` gave, and the exchanges
around it travel as "sum" and "sum_reply", whose bodies are that package's bytes:

    phase     body of the sum                       body of the sum_reply
    join      none; the header holds the terms      signed key
    roster    the roster                            none
    (plan)    (the round's plan, as always)         (reply: masked vector)
    confirm   Ask("confirm")                        confirmation
    open      Ask("open")                           opened shares

Widths. The body of a plan is packed at the plan's `widths.down`, that of an unmasked reply at `widths.up`; see
`fedcore.packing`. A body of float32 names its tensors, so that each fault in it has a name of its own.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from fedcore import canonical
from fedcore.adapter import FloatArray, TensorSpec, check_tensors
from fedcore.errors import BadReply, ConfigError, TrustError
from fedcore.identity import PublicIdentity, SigningIdentity
from fedcore.packing import WIDTHS, NotFinite, Width, pack, packed_size_bytes, unpack
from fedcore.privacy.sampling import RandomSource, SystemRandom
from fedcore.round import RoundPlan
from fedcore.secagg import Terms

__all__ = [
    "HEADER_LIMIT_BYTES",
    "VERSION",
    "Envelope",
    "Kind",
    "Phase",
    "ReplyHeader",
    "SumAsk",
    "add_receipt",
    "carried_receipt",
    "pack_arrays",
    "read_plan",
    "read_refusal",
    "read_reply",
    "read_reply_header",
    "read_sum",
    "read_sum_reply",
    "read_update",
    "seal_ack",
    "seal_bare",
    "seal_masked_reply",
    "seal_plan",
    "seal_refusal",
    "seal_reply",
    "seal_sum",
    "seal_sum_refusal",
    "seal_sum_reply",
    "seal_unread",
    "unpack_arrays",
    "verify_header",
]

VERSION = 1
HEADER_LIMIT_BYTES = 4 << 20
Kind = Literal["plan", "receipt", "sum", "reply", "refusal", "ack", "sum_reply"]
Phase = Literal["join", "roster", "confirm", "open"]
PHASES: tuple[Phase, ...] = ("join", "roster", "confirm", "open")
_SYSTEM = SystemRandom()
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """A signed header and its body, as bytes."""

    kind: Kind
    header: bytes
    signature: bytes
    body: bytes = field(default=b"", repr=False)

    @property
    def size_bytes(self) -> int:
        """What travels."""
        return len(self.header) + len(self.signature) + len(self.body)


@dataclass(frozen=True, kw_only=True)
class ReplyHeader:
    """What a node's reply says beside its update."""

    spend: Mapping[str, Any]
    ledger: str
    """Hash of the ledger's entry that paid for the reply: what a receipt names."""
    dataset: str
    """A tag that only the institution can link to the name of its data set."""


@dataclass(frozen=True, kw_only=True)
class SumAsk:
    """One question of a masked sum; `round` is 0 in the phases that come once a job."""

    job: str
    round: int
    phase: Phase
    terms: Terms
    """What the job's sums are bound to; every question names them, so that a node needs nothing else to answer."""
    asked: str = ""
    """SHA-256 of the question, hexadecimal, once it is sealed: what its answer is bound to."""


def pack_arrays(tensors: Mapping[str, FloatArray]) -> bytes:
    """Arrays as safetensors bytes, names sorted."""
    return bytes(save({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}))


def unpack_arrays(body: bytes, specs: Iterable[TensorSpec]) -> dict[str, FloatArray]:
    """Read arrays that must be exactly `specs`.

    Raises:
        ConfigError: Not safetensors, larger than the specs can be, or a tensor that does not fit.
    """
    specs = tuple(specs)
    limit = sum(4 * t.size + 4 * len(t.name) + 512 for t in specs) + 4096
    if len(body) > limit:
        raise ConfigError("a message body is too large", expected=f"at most {limit} bytes", got=str(len(body)))
    try:
        tensors = load(body)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ConfigError("a message body is not safetensors") from error
    check_tensors(specs, tensors)
    return {t.name: tensors[t.name] for t in specs}


def seal_plan(plan: RoundPlan, carried: Mapping[str, FloatArray] | bytes, signer: SigningIdentity) -> Envelope:
    """The coordinator's message.

    Args:
        plan: What is asked.
        carried: The state's carried tensors; or, since rounding draws coins and the plan names the state that came
            of them, the body in which they were packed at the plan's width.
        signer: The coordinator's.
    """
    body = carried if isinstance(carried, bytes) else _pack(carried, plan.carried, plan.widths.down, _SYSTEM)
    return _seal("plan", {"plan": plan.to_dict()}, body, signer)


def read_plan(envelope: Envelope, coordinator: PublicIdentity) -> tuple[RoundPlan, dict[str, FloatArray]]:
    """Verify and read a coordinator's message.

    Raises:
        TrustError: Wrong signature, digest or version.
        InvalidPlan: The plan cannot hold.
        ConfigError: The body does not fit the plan.
    """
    header = _open("plan", envelope, coordinator)
    plan = RoundPlan.from_dict(header["plan"])
    if plan.widths.down == "float32":
        return plan, unpack_arrays(envelope.body, plan.carried)
    return plan, unpack(envelope.body, plan.carried, plan.widths.down)


def add_receipt(plan: Envelope, receipt: Envelope, signer: SigningIdentity) -> Envelope:
    """A sealed plan that also carries a receipt to one institution; the plan and its digest stay as they are."""
    header = canonical.decode(plan.header)
    carried = {"header": receipt.header.decode(), "signature": receipt.signature.hex()}
    data = canonical.encode({**header, "receipt": carried})
    return Envelope(kind="plan", header=data, signature=signer.sign(_signed("plan", data)), body=plan.body)


def carried_receipt(plan: Envelope) -> Envelope | None:
    """The receipt that a plan carries, if any; only for a plan that `read_plan` has verified.

    Raises:
        TrustError: It is not in the form of a receipt.
    """
    carried = canonical.decode(plan.header).get("receipt")
    if carried is None:
        return None
    try:
        header, signature = carried["header"].encode(), bytes.fromhex(carried["signature"])
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise TrustError("a plan carries something that is not a receipt", do="check both sides' versions") from error
    return Envelope(kind="receipt", header=header, signature=signature)


def seal_bare(kind: Kind, header: Mapping[str, Any], signer: SigningIdentity) -> Envelope:
    """A message without a body."""
    return _seal(kind, dict(header), b"", signer)


def seal_reply(
    plan: RoundPlan,
    institution: str,
    tensors: Mapping[str, FloatArray],
    spend: Mapping[str, Any],
    signer: SigningIdentity,
    *,
    ledger: str,
    dataset: str,
    coins: RandomSource = _SYSTEM,
) -> Envelope:
    """A node's update at the plan's width, bound to job, round and plan digest.

    Args:
        plan: What is answered.
        institution: Who answers.
        tensors: The update, noised already.
        spend: `PrivacySpend.to_dict()`.
        signer: The institution's.
        ledger: See `ReplyHeader`.
        dataset: Likewise.
        coins: Of the rounding.
    Raises:
        ConfigError: A width below float32, and the update is not finite or does not fit the plan.
    """
    header = {**_binding(plan, institution), "spend": dict(spend), "ledger": ledger, "dataset": dataset}
    return _seal("reply", header, _pack(tensors, plan.trained_by(institution), plan.widths.up, coins), signer)


def seal_masked_reply(
    plan: RoundPlan,
    institution: str,
    masked: bytes,
    spend: Mapping[str, Any],
    signer: SigningIdentity,
    *,
    ledger: str,
    dataset: str,
) -> Envelope:
    """As `seal_reply`, for a plan with secure sums; its body is for `fedcore.secagg`."""
    header = {**_binding(plan, institution), "spend": dict(spend), "ledger": ledger, "dataset": dataset}
    return _seal("reply", header, masked, signer)


def seal_sum(ask: SumAsk, body: bytes, signer: SigningIdentity) -> tuple[SumAsk, Envelope]:
    """A coordinator's question, and itself with `asked` set."""
    header = {"job": ask.job, "round": ask.round, "phase": ask.phase, "terms": asdict(ask.terms)}
    envelope = _seal("sum", header, body, signer)
    return replace(ask, asked=_asked(envelope)), envelope


def read_sum(envelope: Envelope, coordinator: PublicIdentity) -> SumAsk:
    """Verify and read a coordinator's question; its bytes are the envelope's body.

    Raises:
        TrustError: Wrong signature, digest or version, or not a question.
        InvalidPlan: Its terms cannot hold.
    """
    header = _open("sum", envelope, coordinator)
    try:
        value = dict(header["terms"])
        value["members"] = tuple((str(name), str(key)) for name, key in value["members"])
        terms = Terms(**value)
        job, number, phase = header["job"], header["round"], header["phase"]
        if not (isinstance(job, str) and type(number) is int and phase in PHASES):
            raise TypeError("a field has the wrong type")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TrustError("a question of a masked sum cannot be read", do="check both sides' versions") from error
    return SumAsk(job=job, round=number, phase=phase, terms=terms, asked=_asked(envelope))


def seal_sum_reply(ask: SumAsk, institution: str, body: bytes, signer: SigningIdentity) -> Envelope:
    """A node's answer to a question of a masked sum."""
    return _seal("sum_reply", {"asked": ask.asked, "institution": institution, "code": ""}, body, signer)


def seal_sum_refusal(envelope: Envelope, institution: str, code: str, signer: SigningIdentity) -> Envelope:
    """A node's refusal of a question, which it may not have been able to read: one reason code, never text."""
    return _seal("sum_reply", {"asked": _asked(envelope), "institution": institution, "code": code}, b"", signer)


def read_sum_reply(envelope: Envelope, ask: SumAsk, institution: str, sender: PublicIdentity) -> bytes:
    """Verify a node's answer; its bytes are for `fedcore.secagg`.

    Raises:
        BadReply: It does not hold; or it is a refusal, whose code is the `kind`.
    """
    try:
        header = _open("sum_reply", envelope, sender)
    except TrustError as error:
        raise BadReply(f"{institution}: {error}", kind="bad_signature") from error
    if header.get("asked") != ask.asked or header.get("institution") != institution:
        raise BadReply(f"{institution}: the answer is to another question", kind="wrong_plan")
    code = header.get("code")
    if not (isinstance(code, str) and len(code) <= 40 and (code == "" or code.isidentifier())):
        raise BadReply(f"{institution}: an answer without a readable code", kind="malformed")
    if code:
        raise BadReply(f"{institution} refused to take part in a sum", kind=code)
    return envelope.body


def seal_refusal(plan: RoundPlan, institution: str, code: str, signer: SigningIdentity) -> Envelope:
    """A node's refusal: one reason code, never text."""
    return _seal("refusal", {**_binding(plan, institution), "code": code}, b"", signer)


def seal_ack(institution: str, signer: SigningIdentity) -> Envelope:
    """A node's answer to a receipt, whatever it held: that it came, and nothing more."""
    return _seal("ack", {"institution": institution}, b"", signer)


def seal_unread(envelope: Envelope, institution: str, code: str, signer: SigningIdentity) -> Envelope:
    """A refusal of a message whose plan could not be trusted or read.

    It is bound to whatever plan the message names, so that the coordinator learns the code where the
    message was its own; otherwise it is bound to nothing and answers no plan.
    """
    binding: dict[str, Any] = {"job": "", "round": 0, "plan": "", "institution": institution}
    try:
        plan = canonical.decode(envelope.header[:HEADER_LIMIT_BYTES])["plan"]
        binding |= {"job": str(plan["job_id"])[:64], "round": int(plan["round"]), "plan": canonical.digest(plan)}
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        pass  # Nothing that can be named: the code alone is sent.
    return _seal("refusal", {**binding, "code": code}, b"", signer)


def read_reply_header(envelope: Envelope, plan: RoundPlan, institution: str, sender: PublicIdentity) -> ReplyHeader:
    """Verify a node's message and read what stands beside its update; the update is for `read_update`.

    Raises:
        BadReply: Anything that does not hold; `kind` is one word for it.
    """
    header = _read_bound("reply", envelope, plan, institution, sender)
    if not isinstance(header.get("spend"), dict):
        raise BadReply(f"{institution}: no privacy spend is stated", kind="malformed")
    for name in ("ledger", "dataset"):
        if not (isinstance(header.get(name), str) and _DIGEST.fullmatch(header[name])):
            raise BadReply(f"{institution}: its reply names no entry of its ledger", kind="malformed")
    return ReplyHeader(spend=header["spend"], ledger=header["ledger"], dataset=header["dataset"])


def read_update(envelope: Envelope, plan: RoundPlan, institution: str) -> dict[str, FloatArray]:
    """Read the update of a message that `read_reply_header` has verified.

    Raises:
        BadReply: It is not what the plan asks for; each fault has its own `kind`.
    """
    specs = plan.trained_by(institution)
    if plan.widths.up != "float32":
        return _read_packed(envelope.body, specs, plan.widths.up, institution)
    try:
        tensors = load(envelope.body)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise BadReply(f"{institution}: the body is not safetensors", kind="malformed") from error
    _check_update(institution, specs, tensors)
    return {t.name: tensors[t.name] for t in specs}


def read_reply(
    envelope: Envelope, plan: RoundPlan, institution: str, sender: PublicIdentity
) -> tuple[dict[str, FloatArray], Mapping[str, Any]]:
    """Verify and read a node's update and its spend.

    Raises:
        BadReply: See `read_reply_header` and `read_update`.
    """
    header = read_reply_header(envelope, plan, institution, sender)
    return read_update(envelope, plan, institution), header.spend


def read_refusal(envelope: Envelope, plan: RoundPlan, institution: str, sender: PublicIdentity) -> str:
    """Verify and read a refusal's code.

    Raises:
        BadReply: It does not hold.
    """
    code = _read_bound("refusal", envelope, plan, institution, sender).get("code")
    if not (isinstance(code, str) and code.isidentifier() and len(code) <= 40):
        raise BadReply(f"{institution}: a refusal without a code", kind="malformed")
    return code


def _pack(tensors: Mapping[str, FloatArray], specs: tuple[TensorSpec, ...], width: Width, coins: RandomSource) -> bytes:
    """A body at a width; that of float32 is made as given, and whoever reads it checks it."""
    return pack_arrays(tensors) if width == "float32" else pack(tensors, specs, width, coins=coins)


def _read_packed(body: bytes, specs: tuple[TensorSpec, ...], width: Width, institution: str) -> dict[str, FloatArray]:
    """Read an update below float32; each fault by its own name."""
    expected = packed_size_bytes(specs, width)
    if len(body) != expected:
        others = [w for w in WIDTHS if w != width and len(body) == packed_size_bytes(specs, w)]
        raise BadReply(
            f"{institution}: the update has the wrong {'width' if others else 'size'}",
            kind="wrong_width" if others else "wrong_size",
            expected=f"{expected} bytes at {width}",
            got=f"{len(body)} bytes" + "".join(f", as at {w}" for w in others),
        )
    try:
        return unpack(body, specs, width)
    except NotFinite as error:
        raise BadReply(f"{institution}: {error}", kind="not_finite") from error
    except ConfigError as error:
        raise BadReply(f"{institution}: {error}", kind="malformed") from error


def _check_update(institution: str, specs: tuple[TensorSpec, ...], tensors: Mapping[str, Any]) -> None:
    """Exactly the named tensors, float32, in shape, finite; each fault by its own name."""
    expected = {t.name: t for t in specs}
    if expected.keys() - tensors.keys():
        raise BadReply(f"{institution}: a tensor is missing", kind="missing_tensor")
    if tensors.keys() - expected.keys():
        raise BadReply(f"{institution}: a tensor is not part of the plan", kind="extra_tensor")
    for name, spec in expected.items():
        array = tensors[name]
        if array.dtype != np.float32:
            raise BadReply(
                f"{institution}: {name} has the wrong type",
                kind="wrong_dtype",
                expected="float32",
                got=str(array.dtype),
            )
        if array.shape != spec.shape:
            raise BadReply(
                f"{institution}: {name} has the wrong shape",
                kind="wrong_shape",
                expected=str(spec.shape),
                got=str(array.shape),
            )
        if not np.isfinite(array).all():
            raise BadReply(f"{institution}: {name} holds NaN or infinity", kind="not_finite")


def _binding(plan: RoundPlan, institution: str) -> dict[str, Any]:
    """What ties a reply to one question: it cannot be replayed to another."""
    return {"job": plan.job_id, "round": plan.round, "plan": plan.digest, "institution": institution}


def _asked(envelope: Envelope) -> str:
    """What an answer to a question is bound to."""
    return hashlib.sha256(envelope.header[:HEADER_LIMIT_BYTES]).hexdigest()


def _seal(kind: Kind, header: dict[str, Any], body: bytes, signer: SigningIdentity) -> Envelope:
    data = canonical.encode({**header, "version": VERSION, "body_sha256": hashlib.sha256(body).hexdigest()})
    return Envelope(kind=kind, header=data, signature=signer.sign(_signed(kind, data)), body=body)


def _signed(kind: Kind, header: bytes) -> bytes:
    return f"concordat/{VERSION}/{kind}".encode() + b"\0" + header


def verify_header(kind: Kind, header: bytes, signature: bytes, sender: PublicIdentity) -> dict[str, Any]:
    """Check and read a message's header without its body.

    The body's digest stands in the header and was signed with it, so what the header says is proven alone.

    Raises:
        TrustError: Wrong signature or version, too large, or not canonical JSON.
    """
    if len(header) > HEADER_LIMIT_BYTES:
        raise TrustError(f"the header of a {kind} is too large")
    sender.verify(_signed(kind, header), signature)
    try:
        value = canonical.decode(header)
    except (ValueError, RecursionError) as error:
        raise TrustError(f"a {kind}'s header cannot be read") from error
    if not isinstance(value, dict) or value.get("version") != VERSION:
        raise TrustError(f"a {kind} has another version", expected=str(VERSION))
    return value


def _open(kind: Kind, envelope: Envelope, sender: PublicIdentity) -> dict[str, Any]:
    """Check kind, size, signature, version and body digest; return the header."""
    if envelope.kind != kind:
        raise TrustError(f"a message is not a {kind}")
    header = verify_header(kind, envelope.header, envelope.signature, sender)
    if header.get("body_sha256") != hashlib.sha256(envelope.body).hexdigest():
        raise TrustError(f"a {kind}'s body is not the one that was signed")
    return header


def _read_bound(
    kind: Kind, envelope: Envelope, plan: RoundPlan, institution: str, sender: PublicIdentity
) -> dict[str, Any]:
    """Open a node's message and require that it answers this plan."""
    try:
        header = _open(kind, envelope, sender)
    except TrustError as error:
        raise BadReply(f"{institution}: {error}", kind="bad_signature") from error
    if any(header.get(key) != value for key, value in _binding(plan, institution).items()):
        raise BadReply(f"{institution}: the reply answers another plan", kind="wrong_plan")
    return header
