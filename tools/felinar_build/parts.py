"""What a part's own pins are called and where each is to go, for who solders it."""

from __future__ import annotations

from dataclasses import dataclass, field

V3 = "3V3"
V5 = "5V"
GND = "GND"


@dataclass(frozen=True)
class Part:
    """`pins`: (name on the part, net). A net is a supply, or the end of a signal's name: `sda` is `i2c0_sda` on bus `i2c0`."""

    title: str
    pins: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] = ()
    by_address: dict[int, tuple[str, str]] = field(default_factory=dict)
    """The pin that chooses the I2C address, and its net, for each address."""


_I2S = (("SCK", "sck"), ("WS", "ws"), ("SD", "sd"))

PARTS: dict[str, Part] = {
    "bh1750": Part(
        "BH1750 light",
        (("VCC", V3), ("GND", GND), ("SCL", "scl"), ("SDA", "sda")),
        ("Behind a window that lets the sky in, not the lamp's own light.",),
        {0x23: ("ADDR", GND), 0x5C: ("ADDR", V3)},
    ),
    "veml7700": Part("VEML7700 light", (("VDD", V3), ("GND", GND), ("SCL", "scl"), ("SDA", "sda"))),
    "bme280": Part(
        "BME280 climate",
        (("VDD", V3), ("GND", GND), ("SCL", "scl"), ("SDA", "sda"), ("CSB", V3)),
        ("CSB high chooses I2C (data sheet BST-BME280-DS001, section 6).",),
        {0x76: ("SDO", GND), 0x77: ("SDO", V3)},
    ),
    "sht4x": Part(
        "SHT4x climate",
        (("VDD", V3), ("VSS", GND), ("SCL", "scl"), ("SDA", "sda")),
        ("Its address is in its order code (SHT4x-A: 0x44, SHT4x-B: 0x45). Away from warm parts, in the draught.",),
    ),
    "scd41": Part(
        "SCD41 CO2",
        (("VDD", V3), ("GND", GND), ("SCL", "scl"), ("SDA", "sda")),
        ("Draws up to 205 mA for a moment while it measures (data sheet SCD4x): the 3.3 V supply must bear it.",),
    ),
    "sgp41": Part("SGP41 VOC, NOx", (("VDD", V3), ("VSS", GND), ("SCL", "scl"), ("SDA", "sda"))),
    "sps30": Part(
        "SPS30 particles",
        (("1 VDD", V5), ("2 SDA", "sda"), ("3 SCL", "scl"), ("4 SEL", GND), ("5 GND", GND)),
        ("Fed with 5 V; SEL on ground, before it is powered, chooses I2C (data sheet SPS30, pin assignment).",),
    ),
    "pms5003": Part(
        "PMS5003 particles",
        (("1 VCC", V5), ("2 GND", GND), ("4 RX", "tx"), ("5 TX", "rx")),
        ("SET and RESET stay open. Its fan needs 5 V; its signals are 3.3 V.",),
    ),
    "sds011": Part(
        "SDS011 particles",
        (("5V", V5), ("GND", GND), ("RXD", "tx"), ("TXD", "rx")),
        ("Its fan and laser need 5 V; its signals are 3.3 V.",),
    ),
    "ics43434": Part(
        "ICS-43434 microphone",
        (("VDD", V3), ("GND", GND), *_I2S, ("LR", GND)),
        (
            "LR on ground makes it the left channel, which is the one that is read. The hole behind a membrane that keeps water out.",
        ),
    ),
    "inmp441": Part(
        "INMP441 microphone",
        (("VDD", V3), ("GND", GND), *_I2S, ("L/R", GND)),
        (
            "L/R on ground makes it the left channel, which is the one that is read. The hole behind a membrane that keeps water out.",
        ),
    ),
    "bl0937": Part(
        "BL0937 power meter",
        (("CF", "cf"), ("CF1", "cf1"), ("SEL", "sel")),
        ("At mains potential: its three wires go through optocouplers or an isolator, its supply is its own.",),
    ),
}
PARTS["pms7003"] = Part(
    "PMS7003 particles", (("VCC", V5), ("GND", GND), ("RX", "tx"), ("TX", "rx")), PARTS["pms5003"].notes
)
PARTS["hlw8012"] = Part("HLW8012 power meter", PARTS["bl0937"].pins, PARTS["bl0937"].notes)

RELAY = Part(
    "Relay, normally closed",
    (("IN", "relay"), ("VCC", V5), ("GND", GND)),
    (
        "Phase of the mains to COM, the lamp to NC: without current in the coil, and while the board starts, the lamp is lit.",
        "IN is active high. A module that takes its coil's current from 5 V must accept 3.3 V as high.",
    ),
)
DIMMER = Part(
    "0-10 V dimmer",
    (("PWM", "dim"), ("GND", GND)),
    ("A filter and an amplifier by 3 make 0-10 V of the PWM (IEC 60929, annex E.2).",),
)
RADIO = Part(
    "LoRa radio",
    (
        ("3.3V", V3),
        ("GND", GND),
        ("SCK", "sck"),
        ("MISO", "miso"),
        ("MOSI", "mosi"),
        ("NSS", "cs"),
        ("RESET", "rst"),
        ("IRQ", "irq"),
        ("BUSY", "busy"),
        ("RXEN", "rxen"),
    ),
    ("IRQ is DIO1 of an SX126x, DIO0 of an SX127x. Never without its antenna.",),
)
