"""TOML to frozen settings, once; an unknown key is an error.

>>> from dataclasses import dataclass
>>> @dataclass(frozen=True, kw_only=True)
... class Job:
...     rounds: int
...     note: str = ""
>>> parse(Job, {"rounds": 2}, where="job.toml")
Job(rounds=2, note='')
>>> parse(Job, {"rouns": 2}, where="job.toml")
Traceback (most recent call last):
    ...
fedcore.errors.ConfigError: job.toml: unknown key 'rouns'; expected one of note, rounds; correct or remove it
"""

import dataclasses
import tomllib
import types
import typing
from pathlib import Path
from typing import Any, TypeVar, Union

from fedcore.errors import ConfigError

__all__ = ["load", "parse"]

T = TypeVar("T")


def load(kind: type[T], path: Path) -> T:
    """Read a TOML file into a settings dataclass. Relative paths in it stay as written.

    Raises:
        ConfigError: The file is missing or not TOML, a key is unknown or missing, or a value has the
            wrong type.
    """
    try:
        with path.open("rb") as file:
            value = tomllib.load(file)
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist", do="check the path, or make it with the 'init' command") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML ({error})") from error
    return parse(kind, value, where=str(path))


def parse(kind: type[T], value: dict[str, Any], *, where: str) -> T:
    """Turn a table into a settings dataclass; nested dataclasses are tables, tuples are arrays.

    Raises:
        ConfigError: As for `load`.
    """
    if not dataclasses.is_dataclass(kind):
        raise TypeError(f"{kind} is not a dataclass")
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    for key in value:
        if key not in fields:
            raise ConfigError(
                f"{where}: unknown key {key!r}",
                expected="one of " + ", ".join(sorted(fields)),
                do="correct or remove it",
            )
    given = {k: _convert(hints[k], v, where=f"{where}: {k}") for k, v in value.items()}
    for name, f in fields.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in given:
            raise ConfigError(f"{where}: the key {name!r} is missing", do=f"set {name}")
    return kind(**given)


def _convert(hint: Any, value: Any, *, where: str) -> Any:
    """Check `value` against a type hint; integers serve as floats, nothing else is coerced but paths."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in args:
            return None  # TOML has no null, but settings that were kept as JSON do.
        for option in args:
            if option is not type(None):
                return _convert(option, value, where=where)
    if origin is typing.Literal:
        if value not in args:
            raise ConfigError(f"{where} is not known", expected="one of " + ", ".join(map(str, args)), got=repr(value))
        return value
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, dict):
            raise ConfigError(f"{where} must be a table")
        return parse(hint, value, where=where)
    if origin is tuple:
        if not isinstance(value, list):
            raise ConfigError(f"{where} must be an array")
        return tuple(_convert(args[0], v, where=f"{where}[{i}]") for i, v in enumerate(value))
    if origin is dict or (origin is not None and issubclass(origin, typing.Mapping)):
        if not isinstance(value, dict):
            raise ConfigError(f"{where} must be a table")
        return {k: _convert(args[1], v, where=f"{where}.{k}") for k, v in value.items()}
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and type(value) is int:
        return float(value)
    if hint is Any:
        return value
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{where} has the wrong type", expected=hint.__name__, got=type(value).__name__)
    return value
