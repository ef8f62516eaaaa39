"""The radio medium: who hears which LoRa frame, from coordinates, power, collisions and chance; and who speaks too much.

Times are integers, microseconds that do not step back; the same seed and the same calls give the same bytes (`digest`).
Path loss is that measured in Oulu by Petäjäjärvi et al. ("On the coverage of LPWANs: range evaluation and channel
attenuation model for LoRa technology", ITST 2015): 128.95 dB + 23.2 dB per decade of km, shadowing of 7.8 dB. Limits of
SNR: Semtech SX1276/77/78/79 data sheet, table 13. Capture at 6 dB and the harmless first symbols of a preamble: Bor et
al., "Do LoRa low-power wide-area networks scale?", MSWiM 2016. Rejection of another spreading factor: 16 dB.
"""

from __future__ import annotations

import functools
import hashlib
import math
import struct
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from felinar_sim.chips.radio import airtime_us

Floats = NDArray[np.float64]
Places = NDArray[np.intp]

FLOOR_DBM = -117.0
"""Noise in 125 kHz, -174 dBm/Hz, in a receiver with a noise figure of 6 dB."""
LIMIT_DB = {7: -7.5, 8: -10.0, 9: -12.5, 10: -15.0, 11: -17.5, 12: -20.0}
CAPTURE_DB = 6.0
REJECTION_DB = 16.0
LOCK = 5
"""Symbols of the preamble that a receiver needs."""
PREAMBLE = 8
HOUR = 3_600_000_000
SUB_BANDS = (
    (863_000, 865_000, 0.001),
    (865_000, 868_000, 0.01),
    (868_000, 868_600, 0.01),
    (868_700, 869_200, 0.001),
    (869_400, 869_650, 0.1),
    (869_700, 870_000, 0.01),
)
"""Lowest and highest kHz and share of any hour: EN 300 220-2 V3.2.1 annex B. The law's, not the protocol's own account."""
WIDTH = 125
"""kHz of a channel."""


@functools.cache
def sub_band(khz: int) -> int:
    """The place in SUB_BANDS of the one that a channel lies in. Raises EtherError: in none."""
    for place, (low, high, _) in enumerate(SUB_BANDS):
        if 2 * low <= 2 * khz - WIDTH and 2 * khz + WIDTH <= 2 * high:
            return place
    raise EtherError(f"no sub-band has a channel at the frequency of {khz} kHz")


airtime = functools.cache(airtime_us)


class EtherError(Exception):
    """What no law allows: more airtime in an hour than the sub-band has, or sending while sending."""


@dataclass(eq=False, slots=True)
class Transmission:
    """A frame on the air."""

    source: int
    begin: int
    end: int
    khz: int
    sf: int
    dbm: float
    data: object
    loss: float
    others: list[Transmission]
    """That overlap with it on its channel."""
    lost: NDArray[np.bool_] | None = None

    def symbols(self, n: int) -> int:
        """The time n symbols after its beginning."""
        return self.begin + (n << self.sf) * 8


@dataclass(frozen=True, slots=True)
class Receptions:
    """Who heard a frame: places of stations, with their RSSI and SNR."""

    stations: Places
    rssi_dbm: Floats
    snr_db: Floats


class Crystal:
    """A board's oscillator: `local` µs pass while µs of the ether pass."""

    def __init__(self, ppb: int = 0, offset: int = 0) -> None:
        """`ppb` is how much too fast it is, in 1e-9; `offset` what it shows at time 0."""
        self.ppb = ppb
        self.offset = offset

    def local(self, now: int) -> int:
        return now + now * self.ppb // 1_000_000_000 + self.offset

    def when(self, local: int) -> int:
        """The first time at which it shows `local`."""
        now = (local - self.offset) * 1_000_000_000 // (1_000_000_000 + self.ppb)
        while self.local(now) < local:
            now += 1
        return now


