"""`concordat model`: show and prepare base models.

    concordat model list
    concordat model add smollm2-135m
    concordat model card smollm2-135m

The one place of this package that reads the environment: CONCORDAT_CACHE names the store's directory.
"""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from domains import bases
from domains.base import load_task, task_names, traits
from fedcore.adapter import ModelCard
from fedcore.cli import console, example, report
from fedcore.errors import ConfigError

__all__ = ["model"]

model = typer.Typer(
    help="Show and prepare base models.",
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog=example("concordat model list", "concordat model add smollm2-135m"),
)

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
_Root = Annotated[
    Path | None, typer.Option("--root", help="Cache directory. Default: CONCORDAT_CACHE, else the user's cache.")
]
_Name = Annotated[str, typer.Argument(metavar="NAME|PATH|HUB_ID", help="A base of the store, a directory or a hub id.")]


@model.command("list", epilog=example("concordat model list", "concordat model list --json"))
def list_command(root: _Root = None, as_json: _Json = False) -> None:
    """List the bases that are prepared, and those that can be."""
    root = root or bases.default_root(os.environ)
    rows = [_line(base) for base in bases.list_bases(root)]

    def human() -> None:
        table = Table("name", "state", "kind", "digest", "licence", box=None)
        for row in rows:
            state = "prepared" if row["prepared"] else "run 'concordat model add'"
            table.add_row(row["name"], state, row["kind"], (row["digest"] or "")[:16], row["licence"])
        console.print(table)
        console.print(f"in {root / 'bases'}", highlight=False)

    report({"root": str(root), "bases": rows}, as_json=as_json, human=human)


@model.command(
    "add",
    epilog=example(
        "concordat model add smollm2-135m",
        "concordat model add finance.compliance",
        "concordat model add ./my-model --name mine",
    ),
)
def add_command(
    base: _Name,
    name: Annotated[
        str | None, typer.Option("--name", help="Name in the store; else made from the base's own.")
    ] = None,
    root: _Root = None,
    as_json: _Json = False,
) -> None:
    """Prepare a base once: convert or fetch it, measure its digest, and write its card."""
    root = root or bases.default_root(os.environ)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        line = bar.add_task("looking", total=1.0)

        def progress(what: str, done: float) -> None:
            bar.update(line, description=what, completed=done)

        if base in task_names():
            path = _of_task(base, name, root)
        else:
            path = bases.add(base, root, name=name, progress=progress)
    card = bases.read_card(path)
    value = _line(bases.PreparedBase(name=path.name, path=path, card=card))

    def human() -> None:
        console.print(f"{value['name']} is ready: digest {value['digest']}", highlight=False, soft_wrap=True)
        console.print(f"in {path}", highlight=False, soft_wrap=True)

    report(value, as_json=as_json, human=human)


@model.command(
    "card", epilog=example("concordat model card smollm2-135m", "concordat model card ./model --out card.json")
)
def card_command(
    base: _Name,
    out: Annotated[Path | None, typer.Option("--out", help="Write the card to this file, for a coordinator.")] = None,
    root: _Root = None,
    as_json: _Json = False,
) -> None:
    """Print a base's card: identity and shapes, all that a coordinator needs of it."""
    path = bases.find(base, root or bases.default_root(os.environ))
    card = bases.read_card(path) or _measure(path)
    text = json.dumps(card.to_dict(), indent=1, ensure_ascii=False)
    if out is not None:
        try:
            out.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{out} cannot be written ({error.strerror})", do="choose another --out") from error
        report({"out": str(out), **card.to_dict()}, as_json=as_json, human=lambda: console.print(f"wrote {out}"))
        return
    report(card.to_dict(), as_json=as_json, human=lambda: typer.echo(text))


def _of_task(task_name: str, name: str | None, root: Path) -> Path:
    """The base that a task makes itself, such as a features base.

    Raises:
        ConfigError: The task makes none.
    """
    task = load_task(task_name)
    write = getattr(task, "make_base", None)
    if not callable(write):
        raise ConfigError(
            f"the task {task_name} makes no base of its own", do=f"concordat model add {traits(task).base}"
        )
    return bases.make(name or traits(task).base, root, write)


def _measure(path: Path) -> ModelCard:
    """The card of a directory that was not prepared; torch is imported only here."""
    from domains.language import Base

    return Base.load(path, device="cpu").card


def _line(base: bases.PreparedBase) -> dict[str, Any]:
    """What is told of one base."""
    card, known = base.card, bases.KNOWN.get(base.name)
    return {
        "name": base.name,
        "prepared": card is not None,
        "path": str(base.path) if base.path else None,
        "digest": card.digest if card else None,
        "kind": card.kind if card else "causal",
        "architecture": card.architecture if card else None,
        "licence": card.licence if card else (known.licence if known else "unknown"),
        "about": known.about if known else None,
    }
