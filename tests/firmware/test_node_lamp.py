"""The lamp: what it does when, and, as a property of any sequence of events, that it is lit when in doubt at night."""

from __future__ import annotations

import datetime as dt
import importlib
from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.firmware.float32 import I31, load, wrap
from tests.firmware.lamp_oracle import EPOCH, PLACE, Oracle, Program, height, levels, seconds
from tests.firmware.loader import node
from tests.support.micropython import FIRMWARE, PROTOCOL, ROOT, Worker

lamp = node("lamp")
schedule = node("schedule")
bench = importlib.import_module("tests.firmware.lamp_bench")
sun32 = load(FIRMWARE / "node" / "sun.py")

NIGHT = seconds(dt.datetime(2026, 1, 5, 20, tzinfo=dt.UTC))
DAY = seconds(dt.datetime(2026, 1, 5, 10, tzinfo=dt.UTC))
DIM = {"dim": [["23:00", 60], ["05:00", 100]]}


@pytest.fixture(autouse=True, scope="module")
def chip_arithmetic() -> Iterator[None]:
    """The sun as the chip computes it."""
    patch = pytest.MonkeyPatch()
    patch.setattr(lamp, "elevation", lambda time, *place: float(sun32.elevation(I31(time), *map(wrap, place))))
    yield
    patch.undo()


def policy(lamp_object: Any = DIM, place: tuple[float, float] | None = PLACE) -> Any:
    return lamp.Policy(bench.Config(lamp_object, place))


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
    assert p.decide(331, None, 10_000_000) == 100
    assert p.decide(700, None, 10_000_000) == 0
    assert p.decide(710, None, None) == 100, "a light sensor that says nothing any more"
    p.decide(720, None, 10_000_000)
    assert p.decide(1100, None, 10_000_000) == 0
    assert p.decide(1110, None, float("nan")) == 100


def test_without_a_place_there_is_no_sun() -> None:
    p = policy(place=None)
    assert p.decide(1, DAY, None) == 100
    assert p.decide(2, DAY, 10_000_000) == 100
    assert p.decide(400, DAY, 10_000_000) == 0


def test_a_dark_hour_by_day_is_lit_and_a_light_at_night_is_no_day() -> None:
    p = policy()
    assert p.decide(10, DAY, 30_000) == 0, "no more than a gloomy day, or a sensor in the shade"
    assert p.decide(20, DAY, 20_000) == 0
    assert p.decide(319, DAY, 20_000) == 0
    assert p.decide(320, DAY, 20_000) == 100
    assert p.decide(330, DAY, 120_000) == 100
    assert p.decide(629, DAY, 120_000) == 100
    assert p.decide(630, DAY, 120_000) == 0
    assert p.decide(640, DAY, None) == 0, "a sensor that fails by day leaves the sun"
    for up in range(1000, 2000, 10):
        assert p.decide(up, NIGHT, 50_000_000) == 100, "somebody's floodlight"


@pytest.mark.parametrize(
    "dim", [None, 7, "23:00", [["23:00"]], [["25:00", 50]], [["23:00", 101]], [["x", 50]], [[5, 50]], [["23:00", True]]]
)
def test_a_corrupt_profile_is_full_light(dim: Any) -> None:
    assert schedule.parse({"dim": dim})[1] == 1
    for p in (policy({"dim": dim}), policy({"dim": [["18:00", 0]], "programs": [{"dim": dim}]})):
        for hour in range(10):
            assert p.decide(hour * 3600, NIGHT + hour * 3600, None) == 100


BAD: list[Any] = [
    5,
    None,
    [],
    {},
    {"dim": [["1:00", 50]], "days": "mon"},
    {"dim": [["1:00", 50]], "days": ""},
    {"dim": [["1:00", 50]], "days": 1},
    {"dim": [["1:00", 50]], "from": "13-01"},
    {"dim": [["1:00", 50]], "to": "00-01"},
    {"dim": [["1:00", 50]], "to": "12-32"},
    {"dim": [["1:00", 50]], "from": "12"},
    {"dim": [["1:00", 50.5]]},
    {"dim": [["1:60", 50]]},
    {"dim": [["-1:00", 50]]},
    {"dim": [["1:00", 50]], "fade_s": -1},
    {"dim": [["1:00", 50]], "fade_s": 3601},
]


