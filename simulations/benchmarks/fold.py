"""What it costs a coordinator to collect and fold a round: seconds and peak memory, by institutions and parameters.

Each pair of sizes is measured in a process of its own, which does what a coordinator does with replies: it verifies
each envelope as it comes, checks the update, adds it up, and folds the sum with FedAvg on both factors. The envelopes
are sealed by this process, one institution's after another, and come through a pipe, so that making them costs the
measured process neither time nor memory; waiting for them and reading them is not timed.

Memory is the most that the process held at once (resident set) less what it held when its imports were done, so that
plan, members, signatures and whatever else grows with institutions is in it. Each institution sends another update.

>>> row = Row(institutions=10, parameters=500, seconds=0.5, cpu_s=0.4, peak_mib=2.0, peak_absolute_mib=9.0)
>>> row.seconds_per_institution
0.05
"""

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from fedcore.adapter import AdapterSchema, AdapterState, FloatArray, ModelCard, ModuleShape
from fedcore.errors import LinkError
from fedcore.identity import PublicIdentity, SigningIdentity
from fedcore.manifest import PrivacySpend
from fedcore.privacy import accounting
from fedcore.privacy.plan import PrivacyPlan
from fedcore.privacy.units import PrivacyUnit
from fedcore.round import Optimiser, RoundPlan
from fedcore.wire import Envelope, seal_reply

__all__ = ["FoldBenchmark", "Row", "measure"]

Tell = Callable[[int, int, str], None]
"""Institutions done, institutions in all, a line for people."""

_MODULES, _RANK = 25, 10
_MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measurement.

    Args:
        institutions: How many replied.
        parameters: Numbers in each update.
        seconds: From the first reply to the folded state, without waiting for replies.
        cpu_s: CPU seconds of the same, which other work on the machine does not lengthen.
        peak_mib: Most memory over that of the process before; None where the system does not say.
        peak_absolute_mib: Most memory of the whole process.
    """

    institutions: int
    parameters: int
    seconds: float
    cpu_s: float
    peak_mib: float | None
    peak_absolute_mib: float | None

    @property
    def seconds_per_institution(self) -> float:
        """Seconds for each reply."""
        return self.seconds / self.institutions


@dataclass(frozen=True, kw_only=True)
class FoldBenchmark:
    """The rows, and how they grow."""

    rows: tuple[Row, ...]
    wall_s: float

    @property
    def memory_ratio(self) -> float | None:
        """Peak memory with the most institutions over that with the fewest, at the parameters where it is worst."""
        ratios = []
        for few, many in self._ends():
            if few.peak_mib is None or many.peak_mib is None:
                return None
            ratios.append(many.peak_mib / max(few.peak_mib, 1e-3))
        return round(max(ratios), 3) if ratios else None

    @property
    def seconds_growth(self) -> float | None:
        """As what power of institutions seconds grow, between fewest and most, where it is worst; 1 is linear."""
        powers = [
            math.log(many.seconds / few.seconds) / math.log(many.institutions / few.institutions)
            for few, many in self._ends()
        ]
        return round(max(powers), 3) if powers else None

    def to_dict(self) -> dict[str, Any]:
        """A JSON value."""
        return {
            "rows": [{**asdict(r), "seconds_per_institution": round(r.seconds_per_institution, 5)} for r in self.rows],
            "memory_ratio": self.memory_ratio,
            "seconds_growth": self.seconds_growth,
            "seconds_per_institution": {
                str(many.parameters): round(many.seconds_per_institution, 5) for _, many in self._ends()
            },
            "wall_s": self.wall_s,
        }

    def _ends(self) -> Iterator[tuple[Row, Row]]:
        """For each number of parameters the rows with fewest and most institutions, where they differ."""
        for parameters in sorted({r.parameters for r in self.rows}):
            rows = sorted((r for r in self.rows if r.parameters == parameters), key=lambda r: r.institutions)
            if rows[0].institutions < rows[-1].institutions:
                yield rows[0], rows[-1]


def measure(institutions: Sequence[int], parameters: Sequence[int], tell: Tell) -> FoldBenchmark:
    """Run every pair of sizes.

    Args:
        institutions: Sizes of cohorts.
        parameters: Lengths of updates, rounded up to a multiple of 500: 25 square modules at rank 10.
        tell: Called with progress.
    Raises:
        LinkError: A measured process ended before its result was there.
    """
    started, rows = time.perf_counter(), list[Row]()
    total = len(parameters) * sum(institutions)
    for length in parameters:
        for count in institutions:
            plan = plan_of(count, length)
            words = f"{count:,} institutions, {plan.parameters:,} parameters"
            rows.append(_in_a_process(plan, lambda: tell(1, total, words)))  # noqa: B023 - called before the next turn.
    return FoldBenchmark(rows=tuple(rows), wall_s=round(time.perf_counter() - started, 1))


def plan_of(institutions: int, parameters: int) -> RoundPlan:
    """A round of local steps that trains both factors."""
    width = max(1, math.ceil(parameters / (2 * _RANK * _MODULES)))
    shapes = tuple(ModuleShape(path=f"layers.{i:02}.q_proj", inputs=width, outputs=width) for i in range(_MODULES))
    card = ModelCard(name="bench", digest="ab" * 32, kind="causal", architecture="Llama", modules=shapes)
    schema = AdapterSchema.for_base(card, rank=_RANK, alpha=2.0 * _RANK, targets=("q_proj",))
    privacy = PrivacyPlan(
        unit=PrivacyUnit(key="patient"),
        sampling_rate=0.05,
        steps_per_round=4,
        expected_batch_units=10.0,
        examples_per_unit=1,
        clip_norm_l2=1.0,
        noise_multiplier=1.0,
        delta=1e-5,
    )
    return RoundPlan(
        job_id="bench",
        round=1,
        rounds=1,
        task="medicine.record",
        schema=schema,
        state_digest=AdapterState.initial(schema, 7).digest,
        seed=7,
        strategy="fedavg",
        trains=("lora_A", "lora_B"),
        carries=(),
        cohort=tuple(f"institution-{i:04}" for i in range(institutions)),
        weight=1.0,
        quorum=institutions,
        deadline_s=3600.0,
        max_tokens=64,
        optimiser=Optimiser(),
        privacy=privacy,
    )


def _in_a_process(plan: RoundPlan, done: Callable[[], None]) -> Row:
    """Start a process, send it a plan, its members and their replies, and read what it measured."""
    identities = {name: SigningIdentity.generate() for name in plan.cohort}
    keys = {name: identity.public.key_hex for name, identity in identities.items()}
    command = [sys.executable, "-c", "from simulations.benchmarks.fold import child; child()"]
    try:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            if process.stdin is None or process.stdout is None:
                raise LinkError("the benchmark's process has no pipe")
            _send(process.stdin, json.dumps({"plan": plan.to_dict(), "keys": keys}).encode())
            for name, envelope in _replies(plan, identities):
                for part in (name.encode(), envelope.header, envelope.signature, envelope.body):
                    _send(process.stdin, part)
                done()
            process.stdin.close()
            value = json.loads(process.stdout.read())
    except (OSError, ValueError) as error:
        raise LinkError("the benchmark's process ended early", do="run it again; its fault is shown above") from error
    return Row(institutions=len(plan.cohort), parameters=plan.parameters, **value)


def _replies(plan: RoundPlan, identities: dict[str, SigningIdentity]) -> Iterator[tuple[str, Envelope]]:
    """Each institution's sealed reply, made when it is asked for; all differ."""
    generator = np.random.default_rng(0)
    update: dict[str, FloatArray] = {
        t.name: generator.normal(0, 1e-3, t.shape).astype(np.float32) for t in plan.trained
    }
    events = (plan.privacy.event(),)
    epsilon = accounting.epsilon(events, plan.privacy.delta)
    for number, (name, identity) in enumerate(identities.items()):
        own = {key: array * np.float32(1 + number / len(identities)) for key, array in update.items()}
        spend = PrivacySpend(
            institution=name,
            unit=plan.privacy.unit.key,
            relation=plan.privacy.unit.relation,
            epsilon=epsilon,
            delta=plan.privacy.delta,
            rounds=1,
            epsilon_job=epsilon,
            events=events,
            accountant="bench",
            noise_source="bench",
            sampling_source="bench",
        ).to_dict()
        yield name, seal_reply(plan, name, own, spend, identity, ledger="0" * 64, dataset="0" * 64)


