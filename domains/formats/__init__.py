"""A stamped document as a file: Markdown, JSON, DOCX or PDF, and back, to see whether it was changed.

Every format shows the label, each sentence with a mark that leads to what it rests on, the charts, and the
stamp; and carries the whole sheet in its metadata. `read` takes the sheet out again; `verify` recomputes its
content number and writes the file anew, and so finds a changed word in what is shown as well.

>>> from domains.formats._example import EXAMPLE
>>> sorted(FORMATS), verify(render(EXAMPLE, "md"), "md").intact
(['docx', 'json', 'md', 'pdf'], True)
>>> verify(render(EXAMPLE, "md").replace(b"76", b"67", 1), "md").intact
False
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from domains import stamping
from domains.formats import _docx, _markdown, _pdf
from fedcore.errors import ConfigError, TrustError

__all__ = ["FORMATS", "Format", "Verified", "read", "render", "verify", "verify_file"]

Format = Literal["md", "json", "docx", "pdf"]
FORMATS: tuple[Format, ...] = get_args(Format)


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What a file says of itself, and whether it holds."""

    content: str
    """The content number that the file states."""
    intact: bool
    """The number is that of the content, and what is shown is the content."""
    fault: str
    """What does not hold; "" where all does."""
    stamp: Mapping[str, Any]


def render(sheet: Mapping[str, Any], form: Format) -> bytes:
    """A sheet, as `domains.stamping.sheet` gives it, in a format. The same sheet gives the same content."""
    if form == "json":
        return (json.dumps(sheet, ensure_ascii=False, indent=2, allow_nan=False) + "\n").encode()
    return {"md": _markdown.render, "docx": _docx.render, "pdf": _pdf.render}[form](sheet)


def read(data: bytes, form: Format) -> dict[str, Any]:
    """The sheet that a file carries.

    Raises:
        TrustError: It carries none.
    """
    try:
        value = json.loads(data) if form == "json" else {"md": _markdown, "docx": _docx, "pdf": _pdf}[form].read(data)
        stamp, sentences = value["stamp"], value["sentences"]
        if not isinstance(stamp["content"], str) or not isinstance(sentences, list):
            raise TypeError
    except (ValueError, KeyError, TypeError) as error:
        raise TrustError("the file carries no stamp of Concordat, or a broken one", do="ask for it again") from error
    found: dict[str, Any] = value
    return found


def verify(data: bytes, form: Format) -> Verified:
    """Recompute a file's content number and compare what it shows with what it carries.

    Raises:
        TrustError: It carries no stamp.
    """
    sheet = read(data, form)
    stated = sheet["stamp"]["content"]
    fault = ""
    try:
        if stamping.content_number(sheet) != stated:
            fault = "the content number is not that of the content"
        elif not _shows(data, sheet, form):
            fault = "what is shown is not the content that was stamped"
    except (TrustError, ValueError, KeyError, TypeError, AttributeError) as error:
        fault = str(error) if isinstance(error, TrustError) else "the content is not in the form of a sheet"
    return Verified(content=stated, intact=not fault, fault=fault, stamp=sheet["stamp"])


def verify_file(path: Path) -> Verified:
    """As `verify`, of a file whose ending names its format.

    Raises:
        ConfigError: It cannot be read, or has another ending.
        TrustError: It carries no stamp.
    """
    form = next((f for f in FORMATS if path.suffix.lower() == f".{f}"), None)
    if form is None:
        raise ConfigError(f"the format of {path.name} is not known", expected=", ".join(f".{f}" for f in FORMATS))
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror})", do="check the path") from error
    return verify(data, form)


def _shows(data: bytes, sheet: Mapping[str, Any], form: Format) -> bool:
    """Whether what a reader sees is what the sheet says."""
    if form == "json":
        return True  # All that it shows is in the number.
    anew = render(sheet, form)
    return _docx.shown(data) == _docx.shown(anew) if form == "docx" else data == anew
