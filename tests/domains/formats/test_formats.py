"""Every format shows label, sources and stamp, carries its sheet, and tells of any change."""

import base64
import copy
import hashlib
import io
import json
import re
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import docx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domains.formats import FORMATS, Format, read, render, verify, verify_file
from domains.formats._example import EXAMPLE
from domains.formats._page import page
from domains.stamping import label, number, short
from fedcore.errors import ConfigError, TrustError


def _png() -> bytes:
    """A grey picture of one dot."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\x00\x80")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


PNG = _png()
EACH = pytest.mark.parametrize("form", FORMATS)


def example(**changes: Any) -> dict[str, Any]:
    return number(copy.deepcopy(EXAMPLE) | changes)


def chinese() -> dict[str, Any]:
    sheet = copy.deepcopy(EXAMPLE)
    sheet["sentences"][0] |= {"text": "脉搏76次/分。", "section": "体格检查"}
    sheet["sentences"][1] |= {"text": "每日一次，每次500 mg。", "section": "体格检查"}
    sheet |= {"lang": "zh", "title": "门诊病历", "text": "脉搏76次/分。 每日一次，每次500 mg。"}
    sheet["stamp"]["label"] = label("zh", used=True)
    sheet["figures"] = [
        {"caption": "收入", "sha256": hashlib.sha256(PNG).hexdigest(), "png": base64.b64encode(PNG).decode()}
    ]
    return number(sheet)


def visible(data: bytes, form: Format) -> str:
    """What a reader sees, by means of our own, as far as one word in a row."""
    if form == "docx":
        document = docx.Document(io.BytesIO(data))
        cells = [c.text for t in document.tables for r in t.rows for c in r.cells]
        return "\n".join([p.text for p in document.paragraphs] + cells)
    if form == "pdf":
        return _pdf_text(data)
    return data.decode()


def _pdf_text(data: bytes) -> str:
    """The strings that a PDF's pages draw; those in the Chinese font are big-endian UTF-16."""
    chinese = set(re.findall(rb"/Encoding /UniGB-UCS2-H[^>]*?/Name (/F[\d+]+)", data))
    out = []
    for m in re.finditer(rb"/Filter \[ /ASCII85Decode /FlateDecode \].*?stream\n?(.*?)endstream", data, re.DOTALL):
        raw = m.group(1).strip().removesuffix(b"~>")
        font = b""
        for op in re.finditer(
            rb"(/F[\d+]+) [\d.]+ Tf|\(((?:[^()\\]|\\.)*)\) Tj", zlib.decompress(base64.a85decode(raw)), re.DOTALL
        ):
            if op.group(1):
                font = op.group(1)
                continue
            body = re.sub(rb"\\(\d{3})", lambda d: bytes([int(d.group(1), 8)]), op.group(2))
            body = re.sub(rb"\\([()\\nrt])", lambda d: {b"n": b"\n", b"r": b"\r", b"t": b"\t"}.get(d[1], d[1]), body)
            out.append(body.decode("utf-16-be" if font in chinese else "latin-1"))
    return "".join(out)


@EACH
@pytest.mark.parametrize("sheet", [EXAMPLE, chinese()], ids=["en", "zh"])
def test_a_file_carries_its_whole_sheet_and_holds(form: Format, sheet: dict[str, Any]) -> None:
    data = render(sheet, form)
    assert read(data, form) == sheet
    found = verify(data, form)
    assert (found.intact, found.fault, found.content) == (True, "", sheet["stamp"]["content"])


@EACH
@pytest.mark.parametrize("sheet", [EXAMPLE, chinese()], ids=["en", "zh"])
def test_a_reader_sees_label_text_sources_and_number(form: Format, sheet: dict[str, Any]) -> None:
    shown = visible(render(sheet, form), form).replace("\\", "")
    squeezed = re.sub(r"\s+", "", shown)
    for text in (sheet["stamp"]["label"], *(s["text"] for s in sheet["sentences"])):
        assert re.sub(r"\s+", "", text) in squeezed
    if form != "json":
        assert short(sheet["stamp"]["content"]).replace(" ", "") in squeezed
        assert "Bundle.entry[2].resource.valueQuantity" in squeezed
        for note in page(sheet).notes:
            assert re.sub(r"\s+", "", note) in squeezed


def test_the_label_and_number_stand_in_the_metadata_too() -> None:
    content = EXAMPLE["stamp"]["content"]
    core = docx.Document(io.BytesIO(render(EXAMPLE, "docx"))).core_properties
    assert (core.identifier, core.subject) == (content, EXAMPLE["stamp"]["label"])
    assert json.loads(core.comments)["AIGC"]["ProduceID"] == content
    pdf = render(EXAMPLE, "pdf")
    assert b"AIGC" in pdf
    assert content.encode() in pdf
    assert json.loads(re.findall(r"<!-- (\{.*\}) -->", render(EXAMPLE, "md").decode())[0])["AIGC"]["Label"] == "1"


