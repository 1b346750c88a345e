"""A base made trainable, and kept loaded from round to round.

    trainer = Trainer(Base.load(path))
    update = trainer.train(plan, state, dataset, source=SystemRandom(), noise=SecureNoise())

It turns a round's plan and state into an update, or where the plan has secure sums into an update's elements of
their ring. It knows nothing of budgets, signatures, masks or the server.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Literal, cast, final

import numpy as np

from domains.language import Adapted, Base
from fedclient._fused import FusedGradients
from fedclient._hooks import ExampleGradients
from fedclient._proof import Gradients
from fedclient._sharing import Sharing
from fedclient.dataset import PrivateDataset
from fedclient.joint import encoded_sum, noised_sum
from fedclient.step import train
from fedclient.update import AdapterUpdate
from fedcore.adapter import AdapterState, FloatArray, check_tensors
from fedcore.errors import BaseMismatch, ConfigError, ModelError, PrivacyError
from fedcore.privacy.integer_noise import IntegerNoiseSource
from fedcore.privacy.noise import NoiseSource
from fedcore.privacy.sampling import RandomSource
from fedcore.round import RoundPlan
from fedcore.secagg import RingArray

if TYPE_CHECKING:
    from fedclient.distributed import Helpers

__all__ = ["GradientRule", "Keep", "Trainer", "form_gradients"]

Keep = Callable[[Mapping[str, FloatArray]], None]
"""Told once, at the end of a round, what `plan.kept` became: by tensor name. It never leaves the institution."""

GradientRule = Literal["fused", "hooks"]
"""Who forms the gradient of each example: the LoRA layers themselves, or Opacus' hooks."""

_RULES: dict[GradientRule, Callable[[Adapted], Gradients]] = {"fused": FusedGradients, "hooks": ExampleGradients}


