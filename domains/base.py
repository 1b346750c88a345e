"""What a field of work must offer: a task that reads records, renders examples and knows what must be said.

A **Task** turns a record's fields into training **Example**s, and a generator's input into a source from
which `prompt` and `skeleton` are derived. A **Skeleton** lists the **Statement**s a right document holds,
each with the **Fact**s it rests on and the rule that asked for it; `domains.pipeline` and `domains.checks`
work on these alone. This module never knows a federation, a budget or a server, nor any field of work.

>>> {"finance.report", "medicine.record"} <= set(task_names())
True
>>> load_task("medicine.record").fields
('bundle', 'note')
"""

import ast
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from dataclasses import fields as dataclass_fields
from decimal import Decimal
from functools import cache, cached_property
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from fedcore import canonical
from fedcore.errors import ConfigError

__all__ = [
    "GROUP",
    "Example",
    "Fact",
    "Language",
    "Sensitive",
    "Skeleton",
    "Statement",
    "Task",
    "Traits",
    "load_task",
    "task_digest",
    "task_names",
    "traits",
]

GROUP = "concordat.tasks"
"""The entry-point group in which packs name their tasks."""


class Sensitive:
    """A value made from a record: it prints as its class name alone."""

    def __repr__(self) -> str:
        return type(self).__name__


@dataclass(frozen=True, kw_only=True, repr=False)
class Example(Sensitive):
    """One training example: what is given, what is to be written, and whose it is."""

    prompt: str
    target: str
    unit: str
    label: int | str | None = None
    """For a classifier: one of the base's labels, by its place or its name."""


FactKind = Literal["name", "number", "date", "none"]
Language = Literal["en", "zh"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Fact(Sensitive):
    """One thing that the input holds, or that a stated calculation on the input gives.

    A name is anything that is written as words: a condition, a drug, a row's label, an instruction. A
    figure inside a name counts as traced only where the whole name stands.
    """

    kind: FactKind
    path: str
    """Where it stands in the input, such as "Bundle.entry[3].resource.valueQuantity"."""
    text: str
    """As the document's deterministic wording prints it."""
    also: tuple[str, ...] = ()
    """Other wordings of the same fact. For a date, its ISO form."""
    value: Decimal | None = None
    second: Decimal | None = None
    """The figure after the slash, such as the diastolic pressure."""
    units: frozenset[str] = frozenset()
    """Units that may stand after the figure, lower case; an empty string allows none."""
    cues: frozenset[str] = frozenset()
    """Words that say what a figure is, such as "heart rate"; a figure never stands under another's cue."""
    subject: tuple[str, ...] = ()
    """Names, one of which must stand directly beside the figure, such as the drug of a dose."""
    scale: str = ""
    """"thousand", "million" or "billion" where the input states that figures are in it."""
    when: str = ""
    """The year or column that the figure belongs to."""
    sense: str = ""
    """What words near it must not contradict: a key of `domains.checks.SENSES`."""
    drug: bool = False
    beside: frozenset[str] = frozenset()
    """Words that may stand in a sentence that states this fact, such as "prescribed", unless it also states one that
    has other words of its own."""
    derivation: str = ""
    """How it was computed, when it is not in the input as it stands."""

    @cached_property
    def claim(self) -> "Fact":
        """The fact wherever it stands: two entries of an input that say the same make one claim."""
        return replace(self, path="", derivation="", text=self.text.lower(), beside=frozenset())


@dataclass(frozen=True, kw_only=True, repr=False)
class Statement(Sensitive):
    """What must or may be said: deterministic wording, the facts in it, and the rule that asked for it."""

    rule: str
    text: str
    facts: tuple[Fact, ...]
    must: bool = True
    section: str = ""
    """The heading that it stands under; "" for none."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Skeleton(Sensitive):
    """All that a document may state.

    `vocabulary` is closed: a word of the document is in it, in a fact's text, or may stand beside one. `forbidden`
    phrases contradict the input, such as "no known allergies" beside an allergy. `lang` is the language of all of it.
    """

    statements: tuple[Statement, ...]
    vocabulary: frozenset[str]
    forbidden: tuple[str, ...] = ()
    extra: tuple[Fact, ...] = field(default=())
    """Facts that a text may state though no statement asks for them."""
    lang: Language = "en"

    @property
    def facts(self) -> tuple[Fact, ...]:
        """Every fact, those of the statements first."""
        return tuple(f for s in self.statements for f in s.facts) + self.extra


@runtime_checkable
class Task(Protocol):
    """One use of a model in a field of work.

    `fields` are needed for training; a generator's `read` needs them less the text to be written.
    """

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def kind(self) -> Literal["generate", "classify"]: ...
    @property
    def fields(self) -> tuple[str, ...]: ...
    @property
    def optional(self) -> tuple[str, ...]: ...

    def examples(self, fields: Mapping[str, Any], *, unit: str) -> list[Example]:
        """Render a record for training.

        Raises:
            RecordError: The fields cannot be read; says what, never content.
        """
        ...

    def read(self, fields: Mapping[str, Any]) -> Any:
        """Read and fully validate a generator's input.

        Raises:
            RecordError: As for `examples`.
        """
        ...

    def prompt(self, source: Any) -> str:
        """What the model is given; the same rendering as in training."""
        ...

    def skeleton(self, source: Any) -> Skeleton:
        """What a document about this source must and may say."""
        ...


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What a task may say of itself beside the protocol, by attributes of these names.

    Args:
        summary: One line for lists.
        languages: In which it writes; a generator puts the wanted one into the field `lang` before `read`.
        base: Name of the base that it is made for.
        styles: Style -> temperature; the first is the default. Low where facts are stated.
        knowledge: Kinds of knowledge base that it consults; they reach `read` in the field `knowledge`.
    """

    summary: str = ""
    languages: tuple[Language, ...] = ("en",)
    base: str = "smollm2-135m"
    styles: Mapping[str, float] = field(default_factory=lambda: {"plain": 0.1})
    knowledge: tuple[str, ...] = ()


def traits(task: Task) -> Traits:
    """A task's traits, with the defaults of those that it does not state."""
    return Traits(**{f.name: getattr(task, f.name) for f in dataclass_fields(Traits) if hasattr(task, f.name)})


def task_names() -> tuple[str, ...]:
    """The names of all installed tasks, sorted."""
    return tuple(sorted(_entries()))


@cache
def load_task(name: str) -> Task:
    """Load a task by name.

    Raises:
        ConfigError: No installed pack has it.
    """
    entry = _entries().get(name)
    if entry is None:
        raise ConfigError(f"the task {name!r} is not known", expected="one of " + ", ".join(task_names()))
    try:
        task = entry.load()()
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the task {name} needs the Python package {error.name!r}", do="pip install 'concordat[domains]'"
        ) from error
    if not isinstance(task, Task):
        raise ConfigError(f"the entry point {name} is not a task", do="see domains/base.py for what a task offers")
    return task