class Ether:
    """Stations, what they are tuned to, and the frames between them.

    `begin` puts a frame on the air, `end` (to be called at its time) takes it off and says who heard it. A station
    that sends hears nothing and has to be tuned again afterwards. `loss` of a frame is the chance that it is lost at a
    receiver for no reason that is modelled.
    """

    def __init__(self, seed: int = 0, *, intercept_db: float = 128.95, slope_db: float = 23.2, shadow_db: float = 7.8):
        self._rng = np.random.Generator(np.random.PCG64(seed))
        self._seed = seed
        self._model = (intercept_db, slope_db, shadow_db)
        self.places: list[tuple[float, float, float]] = []
        self._loss_db: Floats | None = None
        self._khz = np.zeros(0, np.int64)
        self._sf = np.zeros(0, np.int64)
        self._since = np.zeros(0, np.int64)
        self._sending: dict[int, Transmission] = {}
        self._spent: dict[tuple[int, int], deque[tuple[int, int]]] = {}
        self._sums: dict[tuple[int, int], int] = {}
        self._hash = hashlib.blake2b(digest_size=8)
        self.peaks: dict[tuple[int, int], float] = {}
        """The largest share of its duty cycle that was used in any sliding hour, by station and place in SUB_BANDS."""

    def station(self, x: float, y: float, gain_db: float = 0.0) -> int:
        """Put up a station at (x, y) metres, deaf at first; its place."""
        self.places.append((x, y, gain_db))
        self._loss_db = None
        self._khz = np.append(self._khz, 0)
        self._sf = np.append(self._sf, 0)
        self._since = np.append(self._since, 0)
        return len(self.places) - 1

    @property
    def loss_db(self) -> Floats:
        """Path loss between each two stations, antennas included."""
        if self._loss_db is None:
            intercept, slope, _ = self._model
            place = np.array(self.places)
            dx = place[:, None, 0] - place[None, :, 0]
            dy = place[:, None, 1] - place[None, :, 1]
            km = np.maximum(np.hypot(dx, dy), 1.0) / 1000
            dim = np.zeros(km.shape)
            for i in range(len(place)):
                dim[i, :i] = self.shadow_db(i)
            gain = place[:, None, 2] + place[None, :, 2]
            self._loss_db = intercept + slope * np.log10(km) + dim + dim.T - gain
        return self._loss_db

    def way_db(self, metres: float) -> float:
        """Path loss over a distance, without shadow and antennas."""
        return self._model[0] + self._model[1] * math.log10(metres / 1000)

    def shadow_db(self, station: int) -> Floats:
        """What houses and trees take on the ways to the stations put up before; it does not depend on the distances."""
        return np.random.Generator(np.random.PCG64([self._seed, station])).normal(0, self._model[2], station)

    def snr(self, source: int, receiver: int, dbm: float) -> float:
        """The SNR in dB at which a receiver hears a sender of that power."""
        return float(dbm - self.loss_db[source, receiver] - FLOOR_DBM)

    def tune(self, station: int, khz: int, sf: int, now: int) -> None:
        """Listen there from now on; 0 kHz: to nothing."""
        self._khz[station] = khz
        self._sf[station] = sf
        self._since[station] = now

    def begin(
        self, source: int, now: int, khz: int, sf: int, dbm: float, data: object, size: int, loss: float = 0.0
    ) -> Transmission:
        """Put a frame of `size` bytes on the air; `data` is the caller's. Raises EtherError."""
        if source in self._sending:
            raise EtherError(f"station {source} sends while it is sending")
        frame = Transmission(source, now, now + airtime(size, sf), khz, sf, dbm, data, loss, [])
        self._charge(frame)
        for other in self._sending.values():
            if other.khz == khz:
                other.others.append(frame)
                frame.others.append(other)
        self._sending[source] = frame
        self.tune(source, 0, 0, now)
        self._hash.update(struct.pack(">qiihH", now, source, khz, sf, size))
        if isinstance(data, bytes):
            self._hash.update(data)
        return frame

    def end(self, frame: Transmission) -> Receptions:
        """Take a frame off the air."""
        del self._sending[frame.source]
        heard = np.flatnonzero(
            (self._khz == frame.khz) & (self._sf == frame.sf) & (self._since <= frame.symbols(PREAMBLE - LOCK))
        )
        power = frame.dbm - self.loss_db[frame.source, heard]
        good = power - FLOOR_DBM >= LIMIT_DB[frame.sf]
        if frame.loss:
            good &= ~self._lost(frame)[heard]
        for other in frame.others:
            strange = other.dbm - self.loss_db[other.source, heard]
            if other.sf != frame.sf:
                good &= power >= strange - REJECTION_DB
                continue
            if other.end > frame.symbols(PREAMBLE - LOCK):
                good &= power >= strange + CAPTURE_DB
            if other.begin < frame.begin and frame.begin > other.symbols(PREAMBLE + 4) and other.end > frame.begin:
                # Whoever has begun to receive the other one does not notice this one.
                busy = strange - FLOOR_DBM >= LIMIT_DB[other.sf]
                busy &= self._since[heard] <= other.symbols(PREAMBLE - LOCK)
                good &= ~(busy & (other.end > frame.symbols(PREAMBLE - LOCK)))
        heard = heard[good]
        power = power[good]
        self._hash.update(heard.astype(np.int32).tobytes())
        return Receptions(heard, power, power - FLOOR_DBM)

    def sends(self, station: int) -> bool:
        """Whether a station is on the air."""
        return station in self._sending

    def receiving(self, station: int, now: int) -> bool:
        """Whether a station's radio says that a preamble or a frame is coming in."""
        return any(
            frame.khz == self._khz[station]
            and frame.sf == self._sf[station]
            and frame.symbols(LOCK) <= now
            and self._since[station] <= frame.symbols(PREAMBLE - LOCK)
            and self._strong(frame, station)
            and not (frame.loss and self._lost(frame)[station])
            for frame in self._sending.values()
        )

    def active(self, station: int, khz: int, sf: int, now: int) -> bool:
        """What channel-activity detection says there (as an SX126x's, which knows data symbols too: AN1200.48)."""
        return any(
            frame.khz == khz and frame.sf == sf and frame.symbols(2) <= now and self._strong(frame, station)
            for frame in self._sending.values()
            if frame.source != station
        )

    @property
    def digest(self) -> str:
        """A hash of all that was sent and heard."""
        return self._hash.hexdigest()

    def _strong(self, frame: Transmission, station: int) -> bool:
        return self.snr(frame.source, station, frame.dbm) >= LIMIT_DB[frame.sf]

    def _lost(self, frame: Transmission) -> NDArray[np.bool_]:
        if frame.lost is None:
            frame.lost = self._rng.random(len(self.places)) < frame.loss
        return frame.lost

    @property
    def peak(self) -> dict[int, float]:
        """The largest of `peaks` by station."""
        out: dict[int, float] = {}
        for (station, _), share in self.peaks.items():
            out[station] = max(share, out.get(station, 0.0))
        return out

    def _charge(self, frame: Transmission) -> None:
        """The most airtime of any sliding hour lies in one that ends with a transmission."""
        band = sub_band(frame.khz)
        key = (frame.source, band)
        spent = self._spent.setdefault(key, deque())
        spent.append((frame.begin, frame.end))
        total = self._sums.get(key, 0) + frame.end - frame.begin
        while spent[0][1] <= frame.end - HOUR:
            begin, end = spent.popleft()
            total -= end - begin
        self._sums[key] = total
        inside = total - max(0, frame.end - HOUR - spent[0][0])
        share = inside / (SUB_BANDS[band][2] * HOUR)
        if share > 1:
            raise EtherError(
                f"station {frame.source} is on the air for {inside / 1e6:.1f} s of the hour before {frame.end / 1e6:.1f} s at {frame.khz} kHz"
            )
        if share > self.peaks.get(key, 0.0):
            self.peaks[key] = share
