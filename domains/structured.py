"""Answers of an agreed form: a JSON schema that a model cannot but obey, by xgrammar.

Guarantee: with a writer shaped by `Obeys`, every answer parses and obeys the schema, whatever the model is. For
that a schema must be **bounded**: objects that name all their keys, strings and lists with a longest length,
numbers with a range; its longest answer must fit into the tokens that may be written, each at least a byte.

>>> schema = {"type": "object", "properties": {"level": {"enum": ["low", "high"]}}, "required": ["level"],
...           "additionalProperties": False}
>>> longest(schema)
19
>>> longest({"type": "string"})
Traceback (most recent call last):
fedcore.errors.ConfigError: a schema for answers is not bounded; expected a "maxLength"
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, final

from domains.pipeline import WritesText
from fedcore.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from torch import Tensor

    from domains.language import Adapted, Base

__all__ = ["Asks", "AsksBase", "AsksServer", "Obeys", "ask", "longest"]

_ESCAPED = 12
"""Most bytes of one character in a JSON string: two escapes of six."""
_SPACE = 1
"""After a colon or a comma."""


class Asks(Protocol):
    """Whatever answers questions in the form that they ask for."""

    def ask(self, prompts: Sequence[str], schema: Mapping[str, Any]) -> list[Any]:
        """A value that obeys the schema for each prompt, the likeliest one."""
        ...


def longest(schema: Mapping[str, Any]) -> int:
    """Bytes of the longest answer that obeys a schema.

    Raises:
        ConfigError: It is not bounded, or uses what this does not know.
    """
    if "enum" in schema or "const" in schema:
        values = schema["enum"] if "enum" in schema else [schema["const"]]
        # Letters beyond ASCII may be written as they are or escaped.
        return max(len(json.dumps(v, ensure_ascii=a).encode()) for v in values for a in (True, False))
    kind = schema.get("type")
    if kind == "boolean":
        return len("false")
    if kind == "integer":
        return max(len(str(_bound(schema, "minimum"))), len(str(_bound(schema, "maximum"))))
    if kind == "string":
        return 2 + _ESCAPED * _bound(schema, "maxLength")
    if kind == "array":
        return 2 + _bound(schema, "maxItems") * (longest(schema["items"]) + 1 + _SPACE)
    if kind == "object":
        properties = schema.get("properties", {})
        if schema.get("additionalProperties") is not False or set(schema.get("required", ())) != set(properties):
            raise ConfigError("a schema for answers is not bounded", expected="required keys, and no others")
        keys = sum(len(json.dumps(k).encode()) + 2 * (1 + _SPACE) + longest(v) for k, v in properties.items())
        return 2 + keys
    raise ConfigError(
        "a schema for answers uses what is not known", expected="enum, const, boolean, integer, string, array or object"
    )


def _bound(schema: Mapping[str, Any], name: str) -> int:
    """A bound of a schema.

    Raises:
        ConfigError: It is not there.
    """
    value = schema.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigError("a schema for answers is not bounded", expected=f'a "{name}"')
    return value


@final
class Obeys:
    """A schema as a shape for `domains.language.Writer`.

    Args:
        base: Whose tokens they are.
        schema: Bounded.
    Raises:
        ConfigError: The schema is not bounded.
        ModelError: xgrammar is not installed, or cannot read the tokenizer.
    """

    def __init__(self, base: "Base", schema: Mapping[str, Any]) -> None:
        self.longest = longest(schema)
        try:
            import xgrammar

            info = xgrammar.TokenizerInfo.from_huggingface(base.tokenizer, vocab_size=base.vocabulary)
            compiler = xgrammar.GrammarCompiler(info)
            self._grammar = compiler.compile_json_schema(json.dumps(schema), any_whitespace=False, strict_mode=True)
        except ImportError as error:
            raise ModelError(
                "answers of an agreed form need xgrammar", do="pip install xgrammar apache-tvm-ffi"
            ) from error
        except (ValueError, RuntimeError) as error:
            raise ModelError("xgrammar cannot use this base or schema", do="use another base") from error

    def begin(self, rows: int, width: int, max_new_tokens: int) -> "Callable[[Tensor, Tensor], Tensor]":
        """As `domains.language.Shapes`.

        Raises:
            ModelError: The longest answer might not fit.
        """
        if max_new_tokens <= self.longest:
            raise ModelError(
                "an answer of the agreed form might not fit",
                expected=f"more than {self.longest} tokens to write",
                got=str(max_new_tokens),
            )
        import xgrammar

        matchers = [xgrammar.GrammarMatcher(self._grammar) for _ in range(rows)]

        def change(ids: "Tensor", scores: "Tensor") -> "Tensor":
            mask = xgrammar.allocate_token_bitmask(rows, scores.shape[-1])
            for row, matcher in enumerate(matchers):
                # The end token terminates a row; whatever pads it afterwards is none of the grammar's business.
                if ids.shape[1] > width and not matcher.is_terminated():
                    matcher.accept_token(int(ids[row, -1]))
                if not matcher.is_terminated():
                    matcher.fill_next_token_bitmask(mask, row)
            out = scores.clone()
            xgrammar.apply_token_bitmask_inplace(out, mask.to(scores.device))
            return out

        return change


def ask(
    writer: WritesText, prompts: Sequence[str], *, max_new_tokens: int, temperature: float = 0.0, seed: int = 0
) -> list[Any]:
    """The answers of a writer that is shaped by a schema, as values.

    Args:
        writer: `Writer(base, adapted, (Obeys(base, schema),))`, or a `ServerWriter` with a schema.
        prompts: The questions.
        max_new_tokens: More than the schema's `longest`.
        temperature: 0 takes the likeliest answer.
        seed: Decides the samples.
    Raises:
        ModelError: An answer is not JSON: a server that does not hold to schemas.
    """
    out = []
    for text in writer.write(prompts, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed):
        try:
            # xgrammar lets control characters stand in strings as they are.
            out.append(json.loads(text, strict=False))
        except ValueError:
            raise ModelError(
                "the model's answer is not of the agreed form", do="use a server that holds to response_format"
            ) from None
    return out


@final
class AsksBase:
    """Questions to a causal base on this machine, with or without its adapter.

    Args:
        base: A causal language model.
        adapted: Its adapter, or None.
    """

    def __init__(self, base: "Base", adapted: "Adapted | None" = None) -> None:
        self._base, self._adapted = base, adapted

    def ask(self, prompts: Sequence[str], schema: Mapping[str, Any]) -> list[Any]:
        """As `Asks.ask`.

        Raises:
            ConfigError, ModelError: As for `Obeys`; or a prompt is longer than the model can read.
        """
        from domains.language import Writer

        shape = Obeys(self._base, schema)
        writer = Writer(self._base, self._adapted, (shape,))
        # One at a time: what a document says must not depend on what is asked beside it.
        return [ask(writer, [p], max_new_tokens=shape.longest + 1)[0] for p in prompts]


@final
class AsksServer:
    """Questions to an OpenAI-compatible server that holds to schemas.

    Args:
        connect: Makes a `domains.server_writer.ServerWriter` with a schema.
    """

    def __init__(self, connect: Callable[[dict[str, Any]], WritesText]) -> None:
        self._connect = connect

    def ask(self, prompts: Sequence[str], schema: Mapping[str, Any]) -> list[Any]:
        """As `Asks.ask`.

        Raises:
            ConfigError: The schema is not bounded.
            LinkError, ModelError: As for `ServerWriter.write`; or an answer is not of the agreed form.
        """
        return ask(self._connect(dict(schema)), prompts, max_new_tokens=longest(schema) + 1)
