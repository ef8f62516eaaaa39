"""Labels for boards: a QR code, the pole's number that can be read from the ground, the name. PNG each, PDF for the printer."""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from felinar.provision.errors import ProvisionError

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

DPI = 600  # what office printers do; a label printer's 300 divides it
_MM = DPI / 25.4
_CAPITALS = 0.714  # height of the capitals of Noto Sans over its size
_STEP = 1.7  # from line to line, and
_TAIL = 0.3  # what hangs below the last one, in heights of capitals
_LEAST_MM = 1.1  # capitals that are lower can't be read
_QUIET = 4  # modules of white around a QR code (ISO/IEC 18004)


class Label(msgspec.Struct, frozen=True):
    """What is on one label; `mac` as people write it, `line` "wired" or "radio"; either may be empty."""

    address: int
    pole: str
    name: str
    place: str = ""
    mac: str = ""
    line: str = ""

    @property
    def uri(self) -> str:
        """What the QR code says: `felinar:17?pole=B-0042`."""
        return f"felinar:{self.address}?pole={quote(self.pole, safe='')}"

    @property
    def file(self) -> str:
        """The name of its picture."""
        return f"{self.address:05d}-{re.sub(r'[^A-Za-z0-9._-]+', '_', self.pole)}.png"


class Layout(msgspec.Struct, frozen=True):
    """A page and the labels on it, in mm: `columns` by `rows` of `width` by `height` from `left`, `top` on, side by side."""

    page_width: float
    page_height: float
    width: float
    height: float
    columns: int = 1
    rows: int = 1
    left: float = 0
    top: float = 0


# 24 labels of 70 by 37 mm fill an A4 sheet (210 by 297 mm) but for half a millimetre above and below.
A4 = Layout(210, 297, 70, 37, 3, 8, 0, 0.5)


def layout(text: str) -> Layout:
    """`a4` is 3 by 8 labels on a sheet; `62x29` is a roll of labels of so many mm, each a page of its own."""
    if text.lower() in ("a4", "a4-3x8"):
        return A4
    found = re.fullmatch(r"(\d{2,3}(?:\.\d)?)\s*[x×]\s*(\d{2,3}(?:\.\d)?)", text.lower())  # noqa: RUF001
    if found:
        width, height = float(found[1]), float(found[2])
        if 25 <= width <= 210 and 12 <= height <= 297 and width >= height:
            return Layout(width, height, width, height)
    raise ProvisionError(
        f"'{text}' is no size of labels.",
        "Say a4 (3 x 8 on a sheet), or a roll's label in mm, broad side first: 62x29, from 25x12 on.",
        code="labels",
        asked_wrongly=True,
    )


