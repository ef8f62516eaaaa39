"""Sampling on the virtual clock: what the report says of stuck, foggy, unplugged and odd sensors, period by period."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from felinar_sim.clock import VirtualClock
from felinar_sim.host import Host
from felinar_sim.street import Pole, Street
from felinar_wire import schema

from tests.support.micropython import FIRMWARE

NOON = datetime(2026, 1, 5, 10)
LIGHT, PARTICLES, CO2, CLIMATE, SOUND = (
    1 << n
    for n in (
        schema.DOUBT_LIGHT,
        schema.DOUBT_PARTICLES,
        schema.DOUBT_CO2,
        schema.DOUBT_CLIMATE,
        schema.DOUBT_SOUND,
    )
)
I2C = {"driver": "sht4x", "bus": "i2c0", "address": 0x44}
SPS30 = {"driver": "sps30", "bus": "i2c0", "address": 0x69}

# Drivers whose readings the test writes: `source` is an expression of the uptime in ms, a list of one value a field.
DRIVER = """
import asyncio, time
NAME = {name!r}
FIELDS = {fields!r}
PERIOD_MS = {every}
WARM_UP_MS = {warm}
def open(b, entry):
    class Odd:
        pass
    odd = Odd()
    async def start(): pass
    async def read(out):
        t = b.clock.up() * 1000 + b.clock.ms() if b.clock.now() is None else b.clock.now() * 1000 + b.clock.ms()
        up = b.clock.up()
        out[:] = {source}
    odd.NAME, odd.FIELDS, odd.PERIOD_MS, odd.WARM_UP_MS, odd.start, odd.read = NAME, FIELDS, PERIOD_MS, WARM_UP_MS, start, read
    return odd
"""


class Odd:
    """A driver of the test's own."""

    def __init__(self, name: str, fields: str, source: str, every: int = 1000, warm: int = 0) -> None:
        self.name = name
        self.text = DRIVER.format(name=name, fields=tuple(fields.split()), source=source, every=every, warm=warm)


@contextmanager
def running(
    app: Path, folder: Path, *drivers: Odd, when: datetime = NOON, host: dict[str, Any] | None = None, **options: Any
) -> Iterator[tuple[Street, Pole, Host]]:
    copy = folder / "app"
    shutil.copytree(app, copy)
    if "fitted" in options:
        for entry in options["fitted"]:
            if (source := FIRMWARE / "drivers" / f"{entry['driver']}.py").exists():
                shutil.copy(source, copy / "drivers")
        app = copy
    if drivers:
        for driver in drivers:
            (copy / "drivers" / f"{driver.name}.py").write_text(driver.text)
        app = copy
        options["fitted"] = []
    options.setdefault("report_s", 60)
    street = Street(1, app=app, clock=VirtualClock(when), **options)
    if drivers:
        description = street[0].folder / "board.json"
        fitted = [{"driver": driver.name} for driver in drivers]
        description.write_text(json.dumps({**json.loads(description.read_text()), "fitted": fitted}))
    with street:
        yield street, street[0], Host(street[0], **(host or {}))


def quality(host: Host) -> list[tuple[str, int]]:
    return [event for event in host.events() if event[0].startswith("sensor_")]


