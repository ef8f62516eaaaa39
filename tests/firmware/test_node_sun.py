"""The sun's crossings of the horizon against astral, in the chip's arithmetic: within a minute, in eight cities."""

from __future__ import annotations

import datetime as dt
from functools import cache
from itertools import pairwise

import pytest
from astral import Observer
from astral.sun import elevation as astral_elevation

from tests.firmware.float32 import F32, I31, load, wrap
from tests.support.micropython import FIRMWARE, run

EPOCH = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
CITIES = {
    "Messina": (38.194, 15.554),
    "Roquetas de Mar": (36.764, -2.615),
    "Oulu": (65.012, 25.465),
    "Saint-Quentin": (49.847, 3.287),
    "Limerick": (52.664, -8.627),
    "Ventspils": (57.394, 21.565),
    "Portalegre": (39.297, -7.430),
    "Botosani": (47.745, 26.659),
}
HORIZON = -0.833
sun = load(FIRMWARE / "node" / "sun.py")


def ours(time: int, place: tuple[float, float]) -> float:
    found = sun.elevation(I31(time), wrap(place[0]), wrap(place[1]))
    assert isinstance(found, F32)
    return float(found)


def theirs(time: int, place: tuple[float, float]) -> float:
    return astral_elevation(Observer(*place), EPOCH + dt.timedelta(seconds=time), with_refraction=False)


@cache
def crossings(place: tuple[float, float], day: int) -> list[int]:
    """Times at which the sun crosses the horizon on a day, by astral, to the second."""
    grid = [(t, theirs(t, place) > HORIZON) for t in range(day * 86400, (day + 1) * 86400 + 1, 3600)]
    found = []
    for (low, up), (high, after) in pairwise(grid):
        if up != after:
            while high - low > 1:
                middle = (low + high) // 2
                if (theirs(middle, place) > HORIZON) == up:
                    low = middle
                else:
                    high = middle
            found.append(high)
    return found


def days() -> range:
    """Every 11th day of 2026 to 2030: 166 of them, all seasons, each weekday."""
    start = (dt.datetime(2026, 1, 1, tzinfo=dt.UTC) - EPOCH).days
    return range(start, start + 5 * 365 + 2, 11)


@pytest.mark.parametrize("city", CITIES)
def test_crossings_are_right_to_a_minute(city: str) -> None:
    place = CITIES[city]
    seen = 0
    for day in days():
        for time in crossings(place, day):
            was_up = theirs(time - 1, place) > HORIZON
            assert (ours(time - 60, place) > HORIZON) == was_up, f"day {day}"
            assert (ours(time + 60, place) > HORIZON) != was_up, f"day {day}"
            seen += 1
    assert seen >= 2 * len(days()) - 2


@pytest.mark.parametrize("city", CITIES)
def test_elevation_follows_astral_all_day(city: str) -> None:
    place = CITIES[city]
    worst = max(
        abs(ours(time, place) - theirs(time, place))
        for day in list(days())[::8]
        for time in range(day * 86400 + 1234, (day + 1) * 86400, 7919)
    )
    assert worst < 0.01


def test_the_longest_days_of_oulu() -> None:
    """Around the solstice the sun goes down for an hour or two and rises flatly: still right to a minute."""
    place = CITIES["Oulu"]
    for year in (2026, 2028, 2030):
        middle = (dt.datetime(year, 6, 21, tzinfo=dt.UTC) - EPOCH).days
        for day in range(middle - 3, middle + 4):
            for time in crossings(place, day):
                was_up = theirs(time - 1, place) > HORIZON
                assert (ours(time - 60, place) > HORIZON) == was_up
                assert (ours(time + 60, place) > HORIZON) != was_up


def test_days_without_night_and_nights_without_day_are_no_error() -> None:
    summer = (dt.datetime(2026, 6, 21, tzinfo=dt.UTC) - EPOCH).days * 86400
    for hour in range(24):
        assert ours(summer + hour * 3600, (70.0, 25.0)) > 0
        assert ours(summer + hour * 3600, (-70.0, 25.0)) < 0
        assert ours(summer + hour * 3600, (90.0, 0.0)) == pytest.approx(23.44, abs=0.02)


def test_the_same_under_micropython() -> None:
    times = [day * 86400 + 43210 for day in list(days())[::32]]
    printed = run(f"from node.sun import elevation\nprint([elevation(t, 47.745, 26.659) for t in {times}])")
    for time, value in zip(times, eval(printed), strict=True):
        assert value == pytest.approx(ours(time, CITIES["Botosani"]), abs=0.002)
