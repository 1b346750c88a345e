"""What a step costs: CPU or device seconds, peak memory above the level before, floating-point operations.

CPU time is of this process, so what else a machine does shows in it less than in seconds by the clock: other
processes still push numbers out of caches and lower the clock rate.

>>> round(cpu_seconds(lambda: None), 2)
0.0
"""

import gc
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["cpu_seconds", "device_seconds", "matmul_flops_per_s", "operations", "peak_bytes"]

_SIDE = 1024


def cpu_seconds(step: Callable[[], object]) -> float:
    """CPU seconds of this process while a step runs, garbage having been collected first."""
    gc.collect()
    started = time.process_time()
    step()
    return time.process_time() - started


def device_seconds(step: Callable[[], None]) -> float:
    """Seconds on the current GPU from the step's first to its last operation there, waits included."""
    gc.collect()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    start.record()
    step()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end)) / 1e3


def peak_bytes(step: Callable[[], None], *, device: str = "cpu") -> int:
    """The most memory of tensors that a step holds above what was held before it.

    On a CPU from the profiler's record of each allocation, which resident memory would blur.
    """
    gc.collect()
    if device != "cpu":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        torch.cuda.synchronize()
        return int(torch.cuda.max_memory_allocated() - before)
    with _silent(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        step()
    with TemporaryDirectory(prefix="concordat-bench-") as name:
        path = Path(name) / "trace.json"
        profiled.export_chrome_trace(str(path))
        trace = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    held = peak = 0
    for event in sorted(_allocations(trace), key=lambda e: float(e["ts"])):
        held += int(event["args"]["Bytes"])
        peak = max(peak, held)
    return peak


def operations(step: Callable[[], None]) -> int:
    """Floating-point operations of a step's matrix products and attention, as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


def matmul_flops_per_s(side: int = _SIDE) -> float:
    """Operations a CPU second of one square float32 product: the speed that a step could have at best."""
    a, b = torch.ones(side, side), torch.ones(side, side)
    torch.mm(a, b)
    return 2.0 * side**3 / max(cpu_seconds(lambda: torch.mm(a, b)), 1e-9)


@contextmanager
def _silent() -> Iterator[None]:
    """Without the lines that the profiler writes past Python, onto standard output or standard error."""
    kept = {number: os.dup(number) for number in (1, 2)}
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        sys.stdout.flush()
        sys.stderr.flush()
        for number in kept:
            os.dup2(nowhere, number)
        yield
    finally:
        for number, copy in kept.items():
            os.dup2(copy, number)
            os.close(copy)
        os.close(nowhere)


def _allocations(trace: dict[str, Any]) -> list[dict[str, Any]]:
    return [e for e in trace["traceEvents"] if e.get("name") == "[memory]"]