def test_a_stuck_sensor_fog_and_an_unplugged_sensor(node_app: Path, tmp_path: Path) -> None:
    """Three hours of a lamp: what the report says, and what it does not."""
    fitted = [{**SPS30, "period_ms": 20_000}, {**I2C, "period_ms": 20_000}, {"driver": "levels", "batch": 80}]
    with running(node_app, tmp_path, report_s=300, fitted=fitted) as (street, pole, host):
        sps30, sht4x = pole.chip("sps30"), pole.chip("sht4x")
        weather = {"humidity_pct": 60.0}
        for chip in (sps30, sht4x):
            around = chip.surroundings
            chip.surroundings = lambda now, around=around: replace(around(now), **weather)

        def minutes(n: int) -> list[dict[str, Any]]:
            before = len(host.reports())
            street.run_for(n * 60)
            return host.reports()[before:]

        street.run_for(1)
        assert [r["doubt"] for r in minutes(15)] == [0] * 3
        assert pole.clock.now_us % 300_000_000 < 2_000_000

        sps30.stuck = True
        stuck = minutes(75)
        assert [r["doubt"] for r in stuck] == [0] * 12 + [PARTICLES] * 3
        assert {(r["pm1"], r["pm25"], r["pm10"]) for r in stuck[1:]} == {
            tuple(stuck[1][k] for k in ("pm1", "pm25", "pm10"))
        }
        assert quality(host) == [("sensor_doubt", 0)], "told once, after ten minutes"
        sps30.stuck = False
        assert minutes(10)[-1]["doubt"] == 0
        assert quality(host) == [("sensor_doubt", 0), ("sensor_back", 0)]

        weather["humidity_pct"], sps30.hygroscopic = 95.0, 1.0
        clear, fog = host.reports()[-1], minutes(25)
        assert [r["doubt"] for r in fog] == [PARTICLES] * 5
        assert fog[-1]["pm25"] > 2 * clear["pm25"], "given as it was measured"
        assert len(quality(host)) == 2, "fog is no fault of the sensor"

        # Without the humidity nobody knows of the fog. What was read in the last minute of the climate stands for no period.
        street.run_for(60)
        sht4x.gone = True
        unplugged, missing, *_ = minutes(14)
        assert unplugged["doubt"] == PARTICLES | CLIMATE
        assert unplugged["temp"] is not None
        assert (missing["temp"], missing["rh"], missing["doubt"]) == (None, None, 0)
        assert quality(host)[2:] == [("sensor_lost", 1)]
        sht4x.gone = False
        again = minutes(15)[-1]
        assert again["temp"] is not None
        assert again["doubt"] == PARTICLES
        assert quality(host)[3:] == [("sensor_back", 1)]
        assert all(r["leq"] is not None and not r["doubt"] & SOUND for r in host.reports())


def test_a_reading_belongs_to_the_period_in_which_it_was_made(node_app: Path, tmp_path: Path) -> None:
    """Each reading tells the second in which it was made. At the end of the third minute the whole node is held up, and
    a reading of 600 comes before anybody has looked at the clock: it is of the fourth."""
    source = "[time.sleep_ms(1700) or 600] if t // 1000 % 300 == 179 else [t // 1000 % 60]"
    with running(node_app, tmp_path, Odd("seconds", "pm1", source)) as (street, _, host):
        street.run_for(365)
        means = [report["pm1"] for report in host.reports()]
    assert means[1] == means[4] == means[5] == 295
    assert means[2] == 290, "0 to 58"
    assert means[3] == pytest.approx((600 + sum(range(60))) / 60 * 10, abs=10)


def test_a_clock_that_is_set_mixes_no_two_periods(node_app: Path, tmp_path: Path) -> None:
    when = datetime(2026, 1, 5, 10, 4, 45)
    with running(node_app, tmp_path, Odd("stairs", "pm1", "[up]"), when=when, host={"gives_time": False}) as (
        street,
        _,
        host,
    ):
        street.run_for(30)
        host.gives_time = True
        host.send(schema.QUERY, [schema.QUERY_HELLO])
        street.run_for(120)
        first, second, *_ = host.reports()
        assert first["time"] is None
        assert first["up"] in (29, 30, 31)
        assert first["pm1"] == pytest.approx(145, abs=10), "seconds 0 to 29"
        assert second["time"] % 60 == 0
        assert second["pm1"] == pytest.approx(520, abs=10), "from 30 to 74"


