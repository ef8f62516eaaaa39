"""boards/README.md from the board files: which boards there are, and how each one is wired."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from felinar_build import checks, signals
from felinar_build.board import Board

_INTRO = """\
# Boards

Made from the board files by `python -m felinar_build boards --readme`; change those, not this page.

A board file (`boards/<id>/board.toml`) says what a board is, which pin carries which signal, where that is known from, and
what is fitted. `python -m felinar_build check` refuses a file with a pin that the chip does not have, that belongs to its flash,
PSRAM, USB port or console, that is input only or that would keep it from starting, and a partition table that does not fit.

A source is a published board definition with its commit or a schematic with its version. Where nothing stands under *connector*,
the board's maker has wired the signal. *Ours* is a wire that whoever builds the lamp solders: the reason is why to that pin, and the
source shows that the pin is broken out. **unverified** means that we have found no such source: look at the board before soldering.
"""

_WIRING_NOTES = """\
Every signal is 3.3 V. All I2C parts hang on the same two wires, each with its own address; the bus runs at 100 kHz, as an SPS30
needs. An SPS30 is fed with 5 V, and its SEL lies on ground to choose I2C. The relay is wired normally closed: while its pin is low, or
open as during a reset, the coil has no current and the lamp is lit. A BL0937 lies at mains potential: **its three wires go through
optocouplers or an isolator, never straight to the board.**
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
        "",
        "## Wiring",
        "",
        _WIRING_NOTES,
    ]
    lines += chain.from_iterable(_board(board) for board in known)
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
        link = f"[{about.name}](#{about.id.replace('_', '-')}) `{about.id}`"
        yield _row(link, about.chip, f"{about.flash_mb} MB", psram, radio, fitted, open_pins or "none")


def _layouts(boards: list[Board]) -> Iterator[str]:
    tables = {board.board.flash_mb: board.partitions for board in boards}
    yield from _head("flash", "partition", "type", "from", "size")
    for flash, partitions in sorted(tables.items()):
        for part in partitions:
            kind = part.type if part.type == "app" else f"{part.type}, {part.subtype}"
            yield _row(f"{flash} MB", part.name, kind, f"{part.offset:#x}", f"{part.size >> 10} KB")


def _board(board: Board) -> Iterator[str]:
    about = board.board
    # The name of an anchor that does not depend on how a page's headings are turned into links.
    yield f'### <a id="{about.id.replace("_", "-")}"></a>{about.name}'
    yield ""
    prompt = "the chip's own USB port" if about.console == "usb" else "UART 0, on most boards behind a USB adapter"
    yield f"`{about.id}`, {about.maker}. The console is {prompt}."
    yield ""
    for note in about.notes:
        yield f"- {note}"
    if about.notes:
        yield ""
    yield from _head("signal", "GPIO", "connector", "ends at", "source")
    for name, pin in board.pins.items():
        yield _row(f"`{name}`", pin.gpio, pin.at or "", _ends(board, name), _source(board, name))
    yield ""
    if board.taken:
        taken = ", ".join(f"{gpio} ({use})" for gpio, use in sorted(board.taken.items()))
        yield f"Taken by the board itself: GPIO {taken}."
        yield ""
    for name, citation in board.sources.items():
        yield f"- *{name}*: {citation}"
    if board.sources:
        yield ""


def _ends(board: Board, name: str) -> str:
    signal = signals.find(name)
    ends = signal.ends if signal else ""
    bus = name.rpartition("_")[0]
    parts = [part.driver.upper() for part in board.fitted if part.bus == bus]
    return f"{ends} of {', '.join(parts)}" if parts else ends


def _source(board: Board, name: str) -> str:
    pin = board.pins[name]
    found = f"**{pin.source}**" if pin.source == checks.UNVERIFIED else f"*{pin.source}*"
    if pin.ours:
        found = f"ours: {pin.ours}; {found}"
    if pin.strapping:
        found += f"; strapping pin: {pin.strapping}"
    return found