@pytest.mark.parametrize("bad", [*BAD, {"dim": [["1:00", float("inf")]]}, {"dim": [["1:00", float("nan")]]}])
def test_a_bad_program_is_full_light_for_every_night_that_no_later_one_is_for(bad: Any) -> None:
    dark = {"dim": [["18:00", 0]]}
    assert schedule.parse({"programs": [dark, bad]}) == ([schedule.parse({"programs": [dark]})[0][0], LIT], 1)
    p = policy({"programs": [dark, bad]})
    assert p.decide(1, NIGHT, None) == 100
    p = policy({"programs": [bad, {**dark, "days": "mo"}]})
    assert p.decide(1, NIGHT, None) == 0, "a later one holds, whatever the bad one was meant to be"
    assert p.decide(9, NIGHT + 86400, None) == 100


LIT = (127, 101, 1231, (), 0)


@pytest.mark.parametrize("programs", [5, "x", {"dim": []}, True])
def test_no_list_of_programs_is_full_light(programs: Any) -> None:
    p = policy({"dim": [["18:00", 0]], "programs": programs})
    assert p.config.bad == (0 if isinstance(programs, dict) else 1), "one alone needs no list"
    assert p.decide(1, NIGHT, None) == 100


def test_part_night_is_allowed_by_a_schedule_under_trusted_time_only() -> None:
    p = policy({"dim": [["00:30", 0], ["04:30", 80]]})
    assert p.decide(1, NIGHT, None) == 100, "full light until the first change of a night"
    assert p.decide(4 * 3600, NIGHT + 4 * 3600, None) == 0
    assert p.decide(4 * 3600 + 9, None, None) == 100
    assert p.decide(4 * 3600 + 19, NIGHT + 4 * 3600 + 19, None) == 0
    assert p.decide(9 * 3600, NIGHT + 7 * 3600, None) == 80


def test_a_host_that_has_been_away_for_ten_days_leaves_doubt() -> None:
    p = policy({"dim": [["18:00", 0]]})
    p.set_at = 5
    assert p.decide(864004, NIGHT, None) == 0
    assert p.decide(864005, NIGHT, None) == 100
    p.set_at = 864006
    assert p.decide(864010, NIGHT, None) == 0


def test_safe_mode_follows_sun_and_night_alone() -> None:
    p = policy({"dim": [["18:00", 0]]})
    p.override(lamp.OFF, 0, 600, 0, 1)
    assert p.decide(1, NIGHT, None) == 0
    p.safe = True
    assert p.decide(2, NIGHT, None) == 100
    p.override(lamp.OFF, 0, 600, 0, 3)
    assert p.decide(3, NIGHT, None) == 100
    assert p.decide(9, DAY, None) == 0


def test_an_order_holds_until_it_expires() -> None:
    p = policy()
    p.decide(1, NIGHT, None)
    p.override(lamp.OFF, 0, 60, 0, 10, 2)
    assert p.decide(10, NIGHT, None) == 0
    assert p.reason == 2
    assert p.decide(69, NIGHT, None) == 0
    assert p.decide(70, NIGHT, None) == 100
    assert p.mode == lamp.AUTO
    p.override(3, 35, 60, 0, 80)
    assert p.decide(81, NIGHT, None) == 35
    p.override(lamp.AUTO, 0, 0, 0, 90)
    assert p.decide(91, NIGHT, None) == 100
    p.decide(100, DAY, None)
    p.override(lamp.ON, 0, 60, 0, 110)
    assert p.decide(111, DAY, None) == 100


def test_an_order_begins_when_it_is_to() -> None:
    p = policy()
    p.decide(1, NIGHT, None)
    p.override(lamp.OFF, 0, 60, 0, 10, start=20)
    assert p.decide(29, NIGHT, None) == 100
    assert p.decide(30, NIGHT, None) == 0
    assert p.decide(89, NIGHT, None) == 0
    assert p.decide(90, NIGHT, None) == 100
    p.override(lamp.OFF, 0, 60, 0, 100, start=20)
    assert p.decide(500, NIGHT, None) == 100, "over before anybody looked"


def test_an_order_ends_when_time_is_lost() -> None:
    p = policy()
    p.override(lamp.OFF, 0, 6000, 0, 1000)
    assert p.decide(1000, NIGHT, None) == 0
    assert p.decide(1010, NIGHT + 5999, None) == 0
    assert p.decide(1020, NIGHT + 6000, None) == 60, "the wall clock says that it is over, whatever the uptime"
    p.override(lamp.OFF, 0, 6000, 0, 1030)
    assert p.decide(1030, NIGHT, None) == 0
    p.override(lamp.OFF, 0, 6000, 0, 1040, start=20)
    assert p.decide(500, NIGHT, None) == 100, "the uptime has gone back: nobody knows how long it has been"
    assert p.decide(2000, NIGHT, None) == 100
    assert p.decide(2010, DAY, None) == 0, "and nothing waits for an uptime that is far away"


