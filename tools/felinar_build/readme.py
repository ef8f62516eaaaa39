"""boards/README.md from the board files: which boards there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from felinar_build import checks, wiring
from felinar_build.board import Board

_INTRO = """\
# Boards

Made from the board files by `python -m felinar_build boards --readme`; change those, not this page.

A board file (`boards/<id>/board.toml`) says what a board is, which pin carries which signal, where that is known from, and
what is fitted. `python -m felinar_build check` refuses a file with a pin that the chip does not have, that belongs to its flash,
PSRAM, USB port or console, that is input only or that would keep it from starting, and a partition table that does not fit.

The name of a board leads to its page of wiring. An *unverified* pin is one for which no published source shows that it is broken out.
"""


def render(boards: Iterable[Board]) -> str:
    """The whole page."""
    known = sorted(boards, key=lambda board: board.board.id)
    lines = [
        _INTRO,
        *_overview(known),
        "",
        "## Partition tables",
        "",
        *_layouts(known),
    ]
    return "\n".join(lines).rstrip("\n") + "\n"


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _head(*cells: str) -> list[str]:
    return [_row(*cells), "|" + "---|" * len(cells)]


def _overview(boards: list[Board]) -> Iterator[str]:
    yield from _head("board", "chip", "flash", "PSRAM", "radio", "fitted", "unverified pins")
    for board in boards:
        about = board.board
        psram = f"{about.psram_mb} MB{', octal' if about.psram_octal else ''}" if about.psram_mb else "none"
        radio = board.radio.chip.upper() if board.radio else "none"
        fitted = ", ".join(part.driver for part in board.fitted)
        open_pins = sum(pin.source == checks.UNVERIFIED for pin in board.pins.values())
        name = about.name if wiring.simulated(board) else f"[{about.name}](../docs/wiring/{about.id}.md)"
        link = f"{name} `{about.id}`"
        yield _row(link, about.chip, f"{about.flash_mb} MB", psram, radio, fitted, open_pins or "none")


def _layouts(boards: list[Board]) -> Iterator[str]:
    tables = {board.board.flash_mb: board.partitions for board in boards}
    yield from _head("flash", "partition", "type", "from", "size")
    for flash, partitions in sorted(tables.items()):
        for part in partitions:
            kind = part.type if part.type == "app" else f"{part.type}, {part.subtype}"
            yield _row(f"{flash} MB", part.name, kind, f"{part.offset:#x}", f"{part.size >> 10} KB")
