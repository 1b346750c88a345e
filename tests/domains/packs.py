"""A pack of somebody else's: a folder with one module and the entry points of an installed distribution."""

import sys
from pathlib import Path

import pytest

from domains.base import load_task

CLASSIFIER = '''
"""Words of claims into two kinds."""

from domains.base import Example, Skeleton
from domains.features import words


class TopicTask:
    """Which of two topics a text has."""

    name, version, kind = "toy.topic", "1", "classify"
    fields, optional = ("text", "label"), ()
    summary = "a text into one of two topics"

    def examples(self, fields, *, unit):
        return [Example(prompt=self.prompt(fields), target="", unit=unit, label=fields["label"])]

    def read(self, fields):
        return fields

    def prompt(self, source):
        return " ".join(words(source["text"]))

    def skeleton(self, source):
        return Skeleton(statements=(), vocabulary=frozenset())
'''


def install(root: Path, monkeypatch: pytest.MonkeyPatch, *, module: str, source: str, points: str) -> None:
    """Make a module and its entry points importable, as `pip install` would, until the test ends."""
    (root / f"{module}.py").write_text(source, encoding="utf-8")
    about = root / f"{module}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(str(root))
    monkeypatch.setattr(sys, "modules", {k: v for k, v in sys.modules.items() if k != module})
    load_task.cache_clear()


def install_classifier(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task toy.topic."""
    points = "[concordat.tasks]\ntoy.topic = toy_topic:TopicTask\n"
    install(root, monkeypatch, module="toy_topic", source=CLASSIFIER, points=points)
