"""Sound as pressure over time: tones, silence, and traffic noise whose A-weighted level is known.

Sources: IEC 61672-1:2013, annex E (A-weighting as a function of frequency); EN 1793-3:1997, table 1 (normalised
spectrum of road traffic noise, A-weighted, in third octaves); reference pressure 20 uPa (ISO 1683).
"""

from __future__ import annotations

import functools
import math
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from felinar_sim.conditions import Surroundings

REFERENCE_PA = 20e-6
BLOCK_US = 125_000
"""Levels are constant over blocks of 125 ms, counted from the Unix epoch."""

# EN 1793-3: A-weighted levels of the third octaves from 100 Hz to 5 kHz, in dB relative to the whole.
_TRAFFIC_DB = (-20, -20, -18, -16, -15, -14, -13, -12, -11, -9, -8, -9, -10, -11, -13, -15, -16, -18)
_TABLE_BLOCKS = 32
_RAMP_US = 2_000

Samples = NDArray[np.float64]


def a_weighting_db(hz: ArrayLike) -> Samples:
    """A-weighting in dB at frequencies in Hz (IEC 61672-1, annex E.4); 0 dB at 1 kHz."""
    f2 = np.square(np.asarray(hz, dtype=np.float64))

    def magnitude(f2: Samples) -> Samples:
        f1, f2nd, f3, f4 = 20.598997**2, 107.65265**2, 737.86223**2, 12194.217**2
        return f4 * f2 * f2 / ((f2 + f1) * np.sqrt((f2 + f2nd) * (f2 + f3)) * (f2 + f4))

    with np.errstate(divide="ignore"):
        return 20 * np.log10(magnitude(f2) / magnitude(np.asarray(1e6)))


def a_weighted(samples: Samples, rate: int) -> Samples:
    """The samples through an ideal A-weighting without phase, taken as one period of a periodic signal."""
    spectrum = np.fft.rfft(samples)
    gains = np.power(10.0, a_weighting_db(np.fft.rfftfreq(len(samples), 1 / rate)) / 20)
    return np.fft.irfft(spectrum * gains, len(samples))


def pascal(db: float) -> float:
    """RMS pressure of a level in dB re 20 uPa."""
    return float(REFERENCE_PA * 10.0 ** (db / 20))


class Sound(Protocol):
    """What a microphone hears."""

    def pressure(self, first: int, n: int, rate: int) -> Samples:
        """Pressure in Pa at n moments from `first`/rate seconds of Unix time on."""


class Silence:
    """Nothing at all."""

    def pressure(self, first: int, n: int, rate: int) -> Samples:
        return np.zeros(n)


class Tone:
    """A sine of `hz` at `db` (RMS, unweighted, re 20 uPa)."""

    def __init__(self, hz: float, db: float) -> None:
        self.hz, self.db = hz, db

    def pressure(self, first: int, n: int, rate: int) -> Samples:
        # The phase is reduced before it becomes a float: sample numbers since 1970 have 17 digits.
        start = first % rate if float(self.hz).is_integer() else first % (rate * 1_000_000)
        phase = 2 * np.pi * np.mod(self.hz * (start + np.arange(n)) / rate, 1.0)
        return math.sqrt(2) * pascal(self.db) * np.sin(phase)


