"""The VEML7700 and BME280 models against their data sheets: registers, times, conversion, filter, faults."""

from __future__ import annotations

import statistics

import pytest
from felinar_sim.chips import Conditions, Nack, build
from felinar_sim.chips.bme280 import Bme280, Trim
from felinar_sim.chips.veml7700 import Veml7700, apparent_lux

MS, S = 1000, 1_000_000


class Air:
    def __init__(self) -> None:
        self.lux = 100.0
        self.celsius: float | None = 21.5
        self.percent = 45.0
        self.hpa = 1003.2

    def __call__(self, now_us: int) -> Conditions:
        return Conditions(
            sky_lux=self.lux, temperature_c=self.celsius, humidity_pct=self.percent, pressure_hpa=self.hpa
        )


@pytest.fixture
def air() -> Air:
    return Air()


@pytest.fixture
def veml(air: Air) -> Veml7700:
    return Veml7700(air)


@pytest.fixture
def bme(air: Air) -> Bme280:
    return Bme280(air)


def get(chip: Veml7700, register: int, now_us: int) -> int:
    chip.write(bytes((register,)), now_us)
    return int.from_bytes(chip.read(2, now_us), "little")


def put(chip: Veml7700, register: int, value: int, now_us: int) -> None:
    chip.write(bytes((register, value & 0xFF, value >> 8)), now_us)


GAINS = {1.0: 0, 2.0: 1, 0.125: 2, 0.25: 3}
TIMES = {25: 12, 50: 8, 100: 0, 200: 1, 400: 2, 800: 3}


def configure(chip: Veml7700, gain: float, ms: int, now_us: int) -> None:
    put(chip, 0, GAINS[gain] << 11 | TIMES[ms] << 6, now_us)


def test_veml_starts_shut_down_and_has_an_identity(veml: Veml7700) -> None:
    assert get(veml, 0, 0) == 1
    assert get(veml, 7, 0) == 0xC481
    assert get(veml, 4, 10 * S) == 0
    with pytest.raises(Nack):
        veml.write(b"\x08", 0)


@pytest.mark.parametrize("gain", GAINS)
@pytest.mark.parametrize("ms", TIMES)
def test_veml_resolution_and_time(veml: Veml7700, air: Air, gain: float, ms: int) -> None:
    air.lux = 20.0
    configure(veml, gain, ms, 0)
    assert get(veml, 4, ms * MS + 2_400) == 0, "integration time and 2.5 ms of waking up"
    counts = get(veml, 4, ms * MS + 2_500)
    lux_per_count = 0.0036 * (800 / ms) * (2 / gain)
    assert counts * lux_per_count == pytest.approx(20, abs=lux_per_count + 0.1)


def test_veml_saturates_and_bends(veml: Veml7700, air: Air) -> None:
    air.lux = 100_000.0
    configure(veml, 2.0, 800, 0)
    assert get(veml, 4, 1 * S) == 0xFFFF
    configure(veml, 0.125, 25, 2 * S)
    x = get(veml, 4, 3 * S) * 0.0036 * 32 * 16
    assert x < 60_000, "the linear formula reads low in bright light"
    corrected = 6.0135e-13 * x**4 - 9.3924e-9 * x**3 + 8.1488e-5 * x**2 + 1.0023 * x
    assert corrected == pytest.approx(100_000, rel=0.001)
    assert apparent_lux(50) == pytest.approx(50, rel=0.008)


def test_veml_power_saving_shut_down_and_thresholds(veml: Veml7700, air: Air) -> None:
    put(veml, 3, 0b011, 0)
    configure(veml, 1.0, 100, 0)
    assert get(veml, 4, 1_102 * MS) == 0
    assert get(veml, 4, 1_103 * MS) > 0
    put(veml, 0, 1, 2 * S)
    before = get(veml, 4, 2 * S)
    air.lux = 5000
    assert get(veml, 4, 20 * S) == before, "shut down it keeps the last value"
    put(veml, 3, 0, 20 * S)
    put(veml, 1, 1000, 20 * S)
    put(veml, 0, 0b10, 20 * S)
    assert get(veml, 6, 21 * S) == 1 << 14
    assert get(veml, 6, 21 * S + 10) == 0, "reading clears it"
    air.lux = 500
    assert get(veml, 5, 22 * S) > get(veml, 4, 22 * S)


