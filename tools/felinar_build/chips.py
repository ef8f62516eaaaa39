"""What the pins of each chip can do and must not be used for: the facts that board files are checked against.

Sources: the GPIO summaries of the ESP-IDF programming guide (espressif/esp-idf docs/en/api-reference/peripherals/gpio/
esp32.inc @ 0f42b6c4f384, esp32s3.inc @ 01a253afaf05, esp32c3.inc @ 05037957c7c3, esp32c6.inc @ 28f12230aec5) and the
section "Boot Configurations" (formerly "Strapping Pins") of each chip's data sheet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Chip:
    """The GPIOs of one chip; a number that is in none of the sets is free for anything."""

    arch: str
    """mpy-cross architecture."""
    gpios: frozenset[int]
    flash: frozenset[int]
    """Wired to the flash that the program runs from."""
    usb: frozenset[int]
    """USB D- and D+; as GPIOs they would switch the built-in USB serial port off."""
    uart0: tuple[int, int]
    """Transmit and receive of UART 0: boot log, and the console where there is no built-in USB."""
    strapping: Mapping[int, str]
    """Level at reset decides something: what."""
    boot: frozenset[int]
    """Those of the strapping pins with which a wrong level keeps the chip from starting its program."""
    input_only: frozenset[int] = frozenset()
    psram: frozenset[int] = frozenset()
    """Taken too where there is a PSRAM outside of the chip's package or an octal one."""
    octal_psram_only: bool = field(default=False)
    """`psram` applies to octal PSRAM alone."""


def _range(first: int, last: int) -> frozenset[int]:
    return frozenset(range(first, last + 1))


CHIPS = {
    "esp32": Chip(
        arch="xtensawin",
        gpios=_range(0, 39) - {20, 24} - _range(28, 31),
        flash=_range(6, 11),
        usb=frozenset(),
        uart0=(1, 3),
        strapping={
            0: "download mode when low",
            2: "download mode needs it low or open",
            5: "timing of the SDIO slave",
            12: "1.8 V for the flash when high",
            15: "boot log silent when low",
        },
        boot=frozenset({0, 12}),
        input_only=_range(34, 39),
        psram=frozenset({16, 17}),
    ),
    "esp32s3": Chip(
        arch="xtensawin",
        gpios=_range(0, 48) - _range(22, 25),
        flash=_range(26, 32),
        usb=frozenset({19, 20}),
        uart0=(43, 44),
        strapping={
            0: "download mode when low",
            3: "where JTAG comes from, if an eFuse asks for it",
            45: "1.8 V for the flash when high",
            46: "download mode needs it low or open",
        },
        boot=frozenset({0, 45}),
        psram=_range(33, 37),
        octal_psram_only=True,
    ),
    "esp32c3": Chip(
        arch="rv32imc",
        gpios=_range(0, 21),
        flash=_range(12, 17),
        usb=frozenset({18, 19}),
        uart0=(21, 20),
        strapping={
            2: "must be high at reset",
            8: "download mode needs it high",
            9: "download mode when low",
        },
        boot=frozenset({2, 9}),
    ),
    "esp32c6": Chip(
        arch="rv32imc",
        gpios=_range(0, 30),
        flash=_range(24, 30),
        usb=frozenset({12, 13}),
        uart0=(16, 17),
        strapping={
            4: "timing of the SDIO slave",
            5: "timing of the SDIO slave",
            8: "download mode needs it high",
            9: "download mode when low",
            15: "where JTAG comes from, if an eFuse asks for it",
        },
        boot=frozenset({9}),
    ),
}
