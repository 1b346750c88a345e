"""Types to bytes and back: versioned, canonical, limited in size, and no pickle.

A message is an **Envelope**: a signed JSON header and an optional body of arrays in safetensors form,
which the header names by digest. Signature and digest are checked before the body is parsed. Flower
carries the two byte strings and knows nothing of them.

Signed bytes: b"concordat/1/" + kind + NUL + header. Kinds: "plan" (coordinator to node), "reply" and
"refusal" (node to coordinator).
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from fedcore import canonical
from fedcore.adapter import FloatArray, TensorSpec, check_tensors
from fedcore.errors import BadReply, ConfigError, TrustError
from fedcore.identity import PublicIdentity, SigningIdentity
from fedcore.round import RoundPlan

__all__ = [
    "HEADER_LIMIT_BYTES",
    "VERSION",
    "Envelope",
    "Kind",
    "pack_arrays",
    "read_plan",
    "read_refusal",
    "read_reply",
    "seal_plan",
    "seal_refusal",
    "seal_reply",
    "seal_unread",
    "unpack_arrays",
]

VERSION = 1
HEADER_LIMIT_BYTES = 4 << 20
Kind = Literal["plan", "reply", "refusal"]


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


def seal_plan(plan: RoundPlan, tensors: Mapping[str, FloatArray], signer: SigningIdentity) -> Envelope:
    """The coordinator's message: a plan and the state's carried tensors."""
    return _seal("plan", {"plan": plan.to_dict()}, pack_arrays(tensors), signer)


def read_plan(envelope: Envelope, coordinator: PublicIdentity) -> tuple[RoundPlan, dict[str, FloatArray]]:
    """Verify and read a coordinator's message.

    Raises:
        TrustError: Wrong signature, digest or version.
        InvalidPlan: The plan cannot hold.
        ConfigError: The body does not fit the plan.
    """
    header = _open("plan", envelope, coordinator)
    plan = RoundPlan.from_dict(header["plan"])
    return plan, unpack_arrays(envelope.body, plan.carried)


def seal_reply(
    plan: RoundPlan,
    institution: str,
    tensors: Mapping[str, FloatArray],
    spend: Mapping[str, Any],
    signer: SigningIdentity,
) -> Envelope:
    """A node's update, bound to job, round and plan digest. `spend` is `PrivacySpend.to_dict()`."""
    return _seal("reply", {**_binding(plan, institution), "spend": dict(spend)}, pack_arrays(tensors), signer)


def seal_refusal(plan: RoundPlan, institution: str, code: str, signer: SigningIdentity) -> Envelope:
    """A node's refusal: one reason code, never text."""
    return _seal("refusal", {**_binding(plan, institution), "code": code}, b"", signer)


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


def read_reply(
    envelope: Envelope, plan: RoundPlan, institution: str, sender: PublicIdentity
) -> tuple[dict[str, FloatArray], Mapping[str, Any]]:
    """Verify and read a node's update and its spend.

    Raises:
        BadReply: Anything that does not hold; `kind` is one word for it.
    """
    header = _read_bound("reply", envelope, plan, institution, sender)
    try:
        tensors = load(envelope.body)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise BadReply(f"{institution}: the body is not safetensors", kind="malformed") from error
    _check_update(institution, plan, tensors)
    if not isinstance(header.get("spend"), dict):
        raise BadReply(f"{institution}: no privacy spend is stated", kind="malformed")
    return {t.name: tensors[t.name] for t in plan.trained}, header["spend"]


def read_refusal(envelope: Envelope, plan: RoundPlan, institution: str, sender: PublicIdentity) -> str:
    """Verify and read a refusal's code.

    Raises:
        BadReply: It does not hold.
    """
    code = _read_bound("refusal", envelope, plan, institution, sender).get("code")
    if not (isinstance(code, str) and code.isidentifier() and len(code) <= 40):
        raise BadReply(f"{institution}: a refusal without a code", kind="malformed")
    return code


def _check_update(institution: str, plan: RoundPlan, tensors: Mapping[str, Any]) -> None:
    """Exactly the trained tensors, float32, in shape, finite; each fault by its own name."""
    expected = {t.name: t for t in plan.trained}
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


def _seal(kind: Kind, header: dict[str, Any], body: bytes, signer: SigningIdentity) -> Envelope:
    data = canonical.encode({**header, "version": VERSION, "body_sha256": hashlib.sha256(body).hexdigest()})
    return Envelope(kind=kind, header=data, signature=signer.sign(_signed(kind, data)), body=body)


def _signed(kind: Kind, header: bytes) -> bytes:
    return f"concordat/{VERSION}/{kind}".encode() + b"\0" + header


def _open(kind: Kind, envelope: Envelope, sender: PublicIdentity) -> dict[str, Any]:
    """Check kind, size, signature, version and body digest; return the header."""
    if envelope.kind != kind or len(envelope.header) > HEADER_LIMIT_BYTES:
        raise TrustError(f"a message is not a {kind}, or its header is too large")
    sender.verify(_signed(kind, envelope.header), envelope.signature)
    try:
        header = canonical.decode(envelope.header)
    except (ValueError, RecursionError) as error:
        raise TrustError(f"a {kind}'s header cannot be read") from error
    if not isinstance(header, dict) or header.get("version") != VERSION:
        raise TrustError(f"a {kind} has another version", expected=str(VERSION))
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
