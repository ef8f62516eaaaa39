"""Where the sun stands, and how bright its light makes a horizontal surface outdoors.

Sources: J. Meeus, Astronomical Algorithms, 2nd ed. (1998), chapters 12, 22 and 25 (low-accuracy position, 0.01
degrees); refraction: G. G. Bennett (1982) as in Meeus, chapter 16; illuminance: Urban and Seidelmann, Explanatory
Supplement to the Astronomical Almanac, 3rd ed. (2013), p. 518 ff. (after Janiczek and DeYoung, USNO Circular 171,
1987); clouds: Kasten and Czeplak, Solar Energy 24 (1980) 177.
"""

from __future__ import annotations

import math

from felinar_sim.conditions import Position

_J2000_US = 946_728_000 * 1_000_000  # 2000-01-01T12:00:00Z in Unix time
_DAY_US = 86_400 * 1_000_000
_STARLIGHT_LUX = 0.00064

# Lowest elevation in degrees of a range, and the polynomial of log10 lx in elevation/90 there.
_ILLUMINANCE = (
    (20.0, (3.74, 3.97, -4.07, 1.47)),
    (5.0, (3.05, 13.28, -45.98, 64.33)),
    (-0.8, (2.88, 22.26, -207.64, 1034.30)),
    (-5.0, (2.88, 21.81, -258.11, -858.36)),
    (-12.0, (2.70, 12.17, -431.69, -1899.83)),
    (-18.0, (13.84, 262.72, 1447.42, 2797.93)),
)


def elevation(now_us: int, position: Position) -> float:
    """Geometric elevation of the sun's centre in degrees, without refraction; good to about 0.02 degrees from 1950 to
    2050."""
    days = (now_us - _J2000_US) / _DAY_US
    t = days / 36_525
    mean_longitude = 280.46646 + t * (36_000.76983 + t * 0.0003032)
    anomaly = math.radians(357.52911 + t * (35_999.05029 - t * 0.0001537))
    centre = (
        (1.914602 - t * (0.004817 + t * 0.000014)) * math.sin(anomaly)
        + (0.019993 - t * 0.000101) * math.sin(2 * anomaly)
        + 0.000289 * math.sin(3 * anomaly)
    )
    node = math.radians(125.04 - 1934.136 * t)
    longitude = math.radians(mean_longitude + centre - 0.00569 - 0.00478 * math.sin(node))
    obliquity = math.radians(23.439291 - 0.0130042 * t + 0.00256 * math.cos(node))
    ascension = math.atan2(math.cos(obliquity) * math.sin(longitude), math.cos(longitude))
    sine = math.sin(obliquity) * math.sin(longitude)
    # Whole turns are taken out of the sidereal time first, so that they cost no digits.
    sidereal = 280.46061837 + 360.0 * (days % 1.0) + 0.98564736629 * days
    hour_angle = math.radians(sidereal + position.lon) - ascension
    latitude = math.radians(position.lat)
    height = math.sin(latitude) * sine + math.cos(latitude) * math.sqrt(1 - sine * sine) * math.cos(hour_angle)
    return math.degrees(math.asin(max(-1.0, min(1.0, height))))


def refraction(geometric_deg: float) -> float:
    """How much higher the sun appears, degrees, at 1010 hPa and 10 degrees C; nothing below -2 degrees."""
    if geometric_deg < -2 or geometric_deg > 89.9:
        return 0.0
    return 1.02 / math.tan(math.radians(geometric_deg + 10.3 / (geometric_deg + 5.11))) / 60


def clear_sky_lux(elevation_deg: float) -> float:
    """Horizontal illuminance of sun and clear sky, lx, for elevations from full night (starlight) to the zenith."""
    if elevation_deg < -18.0:
        return _STARLIGHT_LUX
    x = min(elevation_deg, 90.0) / 90.0
    for lowest, (a, b, c, d) in _ILLUMINANCE:
        if elevation_deg >= lowest:
            return max(math.pow(10.0, a + x * (b + x * (c + x * d))), _STARLIGHT_LUX)
    return _STARLIGHT_LUX


def cloud_transmission(cover: float) -> float:
    """What a cloud cover of 0 to 1 leaves of the clear sky's light."""
    return 1 - 0.75 * math.pow(max(0.0, min(1.0, cover)), 3.4)
