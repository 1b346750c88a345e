"""`concordat generate`: checked, filtered and stamped documents, one or a folder of them.

    concordat generate medicine.record --input bundle.json --release releases/demo-1a2b --key coordinator.json
    concordat generate medicine.record --input bundles --out notes --format docx --lang zh
    concordat generate finance.report --input tables.json --base none --format pdf --out report.pdf

Nothing of a release is loaded unverified. With no release the base model writes alone; with `--base none` no
model does, and rules say what must be said; the stamp says which it was. These commands read the environment
for the caches' places, and nothing else of it.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from domains import bases, formats
from domains.base import Task, load_task, traits
from domains.filter import Filter
from domains.filter_task import FilterTask
from domains.formats import Format
from domains.generating import Batch, Generator, Order, batch, fields_of, inputs, save
from domains.pipeline import Document, WritesText
from domains.release_commands import KeyOption, load_release
from domains.stamping import ModelUsed
from domains.structured import AsksBase, AsksServer
from fedcore.adapter import AdapterState
from fedcore.cli import console, example, report
from fedcore.errors import BaseMismatch, ConfigError, Interrupted, RecordError
from fedcore.manifest import ReleaseManifest

__all__ = ["generate"]

generate = typer.Typer(help="Write a checked document from a release.", rich_markup_mode=None, add_completion=False)

_NO_BASE = "none"


@generate.command(
    epilog=example(
        "concordat generate medicine.record --input bundle.json",
        "concordat generate medicine.record --input bundle.json --release releases/NAME --key coordinator.json --json",
        "concordat generate medicine.record --input bundles --out notes --format docx",
    )
)
def generate_command(
    task_name: Annotated[str, typer.Argument(metavar="TASK", help="Such as medicine.record or finance.report.")],
    source: Annotated[
        Path, typer.Option("--input", metavar="FILE|FOLDER", help="JSON: the task's fields, or its first one.")
    ],
    release_directory: Annotated[
        Path | None, typer.Option("--release", metavar="DIR", help="A signed release. Default: the base model alone.")
    ] = None,
    key: KeyOption = None,
    base_name: Annotated[
        str | None,
        typer.Option("--base", metavar="NAME|PATH|none", help="Default: the release's, else the task's. none: rules."),
    ] = None,
    lang: Annotated[str, typer.Option("--lang", metavar="zh|en", help="Default: the task's first language.")] = "",
    form: Annotated[
        str, typer.Option("--format", metavar="md|docx|pdf|json", help="Default: by --out's ending, else md.")
    ] = "",
    style: Annotated[str, typer.Option("--style", metavar="LABEL", help="Default: the task's first style.")] = "",
    temperature: Annotated[
        float | None, typer.Option(min=0.0, max=2.0, help="Instead of the style's own; 0 takes the likeliest word.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides the samples.")] = 0,
    max_new_tokens: Annotated[int, typer.Option(min=1, max=1024, help="Most tokens that the model writes.")] = 96,
    server: Annotated[
        str | None,
        typer.Option("--server", metavar="URL", help="An OpenAI-compatible server writes, or is asked, instead."),
    ] = None,
    server_model: Annotated[str | None, typer.Option("--model", metavar="NAME", help="The server's model.")] = None,
    server_key: Annotated[
        Path | None, typer.Option("--server-key", metavar="FILE", help="A file with the server's access key.")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure-server", help="Allow plain HTTP to another machine: inputs travel readable.")
    ] = False,
    watermark: Annotated[
        Path | None, typer.Option("--watermark", metavar="KEYFILE", help="Mark the model's words with this key.")
    ] = None,
    filter_release: Annotated[
        Path | None,
        typer.Option("--filter-release", metavar="DIR", help="A release of safety.filter, after the keywords."),
    ] = None,
    encoder: Annotated[
        Path | None,
        typer.Option("--encoder", metavar="DIR", help="A sentence encoder that finds clauses beside BM25."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE|DIR", help="For a folder, a directory.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """Write checked documents: every figure in one stands in the input, or is a stated calculation on it."""
    task = load_task(task_name)
    manifest, state = load_release(release_directory, key) if release_directory is not None else (None, None)
    if manifest is not None and manifest.task != task.name:
        raise ConfigError("the release was made for another task", expected=task.name, got=manifest.task)
    chosen = _form(form, out, source)
    order = Order(
        lang=_language(lang, task),
        style=style,
        temperature=temperature,
        seed=seed,
        max_new_tokens=max_new_tokens,
        form=chosen or "md",
    )
    if task.kind == "classify" and (watermark is not None or (server is not None and not hasattr(task, "ask"))):
        raise ConfigError(f"no model writes for the task {task.name}", do="leave out --server and --watermark")
    if encoder is not None and not traits(task).knowledge:
        raise ConfigError(f"the task {task.name} consults no knowledge base", do="leave out --encoder")
    if server is not None and (manifest is not None or base_name is not None or server_model is None):
        raise ConfigError("--server needs --model, and takes neither --release nor --base", do="leave one out")
    if watermark is not None and (server is not None or base_name == _NO_BASE):
        raise ConfigError("--watermark needs a model that runs here", do="leave out --server or --base none")
    # Everything that can be refused is refused before a model is loaded, which takes seconds.
    plain = Generator(task=task, order=order, writer=None, model=ModelUsed(kind="rules"), knowledge=_knowledge(task))
    several = source.is_dir()
    if several:
        sources = inputs(source, task)
        if out is None or out.suffix.lower() in _endings():
            raise ConfigError("a folder of inputs needs a directory for its outputs", do="give --out DIR")
    else:
        fields = fields_of(source, task)
        task.read({**fields, "lang": order.lang, "style": order.style_for(task)} | _consulted(plain))
    if filter_release is not None:
        plain = replace(plain, filter=_filter(filter_release, key))
    if encoder is not None:
        from domains.language import load_encoder  # Imports torch.

        plain = replace(plain, embeds=load_encoder(encoder))
    if server is not None and server_model is not None:
        generator = _from_server(plain, server, server_model, server_key, insecure=insecure)
    elif base_name == _NO_BASE:
        generator = plain
    else:
        generator = _from_base(plain, base_name, manifest, state, watermark)
    if several and out is not None:
        _several(generator, sources, out, as_json=as_json)
        return
    with console.status("writing, checking, and writing again what does not hold"):
        made_from = generator.key(source.read_bytes())
        document, sheet = generator.write(fields, made_from)
    place = _place(out, source, chosen)
    if place is not None:
        path, file_form = place
        save(path, _file(document, sheet, file_form, as_json=as_json))
    if chosen in ("md", "json") and form and not as_json and out is None:
        typer.echo(formats.render(sheet, chosen).decode(), nl=False)
        return
    report(sheet, as_json=as_json, human=lambda: _print(document, sheet["stamp"]))


def _several(generator: Generator, sources: tuple[Path, ...], out: Path, *, as_json: bool) -> None:
    """A folder: progress on standard error, failures named at once, and again in the exit code.

    Raises:
        RecordError: Some input could not be used; the others are written.
        Interrupted: Stopped by hand; what is written stays.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=console, transient=True) as bars:
            done = batch(
                generator,
                sources,
                out,
                track=lambda things: bars.track(list(things), description="documents"),
                tell=lambda name, why: console.print(f"{name}: {why}", markup=False, highlight=False, soft_wrap=True),
            )
    except KeyboardInterrupt:
        raise Interrupted(
            "stopped between documents", do="what is written stays; run the same command again to go on"
        ) from None
    value = {
        "task": generator.task.name,
        "out": str(out),
        "written": [p.name for p in done.written],
        "skipped": [p.name for p in done.skipped],
        "failed": dict(done.failed),
        "model": generator.model.words,
        "release": None if generator.manifest is None else generator.manifest.release_id,
    }
    report(value, as_json=as_json, human=lambda: _tell(done, out, generator))
    if done.failed:
        raise RecordError(
            f"{len(done.failed)} of {len(sources)} inputs could not be used: {', '.join(sorted(done.failed))}",
            do="correct them and run the same command again",
        )


