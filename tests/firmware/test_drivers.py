"""What is particular to each driver: ranges, conversions, faults that the chip reports, energy without rounding."""

from __future__ import annotations

import pytest
from felinar_sim.chips import Conditions

from tests.firmware.driver_bench import FAULT, IDENTITY, NACK, RANGE, Bench, DriverFailure, bench

BH1750 = {"bus": "i2c0", "address": 0x23}
SPS30 = {"bus": "i2c0", "address": 0x69}
SHT4X = {"bus": "i2c0", "address": 0x44}


def written(b: Bench) -> list[str]:
    return [m["data"] for m in b.log if m["bus"] == "i2c_write"]


# --- BH1750 ---------------------------------------------------------------------------------------------------------


def light(b: Bench, lux: float) -> float:
    b.conditions = Conditions(sky_lux=lux)
    b.log.clear()
    return float(b.read()["lux"]) / 1000


def test_bh1750_from_moonlight_to_full_sun() -> None:
    with bench("bh1750", BH1750) as b:
        b.fit()
        b.start()
        ladder = (0.2, 1, 5, 30, 200, 1e3, 4e3, 7e3, 2e4, 5e4, 9e4, 1.2e5)
        for lux in (*ladder, *reversed(ladder), 0.2, 1.2e5, 0.2):
            assert light(b, lux) == pytest.approx(lux, rel=0.01, abs=0.12)
        assert b.longest_ms < 1000


def test_bh1750_resolves_a_tenth_of_a_lux_at_dusk() -> None:
    with bench("bh1750", BH1750) as b:
        b.fit()
        b.start()
        light(b, 10)
        # MT 254 is 0x47 and 0x7e (its upper three and lower five bits); 0x21 is one-time H mode 2
        assert written(b)[-3:] == ["47", "7e", "21"]
        assert light(b, 10.12) - light(b, 10.0) == pytest.approx(0.113, abs=0.001)


def test_bh1750_follows_a_sudden_change_within_one_reading() -> None:
    with bench("bh1750", BH1750) as b:
        b.fit()
        b.start()
        light(b, 0.5)
        assert light(b, 1e5) == pytest.approx(1e5, rel=0.01)
        assert written(b)[-1] == "20"
        assert "5f" not in written(b)
        assert written(b)[-3:-1] == ["40", "7f"]  # MT 31


def test_bh1750_keeps_its_range_where_two_meet() -> None:
    with bench("bh1750", BH1750) as b:
        b.fit()
        b.start()
        light(b, 6900)
        modes = []
        for lux in (6000, 5500, 6500, 5100):
            light(b, lux)
            modes.append(written(b)[-1])
        assert modes == ["20"] * 4
        light(b, 4900)
        assert written(b)[-1] == "21"


def test_bh1750_beyond_its_range_is_an_error_and_darkness_is_not() -> None:
    with bench("bh1750", BH1750) as b:
        b.fit()
        b.start()
        assert light(b, 0) == 0
        b.conditions = Conditions(sky_lux=2e5)
        with pytest.raises(DriverFailure) as caught:
            b.read()
        assert caught.value.reason == RANGE
        assert light(b, 3e4) == pytest.approx(3e4, rel=0.01)


def test_bh1750_waits_once_more_for_a_slow_conversion() -> None:
    with bench("bh1750", BH1750) as b:
        b.fit()
        b.start()
        assert light(b, 5) == pytest.approx(5, abs=0.12)
        b.model.slow_ms = 500
        assert light(b, 8) == pytest.approx(8, abs=0.12)


# --- SPS30 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["fan_failed", "laser_failed"])
def test_sps30_passes_on_that_it_is_broken(fault: str) -> None:
    with bench("sps30", SPS30) as b:
        b.fit()
        b.start()
        b.sleep(40)
        b.read()
        setattr(b.model, fault, True)
        b.sleep(5)
        with pytest.raises(DriverFailure) as caught:
            b.read()
        assert caught.value.reason == FAULT


def test_sps30_of_an_old_firmware_is_not_asked_for_its_status() -> None:
    with bench("sps30", SPS30) as b:
        b.fit()
        plain = b.model._identity

        def older(command: int, arguments: list[int], now_us: int) -> bool:
            if command == 0xD206:
                return False
            if command == 0xD100:
                b.model._reply(0x0100)
                return True
            return bool(plain(command, arguments, now_us))

        b.model._identity = older
        b.start()
        b.sleep(40)
        assert b.read()["pm25"] == pytest.approx(8, abs=1.5)
        assert "d206" not in written(b)


def test_sps30_with_another_chip_in_its_place() -> None:
    with bench("sps30", SPS30) as b:
        b.fit()
        plain = b.model._identity

        def other(command: int, arguments: list[int], now_us: int) -> bool:
            if command == 0xD002:
                b.model._reply(0x3030, 0x3039, 0x3030, 0x3030)
                return True
            return bool(plain(command, arguments, now_us))

        b.model._identity = other
        with pytest.raises(DriverFailure) as caught:
            b.start()
        assert caught.value.reason == IDENTITY


