"""DOCX by python-docx: headings, label, sentences with raised marks, charts, notes, a table for the stamp.

The core properties carry title, label, content number and the field AIGC; a part of the package carries the
sheet. Word keeps that part when it saves the file only as long as nobody edits it: `shown` tells.
"""

import io
import re
import zipfile
import zlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import docx
from docx.opc.packuri import PackURI
from docx.opc.part import Part
from docx.oxml.ns import qn
from docx.shared import Cm, Pt, RGBColor

from domains import stamping
from domains.formats._markdown import pack, unpack
from domains.formats._page import Page, page

__all__ = ["read", "render", "shown"]

_PART = "/concordat/sheet.txt"
_RELATION = "urn:concordat:sheet"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
_ALWAYS = datetime(2000, 1, 1)
"""A file's own time would make equal documents unequal."""
_MOST = 64 << 20


def render(sheet: Mapping[str, Any]) -> bytes:
    """The file."""
    what = page(sheet)
    document: Any = docx.Document()
    _style(document, what)
    _properties(document, sheet, what)
    document.add_heading(_plain(what.title), level=0)
    note = document.add_paragraph().add_run(_plain(what.label))
    note.bold, note.font.color.rgb = True, RGBColor(0x9A, 0x3B, 0x00)
    for block in what.blocks:
        if block.heading:
            document.add_heading(_plain(block.heading), level=1)
        paragraph = document.add_paragraph()
        for i, sentence in enumerate(block.sentences):
            between = " " if i and what.lang == "en" else ""
            paragraph.add_run(between + _plain(sentence.text))
            mark = paragraph.add_run(str(sentence.note))
            mark.font.superscript = True
    for figure in what.figures:
        document.add_picture(io.BytesIO(figure.png), width=Cm(15))
        document.add_paragraph(_plain(figure.caption), style="Caption")
    document.add_heading(what.words["sources"], level=2)
    for i, source in enumerate(what.notes, start=1):
        line = document.add_paragraph()
        line.paragraph_format.space_after = Pt(0)
        mark = line.add_run(f"{i} ")
        mark.font.superscript = True
        line.add_run(_plain(source)).font.size = Pt(8)
    document.add_heading(what.words["stamp"], level=2)
    table = document.add_table(rows=0, cols=2)
    for name, value in what.stamp:
        cells = table.add_row().cells
        cells[0].text, cells[1].text = name, _plain(value)
    document.sections[0].footer.paragraphs[
        0
    ].text = f"{_plain(what.label)} · {what.words['content']} {stamping.short(sheet['stamp']['content'])}"
    package = document.part.package
    part = Part(PackURI(_PART), "text/plain", pack(sheet), package)
    document.part.relate_to(part, _RELATION)
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def read(data: bytes) -> Any:
    """The sheet in the package.

    Raises:
        ValueError: There is none.
    """
    try:
        return unpack(_member(data, _PART.lstrip("/")))
    except KeyError as error:
        raise ValueError("no sheet") from error


def shown(data: bytes) -> tuple[bytes, ...]:
    """All that a reader sees: the main text, footers, and images, as they lie in the package.

    Raises:
        ValueError: It is no DOCX file.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = sorted(
                n
                for n in archive.namelist()
                if re.fullmatch(r"word/(document|footer\d*|header\d*|footnotes|comments)\.xml|word/media/.*", n)
            )
        return tuple(part for n in names for part in (n.encode(), _member(data, n)))
    except KeyError as error:
        raise ValueError("no text") from error


def _member(data: bytes, name: str) -> bytes:
    """One file of the package.

    Raises:
        KeyError: It is not there.
        ValueError: The package is broken, or the file too large.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if archive.getinfo(name).file_size > _MOST:
                raise ValueError("too large")
            return archive.read(name)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError("not a DOCX file") from error


def _style(document: Any, what: Page) -> None:
    """One font for both scripts."""
    for name in ("Normal", "Title", "Heading 1", "Heading 2"):
        style = document.styles[name]
        style.font.name = "Calibri"
        style.element.get_or_add_rPr().get_or_add_rFonts().set(qn("w:eastAsia"), "SimSun")
    document.styles["Normal"].font.size = Pt(10.5)
    document.styles["Title"].font.size = Pt(20)


def _properties(document: Any, sheet: Mapping[str, Any], what: Page) -> None:
    """Metadata that file managers and archives show."""
    core = document.core_properties
    core.title, core.subject = _plain(what.title)[:255], what.label
    core.author, core.last_modified_by = f"Concordat {sheet['stamp']['code_version']}", "Concordat"
    core.identifier = sheet["stamp"]["content"]
    core.keywords = f"{sheet['stamp']['task']}; {sheet['stamp']['model']}"[:255]
    core.comments = stamping.aigc(sheet["stamp"])[:255]
    core.language = "zh-CN" if what.lang == "zh" else "en"
    core.created = core.modified = _ALWAYS
    core.revision = 1


def _plain(text: str) -> str:
    """Text without the characters that XML cannot hold."""
    return _CONTROL.sub("\ufffd", text)
