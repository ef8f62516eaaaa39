"""The meters: frequencies of the data sheets, exact integrals, the SEL pin, faults."""

from __future__ import annotations

import pytest
from felinar_sim.chips import ChipError, Conditions, Lamp, build
from felinar_sim.chips.meter import HLW8012, Meter

S = 1_000_000


def nowhere(now_us: int) -> Conditions:
    return Conditions()


@pytest.fixture
def lamp() -> Lamp:
    return Lamp()


def test_bl0937_frequencies(lamp: Lamp) -> None:
    meter = Meter(nowhere, lamp)
    # 40 W, 230 V, power factor 0.96 over 1 milliohm and a divider of 1961: by hand from the data sheet's formulas
    assert meter.frequency("power_cf", 0) == pytest.approx(1_721_506 * 40 * 0.001 / 1961 / 1.218**2)
    assert meter.frequency("power_cf1", 0) == pytest.approx(94_638 * 40 / (230 * 0.96) * 0.001 / 1.218)
    meter.pin("power_sel", 1, 0)
    assert meter.frequency("power_cf1", 0) == pytest.approx(15_397 * 230 / 1961 / 1.218)


def test_hlw8012_frequencies(lamp: Lamp) -> None:
    meter = Meter(nowhere, lamp, HLW8012)
    assert meter.frequency("power_cf", 0) == pytest.approx(40 * 0.001 / 1961 * 48 * 3.579e6 / 128 / 2.43**2)
    meter.pin("power_sel", 1, 0)
    assert meter.frequency("power_cf1", 0) == pytest.approx(230 / 1961 * 2 * 3.579e6 / 512 / 2.43)


def test_pulses_are_the_integral_of_the_draw(lamp: Lamp) -> None:
    meter = Meter(nowhere, lamp)
    lamp.pin("relay", 1, 600 * S)
    lamp.pin("relay", 0, 1200 * S)
    lamp.pwm("dim", 20_000, 1000, 3000 * S)
    count = meter.pulses("power_cf", 7200 * S)
    joules_a_pulse = 1.218**2 * 1961 / 0.001 / 1_721_506
    assert count * joules_a_pulse == pytest.approx(lamp.totals(7200 * S)[0], abs=joules_a_pulse)


def test_counting_does_not_depend_on_when_it_is_read() -> None:
    def run(step_s: float) -> int:
        lamp = Lamp()
        meter = Meter(nowhere, lamp)
        lamp.pin("relay", 1, 10 * S)
        lamp.pin("relay", 0, 20 * S)
        t = 20.0
        while t < 300:
            meter.pulses("power_cf", round(t * S))
            t += step_s
        return meter.pulses("power_cf", 300 * S)

    assert run(280) == run(0.7)


def test_sel_switches_what_cf1_counts(lamp: Lamp) -> None:
    meter = Meter(nowhere, lamp)
    meter.pulses("power_cf1", 0)
    meter.pin("power_sel", 1, 10 * S)
    current = meter.pulses("power_cf1", 10 * S)
    meter.pin("power_sel", 0, 20 * S)
    voltage = meter.pulses("power_cf1", 20 * S) - current
    assert current == pytest.approx(140.7, abs=1)
    assert voltage == pytest.approx(14_827, rel=0.01)


def test_no_mains_no_pulses(lamp: Lamp) -> None:
    meter = Meter(nowhere, lamp)
    meter.pin("power_sel", 1, 0)
    lamp.mains(False, 10 * S)
    before = meter.pulses("power_cf1", 10 * S)
    assert meter.pulses("power_cf1", 100 * S) == before


def test_faults(lamp: Lamp) -> None:
    meter = Meter(nowhere, lamp)
    meter.pulses("power_cf", 10 * S)
    meter.gone = True
    before = meter.pulses("power_cf", 10 * S)
    assert meter.pulses("power_cf", 20 * S) == before
    meter.gone = False
    assert meter.pulses("power_cf", 30 * S) - before == pytest.approx(236, abs=2)
    meter.stuck = True
    start = meter.pulses("power_cf", 30 * S)
    lamp.pin("relay", 1, 30 * S)
    counted = meter.pulses("power_cf", 40 * S) - start
    assert counted == pytest.approx(236, abs=2), "a stuck meter shows power that is not there"
    meter.stuck = False
    start = meter.pulses("power_cf", 40 * S)
    assert meter.pulses("power_cf", 50 * S) == start


def test_build(lamp: Lamp) -> None:
    meter = build({"driver": "bl0937", "counter": 0}, nowhere, lamp=lamp)
    assert isinstance(meter, Meter)
    assert isinstance(build({"driver": "hlw8012", "counter": 0}, nowhere, lamp=lamp), Meter)
    with pytest.raises(ChipError, match="lamp"):
        build({"driver": "bl0937"}, nowhere)
    assert meter.pulses("relay", 1000 * S) == 0
