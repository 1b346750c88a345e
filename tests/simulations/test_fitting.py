"""What a measure trains is trained by the real federation: institutions, ledgers, noise, masks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domains.base import load_task
from domains.classifying import Classifier
from domains.evaluation import Bench, Fit, Recipe
from domains.features import make_features_base
from fedcore.errors import RecordError
from simulations.fitting import fit, scenario_of
from simulations.units import Units
from tests.domains.packs import install_classifier

LABELS = ("north", "south")


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install_classifier(tmp_path, monkeypatch)
    make_features_base(tmp_path / "base", labels=LABELS, dimension=64)
    return tmp_path / "base"


def rows(count: int, seed: int, sites: int = 5) -> list[dict[str, Any]]:
    """Texts whose topic shows in a few of their words."""
    rng = np.random.default_rng(seed)
    out = []
    for i in range(count):
        label = int(rng.integers(2))
        telling = [f"t{10 * label + k}" for k in rng.integers(10, size=3)]
        text = " ".join([*telling, *(f"w{k}" for k in rng.integers(50, size=6))])
        out.append({"text": text, "label": LABELS[label], "unit": f"u{seed}-{i}", "site": f"site {i % sites}"})
    return out


def accuracy(judge: Any, held: list[dict[str, Any]]) -> float:
    task = load_task("toy.topic")
    found = judge.logits([task.prompt(row) for row in held]).argmax(axis=1)
    return float(np.mean([LABELS[k] == row["label"] for k, row in zip(found, held, strict=True)]))


@pytest.mark.slow
@pytest.mark.parametrize(("epsilon", "least"), [(None, 0.85), (8.0, 0.75)])
def test_a_bench_trains_on_what_it_is_given(epsilon: float | None, least: float, base: Path) -> None:
    steps = list[int]()
    bench = Bench(
        rows=[], records=base, fit=Fit(share=0.6, epsilon=epsilon), tell=lambda done, _rounds: steps.append(done)
    )
    recipe = Recipe(base=base, rounds=12, learning_rate=0.2, clip_norm_l2=2.0)
    judge = bench.train("toy.topic", rows(300, seed=1), recipe)
    assert steps == list(range(1, 13))
    assert accuracy(judge, rows(200, seed=2)) > least


@pytest.mark.slow
def test_a_run_that_is_kept_is_not_trained_again(base: Path, tmp_path: Path) -> None:
    recipe = Recipe(base=base, rounds=3)
    given: dict[str, Any] = {"task": "toy.topic", "records": rows(40, seed=1), "recipe": recipe, "base": base}
    first = fit(**given, epsilon=8.0, seed=1, out=tmp_path / "kept")
    steps = list[int]()
    again = fit(**given, epsilon=8.0, seed=1, out=tmp_path / "kept", report=lambda done, _: steps.append(done))
    assert again.digest == first.digest
    assert not steps


def test_every_unit_that_is_given_trains(base: Path, tmp_path: Path) -> None:
    records = rows(5, seed=1, sites=2)
    recipe = Recipe(base=base, rounds=1, sampling_rate=1.0, least_units=1)
    fit(task="toy.topic", records=records, recipe=recipe, base=base, epsilon=None, seed=0, out=tmp_path / "kept")
    scenario = scenario_of("toy.topic", records, recipe, base=base, epsilon=None, seed=0)
    units = Units.of(scenario, records=tmp_path / "kept" / "records.jsonl")
    assert units.heldout == ()
    assert sorted(u for held in units.split.values() for u in held) == sorted(r["unit"] for r in records)


def test_noise_is_shared_behind_masks_where_there_are_four_sites(base: Path) -> None:
    recipe = Recipe(base=base, rounds=3)
    four = scenario_of("toy.topic", rows(40, 1, sites=5), recipe, base=base, epsilon=3.0, seed=0)
    assert (four.secure_sums is not None, four.privacy.honest_minimum, four.unsafe) == (True, 3, ())
    assert four.privacy.epsilon == 3.0
    two = scenario_of("toy.topic", rows(40, 1, sites=2), recipe, base=base, epsilon=3.0, seed=0)
    assert (two.secure_sums, two.privacy.honest_minimum) == (None, None)
    none = scenario_of("toy.topic", rows(40, 1, sites=5), recipe, base=base, epsilon=None, seed=0)
    assert none.secure_sums is None
    assert "UnsafeNoNoise" in none.unsafe


def test_a_classifier_does_as_the_state_says(base: Path, tmp_path: Path) -> None:
    state = fit(
        task="toy.topic",
        records=rows(30, seed=1),
        recipe=Recipe(base=base, rounds=1),
        base=base,
        epsilon=None,
        seed=0,
    )
    judge = Classifier.load(base, state)
    assert judge.labels == LABELS
    assert np.abs(judge.logits(["t1 t2"])).max() > 0


def test_a_record_without_a_site_is_named_by_its_place(base: Path) -> None:
    bad = rows(3, seed=1)
    del bad[1]["site"]
    with pytest.raises(RecordError, match="record 2 lacks") as caught:
        fit(task="toy.topic", records=bad, recipe=Recipe(base=base, rounds=1), base=base, epsilon=None, seed=0)
    assert bad[1]["text"] not in str(caught.value)
