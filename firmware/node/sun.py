"""The sun's elevation from time and place, right on 32-bit floats and 31-bit integers."""

# Low-accuracy solar coordinates as in Meeus, Astronomical Algorithms (2nd ed., chapter 25), and the equation of time
# (chapter 28, after Smart), as NOAA's solar calculator has them. Angles that grow with time are counted from 2024-01-01
# 00:00 UT, in whole cycles of 1461 days, so that no float has to hold a large number.
from math import asin, cos, degrees, radians, sin, tan

from micropython import const

_DAY = const(86400)
_CYCLE = const(1461)  # days in four years


def elevation(time: int, lat: float, lon: float) -> float:
    """Degrees of the sun's centre above the horizon, without refraction; time in s since 2024-01-01 UTC, until 2058.

    `lat` and `lon` in degrees, north and east positive. Within 0.01 degrees of the full NOAA calculation.
    """
    days = time // _DAY
    second = time % _DAY
    cycles = days // _CYCLE
    day = days % _CYCLE + second / 86400
    # Mean longitude and anomaly grow by 1440.0307932 and 1439.9620116 degrees a cycle.
    longitude = radians(280.15841 + (cycles * 0.0307932 + day * 0.98564736) % 360)
    anomaly = radians(356.80837 + (day * 0.98560028 - cycles * 0.0379884) % 360)
    node = radians(20.87384 - (cycles * 77.36544 + day * 0.05295376) % 360)
    century = 0.24 + days / 36525
    centre = (
        (1.914602 - century * 0.004817) * sin(anomaly)
        + (0.019993 - century * 0.000101) * sin(2 * anomaly)
        + 0.000289 * sin(3 * anomaly)
    )
    apparent = longitude + radians(centre - 0.00569 - 0.00478 * sin(node))
    obliquity = radians(23.4392911 - century * 0.0130042 + 0.00256 * cos(node))
    sine = sin(obliquity) * sin(apparent)  # of the declination
    eccentricity = 0.016708634 - century * 0.000042037
    y = tan(obliquity / 2)
    y = y * y
    equation = (
        y * sin(2 * longitude)
        - 2 * eccentricity * sin(anomaly)
        + 4 * eccentricity * y * sin(anomaly) * cos(2 * longitude)
        - y * y / 2 * sin(4 * longitude)
        - 1.25 * eccentricity * eccentricity * sin(2 * anomaly)
    )
    hour = radians((second - 43200) / 240 + lon) + equation
    lat = radians(lat)
    height = sin(lat) * sine + cos(lat) * cos(asin(sine)) * cos(hour)
    return degrees(asin(max(-1.0, min(1.0, height))))