def test_veml_faults(veml: Veml7700, air: Air) -> None:
    configure(veml, 1.0, 100, 0)
    first = get(veml, 4, 1 * S)
    veml.stuck = True
    air.lux = 1.0
    assert get(veml, 4, 2 * S) == first
    veml.stuck = False
    assert get(veml, 4, 3 * S) < first
    veml.slow_ms = 400
    configure(veml, 1.0, 100, 4 * S)
    air.lux = 100.0
    assert get(veml, 4, 4 * S + 499 * MS) < first
    assert get(veml, 4, 4 * S + 500 * MS) == first
    veml.gone = True
    with pytest.raises(Nack):
        get(veml, 4, 5 * S)
    veml.gone = False
    assert get(veml, 0, 6 * S) == 1


def test_trim_example_of_the_data_sheet() -> None:
    trim = Trim()
    assert trim.t_fine(519_888) == pytest.approx(128_422, abs=1)
    assert trim.t_fine(519_888) / 5120 == pytest.approx(25.08, abs=0.005)
    assert trim.pascal(415_148, trim.t_fine(519_888)) == pytest.approx(100_653.27, abs=0.5)


def registers(chip: Bme280, first: int, n: int, now_us: int) -> bytes:
    chip.write(bytes((first,)), now_us)
    return chip.read(n, now_us)


def signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> bits - 1 else value


def compensated(chip: Bme280, now_us: int) -> tuple[float, float, float]:
    """Temperature, pressure, humidity by the data sheet's 32- and 64-bit integer formulas, from what the bus gives."""
    c = registers(chip, 0x88, 26, now_us)
    e = registers(chip, 0xE1, 7, now_us)
    u = [int.from_bytes(c[i : i + 2], "little") for i in range(0, 24, 2)]
    t1, t2, t3, p1 = u[0], signed(u[1], 16), signed(u[2], 16), u[3]
    p2, p3, p4, p5, p6, p7, p8, p9 = (signed(v, 16) for v in u[4:])
    h1, h2, h3 = c[25], signed(e[0] | e[1] << 8, 16), e[2]
    h4, h5, h6 = signed(e[3] << 4 | e[4] & 15, 12), signed(e[4] >> 4 | e[5] << 4, 12), signed(e[6], 8)
    d = registers(chip, 0xF7, 8, now_us)
    raw_p, raw_t = (d[i] << 12 | d[i + 1] << 4 | d[i + 2] >> 4 for i in (0, 3))
    raw_h = d[6] << 8 | d[7]
    a = ((raw_t >> 3) - (t1 << 1)) * t2 >> 11
    b = (((raw_t >> 4) - t1) * ((raw_t >> 4) - t1) >> 12) * t3 >> 14
    fine = a + b
    celsius = (fine * 5 + 128 >> 8) / 100
    a = fine - 128_000
    b = a * a * p6 + (a * p5 << 17) + (p4 << 35)
    a = (a * a * p3 >> 8) + (a * p2 << 12)
    a = ((1 << 47) + a) * p1 >> 33
    p = ((1_048_576 - raw_p << 31) - b) * 3125 // a
    p = (p + (p9 * (p >> 13) * (p >> 13) >> 25) + (p8 * p >> 19) >> 8) + (p7 << 4)
    h = fine - 76_800
    h = ((raw_h << 14) - (h4 << 20) - h5 * h + 16_384 >> 15) * (
        (((h * h6 >> 10) * ((h * h3 >> 11) + 32_768) >> 10) + 2_097_152) * h2 + 8192 >> 14
    )
    h -= ((h >> 15) * (h >> 15) >> 7) * h1 >> 4
    return celsius, p / 256 / 100, (max(0, min(h, 419_430_400)) >> 12) / 1024


def test_bme_identity_and_start_up(bme: Bme280) -> None:
    with pytest.raises(Nack):
        bme.write(b"\xd0", 1_999)
    assert registers(bme, 0xD0, 1, 2_000) == b"\x60"
    assert registers(bme, 0xF7, 8, 1 * S) == b"\x80\x00\x00\x80\x00\x00\x80\x00", "nothing measured yet"


def test_bme_forced_measurement(bme: Bme280) -> None:
    bme.write(b"\xf2\x01\xf4\x25", 1 * S)
    assert registers(bme, 0xF3, 1, 1 * S + 1) == b"\x08"
    assert registers(bme, 0xF7, 3, 1 * S + 9_200) == b"\x80\x00\x00"
    assert registers(bme, 0xF3, 1, 1 * S + 9_300) == b"\x00"
    assert registers(bme, 0xF4, 1, 1 * S + 9_300) == b"\x24", "back in sleep mode"
    celsius, hpa, percent = compensated(bme, 2 * S)
    assert celsius == pytest.approx(21.5, abs=0.04)
    assert hpa == pytest.approx(1003.2, abs=0.08)
    assert percent == pytest.approx(45, abs=0.15)


