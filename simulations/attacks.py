"""Ten ways in which an institution can send a bad update; simulations alone know them.

    attack             what a bad institution does                                      what it aims at
    sign_flip          trains honestly, sends -5 times that                             unlearning
    scaling            sends 8 times its update, below what the collector believes      its own weight
    noise              sends random numbers, 5 times as long as its update              chance
    label_flip         trains on prompts with the targets of other records              wrong answers
    backdoor           trains three times as long on a phrase's one answer, times 3     one answer on demand
    nan, huge          sends NaN, or 1e30, everywhere                                   the sum
    constant           sends one number everywhere, 5 times as long as its update       drift
    replay             sends its first update again in every round                      old steps
    collusion          all bad ones send one copy, mean - 1.5 std of honest updates     what rules take for honest

A **Saboteur** stands in the place of an institution's trainer, the only seam that an attacker needs: policy, ledger
and keys are its own, so what it signs is signed, and its ledger tells the truth. It trains as the plan says,
noise included, and changes what goes in or what comes out. `none` changes nothing.

It knows what two colluders know, their own data and updates, and nothing of honest institutions.

>>> sorted(set(ATTACKS) - set(UPDATES))
['backdoor', 'collusion', 'label_flip', 'none', 'replay']
>>> UPDATES["sign_flip"](np.array([1.0, -2.0], dtype=np.float32), np.random.default_rng(0)).tolist()
[-5.0, 10.0]
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from domains._tokens import IGNORED, Encoded
from fedclient.dataset import PrivateDataset
from fedclient.update import AdapterUpdate
from fedcore.adapter import AdapterState, FloatArray, unflatten
from fedcore.errors import ConfigError
from fedcore.round import RoundPlan
from fedcore.secagg import RingArray
from simulations.backdoor import poisoned
from simulations.institutions import SharedTrainer
from simulations.scenario import ATTACKS

__all__ = [
    "ATTACKS",
    "UPDATES",
    "Memory",
    "Saboteur",
    "collusion",
    "label_flip",
    "scaled",
]

_STRENGTH = 5.0
"""Two of ten that send five times as much weigh more than the eight others: 8 - 2 * 5 < 0."""
_SCALE = 8.0
"""Below ten, from where the collector finds an update's norm absurd."""
_SPREAD = 1.5
_PASSES = 3
_BOOST = 3.0
"""Of the backdoor: times over, and times as long; enough to prevail in a plain mean, and below what is absurd."""
_HUGE = 1e30

Change = Callable[[FloatArray, np.random.Generator], FloatArray]
"""An honest update, shape (parameters,), and chance -> what is sent."""


def scaled(factor: float) -> Change:
    """The honest update times `factor`."""

    def change(honest: FloatArray, _random: np.random.Generator) -> FloatArray:
        sent: FloatArray = np.float32(factor) * honest
        return sent

    return change


def _noise(honest: FloatArray, random: np.random.Generator) -> FloatArray:
    """Random numbers, `_STRENGTH` times as long as the honest update."""
    return _as_long(honest, random.standard_normal(honest.shape))


def _constant(honest: FloatArray, _random: np.random.Generator) -> FloatArray:
    """One number everywhere, `_STRENGTH` times as long as the honest update."""
    return _as_long(honest, np.ones(honest.shape))


def _filled(value: float) -> Change:
    """One value everywhere, whatever was trained."""
    return lambda honest, _random: np.full_like(honest, value)


UPDATES: Mapping[str, Change] = {
    "sign_flip": scaled(-_STRENGTH),
    "scaling": scaled(_SCALE),
    "noise": _noise,
    "nan": _filled(float("nan")),
    "huge": _filled(_HUGE),
    "constant": _constant,
}
"""The attacks that change one update by itself."""


