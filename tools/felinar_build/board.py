"""Reads and checks a board file (boards/<id>/board.toml) and derives the node's board.json from it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any

import msgspec


class BoardError(Exception):
    """A board file is missing, unreadable or contradicts its chip; the message is one sentence for the user."""


class Pin(msgspec.Struct, forbid_unknown_fields=True):
    """A GPIO and where the number comes from: a schematic or published board definition, or the word `unverified`."""

    gpio: int
    source: str


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
    """The wired line: `console` (USB or UART 0) or `uart` with its number and baud rate."""

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


class Board(msgspec.Struct, forbid_unknown_fields=True):
    """A whole board file."""

    board: About
    pins: dict[str, Pin]
    partitions: list[Partition] = []
    fitted: list[Fitted] = []
    radio: Radio | None = None


ARCHES = {"esp32": "xtensawin", "esp32s3": "xtensawin", "esp32c3": "rv32imc", "esp32c6": "rv32imc"}
"""mpy-cross architecture of each chip (MicroPython, mpy-cross -march)."""

# ESP32 data sheet v4 table 2-2 and section 2.4, ESP32-S3 v1.9 tables 2-4 and section 2.6, ESP32-C3 v1.8 table 2-3.
_GPIOS = {"esp32": range(40), "esp32s3": range(49), "esp32c3": range(22), "esp32c6": range(31)}
_ABSENT = {"esp32": {20, 24, 28, 29, 30, 31}, "esp32s3": {22, 23, 24, 25}, "esp32c3": set(), "esp32c6": set()}
_INPUT_ONLY = {"esp32": {34, 35, 36, 37, 38, 39}, "esp32s3": set(), "esp32c3": set(), "esp32c6": set()}
_STRAPPING = {"esp32": {0, 2, 5, 12, 15}, "esp32s3": {0, 3, 45, 46}, "esp32c3": {2, 8, 9}, "esp32c6": {8, 9, 15}}
_FLASH = {
    "esp32": set(range(6, 12)),
    "esp32s3": set(range(26, 33)),
    "esp32c3": set(range(12, 18)),
    "esp32c6": set(range(24, 31)),
}
_OUTPUTS = ("relay", "dim", "power_sel", "i2c", "i2s0_sck", "i2s0_ws", "radio_sck", "radio_mosi", "radio_cs")
BLOCK = 4096


def load(path: Path) -> Board:
    """Read and check a board file; raises BoardError with one sentence that names the file and the fault."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise BoardError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        board = msgspec.convert(tomllib.loads(text.decode()), Board)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise BoardError(f"{path}: {error}") from error
    for fault in faults(board):
        raise BoardError(f"{path}: {fault}")
    return board


def find(root: Path, board_id: str) -> Path:
    """Path of a board's file under `root` (the boards folder); raises BoardError that lists the known boards."""
    path = root / board_id / "board.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.parent.name for p in root.glob("*/board.toml"))) or "none"
        raise BoardError(f"there is no board called {board_id!r} in {root}; known boards: {known}")
    return path


def faults(board: Board) -> list[str]:
    """Everything in a board file that its chip cannot do, one sentence each; empty when it is sound."""
    chip = board.board.chip
    if chip not in ARCHES:
        return [f"unknown chip {chip!r}; known: {', '.join(ARCHES)}"]
    found = []
    if board.board.arch not in (ARCHES[chip], "x64"):
        found.append(f"arch {board.board.arch!r} does not fit a {chip}, which needs {ARCHES[chip]!r}")
    users: dict[int, str] = {}
    for name, pin in board.pins.items():
        gpio = pin.gpio
        if gpio not in _GPIOS[chip] or gpio in _ABSENT[chip]:
            found.append(f"pin {name}: {chip} has no GPIO {gpio}")
        elif gpio in _FLASH[chip]:
            found.append(f"pin {name}: GPIO {gpio} of the {chip} belongs to the flash")
        elif board.board.psram_octal and chip == "esp32s3" and 33 <= gpio <= 37:
            found.append(f"pin {name}: GPIO {gpio} belongs to the octal PSRAM")
        elif gpio in _INPUT_ONLY[chip] and name.startswith(_OUTPUTS):
            found.append(f"pin {name}: GPIO {gpio} of the {chip} is input only")
        elif gpio in _STRAPPING[chip] and name == "relay":
            found.append(f"pin relay: GPIO {gpio} is a strapping pin: the relay would move at every reset")
        if gpio in users:
            found.append(f"pins {users[gpio]} and {name} are both on GPIO {gpio}")
        users[gpio] = name
        if not pin.source.strip():
            found.append(f"pin {name}: says no source (a schematic, a board definition, or 'unverified')")
    found += _partition_faults(board)
    found += _fitted_faults(board)
    return found


def _partition_faults(board: Board) -> list[str]:
    found = []
    end, before = 0x9000, "the partition table"
    for part in sorted(board.partitions, key=lambda p: p.offset):
        if part.offset % BLOCK or part.size % BLOCK or part.size <= 0:
            found.append(f"partition {part.name}: offset and size must be whole blocks of {BLOCK} bytes")
        if part.offset < end:
            found.append(f"partition {part.name} overlaps {before}")
        end, before = part.offset + part.size, part.name
    if end > board.board.flash_mb << 20:
        found.append(f"partition {before} ends behind the {board.board.flash_mb} MB of flash")
    return found


def _fitted_faults(board: Board) -> list[str]:
    found = []
    places: dict[tuple[str, int], str] = {}
    for part in board.fitted:
        if part.bus is not None and not any(name.startswith(part.bus + "_") for name in board.pins):
            found.append(f"fitted {part.driver}: no pins are named {part.bus}_*")
        for pin in part.pins or ():
            if pin not in board.pins:
                found.append(f"fitted {part.driver}: there is no pin called {pin!r}")
        if part.address is not None and part.bus is not None:
            other = places.setdefault((part.bus, part.address), part.driver)
            if other != part.driver:
                found.append(f"fitted {other} and {part.driver} share address {part.address:#04x} on {part.bus}")
    return found


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
