"""The examples in module docstrings run."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = [
    ".".join(p.relative_to(ROOT).with_suffix("").parts)
    for package in ("fedcore", "fedclient", "fedserver", "domains", "simulations")
    for p in sorted((ROOT / package).rglob("*.py"))
    if p.name != "__init__.py" and ">>> " in p.read_text(encoding="utf-8") and "scenarios" not in p.parts
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_hold(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0
