"""The state as it travels down: rounded to the job's width, and always the same bytes for the same round.

The coordinator keeps its own state in float32 (the master), adds updates to it, and rounds a copy of what travels.
Were the master itself rounded in each round, it would wander: every round would add the error of one more rounding,
which grows with their number, and a change smaller than a step would mostly be lost or land as a whole step. So the
error of each round's copy is that round's alone: nodes train from the copy, their updates are what changed from it,
and the sum of the updates moves the master.

The coins are fair, so that the copy's mean is the master, and need not be secret: nothing here was computed from
records but what was noised before it came. They are a public stream keyed by seed, round and master, so that
a coordinator that was killed sends the very same bytes again, and nobody foresees them who does not know the
master yet, and with it everyone's last update.

This file never sees an update, a node or a key.

>>> from fedcore.adapter import AdapterSchema, TensorSpec
>>> factors = (TensorSpec(name="q.lora_A", shape=(1, 3)), TensorSpec(name="q.lora_B", shape=(2, 1)))
>>> schema = AdapterSchema(base_digest="", rank=1, alpha=1, targets=("q",), tensors=factors)
>>> master = AdapterState.initial(schema, seed=1)
>>> copy = round_off(master, ("lora_B",), "int8", seed=1, round=2)
>>> copy.state.digest == master.digest    # zeros are zeros at every width, and A does not travel
True
"""

import hashlib
from dataclasses import dataclass, field
from typing import ClassVar, final

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fedcore.adapter import AdapterState
from fedcore.packing import Width, pack, unpack
from fedcore.round import JobPlan
from fedcore.wire import pack_arrays

__all__ = ["PublicCoins", "Sent", "round_off", "send"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Sent:
    """What the nodes train from, and the message body from which they learn it."""

    state: AdapterState
    body: bytes = field(repr=False)


@final
class PublicCoins:
    """Words that anyone computes who knows the text: fair, and never a source of noise or sampling.

    AES-256-CTR keyed by SHA-256 of the text, as for a state's initial factors.
    """

    origin: ClassVar[str] = "public"

    def __init__(self, text: str) -> None:
        key = hashlib.sha256(f"concordat/travel/{text}".encode()).digest()
        self._stream = Cipher(algorithms.AES256(key), modes.CTR(b"\0" * 16)).encryptor()

    def words(self, count: int) -> npt.NDArray[np.uint64]:
        """The next `count` words."""
        return np.frombuffer(self._stream.update(b"\0" * (8 * count)), dtype="<u8").astype(np.uint64)


def send(job: JobPlan, round: int, carries: tuple[str, ...], master: AdapterState) -> Sent:
    """What one round of a job sends down.

    Args:
        job: Names the width and the seed.
        round: From 1.
        carries: The parts that travel; of the others every node knows the values.
        master: The coordinator's own state.
    Raises:
        ConfigError: The state diverged so far that the width cannot hold it.
    """
    return round_off(master, carries, job.widths.down, seed=job.seed, round=round)


def round_off(master: AdapterState, carries: tuple[str, ...], width: Width, *, seed: int, round: int) -> Sent:
    """A copy of a state whose travelling parts are rounded to a width, and the body that holds exactly these.

    Guarantee: pure, and a node that puts what it reads from `body` over the other parts has `state` to the last bit.
    Each number's mean over the coins is that of `master`. At float32 nothing changes.

    Args:
        master: Float32.
        carries: The parts that travel.
        width: One of `fedcore.packing.WIDTHS`.
        seed: Of the job.
        round: From 1.
    Raises:
        ConfigError: A number is too large for the width.
    """
    if width == "float32":
        return Sent(state=master, body=pack_arrays(master.part(*carries)))
    specs = master.schema.part(*carries)
    coins = PublicCoins(f"{seed}/{round}/{master.digest}")
    body = pack(master.part(*carries), specs, width, coins=coins)
    return Sent(state=master.replace(unpack(body, specs, width)), body=body)
