"""Clock and period: exact seconds over wrapping ticks, means in 32 bits, missing values that stay missing."""

from __future__ import annotations

import math
import sys
import types
from typing import Any

import pytest
from felinar_wire import codec, scale, schema
from hypothesis import example, given
from hypothesis import strategies as st

from tests.firmware.loader import node
from tests.support.micropython import run

PERIOD = 1 << 30
SOUND = 1 << schema.DOUBT_SOUND
DOUBT = schema.index(schema.REPORT, "doubt")
LUX = schema.index(schema.REPORT, "lux")


def ticks_diff(end: int, start: int) -> int:
    return (end - start + PERIOD // 2) % PERIOD - PERIOD // 2


@pytest.fixture(scope="module")
def clock_module() -> Any:
    import time as real

    stub = types.ModuleType("time")
    stub.__dict__.update(vars(real))
    stub.ticks_diff = ticks_diff  # type: ignore[attr-defined]
    sys.modules["time"] = stub
    try:
        return node("clock")
    finally:
        sys.modules["time"] = real


class Ticks:
    def __init__(self, ms: int) -> None:
        self.ms = ms

    def __call__(self) -> int:
        return self.ms % PERIOD


@given(start=st.integers(0, PERIOD - 1), steps=st.lists(st.integers(0, PERIOD // 2 - 1), max_size=8))
def test_uptime_survives_the_wrap_of_the_ticks(clock_module: Any, start: int, steps: list[int]) -> None:
    ticks = Ticks(start)
    clock = clock_module.Clock(ticks)
    assert clock.now() is None
    for step in steps:
        ticks.ms += step
        assert clock.up() == (ticks.ms - start) // 1000
        assert clock.ms() == (ticks.ms - start) % 1000


@given(up=st.integers(0, 10**8), time=st.integers(63158400, 10**9), ms=st.integers(0, 999), later=st.integers(0, 10**7))
def test_the_time_is_what_was_set_and_what_has_passed(
    clock_module: Any, up: int, time: int, ms: int, later: int
) -> None:
    ticks = Ticks(5)
    clock = clock_module.Clock(ticks)
    ticks.ms += up
    assert clock.set(time, ms) == time
    assert (clock.now(), clock.ms()) == (time, ms)
    ticks.ms += later
    total = time * 1000 + ms + later
    assert (clock.now(), clock.ms()) == (total // 1000, total % 1000)
    assert clock.set(total // 1000 + 5, 0) == 5


def test_a_time_that_cannot_be_right_is_refused(clock_module: Any) -> None:
    clock = clock_module.Clock(Ticks(0))
    assert clock.set(63158399, 0) is None
    assert clock.now() is None
    assert not clock.trusted


def test_drift_is_measured_between_two_settings(clock_module: Any) -> None:
    ticks = Ticks(0)
    clock = clock_module.Clock(ticks)
    clock.set(70000000, 0)
    ticks.ms += 21600_000
    clock.set(70000000 + 21600, 432)  # the crystal lost 432 ms in six hours
    assert clock.drift == 200


def field(name: str) -> tuple[Any, ...]:
    return schema.fields(schema.REPORT)[schema.index(schema.REPORT, name)]


def test_steps_are_those_of_the_table() -> None:
    period = node("period")
    assert period.steps(field("temp"), -3.26) == -33
    assert period.steps(field("co2"), 431.6) == 432
    assert period.steps(field("p"), 1013.25) in (10132, 10133)
    assert period.steps(field("lux"), 1234567) == scale.lux_step(1234567)
    assert period.steps(field("temp"), 0) == 0
    for nothing in (None, float("nan"), float("inf"), -float("inf")):
        assert period.steps(field("temp"), nothing) is None


def test_a_period_is_a_mean_and_what_is_missing_stays_missing() -> None:
    period = node("period").Period()
    at = {name: schema.index(schema.REPORT, name) for name in ("temp", "rh", "energy", "power", "leq")}
    for value in (20.0, 21.0, None, float("nan"), 22.0):
        period.add(at["temp"], value)
    period.add(at["rh"], 0.0)
    period.add(at["energy"], 41)
    period.add(at["energy"], 42)
    values = list(period.close())
    assert values[at["temp"]] == 210
    assert values[at["rh"]] == 0
    assert values[at["energy"]] == 42
    assert values[at["power"]] is None
    assert values[at["leq"]] is None
    assert set(period.close()[:DOUBT]) == {None}, "the next period begins with nothing"


def test_sound_fills_its_five_places() -> None:
    period = node("period").Period()
    calls: list[str] = []

    class Levels:
        count = 480

        def summary(self, out: list[Any], at: int) -> None:
            out[at : at + 5] = [56.04, 71.26, 58.0, None, 49.95]
            calls.append("summary")

        def reset(self) -> None:
            calls.append("reset")

    period.levels = levels = Levels()
    values = period.close(60)
    at = schema.index(schema.REPORT, "leq")
    assert values[at : at + 5] == [560, 713, 580, None, 500]
    assert calls == ["summary", "reset"]
    assert values[DOUBT] == 0
    for levels.count, doubt in ((160, 0), (159, SOUND), (1, SOUND), (0, 0)):
        assert period.close(60)[DOUBT] == doubt, "less than a third of the blocks"


@given(st.floats(1e-9, 0.2), st.integers(2400, 2500), st.booleans())
def test_sound_that_never_varies_is_doubted(square: float, blocks: int, alive: bool) -> None:
    period = node("period").Period()
    period.levels = node("levels").Levels(120.0)
    noise = [1 + 0.1 * math.sin(i * 0.9) if alive else 1 for i in range(blocks)]
    period.levels.add([square * factor for factor in noise])
    values = period.close(300)
    assert values[schema.index(schema.REPORT, "leq")] is not None
    assert values[DOUBT] == (0 if alive else SOUND)


FIELDS = [f[0] for f in schema.fields(schema.REPORT)]
MEANS = [
    i for i, f in enumerate(schema.fields(schema.REPORT)) if FIELDS[i] in ("pm1", "co2", "temp", "rh", "p", "power")
]


def test_places_in_a_report_are_those_of_the_table() -> None:
    period = node("period")
    assert [FIELDS[i] for i in (period._LEQ, period._ENERGY, period._DOUBT)] == ["leq", "energy", "doubt"]
    assert FIELDS[period._LEQ : period._LEQ + 5] == ["leq", "lmax", "l10", "l50", "l90"]
    assert period._SOUND_BIT == SOUND


@given(
    st.sampled_from(MEANS),
    st.lists(st.one_of(st.none(), st.just(math.nan), st.floats(0, 1100, width=32)), max_size=300),
)
def test_the_mean_is_that_of_the_readings_and_nothing_else(place: int, readings: list[float | None]) -> None:
    period = node("period").Period()
    for reading in readings:
        period.add(place, reading)
    values = list(period.close(300))
    good = [reading for reading in readings if reading is not None and not math.isnan(reading)]
    expected = math.fsum(good) / len(good) if good else None
    field_ = schema.fields(schema.REPORT)[place]
    if expected is None:
        assert values[place] is None
    else:
        # Half a step of rounding, and what each of the additions loses of 24 bits.
        slack = 0.5 + len(good) * max(good) * 2**-24 * field_[3] / field_[2]
        assert abs(values[place] - expected * field_[3] / field_[2]) <= slack
    assert [i for i, value in enumerate(values) if value is not None and i != place] == [DOUBT]


@given(
    st.lists(
        st.tuples(
            st.integers(2, 20),
            st.one_of(
                st.none(), st.sampled_from([0, math.nan, math.inf, -math.inf, 3e38, -1e30]), st.floats(-1e6, 1e9)
            ),
        ),
        max_size=60,
    )
)
@example([(2, 1.0)])
def test_nothing_but_numbers_reaches_the_wire_and_no_zero_for_missing(samples: list[tuple[int, float | None]]) -> None:
    period = node("period").Period()
    seen: dict[int, list[float]] = {}
    for place, value in samples:
        period.add(place, value)
        if value is not None and value == value:
            seen.setdefault(place, []).append(value)
    values = list(period.close(300))
    assert values[DOUBT] == 0
    for place, value in enumerate(values[:DOUBT]):
        if place not in seen:
            assert value is None
        if value is not None:
            assert isinstance(value, int)
            if value == 0:
                low, high = min(seen[place]), max(seen[place])
                half = 3 if place == LUX else 1  # millilux: the first step is at 5
                assert low < half and high > -1, "a zero that nobody measured"
    # The codec takes each of them, within its range or as under and over.
    assert codec.decode(schema.REPORT, codec.encode(schema.REPORT, values))[2:20].count(None) >= values[2:20].count(
        None
    )
    assert set(period.close(300)[:DOUBT]) == {None}


def test_the_same_under_micropython() -> None:
    printed = run(
        "from node.period import Period\np = Period()\n"
        "for i in range(100000): p.add(9, 20 + i % 7 / 10)\nfor v in (120000000, 119000000): p.add(2, v)\n"
        "v = p.close()\nprint(v[9], v[2], [i for i, x in enumerate(v) if x is not None])"
    )
    assert printed.split() == ["203", str(scale.lux_step(119500000)), "[2,", "9,", "23]"]