@EACH
def test_a_changed_sheet_is_told(form: Format) -> None:
    for where in ("text", "stamp"):
        forged = copy.deepcopy(EXAMPLE)
        if where == "text":
            forged["sentences"][0]["text"] = "Pulse 67/min."
        else:
            forged["stamp"]["epsilon"] = 0.1
        found = verify(render(forged, form), form)
        assert not found.intact
        assert "number" in found.fault


def test_a_changed_word_in_what_is_shown_is_told() -> None:
    for form, old, new in (("md", b"Pulse 76", b"Pulse 67"), ("json", b'"text": "Pulse 76', b'"text": "Pulse 67')):
        data = render(EXAMPLE, form)  # type: ignore[arg-type]
        assert data.count(old)
        assert not verify(data.replace(old, new, 1), form).intact  # type: ignore[arg-type]
    pdf = render(EXAMPLE, "pdf")
    assert not verify(pdf.replace(b"/Title (Note)", b"/Title (Nota)"), "pdf").intact
    data = render(EXAMPLE, "docx")
    assert not verify(_with(data, "word/document.xml", lambda x: x.replace(b"76/min", b"67/min")), "docx").intact
    added = _with(data, "word/document.xml", lambda x: x, more={"word/comments.xml": b"<x>never mind</x>"})
    assert not verify(added, "docx").intact


def _with(data: bytes, name: str, change: Any, more: dict[str, bytes] | None = None) -> bytes:
    """A package with one part changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for item in old.namelist():
            content = old.read(item)
            new.writestr(item, change(content) if item == name else content)
        for item, content in (more or {}).items():
            new.writestr(item, content)
    return out.getvalue()


@EACH
@pytest.mark.parametrize(
    "data", [b"", b"{}", b"PK\x03\x04junk", b"%PDF-1.4\n%%EOF\n", b'{"stamp": {}, "sentences": []}']
)
def test_a_file_without_a_stamp_is_refused(form: Format, data: bytes) -> None:
    with pytest.raises(TrustError, match="no stamp"):
        verify(data, form)


def test_a_carried_sheet_of_another_shape_is_told_and_breaks_nothing() -> None:
    from domains.formats._markdown import pack

    for value in (
        {"stamp": {"content": "x"}, "sentences": [1]},
        {"stamp": {"content": "x"}, "sentences": [], "figures": 5},
    ):
        assert not verify(b"x\n\n<!-- concordat " + pack(value) + b" -->\n", "md").intact


def test_a_sheet_that_unpacks_without_end_is_refused() -> None:
    bomb = base64.b64encode(zlib.compress(b" " * (80 << 20), 9))
    with pytest.raises(TrustError):
        verify(b"x\n\n<!-- concordat " + bomb + b" -->\n", "md")


def test_a_swapped_chart_is_told() -> None:
    sheet = chinese()
    sheet["figures"][0]["png"] = base64.b64encode(PNG + b"x").decode()
    assert "figure" in verify(render(sheet, "json"), "json").fault


_ANY = st.text(min_size=1, max_size=40)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(_ANY, st.sampled_from(["", "Plan", "<b>&*_"])), min_size=1, max_size=4), st.sampled_from(FORMATS)
)
def test_no_text_breaks_a_format_or_its_proof(pieces: list[tuple[str, str]], form: Format) -> None:
    pieces = [(t.encode("utf-8", "replace").decode(), s) for t, s in pieces]
    sentences = [{**EXAMPLE["sentences"][0], "text": t, "section": s} for t, s in pieces]
    sheet = example(sentences=sentences, text=" ".join(t for t, _ in pieces), title=pieces[0][0])
    assert verify(render(sheet, form), form).intact


@settings(max_examples=50, deadline=None)
@given(st.text(alphabet="a*_#[]<>&`|~-+1.) \n\\!", min_size=1, max_size=30))
def test_markdown_shows_text_as_it_stands(text: str) -> None:
    """The slow twin: our own text has no mark of Markdown left in it that a reader would not see."""
    from domains.formats._markdown import _plain

    shown = _plain(text)
    assert not re.search(r"(?<!\\)(?:\\\\)*[*_#\[\]<>`|~](?!.*sup>)", shown)
    assert re.sub(r"\\(.)", r"\1", shown).replace("&amp;", "&") == " ".join(text.split())


def test_a_file_is_verified_by_its_ending(tmp_path: Path) -> None:
    path = tmp_path / "note.PDF"
    path.write_bytes(render(EXAMPLE, "pdf"))
    assert verify_file(path).intact
    with pytest.raises(ConfigError, match="not known"):
        verify_file(tmp_path / "note.txt")
    with pytest.raises(ConfigError, match="cannot be read"):
        verify_file(tmp_path / "none.md")


def test_sentences_with_one_origin_share_a_note() -> None:
    sheet = copy.deepcopy(EXAMPLE)
    sheet["sentences"] = [sheet["sentences"][0], sheet["sentences"][1], sheet["sentences"][0]]
    marks = [s.note for b in page(sheet).blocks for s in b.sentences]
    assert marks == [1, 2, 1]
