"""What surrounds a pole at one moment: the values that the chip models measure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Position:
    """A place: latitude and longitude in degrees (north and east positive)."""

    lat: float
    lon: float


@dataclass(frozen=True, slots=True)
class Conditions:
    """The world at a pole. `None` is a gap of the recorded data: the instrument that would have measured it yields
    nothing.

    Light is horizontal illuminance in lx, split into sky (with sun) and the lamp's own; particles are mass
    concentrations in µg/m³; `noise_db` is the A-weighted sound pressure level of the 125 ms block that holds the
    moment, dB re 20 µPa.
    """

    sky_lux: float = 0.0
    lamp_lux: float = 0.0
    pm1: float | None = 5.0
    pm25: float | None = 8.0
    pm4: float | None = 10.0
    pm10: float | None = 12.0
    temperature_c: float | None = 15.0
    humidity_pct: float = 60.0
    pressure_hpa: float = 1013.25
    wind_ms: float | None = 2.0
    rain_mm_h: float | None = 0.0
    noise_db: float = 50.0
    co2_ppm: float = 425.0
    voc_ticks: float = 30_000.0
    nox_ticks: float = 16_000.0
    sun_elevation_deg: float = 0.0

    @property
    def lux(self) -> float:
        """All the light that falls on the sensor, lx."""
        return self.sky_lux + self.lamp_lux


Surroundings = Callable[[int], Conditions]
"""The world at one pole as a function of `now_us`, microseconds of Unix time."""
