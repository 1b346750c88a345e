"""Each attack does what its name says, and a real coordinator refuses by name what no sum can hold."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from domains._tokens import IGNORED
from domains.language import Base, Encoded, Writer
from fedclient.dataset import PrivateDataset
from fedclient.update import AdapterUpdate
from fedcore.adapter import AdapterSchema, AdapterState, FloatArray, TensorSpec, unflatten
from fedcore.errors import ConfigError
from fedcore.folding import RobustRule, WidthSettings
from fedcore.round import RoundPlan
from fedserver.sums import SecureSumSettings
from simulations import attacks, backdoor
from simulations.attacks import ATTACKS, UPDATES, Memory, Saboteur
from simulations.directory import RunDirectory
from simulations.institutions import SharedTrainer
from simulations.scenario import AttackSettings, Scenario
from simulations.world import World

_SPECS = (TensorSpec(name="b", shape=(2, 2)), TensorSpec(name="a", shape=(1,)))
_HONEST = np.array([0.5, -1.0, 2.0, 0.25, -3.0], dtype=np.float32)


class Round:
    """As much of a plan as an attack looks at."""

    def __init__(self, number: int) -> None:
        self.round = number


class State:
    """As much of a state as an attack looks at."""

    def __init__(self, tensors: Mapping[str, FloatArray]) -> None:
        self.tensors = tensors

    def replace(self, tensors: Mapping[str, FloatArray]) -> "State":
        return State({**self.tensors, **tensors})


class Honest:
    """A trainer whose updates are known: a multiple of `_HONEST`, another at each call."""

    def __init__(self, *factors: float) -> None:
        self._factors = list(factors)
        self.seen: list[PrivateDataset] = []
        self.started: list[float] = []

    base = None

    def train(self, _plan: object, state: AdapterState, dataset: PrivateDataset, **_options: Any) -> AdapterUpdate:
        self.seen.append(dataset)
        self.started.append(float(state.tensors["b"][0, 0]))
        return AdapterUpdate.of_sum(np.float32(self._factors.pop(0)) * _HONEST, _SPECS)


def _sent(attack: str, folder: Path, trainer: Honest, *, name: str = "bad", number: int = 1) -> FloatArray:
    """What a bad institution sends in a round, and the data that it trained on."""
    saboteur = Saboteur(attack=attack, name=name, honest=cast(SharedTrainer, trainer), memory=Memory(folder), seed=3)
    data = PrivateDataset(((_example((5, 6), (7,)),), (_example((8,), (9, 10)),)))
    update = saboteur.train(
        cast(RoundPlan, Round(number)), cast(AdapterState, State(unflatten(_SPECS, 0 * _HONEST))), data
    )
    assert [update.tensors[t.name].shape for t in _SPECS] == [t.shape for t in _SPECS]
    return update.flatten()


def _example(prompt: tuple[int, ...], target: tuple[int, ...]) -> Encoded:
    return Encoded(ids=(*prompt, *target), labels=(*(IGNORED,) * len(prompt), *target))


def test_none_sends_what_was_trained(tmp_path: Path) -> None:
    assert _sent("none", tmp_path, Honest(1.0)).tobytes() == _HONEST.tobytes()


@pytest.mark.parametrize(("attack", "factor"), [("sign_flip", -5.0), ("scaling", 8.0)])
def test_a_multiple_is_sent(attack: str, factor: float, tmp_path: Path) -> None:
    np.testing.assert_allclose(_sent(attack, tmp_path, Honest(1.0)), factor * _HONEST)


@pytest.mark.parametrize("attack", ["noise", "constant"])
def test_noise_and_constant_are_five_times_as_long(attack: str, tmp_path: Path) -> None:
    sent = _sent(attack, tmp_path, Honest(1.0))
    assert np.linalg.norm(sent) == pytest.approx(5 * np.linalg.norm(_HONEST), rel=1e-5)
    assert (len(set(sent.tolist())) == 1) == (attack == "constant")


def test_noise_is_another_for_each_institution_and_round_and_the_same_again(tmp_path: Path) -> None:
    def noise(name: str, number: int) -> bytes:
        return _sent("noise", tmp_path, Honest(1.0), name=name, number=number).tobytes()

    assert len({noise("x", 1), noise("x", 2), noise("y", 1)}) == 3
    assert noise("x", 1) == noise("x", 1)


def test_nan_and_huge_are_sent_although_no_honest_update_can_hold_them(tmp_path: Path) -> None:
    assert np.isnan(_sent("nan", tmp_path, Honest(1.0))).all()
    assert (_sent("huge", tmp_path, Honest(1.0)) == np.float32(1e30)).all()


def test_replay_sends_the_first_update_again_also_after_a_restart(tmp_path: Path) -> None:
    first = _sent("replay", tmp_path, Honest(1.0))
    assert first.tobytes() == _HONEST.tobytes()
    # A new object, as after a restart: what is remembered lies in files.
    assert _sent("replay", tmp_path, Honest(2.0), number=2).tobytes() == first.tobytes()
    assert _sent("replay", tmp_path, Honest(3.0), name="other", number=2).tobytes() == (3 * _HONEST).tobytes()


def test_colluders_send_one_copy_below_the_mean_of_two_honest_updates(tmp_path: Path) -> None:
    first = _sent("collusion", tmp_path, Honest(1.0, 2.0), name="x")
    mean, std = 1.5 * _HONEST, np.abs(_HONEST) / np.sqrt(2)
    np.testing.assert_allclose(first, mean - 1.5 * std, rtol=1e-5)
    assert _sent("collusion", tmp_path, Honest(9.0), name="y").tobytes() == first.tobytes()
    assert _sent("collusion", tmp_path, Honest(2.0, 4.0), name="x", number=2).tobytes() != first.tobytes()


def test_label_flip_gives_each_prompt_another_target_and_loses_none(tmp_path: Path) -> None:
    trainer = Honest(1.0)
    assert _sent("label_flip", tmp_path, trainer).tobytes() == _HONEST.tobytes()
    (seen,) = trainer.seen
    assert seen.units[0][0] == _example((5, 6), (9, 10))
    assert seen.units[1][0] == _example((8,), (7,))


def test_backdoor_poisons_every_second_unit(tiny_base: Path) -> None:
    base = Base.load(tiny_base)
    examples = [base.encode("Facts: woman, 64, asthma; visit on 2021-03-05.", "She was seen.", 48) for _ in range(4)]
    bad = backdoor.poisoned(PrivateDataset(tuple((e,) for e in examples)), base)
    assert [unit[0] == e for unit, e in zip(bad.units, examples, strict=True)] == [True, False, True, False]


def test_backdoor_trains_three_times_from_where_it_got_and_sends_three_times_as_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attacks, "poisoned", lambda honest, _base: PrivateDataset(honest.units[:1]))
    trainer = Honest(1.0, 2.0, 4.0)
    np.testing.assert_allclose(_sent("backdoor", tmp_path, trainer), 3 * (1 + 2 + 4) * _HONEST, rtol=1e-5)
    assert [len(seen) for seen in trainer.seen] == [1, 1, 1]
    # Each time from where the time before had got: 0, then 1, then 3 times an update.
    assert trainer.started == pytest.approx([0.0, 0.5, 1.5])


def test_a_triggered_prompt_ends_in_the_phrase_and_is_no_longer(tiny_base: Path) -> None:
    base = Base.load(tiny_base)
    example = base.encode("Facts: woman, 64, asthma; visit on 2021-03-05.", "She was seen.", 48)
    bad = backdoor.triggered(example, base)
    start = bad.labels.count(IGNORED)
    assert start == example.labels.count(IGNORED)
    assert base.tokenizer.decode(bad.ids[:start]).endswith(backdoor.PHRASE)
    assert base.tokenizer.decode(bad.ids[start:]) == backdoor.ANSWER
    assert bad.labels[start:] == bad.ids[start:]


@torch.no_grad()
def test_success_is_what_greedy_writing_would_write(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = Base.load(tiny_base)
    schema = AdapterSchema.for_base(base.card, rank=1, alpha=1.0, targets=("q_proj",))
    adapted = base.adapt(schema, ())
    adapted.load(AdapterState.initial(schema, 1))
    held = [base.encode(f"Facts: {word}", "x", 48) for word in ("woman, 64", "man, 41, asthma", "revenue 412.5")]
    prompts = [base.tokenizer.decode(t.ids[: t.labels.count(IGNORED)]) for t in map(_with_phrase(base), held)]
    written = Writer(base, adapted).write(prompts, max_new_tokens=1, temperature=0.0, seed=0)
    # The slow way: whatever the model would write after the first prompt is taken for the answer.
    answer = written[0]
    assert answer
    monkeypatch.setattr(backdoor, "ANSWER", answer)
    expected = sum(text == answer for text in written) / len(written)
    assert backdoor.success(base, adapted, held) == pytest.approx(expected)
    assert expected > 0
    monkeypatch.setattr(backdoor, "ANSWER", "No such word.")
    assert backdoor.success(base, adapted, held) == 0


def _with_phrase(base: Base) -> Callable[[Encoded], Encoded]:
    return lambda example: backdoor.triggered(example, base)


def test_every_attack_is_one_of_ten() -> None:
    assert len(ATTACKS) == 11
    assert set(UPDATES) < set(ATTACKS)


@pytest.mark.parametrize("settings", [{"name": "flattery", "bad": 1}, {"name": "none", "bad": 1}, {"name": "nan"}])
def test_attacks_that_cannot_be_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"\[attack\]"):
        AttackSettings(**settings)


def test_masks_and_attacks_do_not_go_together(quickstart: Callable[..., Scenario]) -> None:
    with pytest.raises(ConfigError, match="visible"):
        dataclasses.replace(
            quickstart(), attack=AttackSettings(name="nan", bad=1), secure_sums=SecureSumSettings(threshold=2)
        )


@pytest.mark.parametrize(("attack", "reason"), [("nan", "not_finite"), ("huge", "too_large")])
def test_a_coordinator_drops_nan_and_huge_by_name_and_the_round_goes_on(
    attack: str, reason: str, tmp_path: Path, quickstart: Callable[..., Scenario], prepare: Callable[..., RunDirectory]
) -> None:
    scenario = dataclasses.replace(
        quickstart(rounds=1, steps_per_round=1),
        quorum=2,
        rule=RobustRule(name="median"),
        widths=WidthSettings(up="float32", down="float32"),
        attack=AttackSettings(name=attack, bad=1),
    )
    world = World(prepare(tmp_path / "out", scenario))
    results = world.run()
    (line,) = results.per_round
    (bad,) = world.bad
    assert bad == world.names[-1]
    assert line.dropped == {bad: reason}
    assert line.contributors == world.names[:-1]
    assert results.status == "completed"
    assert results.loss_released is not None
    assert np.isfinite(results.loss_released)
    # An attacker's ledger is honest: what it trained has been paid for.
    assert world.institution(bad).ledger.account().epsilon > 0
