"""How far a reading is to be trusted: beyond nature, faster than physics, standing still, fog taken for dust. Pure.

Values in doubt are given all the same; their groups are marked (bits 1 << schema.DOUBT_*), all groups of the sensor,
since a chip of which one value is impossible has no better others. Checks on range, step and persistence are what
weather services do at a station (I. Zahumensky, Guidelines on quality control procedures for data from automatic
weather stations, WMO 2004); the limits are those of a street.
"""

from micropython import const

# By place in a report: its group as a digit, 8 for none.
_GROUPS = const(b"880111233445666668877888")
# From co2 to p: least and most that the air of a street can have, and the most that it changes from one reading to the
# next, unless the reading after says so too. Others: the range of the wire.
_CO2 = const(6)
_P = const(11)
_LIMITS = const(
    (
        # co2, ppm: outdoors above 420 (NOAA, mean of the globe since 2023), less 40 + 5 % of the SCD41, which is
        # specified to 5000 and responds in a minute.
        (350, 5000, 1000),
        None,
        None,
        # temp, degrees C: the sensors begin at -40; 56.7 is the highest ever (WMO archive of extremes); 5 K a minute.
        (-40, 57, 5),
        None,
        (800, 1085, 2),  # p, hPa: from 2000 m of altitude to a little more than the highest ever; 2 hPa a minute
    )
)
# By group, in 5 minutes: for so long no living sensor gives exactly the same in all its fields, since the noise in its
# last digit is larger. Gas: a whole number against the mean of a day. Power (0, never): stands still with the lamp.
_STILL = const(b"\x06\x0c\x06\x48\x0c\x0c\x01\x00")
_STILL_MS = const(300000)
# By night, or below a lamp, a light sensor may say the same for hours; daylight never does.
_LUX = const(2)
_DIM = const(200000)  # millilux
# Above it optical counters see water as dust, up to five times too much (Crilley et al., Atmos. Meas. Tech. 11 (2018)
# 709; from 75 % on in Jayaratne et al., same volume, 4883). By the humidity as measured, not as corrected.
_FOG = const(85)  # % RH
_PARTICLES = const(2)
_MOST = const(1000000000)  # no value is larger; nor is it infinite


class Doubt:
    """The judge of one sensor. `long`: readings in a row that were in doubt."""

    def __init__(self, places, every: int) -> None:
        """`places`: of its fields in a report; `every`: ms from one reading to the next."""
        self._places = places
        self.every = every
        self._last: list = []
        self._count = self._still = self._here = self._jump = self._seen = self.long = 0

    def judge(self, out: list, rh, bad: int) -> int:
        """Whether a reading is in doubt; what is no number in `out` becomes None, and `out` is kept.

        `rh`: humidity as measured now, or None; fog is doubt for the period, but no fault of the sensor. `bad`: the chip
        says itself that it is not sure.
        """
        last = self._last
        here = fast = place = group = value = 0
        for i in range(len(out)):
            value = out[i]
            if value is None or not -_MOST < value < _MOST:
                out[i] = None
                continue
            place = self._places[i]
            group = _GROUPS[place] - 48
            here |= 1 << group
            limits = _CO2 <= place <= _P and _LIMITS[place - _CO2]
            if limits:
                if not limits[0] <= value <= limits[1]:
                    bad = 1
                elif last and last[i] is not None and abs(value - last[i]) > limits[2]:
                    fast = 1
        self._count += 1
        self._still += 1
        if not here:
            return 0
        if out != last or (place == _LUX and (value or 0) <= _DIM):
            self._still = 0
            self._last = out
        elif self._still * self.every >= _STILL[group] * _STILL_MS > 0:
            bad = 1
        # A jump that the next reading confirms was none.
        if bad or (fast and self._jump):
            self._seen |= here
        self._jump = here * fast
        if (rh or 0) > _FOG:
            self._seen |= here & _PARTICLES
        self._here |= here
        bad |= fast
        self.long = self.long + 1 if bad else 0
        return bad

    def take(self, seconds: int) -> int:
        """The bits of a period so long, which ends now; less than a third of the readings is doubt as well."""
        bits = self._seen | self._jump
        if self._count * self.every * 3 < seconds * 1000:
            bits |= self._here
        self._seen = self._here = self._count = 0
        return bits
