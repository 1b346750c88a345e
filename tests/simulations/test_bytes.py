"""`concordat bench bytes`: honest arithmetic on real envelopes, and a quick run that prints what it promises."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from fedcore.folding import DEFAULT_WIDTHS, Widths
from fedcore.packing import packed_size_bytes
from fedserver.strategies import DEFAULT, strategy_names
from simulations.benchmarks.bytes import (
    EVERYWHERE,
    PAIRS,
    REFERENCE,
    _at_demo_size,
    _default,
    _demo_schema,
    _rows,
    _Run,
)
from simulations.commands import bench

HEADER = 1000.0


def run(loss: float, strategy: str, pair: Widths, parts: tuple[str, ...]) -> _Run:
    """A run of two rounds at the demonstration's own size, with headers of a known length."""
    schema = _demo_schema(strategy)
    up = HEADER + packed_size_bytes(schema.part(*parts), pair.up)
    down = HEADER + packed_size_bytes(schema.part(*parts), pair.down)
    nothing = HEADER + packed_size_bytes((), pair.down)
    return _Run(loss_base=4.0, loss=loss, up=(up, up), down=(nothing, down), schema=schema)


def test_ratios_are_to_fedavg_at_float32_with_headers_counted() -> None:
    wide, half = ("lora_A", "lora_B"), ("lora_B",)
    found = {
        ("fedavg", REFERENCE): [run(2.0, "fedavg", REFERENCE, wide), run(1.0, "fedavg", REFERENCE, wide)],
        ("fedavg", DEFAULT_WIDTHS): [run(loss, "fedavg", DEFAULT_WIDTHS, wide) for loss in (2.0, 1.1)],
        ("frozen_a", REFERENCE): [run(loss, "frozen_a", REFERENCE, half) for loss in (2.2, 1.4)],
    }
    reference, default, frozen = _rows(found, 2)
    assert (reference.bytes_ratio, reference.loss_ratio, reference.gain_ratio) == (1.0, 1.0, 1.0)
    assert (default.loss, default.losses) == (1.55, (2.0, 1.1))
    assert default.loss_ratio == pytest.approx(1.55 / 1.5, abs=1e-4)
    assert default.worst_ratio_to_float32 == pytest.approx(1.1)
    assert default.gain_ratio == pytest.approx(2.45 / 2.5, abs=1e-4)
    assert frozen.loss_ratio == pytest.approx(1.2)
    assert frozen.loss_ratio_to_float32 == 1.0
    one = found["fedavg", DEFAULT_WIDTHS][0]
    total = found["fedavg", REFERENCE][0]
    assert default.bytes_ratio == pytest.approx(
        (sum(one.up) + sum(one.down)) / (sum(total.up) + sum(total.down)), abs=1e-4
    )
    # At the demonstration's own size there is nothing to compute: the ratio is the one that was measured.
    assert default.bytes_ratio_at_demo_size == default.bytes_ratio
    assert (
        _at_demo_size("frozen_a", REFERENCE, found["frozen_a", REFERENCE][0]) == found["frozen_a", REFERENCE][0].bytes
    )
    told = _default((reference, default, frozen))
    assert (told["strategy"], told["up"], told["down"]) == (DEFAULT, DEFAULT_WIDTHS.up, DEFAULT_WIDTHS.down)
    assert told["met"] is False
    assert told["loss_ratio"] > told["goal"]["loss_ratio"]


def test_the_default_and_float32_are_among_what_is_compared() -> None:
    assert PAIRS[0] == REFERENCE == Widths()
    assert DEFAULT_WIDTHS in PAIRS
    assert DEFAULT in EVERYWHERE
    assert set(EVERYWHERE) <= set(strategy_names())


@pytest.mark.slow
def test_a_quick_run_prints_rows_and_the_default() -> None:
    done = CliRunner().invoke(bench, ["bytes", "--quick", "--json"], catch_exceptions=False)
    value: dict[str, Any] = json.loads(done.stdout)
    rows = {(r["strategy"], r["width"]): r for r in value["rows"]}
    narrow = f"{DEFAULT_WIDTHS.up} up, {DEFAULT_WIDTHS.down} down"
    assert set(rows) == {(s, w) for s in ("fedavg", "frozen_a") for w in ("float32", narrow)}
    assert (rows["fedavg", "float32"]["bytes_ratio"], rows["fedavg", "float32"]["loss_ratio"]) == (1.0, 1.0)
    for strategy in ("fedavg", "frozen_a"):
        wide, slim = rows[strategy, "float32"], rows[strategy, narrow]
        assert slim["bytes_up"] < wide["bytes_up"] / 4
        assert slim["bytes_down"] < wide["bytes_down"] / 2
        assert slim["bytes_ratio_at_demo_size"] < wide["bytes_ratio_at_demo_size"] / 4
        assert slim["loss_ratio_to_float32"] == pytest.approx(1.0, abs=0.05)
    assert rows["fedavg", narrow]["loss"] < value["loss_base"]
    default = rows[value["default"]["strategy"], value["default"]["width"]]
    assert value["default"]["bytes_ratio"] == default["bytes_ratio"] <= 0.25
    assert value["unsafe"] == ["UnsafeSeeded"]
