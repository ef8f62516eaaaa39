"""The SX127x model against its data sheet: registers of both modems, FIFO, modes and their times, interrupts, faults."""

from __future__ import annotations

import pytest
from felinar_sim.chips.radio import Emission, airtime_us
from felinar_sim.chips.sx127x import RX, SLEEP, STANDBY, Sx127x

from .radio_host import Host

HZ = 868_100_000


def put(host: Host, register: int, *data: int | bytes) -> None:
    host.transfer(register | 0x80, *data)


def get(host: Host, register: int, n: int = 1) -> bytes:
    return host.transfer(register, bytes(n))[1:]


def set_up(host: Host, sf: int = 7) -> Host:
    put(host, 0x01, 0x00)
    put(host, 0x01, 0x80)
    put(host, 0x01, 0x81)
    host.run_us(300)
    put(host, 0x06, ((HZ << 19) // 32_000_000).to_bytes(3, "big"))
    put(host, 0x09, 0x80 | 12)
    put(host, 0x0E, 0, 0)
    put(host, 0x1D, 0x72, sf << 4 | 4)
    put(host, 0x26, 0x0C if sf > 10 else 0x04)
    return host


@pytest.fixture
def host() -> Host:
    return set_up(Host(Sx127x()))


def send(host: Host, data: bytes) -> None:
    put(host, 0x0D, 0)
    put(host, 0x00, data)
    put(host, 0x22, len(data))
    put(host, 0x40, 0x40)
    put(host, 0x01, 0x83)


def test_reset_values_and_version() -> None:
    host = Host(Sx127x())
    assert get(host, 0x42) == b"\x12" and get(host, 0x01) == b"\x09"
    assert get(host, 0x06, 3) == b"\x6c\x80\x00"
    put(host, 0x42, 0x99)
    assert get(host, 0x42) == b"\x12", "read only"
    put(host, 0x06, 0xD9)
    host.reset()
    assert get(host, 0x42) == b"\x00", "5 ms until it listens"
    host.run_ms(5)
    assert get(host, 0x06) == b"\x6c"


def test_the_modem_is_chosen_in_sleep_alone() -> None:
    host = Host(Sx127x())
    put(host, 0x01, 0x81)
    assert get(host, 0x01) == b"\x01" and host.model.wrong
    put(host, 0x01, 0x00)
    put(host, 0x01, 0x80)
    put(host, 0x01, 0x81)
    assert get(host, 0x01) == b"\x81"


def test_each_modem_has_its_registers(host: Host) -> None:
    put(host, 0x39, 0x34)
    put(host, 0x01, 0x80)
    put(host, 0x01, 0x00)
    put(host, 0x01, 0x01)
    assert get(host, 0x39) != b"\x34"
    put(host, 0x39, 0x77)
    put(host, 0x01, 0x00)
    put(host, 0x01, 0x80)
    assert get(host, 0x39) == b"\x34"
    put(host, 0x01, 0xC1)
    assert get(host, 0x39) == b"\x77", "LoRa's access to the other page"


def test_bursts_count_up_and_the_fifo_by_its_own_pointer(host: Host) -> None:
    put(host, 0x20, 0x00, 0x10, 0x05)
    assert get(host, 0x20, 3) == b"\x00\x10\x05"
    put(host, 0x0D, 0xFE)
    put(host, 0x00, b"abcd")
    assert get(host, 0x0D) == b"\x02"
    put(host, 0x0D, 0xFE)
    assert get(host, 0x00, 4) == b"abcd", "it wraps"
    put(host, 0x01, 0x80)
    put(host, 0x00, b"x")
    assert host.model.wrong == ["FIFO written in sleep mode"]
    put(host, 0x01, 0x81)
    put(host, 0x0D, 0xFE)
    assert get(host, 0x00, 4) == bytes(4), "sleep clears it"


@pytest.mark.parametrize("sf", [7, 9, 12])
def test_a_transmission(sf: int) -> None:
    host = set_up(Host(Sx127x()), sf)
    seen: list[Emission] = []
    host.model.on_transmit = seen.append
    began = host.now_us
    send(host, b"street")
    host.run_ms(1)
    (emission,) = seen
    # 60 us for the synthesiser, 5 us and 1.25 times the ramp of 40 us for the amplifier
    assert emission.start_us - began == 60 + 5 + 50
    assert emission.end_us - emission.start_us == airtime_us(6, sf)
    assert (emission.data, emission.dbm, emission.tuning.sync) == (b"street", 14, 0x12)
    assert abs(emission.tuning.hz - HZ) <= 61
    assert get(host, 0x01) == b"\x83"
    host.clock.run_until(emission.end_us - 1)
    assert not host.irq
    host.clock.run_until(emission.end_us)
    assert host.irq and get(host, 0x12) == b"\x08" and get(host, 0x01) == b"\x81"
    put(host, 0x12, 0x08)
    assert not host.irq and get(host, 0x12) == b"\x00"


@pytest.mark.parametrize(("pa", "dac", "dbm"), [(0x80, 0x84, 2), (0x8F, 0x84, 17), (0x8F, 0x87, 20), (0x4F, 0x84, -30)])
def test_power(host: Host, pa: int, dac: int, dbm: float) -> None:
    put(host, 0x09, pa)
    put(host, 0x4D, dac)
    send(host, b"x")
    host.run_ms(1)
    assert host.model.emissions[0].dbm == dbm


def test_continuous_reception(host: Host) -> None:
    put(host, 0x40, 0x00)
    put(host, 0x01, 0x85)
    host.run_ms(1)
    for place, data, rssi, snr in ((0, b"first", -100, -7.25), (5, b"second", -60, 8)):
        end = host.now_us + 60_000
        host.model.deliver(data, rssi, snr, end)
        host.clock.run_until(end - 1)
        assert get(host, 0x12) == b"\x10" and not host.irq and get(host, 0x18) == b"\x01"
        host.clock.run_until(end)
        assert host.irq and get(host, 0x12) == b"\x50"
        assert get(host, 0x10) == bytes([place]) and get(host, 0x13) == bytes([len(data)])
        put(host, 0x0D, place)
        assert get(host, 0x00, len(data)) == data
        raw_snr, raw = get(host, 0x19, 2)
        quarters = raw_snr - 256 if raw_snr > 127 else raw_snr
        assert quarters == snr * 4
        # 5.5.5
        assert -157 + (raw * 16 / 15 if snr >= 0 else raw + snr) == pytest.approx(rssi, abs=1)
        put(host, 0x12, 0xFF)
        assert get(host, 0x01) == b"\x85"
    assert get(host, 0x14, 4) == b"\x00\x02\x00\x02"
    put(host, 0x01, 0x81)
    put(host, 0x01, 0x85)
    assert get(host, 0x14, 4) == bytes(4), "counted since reception began"


def test_damage_is_told(host: Host) -> None:
    put(host, 0x01, 0x85)
    host.run_ms(1)
    host.model.deliver(b"torn", -90, 5, host.now_us + 50_000, False)
    host.run_ms(60)
    assert get(host, 0x12) == b"\x70"
    put(host, 0x12, 0xFF)
    host.model.deliver(b"who?", -90, 5, host.now_us + 50_000, header_ok=False)
    host.run_ms(60)
    assert get(host, 0x12) == b"\x00" and host.model.missed == 1


def test_single_reception_times_out_by_symbols(host: Host) -> None:
    put(host, 0x1F, 100)
    put(host, 0x01, 0x86)
    host.run_ms(102)
    assert get(host, 0x01) == b"\x86"
    host.run_ms(2)
    assert get(host, 0x12) == b"\x80" and get(host, 0x01) == b"\x81"
    put(host, 0x12, 0xFF)
    put(host, 0x01, 0x86)
    host.run_ms(1)
    host.model.deliver(b"one", -90, 5, host.now_us + 50_000)
    host.run_ms(60)
    assert get(host, 0x12) == b"\x50" and host.model.mode == STANDBY  # type: ignore[attr-defined]


def test_masked_interrupts_do_not_come(host: Host) -> None:
    put(host, 0x11, 0x08)
    send(host, b"x")
    host.run_ms(100)
    assert get(host, 0x12) == b"\x00" and not host.irq
    put(host, 0x11, 0x00)
    send(host, b"x")
    put(host, 0x40, 0x00)
    host.run_ms(100)
    assert get(host, 0x12) == b"\x08" and not host.irq, "DIO0 is RxDone now"
    put(host, 0x40, 0x40)
    assert host.irq


@pytest.mark.parametrize("busy", [False, True])
def test_channel_activity_detection(host: Host, busy: bool) -> None:
    host.model.channel_busy = lambda tuning, start_us, end_us: busy
    put(host, 0x40, 0x80)
    put(host, 0x01, 0x87)
    host.run_ms(1.9)
    assert not host.irq
    host.run_ms(0.5)
    assert host.irq and get(host, 0x12) == (b"\x05" if busy else b"\x04") and get(host, 0x01) == b"\x81"


def test_the_image_is_calibrated_in_fsk_standby() -> None:
    host = Host(Sx127x())
    model = host.model
    assert isinstance(model, Sx127x)
    put(host, 0x01, 0x00)
    put(host, 0x01, 0x01)
    put(host, 0x3B, 0x40)
    assert model.wrong.pop(), "the oscillator takes 250 us"
    host.run_us(250)
    put(host, 0x06, ((HZ << 19) // 32_000_000).to_bytes(3, "big"))
    put(host, 0x3B, get(host, 0x3B)[0] | 0x40)
    assert get(host, 0x3B)[0] & 0x60 == 0x20
    host.run_ms(10)
    assert get(host, 0x3B)[0] & 0x60 == 0
    assert model.calibrated_hz == pytest.approx(HZ, abs=61)
    put(host, 0x01, 0x00)
    put(host, 0x3B, 0x40)
    assert model.wrong


def test_errata(host: Host) -> None:
    model = host.model
    assert isinstance(model, Sx127x)
    assert not model.clean
    put(host, 0x31, 0x43)
    put(host, 0x2F, 0x40, 0x00)
    assert model.clean
    put(host, 0x1D, 0x92)
    assert not model.clean
    put(host, 0x31, 0xC3)
    put(host, 0x36, 0x02)
    put(host, 0x3A, 0x64)
    assert model.clean


def test_faults(host: Host) -> None:
    model = host.model
    assert isinstance(model, Sx127x)
    put(host, 0x01, 0x85)
    host.run_ms(1)
    model.deaf = 2
    assert model.mode == RX and model.tuning(host.now_us) is None
    host.reset()
    host.run_ms(5)
    set_up(host)
    put(host, 0x01, 0x85)
    host.run_ms(1)
    assert model.tuning(host.now_us) is not None
    model.floating = 0
    model.gone = True
    assert get(host, 0x42) == b"\0"
    model.gone = False
    host.run_ms(5)
    assert get(host, 0x42) == b"\x12" and model.mode != RX
    put(host, 0x01, 0x00)
    assert model.mode == SLEEP


def test_a_tcxo_must_be_told() -> None:
    model = Sx127x(tcxo=True)
    host = set_up(Host(model))
    put(host, 0x01, 0x85)
    host.run_ms(1)
    assert model.tuning(host.now_us) is None
    put(host, 0x4B, 0x19)
    assert model.tuning(host.now_us) is not None
