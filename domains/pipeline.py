"""From a source to a checked document: skeleton, prose, check, and the deterministic wording where prose fails.

1. The task derives the skeleton: what must be said, by rule.
2. The model writes prose from the task's prompt.
3. Every sentence is checked. One that fails is written again, at most twice, each time from the good text before
   it with another seed and a lower temperature; what still fails is replaced by the skeleton's wording of what it
   was about, or left out where it was about nothing.
4. What must be said and is not said yet is added from the skeleton, marked.
5. The whole document is checked once more. One figure that cannot be traced stops everything.

Several documents are made side by side, and what they ask of the model goes to it together.

Guarantee: a document holds every statement that must be made, and no figure that the input does not hold,
whatever the model writes. Nothing here knows a field of work.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, Literal, Protocol, runtime_checkable

from domains._han import HAN_STOPS, joined
from domains._together import Asking, Order, Settings, WritesText, together
from domains.base import Fact, Sensitive, Skeleton, Statement, Task
from domains.checks import Checked, Checker, Mention
from fedcore.errors import ConcordatError

__all__ = ["ComposesText", "Document", "Sentence", "Settings", "WritesText", "draft", "generate", "generate_all"]

_TRIES = 2
"""How often a failed sentence is written again."""
_STOPS = ".!?" + HAN_STOPS
"""Marks that a whole sentence ends with."""
_SENTENCES = 24
"""Sentences of the model's that are read; the rest of its text is left out."""


@runtime_checkable
class ComposesText(Protocol):
    """A task that makes its own document, each sentence checked against the sentence that it rewords."""

    def compose(self, source: Any, writer: WritesText | None, settings: "Settings") -> "Document":
        """The checked document."""
        ...


@dataclass(frozen=True, kw_only=True, repr=False)
class Sentence(Sensitive):
    """One sentence of a document: who worded it, and every fact in it."""

    text: str
    source: Literal["model", "skeleton"]
    rule: str
    """The rule that asked for it, or "" for prose that no rule asked for."""
    mentions: tuple[Mention, ...]
    claims: frozenset[Fact]
    """What it states; deterministic wording states whatever its rule asks for."""
    replaces: bool = False
    """It stands for a sentence of the model's that failed."""
    original: str = ""
    """The sentence of the input that it rewords, where a document is read beside its input."""
    section: str = ""
    """The heading that it stands under."""
    place: int = 0
    """The first statement that it belongs to, by which a section is ordered."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON value with the trace of each figure."""
        return {
            "text": self.text,
            "source": self.source,
            "rule": self.rule,
            "section": self.section,
            "replaces": self.replaces,
            **({"original": self.original} if self.original else {}),
            "trace": [
                {
                    "text": m.text,
                    "kind": m.kind,
                    "figure": m.is_figure,
                    "path": m.fact.path,
                    "derivation": m.fact.derivation or ("rounded" if m.rounded else ""),
                }
                for m in self.mentions
            ],
        }


@dataclass(frozen=True, kw_only=True, repr=False)
class Document(Sensitive):
    """A checked document. `untraced` is 0 in every document that exists."""

    task: str
    task_version: str
    sentences: tuple[Sentence, ...]
    rewritten: int
    """Sentences that passed only when written again."""
    replaced: int
    """Sentences of the model's that failed for good: replaced, or left out."""
    repeated: int
    """Sentences that passed but said nothing, or nothing new, and were left out."""
    added: int
    """Statements that the prose lacked."""
    untraced: int = 0
    sections: tuple[str, ...] = ()
    """The headings in order, "" where there is none."""

    @property
    def text(self) -> str:
        """The whole document on one line."""
        return reduce(joined, (s.text for s in self.sentences), "")

    @property
    def parts(self) -> tuple[tuple[str, tuple[Sentence, ...]], ...]:
        """The sentences under their headings, each section in the order of its statements.

        Prose that no rule asked for goes under the heading of what is before it.
        """
        groups: dict[str, list[Sentence]] = {heading: [] for heading in self.sections}
        here = next(iter(groups), "")
        for sentence in self.sentences:
            here = sentence.section if sentence.rule else here
            groups.setdefault(here, []).append(sentence)
        ordered = ((heading, sorted(group, key=lambda s: s.place)) for heading, group in groups.items())
        return tuple((heading, tuple(group)) for heading, group in ordered if group)

    @property
    def rendered(self) -> str:
        """The document with its headings, each on a line of its own; as `text` where there are none."""
        bodies = [(heading, replace(self, sentences=group).text) for heading, group in self.parts]
        return "\n\n".join(f"{heading}\n{body}" if heading else body for heading, body in bodies)

    @property
    def figures(self) -> int:
        """How many figures it holds, every one traced."""
        return sum(m.is_figure for s in self.sentences for m in s.mentions)

    def to_dict(self) -> dict[str, Any]:
        """A JSON value."""
        return {
            "task": self.task,
            "task_version": self.task_version,
            "text": self.text,
            "sentences": [s.to_dict() for s in self.sentences],
            "checks": {
                "figures": self.figures,
                "untraced": self.untraced,
                "rewritten": self.rewritten,
                "replaced": self.replaced,
                "repeated": self.repeated,
                "added": self.added,
            },
        }


