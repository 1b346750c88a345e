"""Inputs to stamped files, one or a folder of them: the work behind `concordat generate`.

A **Generator** holds everything that was loaded once: task, model, filter, knowledge. It turns an input's bytes
into a **sheet**; `batch` does that for many, writes each file whole or not at all, and passes over an output
that was made from the same input with the same settings. One input that cannot be used is named and left out.

>>> from domains.base import load_task
>>> order = Order(form="md")
>>> order.temperature_for(load_task("finance.report"))
0.1
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from domains import formats
from domains._files import write_whole
from domains.base import Language, Task, load_task, task_digest, task_names, traits
from domains.classifying import Judge
from domains.dense import Embeds
from domains.filter import Filter, guarded, strings
from domains.formats import Format
from domains.pipeline import Document, Settings, WritesText
from domains.pipeline import generate as write_document
from domains.stamping import ModelUsed, sheet, stamp
from domains.structured import Asks
from fedcore import canonical
from fedcore.errors import ConcordatError, ConfigError, LinkError, RecordError, StorageError, TrustError
from fedcore.manifest import ReleaseManifest

__all__ = ["Batch", "Generator", "Order", "batch", "fields_of", "inputs", "save"]

_INPUT_LIMIT_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is wanted; none of it can weaken a check.

    Args:
        lang: Of the document.
        style: One of the task's styles; "" for its first.
        temperature: Instead of the style's own.
        seed: Decides the samples.
        max_new_tokens: Most tokens that the model writes.
        form: Of the file.
    """

    lang: Language = "en"
    style: str = ""
    temperature: float | None = None
    seed: int = 0
    max_new_tokens: int = 96
    form: Format = "md"

    def style_for(self, task: Task) -> str:
        """The style's name.

        Raises:
            ConfigError: The task has no such style.
        """
        styles = traits(task).styles
        name = self.style or next(iter(styles))
        if name not in styles:
            raise ConfigError(f"the task {task.name} has no style {name!r}", expected="one of " + ", ".join(styles))
        return name

    def temperature_for(self, task: Task) -> float:
        """The temperature that is asked for, or the style's."""
        return traits(task).styles[self.style_for(task)] if self.temperature is None else self.temperature


