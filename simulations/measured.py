"""What the documentation states as measured: commands run, their output kept, and the tables made from it.

    python -m simulations.measured                      # write the tables of the pages again
    python -m simulations.measured audit-white-box      # run that command first

The outputs lie in `docs/measured` as JSON; the pages hold them between marks that name them, and a test
requires that pages and outputs are the same and that the commands still print outputs of that form.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fedcore.errors import ConfigError
from simulations import noise_arms, poison_arms, strategy_arms

__all__ = ["MEASURED", "PAGES", "Measured", "form", "kept", "main", "render"]

_DOCS = Path(__file__).parents[1] / "docs"
PAGES = (_DOCS / "privacy.md", _DOCS / "researcher.md")
_BLOCK = re.compile(r"(<!-- measured: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_DEMO = "DEMO"
"""Stands in a command for the directory in which the demonstration has just run."""

Json = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One command, and how a page shows its output."""

    command: tuple[str, ...]
    table: Callable[[Json], Iterator[str]]


def _steps(value: Json) -> Iterator[str]:
    """CPU time by shape, and what it says."""
    rows = value["rows"]
    shapes = list(dict.fromkeys((r["base"], r["shape"]) for r in rows))
    ways = list(dict.fromkeys((r["method"], r["records_per_unit"]) for r in rows))
    found = {(r["method"], r["records_per_unit"], r["base"], r["shape"]): r for r in rows}
    yield "| step | " + " | ".join(f"{base} {shape}" for base, shape in shapes) + " |"
    yield "|---|" + "---|" * len(shapes)
    for method, records in ways:
        name = method.replace("_", " ") + (f", units of {records} records" if records > 1 else "")
        cells = (found.get((method, records, *s)) for s in shapes)
        yield (
            f"| {name} | "
            + " | ".join("–" if r is None else f"{r['cpu_ratio']:.2f} / {r['memory_ratio']:.2f}" for r in cells)
            + " |"
        )
    yield ""
    yield (
        f"CPU time / peak memory as ratios to the step without privacy; one thread, {value['repetitions']} "
        f"repetitions, interleaved, torch {value['torch']}. Ours: median {value['median_cpu_ratio']:.3f}, worst "
        f"{value['worst_cpu_ratio']:.3f}, memory at most {value['worst_memory_ratio']:.3f}; Opacus' hooks: median "
        f"{value['opacus_hooks_median_cpu_ratio']:.3f}."
    )
    ours = [r["floor_share"] for r in rows if r["method"] == "concordat" and r["floor_share"] is not None]
    plain = [r["floor_share"] for r in rows if r["method"] == "non_private" and r["floor_share"] is not None]
    if ours and plain:
        yield (
            f"Of the time of our step, {min(ours):.0%} to {max(ours):.0%} is what the floating-point operations of "
            f"forward and backward alone would take at the speed of a large matrix product (without privacy: "
            f"{min(plain):.0%} to {max(plain):.0%})."
        )
    if value["device_note"]:
        yield f"{value['device_note'][0].upper()}{value['device_note'][1:]}."


def _white_box(value: Json) -> Iterator[str]:
    """Bounds, and each planted fault."""
    yield (
        f"epsilon between **{value['epsilon_lower']:.2f}** (audit, confidence {value['confidence']:g}) and "
        f"**{value['epsilon_upper']:.2f}** (accountant), for {value['unit']}; noise multiplier "
        f"{value['noise_multiplier']:g}, rate {value['sampling_rate']:g}, {value['steps']} step, "
        f"delta {value['delta']:g}."
    )
    yield ""
    yield "| planted fault | caught | honest code | by |"
    yield "|---|---|---|---|"
    for p in value["planted"]:
        caught, honest = ("yes" if p["caught"] else "NO"), ("ALARM" if p["false_alarm"] else "passes")
        yield f"| {p['fault']} | {caught} | {honest} | {p['gate']} |"


def _canaries(value: Json) -> Iterator[str]:
    """Bounds beside the control."""
    yield "| | epsilon from below (95 %) | epsilon from above | AUC |"
    yield "|---|---|---|---|"
    yield (
        f"| private | {value['epsilon_lower']:.2f} (audit) | {value['epsilon_upper']:.2f} (accountant) "
        f"| {value['auc']:.3f} |"
    )
    lower, auc = value["control_epsilon_lower"], value["control_auc"]
    yield f"| control without privacy | {lower:.2f} (audit) | none | {auc:.3f} |"


