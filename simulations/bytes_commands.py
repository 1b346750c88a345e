"""`concordat bench bytes`: what each width costs and saves, under each strategy.

`commands.py` mounts it; what is heavy is imported when it is needed.
"""

from typing import Annotated

import typer
from rich.markup import escape

from fedcore.cli import console, report

__all__ = ["bytes_command"]


def bytes_command(
    quick: Annotated[bool, typer.Option("--quick", help="One seed, two rounds and two strategies: seconds.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """Bytes a round and final loss, for each width and strategy, beside float32 FedAvg on both factors.

    Simulated on a tiny base, private; about six minutes on one core.
    """
    from simulations.benchmarks.bytes import measure

    def say(line: str) -> None:
        console.print(escape(line), highlight=False, soft_wrap=True)

    value = measure(quick=quick, say=say).to_dict()

    def human() -> None:
        for row in value["rows"]:
            say(
                f"{row['strategy']:12} {row['width']:22} {row['bytes_ratio']:6.3f} of the bytes "
                f"({row['bytes_ratio_at_demo_size']:.3f} at the demo's size), loss {row['loss']:.4f}, "
                f"{100 * (row['loss_ratio'] - 1):+.2f} %; {100 * (row['loss_ratio_to_float32'] - 1):+.2f} % by width"
            )
        for name, why in value["left_out"].items():
            say(f"{name} is left out: {why}")
        default = value["default"]
        say(
            f"the default, {default['strategy']} at {default['width']}: {default['bytes_ratio']:.3f} of the bytes, "
            f"loss {100 * (default['loss_ratio'] - 1):+.2f} %; at most {default['goal']['bytes_ratio']:g} and "
            f"{100 * (default['goal']['loss_ratio'] - 1):+g} % are wanted"
        )

    report(value, as_json=as_json, human=human)