def generate(task: Task, source: Any, writer: WritesText | None, settings: Settings) -> Document:
    """Write a checked document about a source that `task.read` gave.

    Args:
        task: The task.
        source: What it read.
        writer: The model; None writes from the skeleton alone.
        settings: Length, temperature and seed.
    Raises:
        ConcordatError: The skeleton's own wording fails the check; nothing is printed then.
    """
    # A task that rewords its input sentence by sentence words and checks its document itself.
    if isinstance(task, ComposesText):
        return task.compose(source, writer, settings)
    return draft(task, task.skeleton(source), task.prompt(source), writer, settings)


def generate_all(task: Task, sources: Sequence[Any], writer: WritesText | None, settings: Settings) -> list[Document]:
    """As `generate` for several sources, whose prompts go to the model together: many cost it little more than one.

    Which samples a source gets depends on what it is batched with; what holds of every document does not.
    """
    if isinstance(task, ComposesText):
        return [task.compose(source, writer, settings) for source in sources]
    steps = [_drafting(task, task.skeleton(s), task.prompt(s), writer is not None, settings) for s in sources]
    return together(steps, writer)


def draft(task: Task, skeleton: Skeleton, prompt: str, writer: WritesText | None, settings: Settings) -> Document:
    """As `generate`, from a skeleton and a prompt."""
    return together([_drafting(task, skeleton, prompt, writer is not None, settings)], writer)[0]


def _drafting(task: Task, skeleton: Skeleton, prompt: str, by_model: bool, settings: Settings) -> Asking[Document]:
    """One document, step by step."""
    checker = Checker(skeleton)
    own = [_own(checker, skeleton, statement) for statement in skeleton.statements]
    final, rewritten = list[Checked](), 0
    if by_model:
        sentences = yield from _prose(checker, prompt, settings)
        final, rewritten = yield from _again(checker, prompt, [checker.check(s) for s in sentences], settings)
    kept, replaced, repeated = _keep(skeleton, own, final)
    placed = _placed(skeleton, _complete(skeleton, own, kept))
    document = Document(
        task=task.name,
        task_version=task.version,
        sentences=tuple(placed),
        sections=tuple(dict.fromkeys(s.section for s in skeleton.statements)),
        rewritten=rewritten,
        replaced=replaced,
        repeated=repeated,
        added=sum(s.source == "skeleton" and not s.replaces for s in placed) if by_model else 0,
    )
    _prove(checker, skeleton, own, document)
    return document


def _own(checker: Checker, skeleton: Skeleton, statement: Statement) -> Sentence:
    """A statement's deterministic wording, traced.

    Where names of other statements get in its way (a condition called "aspirin allergy" beside aspirin), it is
    traced to its own facts alone, which is what it is made of.

    Raises:
        ConcordatError: It fails: an input that this task cannot word safely.
    """
    checked = checker.check(statement.text)
    if checked.faults:
        checked = Checker(replace(skeleton, statements=(statement,), forbidden=())).check(statement.text)
    if checked.faults:
        raise ConcordatError(
            f"the wording of rule {statement.rule} cannot be traced to the input ({', '.join(checked.faults)})",
            do="report this input's shape as a fault of the task; no document was written",
        )
    return Sentence(
        text=checked.text,
        source="skeleton",
        rule=statement.rule,
        mentions=checked.mentions,
        claims=frozenset(_claims(checked.mentions) | _asks(statement)),
        section=statement.section,
    )


def _prose(checker: Checker, prompt: str, settings: Settings) -> Asking[list[str]]:
    """The model's sentences. Text after the prompt's own marker is another record that it makes up."""
    text = (yield Order(prompts=(prompt,), settings=settings))[0]
    marker = prompt.rsplit("\n", 1)[-1].strip()
    if marker:
        text = text.partition("\n" + marker)[0]
    sentences = checker.sentences(text)[:_SENTENCES]
    # Cut off in mid-sentence: what is left of it could say something else than it meant to.
    return sentences[:-1] if sentences and sentences[-1][-1] not in _STOPS else sentences


def _again(
    checker: Checker, prompt: str, checked: list[Checked], settings: Settings
) -> Asking[tuple[list[Checked], int]]:
    """Write failed sentences again, all of one try in one batch.

    Failed sentences that follow one another would be written from the same text: the first of them is, and the next
    try goes on from it.
    """
    final, rewritten = list(checked), 0
    for attempt in range(1, _TRIES + 1):
        failed = dict[str, int]()
        for i, c in enumerate(final):
            if c.faults:
                failed.setdefault(_before(final, i), i)
        if not failed:
            break
        texts = yield Order(
            prompts=tuple(prompt + before for before in failed),
            settings=Settings(
                max_new_tokens=min(settings.max_new_tokens, 48),
                temperature=settings.temperature / (attempt + 1),
                seed=settings.seed + 7919 * attempt,
            ),
        )
        for i, text in zip(failed.values(), texts, strict=True):
            new = next(iter(checker.sentences(text)), "")
            result = checker.check(new)
            if new and new[-1] in _STOPS and not result.faults:
                final[i] = result
                rewritten += 1
    return final, rewritten