# In the measured process ----------------------------------------------------------------------------------


def child() -> None:
    """Take a plan and replies from standard input, fold them, and print seconds and memory as JSON."""
    from fedserver.cohort import Member
    from fedserver.collect import Collector
    from fedserver.strategies import load_strategy

    strategy = load_strategy("fedavg")
    source = sys.stdin.buffer
    told = json.loads(_receive(source) or b"{}")
    plan = RoundPlan.from_dict(told["plan"])
    accounting.epsilon((plan.privacy.event(),), plan.privacy.delta)  # Imports the accountant, once in a process's life.
    del plan
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # The most so far is forgotten: importing may have needed more.
    before = _memory("VmRSS")
    plan = RoundPlan.from_dict(told["plan"])
    members = {n: Member(name=n, identity=PublicIdentity(key), flower_key="") for n, key in told["keys"].items()}
    del told
    state = AdapterState.initial(plan.schema, plan.seed)
    collector, seconds, cpu_s = Collector(plan, members), 0.0, 0.0
    while (name := _receive(source)) is not None:
        header, signature, body = (_receive(source) or b"" for _ in range(3))
        envelope = Envelope(kind="reply", header=header, signature=signature, body=body)
        del body
        started, cpu = time.perf_counter(), time.process_time()
        collector.take(name.decode(), envelope)
        seconds, cpu_s = seconds + time.perf_counter() - started, cpu_s + time.process_time() - cpu
        del envelope
    started, cpu = time.perf_counter(), time.process_time()
    folded = strategy.fold(state, collector.sum())
    seconds, cpu_s = seconds + time.perf_counter() - started, cpu_s + time.process_time() - cpu
    most = _memory("VmHWM")
    peak = None if most is None or before is None else round((most - before) / _MIB, 2)
    absolute = None if most is None else round(most / _MIB, 2)
    if folded.digest == state.digest:
        raise LinkError("the benchmark folded nothing")
    figures = {"seconds": seconds, "cpu_s": cpu_s, "peak_mib": peak, "peak_absolute_mib": absolute}
    print(json.dumps({name: figure if figure is None else round(figure, 5) for name, figure in figures.items()}))


def _memory(what: str) -> int | None:
    """Bytes by a name in Linux's list; None elsewhere."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(what + ":")), None)


def _send(sink: IO[bytes], data: bytes) -> None:
    """Bytes with their length before them."""
    sink.write(len(data).to_bytes(8, "big"))
    sink.write(data)
    sink.flush()


def _receive(source: IO[bytes]) -> bytes | None:
    """What was sent; None at the end."""
    head = source.read(8)
    return source.read(int.from_bytes(head, "big")) if len(head) == 8 else None
