"""The BH1750 model against its data sheet: modes, times, measurement time register, faults."""

from __future__ import annotations

import pytest
from felinar_sim.chips import ChipError, Conditions, Nack, build
from felinar_sim.chips.bh1750 import Bh1750

MS = 1000


class Light:
    """Surroundings whose light a test sets."""

    def __init__(self, lux: float) -> None:
        self.lux = lux

    def __call__(self, now_us: int) -> Conditions:
        return Conditions(sky_lux=self.lux)


def counts(chip: Bh1750, now_us: int) -> int:
    return int.from_bytes(chip.read(2, now_us), "big")


def one_shot(chip: Bh1750, opcode: int, now_us: int, wait_ms: float) -> int:
    chip.write(bytes([opcode]), now_us)
    return counts(chip, now_us + round(wait_ms * MS))


@pytest.fixture
def light() -> Light:
    return Light(1000.0)


@pytest.fixture
def chip(light: Light) -> Bh1750:
    return Bh1750(light)


@pytest.mark.parametrize(("opcode", "expected"), [(0x20, 1200), (0x21, 2400), (0x23, 1200)])
def test_one_time_modes(chip: Bh1750, opcode: int, expected: int) -> None:
    assert one_shot(chip, opcode, 0, 180) == expected


@pytest.mark.parametrize(("opcode", "maximum_ms", "typical_ms"), [(0x20, 180, 120), (0x21, 180, 120), (0x23, 24, 16)])
def test_conversion_time(chip: Bh1750, opcode: int, maximum_ms: int, typical_ms: int) -> None:
    assert one_shot(chip, opcode, 0, maximum_ms - 0.001) == 0, "a slow part of the data sheet's spread has none yet"
    assert counts(chip, maximum_ms * MS) > 0
    chip.power_cycle(1_000_000)
    chip.tolerance = 0.0
    assert one_shot(chip, opcode, 1_000_000, typical_ms) > 0


def test_reading_early_returns_the_previous_result(chip: Bh1750, light: Light) -> None:
    assert one_shot(chip, 0x20, 0, 180) == 1200
    light.lux = 10
    assert one_shot(chip, 0x20, 1_000_000, 100) == 1200
    assert counts(chip, 1_180_000) == 12


def test_power_down_follows_a_one_time_measurement(chip: Bh1750, light: Light) -> None:
    assert one_shot(chip, 0x20, 0, 180) == 1200
    light.lux = 500
    assert counts(chip, 10_000_000) == 1200, "it does not measure again by itself"
    chip.write(b"\x07", 10_000_000)
    assert counts(chip, 10_000_000) == 1200, "reset is not accepted in power-down"
    chip.write(b"\x01", 10_000_000)
    chip.write(b"\x07", 10_000_000)
    assert counts(chip, 10_000_000) == 0


def test_continuous_mode_follows_the_light(chip: Bh1750, light: Light) -> None:
    chip.write(b"\x10", 0)
    assert counts(chip, 180 * MS) == 1200
    light.lux = 2000
    assert counts(chip, 359 * MS) == 1200
    assert counts(chip, 360 * MS) == 2400
    chip.write(b"\x00", 361 * MS)
    light.lux = 1
    assert counts(chip, 5_000 * MS) == 2400, "power-down keeps the register and stops measuring"


def set_mt(chip: Bh1750, mt: int, now_us: int) -> None:
    chip.write(bytes([0x40 | mt >> 5]), now_us)
    chip.write(bytes([0x60 | mt & 0x1F]), now_us)


@pytest.mark.parametrize("mt", [31, 69, 138, 254])
def test_measurement_time_scales_sensitivity_and_time(chip: Bh1750, light: Light, mt: int) -> None:
    light.lux = 100.0
    set_mt(chip, mt, 0)
    needed_ms = 180 * mt / 69
    assert one_shot(chip, 0x20, 0, needed_ms - 1) == 0
    assert counts(chip, round(needed_ms * MS) + 1) == int(120 * mt / 69)


def test_saturates_and_resolves(chip: Bh1750, light: Light) -> None:
    light.lux = 100_000
    assert one_shot(chip, 0x20, 0, 180) == 0xFFFF
    light.lux = 0.2
    set_mt(chip, 254, 1_000_000)
    assert one_shot(chip, 0x21, 1_000_000, 700) == int(0.2 * 1.2 * 254 / 69 * 2)
    light.lux = 10.9
    set_mt(chip, 69, 2_000_000)
    assert one_shot(chip, 0x23, 2_000_000, 24) == int(8 * 1.2), "4 lx a step in the L mode"


def test_faults(chip: Bh1750, light: Light) -> None:
    assert one_shot(chip, 0x20, 0, 180) == 1200
    chip.nack = True
    with pytest.raises(Nack):
        chip.write(b"\x20", 1_000_000)
    with pytest.raises(Nack):
        chip.read(2, 1_000_000)
    chip.nack = False
    assert counts(chip, 1_000_000) == 1200, "a refusing chip keeps its state"
    chip.stuck = True
    light.lux = 3
    assert one_shot(chip, 0x20, 2_000_000, 180) == 1200
    chip.stuck = False
    chip.slow_ms = 100
    assert one_shot(chip, 0x20, 3_000_000, 279) == 1200
    assert counts(chip, 3_280_000) == 3
    chip.gone = True
    with pytest.raises(Nack):
        chip.read(2, 4_000_000)
    chip.gone = False
    assert counts(chip, 5_000_000) == 0, "it comes back in its power-on state"


def test_build() -> None:
    chip = build({"driver": "bh1750", "bus": "i2c0", "address": 0x5C}, Light(1))
    assert isinstance(chip, Bh1750)
    assert chip.address == 0x5C
    with pytest.raises(ChipError, match="0x24"):
        build({"driver": "bh1750", "address": 0x24}, Light(1))
    with pytest.raises(ChipError, match="bh1751"):
        build({"driver": "bh1751"}, Light(1))
