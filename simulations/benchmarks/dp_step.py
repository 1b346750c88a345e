"""What privacy costs a training step: CPU time and peak memory beside a step without it, and beside Opacus.

Every way (`step_methods.py`) takes one step in each repetition, in random order, in one process with one
thread; a ratio is to the step without privacy of the same repetition, and what is reported is the median of
the ratios. Other processes disturb a step by some percent: the median over repetitions is good to about five
on a busy machine.

`floor_share` sets a step against the least that it could take: the floating-point operations of forward and
backward of the step without privacy, at the speed of a large matrix product measured in the same repetitions.
"""

import gc
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

from domains.language import set_threads
from fedcore.errors import ConfigError
from simulations.benchmarks.step_meters import (
    cpu_seconds,
    device_seconds,
    matmul_flops_per_s,
    operations,
    peak_bytes,
)
from simulations.benchmarks.step_methods import METHODS, OURS, PLAIN, Step, StepWork, write_llama

__all__ = ["SHAPES", "StepBenchmark", "StepRow", "measure", "parse_shape"]

Tick = Callable[[str, int, int], None]
"""Called with what is measured, steps done and steps in all."""

SHAPES: tuple[tuple[int, int], ...] = ((32, 128), (8, 512), (128, 32))
"""Sequences and tokens of the batches on the tiny Llama."""

_BASE_SHAPE = (8, 128)
_DEVICE_SHAPE = (8, 512)
_GROUP = 4
_TINY = {"hidden": 256, "inner": 680, "layers": 4, "heads": 8, "vocabulary": 4096}
_LARGE = {"hidden": 4096, "inner": 11008, "layers": 4, "heads": 32, "vocabulary": 32000}
_NO_DEVICE = "no CUDA device: the 7B-shaped layers were not measured"


@dataclass(frozen=True, kw_only=True)
class StepRow:
    """One way of a step on one shape.

    Args:
        shape: Sequences and tokens of the batch.
        base: Of what model.
        method: The way.
        records_per_unit: Records whose gradients are added up before they are clipped.
        units: Units of the batch.
        cpu_ratio: Median of the ratios of CPU time (on a GPU: device time) to the step without privacy.
        memory_ratio: Peak memory above the level before, as a ratio to the step without privacy.
        cpu_s: Median seconds of a step.
        peak_mb: Peak memory in 10^6 bytes.
        tokens_per_s: Tokens without padding in a second.
        floor_share: Share of a step that its floor would take: 1 is the best there can be. None on a GPU.
    """

    shape: str
    base: str
    method: str
    records_per_unit: int
    units: int
    cpu_ratio: float
    memory_ratio: float
    cpu_s: float
    peak_mb: float
    tokens_per_s: float
    floor_share: float | None


@dataclass(frozen=True, kw_only=True)
class StepBenchmark:
    """The rows, and what they say of our step over all shapes and both sizes of unit.

    `device_rows` are those of a GPU, with device time in place of CPU time; `device_note` says why there are
    none.
    """

    rows: tuple[StepRow, ...]
    device_rows: tuple[StepRow, ...]
    device_note: str
    repetitions: int
    torch: str

    def to_dict(self) -> dict[str, Any]:
        """A JSON value."""
        ours = [r for r in self.rows if r.method == OURS]
        hooks = [r for r in self.rows if r.method == "opacus_hooks"]
        return {
            **asdict(self),
            "median_cpu_ratio": round(median(r.cpu_ratio for r in ours), 4),
            "worst_cpu_ratio": max(r.cpu_ratio for r in ours),
            "worst_memory_ratio": max(r.memory_ratio for r in ours),
            "opacus_hooks_median_cpu_ratio": round(median(r.cpu_ratio for r in hooks), 4),
        }


def parse_shape(text: str) -> tuple[int, int]:
    """Read "32x128".

    Raises:
        ConfigError: It is not two numbers from 2 to 4096; the sequences make whole units of four.
    """
    parts = text.lower().split("x")
    numbers = [int(p) for p in parts if p.isascii() and p.isdigit()]
    if len(parts) != 2 or len(numbers) != 2 or not all(2 <= n <= 4096 for n in numbers) or numbers[0] % _GROUP:
        raise ConfigError("a shape is not known", expected="sequences (4, 8, ...) x tokens: 32x128", got=repr(text))
    return numbers[0], numbers[1]