def task_digest(name: str) -> str:
    """SHA-256 of a task's code as it is installed now, hexadecimal.

    What counts: the source of the module that defines the task, of every module of the same top-level
    package that it imports, directly or through others, and of the packages that hold them. Not what other
    packages and the standard library do, and no data files: a task that should be pinned keeps its words and
    rules in Python. Nothing is run but the packages that hold the modules.

    Raises:
        ConfigError: No installed pack has it, or a part of it has no source.
    """
    entry = _entries().get(name)
    if entry is None:
        raise ConfigError(f"the task {name!r} is not known", expected="one of " + ", ".join(task_names()))
    top = entry.module.split(".")[0]
    found: dict[str, str] = {}
    waiting = [entry.module]
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        source, package = _source(module)
        found[module] = hashlib.sha256(source).hexdigest()
        parents = [module.rpartition(".")[0]] if "." in module else []
        waiting += [m for m in (*parents, *_imports(source, package)) if m.split(".")[0] == top and _is_module(m)]
    return canonical.digest(found)


def _source(module: str) -> tuple[bytes, str]:
    """A module's source, and the package that its relative imports start from."""
    spec = find_spec(module)
    if spec is not None and spec.origin is None and spec.submodule_search_locations is not None:
        return b"", module  # A folder without __init__.py runs no code.
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise ConfigError(f"the module {module} has no source", do="install the pack from its source or a wheel")
    return Path(spec.origin).read_bytes(), module if spec.submodule_search_locations else module.rpartition(".")[0]


def _imports(source: bytes, package: str) -> Iterator[str]:
    """Every name that a module may import, wherever in it the import stands.

    Raises:
        ConfigError: It is not Python.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f"a module of {package} cannot be read as Python", do="install the pack again") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            origin = ".".join(part for part in (start, node.module or "") if part)
            yield origin
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def _is_module(name: str) -> bool:
    """Whether an imported name is a module, rather than something in one."""
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _entries() -> dict[str, EntryPoint]:
    return {e.name: e for e in entry_points(group=GROUP)}