def _certificate(value: Json) -> Iterator[str]:
    """The figures of a certificate."""
    yield (
        f"Release `{value['release']}` of job `{value['job']}`; unit: {value['unit_words']}; verified offline: "
        f"{'yes' if value['verified'] else 'NO'}."
    )
    yield ""
    yield "| institution | epsilon from below (audit) | this job | all jobs | delta | recomputed | signed by itself |"
    yield "|---|---|---|---|---|---|---|"
    for i in value["institutions"]:
        audited = "–" if i["audited_epsilon"] is None else f"{i['audited_epsilon']:.2f}"
        yield (
            f"| {i['institution']} | {audited} | {i['epsilon_job']:.3f} | {i['epsilon']:.3f} | {i['delta']:g} "
            f"| {i['epsilon_recomputed']:.3f} | {'yes' if i['attested'] else 'no'} |"
        )
    first = value["institutions"][0]
    yield ""
    yield f"Accountant: {first['accountant']}. Noise: {first['noise_source']}. Samples: {first['sampling_source']}."
    yield ""
    yield "Not covered: " + "; ".join(str(t).rstrip(".") for t in value["not_covered"]) + "."


def _joint_step(value: Json) -> Iterator[str]:
    """As `concordat simulate` prints it."""
    yield from noise_arms.text(value)


def _poisoning(value: Json) -> Iterator[str]:
    """As `concordat simulate` prints it."""
    yield from poison_arms.text(value)


def _strategies(value: Json) -> Iterator[str]:
    """As `concordat simulate` prints it."""
    yield from strategy_arms.text(value)


MEASURED: Mapping[str, Measured] = {
    "dp-step": Measured(command=("bench", "dp-step", "--json"), table=_steps),
    "audit-white-box": Measured(command=("privacy", "audit", "white-box", "--json"), table=_white_box),
    "audit-canaries": Measured(
        command=("privacy", "audit", "canaries", "--scenario", "simulations/scenarios/canaries.toml", "--json"),
        table=_canaries,
    ),
    "certificate": Measured(
        command=("privacy", "certificate", f"{_DEMO}/release", "--key", f"{_DEMO}/coordinator.json", "--json"),
        table=_certificate,
    ),
    "joint-step": Measured(
        command=("simulate", "simulations/scenarios/joint-step.toml", "--fresh", "--json"), table=_joint_step
    ),
    "strategies": Measured(
        command=("simulate", "simulations/scenarios/strategies.toml", "--fresh", "--json"), table=_strategies
    ),
    "poisoning": Measured(
        command=("simulate", "simulations/scenarios/poisoning.toml", "--fresh", "--json"), table=_poisoning
    ),
}


def form(value: Any) -> Any:
    """The form of a JSON value: keys and kinds without figures. Rows of one form count once."""
    if isinstance(value, Mapping):
        return {key: form(v) for key, v in sorted(value.items())}
    if isinstance(value, list | tuple):
        kinds: list[Any] = []
        for v in value:
            if (kind := form(v)) not in kinds:
                kinds.append(kind)
        return kinds
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "number"
    return type(value).__name__


def render(page: str, outputs: Callable[[str], Json]) -> str:
    """The page with each block made from its output.

    Raises:
        ConfigError: A block names no measurement.
    """

    def block(found: re.Match[str]) -> str:
        start, name, end = found.groups()
        if name not in MEASURED:
            raise ConfigError(f"no measurement is called {name!r}", expected=f"one of {', '.join(MEASURED)}")
        return start + "\n".join(MEASURED[name].table(outputs(name))) + "\n" + end

    return _BLOCK.sub(block, page)


def kept(name: str) -> Json:
    """The output that is in the documentation."""
    return dict(json.loads(_output(name).read_text(encoding="utf-8")))


def main(names: list[str]) -> None:
    """Run the named commands, keep their outputs, and write the tables again."""
    for name in names:
        value = _run(MEASURED[name].command)
        text = json.dumps(value, indent=1, ensure_ascii=False)
        _output(name).write_text(text + "\n", encoding="utf-8")
    if all(_output(name).exists() for name in MEASURED):
        for page in PAGES:
            page.write_text(render(page.read_text(encoding="utf-8"), kept), encoding="utf-8")


def _output(name: str) -> Path:
    return _DOCS / "measured" / f"{name}.json"


def _run(command: tuple[str, ...]) -> Json:
    """One command's JSON output; the demonstration runs first where the command needs a release."""
    program = str(Path(sys.executable).parent / "concordat")

    def call(*arguments: str) -> Json:
        done = subprocess.run([program, *arguments], stdout=subprocess.PIPE, text=True, check=True)
        value = dict(json.loads(done.stdout))
        # Where files lay on the machine that measured is nobody's business.
        return {k: Path(v).name if k in ("out", "plot") else v for k, v in value.items()}

    if not any(_DEMO in word for word in command):
        return call(*command)
    with TemporaryDirectory(prefix="concordat-measured-") as place:
        demo = call("demo", "--dir", f"{place}/demo", "--json")
        found = {
            f"{_DEMO}/release": demo["release"],
            f"{_DEMO}/coordinator.json": f"{place}/demo/coordinator/coordinator.json",
        }
        value = call(*(found.get(word, word) for word in command))
        return {**value, "release": Path(str(value["release"])).name}


if __name__ == "__main__":
    main(sys.argv[1:])
