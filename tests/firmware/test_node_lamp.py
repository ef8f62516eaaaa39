"""The lamp policy: lit when in doubt at night, as a property over any sequence of commands, faults and time jumps."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.firmware.loader import node

lamp = node("lamp")
config = node("config")
sun = node("sun")

EPOCH = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
PLACE = (47.745, 26.659)
NIGHT = int((dt.datetime(2026, 1, 5, 20, tzinfo=dt.UTC) - EPOCH).total_seconds())
DAY = int((dt.datetime(2026, 1, 5, 10, tzinfo=dt.UTC) - EPOCH).total_seconds())
SETTINGS = {
    "lat": PLACE[0],
    "lon": PLACE[1],
    "lamp": {"dim": [["23:00", 60], ["05:00", 100]], "utc_offset_min": 120},
}


def policy(**changes: Any) -> Any:
    data = {**SETTINGS, **changes}
    return lamp.Policy(config.Config(data))


def test_follows_the_sun_and_the_profile() -> None:
    p = policy()
    assert p.level == 100, "lit before anything is known"
    assert p.decide(1, DAY, None) == 0
    assert p.decide(2000, NIGHT, None) == 100
    assert p.decide(3000, NIGHT + 3600, None) == 60, "23:00 local time"
    assert p.decide(4000, NIGHT + 7 * 3600, None) == 100, "05:00 local time"


def test_without_time_it_is_night_until_it_has_been_bright_for_long() -> None:
    p = policy()
    assert p.decide(1, None, None) == 100
    assert p.decide(2, None, 10_000_000) == 100, "a flash of light is no day"
    assert p.decide(301, None, 10_000_000) == 100
    assert p.decide(302, None, 10_000_000) == 0
    assert p.decide(310, None, 300_000) == 0, "between the thresholds it stays"
    assert p.decide(320, None, 90_000) == 100
    assert p.decide(330, None, 10_000_000) == 100, "and the wait begins anew"
    assert p.decide(700, None, 10_000_000) == 0
    assert p.decide(710, None, None) == 100, "a light sensor that says nothing any more"


def test_without_a_place_there_is_no_sun() -> None:
    p = policy(lat=None)
    assert p.decide(1, DAY, None) == 100
    assert p.decide(2, DAY, 10_000_000) == 100
    assert p.decide(400, DAY, 10_000_000) == 0


@pytest.mark.parametrize(
    "dim", [None, 7, "23:00", [["23:00"]], [["25:00", 50]], [["23:00", 101]], [["x", 50]], [[5, 50]], [["23:00", True]]]
)
def test_a_corrupt_schedule_is_full_light(dim: Any) -> None:
    p = policy(lamp={"dim": dim, "utc_offset_min": 120})
    assert p._config.bad == ["lamp.dim"]
    for hour in range(10):
        assert p.decide(hour * 3600, NIGHT + hour * 3600, None) == 100


def test_part_night_is_allowed_by_a_schedule_under_trusted_time_only() -> None:
    p = policy(lamp={"dim": [["00:30", 0], ["04:30", 80]], "utc_offset_min": 120})
    assert p.decide(1, NIGHT, None) == 80, "the last entry holds until the first one of the day"
    assert p.decide(4 * 3600, NIGHT + 4 * 3600, None) == 0
    assert p.decide(4 * 3600 + 9, None, None) == 100


def test_an_override_holds_until_it_expires() -> None:
    p = policy()
    p.decide(1, NIGHT, None)
    p.override(lamp.OFF, 0, 60, 0, 10)
    assert p.decide(10, NIGHT, None) == 0
    assert p.decide(69, NIGHT, None) == 0
    assert p.decide(70, NIGHT, None) == 100
    assert p.mode == lamp.AUTO
    p.override(lamp.DIM, 35, 60, 0, 80)
    assert p.decide(81, NIGHT, None) == 35
    p.override(lamp.AUTO, 0, 0, 0, 90)
    assert p.decide(91, NIGHT, None) == 100
    p.decide(100, DAY, None)
    p.override(lamp.ON, 0, 60, 0, 110)
    assert p.decide(111, DAY, None) == 100


def test_minimum_times_hold_but_not_against_safety() -> None:
    p = policy(lamp={"min_on_s": 30, "min_off_s": 30})
    assert p.decide(100, DAY, None) == 0
    p.override(lamp.ON, 0, 600, 0, 110)
    assert p.decide(110, DAY, None) == 0, "the lamp must first cool for its minimum time"
    assert p.decide(130, DAY, None) == 100
    p.override(lamp.OFF, 0, 600, 0, 140)
    assert p.decide(140, DAY, None) == 100
    assert p.decide(160, DAY, None) == 0
    p.override(lamp.AUTO, 0, 0, 0, 161)
    assert p.decide(161, NIGHT, None) == 100, "at night nobody waits for light"


def test_a_fade_takes_its_time() -> None:
    p = policy()
    p.decide(0, NIGHT, None)
    p.override(lamp.DIM, 20, 600, 10, 100)
    assert [p.decide(100 + s, NIGHT, None) for s in (0, 5, 9, 10, 11)] == [100, 60, 28, 20, 20]
    assert p.steady
    p.override(lamp.OFF, 0, 600, 4, 200)
    assert [p.decide(200 + s, NIGHT, None) for s in (0, 2, 4)] == [20, 10, 0]
    p.override(lamp.ON, 0, 600, 100, 300)
    assert p.decide(300, NIGHT, None) == 1, "light at once, if little"


def test_summer_time_is_that_of_europe() -> None:
    zone = ZoneInfo("Europe/Bucharest")
    moment = EPOCH
    while moment.year < 2040:
        time = int((moment - EPOCH).total_seconds())
        assert lamp.summer(time) == bool(moment.astimezone(zone).dst()), moment
        moment += dt.timedelta(hours=17, minutes=31)
    for year in range(2024, 2040):
        for month in (3, 10):
            last = dt.datetime(year, month, 31, 1, tzinfo=dt.UTC)
            change = int((last - dt.timedelta(days=(last.weekday() + 1) % 7) - EPOCH).total_seconds())
            assert lamp.summer(change - 1) == (month == 10)
            assert lamp.summer(change) == (month == 3)


@given(st.lists(st.tuples(st.integers(0, 1439), st.integers(0, 100)), max_size=6), st.integers(0, 1439))
def test_a_profile_holds_each_level_until_the_next(entries: list[tuple[int, int]], minute: int) -> None:
    profile = config.profile([[f"{m // 60:02}:{m % 60:02}", level] for m, level in entries])
    level = lamp.scheduled(profile, minute)
    before = sorted(e for e in entries if e[0] <= minute) or sorted(entries)
    assert level == (before[-1][1] if before else 100)


class Safety(RuleBasedStateMachine):
    """What is commanded, against a model that knows only what allows darkness."""

    def __init__(self) -> None:
        super().__init__()
        self.up = 0
        self.time: int | None = None
        self.offset = 0
        self.lux: int | None = None
        self.override: tuple[int, int, int] | None = None
        self.bright_since: int | None = None
        self.part_night = False
        self.policy = policy()
        self.out = 100

    @rule(seconds=st.integers(1, 40_000))
    def wait(self, seconds: int) -> None:
        self.up += seconds
        if self.time is not None:
            self.time += seconds
        self.step()

    @rule(time=st.one_of(st.none(), st.integers(63_158_400, 400_000_000)))
    def clock(self, time: int | None) -> None:
        self.time = time
        self.step()

    @rule(lux=st.one_of(st.none(), st.integers(0, 120_000_000)))
    def light(self, lux: int | None) -> None:
        self.lux = lux
        self.step()

    @rule(mode=st.integers(0, 3), level=st.integers(0, 100), ttl=st.integers(1, 100_000), fade=st.integers(0, 3600))
    def command(self, mode: int, level: int, ttl: int, fade: int) -> None:
        self.policy.override(mode, level, ttl, fade, self.up)
        self.override = (mode, level, self.up + ttl) if mode else None
        self.step()

    @rule(late=st.integers(0, 2))
    def expiry(self, late: int) -> None:
        if self.override:
            self.wait(max(1, self.override[2] - self.up + late))

    @rule(part_night=st.booleans())
    def reboot(self, part_night: bool) -> None:
        self.part_night = part_night
        dim = [["01:00", 0], ["04:00", 100]] if part_night else [["23:00", 60]]
        self.policy = policy(lamp={"dim": dim, "utc_offset_min": 120})
        assert self.policy.level > 0
        self.override = None
        self.bright_since = None
        self.time = None
        self.step()

    def step(self) -> None:
        if self.lux is None or self.lux < 400_000:
            self.bright_since = None if self.lux is None or self.lux < 100_000 else self.bright_since
        elif self.bright_since is None:
            self.bright_since = self.up
        self.out = self.policy.decide(self.up, self.time, self.lux)

    @invariant()
    def lit_unless_something_says_otherwise(self) -> None:
        if self.out > 0:
            return
        if self.override and self.up < self.override[2]:
            assert (
                self.override[0] == lamp.OFF
                or (self.override[0] == lamp.DIM and self.override[1] == 0)
                or not self.dark()
            )
            return
        assert not self.dark() or (self.time is not None and self.part_night)

    def dark(self) -> bool:
        if self.time is not None:
            return bool(sun.elevation(self.time, *PLACE) < -0.833)
        return self.bright_since is None or self.up - self.bright_since < 300


TestSafety = Safety.TestCase
TestSafety.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