def form_gradients(rule: GradientRule, adapted: Adapted) -> Gradients:
    """What forms the gradient of each example of a model, by a rule."""
    return _RULES[rule](adapted)


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
        helpers: Processes that form gradients with this one, each on a device of its own; sums differ by the
            rounding of float64. None: this process alone.
    Raises:
        ConfigError: `gradients` is not known.
    """

    def __init__(
        self,
        base: Base,
        *,
        micro_batch: int = 8,
        gradients: GradientRule = "fused",
        checkpointing: bool = False,
        helpers: "Helpers | None" = None,
    ) -> None:
        if gradients not in _RULES:
            raise ConfigError("gradients is not known", expected=" or ".join(_RULES), got=repr(gradients))
        self.base = base
        self._micro_batch = micro_batch
        self._rule = gradients
        self._checkpointing = checkpointing
        self._helpers = helpers
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
        keep: Keep | None = None,
    ) -> AdapterUpdate:
        """Run one round of a plan without secure sums from `state`.

        Returns:
            New minus old of what the plan trains; in a joint round the noised sum of one step.

        Args:
            plan: Of the round; its privacy plan has been accepted and its cost reserved.
            state: Where the round starts.
            dataset: This institution's units.
            source: Samples units.
            noise: The mechanism of the plan.
            report: Told (steps done, steps) after each step.
            keep: Told what stays here, for a plan that keeps something: trained in the same steps, noise included.
        Raises:
            BaseMismatch: The plan or the state is of another base or schema.
            ConfigError: The plan keeps something, and nobody is there to be told.
            PrivacyError: Sampler or noise is not what the plan accounts for, or the plan has secure sums.
            UnsupportedModel: The plan trains what cannot be trained privately.
            ModelError: Training left the finite numbers.
        """
        if plan.sums is not None:
            raise PrivacyError("an update of a plan with secure sums leaves encoded or not at all", do="use train_ring")
        return self._update(plan, state, dataset, source=source, noise=noise, report=report, keep=keep)

    def train_ring(
        self,
        plan: RoundPlan,
        state: AdapterState,
        dataset: PrivateDataset,
        *,
        source: RandomSource,
        noise: NoiseSource | IntegerNoiseSource,
        report: Callable[[int, int], None] | None = None,
        keep: Keep | None = None,
    ) -> RingArray:
        """Run one round of a plan with secure sums from `state`; return what is to be masked.

        Guarantee: the result has all of the noise in it that the plan asks of this institution: its own in local
        steps, its share in a joint step. No update, and no sum with less noise, leaves this method.

        Args:
            plan: As in `train`.
            state: As in `train`.
            dataset: As in `train`.
            source: As in `train`.
            noise: The mechanism of the plan, of integers where it shares its noise.
            report: As in `train`.
            keep: As in `train`; what stays is encoded nowhere.
        Returns:
            The tensors of `plan.trained`, ravelled in that order, in the plan's ring; not masked yet.
        Raises:
            InvalidPlan: The plan's sums could overflow, or their noise is not what the privacy plan promises.
            BaseMismatch, PrivacyError, UnsupportedModel, ModelError: As `train`.
        """
        if plan.sums is None:
            raise PrivacyError("the plan has no secure sums to encode for", do="use train")
        plan.sums.check(plan.privacy, plan.parameters)
        ring = plan.sums.ring(plan.parameters)
        if not plan.joint:
            # Which of the two kinds of source it is, the steps themselves check by its mechanism.
            real = cast(NoiseSource, noise)
            update = self._update(plan, state, dataset, source=source, noise=real, report=report, keep=keep)
            return ring.encode(update.flatten().astype(np.float64))
        adapted, gradients = self._load(plan, state)
        with self._memory(), self._sharing(adapted, plan) as sharing:
            return encoded_sum(
                adapted,
                dataset,
                plan.privacy,
                plan.sums,
                order=[adapted.parameters[t.name] for t in plan.trained],
                batches=plan.privacy.batches(len(dataset), source),
                noise=noise,
                micro_batch=self._micro_batch,
                report=report,
                gradients=gradients,
                sharing=sharing,
            )

    def _update(
        self,
        plan: RoundPlan,
        state: AdapterState,
        dataset: PrivateDataset,
        *,
        source: RandomSource,
        noise: NoiseSource,
        report: Callable[[int, int], None] | None,
        keep: Keep | None,
    ) -> AdapterUpdate:
        """What the institution adds to a round, with its own noise; what stays is handed over last."""
        if plan.keeps and keep is None:
            raise ConfigError("the plan keeps parts here, and nobody is there to keep them", do="pass keep")
        adapted, gradients = self._load(plan, state)
        batches = plan.privacy.batches(len(dataset), source)
        with self._memory(), self._sharing(adapted, plan) as sharing:
            if plan.joint:
                total = noised_sum(
                    adapted,
                    dataset,
                    plan.privacy,
                    order=[adapted.parameters[t.name] for t in plan.trained],
                    batches=batches,
                    noise=noise,
                    micro_batch=self._micro_batch,
                    report=report,
                    gradients=gradients,
                    sharing=sharing,
                )
                return AdapterUpdate.of_sum(total, plan.trained)
            train(
                adapted,
                dataset,
                plan.privacy,
                plan.optimiser,
                batches=batches,
                noise=noise,
                micro_batch=self._micro_batch,
                report=report,
                gradients=gradients,
                sharing=sharing,
            )
        update = AdapterUpdate.between(state, adapted.read(t.name for t in plan.trained), plan.trained)
        if keep is not None:
            keep(_finite(plan, adapted.read(t.name for t in plan.kept)))
        return update

    def _load(self, plan: RoundPlan, state: AdapterState) -> tuple[Adapted, Gradients]:
        """The model in a round's state, with exactly what the plan trains set to train, whether or not it travels.

        Raises:
            BaseMismatch: The plan or the state is of another base or schema.
        """
        if state.schema.digest != plan.schema.digest:
            raise BaseMismatch("the state is of another adapter than the plan", do="ask for the round again")
        adapted = self.base.adapt(plan.schema, (*plan.trains, *plan.keeps))
        adapted.load(state)
        if self._gradients is None or self._gradients.adapted is not adapted:
            self._gradients = form_gradients(self._rule, adapted)
        return adapted, self._gradients

    def _memory(self) -> AbstractContextManager[None]:
        """Checkpointing where it is asked for; Opacus' hooks work with torch's older form alone."""
        return self.base.checkpointing(reentrant=self._rule == "hooks") if self._checkpointing else nullcontext()

    def _sharing(self, adapted: Adapted, plan: RoundPlan) -> AbstractContextManager[Sharing | None]:
        """A round with the helpers, where there are any."""
        if self._helpers is None:
            return nullcontext()
        return self._helpers.round(adapted, (*plan.trains, *plan.keeps), plan.privacy)


def _finite(plan: RoundPlan, tensors: Mapping[str, FloatArray]) -> Mapping[str, FloatArray]:
    """What stays, unless training went wrong.

    Raises:
        ModelError: It left the finite numbers.
    """
    try:
        check_tensors(plan.kept, tensors)
    except ConfigError as error:
        raise ModelError(f"the round did not end in a usable adapter ({error})", do="lower learning_rate") from error
    return tensors