# --- SHT4x ----------------------------------------------------------------------------------------------------------


class Raw:
    """A chip at 0x44 that answers every measurement with two given words."""

    address = 0x44

    def __init__(self, temperature: int, humidity: int) -> None:
        self._words = (temperature, humidity)

    def write(self, data: bytes, now_us: int) -> None:
        pass

    def read(self, n: int, now_us: int) -> bytes:
        from felinar_sim.chips.sensirion import pack_words

        return pack_words(self._words)[:n]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((0, 0), (-45.0, 0.0)),
        ((0xFFFF, 0xFFFF), (130.0, 100.0)),
        ((26214, 29360), (25.0, 50.0)),
        ((0x6666, 0x1000), (25.0, 1.8126)),
    ],
)
def test_sht4x_conversion(words: tuple[int, int], expected: tuple[float, float]) -> None:
    with bench("sht4x", SHT4X) as b:
        b.model = Raw(*words)
        b.open()
        values = b.read()
        assert (values["temp"], values["rh"]) == pytest.approx(expected, abs=0.01)


def test_sht4x_of_a_bus_that_reads_zeros_is_no_sht4x() -> None:
    with bench("sht4x", SHT4X) as b:
        b.model = Raw(0, 0)
        b.open()
        with pytest.raises(DriverFailure) as caught:
            b.start()
        assert caught.value.reason == IDENTITY


# --- meters ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("driver", ["bl0937", "hlw8012"])
def test_meter_counts_energy_without_loss(driver: str) -> None:
    with bench(driver) as b:
        b.fit()
        b.start()
        for n in range(600):
            b.sleep(7.3 if n % 3 else 91)
            values = b.read()
        joule = b.lamp.totals(b.now_us)[0]
        assert joule / 3600 > 100
        assert values["energy"] == pytest.approx(joule / 3600, rel=0.0005, abs=1)
        pulses = b.model.pulses("power_cf", b.now_us)
        assert values["energy"] == pulses * b.get("pulse_mj") // 3_600_000


@pytest.mark.parametrize("driver", ["bl0937", "hlw8012"])
def test_meter_measures_voltage_and_current_in_turns(driver: str) -> None:
    with bench(driver) as b:
        b.fit()
        b.start()
        for _ in range(4):
            b.sleep(5)
            values = b.read()
        assert b.get("voltage") == pytest.approx(230, rel=0.01)
        assert b.get("current") == pytest.approx(b.lamp.current_a(b.now_us), rel=0.05)
        assert values["power"] == pytest.approx(b.lamp.power_w(b.now_us), rel=0.02)


def test_meter_with_the_lamp_off_reads_zero_and_without_mains_nothing() -> None:
    with bench("bl0937") as b:
        b.fit()
        b.start()
        b.lamp.pin("relay", 1, b.now_us)  # normally closed: energised is dark
        for _ in range(4):
            b.sleep(5)
            values = b.read()
        assert values["power"] == 0
        b.model.gone = True
        b.sleep(5)
        with pytest.raises(DriverFailure) as caught:
            b.read()  # the turn of the voltage
        assert caught.value.reason == NACK
        assert b.get("voltage") == 0


def test_meter_calibration() -> None:
    with bench("bl0937", {"gain": 0.9, "divider": 2000, "shunt_uohm": 2000}) as b:
        b.fit()
        b.start()
        for _ in range(3):
            b.sleep(30)
            values = b.read()
        assert values["power"] == pytest.approx(0.9 * b.lamp.power_w(b.now_us), rel=0.02)


# --- relay and dimmer -----------------------------------------------------------------------------------------------


def test_relay_lights_without_current_and_counts() -> None:
    with bench("relay") as b:
        b.make("Relay")
        b.sleep(1)
        assert b.lamp.relay.closed(b.now_us)
        for lit in (False, False, True, 0, 1):
            b.call("set", lit)
            b.sleep(1)
            assert b.lamp.relay.closed(b.now_us) == bool(lit)
        assert b.get("operations") == 4
        assert [m["value"] for m in b.log if m["bus"] == "pin"] == [0, 1, 1, 0, 1, 0]


def test_relay_wired_normally_open() -> None:
    with bench("relay") as b:
        b.make("Relay", pin="relay", normally_closed=False)
        b.call("set", False)
        b.call("set", True)
        assert [m["value"] for m in b.log if m["bus"] == "pin"] == [1, 0, 1]


@pytest.mark.parametrize(("level", "duty"), [(0, 0), (50, 32767), (100, 65535), (130, 65535), (-5, 0)])
def test_dimmer_duty(level: int, duty: int) -> None:
    with bench("dimmer") as b:
        b.make("Dimmer")
        b.call("set", level)
        assert b.log[-1]["duty"] == duty
        assert b.get("level") == max(0, min(100, level))


def test_dimmer_moves_the_lamp() -> None:
    with bench("dimmer") as b:
        b.make("Dimmer")
        b.sleep(3600)
        full = b.lamp.power_w(b.now_us)
        b.call("set", 50)
        b.sleep(3600)
        assert 0.4 * full < b.lamp.power_w(b.now_us) < 0.7 * full