def test_minimum_times_hold_but_not_against_safety() -> None:
    p = policy({"min_on_s": 30, "min_off_s": 30})
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
    p.override(3, 20, 600, 10, 100)
    assert [p.decide(100 + s, NIGHT, None) for s in (0, 5, 9, 10, 11)] == [100, 60, 28, 20, 20]
    assert p.steady
    p.override(lamp.OFF, 0, 600, 4, 200)
    assert [p.decide(200 + s, NIGHT, None) for s in (0, 2, 4)] == [20, 10, 0]
    p.override(lamp.ON, 0, 600, 100, 300)
    assert p.decide(300, NIGHT, None) == 1, "light at once, if little"
    assert not p.steady


def test_a_program_may_fade() -> None:
    p = policy({"dim": [["23:00", 60], ["05:00", 0]], "fade_s": 100})
    eleven = NIGHT + 3600
    assert [p.decide(10 + s, eleven + s, None) for s in (-1, 0, 50, 99, 100)] == [100, 100, 80, 60, 60]
    assert p.steady
    assert p.decide(200, eleven + 50, None) == 80
    assert not p.steady, "so that the node looks each second"
    five = NIGHT + 7 * 3600
    assert [p.decide(300 + s, five + s, None) for s in (0, 50, 98, 100)] == [60, 30, 1, 0]


def test_a_night_belongs_to_the_evening_that_it_began_in() -> None:
    p = policy({"programs": [{"days": "fr,sa", "dim": [["00:00", 50], ["05:00", 0]]}]})
    monday = seconds(dt.datetime(2026, 1, 5, tzinfo=dt.UTC)) - 2 * 3600
    found = {
        (day, hour): p.decide(day * 86400 + hour * 3600, monday + day * 86400 + hour * 3600, None)
        for day in range(7)
        for hour in (1, 6, 20)
    }
    for (day, hour), level in found.items():
        expected = {1: 50 if day in (5, 6) else 100, 6: 0 if day in (5, 6) else 100, 20: 100}[hour]
        p.set_at = day * 86400
        assert level == expected, (day, hour)


def test_the_last_program_of_those_that_hold_counts_and_a_season_may_pass_the_turn_of_the_year() -> None:
    p = policy(
        {
            "dim": [["22:00", 80]],
            "programs": [
                {"from": "12-20", "to": "01-06", "dim": [["22:00", 100]]},
                {"days": "su-mo", "from": "01-04", "to": "01-05", "dim": [["22:00", 10]]},
            ],
        }
    )
    evenings = {(12, 19): 80, (12, 20): 100, (12, 31): 100, (1, 1): 100, (1, 3): 100}
    evenings.update({(1, 4): 10, (1, 5): 10, (1, 6): 100, (1, 7): 80})
    for (month, day), level in evenings.items():
        time = seconds(dt.datetime(2025 if month == 12 else 2026, month, day, 22, 30, tzinfo=dt.UTC))
        assert p.decide(10, time, None) == level, (month, day)


def test_both_clock_changes() -> None:
    """Minute by minute through the nights in question, against the time zone database."""
    programs = [Program(None, dim=((dt.time(1, 30), 50), (dt.time(3, 30), 80), (dt.time(4, 30), 20)))]
    found, bad = schedule.parse({"dim": [["01:30", 50], ["03:30", 80], ["04:30", 20]]})
    assert not bad
    for evening in ((2026, 3, 28), (2026, 10, 24), (2027, 3, 27), (2027, 10, 30), (2028, 3, 25), (2028, 2, 28)):
        start = seconds(dt.datetime(*evening, 20, tzinfo=dt.UTC))
        for time in range(start, start + 10 * 3600, 60):
            local = time + 7200 + 3600 * lamp.summer(time)
            assert {lamp.scheduled(found, local)[0]} == levels(programs, time), time


def test_summer_time_is_that_of_europe() -> None:
    zone = ZoneInfo("Europe/Bucharest")
    moment = EPOCH
    while moment.year < 2058:
        assert lamp.summer(seconds(moment)) == bool(moment.astimezone(zone).dst()), moment
        moment += dt.timedelta(hours=17, minutes=31)
    for year in range(2024, 2058):
        for month in (3, 10):
            last = dt.datetime(year, month, 31, 1, tzinfo=dt.UTC)
            change = seconds(last - dt.timedelta(days=(last.weekday() + 1) % 7))
            assert lamp.summer(change - 1) == (month == 10)
            assert lamp.summer(change) == (month == 3)


