"""Traffic in a street and the sound level it makes at a pole, in blocks of 125 ms.

Vehicles come at random (Poisson) at a rate that follows the hour, and each passes the pole as a moving point source:
its level is its maximum less 10 lg(1 + (v t / d)^2). So the mean energy is known without listening: a vehicle brings
10^(Lmax/10) pi d / v.

Sources: shares of the day for streets without counts: 70 % from 7 to 19 h, 20 % to 23 h, 10 % at night (European
Commission WG-AEN, Good Practice Guide for Strategic Noise Mapping, version 2, 2007, toolkit 2); the shape within
them, with two rush hours and a later start at weekends, is ours. Pass-by maxima at 7.5 m are those of the statistical
pass-by method's usual range (ISO 11819-1).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from felinar_sim.sound import BLOCK_US
from felinar_sim.weather import mix

MINUTE_US = 60 * 1_000_000
BLOCKS_A_MINUTE = MINUTE_US // BLOCK_US

# Weight of each local hour within day, evening and night; scaled to 70, 20 and 10 % below.
_WORKDAY = (3, 2, 1.5, 1.5, 3, 8, 20, 9, 10, 7, 6, 6, 6.5, 6.5, 7, 8.5, 10, 9.5, 7.5, 7, 6, 4.5, 3.5, 5)
_WEEKEND = (6, 4.5, 3.5, 2.5, 2.5, 4, 7, 3, 4.5, 6.5, 8, 9, 9.5, 9, 8.5, 8.5, 8.5, 8.5, 8, 7, 6, 5, 4.5, 8)
_PERIODS = ((range(7, 19), 0.70), (range(19, 23), 0.20), ((23, 0, 1, 2, 3, 4, 5, 6), 0.10))


def _scaled(weights: tuple[float, ...]) -> tuple[float, ...]:
    shares = [0.0] * 24
    for hours, share in _PERIODS:
        total = sum(weights[h] for h in hours)
        for h in hours:
            shares[h] = weights[h] / total * share
    return tuple(shares)


WORKDAY_SHARES, WEEKEND_SHARES = _scaled(_WORKDAY), _scaled(_WEEKEND)


@dataclass(frozen=True, slots=True)
class Street:
    """A street: vehicles a day, their speed in m/s, distance from the pole in m, share of heavy ones, level of a
    passing car at the pole in dB(A) and how it spreads, extra level of a heavy vehicle, level of the town behind it
    all at night."""

    vehicles_a_day: float = 4_000.0
    speed_ms: float = 12.5
    distance_m: float = 7.5
    heavy: float = 0.04
    car_db: float = 67.0
    spread_db: float = 2.5
    heavy_extra_db: float = 8.0
    quiet_db: float = 34.0


def vehicles_an_hour(street: Street, hour: float, weekend: bool) -> float:
    """Vehicles an hour at a local time of day in hours (0 to 24), going smoothly from the middle of one hour to that
    of the next."""
    shares = WEEKEND_SHARES if weekend else WORKDAY_SHARES
    at, part = divmod(hour - 0.5, 1.0)
    first = int(at) % 24
    share = shares[first] * (1 - part) + shares[(first + 1) % 24] * part
    return street.vehicles_a_day * (0.8 if weekend else 1.0) * share


def mean_vehicle_energy(street: Street) -> float:
    """Mean of 10^(Lmax/10) times seconds that one vehicle brings while it passes."""
    spread = math.exp((street.spread_db * math.log(10) / 10) ** 2 / 2)  # mean of a lognormal
    kinds = 1 - street.heavy + street.heavy * 10 ** (street.heavy_extra_db / 10)
    return float(10 ** (street.car_db / 10) * spread * kinds * math.pi * street.distance_m / street.speed_ms)


def background_db(street: Street, rate: float, wind_ms: float, rain_mm_h: float) -> float:
    """What is left between two vehicles, dB(A): the town, which grows with its traffic, wind at the microphone,
    rain."""
    town = street.quiet_db + 10 * math.log10(1 + rate / 15)
    wind = 32 + 50 * math.log10(max(wind_ms, 0.5) / 5)
    rain = 38 + 12 * math.log10(rain_mm_h) if rain_mm_h > 0.05 else 0.0
    return 10 * math.log10(10 ** (town / 10) + 10 ** (wind / 10) + 10 ** (rain / 10))


def expected_laeq(street: Street, rate: float, background: float) -> float:
    """Energy-equivalent level, dB(A), that a long time of this traffic gives."""
    return 10 * math.log10(mean_vehicle_energy(street) * rate / 3600 + 10 ** (background / 10))


class PassBys:
    """The vehicles of one street at one pole. `rate(minute)` is the vehicles an hour in that minute of Unix time."""

    def __init__(self, street: Street, seed: int) -> None:
        self.street = street
        self._seed = seed
        self._arrivals: OrderedDict[int, tuple[NDArray[np.float64], NDArray[np.float64]]] = OrderedDict()

    def _vehicles(self, minute: int, rate: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Moments (s of Unix time less the minute's) and peak energies of the vehicles that pass in a minute."""
        found = self._arrivals.get(minute)
        if found is None:
            generator = np.random.Generator(np.random.SFC64(mix(self._seed, minute)))
            n = int(generator.poisson(rate / 60))
            moments = generator.random(n) * 60
            peaks = self.street.car_db + self.street.spread_db * generator.standard_normal(n)
            peaks += np.where(generator.random(n) < self.street.heavy, self.street.heavy_extra_db, 0.0)
            found = self._arrivals[minute] = moments, np.power(10.0, peaks / 10)
            if len(self._arrivals) > 16:
                self._arrivals.popitem(last=False)
        return found

    def energies(self, minute: int, rates: tuple[float, float, float]) -> NDArray[np.float64]:
        """10^(L/10) of the 480 blocks of a minute, from the vehicles of this minute and its neighbours, at the rates
        in them."""
        moments, peaks = zip(*(self._vehicles(minute + k, rates[k + 1]) for k in (-1, 0, 1)), strict=True)
        times = np.concatenate([m + 60 * k for k, m in zip((-1, 0, 1), moments, strict=True)])
        d = self.street.distance_m / self.street.speed_ms
        # The mean over a block, not the value in its middle: the integral of 1/(1 + (t/d)^2) is d atan(t/d).
        edges = np.arange(BLOCKS_A_MINUTE + 1) * (BLOCK_US / 1e6)
        angles = np.arctan((edges[:, None] - times[None, :]) / d)
        return np.asarray(np.diff(angles, axis=0) @ np.concatenate(peaks) * (d / (BLOCK_US / 1e6)))
