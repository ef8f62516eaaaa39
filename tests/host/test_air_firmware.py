"""The host's side of the air with the real firmware of a bridge and of lamps, on one virtual clock."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from felinar.clock import Now
from felinar.facts import OrderAnswered
from felinar.keys.rekey import HOLDER, Step, order
from felinar_sim.air_street import AirStreet
from felinar_sim.clock import VirtualClock
from felinar_wire import schema

from tests.host.air_bench import Host, provisioned
from tests.host.test_air_commands import Order
from tests.support.micropython import ROOT

BOARD = ROOT / "boards" / "sim_radio" / "board.toml"
ZONE = 40_000
LIGHT = [{"driver": "bh1750", "bus": "i2c0", "address": 35, "period_ms": 30_000}]


class Time:
    """The simulator's clock as the host's bench wants it."""

    def __init__(self, clock: VirtualClock) -> None:
        self.rng = random.Random(1)
        self._clock = clock

    @property
    def us(self) -> int:
        return self._clock.now_us

    def now(self) -> Now:
        return Now(self.us / 1e6, self.us / 1e6)

    def after(self, us: float, call: Callable[..., None], *args: Any) -> None:
        self._clock.at(self.us + max(1, round(us)), lambda: call(*args))


class Console:
    """The bridge's line."""

    def __init__(self, street: AirStreet) -> None:
        self.host: Host | None = None
        self.station: Any = None
        self.plugged = True
        self._console = street.bridge.console
        self._console.on_output.append(lambda chunk: self.host and self.host.receive(self, chunk))  # type: ignore[arg-type]

    def feed(self, data: bytes) -> None:
        self._console.write(data)


def test_real_lamps_and_a_real_bridge_get_on_with_the_host(apps: Path, tmp_path: Path) -> None:
    clock = VirtualClock(datetime(2026, 1, 5, 20))
    time = Time(clock)
    roots = provisioned(tmp_path, time.now, time.rng.randbytes, 2)
    (tmp_path / "street").mkdir()
    with AirStreet(
        2, app=apps / "lamp", bridge_app=apps / "bridge", clock=clock, seed=5, loss=0.1, beacon_loss=0.05, keys=roots,
        folder=tmp_path / "street", fitted=LIGHT, report_s=300,
    ) as street:  # fmt: skip
        line = Console(street)
        host = Host(time, tmp_path, [line], create=False)  # type: ignore[arg-type, list-item]
        street.run_for(700)
        assert {peer.address for peer in host.air.peers.values() if peer.home} == {1, 2}
        assert {peer.firmware for peer in host.air.peers.values()} == {"0.1.0"}
        assert line.station.modem.clock.round_trip < 0.02
        host.air.order(host.air.peers[1].way, Order(1, 77, kind=schema.LAMP_SET))
        host.act()
        street.run_for(6)
        (answer,) = host.told(OrderAnswered)
        assert (answer.node, answer.id, answer.code) == (1, 77, schema.RESULT_APPLIED)
        street.run_for(500)
        reports = host.stored()
        for address in (1, 2):
            seqs = sorted(seq for node, _, seq, _ in reports if node == address)
            assert len(seqs) >= 3 and len(set(seqs)) == len(seqs)
        assert host.air.counts["acknowledged"] >= 5
        refused = {*host.air.counts} - {"acknowledged", "copies", "strange_slot", "unstored", "stray_result"}
        assert not refused, host.air.counts
        assert not set(host.air.keyring.counts), host.air.keyring.counts
        assert max(street.ether.peak.values()) < 1
        host.stop()


def test_a_real_lamp_s_keys_are_changed_over_the_air(apps: Path, tmp_path: Path) -> None:
    clock = VirtualClock(datetime(2026, 1, 5, 20))
    time = Time(clock)
    old = provisioned(tmp_path, time.now, time.rng.randbytes, 1)
    (tmp_path / "street").mkdir()
    with AirStreet(
        1, app=apps / "lamp", bridge_app=apps / "bridge", clock=clock, seed=5, keys=old,
        folder=tmp_path / "street", fitted=LIGHT, report_s=300,
    ) as street:  # fmt: skip
        host = Host(time, tmp_path, [Console(street)], create=False)  # type: ignore[arg-type, list-item]
        street.run_for(60)
        host.members = {1: {ZONE}}
        order(host.keys, 1)
        new = host.keys.pending_key(1, HOLDER)
        street.run_for(30)  # the lamp joins with it at once
        flash = street[0].nvs
        assert flash.get("felinar", "key", 2) == host.keys.root(1) == new != old[1]
        assert host.air.renewal.step(1) == Step.NONE
        assert host.keys.pending() == []
        assert host.told_of_keys[-1] == ("a new key is in force", 1)
        assert flash.get("felinar", "zones", 2) == ZONE.to_bytes(2, "big") + host.keys.zone_key(ZONE)
        host.air.group(ZONE, schema.MODE_OFF, 0, 0, 60, 0)  # waits for its proof
        host.act()
        assert street[0].lit
        street.run_for(40)
        assert not street[0].lit
        before = len(host.stored())
        street.run_for(450)
        joined = host.keys.last_join(1)
        assert joined == 2
        assert len(host.stored()) > before  # in its slot, under the new session
        assert len(host.store.boards()) == 1
        # With its old key in flash, as somebody may have copied it, it is nobody.
        street[0].cut_power()
        flash.set("felinar", "key", 2, old[1])
        street[0].power_on()
        street.run_for(120)
        assert host.air.keyring.refused[1]["tag"] >= 1
        assert (host.keys.last_join(1), host.keys.root(1)) == (joined, new)
        host.stop()
