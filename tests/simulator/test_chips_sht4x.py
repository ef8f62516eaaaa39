"""The SHT4x model against its data sheet: durations, conversion, repeatability, heater, serial number, reset."""

from __future__ import annotations

import statistics

import pytest
from felinar_sim.chips import Conditions, Nack
from felinar_sim.chips.sensirion import unpack_words
from felinar_sim.chips.sht4x import Sht4x

MS, S = 1000, 1_000_000


class Air:
    def __init__(self, celsius: float | None = 21.0, percent: float = 50.0) -> None:
        self.celsius, self.percent = celsius, percent

    def __call__(self, now_us: int) -> Conditions:
        return Conditions(temperature_c=self.celsius, humidity_pct=self.percent)


def measure(chip: Sht4x, command: int, now_us: int, wait_ms: float = 10) -> tuple[float, float]:
    chip.write(bytes([command]), now_us)
    t, h = unpack_words(chip.read(6, now_us + round(wait_ms * MS)))
    return -45 + 175 * t / 65535, -6 + 125 * h / 65535


@pytest.fixture
def air() -> Air:
    return Air()


@pytest.fixture
def chip(air: Air) -> Sht4x:
    chip = Sht4x(air)
    chip.t_offset = chip.rh_offset = 0.0
    return chip


@pytest.mark.parametrize(
    ("command", "longest_ms", "typical_ms", "t_spread", "rh_spread"),
    [(0xFD, 8.3, 6.9, 0.04, 0.08), (0xF6, 4.5, 3.7, 0.07, 0.15), (0xE0, 1.6, 1.3, 0.1, 0.25)],
)
def test_durations_and_repeatability(
    chip: Sht4x, command: int, longest_ms: float, typical_ms: float, t_spread: float, rh_spread: float
) -> None:
    with pytest.raises(Nack):
        measure(chip, command, 1 * S, longest_ms - 0.01)
    assert measure(chip, command, 2 * S, longest_ms)[0] == pytest.approx(21, abs=0.3)
    chip.tolerance = 0.0
    measure(chip, command, 3 * S, typical_ms)
    many = [measure(chip, command, (4 + i) * S) for i in range(400)]
    assert statistics.mean(t for t, _ in many) == pytest.approx(21, abs=0.01)
    assert statistics.mean(h for _, h in many) == pytest.approx(50, abs=0.02)
    assert 3 * statistics.stdev(t for t, _ in many) == pytest.approx(t_spread, rel=0.2)
    assert 3 * statistics.stdev(h for _, h in many) == pytest.approx(rh_spread, rel=0.2)


def test_a_result_can_be_read_once(chip: Sht4x) -> None:
    measure(chip, 0xFD, 1 * S)
    with pytest.raises(Nack):
        chip.read(6, 2 * S)


def test_busy_and_unknown_commands_are_refused(chip: Sht4x) -> None:
    with pytest.raises(Nack):
        chip.write(b"\xfd", 500)  # power-up takes 1 ms
    chip.write(b"\xfd", 1 * S)
    with pytest.raises(Nack):
        chip.write(b"\x89", 1 * S + 5 * MS)
    chip.write(b"\x94", 1 * S + 6 * MS)
    with pytest.raises(Nack):
        chip.read(6, 2 * S)
    with pytest.raises(Nack):
        chip.write(b"\x12", 2 * S)


def test_serial_number(chip: Sht4x) -> None:
    chip.write(b"\x89", 1 * S)
    high, low = unpack_words(chip.read(6, 1 * S + 10))
    assert high << 16 | low == chip.serial


@pytest.mark.parametrize(("celsius", "percent"), [(-40, 5), (0, 100), (60, 20)])
def test_range(chip: Sht4x, air: Air, celsius: float, percent: float) -> None:
    air.celsius, air.percent = celsius, percent
    t, h = measure(chip, 0xFD, 1 * S)
    assert t == pytest.approx(celsius, abs=0.1)
    assert h == pytest.approx(percent, abs=0.2)


def test_heater(chip: Sht4x) -> None:
    with pytest.raises(Nack):
        measure(chip, 0x39, 1 * S, 1000)
    warm, dry = measure(chip, 0x39, 3 * S, 1100)
    assert 60 < warm < 85
    assert dry < 10, "the vapour pressure stays, so the relative humidity falls"
    later, _ = measure(chip, 0xFD, 5 * S)
    assert warm > later > 30
    assert measure(chip, 0xFD, 40 * S)[0] == pytest.approx(21, abs=0.05)
    assert measure(chip, 0x15, 60 * S, 110)[0] < 25


def test_a_gap_in_the_record_yields_nothing(chip: Sht4x, air: Air) -> None:
    air.celsius = None
    with pytest.raises(Nack):
        measure(chip, 0xFD, 1 * S, 1000)
    air.celsius = 3.0
    assert measure(chip, 0xFD, 10 * S)[0] == pytest.approx(3, abs=0.1)


def test_faults(chip: Sht4x, air: Air) -> None:
    first = measure(chip, 0xFD, 1 * S)
    chip.stuck = True
    air.celsius = 2.0
    assert measure(chip, 0xFD, 2 * S) == first
    chip.stuck = False
    chip.slow_ms = 50
    with pytest.raises(Nack):
        measure(chip, 0xFD, 3 * S, 58.2)
    assert measure(chip, 0xFD, 4 * S, 58.4)[0] == pytest.approx(2, abs=0.1)
    chip.bad_crc = True
    with pytest.raises(Nack, match="CRC"):
        measure(chip, 0xFD, 5 * S, 60)
    chip.bad_crc = False
    chip.write(b"\xfd", 6 * S)
    chip.gone = True
    with pytest.raises(Nack):
        chip.read(6, 7 * S)
    chip.gone = False
    with pytest.raises(Nack):
        chip.read(6, 8 * S)  # the measurement went with the power


def test_units_differ_within_their_accuracy() -> None:
    offsets = [Sht4x(Air(), seed=i).t_offset for i in range(50)]
    assert len(set(offsets)) == 50
    assert max(map(abs, offsets)) <= 0.2
