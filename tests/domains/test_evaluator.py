"""The public evaluator measures a base and an adapter on public records, and names bad lines only."""

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from domains.base import load_task
from domains.evaluator import PublicEvaluator
from domains.language import Base, mean_loss
from domains.medicine import synthetic
from fedcore.adapter import AdapterSchema, AdapterState, Form
from fedcore.adapter_forms import plain
from fedcore.errors import BaseMismatch, ConfigError, RecordError
from simulations.tiny import make_tiny_base

TASK = "medicine.record"


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_base(tmp_path_factory.mktemp("base") / "llama", "llama")


@pytest.fixture
def records(tmp_path: Path) -> Path:
    path = tmp_path / "public.jsonl"
    rows = islice(synthetic.records(synthetic.SITES[0], 6, 1), 6)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def random_state(base: Base, form: Form = "lora", residual_rank: int = 0) -> AdapterState:
    schema = AdapterSchema.for_base(
        base.card, rank=2, alpha=4, targets=("v_proj",), form=form, residual_rank=residual_rank
    )
    rng = np.random.default_rng(0)
    return AdapterState(schema=schema, tensors={t.name: rng.normal(0, 2, t.shape).astype("f4") for t in schema.tensors})


def test_losses_of_base_and_adapter_equal_a_direct_measurement(llama: Path, records: Path) -> None:
    base, task = Base.load(llama), load_task(TASK)
    rows = [json.loads(line) for line in records.read_text().splitlines()][:4]
    examples = [base.encode(e.prompt, e.target, 64) for row in rows for e in task.examples(row, unit="public")]
    evaluator = PublicEvaluator(llama)
    state = random_state(base)
    measured = evaluator.loss(state, task=TASK, records=records, limit=4, max_tokens=64)
    alone = evaluator.loss(None, task=TASK, records=records, limit=4, max_tokens=64)
    assert alone == pytest.approx(mean_loss(base, None, examples), abs=1e-6)
    adapted = base.adapt(state.schema, ())
    adapted.load(state)
    assert measured == pytest.approx(mean_loss(base, adapted, examples), abs=1e-6)
    assert measured != pytest.approx(alone, abs=1e-3)


@pytest.mark.parametrize(("form", "residual"), [("core", 0), ("lora", 6), ("core", 3)])
def test_an_adapter_of_another_form_has_the_loss_of_the_plain_adapter_that_it_equals(
    llama: Path, records: Path, form: Form, residual: int
) -> None:
    evaluator = PublicEvaluator(llama)
    state = random_state(Base.load(llama), form, residual)
    measured = [evaluator.loss(s, task=TASK, records=records, limit=4, max_tokens=64) for s in (state, plain(state))]
    alone = evaluator.loss(None, task=TASK, records=records, limit=4, max_tokens=64)
    assert measured[0] == pytest.approx(measured[1], abs=1e-5)
    assert measured[0] != pytest.approx(alone, abs=1e-3)


def test_adapter_of_another_base_is_refused(llama: Path, records: Path, tmp_path: Path) -> None:
    state = random_state(Base.load(make_tiny_base(tmp_path / "other", "llama", seed=1)))
    with pytest.raises(BaseMismatch):
        PublicEvaluator(llama).loss(state, task=TASK, records=records, limit=1, max_tokens=64)


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "give no examples"), ('{"a": 1}\n{"secret', "line 1|record"), ("[1]\n", "line 1 is not a JSON object")],
)
def test_bad_records_are_refused_by_line(llama: Path, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(text)
    with pytest.raises(RecordError, match=message) as caught:
        PublicEvaluator(llama).loss(None, task=TASK, records=path, limit=4, max_tokens=64)
    assert "secret" not in str(caught.value)


def test_broken_json_names_its_line(llama: Path, records: Path) -> None:
    with records.open("a") as file:
        file.write('{"secret')
    with pytest.raises(RecordError, match=r"^line \d+ is not JSON"):
        PublicEvaluator(llama).loss(None, task=TASK, records=records, limit=99, max_tokens=64)


def test_missing_records_are_refused(llama: Path, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="cannot be read"):
        PublicEvaluator(llama).loss(None, task=TASK, records=tmp_path / "none", limit=1, max_tokens=64)


def test_unknown_task_is_refused(llama: Path, records: Path) -> None:
    with pytest.raises(ConfigError, match="not known"):
        PublicEvaluator(llama).loss(None, task="medicine.nothing", records=records, limit=1, max_tokens=64)


def test_a_label_that_the_base_does_not_know_is_refused_by_ours_and_not_by_torch(tmp_path: Path) -> None:
    records = tmp_path / "pairs.jsonl"
    records.write_text(json.dumps({"text": "Zebedee keeps it.", "clause": "Keep it.", "label": "contradiction"}))
    evaluator = PublicEvaluator(make_tiny_base(tmp_path / "base", "bert"))
    with pytest.raises(RecordError, match="a label that the base does not know") as caught:
        evaluator.loss(None, task="finance.compliance", records=records, limit=4, max_tokens=64)
    assert "Zebedee" not in str(caught.value)