def _tell(done: Batch, out: Path, generator: Generator) -> None:
    """The outcome of a folder for people."""
    typer.echo(f"{out}: {len(done.written)} written, {len(done.skipped)} there already, {len(done.failed)} failed")
    console.print(f"{generator.model.words}; filter: {generator.filter.version}", markup=False)


def _from_base(
    plain: Generator,
    base_name: str | None,
    manifest: ReleaseManifest | None,
    state: AdapterState | None,
    watermark: Path | None,
) -> Generator:
    """Load the base, and the adapter where there is one; a classifier judges, anything else writes."""
    name = base_name or (manifest.base_name if manifest is not None else traits(plain.task).base)
    key = None
    if watermark is not None:
        from domains.watermark import read_key

        key = read_key(watermark)
    if plain.task.kind == "classify" and manifest is None and base_name is None and not _can_make(name, plain.task):
        console.print("no classifier is given: rules alone decide; see --release and --base", markup=False)
        return plain
    path = _base(name, plain.task)
    # torch takes seconds to import: everything that can be refused has been refused by now.
    from domains.classifying import Classifier
    from domains.language import Base, Writer

    with console.status("loading the base model"):
        base = Base.load(path, expected_digest=manifest.base_digest if manifest is not None else None)
        used = ModelUsed(kind="base" if manifest is None else "release", name=base.card.name, digest=base.card.digest)
        if base.card.kind == "classifier":
            return replace(plain, judge=Classifier.load(path, state), model=used, manifest=manifest)
        adapted = None
        if state is not None:
            adapted = base.adapt(state.schema, ())
            adapted.load(state)
    if plain.task.kind == "classify" and hasattr(plain.task, "ask"):
        return replace(plain, asks=AsksBase(base, adapted), model=used, manifest=manifest)
    writer: WritesText = Writer(base, adapted)
    if key is not None:
        from domains.watermark import Marked

        writer = Marked(base, adapted, key)
        # In the digest of what a file is made from; the stamp says how well the mark shows.
        used = replace(used, watermark=key.fingerprint)
    return replace(plain, writer=writer, model=used, manifest=manifest)


