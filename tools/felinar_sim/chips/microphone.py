"""Digital I2S microphones: TDK InvenSense ICS-43434 and INMP441.

Sources: ICS-43434 data sheet DS-000069 rev. 1.2, table 2 (sensitivity -26 dBFS +-1 dB at 1 kHz and 94 dB SPL, SNR 65
dBA and so 29 dBA of noise, acoustic overload at 120 dB SPL, sample rate 23 to 51.6 kHz in high-performance mode, 6.25
to 18.75 kHz in low-power mode); start-up and soft unmute are those of the function-compatible ICS-43432 (4462 SCK
cycles of zeros, then a ramp over 256 frames). INMP441 data sheet DS-INMP441-00, table 1 (-26 dBFS +-3 dB, SNR 61 dBA
and so 33 dBA, 120 dB SPL, 7.8 to 50 kHz) and "Startup" (2^18 SCK cycles of zeros). 0 dBFS is the RMS of a full-scale
sine. The response is modelled flat; neither the roll-off below 60 Hz nor the resonance above 10 kHz is.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from felinar_sim.chips.base import Chip, ChipError
from felinar_sim.conditions import Surroundings
from felinar_sim.sound import Samples, Sound, StreetNoise, a_weighted, pascal

_FULL_SCALE = (1 << 23) - 1
_SCK_PER_FRAME = 64


@dataclass(frozen=True, slots=True)
class MicrophoneType:
    """Data-sheet constants; rates in Hz as (lowest, highest) of every mode."""

    name: str
    dbfs: float
    tolerance_db: float
    noise_dba: float
    silent_sck: int
    unmute_frames: int
    rates: tuple[tuple[int, int], ...]


ICS43434 = MicrophoneType("ICS-43434", -26.0, 1.0, 29.0, 4462, 256, ((6_250, 18_750), (23_000, 51_600)))
INMP441 = MicrophoneType("INMP441", -26.0, 3.0, 33.0, 1 << 18, 0, ((7_800, 50_000),))


class Microphone(Chip):
    """Hears `sound`, by default the street noise of its surroundings.

    `offset_db` is this unit's error of sensitivity, 0.0 unless set or drawn with `drawn=True`; `dc` a constant offset
    as a share of full scale; `other_channel` straps it to the channel that nobody listens to. Gone, refusing or on
    the other channel the data line is low: zeros. Stuck: the last sample for ever. `slow_ms` lengthens the start-up;
    there is no checksum.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        kind: MicrophoneType = ICS43434,
        rate: int = 48_000,
        *,
        seed: int | str = 0,
        drawn: bool = False,
        sound: Sound | None = None,
    ) -> None:
        self.kind = kind
        self.rate = rate
        self.sound = sound or StreetNoise(surroundings, seed)
        self.other_channel = False
        self.dc = 0.0
        self.offset_db = 0.0
        self.seed = seed
        super().__init__(surroundings, seed)
        if drawn:
            self.offset_db = self.random.uniform(-kind.tolerance_db, kind.tolerance_db)

    @property
    def rate(self) -> int:
        """Frames a second, as the board's clock sets it; a rate that the microphone cannot follow leaves it
        asleep."""
        return self._rate

    @rate.setter
    def rate(self, value: int) -> None:
        if value <= 0 or value * 125 % 1000:
            raise ChipError(f"{self.kind.name}: 125 ms at {value} Hz are not a whole number of samples")
        self._rate = value
        self._awake = any(low <= value <= high for low, high in self.kind.rates)

    def _power_on(self, now_us: int) -> None:
        self._origin = 0  # number of the stream's first sample, counted from the Unix epoch
        self._unmutes = 0
        self._held = 0.0

    def frames(self, first: int, n: int, now_us: int) -> bytes:
        """See `AudioSource`."""
        self._seen_us = max(self._seen_us, now_us)
        if first == 0:
            self._origin = now_us * self._rate // 1_000_000
            self._unmutes = math.ceil(self.kind.silent_sck / _SCK_PER_FRAME) + self._slow_us * self._rate // 1_000_000
        if self._gone or self.nack or self.other_channel or not self._awake:
            return bytes(4 * n)
        if self.stuck:
            return _encode(np.full(n, self._held))
        heard = self._hear(first, n)
        if first < self._unmutes + self.kind.unmute_frames:
            since = np.arange(first, first + n) - self._unmutes
            heard = heard * np.clip(since / max(self.kind.unmute_frames, 1), 0.0, 1.0) * (since >= 0)
        if n:
            self._held = float(heard[-1])
        return _encode(heard)

    def _hear(self, first: int, n: int) -> Samples:
        """Samples as shares of full scale, before clipping."""
        at = self._origin + first
        pressure = self.sound.pressure(at, n, self._rate)
        noise = _self_noise(self._rate, self.seed)
        pressure = pressure + noise[(at + np.arange(n)) % len(noise)] * pascal(self.kind.noise_dba)
        peak_at_94 = math.sqrt(2) * pascal(94.0)
        return pressure * (10 ** ((self.kind.dbfs + self.offset_db) / 20) / peak_at_94) + self.dc


@functools.lru_cache(maxsize=16)
def _self_noise(rate: int, seed: int | str) -> Samples:
    """White noise with an A-weighted RMS of 1.0; its length shares no period with the street's."""
    noise = np.random.default_rng([29, *str(seed).encode()]).standard_normal(96_001)
    noise /= math.sqrt(float(np.mean(np.square(a_weighted(noise, rate)))))
    noise.setflags(write=False)
    return noise


def _encode(shares: Samples) -> bytes:
    """24 bits, left-justified in little-endian 32: clipped at full scale, as the converter does at the overload
    point."""
    whole = np.clip(np.rint(shares * _FULL_SCALE), -_FULL_SCALE - 1, _FULL_SCALE).astype("<i4")
    return bytes(np.left_shift(whole, 8).astype("<i4").data)
