"""A chart draws its row's own figures, and prints no Chinese without a font for it."""

import io
from pathlib import Path

import matplotlib
import pytest
from PIL import Image

from domains.finance import charts as module
from domains.finance.charts import charts, draw
from domains.finance.report import ReportTask
from domains.finance.table import Row, read_table
from fedcore.errors import ConfigError

LATIN = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"


def row(*figures: str, label: str = "Revenue") -> Row:
    years = [str(2024 - i) for i in range(len(figures))]
    return read_table([["(¥ millions)", *years], [label, *figures]], "tables[0]").rows[0]


def test_a_chart_names_every_figure_that_it_draws() -> None:
    chart = draw(row("320", "295", "310"), "en")
    assert [(f.text, f.path, f.when) for f in chart.facts] == [
        ("¥320 million", "tables[0][1][1]", "2024"),
        ("¥295 million", "tables[0][1][2]", "2023"),
        ("¥310 million", "tables[0][1][3]", "2022"),
    ]
    assert chart.note == ""


def test_the_same_row_gives_the_same_picture_and_another_figure_another() -> None:
    assert draw(row("320", "295"), "en").png == draw(row("320", "295"), "en").png
    assert draw(row("320", "295"), "en").png != draw(row("321", "295"), "en").png


@pytest.mark.parametrize("count", [2, 8])
def test_the_picture_is_a_png_with_ink_on_it(count: int) -> None:
    image = Image.open(io.BytesIO(draw(row(*(str(5 + i) for i in range(count))), "en").png))
    assert (image.format, image.size) == ("PNG", (1120, 640))
    assert len(image.convert("RGB").getcolors(1 << 24) or []) > 10


def test_higher_figures_have_higher_bars() -> None:
    """The bar of the larger figure holds more pixels of its colour."""
    image = Image.open(io.BytesIO(draw(row("100", "50"), "en").png)).convert("RGB")
    blue = [sum(image.getpixel((x, y)) == (59, 110, 165) for y in range(image.height)) for x in range(image.width)]
    left, right = max(blue[: len(blue) // 2]), max(blue[len(blue) // 2 :])
    assert right == pytest.approx(2 * left, rel=0.02)


def test_without_a_chinese_font_letters_stand_and_the_note_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHINESE_FONTS", ("A font that nobody has",))
    module._installed.cache_clear()
    chart = draw(row("320", "295", label="营业收入"), "zh")
    module._installed.cache_clear()
    assert chart.title == "营业收入"
    assert "No font" in chart.note
    assert "营业收入" in chart.note


def test_a_font_that_is_given_is_used_or_refused(tmp_path: Path) -> None:
    assert draw(row("320", "295"), "en", LATIN).png
    assert "lacks" in draw(row("320", "295", label="营业收入"), "zh", LATIN).note
    (tmp_path / "no.ttf").write_bytes(b"no font")
    with pytest.raises(ConfigError):
        draw(row("320", "295"), "zh", tmp_path / "no.ttf")


def test_main_accounts_are_drawn_and_else_the_first_row() -> None:
    rows = [row("1", "2", label="Stores"), row("3", "4", label="Net income"), row("5", "6", label="Net sales")]
    assert [c.title for c in charts(rows, "en")] == ["Net sales", "Net income"]
    assert [c.title for c in charts(rows[:1], "en")] == ["Stores"]
    assert charts([row("7")], "en") == ()


def test_the_task_offers_captions_and_pictures() -> None:
    task = ReportTask()
    source = task.read({"tables": [[["", "2024", "2023"], ["Net sales", "5", "4"]]], "style": "research"})
    ((caption, png),) = task.figures(source)
    assert (caption, png[:4]) == ("Net sales", b"\x89PNG")
    assert task.title(source) == "Research report"
