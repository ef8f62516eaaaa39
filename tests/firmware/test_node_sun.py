"""The sun's crossings of the horizon against astral, in the chip's arithmetic: within a minute, in eight cities."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise

import pytest
from astral import Observer
from astral.sun import elevation as astral_elevation
from felinar.cities import cities

from tests.firmware.float32 import F32, I31, load, wrap
from tests.support.micropython import FIRMWARE, run

EPOCH = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
CITIES = {city.slug: (city.lat, city.lon) for city in cities()}
HORIZON = -0.833
sun = load(FIRMWARE / "node" / "sun.py")


def ours(time: int, place: tuple[float, float]) -> float:
    found = sun.elevation(I31(time), wrap(place[0]), wrap(place[1]))
    assert isinstance(found, F32)
    return float(found)


def theirs(time: int, place: tuple[float, float]) -> float:
    return astral_elevation(Observer(*place), EPOCH + dt.timedelta(seconds=time), with_refraction=False)


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


DAYS = range(
    (dt.datetime(2026, 1, 1, tzinfo=dt.UTC) - EPOCH).days, (dt.datetime(2031, 1, 1, tzinfo=dt.UTC) - EPOCH).days
)


@pytest.mark.parametrize("city", CITIES)
def test_crossings_are_right_to_a_minute(city: str) -> None:
    """Every sunrise and every sunset of 2026 to 2030."""
    place = CITIES[city]
    kinds = {True: 0, False: 0}
    for day in DAYS:
        for time in crossings(place, day):
            was_up = theirs(time - 1, place) > HORIZON
            assert (ours(time - 60, place) > HORIZON) == was_up, f"day {day}"
            assert (ours(time + 60, place) > HORIZON) != was_up, f"day {day}"
            kinds[was_up] += 1
    assert len(DAYS) == 1826
    assert kinds == {True: 1826, False: 1826}, "each day has both"


@pytest.mark.parametrize("city", CITIES)
def test_elevation_follows_astral_all_day(city: str) -> None:
    place = CITIES[city]
    worst = max(
        abs(ours(time, place) - theirs(time, place))
        for day in DAYS[::88]
        for time in range(day * 86400 + 1234, (day + 1) * 86400, 7919)
    )
    assert worst < 0.01


def test_the_longest_days_of_oulu() -> None:
    """Around the solstice the sun goes down for an hour or two and rises flatly: still right to a minute."""
    place = CITIES["oulu"]
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
    times = [day * 86400 + 43210 for day in DAYS[::352]]
    printed = run(f"from node.sun import elevation\nprint([elevation(t, *{CITIES['botosani']}) for t in {times}])")
    for time, value in zip(times, eval(printed), strict=True):
        assert value == pytest.approx(ours(time, CITIES["botosani"]), abs=0.002)
