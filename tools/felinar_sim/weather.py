"""Weather and dust at a place, from the recorded year or a generator; and smooth seeded noise for both.

Sources of the recorded year: see data/README.md. The generator's climate is a plain one: a yearly and a daily wave
whose size goes with latitude, weather that changes over days, lognormal dust that wind thins out.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Protocol

from felinar_sim.conditions import Position
from felinar_sim.errors import SimulatorError

HOUR_US = 3_600 * 1_000_000
_COLUMNS = ("pm25_ugm3", "temperature_c", "wind_ms", "rain_mm")
_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Weather:
    """PM2.5 in ug/m3, temperature in degrees C, its mean over 24 h around, wind in m/s, rain in mm/h. None: a gap."""

    pm25: float | None
    temperature_c: float | None
    day_mean_c: float
    wind_ms: float | None
    rain_mm_h: float | None


class WeatherSource(Protocol):
    """Where the weather comes from."""

    def at(self, now_us: int, position: Position) -> Weather:
        """The weather at a moment and place."""


def mix(*parts: int) -> int:
    """64 well-mixed bits of some integers (the finaliser of SplitMix64, applied in turn)."""
    z = 0x9E3779B97F4A7C15
    for part in parts:
        z = (z + part + 0x9E3779B97F4A7C15) & _MASK
        z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & _MASK
        z ^= z >> 31
    return z


def seed_number(seed: int | str) -> int:
    """A 64-bit number for any seed, the same in every run."""
    return mix(*f"{type(seed).__name__}:{seed}".encode())


class Smooth:
    """Seeded noise of time: about normal with deviation 1, changing smoothly over `step_us`; any moment can be asked
    for."""

    def __init__(self, seed: int | str, channel: str, step_us: int) -> None:
        self._seed = seed_number(f"{seed}/{channel}")
        self._step_us = step_us
        self._span = -1  # the span that was asked for last, and the knots at its ends
        self._knots = 0.0, 0.0

    def _knot(self, index: int) -> float:
        bits = mix(self._seed, index & _MASK)
        # Four uniforms make a bell; scaled to deviation 1.
        total = (bits & 0xFFFF) + (bits >> 16 & 0xFFFF) + (bits >> 32 & 0xFFFF) + (bits >> 48)
        return (total / 65_535 - 2) * math.sqrt(3)

    def at(self, now_us: int) -> float:
        index, rest = divmod(now_us, self._step_us)
        if index != self._span:
            self._span = index
            self._knots = self._knot(index), self._knot(index + 1)
        before, after = self._knots
        angle = rest / self._step_us * math.pi / 2
        # sin^2 + cos^2 = 1 keeps the deviation constant between the knots.
        return before * math.cos(angle) + after * math.sin(angle)


def _cell(text: str | None) -> float | None:
    return float(text) if text and text.strip() else None


class RecordedYear:
    """A year of hourly records, laid over every simulated year by month, day and hour of UTC; 29 February repeats the
    28th.

    Between two hours values are interpolated; rain is spread evenly over its hour. An empty cell is a gap of that
    whole hour, and the hour before it keeps its own value to the end.
    """

    def __init__(self, path: Path | None = None) -> None:
        source = path or files("felinar_sim") / "data" / "bergen_klosterhaugen_2019.csv"
        try:
            rows = list(csv.DictReader(source.read_text(encoding="utf-8").splitlines()))
        except OSError as error:
            raise SimulatorError(f"cannot read the recorded year {source}: {error.strerror}") from error
        if not rows or not {"time_utc", *_COLUMNS} <= set(rows[0]):
            needed = ", ".join(_COLUMNS)
            raise SimulatorError(f"{source} is not a recorded year: it needs the columns time_utc, {needed}")
        try:
            self._check_hours([datetime.fromisoformat(row["time_utc"]) for row in rows])
            self._columns = {name: [_cell(row[name]) for row in rows] for name in _COLUMNS}
        except (TypeError, ValueError) as error:
            raise SimulatorError(f"{source} is not a recorded year: {error}") from error
        self._day_means = self._running_means(self._columns["temperature_c"])
        self._hour = -1  # the hour that was asked for last: values at its beginning and end, and its rain
        self._spans: list[tuple[float | None, float | None]] = []
        self._rain: float | None = None

    @staticmethod
    def _check_hours(hours: list[datetime]) -> None:
        first = datetime(hours[0].year, 1, 1, tzinfo=UTC)
        if len(hours) != 8760 or any(t != first + timedelta(hours=i) for i, t in enumerate(hours)):
            raise ValueError("it needs all 8760 hours of a year, in order and in UTC")

    @staticmethod
    def _running_means(values: list[float | None]) -> list[float]:
        means = []
        for i in range(len(values)):
            around = [v for k in range(i - 12, i + 12) if (v := values[k % len(values)]) is not None]
            means.append(sum(around) / len(around) if around else 0.0)
        return means

    @staticmethod
    def row(now_us: int) -> int:
        """Number of the record's row for a moment."""
        moment = datetime.fromtimestamp(now_us // 1_000_000, UTC)
        day = 28 if (moment.month, moment.day) == (2, 29) else moment.day
        first = datetime(2019, 1, 1)
        return (datetime(2019, moment.month, day) - first).days * 24 + moment.hour

    def at(self, now_us: int, position: Position) -> Weather:
        hour, rest = divmod(now_us, HOUR_US)
        if hour != self._hour:
            self._hour = hour
            row = self.row(now_us)
            following = (row + 1) % 8760
            names = ("pm25_ugm3", "temperature_c", "wind_ms")
            self._spans = [(self._columns[name][row], self._columns[name][following]) for name in names]
            self._spans.append((self._day_means[row], self._day_means[following]))
            self._rain = self._columns["rain_mm"][row]
        share = rest / HOUR_US
        pm25, celsius, wind, mean = (
            here if here is None or there is None else here + (there - here) * share for here, there in self._spans
        )
        return Weather(pm25, celsius, mean or 0.0, wind, self._rain)


class GeneratedWeather:
    """Weather without gaps for any place, from a seed."""

    def __init__(self, seed: int | str = 0) -> None:
        day = 24 * HOUR_US
        self._front = Smooth(seed, "front", 3 * day)
        self._dust = Smooth(seed, "dust", 8 * HOUR_US)
        self._gust = Smooth(seed, "gust", 5 * HOUR_US)
        self._shower = Smooth(seed, "shower", 2 * HOUR_US)

    def at(self, now_us: int, position: Position) -> Weather:
        moment = now_us / 1e6 / 86_400
        year = math.cos(2 * math.pi * (moment / 365.2425 - 0.55 + (0.5 if position.lat < 0 else 0.0)))
        day = math.cos(2 * math.pi * (moment + position.lon / 360 - 0.625))  # warmest at 15 h
        distance = abs(position.lat)
        mean = 27 - 0.011 * distance**1.9 + (2 + distance * 0.19) * year + 3 * self._front.at(now_us)
        temperature = mean + (3.0 + 1.5 * max(0.0, year)) * day
        wind = max(0.0, 2.4 + 1.3 * self._gust.at(now_us) + 0.5 * day)
        rain = max(0.0, self._shower.at(now_us) - 0.9 - 0.3 * self._front.at(now_us)) * 2
        dust = math.exp(2.1 + 0.55 * self._dust.at(now_us) + 0.25 * -year) * math.exp(-0.12 * wind - 0.1 * min(rain, 5))
        return Weather(dust, temperature, mean, wind, rain)
