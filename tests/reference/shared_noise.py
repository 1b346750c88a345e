"""Plans that share noise, for whoever has to judge them: real identities, and a sum that carries what it says."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedcore.identity import SigningIdentity
from fedcore.privacy.plan import DISCRETE_GAUSSIAN, PrivacyPlan
from fedcore.round import RoundPlan
from fedcore.sums import SumPlan


def fixed_identity(name: str) -> SigningIdentity:
    """The same key in every process, so that a test whose name holds it is called alike in all of them."""
    return SigningIdentity(Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest()))


IDENTITIES: Mapping[str, SigningIdentity] = {name: fixed_identity(name) for name in ("a", "b", "c", "d")}

Members = Sequence[tuple[str, str]]


def shared(privacy: PrivacyPlan, honest_minimum: int = 3, **changes: Any) -> PrivacyPlan:
    """A plan of one joint step a round, with shared noise."""
    fields = {"steps_per_round": 1, "mechanism": DISCRETE_GAUSSIAN, "honest_minimum": honest_minimum, **changes}
    return replace(privacy, **fields)


def sums_of(
    privacy: PrivacyPlan, parameters: int, *, parties: int = 4, threshold: int = 3, colluders: int = 0
) -> SumPlan:
    """The sums of such a plan."""
    return SumPlan.choose(privacy, parameters=parameters, parties=parties, threshold=threshold, colluders=colluders)


def members(names: Sequence[str] = ("a", "b", "c", "d")) -> tuple[tuple[str, str], ...]:
    """Those of these names, with their real keys."""
    return tuple((name, IDENTITIES[name].public.key_hex) for name in sorted(names))


def peer(name: str) -> str:
    """As an operator writes it down."""
    return f"{name}={IDENTITIES[name].public.fingerprint}"


def shared_fields(plan: RoundPlan, honest_minimum: int = 3, **sums: int) -> dict[str, Any]:
    """The fields by which a plan of local steps becomes one of joint steps with shared noise."""
    privacy = shared(plan.privacy, honest_minimum)
    return {
        "privacy": privacy,
        "joint": True,
        "sums": sums_of(privacy, plan.parameters, **sums),
        "members": members(),
        "cohort": tuple(sorted(IDENTITIES)),
        "quorum": 3,
    }
