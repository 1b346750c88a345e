"""`concordat knowledge`: add, list, show, search and remove bodies of clauses and terms.

    concordat knowledge add conduct rules/ --kind clauses
    concordat knowledge search conduct "how fast is a complaint answered"

A base is versioned: adding to a name publishes a new version, and what runs uses it from its next question on.
These commands read the environment for the store's place: CONCORDAT_KNOWLEDGE, else beside the bases' cache.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from domains import bases
from domains._clause_files import FIELDS, read_clauses
from domains.dense import NgramVectors
from domains.knowledge import KINDS, Clause, KnowledgeStore
from domains.retrieval import is_chinese
from fedcore.cli import console, example, report
from fedcore.errors import ConfigError

__all__ = ["default_store", "knowledge"]

knowledge = typer.Typer(
    help="Keep bodies of rules and terms, versioned and searchable.",
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog=example("concordat knowledge add conduct ./rules", 'concordat knowledge search conduct "complaints"'),
)

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
_Root = Annotated[
    Path | None,
    typer.Option("--root", help="The store. Default: CONCORDAT_KNOWLEDGE, else beside the bases' cache."),
]
_Name = Annotated[str, typer.Argument(metavar="NAME", help="a-z, 0-9, '.', '_' and '-'.")]


def default_store(environment: Mapping[str, str]) -> Path:
    """The store's directory. Only commands read the environment."""
    given = environment.get("CONCORDAT_KNOWLEDGE")
    return Path(given) if given else bases.default_root(environment) / "knowledge"


@knowledge.command(
    "add",
    epilog=example(
        "concordat knowledge add conduct rules.md",
        "concordat knowledge add statutes laws.jsonl --column source=law --column title=chapter",
    ),
)
def add_command(
    name: _Name,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A .jsonl, .csv, .md or .txt file, or a folder.")],
    kind: Annotated[str, typer.Option("--kind", metavar="|".join(KINDS), help="What it holds.")] = "clauses",
    column: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="FIELD=COLUMN", help="Where columns are not recognised: " + ", ".join(FIELDS)),
    ] = None,
    root: _Root = None,
    as_json: _Json = False,
) -> None:
    """Publish a new version of a base, in one step; a process that is running sees it on its next question."""
    wanted = next((k for k in KINDS if k == kind), None)
    if wanted is None:
        raise ConfigError(f"the kind {kind!r} is not known", expected="one of " + ", ".join(KINDS))
    if not path.exists():
        raise ConfigError(f"{path} does not exist", expected="a file or a folder", do="check the path")
    pairs = [part.partition("=") for part in column or ()]
    if any(not (field and mark and given) for field, mark, given in pairs):
        raise ConfigError("a --column cannot be read", expected="FIELD=COLUMN, such as source=law")
    columns = {field: given for field, _, given in pairs}
    store = _store(root)
    before = store.history(name)[-1]["digest"] if name in store.names() else None
    base = store.publish(name, read_clauses(path, columns), kind=wanted)
    value = {**base.stamp, "clauses": len(base.clauses), "changed": base.digest != before}

    def human() -> None:
        what = "is now at" if value["changed"] else "was already at"
        console.print(
            f"{name} {what} version {base.version}: {len(base.clauses)} {kind}, digest {base.digest[:16]}",
            highlight=False,
            soft_wrap=True,
        )

    report(value, as_json=as_json, human=human)


@knowledge.command("list", epilog=example("concordat knowledge list", "concordat knowledge list --json"))
def list_command(root: _Root = None, as_json: _Json = False) -> None:
    """List the bases and the version of each that is in force."""
    where = root or default_store(os.environ)
    store = KnowledgeStore(where)
    rows = [{"name": name, **store.history(name)[-1]} for name in store.names()]

    def human() -> None:
        table = Table("name", "kind", "version", "clauses", "digest", "added", box=None)
        for row in rows:
            table.add_row(
                row["name"], row["kind"], str(row["version"]), str(row["clauses"]), row["digest"][:16], row["added"]
            )
        console.print(table)
        console.print(f"in {where}", highlight=False)

    report({"root": str(where), "knowledge": rows}, as_json=as_json, human=human)


@knowledge.command("show", epilog=example("concordat knowledge show conduct --json"))
def show_command(
    name: _Name,
    clause_id: Annotated[str | None, typer.Option("--id", help="Print this clause.")] = None,
    root: _Root = None,
    as_json: _Json = False,
) -> None:
    """Show a base's versions and sources, or one clause of it word for word."""
    store = _store(root)
    base = store.open(name)
    if clause_id is not None:
        clause = base.get(clause_id)
        report({**base.stamp, "clause": _line(clause)}, as_json=as_json, human=lambda: _print(clause))
        return
    sources: dict[str, int] = {}
    for clause in base.clauses:
        sources[clause.source] = sources.get(clause.source, 0) + 1
    versions = store.history(name)

    def human() -> None:
        for entry in versions:
            typer.echo(f"version {entry['version']}, {entry['added']}: {entry['clauses']} clauses, {entry['digest']}")
        for source, count in sources.items():
            typer.echo(f"  {source}: {count}")

    report({**base.stamp, "sources": sources, "versions": versions}, as_json=as_json, human=human)


@knowledge.command("search", epilog=example('concordat knowledge search conduct "how long are records kept"'))
def search_command(
    name: _Name,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="Any words; English or Chinese.")],
    k: Annotated[int, typer.Option("--k", min=1, max=1000, help="At most so many.")] = 10,
    encoder: Annotated[
        Path | None,
        typer.Option("--encoder", metavar="DIR", help="A sentence encoder in transformers' layout, fused with BM25."),
    ] = None,
    root: _Root = None,
    as_json: _Json = False,
) -> None:
    """Find the clauses that belong to a question or passage, best first."""
    base = _store(root).open(name)
    if encoder is not None:
        # torch takes seconds to import.
        from domains.language import load_encoder

        with console.status("reading the clauses with the encoder"):
            hits = base.search(query, k, embeds=load_encoder(encoder))
    else:
        hits = base.search(query, k, embeds=NgramVectors() if is_chinese(query) else None)
    value = {**base.stamp, "hits": [{"score": round(h.score, 4), **_line(h.clause)} for h in hits]}

    def human() -> None:
        for hit in hits:
            _print(hit.clause)
        if not hits:
            console.print("nothing found")

    report(value, as_json=as_json, human=human)


@knowledge.command("remove", epilog=example("concordat knowledge remove conduct"))
def remove_command(name: _Name, root: _Root = None, as_json: _Json = False) -> None:
    """Delete a base with all its versions."""
    _store(root).remove(name)
    report({"name": name, "removed": True}, as_json=as_json, human=lambda: console.print(f"{name} is removed"))


def _store(root: Path | None) -> KnowledgeStore:
    return KnowledgeStore(root or default_store(os.environ))


def _line(clause: Clause) -> dict[str, Any]:
    """What is told of one clause."""
    return {
        "id": clause.id,
        "source": clause.source,
        "title": clause.title,
        "text": clause.text,
        "lang": clause.lang,
        "date": clause.date,
    }


def _print(clause: Clause) -> None:
    place = " · ".join(part for part in (clause.source, clause.title, clause.date) if part)
    typer.echo(f"{clause.id}  ({place})" if place else clause.id)
    typer.echo("  " + clause.text.replace("\n", "\n  "))
