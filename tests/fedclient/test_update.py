"""Updates: new minus old or a joint sum, finite, read-only, silent."""

from collections.abc import Callable

import numpy as np
import pytest

from fedclient.update import AdapterUpdate
from fedcore.adapter import AdapterState
from fedcore.errors import ConfigError, ModelError
from fedcore.round import RoundPlan


def test_an_update_is_new_minus_old_of_the_trained_tensors(
    make_plan: Callable[..., RoundPlan], state: AdapterState
) -> None:
    plan = make_plan(trains=("lora_A",))
    new = {name: array + np.float32(0.25) for name, array in state.tensors.items()}
    update = AdapterUpdate.between(state, new, plan.trained)
    assert set(update.tensors) == {t.name for t in plan.trained}
    for name, array in update.tensors.items():
        np.testing.assert_array_equal(array, new[name] - state.tensors[name])
        assert array.dtype == np.float32
        with pytest.raises(ValueError, match="read-only"):
            array += 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_training_that_left_the_finite_numbers_is_refused_without_a_value(
    make_plan: Callable[..., RoundPlan], state: AdapterState, value: float
) -> None:
    plan = make_plan()
    new = {name: array.copy() for name, array in state.tensors.items()}
    new[plan.trained[0].name][0, 0] = value
    with pytest.raises(ModelError, match="learning_rate"):
        AdapterUpdate.between(state, new, plan.trained)


def test_an_update_holds_exactly_its_tensors(make_plan: Callable[..., RoundPlan], state: AdapterState) -> None:
    plan = make_plan()
    good = {t.name: np.zeros(t.shape, dtype=np.float32) for t in plan.trained}
    name = plan.trained[0].name
    for bad in (
        {**good, "extra": good[name]},
        {k: v for k, v in good.items() if k != name},
        {**good, name: good[name].T},
        {**good, name: good[name].astype(np.float64)},
    ):
        with pytest.raises(ConfigError):
            AdapterUpdate(specs=plan.trained, tensors=bad)


def test_an_update_prints_its_class_alone(make_plan: Callable[..., RoundPlan], state: AdapterState) -> None:
    assert repr(AdapterUpdate.between(state, state.tensors, make_plan().trained)) == "AdapterUpdate"


def test_a_joint_sum_is_cut_in_the_order_of_the_plan_and_joined_again(make_plan: Callable[..., RoundPlan]) -> None:
    plan = make_plan()
    vector = np.arange(plan.parameters, dtype=np.float32)
    update = AdapterUpdate.of_sum(vector, plan.trained)
    assert tuple(update.tensors) == tuple(t.name for t in plan.trained)
    start = 0
    for spec in plan.trained:
        np.testing.assert_array_equal(update.tensors[spec.name].ravel(), vector[start : start + spec.size])
        start += spec.size
    np.testing.assert_array_equal(update.flatten(), vector)
    vector[:] = 0  # The update holds a copy.
    assert update.flatten()[1] == 1


def test_a_joint_sum_that_is_not_finite_or_does_not_fit_is_refused(make_plan: Callable[..., RoundPlan]) -> None:
    plan = make_plan()
    with pytest.raises(ModelError):
        AdapterUpdate.of_sum(np.full(plan.parameters, np.inf, dtype=np.float32), plan.trained)
    with pytest.raises(ConfigError):
        AdapterUpdate.of_sum(np.zeros(plan.parameters + 1, dtype=np.float32), plan.trained)
