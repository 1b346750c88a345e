"""A base made trainable, and kept loaded from round to round.

    trainer = Trainer(Base.load(path))
    update = trainer.train(plan, state, dataset, source=SystemRandom(), noise=SecureNoise())

It turns a round's plan and state into an update. It knows nothing of budgets, signatures or the server.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, final

from domains.language import Adapted, Base
from fedclient._fused import FusedGradients
from fedclient._hooks import ExampleGradients
from fedclient._proof import Gradients
from fedclient.dataset import PrivateDataset
from fedclient.step import train
from fedclient.update import AdapterUpdate
from fedcore.adapter import AdapterState
from fedcore.errors import BaseMismatch, ConfigError
from fedcore.privacy.noise import NoiseSource
from fedcore.privacy.sampling import RandomSource
from fedcore.round import RoundPlan

__all__ = ["GradientRule", "Trainer"]

GradientRule = Literal["fused", "hooks"]
"""Who forms the gradient of each example: the LoRA layers themselves, or Opacus' hooks."""

_RULES: dict[GradientRule, Callable[[Adapted], Gradients]] = {"fused": FusedGradients, "hooks": ExampleGradients}


@final
class Trainer:
    """Trains adapters on one base, one round at a time; the model stays in memory between rounds.

    Rounds may train different parts of an adapter, as alternating strategies do, or different adapters:
    each starts from the state it is given, and nothing but that state passes from one to the next. Several
    trainers may share a base in turn, never two threads at once.

    Args:
        base: Loaded, frozen.
        micro_batch: Sequences that are held at a time; speed and memory, never the result.
        gradients: "fused", or "hooks" for a model that the fused rule does not cover; never the result.
        checkpointing: Compute each block again on the way back instead of keeping what it computed: memory
            for speed, never the result.
    Raises:
        ConfigError: `gradients` is not known.
    """

    def __init__(
        self, base: Base, *, micro_batch: int = 8, gradients: GradientRule = "fused", checkpointing: bool = False
    ) -> None:
        if gradients not in _RULES:
            raise ConfigError("gradients is not known", expected=" or ".join(_RULES), got=repr(gradients))
        self.base = base
        self._micro_batch = micro_batch
        self._rule = gradients
        self._checkpointing = checkpointing
        self._gradients: Gradients | None = None

    def train(
        self,
        plan: RoundPlan,
        state: AdapterState,
        dataset: PrivateDataset,
        *,
        source: RandomSource,
        noise: NoiseSource,
        report: Callable[[int, int], None] | None = None,
    ) -> AdapterUpdate:
        """Run one round's private steps from `state`; return new minus old of what the plan trains.

        Args:
            plan: Of the round; its privacy plan has been accepted and its cost reserved.
            state: Where the round starts.
            dataset: This institution's units.
            source: Samples units.
            noise: The mechanism of the plan.
            report: Told (steps done, steps) after each step.
        Raises:
            BaseMismatch: The plan or the state is of another base or schema.
            PrivacyError: Sampler or noise is not what the plan accounts for.
            UnsupportedModel: The plan trains what cannot be trained privately.
            ModelError: Training left the finite numbers.
        """
        if state.schema.digest != plan.schema.digest:
            raise BaseMismatch("the state is of another adapter than the plan", do="ask for the round again")
        privacy = plan.privacy
        batches = privacy.batches(len(dataset), source)
        adapted = self.base.adapt(plan.schema, plan.trains)
        adapted.load(state)
        if self._gradients is None or self._gradients.adapted is not adapted:
            self._gradients = _RULES[self._rule](adapted)
        with self._memory():
            train(
                adapted,
                dataset,
                privacy,
                plan.optimiser,
                batches=batches,
                noise=noise,
                micro_batch=self._micro_batch,
                report=report,
                gradients=self._gradients,
            )
        return AdapterUpdate.between(state, adapted.read(t.name for t in plan.trained), plan.trained)

    def _memory(self) -> AbstractContextManager[None]:
        """Checkpointing where it is asked for; Opacus' hooks work with torch's older form alone."""
        return self.base.checkpointing(reentrant=self._rule == "hooks") if self._checkpointing else nullcontext()