def _before(final: Sequence[Checked], i: int) -> str:
    """The good sentences before a failed one, as the model would have written them."""
    text = reduce(joined, (c.text for c in final[:i] if not c.faults), "")
    return " " + text if text else ""


def _claims(mentions: Iterable[Mention]) -> set[Fact]:
    """Everything that some mentions state."""
    return {claim for m in mentions for claim in m.claims}


def _asks(statement: Statement) -> set[Fact]:
    """Everything that a statement wants said."""
    return {f.claim for f in statement.facts}


def _keep(skeleton: Skeleton, own: list[Sentence], final: list[Checked]) -> tuple[list[Sentence], int, int]:
    """Choose what goes into the document, in the model's order.

    Returns:
        The sentences, how many failed for good, and how many said nothing new.
    """
    kept: list[Sentence] = []
    facts: set[Fact] = set()
    replaced = repeated = 0
    for checked in final:
        if checked.faults:
            replaced += 1
            if (stand_in := _stand_in(skeleton, own, checked, facts)) is None:
                continue
            sentence = stand_in
        else:
            new = _claims(checked.mentions) - facts
            if not new:
                repeated += 1
                continue
            about = next((s for s in skeleton.statements if _asks(s) & new), None)
            sentence = Sentence(
                text=checked.text,
                source="model",
                rule=about.rule if about else "",
                mentions=checked.mentions,
                claims=frozenset(_claims(checked.mentions)),
                section=about.section if about else "",
            )
        kept.append(sentence)
        facts |= sentence.claims
    return kept, replaced, repeated


def _stand_in(skeleton: Skeleton, own: list[Sentence], checked: Checked, said: set[Fact]) -> Sentence | None:
    """The deterministic wording of what a failed sentence was about: most facts, then most words in common."""
    words = _words(checked.text)
    traced = _claims(checked.mentions)
    best: tuple[tuple[int, int], Sentence] | None = None
    for statement, sentence in zip(skeleton.statements, own, strict=True):
        if not statement.must or _asks(statement) <= said:
            continue
        score = len(traced & _asks(statement)), len(words & _words(sentence.text))
        if score > (0, 0) and (best is None or score > best[0]):
            best = score, sentence
    return replace(best[1], replaces=True) if best else None


def _words(text: str) -> set[str]:
    """The words of a text, and every Chinese character as one."""
    return {w for part in text.lower().split() for w in ([part] if part.isascii() else [part, *part])}


def _complete(skeleton: Skeleton, own: list[Sentence], kept: list[Sentence]) -> list[Sentence]:
    """Add what must be said and is not, each after the last sentence that belongs before it."""
    out = list(kept)
    order = _order(skeleton)
    for i, (statement, sentence) in enumerate(zip(skeleton.statements, own, strict=True)):
        said = {claim for s in out for claim in s.claims}
        if not statement.must or _asks(statement) <= said:
            continue
        places = [_place(s, order) for s in out]
        after = max((n + 1 for n, place in enumerate(places) if place is not None and place < i), default=0)
        out.insert(after, sentence)
    return out


def _placed(skeleton: Skeleton, sentences: Iterable[Sentence]) -> list[Sentence]:
    """Note of each sentence which statement it belongs to; one that belongs to none stays after what is before it."""
    order, here = _order(skeleton), 0
    out = []
    for sentence in sentences:
        place = _place(sentence, order)
        here = here if place is None else place
        out.append(replace(sentence, place=here))
    return out


def _order(skeleton: Skeleton) -> dict[Fact, int]:
    """Fact -> the first statement that asks for it."""
    return {fact: i for i, s in reversed(list(enumerate(skeleton.statements))) for fact in _asks(s)}


def _place(sentence: Sentence, order: dict[Fact, int]) -> int | None:
    """The first statement that a sentence belongs to."""
    return min((order[c] for c in sentence.claims if c in order), default=None)


def _prove(checker: Checker, skeleton: Skeleton, own: list[Sentence], document: Document) -> None:
    """Check the finished document once more, sentence by sentence and for completeness.

    Raises:
        ConcordatError: A figure is not traced, or a statement that must be made is missing.
    """
    traced = {s.text for s in own}
    for sentence in document.sentences:
        if not (sentence.text in traced if sentence.source == "skeleton" else not checker.check(sentence.text).faults):
            raise ConcordatError(
                "a document holds what the input does not", do="report this as a fault of the pipeline"
            )
    said = {claim for s in document.sentences for claim in s.claims}
    missing = [s.rule for s in skeleton.statements if s.must and not _asks(s) <= said]
    if missing:
        raise ConcordatError(
            f"a document lacks what rule {missing[0]} asks for", do="report this as a fault of the pipeline"
        )