def _from_server(plain: Generator, url: str, model: str, key: Path | None, *, insecure: bool) -> Generator:
    """A model that another machine runs."""
    from domains.server_writer import ServerWriter

    connect = partial(ServerWriter, url, model, key_file=key, allow_plain_http=insecure)
    writer, used = connect(), ModelUsed(kind="server", name=model)
    if plain.task.kind == "classify":
        return replace(plain, asks=AsksServer(lambda schema: connect(schema=schema)), model=used)
    return replace(plain, writer=writer, model=used)


def _filter(directory: Path, key: str | None) -> Filter:
    """The content filter with a released classifier after its keywords.

    Raises:
        ConfigError: The release is of another task.
        TamperedRelease: It does not verify.
    """
    manifest, state = load_release(directory, key)
    task = FilterTask()
    if manifest.task != task.name:
        raise ConfigError("--filter-release was made for another task", expected=task.name, got=manifest.task)
    base = _base(manifest.base_name, task)
    if (digest := bases.digest_of(base)) != manifest.base_digest:
        raise BaseMismatch("the filter's base is another", expected=manifest.base_digest[:16], got=digest[:16])
    from domains.classifying import Classifier

    return Filter(judge=Classifier.load(base, state), name=f"classifier {manifest.release_id}")


def _knowledge(task: Task) -> Mapping[str, Any]:
    """The knowledge bases in force, of the kinds that the task consults."""
    kinds = traits(task).knowledge
    if not kinds:
        return {}
    from domains.knowledge import KnowledgeStore
    from domains.knowledge_commands import default_store

    store = KnowledgeStore(default_store(os.environ))
    found = {name: store.open(name) for name in store.names()}
    return {name: base for name, base in found.items() if base.kind in kinds}


def _consulted(generator: Generator) -> dict[str, Any]:
    return {"knowledge": generator.knowledge} if traits(generator.task).knowledge else {}


