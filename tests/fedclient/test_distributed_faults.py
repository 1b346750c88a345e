"""A helper process that is wrong, or gone, ends the round before anything is noised or released."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domains.language import Base
from fedclient.distributed import Helpers, Setup
from fedclient.model import Trainer
from fedcore.errors import BaseMismatch, PrivacyError, RoundError
from fedcore.privacy.sampling import UnsafeSeeded
from simulations.tiny import make_tiny_base
from tests.fedclient import faulty_helpers
from tests.fedclient.test_distributed import PRIVACY, data, plan_of, setup_of, state_of

pytestmark = pytest.mark.slow

SOON_S = 60.0
"""Far more than a refusal takes, and far less than any wait."""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_base(Path(tmp_path_factory.mktemp("bases")) / "llama", "llama")


@pytest.fixture(scope="module")
def base(path: Path) -> Base:
    return Base.load(path, device="cpu")


class Counting:
    """Noise that counts how often it was asked for."""

    mechanism = "gaussian"
    origin = "UnsafeCounting"

    def __init__(self) -> None:
        self.calls = 0

    def gaussian(self, shape: tuple[int, ...], std: float) -> Any:
        self.calls += 1
        return np.zeros(shape)


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (faulty_helpers.twice, PrivacyError, "exactly once"),
        (faulty_helpers.twice_unsaid, PrivacyError, "more or fewer units"),
        (faulty_helpers.elsewhere, PrivacyError, "other parameters"),
        (faulty_helpers.dies_before_the_sum, RoundError, "gone"),
        (faulty_helpers.fails, RoundError, r"failed \(ValueError\)$"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_fault_of_a_helper_ends_the_round_and_nothing_is_released(
    fault: Callable[..., None], error: type[Exception], words: str, path: Path, base: Base, tmp_path: Path
) -> None:
    noise = Counting()
    faulty = Helpers([setup_of(path)], base, directory=tmp_path, work=fault)
    faulty.start()
    state = state_of(base)
    started = time.monotonic()
    with pytest.raises(error, match=words):
        Trainer(base, helpers=faulty).train(
            plan_of(state, privacy=replace(PRIVACY, sampling_rate=1.0)),
            state,
            data(),
            source=UnsafeSeeded(1),
            noise=noise,
        )
    assert time.monotonic() - started < SOON_S
    assert noise.calls == 0  # The noise comes before anything is released: nothing was.
    assert not list(tmp_path.iterdir())
    adapted = base.adapt(state.schema, ("lora_A", "lora_B"))
    assert all(getattr(p, "summed_grad", None) is None and p.grad is None for p in adapted.parameters.values())


def test_a_helper_with_another_base_is_an_error_at_the_start(base: Base, tmp_path: Path) -> None:
    other = make_tiny_base(tmp_path / "other", "gpt2")
    with pytest.raises(BaseMismatch, match="another base"):
        Helpers([Setup(base=str(other), device="cpu")], base, directory=tmp_path).start()
