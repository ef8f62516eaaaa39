"""docs/wiring/<board>.md and .svg from the board files: every wire that whoever builds the lamp has to lay."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape

from felinar_build import checks, signals
from felinar_build.board import Board, Fitted
from felinar_build.parts import DIMMER, GND, PARTS, RADIO, RELAY, V3, V5, Part

_RULES = """\
## Before the first wire

- Every signal is 3.3 V. Solder with nothing plugged in; lay the wire of GND first.
- **Mains kills.** Relay contacts, lamp and power meter are work for an electrician, behind a cover that needs a tool. The wires of a BL0937 or
  HLW8012 are at mains potential: optocouplers or an isolator, never straight to the board, and never with a laptop at the USB socket.
- All I2C parts hang on the same two wires, each with its own address. They want one pair of pull-up resistors to 3V3, 2.2 to 10 kilohms; most
  breakouts bring theirs. The bus runs at 100 kHz, as an SPS30 needs; keep it under half a metre.
- The relay is wired normally closed: while its pin is low, or open as during a reset, the coil has no current and the lamp is lit.
- What is not there may be left out: a sensor that does not answer is reported as missing by `felinar selftest`, and the others go on.
"""

_COLOURS = {V3: "#d62728", V5: "#e67e00", GND: "#222222"}
_PALETTE = (
    "#1f77b4",
    "#2ca02c",
    "#9467bd",
    "#8c564b",
    "#17a2b8",
    "#c71585",
    "#6b8e23",
    "#483d8b",
    "#b8860b",
    "#008b6b",
    "#a0522d",
    "#4169e1",
    "#7b3f9e",
    "#556b2f",
    "#b03060",
    "#2f6f8f",
    "#8a6d00",
    "#5f5f9f",
)
_ROW, _HEAD, _GAP = 20, 24, 12  # head + 4 + gap is a multiple of the row: see `top`
_LEFT, _BOARD, _PART = 10, 285, 230
_STEP = 11


@dataclass(frozen=True)
class Block:
    """A part as it is wired on one board: `pins` are (name on the part, name of the board's pin or of the supply)."""

    part: Part
    pins: tuple[tuple[str, str], ...]
    isolated: bool = False


def blocks(board: Board) -> list[Block]:
    """The parts to be wired, in the order of the page."""
    found = []
    radio = {name: pin for name, pin in board.pins.items() if name.startswith("radio_")}
    if any(pin.ours for pin in radio.values()):
        found.append(_block(board, RADIO, "radio"))
    found += [_fitted(board, entry) for entry in board.fitted]
    if "relay" in board.pins:
        found.append(_block(board, RELAY, ""))
    if "dim" in board.pins:
        found.append(_block(board, DIMMER, ""))
    return found


def _fitted(board: Board, entry: Fitted) -> Block:
    part = PARTS[entry.driver]
    if entry.counter is not None:
        names = entry.pins or ["power_cf", "power_cf1", "power_sel"]
        return Block(part, tuple(zip((name for name, _ in part.pins), names, strict=True)), isolated=True)
    block = _block(board, part, entry.bus or "")
    address = part.by_address.get(entry.address or 0)
    return Block(part, (*block.pins, address)) if address else block


def _block(board: Board, part: Part, bus: str) -> Block:
    pins = []
    for name, net in part.pins:
        signal = f"{bus}_{net}" if bus else net
        if net in _COLOURS:
            pins.append((name, net))
        elif signal in board.pins:
            pins.append((name, signal))
    return Block(part, tuple(pins))


def pages(boards: Iterable[Board]) -> dict[str, str]:
    """File names under docs/wiring, and what stands in them; simulated boards have no wires."""
    real = [board for board in sorted(boards, key=lambda board: board.board.id) if not simulated(board)]
    made = {}
    for board in real:
        made[f"{board.board.id}.md"] = page(board)
        made[f"{board.board.id}.svg"] = picture(board)
    return made


def simulated(board: Board) -> bool:
    """Nobody solders it."""
    return all(pin.source == "simulator" for pin in board.pins.values())


def page(board: Board) -> str:
    """The page of one board."""
    about = board.board
    prompt = "the chip's own USB port" if about.console == "usb" else "UART 0, on most boards behind a USB adapter"
    lines = [
        f"# Wiring: {about.name}",
        "",
        f"Made from `boards/{about.id}/board.toml` by `python -m felinar_build boards --readme`; change that, not this page.",
        "",
        f"`felinar flash --board {about.id}`. {about.chip.upper()}, {about.flash_mb} MB of flash; the console is {prompt}.",
        "",
        *(f"- {note}" for note in about.notes),
        *([""] if about.notes else []),
        f"![Every wire between {about.name} and what is fitted]({about.id}.svg)",
        "",
        _RULES,
        "## Part by part",
        "",
    ]
    for block in blocks(board):
        lines += [*_table(board, block), ""]
    lines += ["## Every signal of the board", "", *_signals(board), ""]
    if board.taken:
        taken = ", ".join(f"{gpio} ({use})" for gpio, use in sorted(board.taken.items()))
        lines += [f"Taken by the board itself: GPIO {taken}.", ""]
    lines += [f"- *{name}*: {citation}" for name, citation in board.sources.items()]
    return "\n".join(lines).rstrip("\n") + "\n"


def _table(board: Board, block: Block) -> Iterator[str]:
    yield f"### {block.part.title}"
    yield ""
    yield "| pin of the part | goes to | GPIO |"
    yield "|---|---|---|"
    for name, net in block.pins:
        pin = board.pins.get(net)
        through = " through an isolator" if block.isolated else ""
        if pin is None:
            yield f"| {name} | {net} | |"
        else:
            yield f"| {name} | {pin.at or 'wired by the maker'}{through} | {pin.gpio} |"
    yield ""
    for note in block.part.notes:
        yield f"- {note}"


def _signals(board: Board) -> Iterator[str]:
    yield "A source is a published board definition or a schematic. *Ours* is a wire that we chose: the reason is why to that pin, and the"
    yield "source shows that the pin is broken out. **unverified**: no such source was found; look at the board before soldering."
    yield ""
    yield "| signal | GPIO | connector | ends at | source |"
    yield "|---|---|---|---|---|"
    for name, pin in board.pins.items():
        found = f"**{pin.source}**" if pin.source == checks.UNVERIFIED else f"*{pin.source}*"
        if pin.ours:
            found = f"ours: {pin.ours}; {found}"
        if pin.strapping:
            found += f"; strapping pin: {pin.strapping}"
        cells = (f"`{name}`", pin.gpio, pin.at or "", _ends(board, name), found)
        yield "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _ends(board: Board, name: str) -> str:
    signal = signals.find(name)
    ends = signal.ends if signal else ""
    bus = name.rpartition("_")[0]
    parts = [part.driver.upper() for part in board.fitted if part.bus == bus]
    return f"{ends} of {', '.join(parts)}" if parts else ends


# The picture: the board at the left, the parts at the right, one vertical line for each net between them.


def picture(board: Board) -> str:
    """An SVG of `blocks`; colours tell nets apart, dots are joints."""
    parts = blocks(board)
    nets = list(dict.fromkeys(net for block in parts for _, net in block.pins))
    nets.sort(key=lambda net: (net not in _COLOURS, list(_COLOURS).index(net) if net in _COLOURS else 0))
    signal = iter(_PALETTE * 2)
    colours = {net: _COLOURS.get(net) or next(signal) for net in nets}
    right = _LEFT + _BOARD + _STEP * (len(nets) + 2)
    width = right + _PART + _LEFT
    ends: dict[str, list[tuple[int, int]]] = {net: [] for net in nets}
    out: list[str] = []

    y = 40
    for block in parts:
        tall = _HEAD + _ROW * len(block.pins) + 4
        dash = ' stroke-dasharray="6 4"' if block.isolated else ""
        edge = "#d62728" if block.isolated else "#444"
        out.append(_rect(right, y, _PART, tall, "#f4f7fb", edge, dash))
        title = block.part.title + (" (isolate!)" if block.isolated else "")
        out.append(_text(right + 10, y + 16, title, bold=True))
        for i, (name, net) in enumerate(block.pins):
            at = y + _HEAD + _ROW * i + _ROW // 2
            out.append(_text(right + 10, at + 4, name))
            ends[net].append((right, at))
        y += tall + _GAP
    bottom = y

    tall = _HEAD + _ROW * len(nets) + 4
    top = max(40, (bottom - tall) // 2) // _ROW * _ROW + _ROW // 2  # so that no line lies on that of a part
    height = max(bottom, top + tall + _GAP)
    out.append(_rect(_LEFT, top, _BOARD, tall, "#eef6ee", "#444", ""))
    out.append(_text(_LEFT + 10, top + 16, board.board.name, bold=True))
    for i, net in enumerate(nets):
        at = top + _HEAD + _ROW * i + _ROW // 2
        pin = board.pins.get(net)
        label = net if pin is None else _short(net, pin.gpio, pin.at)
        mark = pin is not None and pin.source == checks.UNVERIFIED
        out.append(_text(_LEFT + 10, at + 4, label + (" ?" if mark else "")))
        ends[net].append((_LEFT + _BOARD, at))

    for i, net in enumerate(nets):
        x = _LEFT + _BOARD + _STEP * (i + 1) + _STEP // 2
        heights = [at for _, at in ends[net]]
        lines = [f"M{x} {min(heights)}V{max(heights)}"]
        lines += [f"M{side} {at}H{x}" for side, at in ends[net]]
        out.append(f'<path d="{"".join(lines)}" stroke="{colours[net]}" stroke-width="2" fill="none"/>')
        for side, at in ends[net]:
            out.append(f'<circle cx="{x}" cy="{at}" r="3" fill="{colours[net]}"/>')
            out.append(f'<circle cx="{side}" cy="{at}" r="3" fill="{colours[net]}"/>')
    caption = "3V3 red, 5V orange, GND black. A dot is a joint; lines that cross without one do not touch."
    if any(pin.source == checks.UNVERIFIED for pin in board.pins.values()):
        caption += " ?: compare with the print on the board."
    out.append(_text(_LEFT, 20, caption))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {max(width, 640)} {height}" '
        'font-family="sans-serif" font-size="12" role="img">\n'
        f"<title>Wiring of {escape(board.board.name)}</title>\n"
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n' + "\n".join(out) + "\n</svg>\n"
    )


def _short(net: str, gpio: int, at: str | None) -> str:
    return f"GPIO {gpio}" + (f", {re.sub(r'pin ', '', at)}" if at else "") + f" · {net}"


def _rect(x: int, y: int, w: int, h: int, fill: str, edge: str, more: str) -> str:
    return f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="6" fill="{fill}" stroke="{edge}"{more}/>'


def _text(x: int, y: int, text: str, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x}" y="{y}"{weight} fill="#111">{escape(text)}</text>'
