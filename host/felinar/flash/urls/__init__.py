"""pySerial's URL handlers of ours: put in front of its own with `use()`."""

from __future__ import annotations

import serial


def use() -> None:
    """From now on pySerial opens rfc2217:// URLs with the handler of this package."""
    if __name__ not in serial.protocol_handler_packages:
        serial.protocol_handler_packages.insert(0, __name__)
