"""What a pin of a board file may be called: which way the signal goes, and where its wire ends."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Signal:
    """A kind of signal. `bus` is the name under which the board file's [[fitted]] entries refer to it."""

    pattern: str
    output: bool
    """The chip drives it, always or in turns."""
    ends: str
    """Where the wire ends, for who solders it."""


_SIGNALS = (
    Signal(r"relay", True, "coil driver of the relay"),
    Signal(r"dim", True, "filter and amplifier of the 0-10 V dimmer (PWM)"),
    Signal(r"power\d*_cf", False, "meter CF, energy pulses"),
    Signal(r"power\d*_cf1", False, "meter CF1, voltage or current pulses"),
    Signal(r"power\d*_sel", True, "meter SEL"),
    Signal(r"photocell", False, "photocell, switched"),
    Signal(r"zero_cross", False, "detector of the mains' zero crossing"),
    Signal(r"button", False, "push button, low when pressed"),
    Signal(r"led", True, "status LED"),
    Signal(r"vext_enable", True, "switch of the board's supply for what is connected"),
    Signal(r"i2c\d_sda", True, "SDA"),
    Signal(r"i2c\d_scl", True, "SCL"),
    Signal(r"i2s\d_sck", True, "SCK, bit clock"),
    Signal(r"i2s\d_ws", True, "WS, word select"),
    Signal(r"i2s\d_sd", False, "SD, data"),
    Signal(r"uart\d_tx", True, "RX of the other end"),
    Signal(r"uart\d_rx", False, "TX of the other end"),
    Signal(r"radio_sck", True, "radio SCK"),
    Signal(r"radio_miso", False, "radio MISO"),
    Signal(r"radio_mosi", True, "radio MOSI"),
    Signal(r"radio_cs", True, "radio NSS"),
    Signal(r"radio_rst", True, "radio RESET"),
    Signal(r"radio_irq", False, "radio DIO1 (SX126x) or DIO0 (SX127x)"),
    Signal(r"radio_busy", False, "radio BUSY"),
    Signal(r"radio_rxen", True, "antenna switch, high to receive"),
    Signal(r"radio_power", True, "supply of the radio or its antenna switch, high switches on"),
)


def find(name: str) -> Signal | None:
    """The signal that a pin's name stands for; None when nobody knows that name."""
    return next((signal for signal in _SIGNALS if re.fullmatch(signal.pattern, name)), None)


def names() -> str:
    """All names in one line, a digit written as N."""
    return ", ".join(signal.pattern.replace(r"\d*", "").replace(r"\d", "N") for signal in _SIGNALS)
