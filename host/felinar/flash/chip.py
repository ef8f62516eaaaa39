"""What is behind a port, and whether a board file fits it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from felinar.flash.catalogue import FlashError

if TYPE_CHECKING:
    from felinar_build.board import Board

    from felinar.flash.ports import Port

NAMES = {"ESP32": "esp32", "ESP32-S3": "esp32s3", "ESP32-C3": "esp32c3", "ESP32-C6": "esp32c6"}
"""esptool's names, and those of board files."""


class Chip(msgspec.Struct, frozen=True):
    """`psram_mb` is None where the chip does not tell (an ESP32's PSRAM is a part beside it)."""

    name: str
    mac: str
    """Six bytes in hex, as the node's `uid`."""
    flash_mb: float
    description: str = ""
    psram_mb: int | None = None
    features: tuple[str, ...] = ()
    locked: str = ""
    """What eFuses have locked; empty on a board that can be used."""


def detect(port: Port) -> Chip:
    """Ask the chip who it is; it is reset twice. Raises FlashError."""
    from felinar.flash.writer import Writer

    with Writer(port) as writer:
        return writer.chip


def require(board: Board, chip: Chip) -> None:
    """Raises FlashError unless this board file is for a board with this chip: wrong-chip, wrong-flash, wrong-psram, locked-chip."""
    about = board.board
    if chip.locked:
        raise FlashError("locked-chip", f"This {chip.description or chip.name} is locked: {chip.locked}.")
    if chip.name != about.chip:
        raise FlashError(
            "wrong-chip", f"The board file {about.id} is for an {about.chip}, and this board has an {chip.name}."
        )
    if chip.flash_mb < about.flash_mb:
        raise FlashError(
            "wrong-flash",
            f"The board file {about.id} is for {about.flash_mb} MB of flash, and this board has {chip.flash_mb:g} MB.",
        )
    if chip.psram_mb is not None and chip.psram_mb != about.psram_mb:
        has = f"{chip.psram_mb} MB" if chip.psram_mb else "none"
        wants = f"{about.psram_mb} MB of PSRAM" if about.psram_mb else "a board without PSRAM"
        raise FlashError("wrong-psram", f"The board file {about.id} is for {wants}, and this board has {has}.")
