"""A Raspberry Pi as the bridge of real lamps: from the host's plan to their relays and back, in virtual time; and in the daemon."""

from __future__ import annotations

import asyncio
import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from felinar.air import pi
from felinar.air.pi_pins import Pins
from felinar.config import BridgeConfig
from felinar.errors import LinkError
from felinar.facts import OrderAnswered
from felinar_sim.air_street import BRIDGE_GAIN_DB, AirStreet, Antenna
from felinar_sim.clock import RealClock, VirtualClock
from felinar_wire import core, schema, serial

from tests.host.air_bench import Host, provisioned
from tests.host.test_air_commands import Order
from tests.host.test_air_firmware import LIGHT, Time
from tests.support.raspberry import Lockstep, Raspberry

CONFIG = BridgeConfig(radio="rfm9x")


class Line:
    """The bridge in its thread, as the host's bench wants it."""

    def __init__(self, clock: VirtualClock, raspberry: Raspberry) -> None:
        self.host: Host | None = None
        self.station: Any = None
        self.plugged = True
        self.bridge: pi.PiBridge | None = None
        self._clock, self._pi = clock, raspberry
        raspberry.life = Lockstep(clock, self._live)

    def _live(self) -> str:
        pins = Pins(CONFIG, now_ns=self._pi.now_ns, sleep=self._pi.sleep, select=self._pi.select)
        self.bridge = pi.start(CONFIG, pins, self._heard)
        try:
            return self.bridge.run()
        finally:
            pins.close()

    def _heard(self, data: bytes) -> None:
        # As a loop does what another thread asks of it: afterwards.
        self._clock.at(self._clock.now_us, lambda: self.host and self.host.receive(self, data))  # type: ignore[func-returns-value, arg-type]

    def feed(self, data: bytes) -> None:
        if self.bridge and self._pi.life:
            self.bridge.feed(data)
            self._pi.life.wake()


def test_real_lamps_and_a_raspberry_get_on_with_the_host(
    apps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = VirtualClock(datetime(2026, 1, 5, 20))
    when = Time(clock)
    roots = provisioned(tmp_path, when.now, when.rng.randbytes, 2)
    (tmp_path / "street").mkdir()
    raspberry = Raspberry(clock)
    raspberry.install(monkeypatch)
    raspberry.install_time(monkeypatch)
    with AirStreet(
        2, app=apps / "lamp", bridge_app=apps / "bridge", bridges=(), clock=clock, seed=5, loss=0.1, beacon_loss=0.05, keys=roots,
        folder=tmp_path / "street", fitted=LIGHT, report_s=60,
    ) as street:  # fmt: skip
        street.antennas.append(Antenna(street, raspberry.model, 0.0, 0.0, BRIDGE_GAIN_DB))
        line = Line(clock, raspberry)
        street.run_for(0.2)
        host = Host(when, tmp_path, [line], create=False)  # type: ignore[arg-type, list-item]
        street.run_for(300)
        assert {peer.address for peer in host.air.peers.values() if peer.home} == {1, 2}
        assert line.station.about.chip == 2
        host.air.order(host.air.peers[1].way, Order(1, 77, kind=schema.LAMP_SET))
        host.act()
        street.run_for(6)
        (answer,) = host.told(OrderAnswered)
        assert (answer.node, answer.id, answer.code) == (1, 77, schema.RESULT_APPLIED)
        street.run_for(620)
        reports = host.stored()
        for address in (1, 2):
            seqs = sorted(seq for node, _, seq, _ in reports if node == address)
            assert len(seqs) >= 3 and len(set(seqs)) == len(seqs)
        assert set(line.station.modem.counts) <= {"frames_in", "frames_out", "bytes_in", "bytes_out", "tx_sent"}
        assert line.bridge and (line.bridge.radio.resets, line.bridge.radio.missed) == (0, 0)
        assert raspberry.model.wrong == []
        assert max(street.ether.peak.values()) < 1
        line.bridge.stop()
        assert raspberry.life
        raspberry.life.wake()
        street.run_for(1)
        assert raspberry.life.done and raspberry.life.result == ""
        host.stop()
    raspberry.close()


class Real:
    """A Raspberry in real time, whose radio's own time runs in a thread."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.clock = RealClock()
        self.clock._base = 0  # the monotonic clock itself
        self.pi = Raspberry(self.clock)
        self.pi.install(patch)
        self.clock.start()
        self.deframer = serial.Deframer(300)
        self.said: list[tuple[int, list[Any]]] = []
        self.lost: list[str] = []

    def received(self, data: bytes) -> None:
        for content in self.deframer.feed(data):
            self.said.append((content[0], core.decode(core.BRIDGE[content[0]], content[1:])))

    def close(self) -> None:
        self.clock.stop()
        self.pi.close()

    async def until(self, kind: int) -> list[Any]:
        for _ in range(1000):
            for what, values in self.said:
                if what == kind:
                    return values
            await asyncio.sleep(0.005)
        raise AssertionError(f"nothing of kind {kind}")


def test_the_port_in_a_running_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread, the system's own waits and the kernel's stamps; then a clean end, and one with a reason."""
    real = Real(monkeypatch)

    def say(port: pi.PiPort, kind: int, *values: Any) -> None:
        port.write(serial.encode(bytes((kind,)) + core.encode(core.BRIDGE[kind], list(values))))

    async def live() -> None:
        port = await pi.open_radio(CONFIG, real.received, real.lost.append)
        say(port, core.LISTEN, 7, 868_100_000)
        hello = await real.until(core.BRIDGE_HELLO)
        assert hello[4] == 2 and hello[-1] == 20
        say(port, core.PING, 5)
        assert (await real.until(core.HEARTBEAT))[0] in (0, 5)
        with real.clock.lock:
            end = real.clock.now_us + 60_000
            real.pi.model.deliver(b"through the thread", -90.0, 5.0, end)
        heard = await real.until(core.RX)
        assert heard[-1] == b"through the thread"
        assert 0 <= (heard[0] - end) % (1 << 30) < 1_000_000
        await port.close()
        assert not [thread for thread in threading.enumerate() if thread.name == "felinar-radio"]
        assert real.pi.open == []
        port = await pi.open_radio(CONFIG, real.received, real.lost.append)
        monkeypatch.setattr(port._bridge.modem, "step", lambda up_ms: 1 // 0)  # a fault of ours
        for _ in range(1000):
            if real.lost:
                break
            await asyncio.sleep(0.005)
        assert real.lost == ["the radio's thread has failed: ZeroDivisionError('integer division or modulo by zero')"]
        await port.close()
        assert real.pi.open == []
        real.pi.model.gone = True
        with pytest.raises(LinkError, match="does not answer"):
            await pi.open_radio(CONFIG, real.received, real.lost.append)
        assert real.pi.open == []

    try:
        asyncio.run(live())
    finally:
        real.close()
