"""Markdown: everything in one file, charts and all.

The sheet stands compressed in a comment at the end, which Markdown readers do not show.

>>> from domains.formats._example import EXAMPLE
>>> print(render(EXAMPLE).decode().split("\\n\\n")[2])
## Findings
"""

import base64
import binascii
import json
import re
import zlib
from collections.abc import Mapping
from typing import Any

from domains import stamping
from domains.formats._page import Block, page

__all__ = ["pack", "read", "render", "unpack"]

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")
_LIST = re.compile(r"^(\s*)([-+]|\d+[.)])(?=\s)")
_CARRIED = re.compile(rb"<!-- concordat ([A-Za-z0-9+/=]+) -->\n\Z")
_MOST = 64 << 20
"""Bytes that a carried sheet may have."""


def render(sheet: Mapping[str, Any]) -> bytes:
    """The file."""
    shown = page(sheet)
    parts = [f"# {_plain(shown.title)}", f"> {_plain(shown.label)}"]
    for block in shown.blocks:
        parts += [f"## {_plain(block.heading)}"] if block.heading else []
        parts.append(_sentences(block, "" if shown.lang == "zh" else " "))
    for figure in shown.figures:
        parts.append(f"![{_plain(figure.caption)}](data:image/png;base64,{base64.b64encode(figure.png).decode()})")
    parts.append(f"## {shown.words['sources']}")
    # A hard break after each note: lines of one paragraph would run together.
    parts.append("  \n".join(f"<sup>{i}</sup> {_plain(note)}" for i, note in enumerate(shown.notes, start=1)))
    parts.append(f"## {shown.words['stamp']}")
    parts.append("\n".join(f"- {name}: {_plain(value)}" for name, value in shown.stamp))
    parts.append(f"<!-- {stamping.aigc(sheet['stamp'])} -->")
    parts.append(f"<!-- concordat {pack(sheet).decode()} -->")
    return ("\n\n".join(parts) + "\n").encode()


def read(data: bytes) -> Any:
    """The sheet in the comment.

    Raises:
        ValueError: There is none.
    """
    found = _CARRIED.search(data)
    if found is None:
        raise ValueError("no sheet")
    return unpack(found.group(1))


def pack(sheet: Mapping[str, Any]) -> bytes:
    """A sheet as base64 of its compressed JSON."""
    text = json.dumps(sheet, ensure_ascii=False, sort_keys=True, allow_nan=False).encode()
    return base64.b64encode(zlib.compress(text, 9))


def unpack(data: bytes) -> Any:
    """What `pack` packed.

    Raises:
        ValueError: It is not that, or is larger than any sheet.
    """
    try:
        reader = zlib.decompressobj()
        text = reader.decompress(base64.b64decode(data, validate=True), _MOST)
    except (zlib.error, binascii.Error) as error:
        raise ValueError("not a packed sheet") from error
    if not reader.eof:
        raise ValueError("not a whole sheet")
    return json.loads(text)


def _sentences(block: Block, between: str) -> str:
    """The sentences of a block, each with its mark."""
    return between.join(f"{_plain(s.text)}<sup>{s.note}</sup>" for s in block.sentences)


def _plain(text: str) -> str:
    """Text that Markdown shows as it stands."""
    return _LIST.sub(r"\1\\\2", _SPECIAL.sub(r"\\\1", " ".join(text.split()).replace("&", "&amp;")))
