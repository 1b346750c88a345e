"""A certificate as a PDF of one or two A4 pages, in English or Chinese.

The pages are a rendering for people who file paper: what is signed is the JSON, and the last lines say how
to verify it. The same certificate gives the same bytes. Chinese uses the font STSong-Light that PDF readers
bring along; reportlab is imported when a PDF is written.
"""

import io
import re
from xml.sax.saxutils import escape

from fedcore._certificate_text import Section, Text
from fedcore._certificate_words import Language, word

__all__ = ["pdf_bytes"]

_CHINESE = "STSong-Light"
_NOT_LATIN = re.compile(r"[^\x20-\x7e\xa0-\xff–—•]+")


def pdf_bytes(text: Text, language: Language) -> bytes:
    """Lay out a certificate's text."""
    from reportlab.lib import colors
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.lib.units import mm
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont
    from reportlab.pdfgen.canvas import Canvas
    from reportlab.platypus import Flowable, KeepTogether, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

    pdfmetrics.registerFont(UnicodeCIDFont(_CHINESE))
    chinese = language == "zh"
    plain, bold = "Helvetica", "Helvetica-Bold"
    dark, line, pale = colors.HexColor("#1f3a57"), colors.HexColor("#b8c4d0"), colors.HexColor("#eef2f6")

    def style(name: str, font: str, size: float, **more: object) -> ParagraphStyle:
        wrap = {"wordWrap": "CJK"} if chinese else {}
        return ParagraphStyle(name, fontName=font, fontSize=size, leading=size * 1.32, **wrap, **more)

    title = style("title", bold, 15, textColor=dark, spaceAfter=2 * mm)
    heading = style("heading", bold, 10, textColor=dark, spaceBefore=2.6 * mm, spaceAfter=1 * mm)
    body, small = style("body", plain, 8.5), style("small", plain, 7.5)
    head = style("head", bold, 7.5, textColor=dark)
    warning = style("warning", bold, 9, textColor=colors.HexColor("#a01818"), spaceBefore=1 * mm)

    def paragraph(words: str, kind: ParagraphStyle) -> Paragraph:
        return Paragraph(_marked(words), kind)

    def pairs(facts: tuple[tuple[str, str], ...]) -> Table:
        rows = [[paragraph(name, head), paragraph(said, small)] for name, said in facts]
        flat = TableStyle([("VALIGN", (0, 0), (-1, -1), "TOP"), *_tight(0.5 * mm), ("LEFTPADDING", (0, 0), (0, -1), 0)])
        return Table(rows, colWidths=[36 * mm, 133 * mm], style=flat, hAlign="LEFT")

    def section(part: Section) -> list[Flowable]:
        named = any(name for name, _ in part.facts)
        dot = "• " if len(part.facts) > 1 else ""
        rest = [pairs(part.facts)] if named else [paragraph(dot + said, small) for _, said in part.facts]
        return [KeepTogether([paragraph(part.heading, heading), rest[0]]), *rest[1:]]

    grid = [
        ("BACKGROUND", (0, 0), (-1, 0), pale),
        ("LINEBELOW", (0, 0), (-1, -1), 0.4, line),
        ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
        *_tight(1 * mm),
    ]
    rows = [[paragraph(cell, head if i == 0 else small) for cell in row] for i, row in enumerate(text.table)]
    widths = [w * mm for w in (35, 19, 19, 19, 16, 25, 18, 18)]
    story: list[Flowable] = [
        paragraph(text.title, title),
        paragraph(text.verdict, body),
        *(paragraph(w, warning) for w in text.warnings),
        Spacer(1, 1.5 * mm),
        pairs(text.facts),
        paragraph(text.table_heading, heading),
        paragraph(text.promise, body),
        Spacer(1, 1 * mm),
        Table(rows, colWidths=widths, repeatRows=1, style=TableStyle(grid), hAlign="LEFT"),
        Spacer(1, 1 * mm),
        *(paragraph(note, small) for note in text.notes),
        *(flowable for part in text.sections for flowable in section(part)),
    ]

    def footer(canvas: Canvas, document: SimpleDocTemplate) -> None:
        canvas.setFont(_CHINESE if chinese else plain, 7)
        canvas.setFillColor(colors.grey)
        canvas.drawRightString(A4[0] - 18 * mm, 9 * mm, word("page", language, number=document.page))

    buffer = io.BytesIO()
    document = SimpleDocTemplate(
        buffer,
        pagesize=A4,
        leftMargin=18 * mm,
        rightMargin=18 * mm,
        topMargin=15 * mm,
        bottomMargin=15 * mm,
        title=text.title,
        author="concordat",
        invariant=1,  # No time and no random id: equal certificates are equal files.
    )
    document.build(story, onFirstPage=footer, onLaterPages=footer)
    return buffer.getvalue()


def _tight(space: float) -> list[tuple[object, ...]]:
    """Table padding."""
    everywhere = ((0, 0), (-1, -1))
    return [("TOPPADDING", *everywhere, space), ("BOTTOMPADDING", *everywhere, space), ("LEFTPADDING", *everywhere, 2)]


def _marked(words: str) -> str:
    """Escaped for reportlab; what Helvetica does not have is set in the Chinese font."""
    parts, end = [], 0
    for found in _NOT_LATIN.finditer(words):
        parts += [escape(words[end : found.start()]), f'<font name="{_CHINESE}">{escape(found.group())}</font>']
        end = found.end()
    return "".join([*parts, escape(words[end:])])