@dataclass(frozen=True, kw_only=True)
class Generator:
    """Everything that writes documents of one task, loaded once."""

    task: Task
    order: Order
    writer: WritesText | None
    model: ModelUsed
    judge: Judge | None = None
    asks: Asks | None = None
    """A model that is asked for its opinion, by a task that asks for one."""
    manifest: ReleaseManifest | None = None
    filter: Filter = field(default_factory=Filter)
    knowledge: Mapping[str, Any] = field(default_factory=dict)
    """Name -> knowledge base, with a `digest`."""
    embeds: Embeds | None = None
    """Finds clauses by meaning, beside their words."""

    def __post_init__(self) -> None:
        self.order.style_for(self.task)
        if self.task.kind == "classify" and self.writer is not None:
            raise ConfigError(f"the task {self.task.name} is judged by a classifier", do="leave out --server")
        if self.asks is not None and not hasattr(self.task, "ask"):
            raise ConfigError(f"the task {self.task.name} asks no model for its opinion", do="leave out the model")
        if self.order.lang not in traits(self.task).languages:
            raise ConfigError(
                f"the task {self.task.name} does not write {self.order.lang!r}",
                expected="one of " + ", ".join(traits(self.task).languages),
            )

    def key(self, data: bytes) -> str:
        """A digest of an input and of everything that its document depends on."""
        order = self.order
        return canonical.digest(
            {
                "input": hashlib.sha256(data).hexdigest(),
                "task": [self.task.name, self.task.version, _digest(self.task)],
                "lang": order.lang,
                "style": [order.style_for(self.task), order.temperature_for(self.task), order.seed],
                "room": order.max_new_tokens,
                "form": order.form,
                "model": [self.model.kind, self.model.name, self.model.digest, self.model.watermark],
                "also": self._also(),
                "release": None if self.manifest is None else self.manifest.digest,
                "filter": self.filter.version,
                "knowledge": self._versions(),
            }
        )

    def write(self, fields: Mapping[str, Any], made_from: str = "") -> tuple[Document, dict[str, Any]]:
        """A checked document about an input, and its numbered sheet.

        Args:
            fields: As `fields_of` reads them.
            made_from: The key of the input, noted in the stamp.
        Raises:
            RecordError: The input cannot be used.
            ConcordatError: No document can be proved right.
        """
        style = self.order.style_for(self.task)
        more: dict[str, Any] = {"lang": self.order.lang, "style": style}
        if traits(self.task).knowledge:
            more |= {"knowledge": self.knowledge, "embeds": self.embeds}
        source = self.task.read({**fields, **more})
        if self.judge is not None and hasattr(self.task, "judge"):
            source = self.task.judge(source, self.judge)
        # A text that tries to give orders is not shown to a model that is asked about it.
        unasked = self.asks is not None and any(self.filter.examine(t).blocked for t in strings(fields))
        if self.asks is not None and not unasked and hasattr(self.task, "ask"):
            source = self.task.ask(source, self.asks)
        if not self.task.skeleton(source).statements:
            raise RecordError(
                f"the task {self.task.name} has nothing to say about an input", do="give an input that holds something"
            )
        settings = Settings(
            max_new_tokens=self.order.max_new_tokens,
            temperature=self.order.temperature_for(self.task),
            seed=self.order.seed,
        )

        def write(writer: WritesText | None) -> Document:
            return write_document(self.task, source, writer, settings)

        document, filtered = guarded(self.filter, fields, self.writer, write)
        filtered = replace(filtered, withheld=filtered.withheld or unasked)
        where = stamp(
            self.task,
            self._told(document),
            self.manifest,
            lang=self.order.lang,
            style=style,
            filtered=filtered,
            knowledge=self._versions(),
        )
        titled = getattr(self.task, "title", None)
        drawn = getattr(self.task, "figures", None)
        return document, sheet(
            document,
            where | {"made_from": made_from},
            title=titled(source) if callable(titled) else self.task.name,
            lang=self.order.lang,
            figures=[*(drawn(source) if callable(drawn) else ()), *getattr(document, "figures_png", ())],
        )

    def _told(self, document: Document) -> ModelUsed:
        """The model, with what its writer says of a watermark in the document."""
        told = replace(self.model, also=self._also())
        described = getattr(self.writer, "described", None)
        if described is None:
            return told
        return replace(told, watermark=described([s.text for s in document.sentences if s.source == "model"]))

    def _also(self) -> dict[str, str]:
        """What a document depends on beside the model that wrote."""
        return {**self.model.also, **({"encoder": self.embeds.name} if self.embeds is not None else {})}

    def _versions(self) -> dict[str, str]:
        return {name: str(base.digest) for name, base in sorted(self.knowledge.items())}


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What became of a folder."""

    written: tuple[Path, ...]
    skipped: tuple[Path, ...]
    """Outputs that were there already, made from the same input with the same settings."""
    failed: Mapping[str, str]
    """Name of the input -> why, without content."""


def batch(
    generator: Generator,
    sources: Sequence[Path],
    out: Path,
    *,
    track: Callable[[Iterable[Path]], Iterable[Path]] = lambda things: things,
    tell: Callable[[str, str], None] = lambda _name, _why: None,
) -> Batch:
    """Write a file for each input; what is written stays, whatever stops the rest.

    Args:
        generator: What writes.
        sources: The inputs, as `inputs` lists them.
        out: The directory, made where it is missing.
        track: Shows progress.
        tell: Is told at once of an input that fails.
    Raises:
        StorageError: The directory cannot be written.
        LinkError: The model server is gone.
    """
    _make(out)
    written, skipped, failed = [], [], dict[str, str]()
    for source in track(sources):
        target = out / f"{source.name if _shared(source, sources) else source.stem}.{generator.order.form}"
        try:
            key = generator.key(_bytes(source))
            if _made_from(target, generator.order.form) == key:
                skipped.append(target)
                continue
            _, page = generator.write(fields_of(source, generator.task), key)
            data = formats.render(page, generator.order.form)
        except (StorageError, LinkError):
            raise  # It would fail for every other input as well.
        except ConcordatError as error:
            failed[source.name] = str(error)
            tell(source.name, str(error))
            continue
        save(target, data)
        written.append(target)
    return Batch(written=tuple(written), skipped=tuple(skipped), failed=failed)


def inputs(path: Path, task: Task) -> tuple[Path, ...]:
    """The inputs in a folder, by name: JSON files, or whatever the task itself reads.

    Raises:
        RecordError: There is none.
    """
    endings = tuple(getattr(task, "endings", ())) if hasattr(task, "read_file") else ()
    wanted = {".json", *endings}
    found = tuple(
        sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith(".") and p.suffix.lower() in wanted)
    )
    if not found:
        raise RecordError(f"{path} holds no inputs", expected=", ".join(f"*{e}" for e in sorted(wanted)))
    return found


def fields_of(path: Path, task: Task) -> Mapping[str, Any]:
    """The task's fields from a file, or what the task itself reads.

    A JSON object is taken for the fields where it has the first of them, or none that the task does not know;
    anything else is the first field itself, such as a FHIR bundle.

    Raises:
        RecordError: Missing, too large or not readable; never with content.
    """
    reads = getattr(task, "read_file", None)
    if reads is not None and path.suffix.lower() != ".json":
        _bytes(path)  # Refuses what is missing or too large, in the same words.
        read: Mapping[str, Any] = reads(path)
        return read
    try:
        value = json.loads(_bytes(path))
    except (ValueError, RecursionError) as error:
        # The parser's message quotes nothing but a position; the cause would hold the whole document.
        line = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise RecordError(f"{path} is not JSON{line}", do="correct the file") from None
    first, known = task.fields[0], {*task.fields, *task.optional}
    is_fields = isinstance(value, dict) and (first in value or (value and value.keys() <= known))
    return value if is_fields else {first: value}


def save(path: Path, data: bytes) -> None:
    """Write a document whole or not at all, readable by its owner alone.

    Raises:
        StorageError: It cannot be written.
    """
    try:
        write_whole(path, data, mode=0o600)
    except OSError as error:
        raise StorageError(f"{path} cannot be written ({error.strerror})", do="choose another --out") from error


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{directory} cannot be made ({error.strerror})", do="choose another --out") from error


def _bytes(path: Path) -> bytes:
    """An input's bytes."""
    try:
        if path.stat().st_size > _INPUT_LIMIT_BYTES:
            raise RecordError(f"{path} is too large", expected=f"at most {_INPUT_LIMIT_BYTES >> 20} MiB")
        return path.read_bytes()
    except OSError as error:
        raise RecordError(f"{path} cannot be read ({error.strerror})", do="check the path") from error


def _made_from(target: Path, form: Format) -> str:
    """The key that an output was made from, where it is there and intact; else ""."""
    try:
        found = formats.verify(target.read_bytes(), form)
    except (OSError, TrustError):
        return ""
    return str(found.stamp.get("made_from", "")) if found.intact else ""


def _shared(source: Path, sources: Sequence[Path]) -> bool:
    """Whether two inputs differ in their ending alone, so that their outputs need it."""
    return sum(p.stem == source.stem for p in sources) > 1


def _digest(task: Task) -> str:
    return task_digest(task.name) if task.name in task_names() and load_task(task.name) == task else ""
