"""The SX126x model against its data sheet: status, modes and their times, buffer, interrupts, TCXO, limitations, faults."""

from __future__ import annotations

import pytest
from felinar_sim.chips.radio import Emission, airtime_us
from felinar_sim.chips.sx126x import FS, RC, RX, SLEEP, TX, XOSC, Sx126x

from .radio_host import Host

HZ = 868_100_000
ALL = b"\x03\xff\x03\xff\x00\x00\x00\x00"


def set_up(host: Host, sf: int = 7, *, fallback: int = 0x20) -> Host:
    """The order of section 14."""
    host.do(b"\x8a\x01")
    host.do(0x86, ((HZ << 25) // 32_000_000).to_bytes(4, "big"))
    host.do(b"\x95\x04\x07\x00\x01")
    host.do(b"\x8e\x0e\x02")
    host.do(0x8B, sf, 4, 1, int(sf > 10))
    host.do(b"\x8c\x00\x08\x00\xff\x01\x00")
    host.do(b"\x0d\x07\x40\x14\x24")
    host.do(b"\x08", ALL)
    host.do(0x93, fallback)
    return host


@pytest.fixture
def host() -> Host:
    return set_up(Host(Sx126x()))


def mode(host: Host) -> int:
    return host.do(b"\xc0\0")[1] >> 4 & 7


def status(host: Host) -> int:
    """Of the last command: 4 and 5 are failures."""
    return host.do(b"\xc0\0")[1] >> 1 & 7


def flags(host: Host) -> int:
    return int.from_bytes(host.do(b"\x12\0\0\0")[2:], "big")


def read(host: Host, address: int, n: int = 1) -> bytes:
    return host.do(0x1D, address.to_bytes(2, "big"), bytes(1 + n))[4:]


def send(host: Host, data: bytes) -> None:
    host.do(0x8C, 0, 8, 0, len(data), 1, 0)
    host.do(b"\x0e\x00", data)
    host.do(b"\x83\x00\x00\x00")


def test_reset_takes_its_time_and_gives_the_registers_of_table_12_1() -> None:
    host = Host(Sx126x())
    host.do(b"\x0d\x07\x40\x12\x34")
    assert read(host, 0x0740, 2) == b"\x12\x34"
    host.reset()
    assert host.busy
    assert host.busy_us() == pytest.approx(3500, abs=10)
    assert read(host, 0x0740, 2) == b"\x14\x24"
    assert read(host, 0x08AC) == b"\x94" and read(host, 0x08E7) == b"\x38"
    assert mode(host) == RC


@pytest.mark.parametrize(
    ("before", "command", "us"),
    [
        (b"\x80\x00", b"\x80\x01", 31), (b"\x80\x00", b"\xc1", 50), (b"\x80\x00", b"\x82\0\0\0", 83), (b"\x80\x00", b"\x83\0\0\0", 126),
        (b"\x80\x01", b"\xc1", 40), (b"\x80\x01", b"\x82\0\0\0", 62), (b"\x80\x01", b"\x83\0\0\0", 105), (b"\xc1", b"\x82\0\0\0", 41),
        (b"\xc1", b"\x83\0\0\0", 76), (b"\x82\xff\xff\xff", b"\xc1", 15), (b"\x82\xff\xff\xff", b"\x83\0\0\0", 92),
    ],
)  # fmt: skip
def test_switching_times_of_table_8_2(host: Host, before: bytes, command: bytes, us: int) -> None:
    host.do(before)
    host.busy_us()
    host.do(command)
    assert host.busy_us() == us


def test_a_command_while_busy_is_lost(host: Host) -> None:
    host.do(b"\x80\x01")
    host.transfer(b"\x0d\x07\x40\x55\x66")
    assert read(host, 0x0740, 2) == b"\x14\x24"
    assert host.model.wrong == ["command 0x0d while BUSY"]


@pytest.mark.parametrize(
    ("before", "command", "answer"),
    [
        (b"\x80\x00", b"\x77", 4), (b"\x80\x00", b"\x86\x01", 4), (b"\x80\x01", b"\x89\x7f", 5), (b"\x80\x01", b"\x97\x00\x00\x00\x40", 5),
        (b"\x82\xff\xff\xff", b"\x8b\x07\x04\x01\x00", 5), (b"\x80\x00", b"\x8b\x0d\x04\x01\x00", 5), (b"\x80\x00", b"\x8b\x07\x07\x01\x00", 5),
        (b"\x82\xff\xff\xff", b"\x8a\x00", 5), (b"\x82\xff\xff\xff", b"\x84\x00", 5),
    ],
)  # fmt: skip
def test_a_wrong_command_or_one_in_a_wrong_mode_fails(host: Host, before: bytes, command: bytes, answer: int) -> None:
    host.do(before)
    was = mode(host)
    host.do(command)
    assert status(host) == answer
    assert mode(host) == was
    assert len(host.model.wrong) == 1


def test_nothing_is_sent_or_heard_before_the_packet_type_is_set() -> None:
    host = Host(Sx126x())
    for command in (b"\x83\0\0\0", b"\x82\xff\xff\xff", b"\xc5"):
        host.do(command)
        assert status(host) == 5
        assert mode(host) == RC


@pytest.mark.parametrize("sf", [7, 9, 12])
def test_a_transmission(sf: int) -> None:
    host = set_up(Host(Sx126x()), sf, fallback=0x30)
    seen: list[Emission] = []
    host.model.on_transmit = seen.append
    host.do(b"\x80\x01")
    host.busy_us()
    began = host.now_us
    send(host, b"street")
    assert mode(host) == TX
    host.run_ms(2)
    (emission,) = seen
    assert emission.start_us == pytest.approx(began + 105, abs=20)
    assert emission.end_us - emission.start_us == airtime_us(6, sf)
    assert (emission.data, emission.dbm, emission.tuning.sync, emission.preamble) == (b"street", 14, 0x12, 8)
    host.clock.run_until(emission.end_us - 1)
    assert not host.irq and flags(host) == 0
    host.clock.run_until(emission.end_us)
    assert host.irq and flags(host) == 1
    assert mode(host) == XOSC and status(host) == 6
    host.do(b"\x02\x00\x01")
    assert not host.irq


def test_standby_ends_a_transmission(host: Host) -> None:
    aborted: list[int] = []
    host.model.on_abort = lambda emission, now_us: aborted.append(now_us)
    send(host, bytes(50))
    host.run_ms(20)
    host.do(b"\x80\x00")
    assert aborted == [host.now_us]
    host.run_ms(500)
    assert flags(host) == 0


def test_a_transmission_that_takes_longer_than_its_timeout(host: Host) -> None:
    host.do(b"\x8c\x00\x08\x00\xff\x01\x00")
    host.do(0x83, (640).to_bytes(3, "big"))  # 10 ms
    host.run_ms(11)
    assert flags(host) == 0x200 and status(host) == 3 and mode(host) == RC


def test_continuous_reception_goes_on_and_keeps_frames_one_behind_the_other(host: Host) -> None:
    host.do(b"\x8f\x00\x20")
    host.do(b"\x82\xff\xff\xff")
    host.run_ms(1)
    for n, (place, data) in enumerate(((0x20, b"first"), (0x25, b"second"))):
        end = host.now_us + 60_000
        host.model.deliver(data, -100.5, -7.25, end)
        host.clock.run_until(end - 1)
        assert flags(host) & 0x12 == 0x10, "the header comes before the end"
        host.clock.run_until(end)
        assert host.irq and flags(host) & 0x42 == 0x02
        assert host.do(b"\x13\0\0\0")[2:] == bytes((len(data), place))
        assert host.do(0x1E, place, bytes(1 + len(data)))[3:] == data
        rssi, snr, _ = host.do(b"\x14\0\0\0\0")[2:]
        assert rssi / -2 == -100.5 and snr - 256 == -29
        assert mode(host) == RX
        host.do(b"\x02\xff\xff")
        assert host.model.received == n + 1


def test_what_it_foresees_is_what_it_says(host: Host) -> None:
    host.do(b"\x08\x03\xff\x00\x02\x00\x00\x00\x00")
    host.do(b"\x82\xff\xff\xff")
    assert host.model.foresee() == b"", "nothing has been received"
    for n in range(3):
        data = bytes(range(n, n + 31 - n))
        host.run_ms(5)
        host.model.deliver(data, -100.5, -7.25, host.now_us + 150_000, n != 1)
        host.run_ms(151)
        told = host.model.foresee()
        at = 0
        for op in (0x10, 0x12):
            assert told[at : at + 10] == bytes((op, 0, 0, 0, 0)) + host.transfer(told[at : at + 5])
            at += 10
        clear = told[at : at + 3]
        assert clear[0] == 2
        host.transfer(clear)
        assert not host.irq and not host.busy
        at += 3
        for op in (0x13, 0x14):
            assert told[at : at + 10] == bytes((op, 0, 0, 0, 0)) + host.transfer(told[at : at + 5])
            at += 10
        assert told[at : at + 3] + data == told[at:]
        assert host.transfer(told[at : at + 3], bytes(len(data)))[3:] == data
        assert host.model.foresee() == b"", "its flags are cleared"


def test_single_reception_ends_by_itself(host: Host) -> None:
    host.do(b"\x82\x00\x00\x00")
    host.run_ms(1)
    host.model.deliver(b"one", -90, 5, host.now_us + 50_000)
    host.run_ms(60)
    assert mode(host) == RC and flags(host) & 2
    host.do(b"\x82", (6400).to_bytes(3, "big"))  # 100 ms
    host.run_ms(101)
    assert flags(host) & 0x200 and mode(host) == RC


def test_damage_is_told(host: Host) -> None:
    host.do(b"\x82\xff\xff\xff")
    host.run_ms(1)
    host.model.deliver(b"torn", -90, 5, host.now_us + 50_000, False)
    host.run_ms(60)
    assert flags(host) & 0x42 == 0x42
    host.do(b"\x02\xff\xff")
    host.model.deliver(b"who?", -90, 5, host.now_us + 50_000, header_ok=False)
    host.run_ms(60)
    assert flags(host) & 0x32 == 0x20 and host.model.missed == 1


def test_what_cannot_be_heard_is_missed(host: Host) -> None:
    model = host.model
    host.run_ms(1)
    assert model.tuning(host.now_us) is None
    model.deliver(b"asleep", -90, 5, host.now_us + 30_000)
    host.do(b"\x82\xff\xff\xff")
    host.run_ms(61)
    assert (model.received, model.missed) == (0, 1), "it began before reception"
    model.deliver(bytes(20), -90, 5, host.now_us + 60_000)
    model.deliver(b"second", -90, 5, host.now_us + 65_000)
    host.run_ms(70)
    assert (model.received, model.missed) == (1, 2), "one at a time"
    model.deliver(bytes(20), -90, 5, host.now_us + 60_000)
    host.run_ms(40)
    host.do(b"\x80\x00")
    host.run_ms(50)
    assert (model.received, model.missed) == (1, 3), "reception was broken off"


@pytest.mark.parametrize("busy", [False, True])
@pytest.mark.parametrize(("code", "symbols"), [(0, 1), (1, 2), (2, 4), (3, 8)])
def test_channel_activity_detection(host: Host, busy: bool, code: int, symbols: int) -> None:
    asked: list[int] = []

    def channel(tuning: object, start_us: int, end_us: int) -> bool:
        asked.append(end_us - start_us)
        return busy

    host.model.channel_busy = channel
    host.do(0x88, code, 22, 10, 0, 0, 0, 0)
    host.do(b"\xc5")
    host.run_ms((symbols + 1) * 1.024)
    assert asked == [pytest.approx(symbols * 1024, abs=1)]
    assert flags(host) == (0x180 if busy else 0x80) and mode(host) == RC


def test_interrupt_masks(host: Host) -> None:
    host.do(b"\x08\x00\x01\x00\x00\x00\x00\x00\x00")
    send(host, b"x")
    host.run_ms(100)
    assert flags(host) == 1 and not host.irq
    host.do(b"\x08\x00\x01\x00\x01\x00\x00\x00\x00")
    assert host.irq
    host.do(b"\x08\x00\x00\x00\x00\x00\x00\x00\x00")
    host.do(b"\x02\xff\xff")
    send(host, b"x")
    host.run_ms(100)
    assert flags(host) == 0


def test_sleep_and_what_wakes_from_it(host: Host) -> None:
    for warm, us, sync in ((4, 340, b"\x34\x44"), (0, 3500, b"\x14\x24")):
        host.do(b"\x0d\x07\x40\x34\x44")
        host.do(0x84, warm)
        assert host.model.mode == SLEEP and host.busy  # type: ignore[attr-defined]
        host.run_ms(1)
        host.model.pin("radio_cs", 0, host.now_us)
        host.model.pin("radio_cs", 1, host.now_us)
        assert host.busy_us() == pytest.approx(us, abs=10)
        assert read(host, 0x0740, 2) == sync


def test_a_tcxo_wants_dio3_and_a_calibration() -> None:
    model = Sx126x(tcxo_mv=1800)
    host = set_up(Host(model))
    assert host.do(b"\x17\0\0\0")[2:] == b"\x00\x20"
    host.do(b"\x83\0\0\0")
    assert status(host) == 5 and mode(host) == RC
    host.do(b"\x97\x02\x00\x01\x40")  # 1.8 V, stable after 5 ms
    host.do(b"\x07\x00\x00")
    host.do(b"\x89\x7f")
    assert host.busy_us() == pytest.approx(8500, abs=10)
    assert model.calibrated and host.do(b"\x17\0\0\0")[2:] == b"\0\0"
    host.do(b"\x82\xff\xff\xff")
    assert host.busy_us() == pytest.approx(5083, abs=5)
    assert mode(host) == RX
    host.do(b"\xc1")
    assert host.busy_us() == 15 and mode(host) == FS


def test_power_and_what_stands_between_amplifier_and_antenna() -> None:
    def dbm(model: Sx126x, power: int, pa: bytes = b"\x04\x07\x00\x01", dio2: int = 0) -> float:
        host = set_up(Host(model))
        host.do(0x95, pa)
        host.do(0x8E, power & 255, 2)
        host.do(0x9D, dio2)
        send(host, b"x")
        host.run_ms(1)
        return model.emissions[-1].dbm

    assert dbm(Sx126x(), 22) == 22 and dbm(Sx126x(), -9) == -9 and dbm(Sx126x(), 30) == 22
    assert dbm(Sx126x(), 22, b"\x02\x02\x00\x01") == 14
    assert dbm(Sx126x(dio2_switch=True), 22, dio2=0) == -8 and dbm(Sx126x(dio2_switch=True), 22, dio2=1) == 22
    assert dbm(Sx126x(sx1261=True), 14, b"\x04\x00\x01\x01") == 14
    model = Sx126x()
    dbm(model, 22, b"\x04\x00\x01\x01")
    assert model.wrong and "SetPaConfig" in model.wrong[0]


def test_the_antenna_switch_must_be_thrown_to_receive() -> None:
    model = Sx126x(rxen=True)
    host = set_up(Host(model))
    host.do(b"\x82\xff\xff\xff")
    host.run_ms(1)
    assert model.tuning(host.now_us) is None
    model.pin("radio_rxen", 1, host.now_us)
    assert model.tuning(host.now_us) is not None


def test_limitations_of_section_15(host: Host) -> None:
    assert isinstance(host.model, Sx126x)
    send(host, b"x")
    host.run_ms(100)
    assert not host.model.emissions[-1].clean
    for address, bits in ((0x0889, 0x04), (0x08D8, 0x1E), (0x0736, 0x04)):
        host.do(0x0D, address.to_bytes(2, "big"), read(host, address)[0] | bits)
    send(host, b"x")
    host.run_ms(100)
    assert host.model.emissions[-1].clean
    host.do(b"\x8b\x07\x06\x01\x00")  # 500 kHz wants the other value of 15.1
    send(host, b"x")
    host.run_ms(100)
    assert not host.model.emissions[-1].clean


def test_an_ether_is_told_what_is_heard(host: Host) -> None:
    told: list[tuple[int | None, int]] = []
    host.model.on_tune = lambda tuning, since_us: told.append((tuning and tuning.sf, since_us))
    host.do(b"\x80\x01")
    host.busy_us()
    began = host.now_us
    host.do(b"\x82\xff\xff\xff")
    assert told == [(7, began + 62)] and host.model.listening_since == began + 62
    host.run_ms(5)
    host.do(b"\x80\x01")
    assert told[1:] == [(None, host.now_us)] and host.model.listening_since is None


def test_statistics(host: Host) -> None:
    host.do(b"\x82\xff\xff\xff")
    host.run_ms(1)
    for crc_ok, header_ok in ((True, True), (False, True), (True, False), (True, True)):
        host.model.deliver(b"count", -90, 5, host.now_us + 50_000, crc_ok, header_ok=header_ok)
        host.run_ms(60)
    assert host.do(b"\x10", bytes(7))[2:] == b"\0\3\0\1\0\1"
    host.do(bytes(7))
    assert host.do(b"\x10", bytes(7))[2:] == bytes(6)


def test_faults(host: Host) -> None:
    model = host.model
    host.do(b"\x82\xff\xff\xff")
    host.run_ms(1)
    for cure, deaf in ((b"\x89\x7f", 1), (None, 2)):
        model.deaf = deaf
        assert mode(host) == RX and model.tuning(host.now_us) is None
        host.do(b"\x80\x00")
        if cure:
            host.do(cure)
        else:
            host.reset()
            host.run_ms(5)
            set_up(host)
        host.do(b"\x82\xff\xff\xff")
        host.run_ms(1)
        assert model.tuning(host.now_us) is not None
    model.busy_stuck = True
    assert host.busy
    model.busy_stuck = False
    model.gone = True
    assert host.transfer(b"\xc0\0") == b"\xff\xff" and not host.busy
    model.gone = False
    assert host.busy and host.busy_us() == pytest.approx(3500, abs=10)
    assert mode(host) == RC
    model.slow_ms = 2
    host.do(b"\x80\x01")
    assert host.busy_us() == 2031


def test_a_switched_supply() -> None:
    model = Sx126x(power_pin=True)
    host = Host(model)
    assert host.transfer(b"\xc0\0") == b"\xff\xff"
    model.pin("radio_power", 1, host.now_us)
    host.run_ms(5)
    assert mode(host) == RC