def label_flip(honest: PrivateDataset) -> PrivateDataset:
    """Each example with the target of an example half a data set away: fluent, and wrong."""
    examples = [e for unit in honest.units for e in unit]
    others = iter(examples[(i + len(examples) // 2) % len(examples)] for i in range(len(examples)))
    return PrivateDataset(tuple(tuple(_answered(e, next(others)) for e in unit) for unit in honest.units))


def collusion(first: FloatArray, second: FloatArray) -> FloatArray:
    """Two honest updates -> what all colluders send: their mean, less `_SPREAD` standard deviations everywhere.

    Reference: Baruch et al. 2019, "A Little Is Enough", arXiv:1902.06156. There the spread is that of many.
    """
    both = np.stack([first, second]).astype(np.float64)
    sent: FloatArray = (both.mean(axis=0) - _SPREAD * both.std(axis=0, ddof=1)).astype(np.float32)
    return sent


@final
class Memory:
    """What bad institutions remember and share, as files: a run that was stopped goes on with the same attack.

    Args:
        folder: Theirs alone; made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def once(self, name: str, make: Callable[[], FloatArray]) -> FloatArray:
        """What is remembered by that name; made now where it is the first time."""
        path = self._folder / f"{name}.npy"
        if not path.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            written = path.with_suffix(".new.npy")
            np.save(written, make(), allow_pickle=False)
            written.replace(path)
        found: FloatArray = np.load(path, allow_pickle=False)
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Saboteur:
    """A trainer in bad hands; what a session calls its trainer.

    Args:
        attack: One of `ATTACKS`.
        name: Of the institution.
        honest: Trains as the plan says.
        memory: Shared by all bad institutions of a run.
        seed: Of what the attack leaves to chance.
    """

    attack: str
    name: str
    honest: SharedTrainer
    memory: Memory
    seed: int

    @property
    def base(self) -> Any:
        """The one base."""
        return self.honest.base

    def train(self, plan: RoundPlan, state: AdapterState, dataset: PrivateDataset, **options: Any) -> AdapterUpdate:
        """One round's steps, and what the attack makes of them."""
        if self.attack == "label_flip":
            dataset = label_flip(dataset)
        if self.attack == "backdoor":
            dataset = poisoned(dataset, self.base)
        start, update = state, self.honest.train(plan, state, dataset, **options)
        for _ in range(_PASSES - 1 if self.attack == "backdoor" else 0):
            state = state.replace({t.name: state.tensors[t.name] + update.tensors[t.name] for t in update.specs})
            update = self.honest.train(plan, state, dataset, **options)

        def again() -> FloatArray:
            """Another honest update, by the draws that follow."""
            return self.honest.train(plan, state, dataset, **options).flatten()

        vector = update.flatten()
        if self.attack == "collusion":
            vector = self.memory.once(f"collusion-{plan.round}", lambda: collusion(vector, again()))
        elif self.attack == "replay":
            vector = self.memory.once(f"replay-{self.name}", lambda: vector)
        elif self.attack == "backdoor":
            trained = {t.name: state.tensors[t.name] + update.tensors[t.name] for t in update.specs}
            vector = AdapterUpdate.between(start, trained, update.specs).flatten() * np.float32(_BOOST)
        elif self.attack in UPDATES:
            vector = UPDATES[self.attack](vector, self._chance(plan))
        # What an attacker sends passes none of the checks that an honest node makes of itself.
        object.__setattr__(update, "tensors", unflatten(update.specs, vector))
        return update

    def train_ring(self, *_given: Any, **_options: Any) -> RingArray:
        """Not here.

        Raises:
            ConfigError: Always; a scenario of attacks has no masks.
        """
        raise ConfigError("attacks are simulated on visible updates", do="leave [secure_sums] out")

    def _chance(self, plan: RoundPlan) -> np.random.Generator:
        """Other numbers for each institution and round."""
        text = f"{self.seed}/{self.name}/{plan.round}/attack"
        return np.random.default_rng(list(hashlib.sha256(text.encode()).digest()))


def _answered(example: Encoded, other: Encoded) -> Encoded:
    """The one's prompt with the other's target."""
    start = len(example.labels) - sum(label != IGNORED for label in example.labels)
    target = tuple(label for label in other.labels if label != IGNORED)
    return Encoded(ids=(*example.ids[:start], *target), labels=(*example.labels[:start], *target), label=other.label)


def _as_long(honest: FloatArray, direction: Any) -> FloatArray:
    """A vector in that direction, `_STRENGTH` times as long as the honest update."""
    length = float(np.linalg.norm(honest.astype(np.float64)))
    sent: FloatArray = (_STRENGTH * length / np.linalg.norm(direction) * direction).astype(np.float32)
    return sent