class Burst:
    """Another sound that is heard only from `start_us` to `end_us`."""

    def __init__(self, sound: Sound, start_us: int, end_us: int) -> None:
        self.sound, self.start_us, self.end_us = sound, start_us, end_us

    def pressure(self, first: int, n: int, rate: int) -> Samples:
        index = first + np.arange(n, dtype=np.int64)
        heard = (index >= self.start_us * rate // 1_000_000) & (index < self.end_us * rate // 1_000_000)
        return self.sound.pressure(first, n, rate) * heard


class Mixture:
    """Several sounds at once."""

    def __init__(self, *sounds: Sound) -> None:
        self.sounds = sounds

    def pressure(self, first: int, n: int, rate: int) -> Samples:
        return sum((sound.pressure(first, n, rate) for sound in self.sounds), np.zeros(n))


@functools.lru_cache(maxsize=8)
def traffic_table(rate: int, seed: int | str = 0) -> Samples:
    """Four seconds of traffic noise, periodic, in blocks of 125 ms that have each an A-weighted RMS of 1.0.

    The spectrum has exactly the third-octave levels of EN 1793-3 before the blocks are evened out; evening out
    changes their gains by a few tenths of a dB, with ramps of 2 ms between them.
    """
    block = rate * BLOCK_US // 1_000_000
    n = _TABLE_BLOCKS * block
    hz = np.fft.rfftfreq(n, 1 / rate)
    weighted_power = np.zeros_like(hz)
    for i, db in enumerate(_TRAFFIC_DB):
        centre = 1000 * 10 ** ((i - 10) / 10)
        band = (hz >= centre * 10**-0.05) & (hz < centre * 10**0.05)
        if band.any():
            weighted_power[band] = 10 ** (db / 10) / np.count_nonzero(band)
    power = np.zeros_like(hz)
    used = weighted_power > 0
    power[used] = weighted_power[used] / 10 ** (a_weighting_db(hz[used]) / 10)
    generator = np.random.default_rng([48_611, *str(seed).encode()])
    spectrum = np.sqrt(power) * np.exp(2j * np.pi * generator.random(len(hz)))
    table = np.fft.irfft(spectrum, n)
    # Ramps and the filter's memory couple neighbouring blocks a little; a few rounds settle them.
    for _ in range(6):
        power_of_blocks = np.mean(np.square(a_weighted(table, rate)).reshape(_TABLE_BLOCKS, block), axis=1)
        table = table * _ramped(1 / np.sqrt(power_of_blocks), block, rate, wrap=True)
    table.setflags(write=False)
    return table


def _ramped(gains: Samples, block: int, rate: int, wrap: bool) -> Samples:
    """A gain for every sample of consecutive blocks, going from one block's to the next one's within 2 ms around
    their border."""
    half = max(_RAMP_US * rate // 2_000_000, 1)
    borders = np.arange(1, len(gains)) * block
    xs = np.concatenate(([0.0], np.stack((borders - half, borders + half), axis=1).ravel(), [len(gains) * block]))
    ys = np.repeat(gains, 2)
    if wrap:
        middle = (gains[0] + gains[-1]) / 2
        xs = np.concatenate(([0.0, half], xs[1:-1], [len(gains) * block - half, len(gains) * block]))
        ys = np.concatenate(([middle], ys, [middle]))
    return np.interp(np.arange(len(gains) * block), xs, ys)


class StreetNoise:
    """Road traffic noise at the level that the surroundings say: the A-weighted RMS of each 125 ms block is
    `noise_db`.

    Over one block an ideal A-weighting gives the level to about 0.1 dB when levels change from block to block, and
    exactly when they do not.
    """

    def __init__(self, surroundings: Surroundings, seed: int | str = 0) -> None:
        self.surroundings = surroundings
        self.seed = seed
        self._gains: dict[int, float] = {}

    def _gain(self, block: int) -> float:
        gain = self._gains.get(block)
        if gain is None:
            if len(self._gains) > 64:
                self._gains.clear()
            gain = self._gains[block] = pascal(self.surroundings(block * BLOCK_US).noise_db)
        return gain

    def pressure(self, first: int, n: int, rate: int) -> Samples:
        table = traffic_table(rate, self.seed)
        size = rate * BLOCK_US // 1_000_000
        start, end = first // size, (first + n - 1) // size
        gains = np.array([self._gain(block) for block in range(start - 1, end + 2)])
        ramp = _ramped(gains, size, rate, wrap=False)
        skip = first - (start - 1) * size
        index = (first + np.arange(n)) % len(table)
        return table[index] * ramp[skip : skip + n]
