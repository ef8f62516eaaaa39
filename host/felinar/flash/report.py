"""What is told of every board that was written, whatever it was made."""

from __future__ import annotations

import msgspec

from felinar.flash.prove import Part
from felinar.flash.writer import Written


class Report(msgspec.Struct, frozen=True):
    """One board; `parts` are those that were tried, `times` seconds by stage."""

    port: str
    board: str
    mac: str
    chip: str
    flash_mb: float
    firmware: str
    firmware_sha256: str
    image_sha256: str
    image_bytes: int
    written: Written
    parts: tuple[Part, ...]
    times: dict[str, float]
