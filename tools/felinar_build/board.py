"""Reads and checks a board file (boards/<id>/board.toml) and derives the node's board.json from it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from felinar_build import checks
from felinar_build.modules import ROOT


class BoardError(Exception):
    """A board file is missing, unreadable or contradicts its chip; the message is one sentence for the user."""


class Pin(msgspec.Struct, forbid_unknown_fields=True):
    """A GPIO and where the number comes from."""

    gpio: int
    source: str
    """A name under [sources], or `unverified`. With `ours`, what shows that the pin is broken out."""
    at: str | None = None
    """Connector and position; None where the board's maker has wired it."""
    ours: str | None = None
    """The wire is ours to solder: why to this pin."""
    strapping: str | None = None
    """Why a signal on a strapping pin does no harm at reset."""


class Partition(msgspec.Struct, forbid_unknown_fields=True):
    """One entry of the partition table; offset and size in bytes (ESP-IDF partition tables)."""

    name: str
    type: str
    subtype: str
    offset: int
    size: int


_Positive = Annotated[float, msgspec.Meta(gt=0)]


class Fitted(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One part on the board: the driver that reads it, the bus it hangs on, and what drivers understand beside (docs/adding-a-sensor.md)."""

    driver: str
    bus: str | None = None
    address: Annotated[int, msgspec.Meta(ge=0x08, le=0x77)] | None = None
    period_ms: Annotated[int, msgspec.Meta(ge=100, le=3_600_000)] | None = None
    rate: Annotated[int, msgspec.Meta(gt=0)] | None = None
    dbfs: Annotated[float, msgspec.Meta(ge=-60, le=0)] | None = None
    altitude_m: Annotated[int, msgspec.Meta(ge=0, le=5000)] | None = None
    period_min: Annotated[int, msgspec.Meta(ge=0, le=30)] | None = None
    fields: list[str] | None = None
    counter: Annotated[int, msgspec.Meta(ge=0)] | None = None
    pins: list[str] | None = None
    divider: _Positive | None = None
    shunt_uohm: _Positive | None = None
    gain: _Positive | None = None


class Line(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The way to the host: `console` (USB or UART 0), `uart` with its number and baud rate, or `radio`, on a lamp node."""

    type: str
    uart: int | None = None
    baud: int | None = None


class Radio(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The LoRa chip and its board-dependent settings; its pins stand under [pins] with the prefix `radio_`."""

    chip: str
    tcxo_mv: int | None = None
    dio2_switch: bool | None = None


class About(msgspec.Struct, forbid_unknown_fields=True):
    """The [board] table."""

    id: str
    name: str
    maker: str
    chip: str
    arch: str
    flash_mb: int
    psram_mb: int
    line: Line
    relay_normally_closed: bool = True
    psram_octal: bool = False
    console: Literal["uart0", "usb"] = "uart0"
    """Where MicroPython's prompt is: a USB adapter on UART 0, or the USB port of the chip itself."""
    notes: list[str] = []
    """What who builds it must know beside the wiring, a sentence each."""


class Board(msgspec.Struct, forbid_unknown_fields=True):
    """A whole board file."""

    board: About
    pins: dict[str, Pin]
    sources: dict[str, str] = {}
    """Schematics and published board definitions that pins refer to."""
    taken: dict[int, str] = {}
    """GPIOs that the board uses for something else, and for what."""
    partitions: list[Partition] = []
    fitted: list[Fitted] = []
    radio: Radio | None = None


LAYOUTS = ROOT / "boards" / "partitions.toml"
"""Partition tables by flash size, for boards that have none of their own."""


def load(path: Path) -> Board:
    """Read and check a board file; raises BoardError with one sentence that names the file and the fault."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise BoardError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        board = msgspec.convert(tomllib.loads(text.decode()), Board, str_keys=True)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise BoardError(f"{path}: {error}") from error
    if not board.partitions:
        board.partitions = _layout(board.board.flash_mb)
    for fault in checks.faults(board):
        raise BoardError(f"{path}: {fault}")
    return board


def _layout(flash_mb: int) -> list[Partition]:
    try:
        layouts = tomllib.loads(LAYOUTS.read_text())["layouts"]
        return msgspec.convert(layouts.get(str(flash_mb), []), list[Partition])
    except (OSError, KeyError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise BoardError(f"{LAYOUTS}: {error}") from error


def load_all(root: Path) -> list[Board]:
    """Every board under `root` (the boards folder), by id; raises BoardError at the first unsound one."""
    return [load(path) for path in sorted(root.glob("*/board.toml"))]


def find(root: Path, board_id: str) -> Path:
    """Path of a board's file under `root` (the boards folder); raises BoardError that lists the known boards."""
    path = root / board_id / "board.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.parent.name for p in root.glob("*/board.toml"))) or "none"
        raise BoardError(f"there is no board called {board_id!r} in {root}; known boards: {known}")
    return path


def node_json(board: Board) -> str:
    """The board.json that the node reads: pins by name, what is fitted, the wired line."""
    about = board.board
    content: dict[str, Any] = {
        "id": about.id,
        "pins": {name: pin.gpio for name, pin in board.pins.items()},
        "relay_normally_closed": about.relay_normally_closed,
        "line": msgspec.to_builtins(about.line),
        "fitted": msgspec.to_builtins(board.fitted),
    }
    if board.radio:
        content["radio"] = msgspec.to_builtins(board.radio)
    return json.dumps(content, separators=(",", ":")) + "\n"