def test_dates_are_those_of_the_calendar() -> None:
    for day in range(34 * 366):
        date = EPOCH.date() + dt.timedelta(days=day)
        assert lamp.date(day) == 100 * date.month + date.day


# What may be in a configuration, with what it means.

DAYS = [("mo-su", range(7)), ("fr,sa", (4, 5)), ("sa-mo", (5, 6, 0)), ("we", (2,)), ("mo,we-th,su", (0, 2, 3, 6))]
DATES = st.sampled_from([(1, 1), (1, 6), (2, 28), (2, 29), (3, 28), (3, 29), (6, 21), (10, 24), (12, 20), (12, 31)])
CLOCKS = st.builds(dt.time, st.integers(0, 23), st.sampled_from((0, 1, 30, 59)))
LEVELS = st.one_of(st.just(0), st.integers(0, 100))


@st.composite
def programs(draw: st.DrawFn) -> Program:
    kind = draw(st.integers(0, 5))
    if kind == 0:
        return Program(draw(st.sampled_from(BAD)), sound=False)
    if kind == 1:
        return Program({"dim": [["12:00", 0]]}, dim=((dt.time(12), 0),))
    text, days = draw(st.sampled_from(DAYS))
    first, last = draw(DATES), draw(DATES)
    dim = tuple(draw(st.dictionaries(CLOCKS, LEVELS, max_size=4)).items())
    fade = draw(st.sampled_from((0, 0, 10, 3600)))
    raw = {
        "days": text,
        "from": f"{first[0]:02}-{first[1]:02}",
        "to": f"{last[0]}-{last[1]}",
        "dim": [[f"{clock:%H:%M}", level] for clock, level in dim],
        "fade_s": fade,
    }
    return Program(raw, days=frozenset(days), first=first, last=last, dim=dim, fade=fade)


NIGHTS = [seconds(dt.datetime(*day, 17, tzinfo=dt.UTC)) for day in ((2026, 3, 28), (2026, 10, 24), (2027, 12, 31))]
TIMES = st.one_of(
    st.integers(63_158_400, 400_000_000),
    st.builds(lambda start, later: start + later, st.sampled_from(NIGHTS), st.integers(0, 36_000)),
)


@given(st.lists(programs(), max_size=4), TIMES)
@settings(max_examples=400, deadline=None)
def test_a_schedule_says_what_the_calendar_says(chosen: list[Program], time: int) -> None:
    found, bad = schedule.parse({"programs": [program.raw for program in chosen]})
    assert bad == sum(not program.sound for program in chosen)
    assert lamp.scheduled(found, time + 7200 + 3600 * lamp.summer(time))[0] in levels(chosen, time)


