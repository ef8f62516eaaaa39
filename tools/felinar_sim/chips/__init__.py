"""Chip models at register level, written from the data sheets, and `build`, which makes the one a board names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from felinar_sim.chips.base import (
    AudioSource,
    Chip,
    ChipError,
    I2cChip,
    Nack,
    PinListener,
    PulseSource,
    PwmListener,
    UartChip,
)
from felinar_sim.chips.bh1750 import Bh1750
from felinar_sim.chips.bme280 import Bme280
from felinar_sim.chips.lamp import Lamp, LampType
from felinar_sim.chips.meter import BL0937, HLW8012, Meter, MeterType
from felinar_sim.chips.microphone import ICS43434, INMP441, Microphone, MicrophoneType
from felinar_sim.chips.pms import Pms
from felinar_sim.chips.radio import Emission, LoraRadio, Tuning
from felinar_sim.chips.scd41 import Scd41
from felinar_sim.chips.sds011 import Sds011
from felinar_sim.chips.sgp41 import Sgp41
from felinar_sim.chips.sht4x import Sht4x
from felinar_sim.chips.sps30 import Sps30
from felinar_sim.chips.sx126x import Sx126x
from felinar_sim.chips.sx127x import Sx127x
from felinar_sim.chips.veml7700 import Veml7700
from felinar_sim.conditions import Conditions, Surroundings

__all__ = [
    "AudioSource",
    "Chip",
    "ChipError",
    "Conditions",
    "Emission",
    "I2cChip",
    "Lamp",
    "LampType",
    "LoraRadio",
    "Nack",
    "PinListener",
    "PulseSource",
    "PwmListener",
    "Surroundings",
    "Tuning",
    "UartChip",
    "build",
    "drivers",
    "radio",
]

Entry = Mapping[str, Any]
_Builder = Callable[[Entry, Surroundings, Lamp | None, int | str], Chip]


def _i2c(model: Callable[..., I2cChip]) -> _Builder:
    def make(entry: Entry, surroundings: Surroundings, lamp: Lamp | None, seed: int | str) -> Chip:
        return model(surroundings, entry.get("address"), seed)

    return make


def _meter(kind: MeterType) -> _Builder:
    def make(entry: Entry, surroundings: Surroundings, lamp: Lamp | None, seed: int | str) -> Chip:
        if lamp is None:
            raise ChipError(f"the meter {entry.get('driver')!r} needs a lamp to measure")
        shunt_ohm, divider = entry.get("shunt_uohm", 1000) * 1e-6, entry.get("divider", 1961)
        return Meter(surroundings, lamp, kind, shunt_ohm=shunt_ohm, divider=divider, seed=seed)

    return make


def _microphone(kind: MicrophoneType) -> _Builder:
    def make(entry: Entry, surroundings: Surroundings, lamp: Lamp | None, seed: int | str) -> Chip:
        return Microphone(surroundings, kind, int(entry.get("rate", 48_000)), seed=seed)

    return make


def _uart(model: Callable[..., UartChip]) -> _Builder:
    def make(entry: Entry, surroundings: Surroundings, lamp: Lamp | None, seed: int | str) -> Chip:
        return model(surroundings, seed=seed)

    return make


_BUILDERS: dict[str, _Builder] = {
    "bh1750": _i2c(Bh1750),
    "bme280": _i2c(Bme280),
    "bl0937": _meter(BL0937),
    "hlw8012": _meter(HLW8012),
    "ics43434": _microphone(ICS43434),
    "inmp441": _microphone(INMP441),
    "pms5003": _uart(Pms),
    "pms7003": _uart(Pms),
    "scd41": _i2c(Scd41),
    "sds011": _uart(Sds011),
    "sgp41": _i2c(Sgp41),
    "sht4x": _i2c(Sht4x),
    "sps30": _i2c(Sps30),
    "veml7700": _i2c(Veml7700),
}


def drivers() -> list[str]:
    """Names of the drivers that have a model."""
    return sorted(_BUILDERS)


def build(entry: Entry, surroundings: Surroundings, *, lamp: Lamp | None = None, seed: int | str = 0) -> Chip:
    """The model for one `fitted` entry of a board file, in its power-on state.

    `lamp` is the luminaire on the board, which a meter measures; `seed` sets the noise of this unit. Raises ChipError
    when there is no model for the entry's driver or the entry does not fit it.
    """
    name = entry.get("driver")
    builder = _BUILDERS.get(str(name))
    if builder is None:
        raise ChipError(f"no chip model for driver {name!r}; there are models for {', '.join(drivers())}")
    return builder(entry, surroundings, lamp, f"{seed}/{name}")


def radio(about: Entry, pins: Mapping[str, int], *, seed: int | str = 0) -> LoraRadio:
    """The transceiver that a board has: `about` is the [radio] table of its file, `pins` the numbers of its pins by name.

    Raises ChipError when there is no model for the chip.
    """
    chip = str(about.get("chip"))
    rxen, power_pin = "radio_rxen" in pins, "radio_power" in pins
    if chip in ("sx1261", "sx1262"):
        return Sx126x(
            sx1261=chip == "sx1261",
            tcxo_mv=about.get("tcxo_mv"),
            dio2_switch=bool(about.get("dio2_switch")),
            rxen=rxen,
            power_pin=power_pin,
            seed=seed,
        )
    if chip in ("sx1276", "sx1277", "sx1278", "sx1279"):
        return Sx127x(tcxo=bool(about.get("tcxo_mv")), rxen=rxen, power_pin=power_pin, seed=seed)
    raise ChipError(f"no model of the radio {chip!r}")