def test_drivers_get_the_newest_sure_value_of_other_sensors(node_app: Path, tmp_path: Path) -> None:
    """`b.latest` through every state of the other sensor: warming up, giving, none, in doubt, failing."""
    source = "[1000.0 + up / 10] if up < 60 else [None] if up < 80 else [1200.0 + up] if up < 100 else [b.missing()]"
    barometer = Odd("barometer", "p", source, warm=20_000)
    asks = Odd("asks", "co2", "[int(b.latest('p') or 500)]", every=500)
    with running(node_app, tmp_path, asks, barometer, report_s=10) as (street, _, host):
        street.run_for(135)
        reports = host.reports()
        by_end = {r["up"] // 10 * 10: r for r in reports}
        told = [by_end[s]["co2"] if s in by_end else None for s in range(10, 130, 10)]
    ends = [r["up"] for r in reports]
    assert ends == sorted(ends)
    # up to 20 s warm-up; then about 1003 to 1006; then none, in doubt, failing
    assert told[0] == 500
    assert all(1002 <= v <= 1006 for v in told[3:5])
    assert told[-6:] == [500] * 6
    assert all(r["p"] is None for r in reports[:1])
    doubted = [r for r in reports if r["p"] == schema.OVER]
    assert doubted
    assert all(r["doubt"] & 1 << schema.DOUBT_PRESSURE for r in doubted)


def test_the_co2_sensor_measures_with_the_pressure_of_the_barometer(node_app: Path, tmp_path: Path) -> None:
    fitted = [
        {"driver": "scd41", "bus": "i2c0", "address": 0x62},
        {"driver": "bme280", "bus": "i2c0", "address": 0x76, "fields": ["p"]},
    ]
    with running(node_app, tmp_path, fitted=fitted, report_s=300) as (street, pole, host):
        for name in ("scd41", "bme280"):
            chip = pole.chip(name)
            around = chip.surroundings
            chip.surroundings = lambda now, around=around: replace(around(now), pressure_hpa=900.0, co2_ppm=425.0)
        street.run_for(605)
        last = host.reports()[-1]
        assert last["p"] == pytest.approx(9000, abs=20)
        assert last["co2"] == pytest.approx(425 + pole.chip("scd41").offset_ppm, abs=3), "378 without the pressure"


def test_doubt_is_told_after_ten_minutes_and_once(node_app: Path, tmp_path: Path) -> None:
    low = Odd("low", "co2", "[(300 if up % 2000 < 500 or up % 2000 > 1000 else 420) + up % 7]", every=5000)
    with running(node_app, tmp_path, low, report_s=300) as (street, _, host):
        street.run_for(500)
        assert quality(host) == [], "eight minutes are not long"
        assert host.reports()[0]["doubt"] == CO2
        street.run_for(500)
        assert quality(host) == []
        street.run_for(590)
        assert quality(host) == []
        street.run_for(900)
        assert quality(host) == [("sensor_doubt", 0)]
        street.run_for(400)
        assert quality(host) == [("sensor_doubt", 0), ("sensor_back", 0)]


def test_what_a_driver_should_never_give_reaches_no_report(node_app: Path, tmp_path: Path) -> None:
    odd = Odd("odd", "temp rh p", "[float('nan'), float('inf') if up % 2 else 50.0, -float('inf')]")
    with running(node_app, tmp_path, odd) as (street, pole, host):
        street.run_for(130)
        for report in host.reports():
            assert (report["temp"], report["rh"], report["p"]) == (None, 500, None)
        assert len(pole.boots) == 1


def test_warming_up_is_missing_and_not_in_doubt(node_app: Path, tmp_path: Path) -> None:
    odd = Odd("warm", "temp", "[20 + up % 3]", warm=70_000)
    with running(node_app, tmp_path, odd) as (street, _, host):
        street.run_for(185)
        reports = host.reports()
        assert (reports[0]["temp"], reports[0]["doubt"]) == (None, 0)
        assert reports[1]["temp"] == pytest.approx(210, abs=1)
        assert reports[1]["doubt"] == 0, "50 of 60 readings"
        assert reports[2]["doubt"] == 0


def test_a_chip_that_is_not_sure_of_itself(node_app: Path, tmp_path: Path) -> None:
    with running(node_app, tmp_path, fitted=[SPS30]) as (street, pole, host):
        street.run_for(125)
        pole.chip("sps30").speed_warning = True
        street.run_for(60)
        assert [r["doubt"] for r in host.reports()] == [0, 0, PARTICLES]
        assert host.reports()[-1]["pm25"] is not None