class Safety(RuleBasedStateMachine):
    """Anything happens to a node; at night its relay lights the lamp unless the oracle knows a reason."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = bench.Bench()
        self.history: list[list[Any]] = []
        self.outcomes: list[list[int]] = []
        self.oracle = Oracle()
        self.time: int | None = None
        self.lux: Any = None
        self.power: float | None = None
        self.lit = True
        self.crashed = False
        self.fading_until = 0

    def do(self, *operation: Any) -> None:
        self.history.append(list(operation))
        self.outcomes.append(self.bench.do(*operation))
        self.lit = self.outcomes[-1][0] == 1

    def pass_time(self, seconds: int) -> None:
        self.oracle.up += seconds
        if self.time is not None:
            self.time += seconds

    def step(self, up: int | None = None) -> None:
        # Within minutes of dusk and dawn the oracle and the chip may differ.
        while self.time is not None and self.oracle.placed and abs(height(self.time) + 0.833) < 0.05:
            self.pass_time(600)
            up = None
        up = self.oracle.up if up is None else up
        self.oracle.step(up, self.time, float("nan") if self.lux == "nan" else self.lux)
        self.do("step", up, self.time, self.lux, self.power)
        self.crashed = False

    @initialize(chosen=st.lists(programs(), max_size=3), placed=st.booleans(), normally_closed=st.booleans())
    def boot(self, chosen: list[Program], placed: bool, normally_closed: bool) -> None:
        self.oracle = Oracle(chosen, placed)
        self.time = None
        self.crashed = False
        self.fading_until = 0
        self.do("boot", {"programs": [p.raw for p in chosen]}, PLACE if placed else None, normally_closed)
        assert self.lit, "lit before the first step"
        self.step()

    @rule(chosen=st.lists(programs(), max_size=3), placed=st.booleans(), normally_closed=st.booleans())
    def reboot(self, chosen: list[Program], placed: bool, normally_closed: bool) -> None:
        self.boot(chosen, placed, normally_closed)

    @rule(seconds=st.one_of(st.integers(1, 10), st.integers(1, 40_000)))
    def wait(self, seconds: int) -> None:
        self.pass_time(seconds)
        self.step()

    @rule(days=st.integers(1, 12))
    def be_left_alone(self, days: int) -> None:
        self.wait(days * 86400)

    @rule(time=TIMES)
    def the_host_gives_the_time(self, time: int) -> None:
        self.time = time
        self.oracle.told_at = self.oracle.up
        self.do("host", self.oracle.up)
        self.step()

    @rule(back=st.integers(1, 600_000))
    def lose_uptime(self, back: int) -> None:
        self.step(max(0, self.oracle.up - back))

    @rule(
        lux=st.one_of(st.none(), st.just("nan"), st.sampled_from((0, 99_999, 100_000, 400_000)), st.integers(0, 10**8))
    )
    def light(self, lux: Any) -> None:
        self.lux = lux
        self.step()

    @rule(lux=st.integers(400_000, 10**8), seconds=st.integers(295, 305))
    def bright_for_long(self, lux: int, seconds: int) -> None:
        self.light(lux)
        self.wait(seconds)

    @rule(power=st.one_of(st.none(), st.just("nan"), st.floats(-1, 6000, width=32)))
    def meter(self, power: Any) -> None:
        self.power = None if power == "nan" else power
        self.step()

    @rule(
        mode=st.integers(0, 3),
        level=LEVELS,
        ttl=st.one_of(st.integers(1, 100), st.integers(1, 1_000_000)),
        fade=st.sampled_from((0, 0, 1, 30, 3600)),
        start=st.sampled_from((0, 0, 0, 5, 20_000)),
    )
    def command(self, mode: int, level: int, ttl: int, fade: int, start: int) -> None:
        self.oracle.command(mode, level, ttl, start)
        self.do("order", mode, level, ttl, fade, self.oracle.up, start)
        self.fading_until = max(self.fading_until, self.oracle.up + start + fade)
        self.step()

    @precondition(lambda self: self.oracle.order)
    @rule(late=st.integers(-1, 1))
    def expiry(self, late: int) -> None:
        order = self.oracle.order
        assert order
        self.wait(max(1, order.begin + order.ttl - self.oracle.up + late))

    @rule(start=st.sampled_from(NIGHTS), days=st.integers(0, 12))
    def a_dark_night_then_alone(self, start: int, days: int) -> None:
        self.the_host_gives_the_time(start + 7200)
        self.wait(days * 86400 + 60)

    @rule(safe=st.booleans())
    def safe_mode(self, safe: bool) -> None:
        self.oracle.safe = safe
        self.do("safe", safe)
        self.step()

    @rule(where=st.integers(0, 1))
    def crash(self, where: int) -> None:
        self.do("crash", self.oracle.up, self.time, where if self.time is not None else 0)
        self.crashed = True

    @invariant()
    def lit_unless_something_says_otherwise(self) -> None:
        if not self.history or self.crashed:
            assert self.lit
            return
        if not self.oracle.night(self.time):
            return
        allowed = self.oracle.allowed(self.time)
        assert self.lit or 0 in allowed
        level = self.outcomes[-1][1]
        if self.oracle.up >= self.fading_until:
            # A minimum time on may hold light a little longer, never darkness.
            assert level in allowed or (level > 0 and allowed == {0})

    def teardown(self) -> None:
        if self.history:
            try:
                replayed, events = worker().ask(self.history)
            except AssertionError:
                _workers.clear()  # its heap is not to be trusted
                raise
            assert replayed == self.outcomes, "MicroPython does otherwise"
            assert events == self.bench.events


_workers: list[Worker] = []


def worker() -> Worker:
    if not _workers:
        folder = ROOT / "tests" / "firmware"
        _workers.append(Worker(folder / "lamp_worker.py", path=(PROTOCOL, FIRMWARE, folder)))
    return _workers[0]


@pytest.fixture(autouse=True, scope="module")
def close_worker() -> Iterator[None]:
    yield
    while _workers:
        _workers.pop().close()


TestSafety = Safety.TestCase
TestSafety.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
