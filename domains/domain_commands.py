"""`concordat domain`: which tasks there are, what each needs, and how well each does on records of yours.

    concordat domain list
    concordat domain describe medicine.record
    concordat domain evaluate medicine.record --records ../shared/data/synthea_fhir_notes --base none --json

An evaluation prints figures only, never a record. These commands read the environment for the caches' places.
"""

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from domains import bases
from domains.base import load_task, task_digest, task_names, traits
from domains.commands import load_release
from domains.evaluation import Bench, Fit, Scores, load_measure, read_rows
from domains.pipeline import WritesText
from fedcore.cli import console, example, report
from fedcore.errors import ConfigError, RecordError
from fedcore.manifest import ReleaseManifest

__all__ = ["domain"]

domain = typer.Typer(
    help="Show the tasks of the domain packs, and measure them.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    epilog=example("concordat domain list", "concordat domain evaluate TASK --records PATH --json"),
)

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
_Task = Annotated[str, typer.Argument(metavar="TASK", help="Such as medicine.record.")]


@domain.command("list", epilog=example("concordat domain list"))
def list_command(as_json: _Json = False) -> None:
    """List the installed tasks, a line each."""
    tasks = [load_task(name) for name in task_names()]
    rows: list[dict[str, Any]] = [
        {"task": t.name, "version": t.version, "kind": t.kind, "languages": list(traits(t).languages)}
        | {"summary": traits(t).summary}
        for t in tasks
    ]

    def show() -> None:
        table = Table("task", "version", "languages", "what it does", box=None)
        for row in rows:
            table.add_row(row["task"], row["version"], ", ".join(row["languages"]), row["summary"])
        console.print(table)

    report({"tasks": rows}, as_json=as_json, human=show)


@domain.command("describe", epilog=example("concordat domain describe medicine.record"))
def describe_command(task_name: _Task, as_json: _Json = False) -> None:
    """Print what a task reads, writes and is made of."""
    task = load_task(task_name)
    more = traits(task)
    value: dict[str, Any] = {
        "task": task.name,
        "version": task.version,
        "digest": task_digest(task.name),
        "kind": task.kind,
        "summary": more.summary,
        "fields": list(task.fields),
        "optional": list(task.optional),
        "languages": list(more.languages),
        "base": more.base,
        "styles": dict(more.styles),
        "knowledge": list(more.knowledge),
        "about": (type(task).__doc__ or "").strip(),
    }

    def show() -> None:
        for name, content in value.items():
            if content not in ("", [], {}):
                typer.echo(f"{name}: {content if isinstance(content, str) else json.dumps(content)}")

    report(value, as_json=as_json, human=show)


@domain.command(
    "evaluate",
    epilog=example(
        "concordat domain evaluate medicine.record --records notes.jsonl --json",
        "concordat domain evaluate medicine.diagnosis --records cases.jsonl --fit 0.6 --epsilon 8 --json",
    ),
)
def evaluate_command(
    task_name: _Task,
    records: Annotated[Path, typer.Option("--records", metavar="PATH", help="JSONL, or a directory of it.")],
    release: Annotated[Path | None, typer.Option("--release", metavar="DIR", help="A signed release.")] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="FILE|HEX", help="The coordinator's card or public key.")
    ] = None,
    base_name: Annotated[
        str | None,
        typer.Option("--base", metavar="NAME|PATH|none", help="Default: the release's; else the task's; none: rules."),
    ] = None,
    fit: Annotated[
        float | None, typer.Option("--fit", metavar="SHARE", help="Train on this share of the units, score the rest.")
    ] = None,
    epsilon: Annotated[
        str | None, typer.Option("--epsilon", metavar="E|none", help="With --fit: of each unit. It has no default.")
    ] = None,
    lang: Annotated[str | None, typer.Option("--lang", metavar="en|zh", help="Default: whatever is measured.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the split into trained on and scored.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="Read at most so many rows.")] = None,
    as_json: _Json = False,
) -> None:
    """Measure a task on records; with --fit, on those that it was not trained on."""
    measure, task = load_measure(task_name), load_task(task_name)
    fitted = _fit(fit, epsilon, seed)
    if lang not in (None, "en", "zh"):
        raise ConfigError("--lang is not known", expected="en or zh", got=repr(lang))
    manifest, state = load_release(release, key) if release is not None else (None, None)
    rows = list(read_rows(records))[:limit]
    if not rows:
        raise RecordError(f"{records} holds no records", expected="a JSON object a line")
    root = bases.default_root(os.environ)
    name = base_name or (manifest.base_name if manifest is not None else traits(task).base)

    def find(base: str) -> Path:
        return bases.prepare(base, root) if base in bases.KNOWN else bases.find(base, root)

    def writer() -> WritesText | None:
        if name == "none":
            return None
        from domains.language import Base, Writer  # Imports torch.

        base = Base.load(find(name), expected_digest=manifest.base_digest if manifest is not None else None)
        adapted = None
        if state is not None:
            adapted = base.adapt(state.schema, ())
            adapted.load(state)
        return Writer(base, adapted)

    with ExitStack() as stack:
        bars = stack.enter_context(_bars())
        training = bars.add_task("training", total=None, visible=False)
        bench = Bench(
            rows=rows,
            records=records,
            lang=lang,
            fit=fitted,
            writer=writer,
            state=None if state is None else (find(name), state),
            track=lambda things, title: _tracked(bars, things, title),
            find_base=find,
            tell=lambda done, of: bars.update(training, completed=done, total=of, visible=True),
        )
        scores = measure(bench)
    value = _value(task_name, len(rows), scores, manifest, lang, fitted)
    report(value, as_json=as_json, human=lambda: _show(value))


def _fit(share: float | None, epsilon: str | None, seed: int) -> Fit | None:
    """What --fit and --epsilon ask for; privacy has no default.

    Raises:
        ConfigError: One of the two is missing, or is no number.
    """
    if (share is None) != (epsilon is None):
        raise ConfigError(
            "--fit and --epsilon belong together", do="give both, such as --fit 0.6 --epsilon 8, or --epsilon none"
        )
    if share is None or epsilon is None:
        return None
    if epsilon == "none":
        return Fit(share=share, epsilon=None, seed=seed)
    try:
        return Fit(share=share, epsilon=float(epsilon), seed=seed)
    except ValueError:
        raise ConfigError("--epsilon is no number", expected="a number above 0, or 'none'") from None


def _bars() -> Progress:
    """Progress on standard error; it vanishes when it is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


def _tracked(bars: Progress, things: Iterable[Any], title: str) -> Iterable[Any]:
    held = list(things)
    return bars.track(held, total=len(held), description=title)


def _value(
    task: str, rows: int, scores: Scores, manifest: ReleaseManifest | None, lang: str | None, fit: Fit | None
) -> dict[str, Any]:
    return {
        "task": task,
        "rows": rows,
        "metrics": {name: round(float(number), 6) for name, number in scores.metrics.items()},
        "release": None if manifest is None else manifest.release_id,
        "lang": lang,
        "fit": None if fit is None else fit.share,
        "seed": None if fit is None else fit.seed,
        "epsilon": None if fit is None else ("none" if fit.epsilon is None else fit.epsilon),
        "details": dict(scores.details),
        "notes": list(scores.notes),
    }


def _show(value: Mapping[str, Any]) -> None:
    typer.echo(f"{value['task']}: {value['rows']} rows" + (f", epsilon {value['epsilon']}" if value["epsilon"] else ""))
    for name, number in value["metrics"].items():
        typer.echo(f"  {name}: {number:g}")
    for note in value["notes"]:
        typer.echo(f"  {note}")
