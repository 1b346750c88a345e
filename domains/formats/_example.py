"""A small sheet of our own, for examples and tests of the formats."""

from typing import Any

from domains.stamping import label, number

__all__ = ["EXAMPLE"]

_STAMP: dict[str, Any] = {
    "label": label("en", used=True),
    "task": "medicine.record",
    "task_version": "1",
    "task_digest": "0" * 64,
    "code_version": "0.1.0",
    "base": "tiny",
    "base_digest": "1" * 64,
    "release": "demo-1a2b",
    "epsilon": 2.5,
    "delta": 1e-5,
    "unsafe": [],
    "model": "base model and released adapter",
    "also": {},
    "rules": {},
    "knowledge": {},
    "filter": {"version": "keywords en-1+zh-1, no classifier", "input": [], "output": [], "model_withheld": False},
    "style": None,
    "watermark": None,
    "content": "",
}
_PULSE = {
    "text": "76/min",
    "kind": "number",
    "figure": True,
    "path": "Bundle.entry[2].resource.valueQuantity",
    "derivation": "",
}
EXAMPLE: dict[str, Any] = number(
    {
        "task": "medicine.record",
        "task_version": "1",
        "text": "Pulse 76/min. Takes 500 mg *once* a day.",
        "title": "Note",
        "lang": "en",
        "sentences": [
            {
                "text": "Pulse 76/min.",
                "source": "skeleton",
                "rule": "record.vitals",
                "replaces": False,
                "section": "Findings",
                "trace": [_PULSE],
            },
            {
                "text": "Takes 500 mg *once* a day.",
                "source": "model",
                "rule": "",
                "replaces": False,
                "section": "Plan",
                "trace": [{**_PULSE, "text": "500 mg", "path": "Bundle.entry[3].resource.dosageInstruction[0]"}],
            },
        ],
        "checks": {"figures": 2, "untraced": 0, "rewritten": 0, "replaced": 0, "repeated": 0, "added": 1},
        "figures": [],
        "stamp": _STAMP,
    }
)
"""Two sentences, one by rule and one by a model."""
