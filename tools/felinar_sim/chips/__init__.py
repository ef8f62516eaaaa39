"""Chip models at register level, written from the data sheets; `build` makes the one that a board file's entry
names."""

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
from felinar_sim.chips.lamp import Lamp, LampType
from felinar_sim.conditions import Conditions, Surroundings

__all__ = [
    "AudioSource", "Chip", "ChipError", "Conditions", "I2cChip", "Lamp", "LampType", "Nack", "PinListener",
    "PulseSource", "PwmListener", "Surroundings", "UartChip", "build", "drivers",
]

Entry = Mapping[str, Any]
_Builder = Callable[[Entry, Surroundings, Lamp | None, int | str], Chip]


def _i2c(model: Callable[..., I2cChip]) -> _Builder:
    def make(entry: Entry, surroundings: Surroundings, lamp: Lamp | None, seed: int | str) -> Chip:
        return model(surroundings, entry.get("address"), seed)

    return make


_BUILDERS: dict[str, _Builder] = {
    "bh1750": _i2c(Bh1750),
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
