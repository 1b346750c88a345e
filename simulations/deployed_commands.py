"""`concordat bench joint-step`: what masks and shared noise cost a federation of processes.

`commands.py` mounts it; what is heavy is imported when it is needed.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.markup import escape

from fedcore.cli import console, report

__all__ = ["joint_step_command"]

_TINY = "tiny-llama"


def joint_step_command(
    nodes: Annotated[int, typer.Option("--nodes", min=3, help="Institutions.")] = 8,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Joint steps that are measured.")] = 6,
    base: Annotated[
        str, typer.Option("--base", help="A base of the store, a directory, or 'tiny-llama', made on the spot.")
    ] = _TINY,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """Seconds that a joint step behind masks costs beyond the slowest institution's training, deployed here.

    About two minutes on two cores with the tiny base.
    """
    from domains import bases
    from simulations.benchmarks.joint_step import measure_joint_steps
    from simulations.tiny import make_tiny_base

    def say(line: str) -> None:
        console.print(escape(line), highlight=False, soft_wrap=True)

    with TemporaryDirectory(prefix="concordat-base-") as folder:
        if base == _TINY:
            path = make_tiny_base(Path(folder) / _TINY, "llama")
        else:
            root = bases.default_root(os.environ)
            path = bases.prepare(base, root) if base in bases.KNOWN else bases.find(base, root)
        value = measure_joint_steps(path, nodes=nodes, rounds=rounds, say=say).to_dict()

    def human() -> None:
        say(f"{nodes} institutions, {value['parameters']:,} parameters, threshold {value['threshold']}")
        say(
            f"beyond training: {value['overhead_median_s']:.2f} s a joint step (median), "
            f"{value['overhead_worst_s']:.2f} s (worst); at most {value['limit_s']:g} s is wanted"
        )
        say(f"training, the slowest: {value['training_median_s']:.2f} s a step")
        say(f"the first round, with keys and each node's checks of plan and records: {value['agreement_s']:.2f} s")
        say(f"CPU a step: coordinator {value['cpu_s']['coordinator']:.2f} s, a node {value['cpu_s']['node']:.2f} s")

    report(value, as_json=as_json, human=human)
