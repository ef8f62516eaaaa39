"""The simulated world: light, weather, dust, air and traffic noise at any pole and moment.

Every value is a function of seed, place and time alone: the order and the number of questions change nothing, and two
boards at one pole see the same world. Light follows the sun and the clouds; PM2.5, temperature, wind and rain come
from the weather source, gaps included; the rest is made to fit them.

Sources: PM2.5 is 0.73 of PM10 on European average (van Dingenen et al., Atmospheric Environment 38 (2004) 2561); PM1
at 0.7 of PM2.5 and PM4 between are typical of urban air; vapour pressure: WMO-No. 8, annex 4.B; CO2: 425 ppm is the
global mean of 2024 (NOAA).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from felinar_sim.chips.lamp import Lamp
from felinar_sim.conditions import Conditions, Position, Surroundings
from felinar_sim.errors import SimulatorError
from felinar_sim.sound import BLOCK_US
from felinar_sim.sun import clear_sky_lux, cloud_transmission, elevation
from felinar_sim.traffic import (
    BLOCKS_A_MINUTE,
    MINUTE_US,
    PassBys,
    Street,
    background_db,
    expected_laeq,
    vehicles_an_hour,
)
from felinar_sim.weather import HOUR_US, RecordedYear, Smooth, Weather, WeatherSource, mix, seed_number

__all__ = ["Conditions", "Position", "Surroundings", "World"]

_PM10, _PM4, _PM1 = 1 / 0.73, 1.22, 0.70
_QUARTER_US = 900_000_000


class World:
    """`weather` is where PM2.5, temperature, wind and rain come from (default: the recorded year of Bergen). `zone`
    is the IANA time zone by which the traffic keeps its hours; without it, the hours of mean solar time at the pole.
    `street` describes the traffic."""

    def __init__(
        self,
        seed: int | str = 0,
        *,
        weather: WeatherSource | None = None,
        zone: str | None = None,
        street: Street | None = None,
    ) -> None:
        self.seed = seed
        self.weather = weather or RecordedYear()
        self.street = street or Street()
        try:
            self._zone = ZoneInfo(zone) if zone else None
        except (ZoneInfoNotFoundError, ValueError) as error:
            hint = "an IANA name such as Europe/Bucharest is needed"
            raise SimulatorError(f"there is no time zone {zone!r}; {hint}") from error
        self._quarter = -1
        self._offset_s = 0
        self._number = seed_number(seed)
        self._clouds = Smooth(seed, "clouds", 5 * HOUR_US)
        self._wisps = Smooth(seed, "wisps", 7 * MINUTE_US)
        self._pressure = Smooth(seed, "pressure", 30 * HOUR_US)
        self._dryness = Smooth(seed, "dryness", 20 * HOUR_US)
        self._size = Smooth(seed, "particle size", 9 * HOUR_US)
        self._breath = Smooth(seed, "gas", 2 * HOUR_US)
        self._pass_bys: dict[Position, PassBys] = {}
        self._minutes: OrderedDict[tuple[Position, int], NDArray[np.float64]] = OrderedDict()

    # At one moment

    def at(self, now_us: int, position: Position, lamp_lux: float = 0.0) -> Conditions:
        """The world at a pole, and on it the light of its lamp."""
        weather = self.weather.at(now_us, position)
        height = elevation(now_us, position)
        rate = self.vehicles_an_hour(now_us, position)
        pm1, pm4, pm10 = self._sizes(now_us, weather.pm25)
        humidity = self._humidity(now_us, weather)
        # Exhaust gathers in calm air and is blown away by wind.
        stale = rate / 400 / (1 + (weather.wind_ms or 0.0)) * (1 + 0.3 * self._breath.at(now_us))
        minute, block = divmod(now_us // BLOCK_US, BLOCKS_A_MINUTE)
        return Conditions(
            lamp_lux=lamp_lux,
            sky_lux=clear_sky_lux(height) * cloud_transmission(self.cloud_cover(now_us, weather)),
            pm1=pm1,
            pm25=weather.pm25,
            pm4=pm4,
            pm10=pm10,
            temperature_c=weather.temperature_c,
            humidity_pct=humidity,
            pressure_hpa=1013.25 + 9 * self._pressure.at(now_us) - min(weather.rain_mm_h or 0.0, 5.0),
            wind_ms=weather.wind_ms,
            rain_mm_h=weather.rain_mm_h,
            noise_db=float(self._minute(minute, position)[block]),
            co2_ppm=425 + 90 * max(0.0, stale) + 12 * max(0.0, -math.sin(math.radians(height))),
            voc_ticks=31_000 - 1_500 * max(0.0, stale) - 150 * self._breath.at(now_us),
            nox_ticks=16_500 + 900 * max(0.0, stale),
            sun_elevation_deg=height,
        )

    def surroundings(self, position: Position, lamp: Lamp | None = None) -> Surroundings:
        """The world at one pole as a function of time, with the light that the pole's lamp throws on its own
        sensor."""

        last: Conditions | None = None
        at_us = 0

        def around(now_us: int) -> Conditions:
            nonlocal last, at_us
            lux = 0.0 if lamp is None else lamp.lux(now_us)
            if last is None or at_us != now_us or last.lamp_lux != lux:  # a chip may look twice
                last, at_us = self.at(now_us, position, lux), now_us
            return last

        return around

    def cloud_cover(self, now_us: int, weather: Weather) -> float:
        """Cloud cover from 0 to 1: mostly clear or mostly overcast, and closed while it rains."""
        cover = 0.5 + 0.55 * self._clouds.at(now_us) + 0.12 * self._wisps.at(now_us)
        if weather.rain_mm_h:
            cover = max(cover, 0.85 + 0.1 * min(weather.rain_mm_h, 1.5))
        return max(0.0, min(1.0, cover))

    def _sizes(self, now_us: int, pm25: float | None) -> tuple[float | None, float | None, float | None]:
        if pm25 is None:
            return None, None, None
        coarse = math.exp(0.15 * self._size.at(now_us))
        return pm25 * (1 - (1 - _PM1) * coarse), pm25 * (1 + (_PM4 - 1) * coarse), pm25 * (1 + (_PM10 - 1) * coarse)

    def _humidity(self, now_us: int, weather: Weather) -> float:
        """The dew point lies under the day's mean temperature, so the humidity falls by day and rises by night."""
        celsius = weather.day_mean_c if weather.temperature_c is None else weather.temperature_c
        depression = 3.2 * math.exp(0.5 * self._dryness.at(now_us))
        if weather.rain_mm_h:
            depression *= 0.3
        dew = weather.day_mean_c - depression
        percent = 100 * math.exp(17.62 * dew / (243.12 + dew) - 17.62 * celsius / (243.12 + celsius))
        return max(12.0, min(99.5, percent))

    # Traffic and its noise

    def vehicles_an_hour(self, now_us: int, position: Position) -> float:
        """Vehicles an hour in the street at this moment, by the local time and day of the week."""
        if self._zone is not None:
            local_s = float(now_us // 1_000_000 + self._utc_offset_s(now_us // _QUARTER_US))
        else:
            local_s = now_us / 1e6 + position.lon * 240
        hour, weekday = local_s % 86_400 / 3600, int(local_s // 86_400 + 3) % 7
        return vehicles_an_hour(self.street, hour, weekday >= 5)

    def _utc_offset_s(self, quarter: int) -> int:
        """The zone's offset in a quarter of an hour of Unix time: clocks change at no other moments."""
        if quarter != self._quarter:
            self._quarter = quarter
            moment = datetime.fromtimestamp(quarter * _QUARTER_US // 1_000_000, UTC).astimezone(self._zone)
            offset = moment.utcoffset()
            self._offset_s = 0 if offset is None else round(offset.total_seconds())
        return self._offset_s

    def expected_laeq(self, now_us: int, position: Position) -> float:
        """The level that the street has on average under the conditions of this moment, dB(A)."""
        rate = self.vehicles_an_hour(now_us, position)
        return expected_laeq(self.street, rate, self._background(now_us, position, rate))

    def noise_levels(self, first_block: int, n: int, position: Position) -> NDArray[np.float64]:
        """A-weighted levels in dB re 20 uPa of n blocks of 125 ms; block k starts k * 125 ms after the Unix epoch."""
        pieces = []
        block, end = first_block, first_block + n
        while block < end:
            minute, offset = divmod(block, BLOCKS_A_MINUTE)
            take = min(BLOCKS_A_MINUTE - offset, end - block)
            pieces.append(self._minute(minute, position)[offset : offset + take])
            block += take
        return np.concatenate(pieces) if pieces else np.zeros(0)

    def mean_squares(self, position: Position) -> Callable[[int, int, float], NDArray[np.float64]]:
        """For a board that takes levels instead of samples: (end of the first block in us, n, dB SPL of a full-scale
        RMS of 1.0) gives n A-weighted mean squares, full scale = 1.0, of the same noise that a microphone there
        hears."""

        def levels(end_us: int, n: int, sensitivity_db: float) -> NDArray[np.float64]:
            first = (end_us - BLOCK_US // 2) // BLOCK_US
            return np.asarray(np.power(10.0, (self.noise_levels(first, n, position) - sensitivity_db) / 10))

        return levels

    def _minute(self, minute: int, position: Position) -> NDArray[np.float64]:
        key = (position, minute)
        levels = self._minutes.get(key)
        if levels is None:
            levels = self._minutes[key] = self._make_minute(minute, position)
            if len(self._minutes) > 64:
                self._minutes.popitem(last=False)
        return levels

    def _make_minute(self, minute: int, position: Position) -> NDArray[np.float64]:
        pass_bys = self._pass_bys.get(position)
        place = mix(self._number, round(position.lat * 1e6) & 0xFFFFFFFF, round(position.lon * 1e6) & 0xFFFFFFFF)
        if pass_bys is None:
            pass_bys = self._pass_bys[position] = PassBys(self.street, place)
        before, here, after = (self.vehicles_an_hour((minute + k) * MINUTE_US, position) for k in (-1, 0, 1))
        energies = pass_bys.energies(minute, (before, here, after))
        quiet = self._background(minute * MINUTE_US, position, here)
        generator = np.random.Generator(np.random.SFC64(mix(place, minute, 1)))
        # The background breathes by 1 dB; its mean energy stays what it should be.
        breathing = np.exp(0.23 * generator.standard_normal(BLOCKS_A_MINUTE) - 0.23**2 / 2)
        levels = 10 * np.log10(energies + 10 ** (quiet / 10) * breathing)
        levels.setflags(write=False)
        return np.asarray(levels)

    def _background(self, now_us: int, position: Position, rate: float) -> float:
        weather = self.weather.at(now_us, position)
        return background_db(self.street, rate, weather.wind_ms or 0.0, weather.rain_mm_h or 0.0)
