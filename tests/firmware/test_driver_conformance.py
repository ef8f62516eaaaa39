"""What every sensor driver must stand: a chip that is away, refuses, is slow, stuck or garbled, and comes back.

A new driver gets one line in `CHIPS`; it runs in MicroPython against the simulator's model of its chip.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from felinar_sim.chips import Conditions
from felinar_wire import schema

from tests.firmware.driver_bench import CRC, FAULT, IDENTITY, NACK, RANGE, TIMEOUT, Bench, DriverFailure, bench


@dataclass(frozen=True)
class Chip:
    """A driver and what its chip can do. `values`: what the conditions below give, as (value, tolerance)."""

    driver: str
    entry: dict[str, Any]
    values: dict[str, tuple[float, float]]
    settle_s: float = 5
    reads: int = 1  # readings after which it has settled, one after each pause
    bound_ms: float = 3500  # no call may take longer, whatever the chip does
    checked: bool = True  # its answers carry a checksum
    waits: bool = True  # it says when a measurement has ended
    slow_ms: float = 60_000  # what is beyond the driver's patience
    addressed: bool = True  # on I2C: silence is NACK; elsewhere it is also TIMEOUT
    silence: tuple[int, ...] = field(default=(NACK,))


WORLD = Conditions(
    sky_lux=3.3,
    pm1=8.0,
    pm25=12.0,
    pm4=14.0,
    pm10=15.0,
    temperature_c=11.5,
    humidity_pct=71.0,
    pressure_hpa=1002.0,
    co2_ppm=433.0,
)

CHIPS = [
    Chip("bh1750", {"bus": "i2c0", "address": 0x23}, {"lux": (3300, 120)}, checked=False, waits=False),
    Chip("sps30", {"bus": "i2c0", "address": 0x69}, {"pm1": (8, 1.5), "pm25": (12, 2), "pm10": (15, 2.5)}, settle_s=40),
    Chip("sht4x", {"bus": "i2c0", "address": 0x44}, {"temp": (11.5, 0.4), "rh": (71, 4)}),
    Chip(
        "bl0937",
        {"counter": 0},
        {"power": (40, 2), "energy": (22, 22)},
        settle_s=10,
        checked=False,
        waits=False,
        addressed=False,
    ),
    Chip(
        "hlw8012",
        {"counter": 0},
        {"power": (40, 2), "energy": (22, 22)},
        settle_s=10,
        checked=False,
        waits=False,
        addressed=False,
    ),
    Chip("veml7700", {"bus": "i2c0", "address": 0x10}, {"lux": (3300, 60)}, checked=False, waits=False),
    Chip("scd41", {"bus": "i2c0", "address": 0x62}, {"co2": (433, 60)}, settle_s=15, bound_ms=7000),
    Chip(
        "sgp41",
        {"bus": "i2c0", "address": 0x59},
        {"voc": (100, 40), "nox": (1, 1)},
        settle_s=0.93,
        reads=80,
        bound_ms=9500,
    ),
    Chip(
        "bme280",
        {"bus": "i2c0", "address": 0x76},
        {"temp": (11.5, 0.1), "rh": (71, 0.3), "p": (1002, 0.1)},
        checked=False,
    ),
    *(
        Chip(
            driver,
            {"bus": "uart1"},
            {"pm1": (8, 4), "pm25": (12, 6), "pm10": (15, 8)},
            settle_s=40,
            waits=False,
            silence=(TIMEOUT,),
        )
        for driver in ("pms5003", "pms7003")
    ),
    Chip(
        "sds011",
        {"bus": "uart1"},
        {"pm25": (12, 6), "pm10": (15, 8)},
        settle_s=310,
        slow_ms=3_600_000,
        silence=(TIMEOUT,),
    ),
]


@pytest.fixture(params=CHIPS, ids=lambda chip: chip.driver)
def case(request: pytest.FixtureRequest) -> Iterator[tuple[Chip, Bench]]:
    chip: Chip = request.param
    with bench(chip.driver, chip.entry, WORLD) as b:
        b.says = b.fit()  # type: ignore[attr-defined]
        yield chip, b


def measured(chip: Chip, b: Bench) -> dict[str, Any]:
    """Start, wait until the chip has settled, and give the last reading."""
    b.start()
    b.read()
    for _ in range(chip.reads):
        b.sleep(chip.settle_s)
        values = b.read()
    return values


def check(chip: Chip, values: dict[str, Any]) -> None:
    assert set(values) == set(chip.values)
    for name, (expected, tolerance) in chip.values.items():
        assert values[name] == pytest.approx(expected, abs=tolerance), name


def failure(b: Bench, chip: Chip, attempts: int = 3) -> int:
    """The reason of the first failure within a few readings, each preceded by a pause."""
    for _ in range(attempts):
        b.sleep(chip.settle_s)
        try:
            b.read()
        except DriverFailure as error:
            return error.reason
    raise AssertionError("the driver kept giving values")


def test_shape(case: tuple[Chip, Bench]) -> None:
    chip, b = case
    says = b.says  # type: ignore[attr-defined]
    fields = {name for name, *_ in schema.fields(schema.REPORT)}
    assert says["NAME"] == chip.driver
    assert set(says["FIELDS"]) <= fields
    assert 500 <= says["PERIOD_MS"] <= 60_000


def test_reads_what_is_there(case: tuple[Chip, Bench]) -> None:
    chip, b = case
    check(chip, measured(chip, b))
    assert b.longest_ms <= chip.bound_ms


def test_a_chip_that_refuses(case: tuple[Chip, Bench]) -> None:
    chip, b = case
    measured(chip, b)
    b.model.nack = True
    assert failure(b, chip) in chip.silence
    if chip.addressed:
        with pytest.raises(DriverFailure) as caught:
            b.start()
        assert caught.value.reason in chip.silence
    b.model.nack = False
    check(chip, measured(chip, b))
    assert b.longest_ms <= chip.bound_ms


def test_a_chip_that_goes_and_comes_back(case: tuple[Chip, Bench]) -> None:
    chip, b = case
    measured(chip, b)
    b.model.gone = True
    assert failure(b, chip) in chip.silence
    b.sleep(3600)
    b.model.gone = False
    b.sleep(2)
    check(chip, measured(chip, b))


def test_a_chip_that_was_away_at_the_start(case: tuple[Chip, Bench]) -> None:
    chip, b = case
    if not chip.addressed:
        pytest.skip("a meter cannot be asked whether it is there")
    b.model.gone = True
    with pytest.raises(DriverFailure) as caught:
        b.start()
    assert caught.value.reason in chip.silence
    b.model.gone = False
    b.sleep(2)
    check(chip, measured(chip, b))


def test_a_short_interruption_does_not_pass_for_a_value(case: tuple[Chip, Bench]) -> None:
    """The chip loses its state between two readings: the next reading is an error or right, never nonsense."""
    chip, b = case
    measured(chip, b)
    b.model.gone = True
    b.sleep(1)
    b.model.gone = False
    b.sleep(chip.settle_s)
    reason = None
    try:
        check(chip, b.read())
    except DriverFailure as error:
        reason = error.reason
    assert reason in (None, NACK, TIMEOUT)
    check(chip, measured(chip, b))


def test_a_wrong_checksum(case: tuple[Chip, Bench]) -> None:
    chip, b = case
    if not chip.checked:
        pytest.skip("the chip sends no checksums")
    measured(chip, b)
    b.model.bad_crc = True
    assert failure(b, chip) == CRC
    b.model.bad_crc = False
    check(chip, measured(chip, b))
    assert b.longest_ms <= chip.bound_ms


def test_a_slow_chip(case: tuple[Chip, Bench]) -> None:
    chip, b = case
    if not chip.waits:
        pytest.skip("the chip does not say when a measurement has ended")
    measured(chip, b)
    b.model.slow_ms = chip.slow_ms
    assert failure(b, chip) == TIMEOUT
    assert b.longest_ms <= chip.bound_ms
    b.model.slow_ms = 0
    b.sleep(120)
    check(chip, measured(chip, b))


def test_a_stuck_chip_is_left_to_the_sampler(case: tuple[Chip, Bench]) -> None:
    chip, b = case
    before = measured(chip, b)
    b.model.stuck = True
    b.sleep(chip.settle_s)
    b.read()
    b.sleep(chip.settle_s)
    again = b.read()
    for name in chip.values:
        assert again[name] == pytest.approx(before[name], rel=0.1), "a stuck value is passed on as it is"


def test_a_bus_that_hangs(case: tuple[Chip, Bench]) -> None:
    chip, b = case
    if not chip.entry.get("bus", "").startswith("i2c"):
        pytest.skip("not on I2C")
    measured(chip, b)
    b.bus_hang = True
    assert failure(b, chip) == TIMEOUT
    with pytest.raises(DriverFailure) as caught:
        b.start()
    assert caught.value.reason == TIMEOUT
    b.bus_hang = False
    check(chip, measured(chip, b))
    assert b.longest_ms <= chip.bound_ms


def test_reasons_are_what_the_drivers_say() -> None:
    from tests.support.micropython import run

    names = "NACK, CRC, TIMEOUT, IDENTITY, RANGE, FAULT"
    said = run(f"from drivers import {names}\nprint({names})").split()
    assert [int(n) for n in said] == [NACK, CRC, TIMEOUT, IDENTITY, RANGE, FAULT]
