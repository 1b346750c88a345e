"""PDF by reportlab, with the Chinese font STSong-Light that readers bring along.

Title, label, content number and the field AIGC stand in the document's information; the sheet stands in a
comment near the end, and the end of the file is written once more after it, as the format asks. The same sheet
gives the same bytes with the same version of reportlab.
"""

import io
import re
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from domains import stamping
from domains.formats._markdown import pack, unpack
from domains.formats._page import Page, page

__all__ = ["read", "render"]

_CHINESE = "STSong-Light"
_NOT_LATIN = re.compile(r"[^\x20-\x7e\xa0-\xff–—•]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ufffe\uffff\ud800-\udfff]")
_CARRIED = re.compile(rb"%concordat ([A-Za-z0-9+/=]+)\nstartxref\n\d+\n%%EOF\n\Z")
_START = re.compile(rb"startxref\s+(\d+)\s+%%EOF\s*\Z")


def render(sheet: Mapping[str, Any]) -> bytes:
    """The file."""
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.units import mm
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont
    from reportlab.platypus import SimpleDocTemplate

    pdfmetrics.registerFont(UnicodeCIDFont(_CHINESE))
    what, where = page(sheet), sheet["stamp"]
    out = io.BytesIO()
    foot = f"{what.label} · {what.words['content']} {stamping.short(where['content'])}"

    def footer(canvas: Any, template: Any) -> None:
        canvas.saveState()
        canvas.setFont(_CHINESE, 7)
        canvas.drawString(20 * mm, 10 * mm, foot)
        canvas.drawRightString(190 * mm, 10 * mm, str(template.page))
        canvas.restoreState()

    document = SimpleDocTemplate(
        out,
        pagesize=A4,
        leftMargin=20 * mm,
        rightMargin=20 * mm,
        topMargin=18 * mm,
        bottomMargin=20 * mm,
        invariant=1,
        title=what.title,
        subject=what.label,
        author=f"Concordat {where['code_version']}",
        creator=f"Concordat {where['code_version']}",
        keywords=f"{stamping.aigc(where)} {where['task']}; {where['model']}",
        lang="zh-CN" if what.lang == "zh" else "en",
    )
    document.build(_story(what), onFirstPage=footer, onLaterPages=footer)
    data = out.getvalue()
    start = _START.search(data)
    if start is None:  # reportlab ends every file so.
        raise RuntimeError("the PDF has no end")
    return data + b"%concordat " + pack(sheet) + b"\nstartxref\n" + start.group(1) + b"\n%%EOF\n"


def read(data: bytes) -> Any:
    """The sheet in the comment.

    Raises:
        ValueError: There is none.
    """
    found = _CARRIED.search(data)
    if found is None:
        raise ValueError("no sheet")
    return unpack(found.group(1))


def _story(what: Page) -> list[Any]:
    """The flow of paragraphs."""
    from reportlab.lib import colors
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.lib.units import mm
    from reportlab.lib.utils import ImageReader
    from reportlab.platypus import Image, KeepTogether, Paragraph, Spacer, Table, TableStyle

    wrap = {"wordWrap": "CJK"} if what.lang == "zh" else {}
    dark = colors.HexColor("#1f3a57")

    def style(name: str, size: float, *, bold: bool = False, **more: Any) -> ParagraphStyle:
        font = "Helvetica-Bold" if bold else "Helvetica"
        return ParagraphStyle(name, fontName=font, fontSize=size, leading=size * 1.4, **wrap, **more)

    title, body = style("title", 17, bold=True, textColor=dark, spaceAfter=2 * mm), style("body", 10)
    label = style("label", 9, bold=True, textColor=colors.HexColor("#9a3b00"), spaceAfter=3 * mm)
    heading = style("heading", 12, bold=True, textColor=dark, spaceBefore=4 * mm, spaceAfter=1 * mm)
    small = style("small", 7.5)

    story: list[Any] = [Paragraph(_marked(what.title), title), Paragraph(_marked(what.label), label)]
    for block in what.blocks:
        between = "" if what.lang == "zh" else " "
        text = between.join(f"{_marked(s.text)}<super size=6>{s.note}</super>" for s in block.sentences)
        paragraph = Paragraph(text, body)
        story += (
            [KeepTogether([Paragraph(_marked(block.heading), heading), paragraph])] if block.heading else [paragraph]
        )
    for figure in what.figures:
        wide, high = ImageReader(io.BytesIO(figure.png)).getSize()
        width = min(165 * mm, 110 * mm * wide / high)
        picture = Image(io.BytesIO(figure.png), width=width, height=width * high / wide)
        story.append(KeepTogether([Spacer(1, 3 * mm), picture, Paragraph(_marked(figure.caption), small)]))
    story.append(Paragraph(_marked(what.words["sources"]), heading))
    story += [Paragraph(f"<super size=5>{i}</super> {_marked(n)}", small) for i, n in enumerate(what.notes, start=1)]
    rows = [[Paragraph(_marked(name), small), Paragraph(_marked(value), small)] for name, value in what.stamp]
    tight = [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("TOPPADDING", (0, 0), (-1, -1), 1),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 1),
    ]
    table = Table(rows, colWidths=[32 * mm, 138 * mm], style=TableStyle(tight), hAlign="LEFT")
    story.append(KeepTogether([Paragraph(_marked(what.words["stamp"]), heading), table]))
    return story


def _marked(text: str) -> str:
    """Text for reportlab: safe, with the Chinese font where Helvetica has no letter."""
    safe = escape(_CONTROL.sub(" ", text))
    return _NOT_LATIN.sub(lambda m: f'<font name="{_CHINESE}">{m.group()}</font>', safe)