def measure(
    base: Path | None,
    *,
    shapes: Sequence[tuple[int, int]] = SHAPES,
    repetitions: int = 9,
    tick: Tick = lambda *_: None,
) -> StepBenchmark:
    """Measure every way of a step on every shape.

    Args:
        base: A prepared base that is measured as well, with 8x128; None leaves it out.
        shapes: Of the batches on the tiny Llama.
        repetitions: Steps of each way that are timed, >= 1; a third of them, at least two, on `base`.
        tick: Told of progress.
    """
    threads = torch.get_num_threads()
    set_threads(1)
    few = min(repetitions, max(2, repetitions // 3))
    rows: list[StepRow] = []
    device_rows: list[StepRow] = []
    try:
        with TemporaryDirectory(prefix="concordat-bench-") as name:
            tiny = write_llama(Path(name) / "tiny-llama", **_TINY)
            for sequences, tokens in shapes:
                work = StepWork(base=tiny, sequences=sequences, tokens=tokens)
                rows += _rows(work, repetitions, tick)
            if base is not None:
                rows += _rows(StepWork(base=base, sequences=_BASE_SHAPE[0], tokens=_BASE_SHAPE[1]), few, tick)
            if torch.cuda.is_available():
                device_rows = _on_device(Path(name), repetitions, tick)
    finally:
        set_threads(threads)
    return StepBenchmark(
        rows=tuple(rows),
        device_rows=tuple(device_rows),
        device_note="" if device_rows else _NO_DEVICE,
        repetitions=repetitions,
        torch=torch.__version__,
    )


def _on_device(folder: Path, repetitions: int, tick: Tick) -> list[StepRow]:
    """Layers of the size of a 7B model, in bfloat16 and in 4 bits."""
    large = write_llama(folder / "7b-layers", **_LARGE)
    rows: list[StepRow] = []
    for quantization in ("none", "4bit"):
        work = StepWork(
            base=large,
            sequences=_DEVICE_SHAPE[0],
            tokens=_DEVICE_SHAPE[1],
            dtype="bfloat16",
            quantization="4bit" if quantization == "4bit" else "none",
            device="cuda",
        )
        rows += _rows(work, repetitions, tick, only=(PLAIN, OURS, "opacus_hooks"))
        torch.cuda.empty_cache()
    return rows


def _rows(work: StepWork, repetitions: int, tick: Tick, only: Sequence[str] = tuple(METHODS)) -> list[StepRow]:
    """Measure all ways on one batch; ours a second time over units of four records."""
    ways = [(method, 1) for method in only] + [(OURS, _GROUP)]
    on_device = work.device != "cpu"
    clock = device_seconds if on_device else cpu_seconds
    label = f"{_name(work)} {work.sequences}x{work.tokens}"
    total = len(ways) * (repetitions + 3)
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        tick(label, done, total)

    with ExitStack() as stack:
        steps: dict[tuple[str, int], Step] = {}
        for way in ways:
            steps[way] = stack.enter_context(METHODS[way[0]](work, way[1]))
            count()
            steps[way]()  # What is done once (proofs, first allocations) is not a step's cost.
            count()
        stack.enter_context(_settled())
        seconds: dict[tuple[str, int], list[float]] = {way: [] for way in ways}
        speeds = []
        order = random.Random(0)  # noqa: S311 - an order of measurements, not a secret.
        for _ in range(repetitions):
            for way in order.sample(ways, len(ways)):
                seconds[way].append(clock(steps[way]))
                count()
            speeds.append(matmul_flops_per_s())
        peaks = {}
        for way in ways:
            peaks[way] = peak_bytes(steps[way], device=work.device)
            count()
        floor_s = None if on_device else operations(steps[PLAIN, 1]) / median(speeds)
    return [_row(work, way, seconds, peaks, floor_s) for way in ways]


@contextmanager
def _settled() -> Iterator[None]:
    """Garbage is still collected before each measurement, but not sought in what was there before all of them."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _row(
    work: StepWork,
    way: tuple[str, int],
    seconds: Mapping[tuple[str, int], list[float]],
    peaks: Mapping[tuple[str, int], int],
    floor_s: float | None,
) -> StepRow:
    """The medians of one way."""
    plain = (PLAIN, 1)
    ratios = [mine / other for mine, other in zip(seconds[way], seconds[plain], strict=True)]
    taken = median(seconds[way])
    tokens = sum(len(e.ids) for e in work.examples(6))
    return StepRow(
        shape=f"{work.sequences}x{work.tokens}",
        base=_name(work),
        method=way[0],
        records_per_unit=way[1],
        units=work.sequences // way[1],
        cpu_ratio=round(median(ratios), 4),
        memory_ratio=round(peaks[way] / peaks[plain], 4),
        cpu_s=round(taken, 4),
        peak_mb=round(peaks[way] / 1e6, 1),
        tokens_per_s=round(tokens / taken, 1),
        floor_share=None if floor_s is None else round(floor_s / taken, 4),
    )


def _name(work: StepWork) -> str:
    dtype = work.quantization if work.quantization != "none" else work.dtype
    return work.base.name if work.device == "cpu" else f"{work.base.name} {dtype}"
