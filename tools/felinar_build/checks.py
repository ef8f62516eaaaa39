"""Everything in a board file that its chip cannot do or that nobody could build, one sentence each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from felinar_build import signals
from felinar_build.chips import CHIPS, Chip

if TYPE_CHECKING:
    from felinar_build.board import Board, Partition, Pin

BLOCK = 4096
APP_BLOCK = 0x10000
"""An application begins at a multiple of this (ESP-IDF, "Partition Tables")."""
TABLE_END = 0x9000
"""The partition table lies at 0x8000 and takes a block."""
OUTBOX_MIN = {4: 0x20000, 8: 0x80000, 16: 0x80000}
"""Bytes that the outbox needs at least, by MB of flash: 10 days, 40 days of reports every five minutes."""

_SPI = ("sck", "miso", "mosi", "cs", "rst", "irq")
_RADIO_PINS = {"sx1262": (*_SPI, "busy"), "sx1276": _SPI}
_BUS_PINS = {"i2c": ("sda", "scl"), "i2s": ("sck", "ws", "sd"), "uart": ("tx", "rx")}
_METER_PINS: dict[str, tuple[str, ...]] = dict.fromkeys(("bl0937", "hlw8012"), ("power_cf", "power_cf1", "power_sel"))
"""Where these drivers look when their entry says nothing else."""

UNVERIFIED = "unverified"
SIMULATOR = "simulator"
# A repository, a path in it and the commit; or a maker's document with its version.
_CITATION = re.compile(r"[\w.-]+/[\w.-]+ \S+ @ [0-9a-f]{12,40}( .+)?|schematic \S.* V?\d.*")


def faults(board: Board) -> list[str]:
    """What is wrong with a board file; empty when it is sound."""
    about = board.board
    chip = CHIPS.get(about.chip)
    if chip is None:
        return [f"unknown chip {about.chip!r}; known: {', '.join(CHIPS)}"]
    found = []
    if about.arch not in (chip.arch, "x64"):
        found.append(f"arch {about.arch!r} does not fit a {about.chip}, which needs {chip.arch!r}")
    found += _pins(board, chip)
    found += _sources(board)
    found += _partitions(board)
    found += _radio(board)
    found += _fitted(board)
    return found


def _pins(board: Board, chip: Chip) -> Iterator[str]:
    users: dict[int, str] = {}
    for name, pin in board.pins.items():
        signal = signals.find(name)
        if signal is None:
            yield f"pin {name}: there is no such signal; known: {signals.names()}"
            continue
        trouble = _impossible(board, chip, name, pin, signal.output)
        if trouble:
            yield f"pin {name}: {trouble}"
        if pin.gpio in users:
            yield f"pins {users[pin.gpio]} and {name} are both on GPIO {pin.gpio}"
        users[pin.gpio] = name
        if pin.ours is not None and not (pin.ours.strip() and (pin.at or "").strip()):
            yield f"pin {name}: wiring of ours must say why this pin (ours) and where it is (at)"


def _impossible(board: Board, chip: Chip, name: str, pin: Pin, output: bool) -> str | None:
    """Why this signal cannot be on this GPIO; the gravest reason alone."""
    about, gpio = board.board, pin.gpio
    here = f"GPIO {gpio} of the {about.chip}"
    psram = about.psram_octal if chip.octal_psram_only else about.psram_mb > 0
    if gpio not in chip.gpios:
        return f"the {about.chip} has no GPIO {gpio}"
    if gpio in chip.flash:
        return f"{here} belongs to the flash"
    if psram and gpio in chip.psram:
        return f"{here} belongs to the {'octal ' if chip.octal_psram_only else ''}PSRAM"
    if gpio in chip.usb:
        return f"{here} belongs to USB"
    if gpio in board.taken:
        return f"GPIO {gpio} is taken on this board: {board.taken[gpio]}"
    if output and gpio in chip.input_only:
        return f"{here} is input only"
    if gpio in chip.uart0:
        sends = gpio == chip.uart0[0]
        if about.console == "uart0":
            return f"{here} belongs to the console (UART 0)"
        if name == "relay":
            return f"{here} is UART 0, which speaks at every reset: the relay would move"
        if sends and not output:
            return f"{here} sends the boot log, against which an input cannot be driven"
    return _strapping(chip, name, pin, here)


def _strapping(chip: Chip, name: str, pin: Pin, here: str) -> str | None:
    decides = chip.strapping.get(pin.gpio)
    if decides is None:
        return f"{here} is not a strapping pin: leave `strapping` out" if pin.strapping else None
    if name == "relay":
        return f"{here} is a strapping pin: the relay would move at every reset"
    if not (pin.strapping or "").strip():
        return f"{here} is a strapping pin ({decides}): say in `strapping` why this does no harm"
    if pin.ours is not None and pin.gpio in chip.boot:
        return f"{here} decides whether the chip starts ({decides}): no wiring of ours there"
    return None


def _sources(board: Board) -> Iterator[str]:
    used = {pin.source for pin in board.pins.values()}
    for name, pin in board.pins.items():
        if pin.source == SIMULATOR and board.board.id.partition("_")[0] != "sim":
            yield f"pin {name}: only the simulated board has its pins from the simulator"
        elif pin.source not in (*board.sources, UNVERIFIED, SIMULATOR):
            known = ", ".join([*board.sources, UNVERIFIED])
            yield f"pin {name}: source {pin.source!r} is none of {known}"
    for name, citation in board.sources.items():
        if not _CITATION.fullmatch(citation):
            yield (
                f"source {name}: {citation!r} is neither 'owner/repository path @ commit' (12 digits or more) nor "
                "'schematic NAME VERSION'"
            )
        if name not in used:
            yield f"source {name}: no pin refers to it"


def _partitions(board: Board) -> Iterator[str]:
    end, before = TABLE_END, "the partition table"
    by_name: dict[str, Partition] = {}
    for part in sorted(board.partitions, key=lambda p: p.offset):
        if part.name in by_name:
            yield f"there are two partitions called {part.name}"
        by_name[part.name] = part
        if len(part.name.encode()) > 15:
            yield f"partition {part.name}: a name has at most 15 bytes"
        block = APP_BLOCK if part.type == "app" else BLOCK
        if part.offset % block or part.size % BLOCK or part.size <= 0:
            yield f"partition {part.name}: offset must be a multiple of {block:#x} and size whole blocks of {BLOCK} bytes"
        if part.offset < end:
            yield f"partition {part.name} overlaps {before}"
        end, before = part.offset + part.size, part.name
    flash = board.board.flash_mb
    if end > flash << 20:
        yield f"partition {before} ends behind the {flash} MB of flash"
    yield from _needed(by_name, flash)


def _needed(by_name: dict[str, Partition], flash: int) -> Iterator[str]:
    for name, kind, subtype in (
        ("nvs", "data", "nvs"),
        ("otadata", "data", "ota"),
        ("ota_0", "app", "ota_0"),
        ("ota_1", "app", "ota_1"),
        ("outbox", "data", "fat"),
        ("vfs", "data", "fat"),
    ):
        part = by_name.get(name)
        if part is None or (part.type, part.subtype) != (kind, subtype):
            yield f"there is no partition {name} ({kind}, {subtype})"
    slots = [by_name[name].size for name in ("ota_0", "ota_1") if name in by_name]
    if len(set(slots)) > 1:
        yield "the two application slots differ in size: an update would fit only one of them"
    need = OUTBOX_MIN.get(flash, 0x20000)
    if "outbox" in by_name and by_name["outbox"].size < need:
        yield f"partition outbox: at least {need:#x} bytes are needed with {flash} MB of flash"


def _radio(board: Board) -> Iterator[str]:
    if board.radio is None:
        if board.board.line.type == "radio":
            yield "the line is the radio, and there is no radio"
        return
    need = _RADIO_PINS.get(board.radio.chip)
    if need is None:
        yield f"unknown radio {board.radio.chip!r}; known: {', '.join(_RADIO_PINS)}"
        return
    for name in need:
        if f"radio_{name}" not in board.pins:
            yield f"radio {board.radio.chip}: there is no pin radio_{name}"


def _fitted(board: Board) -> Iterator[str]:
    places: dict[tuple[str, int], str] = {}
    if "relay" not in board.pins:
        yield "there is no pin relay: nothing could switch the lamp"
    for part in board.fitted:
        if part.bus is not None:
            wires = _BUS_PINS.get(part.bus.rstrip("0123456789"))
            if wires is None:
                yield f"fitted {part.driver}: bus {part.bus!r} is none of {', '.join(_BUS_PINS)} with its number"
            missing = [f"{part.bus}_{wire}" for wire in wires or () if f"{part.bus}_{wire}" not in board.pins]
            if missing:
                yield f"fitted {part.driver}: there is no pin {', '.join(missing)}"
        for pin in part.pins or _METER_PINS.get(part.driver, ()):
            if pin not in board.pins:
                yield f"fitted {part.driver}: there is no pin {pin}"
        if part.address is not None and part.bus is not None:
            other = places.setdefault((part.bus, part.address), part.driver)
            if other != part.driver:
                yield f"fitted {other} and {part.driver} share address {part.address:#04x} on {part.bus}"
