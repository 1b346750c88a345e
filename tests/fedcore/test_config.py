from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from fedcore import config
from fedcore.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    inner: Inner
    path: Path | None = None
    kind: Literal["a", "b"] = "a"
    tags: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    on: bool = False
    count: int = 1


GOOD = 'name = "x"\npath = "p"\nkind = "b"\ntags = ["t"]\n[inner]\nrate = 1\n[fields]\na = "b"\n'


def test_good_file_becomes_settings(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(GOOD)
    assert config.load(Outer, tmp_path / "c.toml") == Outer(
        name="x", inner=Inner(rate=1.0), path=Path("p"), kind="b", tags=("t",), fields={"a": "b"}
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD + "[innr]\n", "unknown key 'innr'"),
        ("[inner]\nrate = 1\n", "'name' is missing"),
        ('name = "x"\n[inner]\nrat = 1\n', "inner: unknown key 'rat'"),
        ("name = 3\n[inner]\nrate = 1\n", "name has the wrong type"),
        ('name = "x"\ncount = true\n[inner]\nrate = 1\n', "count has the wrong type"),
        ('name = "x"\ncount = 1.5\n[inner]\nrate = 1\n', "count has the wrong type"),
        ('name = "x"\nkind = "c"\n[inner]\nrate = 1\n', "one of a, b"),
        ('name = "x"\ninner = 3\n', "must be a table"),
        ('name = "x"\ntags = "t"\n[inner]\nrate = 1\n', "must be an array"),
        ("name = ", "is not TOML"),
    ],
)
def test_bad_file_is_refused_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(ConfigError, match=words) as caught:
        config.load(Outer, tmp_path / "c.toml")
    assert "\n" not in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        config.load(Outer, tmp_path / "none.toml")