@pytest.mark.parametrize(("celsius", "hpa", "percent"), [(-30, 950, 10), (0, 1050, 99), (45, 880, 60), (25, 1013, 1)])
def test_bme_over_its_range(bme: Bme280, air: Air, celsius: float, hpa: float, percent: float) -> None:
    air.celsius, air.hpa, air.percent = celsius, hpa, percent
    bme.write(b"\xf2\x05\xf4\xb5", 1 * S)
    assert compensated(bme, 2 * S) == pytest.approx((celsius, hpa, percent), abs=0.2)


def test_bme_humidity_control_waits_for_the_measurement_control(bme: Bme280) -> None:
    bme.write(b"\xf4\x25", 1 * S)
    bme.write(b"\xf2\x01", 2 * S)
    assert registers(bme, 0xFD, 2, 3 * S) == b"\x80\x00", "humidity was skipped"
    bme.write(b"\xf4\x25", 4 * S)
    assert registers(bme, 0xFD, 2, 5 * S) != b"\x80\x00"
    bme.write(b"\xf4\x01", 6 * S)
    assert registers(bme, 0xF7, 6, 7 * S) == b"\x80\x00\x00\x80\x00\x00", "temperature and pressure skipped"


def test_bme_normal_mode_and_filter(bme: Bme280, air: Air) -> None:
    bme.write(b"\xf2\x01\xf5\x00\xf4\x27", 1 * S)
    assert compensated(bme, 2 * S)[0] == pytest.approx(21.5, abs=0.05)
    air.celsius = 30.0
    assert compensated(bme, 3 * S)[0] == pytest.approx(30, abs=0.05)
    bme.write(b"\xf5\xb0", 4 * S)  # a second between measurements, filter 16
    bme.write(b"\xf4\x27", 4 * S)
    compensated(bme, 6 * S)
    air.celsius = 20.0
    soon = compensated(bme, 9 * S)[0]
    assert 27 < soon < 29.6, "the filter follows slowly"
    assert compensated(bme, 300 * S)[0] == pytest.approx(20, abs=0.1)


def test_bme_noise_and_seed(air: Air) -> None:
    def pressures(seed: int) -> list[float]:
        chip = Bme280(air, seed=seed)
        chip.write(b"\xf2\x01\xf5\x00\xf4\x27", 1 * S)
        return [compensated(chip, t * S)[1] for t in range(2, 60)]

    assert pressures(1) == pressures(1)
    assert pressures(1) != pressures(2)
    assert 0.002 < statistics.stdev(pressures(1)) < 0.05


def test_bme_gap_reset_and_faults(bme: Bme280, air: Air) -> None:
    bme.write(b"\xf2\x01\xf4\x25", 1 * S)
    first = registers(bme, 0xF7, 8, 2 * S)
    air.celsius = None
    bme.write(b"\xf4\x25", 3 * S)
    assert registers(bme, 0xF7, 8, 4 * S) == b"\x80\x00\x00\x80\x00\x00\x80\x00"
    air.celsius = 3.0
    bme.stuck = True
    bme.write(b"\xf4\x25", 5 * S)
    assert registers(bme, 0xF7, 8, 6 * S) == first
    bme.stuck = False
    bme.slow_ms = 50
    bme.write(b"\xf4\x25", 7 * S)
    assert registers(bme, 0xF3, 1, 7 * S + 59 * MS) == b"\x08"
    assert registers(bme, 0xF3, 1, 7 * S + 60 * MS) == b"\x00"
    bme.write(b"\xe0\xb6", 8 * S)
    assert registers(bme, 0xF2, 4, 9 * S) == b"\0\0\0\0"
    bme.gone = True
    with pytest.raises(Nack):
        registers(bme, 0xD0, 1, 10 * S)
    bme.gone = False
    assert registers(bme, 0xF7, 3, 11 * S) == b"\x80\x00\x00"


def test_build(air: Air) -> None:
    assert isinstance(build({"driver": "veml7700"}, air), Veml7700)
    chip = build({"driver": "bme280", "address": 0x77}, air)
    assert isinstance(chip, Bme280)
    assert chip.address == 0x77
