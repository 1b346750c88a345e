"""A plan's terms in plain words, for the person who decides on them. Public numbers only.

for label, words in in_words(plan):
    print(f"{label}: {words}")
"""

import math

from fedclient.consent import plain
from fedcore.adapter import AdapterSchema
from fedcore.privacy.plan import PrivacyPlan
from fedcore.round import JobPlan, RoundPlan

__all__ = ["in_words"]


def in_words(plan: JobPlan | RoundPlan) -> tuple[tuple[str, str], ...]:
    """What a plan asks of an institution, as (label, words)."""
    privacy, schema = plan.privacy, plan.schema
    steps = privacy.steps_per_round * plan.rounds
    which = f"round {plan.round} of {plan.rounds}" if isinstance(plan, RoundPlan) else f"{plan.rounds} rounds"
    return (
        ("job", f"{plan.job_id}, {which}, strategy {plain(plan.strategy)}"),
        ("task", f"{plain(plan.task)}, at most {plan.max_tokens} tokens for each example"),
        ("base", f"{plain(schema.base_digest, 64)}"),
        ("adapter", f"{_adapter(schema)}{_ranks(plan)}"),
        ("protects", plain(privacy.unit.describe())),
        ("batches", _batches(privacy)),
        ("steps", f"{privacy.steps_per_round:,} in a round, {steps:,} in all; {_optimiser(plan)}"),
        (
            "clipping",
            f"each unit's gradient to an L2 norm of at most {privacy.clip_norm_l2:g}, {privacy.clipping.rule}",
        ),
        ("noise", _noise(privacy)),
        ("seen", _seen(plan)),
        *_stays(plan),
        ("travels", _travels(plan)),
    )


def _adapter(schema: AdapterSchema) -> str:
    """Form, rank and size; what of it no institution trains is said."""
    targets = plain(", ".join(map(str, schema.targets)))
    words = f"LoRA of rank {plain(schema.rank, 20)} on {targets}: {schema.parameters:,} numbers"
    if schema.form == "core":
        head = " and the head" if schema.part("head") else ""
        trained = sum(t.size for t in schema.part("core", "head"))
        words += f"; only the square cores between its factors{head} train, {trained:,} numbers"
    if schema.residual_rank != 0:
        residual = sum(t.size for t in schema.part("residual_A", "residual_B"))
        words += f"; a residual of rank {plain(schema.residual_rank, 20)}, {residual:,} of the numbers, does not train"
    return words


def _batches(privacy: PrivacyPlan) -> str:
    """How units are drawn."""
    drawn = f"each unit is drawn with a chance of {privacy.sampling_rate:g} in each step"
    if privacy.sampler == "truncated_poisson":
        drawn += f"; of more than {privacy.batch_limit:,} drawn, that many stay"
        drawn += f"; only where there are at most {privacy.largest_units:,} units"
    return f"{drawn}; at most {privacy.examples_per_unit:,} examples of a unit"


def _ranks(plan: JobPlan | RoundPlan) -> str:
    """Who trains fewer slots of the adapter."""
    named = ", ".join(f"{plain(name, 40)} {rank}" for name, rank in plan.ranks[:8])
    more = f" and {len(plan.ranks) - 8} more institutions fewer" if len(plan.ranks) > 8 else ""
    return f"; of the {plan.schema.rank} slots of each pair {named}{more} train the first alone" if plan.ranks else ""


def _noise(privacy: PrivacyPlan) -> str:
    """What is added to a clipped sum."""
    if not privacy.is_private:
        return "none at all (UnsafeNoNoise): nothing is protected"
    words = f"standard deviation {privacy.noise_multiplier:g} times the clip norm"
    if privacy.honest_minimum is not None:
        alone = privacy.noise_multiplier / math.sqrt(privacy.honest_minimum)
        words += f" in the sum of {privacy.honest_minimum} institutions; {alone:g} times is this one's own share"
    if privacy.clipping.releases_count:
        words += f"; a count with noise multiplier {privacy.clipping.count_noise_multiplier:g} is released beside it"
    return words


def _seen(plan: JobPlan | RoundPlan) -> str:
    """Joint or local steps, masked or not, and what shared noise assumes: one sentence."""
    privacy, sums, noised = plan.privacy, plan.sums, "noised " if plan.privacy.is_private else ""
    steps = privacy.steps_per_round
    sent = f"{noised}update after {steps:,} {'step' if steps == 1 else 'steps'} of its own"
    if plan.joint:
        sent = f"{'' if privacy.shares_noise else noised}sum of clipped gradients for one joint step"
    if sums is None:
        return f"the coordinator sees this institution's {sent}"
    words = (
        f"this institution's {sent} is masked: the coordinator sees only sums of at least {sums.threshold} of"
        f" {sums.parties} institutions, as long as "
        + (f"at most {sums.colluders} of them collude" if sums.colluders else "none of them colludes")
        + " with it"
    )
    if privacy.honest_minimum is not None:
        words += (
            f", and the noise is shared: what is promised assumes that in every sum {privacy.honest_minimum} or"
            " more institutions neither drop out nor tell their part of the noise"
        )
    return words


def _stays(plan: JobPlan | RoundPlan) -> tuple[tuple[str, str], ...]:
    """What an institution keeps for itself."""
    if not plan.keeps:
        return ()
    size = sum(t.size for t in plan.schema.part(*plan.keeps))
    words = (
        f"this institution's own {plain(' and '.join(plan.keeps))} of {size:,} numbers is trained in the same noised"
        " steps, is kept in its ledger's file and never leaves it"
    )
    return (("stays", words),)


def _travels(plan: JobPlan | RoundPlan) -> str:
    """At which widths numbers travel; rounding costs no privacy, and this is said."""
    up, down = plan.widths.up, plan.widths.down
    if plan.sums is not None:
        return f"the masked update in a ring, {plan.sums.bits} bits a number; the state comes at {down}"
    words = f"the update leaves at {up}, the state comes at {down}"
    if up != "float32":
        words += "; it is rounded after noise is added, which costs no privacy"
    return words


def _optimiser(plan: JobPlan | RoundPlan) -> str:
    """The optimiser in a few words."""
    where = ", at the coordinator" if plan.joint else ""
    pull = f", held near the round's state by a proximal term of {plan.optimiser.proximal:g}"
    words = f"{plan.optimiser.name}, learning rate {plan.optimiser.learning_rate:g}{where}"
    return words + (pull if plan.optimiser.proximal else "")
