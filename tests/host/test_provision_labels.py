"""Labels: the code says node and pole, on the picture and on the printed page, whatever the names are."""

from __future__ import annotations

from pathlib import Path

import pypdfium2
import pytest
import zxingcpp
from felinar.provision.errors import ProvisionError
from felinar.provision.labels import A4, DPI, Label, draw, layout, save_pdf, save_png
from PIL import Image

MAC = "24:6f:28:00:00:01"
HARD = Label(65534, "LIM/2026?00017 é&B", "Piața Revoluției, colț cu o stradă cu un nume foarte lung", "Botoșani", MAC)


def read(image: Image.Image) -> list[str]:
    return sorted(found.text for found in zxingcpp.read_barcodes(image.convert("L")))


@pytest.mark.parametrize("size", [(70, 37), (62, 29), (29, 12)])
@pytest.mark.parametrize("label", [Label(1, "7", "x"), Label(42, "B-0042", "Strada Unirii 3", "Botoșani", MAC), HARD])
def test_the_code_can_be_read(label: Label, size: tuple[int, int]) -> None:
    assert read(draw(label, *size)) == [label.uri]


def test_what_the_code_says() -> None:
    assert Label(42, "B-0042", "").uri == "felinar:42?pole=B-0042"
    assert HARD.uri == "felinar:65534?pole=LIM%2F2026%3F00017%20%C3%A9%26B"
    assert HARD.file == "65534-LIM_2026_00017_B.png"


def test_the_line_is_on_the_label_and_not_in_the_code() -> None:
    wired, radio, none = (Label(42, "B-0042", "x", "", MAC, line) for line in ("wired", "radio", ""))
    assert len({draw(label).tobytes() for label in (wired, radio, none)}) == 3
    assert wired.uri == radio.uri == none.uri


def test_nothing_touches_the_border_and_a_long_name_is_written_smaller(tmp_path: Path) -> None:
    image = Image.open(save_png(HARD, tmp_path))
    assert image.size == (1654, 874)
    assert round(image.info["dpi"][0]) == DPI
    ink = image.convert("L").point(lambda v: 255 - v).getbbox()
    assert ink is not None
    assert min(ink[0], ink[1], image.width - ink[2], image.height - ink[3]) >= DPI // 25.4 // 2
    assert [path.name for path in tmp_path.iterdir()] == [HARD.file]


def test_letters_are_there() -> None:
    # A letter that the font lacks would look like any other that it lacks.
    pictures = {draw(Label(1, letter, "x")).tobytes() for letter in "ășțőķЩΩ"}
    assert len(pictures) == 7


def test_a_sheet(tmp_path: Path) -> None:
    labels = [Label(n, f"B-{n:04}", f"Strada Unirii {n}", "Botoșani", MAC) for n in range(1, 27)]
    path = tmp_path / "sheet.pdf"
    assert save_pdf(labels, path, A4, skip=2) == 2
    with pypdfium2.PdfDocument(path) as pdf:
        assert [round(v / 72 * 25.4) for v in pdf[0].get_size()] == [210, 297]
        pages = [read(page.render(scale=300 / 72).to_pil()) for page in pdf]
    assert pages == [sorted(label.uri for label in labels[:22]), sorted(label.uri for label in labels[22:])]
    assert save_pdf(labels[:2], path, layout("62 x 29")) == 2
    with pypdfium2.PdfDocument(path) as pdf:
        assert [round(v / 72 * 25.4) for v in pdf[1].get_size()] == [62, 29]


def test_refusals(tmp_path: Path) -> None:
    for size in ("a5", "5x5", "29x62", "62", "999x20"):
        with pytest.raises(ProvisionError, match="no size"):
            layout(size)
    with pytest.raises(ProvisionError, match="no label"):
        save_pdf([], tmp_path / "x.pdf")
    with pytest.raises(ProvisionError, match="24 labels"):
        save_pdf([HARD], tmp_path / "x.pdf", skip=24)
    (tmp_path / "file").write_text("")
    with pytest.raises(ProvisionError, match="can't be written"):
        save_png(HARD, tmp_path / "file")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]