def _language(lang: str, task: Task) -> Any:
    languages = traits(task).languages
    if lang and lang not in languages:
        raise ConfigError(f"the task {task.name} does not write {lang!r}", expected="one of " + ", ".join(languages))
    return lang or languages[0]


def _endings() -> set[str]:
    return {f".{f}" for f in formats.FORMATS}


def _form(form: str, out: Path | None, source: Path) -> Format | None:
    """The file format that is asked for, by name or by the output's ending; None where neither says.

    Raises:
        ConfigError: It is not known, or the two disagree.
    """
    ending = "" if out is None else out.suffix.lower().removeprefix(".")
    named = next((f for f in formats.FORMATS if f == form), None)
    if form and named is None:
        raise ConfigError(f"the format {form!r} is not known", expected="one of " + ", ".join(formats.FORMATS))
    by_ending = next((f for f in formats.FORMATS if f == ending), None)
    if named and by_ending and named != by_ending:
        raise ConfigError("--format and the ending of --out disagree", expected=named, got=by_ending)
    if named in ("docx", "pdf") and out is None and not source.is_dir():
        raise ConfigError(f"{named} is not printed", do="give --out FILE")
    return named or by_ending


def _place(out: Path | None, source: Path, form: Format | None) -> tuple[Path, Format | None] | None:
    """Where one document goes: a file, or its name in a directory; None for nowhere."""
    if out is None:
        return None
    if out.is_dir() or (form is not None and out.suffix == ""):
        out.mkdir(parents=True, exist_ok=True)
        return out / f"{source.stem}.{form or 'md'}", form or "md"
    return out, form


def _file(document: Document, sheet: Mapping[str, Any], form: Format | None, *, as_json: bool) -> bytes:
    """A file's bytes; with no format, the plain text, or with --json the sheet."""
    if form is not None:
        return formats.render(sheet, form)
    text = json.dumps(sheet, ensure_ascii=False, indent=2) if as_json else document.text
    return (text + "\n").encode()


def _can_make(name: str, task: Task) -> bool:
    """Whether a base is there, or can be made on the spot: a task may offer `make_base(directory)` for its own."""
    there = {b.name for b in bases.list_bases(bases.default_root(os.environ))}
    return name in there or Path(name).is_dir() or callable(getattr(task, "make_base", None))


def _base(name: str, task: Task) -> Path:
    """The base's directory; a known one, or the task's own, is prepared on first use."""
    root = bases.default_root(os.environ)
    prepared = {b.name for b in bases.list_bases(root) if b.path is not None}
    if name not in prepared and not Path(name).is_dir():
        if name in bases.KNOWN:
            with console.status(f"preparing the base {name}, once"):
                return bases.prepare(name, root)
        if name == traits(task).base and callable(make := getattr(task, "make_base", None)):
            return bases.make(name, root, make)
    return bases.find(name, root)


def _print(document: Document, where: Mapping[str, Any]) -> None:
    """The document on standard output, deterministic wording marked; check and stamp on standard error."""
    for sentence in document.sentences:
        typer.echo(sentence.text if sentence.source == "model" else f"{sentence.text} [{sentence.rule}]")
    typer.echo(f"\n{where['label']}")
    console.print(
        f"\n{document.figures} figures, {document.untraced} untraced; {document.rewritten} sentences written again, "
        f"{document.replaced} failed for good, {document.added} added; [rule] marks deterministic wording",
        markup=False,
    )
    spent = f", epsilon {where['epsilon']:.3g} at delta {where['delta']:.1g}" if where["epsilon"] else ""
    unsafe = f", UNSAFE: {', '.join(where['unsafe'])}" if where["unsafe"] else ""
    on = f" on {where['base']} {where['base_digest'][:12]}" if where["base"] and where["base_digest"] else ""
    console.print(
        f"{where['release'] or where['model']}{on}{spent}{unsafe}; content {where['content'][:16]}", markup=False
    )
    if where["filter"]["input"] or where["filter"]["output"]:
        found = ", ".join((*where["filter"]["input"], *where["filter"]["output"]))
        console.print(f"the filter withheld the model's words ({found}); rules wrote this document", markup=False)
