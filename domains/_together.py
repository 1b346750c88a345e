"""Work that asks a model in between, done side by side: orders that are alike but for their prompts are one call.

A model writes eight texts in little more time than one, so whoever makes many documents asks for them together. The
work is a generator: it yields an order, is sent the texts, and returns what it made.

>>> class Loud:
...     def write(self, prompts, **settings):
...         print(len(prompts), "prompts")
...         return [p.upper() for p in prompts]
>>> def work(word):
...     texts = yield Order(prompts=(word, word), settings=Settings())
...     return " ".join(texts)
>>> together([work("yes"), work("no")], Loud())
4 prompts
['YES YES', 'NO NO']
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

from domains.base import Sensitive

__all__ = ["Asking", "Order", "Settings", "WritesText", "together"]

T = TypeVar("T")


class WritesText(Protocol):
    """Whatever continues prompts: `domains.language.Writer`, or a stand-in."""

    def write(self, prompts: Sequence[str], *, max_new_tokens: int, temperature: float, seed: int) -> list[str]:
        """Continue each prompt."""
        ...


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to write; none of it can weaken a check."""

    max_new_tokens: int = 96
    temperature: float = 0.3
    seed: int = 0


@dataclass(frozen=True, kw_only=True, repr=False)
class Order(Sensitive):
    """What a piece of work wants from the model before it goes on."""

    prompts: tuple[str, ...]
    settings: Settings


Asking: TypeAlias = Generator[Order, list[str], T]
"""A piece of work that ends in a T."""


def together(works: Sequence[Asking[T]], writer: WritesText | None) -> list[T]:
    """Bring pieces of work to their ends.

    Args:
        works: None of them begun.
        writer: The model; None where none of them asks.
    Returns:
        What each made, in their order.
    """
    done: dict[int, T] = {}
    waiting: dict[int, Order] = {}

    def go_on(i: int, texts: list[str] | None) -> None:
        try:
            waiting[i] = next(works[i]) if texts is None else works[i].send(texts)
        except StopIteration as end:
            waiting.pop(i, None)
            done[i] = end.value

    for i in range(len(works)):
        go_on(i, None)
    while waiting and writer is not None:
        chosen = next(iter(waiting.values())).settings
        alike = {i: order for i, order in waiting.items() if order.settings == chosen}
        texts = writer.write(
            [p for order in alike.values() for p in order.prompts],
            max_new_tokens=chosen.max_new_tokens,
            temperature=chosen.temperature,
            seed=chosen.seed,
        )
        for i, order in alike.items():
            own, texts = texts[: len(order.prompts)], texts[len(order.prompts) :]
            go_on(i, own)
    return [done[i] for i in range(len(works))]
