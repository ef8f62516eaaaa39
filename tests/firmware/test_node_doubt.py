"""What a reading is worth: range, step, standing still, fog, too few readings; under CPython and MicroPython alike."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from felinar_wire import schema
from hypothesis import given
from hypothesis import strategies as st

from tests.firmware.loader import node
from tests.support.micropython import run

GROUPS = {
    "light": ("lux",),
    "particles": ("pm1", "pm25", "pm10"),
    "co2": ("co2",),
    "gas": ("voc", "nox"),
    "climate": ("temp", "rh"),
    "pressure": ("p",),
    "sound": ("leq", "lmax", "l10", "l50", "l90"),
    "power": ("power", "energy"),
}
NONE = ("time", "up", "relay", "dim", "mv", "rssi", "doubt")
# Fields of a sensor, ms between readings, a likely reading, minutes for which it may stand still.
SENSORS: dict[str, tuple[tuple[str, ...], int, list[float], int]] = {
    "light": (("lux",), 5000, [9000000], 30),
    "particles": (("pm1", "pm25", "pm10"), 5000, [5.25, 8.5, 12.0], 60),
    "co2": (("co2",), 15000, [431], 30),
    "gas": (("voc", "nox"), 1000, [103, 1], 360),
    "climate": (("temp", "rh"), 5000, [3.25, 61.5], 60),
    "pressure": (("p",), 60000, [1004.5], 60),
}


def bit(group: str) -> int:
    number: int = getattr(schema, "DOUBT_" + group.upper())
    return 1 << number


def places(*names: str) -> list[int]:
    return [schema.index(schema.REPORT, name) for name in names]


def judge(*names: str, every: int = 5000) -> Any:
    return node("doubt").Doubt(places(*names), every)


def feed(doubt: Any, readings: list[list[Any]], rh: float | None = None) -> list[int]:
    return [int(bool(doubt.judge(list(reading), rh, 0))) for reading in readings]


def test_every_field_has_the_group_of_the_vocabulary() -> None:
    for group, names in GROUPS.items():
        for name in names:
            doubt = judge(name)
            doubt.judge([1e8], None, 1)
            assert doubt.take(0) == bit(group), name
    for name in NONE:
        doubt = judge(name)
        doubt.judge([1], None, 1)
        assert doubt.take(0) & 0xFF == 0, name
    assert sorted(bit(group) for group in GROUPS) == [1 << n for n in range(8)]
    assert {f[0] for f in schema.fields(schema.REPORT)} == {n for names in (*GROUPS.values(), NONE) for n in names}


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("co2", (350, 431, 5000), (349, 1, 5001)),
        ("temp", (-40, 0, 57), (-40.1, 57.1, 85)),
        ("p", (800, 1013, 1085), (799, 1086, 300)),
    ],
)
def test_beyond_what_a_street_can_have(name: str, good: tuple[float, ...], bad: tuple[float, ...]) -> None:
    for value in good:
        assert feed(judge(name), [[value]]) == [0]
    for value in bad:
        doubt = judge(name)
        assert feed(doubt, [[value]]) == [1]
        assert doubt.take(0) != 0


def test_a_jump_is_doubted_until_the_next_reading_confirms_it() -> None:
    doubt = judge("temp", "rh")
    assert feed(doubt, [[10, 50], [10.1, 50], [15.2, 50], [15.3, 50], [15.2, 50]]) == [0, 0, 1, 0, 0]
    assert doubt.take(25) == 0, "it was none"
    assert feed(doubt, [[15.1, 50], [20.3, 50], [15.2, 50], [15.1, 50]]) == [0, 1, 1, 0]
    assert doubt.take(20) == bit("climate"), "one value of the mean is wrong"
    assert feed(doubt, [[15.2, 50], [20.4, 50]]) == [0, 1]
    assert doubt.take(10) == bit("climate"), "nobody knows yet"
    assert feed(doubt, [[20.5, 50]]) == [0]
    assert doubt.take(5) == 0
    assert feed(judge("p"), [[1004.5], [1006.6], [1006.5]]) == [0, 1, 0]
    assert feed(judge("co2"), [[430], [1500], [1490]]) == [0, 1, 0]


@pytest.mark.parametrize("kind", SENSORS)
def test_what_stands_still_for_too_long(kind: str) -> None:
    names, every, reading, minutes = SENSORS[kind]
    doubt = judge(*names, every=every)
    n = minutes * 60000 // every
    assert feed(doubt, [reading] * n) == [0] * n
    assert doubt.take(0) == 0
    assert feed(doubt, [reading] * 3) == [1] * 3
    assert doubt.take(0) == bit(kind)
    assert doubt.long == 3
    moved = [*reading[:-1], reading[-1] + 1]
    assert feed(doubt, [moved, reading]) == [0, 0], "one field that moves is life"
    assert (doubt.take(0), doubt.long) == (0, 0)


def test_dark_nights_and_dark_lamps_stand_still_rightly() -> None:
    day = 86400 // 5
    for reading in ([0], [200000]):
        assert feed(judge("lux"), [reading] * day) == [0] * day
    assert feed(judge("power", "energy"), [[0, 41]] * day) == [0] * day


def test_particles_in_fog_are_no_fault_of_the_sensor() -> None:
    doubt = judge("pm1", "pm25", "pm10")
    for humidity, expected in ((85, 0), (85.1, bit("particles")), (None, 0), (0, 0)):
        assert feed(doubt, [[20, 30 + (humidity or 0), 40]], humidity) == [0]
        assert doubt.take(0) == expected
    climate = judge("temp", "rh")
    feed(climate, [[5, 99]], 99)
    assert climate.take(0) == 0


def test_a_chip_that_is_not_sure() -> None:
    doubt = judge("pm1", "pm25", "pm10")
    assert doubt.judge([1, 2, 3], None, 0x20)
    assert doubt.take(0) == bit("particles")


def test_less_than_a_third_of_the_readings() -> None:
    doubt = judge("co2", every=15000)
    for n, expected in ((20, 0), (7, 0), (6, bit("co2")), (1, bit("co2")), (0, 0)):
        feed(doubt, [[430 + i] for i in range(n)])
        assert doubt.take(300) == expected, n
    seldom = judge("co2", every=15000)
    feed(seldom, [[431]])
    assert seldom.take(5) == 0, "a period shorter than the time between readings has no more"


def test_what_is_no_number_is_missing_and_never_in_doubt() -> None:
    doubt = judge("pm1", "pm25", "pm10")
    for nothing in (None, math.nan, math.inf, -math.inf, 1e30):
        out = [nothing] * 3
        assert doubt.judge(out, 99, 1) == 0
        assert out == [None] * 3
    assert doubt.take(300) == 0
    out = [math.nan, 3.0, 4.0]
    doubt.judge(out, None, 0)
    assert out == [None, 3.0, 4.0]


NUMBER = st.one_of(
    st.none(), st.sampled_from([0, 0.0, math.nan, math.inf, -math.inf]), st.integers(-50, 1200), st.floats(-1e12, 1e12)
)


@given(
    names=st.sampled_from([*(names for names, *_ in SENSORS.values()), ("temp", "rh", "p")]),
    data=st.data(),
)
def test_doubt_is_only_of_what_is_given(names: tuple[str, ...], data: st.DataObject) -> None:
    doubt = judge(*names)
    own = 0
    for group, fields in GROUPS.items():
        own |= bit(group) if set(fields) & set(names) else 0
    for _ in range(data.draw(st.integers(1, 4))):
        any_value = False
        for _ in range(data.draw(st.integers(0, 6))):
            out = data.draw(st.lists(NUMBER, min_size=len(names), max_size=len(names)))
            before = list(out)
            verdict = doubt.judge(out, data.draw(st.one_of(st.none(), st.integers(0, 100))), 0)
            for old, new in zip(before, out, strict=True):
                assert new == old or new is None
                assert new is None or (math.isfinite(new) and abs(new) < 1e9)
            assert not verdict or any(value is not None for value in out)
            any_value |= any(value is not None for value in out)
        bits = doubt.take(data.draw(st.sampled_from([0, 60, 300])))
        assert bits & ~own == 0
        if not any_value:
            assert bits in (0, doubt._jump), "nothing was read, so nothing but an open jump can be in doubt"


@given(
    kind=st.sampled_from([k for k in SENSORS if k != "gas"]),
    before=st.integers(0, 50),
    more=st.integers(1, 100),
)
def test_a_stuck_sensor_never_looks_fresh(kind: str, before: int, more: int) -> None:
    names, every, reading, minutes = SENSORS[kind]
    doubt = judge(*names, every=every)
    for i in range(before):
        doubt.judge([value + i % 2 for value in reading], None, 0)
    n = minutes * 60000 // every + 1
    feed(doubt, [reading] * n)
    doubt.take(0)
    assert feed(doubt, [reading] * more) == [1] * more
    assert doubt.take(0) == bit(kind)


def test_the_same_under_micropython() -> None:
    """A script of readings, all verdicts and bits alike in both interpreters."""
    script = [
        (
            places("temp", "rh", "p"),
            [[4.5, 80.25, 1001.5], [4.5, 80.25, None], [9.75, 81.0, 1001.5], [4.5, 90.5, 1004.0]],
        ),
        (places("pm1", "pm25", "pm10"), [[None] * 3, [0, 0, 0], [0, 0, 0], [1e10, 5.5, 6.5]] * 300),
        (places("lux"), [[150000], [121000000]] + [[500000]] * 400),
        (places("co2"), [[0], [420], [1000000], [425]]),
        (places("power", "energy"), [[0.5, 12], [None, 12], [36.5, 13]]),
    ]
    code = (
        "import json\nfrom node.doubt import Doubt\n"
        f"for at, readings in json.loads('{json.dumps(script)}'):\n"
        "    d = Doubt(at, 5000)\n"
        "    told = [int(d.judge(out, rh, 0)) for rh in (None, 90) for out in readings]\n"
        "    print(json.dumps([told, d.long, d.take(60), d.take(60)]))\n"
    )
    printed = [json.loads(line) for line in run(code).splitlines()]
    for (at, readings), got in zip(script, printed, strict=True):
        doubt = node("doubt").Doubt(at, 5000)
        told = [int(doubt.judge(list(out), rh, 0)) for rh in (None, 90) for out in readings]
        assert got == [told, doubt.long, doubt.take(60), doubt.take(60)]
    assert any(1 in told for told, *_ in printed)
    assert any(0 in told for told, *_ in printed)