def draw(label: Label, width: float = A4.width, height: float = A4.height) -> Image:
    """A label of so many mm, black and white, at `DPI`. Letters are those of Noto Sans: Latin, Greek, Cyrillic."""
    from PIL import Image, ImageDraw

    wide, high = round(width * _MM), round(height * _MM)
    image = Image.new("1", (wide, high), 1)
    pen = ImageDraw.Draw(image)
    margin = round(min(2.5, height * 0.07) * _MM)
    # The white around the code is a part of it, so it needs but a little more to the label's edge.
    edge = round(min(1.0, height * 0.03) * _MM)
    side = min(high - 2 * edge, round(wide * 0.48))
    image.paste(_code(label.uri, side), (edge, (high - side) // 2))
    left = edge + side
    room = wide - margin - left
    unit = high - 2 * margin
    foot = "  ·  ".join(part for part in (f"node {label.address}", label.line, label.mac) if part)
    bottom = high - margin - _write(pen, foot, left, high - margin, room, unit * 0.085, 1, up=True)
    y = margin + _write(pen, label.pole, left, margin, room, unit * 0.30, 1, bold=True) + round(unit * 0.07)
    y += _write(pen, label.name, left, y, room, unit * 0.125, 2) + round(unit * 0.05)
    if label.place and y + unit * 0.14 < bottom:
        _write(pen, label.place, left, y, room, unit * 0.10, 1)
    return image


def _code(text: str, side: int) -> Image:
    """The QR code with its quiet zone, in whole pixels a module, on a square of `side` pixels."""
    import segno
    from PIL import Image

    code = segno.make(text, micro=False, error="m")
    matrix = [list(row) for row in code.matrix]
    n = len(matrix)
    scale = side // (n + 2 * _QUIET)
    if scale < 4:
        raise ProvisionError("The label is too small for its QR code.", "Take larger labels.", code="labels")
    small = Image.new("1", (n, n), 1)
    small.putdata([0 if dark else 1 for row in matrix for dark in row])
    image = Image.new("1", (side, side), 1)
    at = (side - n * scale) // 2
    image.paste(small.resize((n * scale, n * scale), Image.Resampling.NEAREST), (at, at))
    return image


@functools.lru_cache(maxsize=256)
def _font(pixels: int, weight: int, width: int) -> FreeTypeFont:
    from PIL import ImageFont

    folder = files("fontpkg_noto_sans") / "files"
    name = next(f.name for f in folder.iterdir() if f.name.startswith("NotoSans["))
    with as_file(folder / name) as path:
        font = ImageFont.truetype(path, pixels)
    axes = {"Weight": weight, "Width": width}
    font.set_variation_by_axes([axes[_said(axis["name"])] for axis in font.get_variation_axes()])
    return font


def _said(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _write(
    pen: ImageDraw,
    text: str,
    x: int,
    y: int,
    room: int,
    capitals: float,
    lines: int,
    *,
    bold: bool = False,
    up: bool = False,
) -> int:
    """Write a text with capitals of so many pixels from `y` down (with `up`, its one line stands on `y`); the height.

    One that is too long becomes narrower, then smaller, and is cut short only where it would be too small to read.
    """
    high = capitals
    while True:
        pixels = round(high / _CAPITALS)
        least = pixels * 25.4 / DPI * _CAPITALS < _LEAST_MM
        for width in (100, 75, 62):
            font = _font(pixels, 700 if bold else 500, width)
            found = _broken(text, font, room, lines)
            if found:
                break
        if found or (least and not bold):
            break
        high *= 0.94
    if not found:
        while text and font.getlength(text + "…") > room:
            text = text[:-1]
        found = [text + "…"]
    for i, line in enumerate(found):
        # By the base line, so that accents above and tails below don't move it.
        base = y if up else y + round(high + i * high * _STEP)
        pen.text((x, base), line, font=font, fill=0, anchor="ls")
    return round(high + (len(found) - 1) * high * _STEP + high * _TAIL)


def _broken(text: str, font: FreeTypeFont, room: int, lines: int) -> list[str]:
    """The text in at most `lines` lines (1 or 2), broken at a space; none when it is too long."""
    if font.getlength(text) <= room:
        return [text]
    words = text.split()
    for n in range(len(words) - 1, 0, -1):
        parts = [" ".join(words[:n]), " ".join(words[n:])]
        if lines == 2 and all(font.getlength(part) <= room for part in parts):
            return parts
    return []


def save_png(label: Label, folder: Path) -> Path:
    """The label's picture in a folder; it is there whole or not at all. Raises ProvisionError."""
    path = folder / label.file
    _put(path, lambda new: draw(label).save(new, format="PNG", dpi=(DPI, DPI), optimize=True))
    return path


def save_pdf(labels: Iterable[Label], path: Path, size: Layout = A4, *, skip: int = 0) -> int:
    """All labels on pages for the printer; how many pages. `skip` leaves out places that a sheet has used already."""
    pages = _pages(list(labels), size, skip)
    if not pages:
        raise ProvisionError("There is no label to print.", "Flash a board first.", code="labels")

    def write(new: Path) -> None:
        pages[0].save(new, format="PDF", save_all=True, append_images=pages[1:], resolution=DPI, title="Felinar")

    _put(path, write)
    return len(pages)


def _pages(labels: Sequence[Label], size: Layout, skip: int) -> list[Image]:
    from PIL import Image

    places = size.columns * size.rows
    if not 0 <= skip < max(places, 1):
        raise ProvisionError(
            f"A sheet has {places} labels: {skip} can't be left out.", "", code="labels", asked_wrongly=True
        )
    pages: list[Image.Image] = []
    for i, label in enumerate(labels, skip):
        if i % places == 0 or not pages:
            pages.append(Image.new("1", (round(size.page_width * _MM), round(size.page_height * _MM)), 1))
        row, column = divmod(i % places, size.columns)
        at = (round((size.left + column * size.width) * _MM), round((size.top + row * size.height) * _MM))
        pages[-1].paste(draw(label, size.width, size.height), at)
    return pages


def _put(path: Path, write: Callable[[Path], None]) -> None:
    new = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(new)
        os.replace(new, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            new.unlink()
        raise ProvisionError(
            f"The label {path} can't be written: {(error.strerror or str(error)).lower()}.",
            "Is the disk full? `felinar flash --labels FILE` makes labels again.",
            code="labels",
        ) from error
