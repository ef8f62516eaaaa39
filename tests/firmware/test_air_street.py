"""Lamps on the air: real firmware of nodes and a bridge on one virtual clock, the host's plan and keys played by the test."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from felinar.keys import SqliteKeyStore
from felinar_air import plan
from felinar_build import app as build
from felinar_build import board as boards
from felinar_build import modules
from felinar_sim.air_street import AirStreet
from felinar_sim.clock import VirtualClock
from felinar_wire import codec, schema

from tests.firmware.air_host import AirHost
from tests.support.micropython import ROOT

BOARD = ROOT / "boards" / "sim_radio" / "board.toml"
NIGHT = datetime(2026, 1, 5, 20)
LIGHT = [{"driver": "bh1750", "bus": "i2c0", "address": 35, "period_ms": 30_000}]
ZONE = 40_000
Running = tuple[AirStreet, AirHost]


@contextmanager
def on_air(
    apps: Path, folder: Path, nodes: int, *, seed: int = 1, loss: float = 0.0, beacon_loss: float = 0.0
) -> Iterator[Running]:
    (folder / "street").mkdir(parents=True)
    rng = random.Random(seed)
    store = SqliteKeyStore(
        folder / "keys", rng.randbytes(32), create=True, now=lambda: 1e9, random=rng.randbytes, machine=lambda: "m"
    )
    street = AirStreet(
        nodes, app=apps / "lamp", bridge_app=apps / "bridge", clock=VirtualClock(NIGHT), seed=seed, loss=loss,
        keys={address: store.provision(address) for address in range(1, nodes + 1)}, beacon_loss=beacon_loss,
        folder=folder / "street", fitted=LIGHT, report_s=300,
    )  # fmt: skip
    with street:
        yield street, AirHost(street, store)
    store.close()


def sound(street: AirStreet) -> None:
    """No radio was ordered what its data sheet forbids, and nobody has crashed."""
    for index in range(-1, len(street)):
        assert street.radio(index).wrong == []
    for pole in street.street:
        codes = {codec.decode(a.kind, a.body)[2] for a in pole.appended if a.kind == schema.EVENT}
        assert schema.EVENT_CRASH not in codes, pole.name


def test_an_hour_of_losses_a_command_and_a_power_cut(apps: Path, tmp_path: Path) -> None:
    with on_air(apps, tmp_path, 3, seed=4, loss=0.1, beacon_loss=0.05) as (street, host):
        street.run_for(1300)
        assert {address for _, address in host.joins} == {1, 2, 3}
        assert all(host.reports(address) for address in (1, 2, 3))
        # An order acts, is answered, and the lamp is dark.
        begin = host.ms()
        host.command(1, schema.LAMP_SET, [4711, schema.MODE_OFF, 0, 0, 900, schema.REASON_OPERATOR])
        street.run_for(6)
        assert not street[0].lit and street[1].lit
        (when, address, values) = host.results[-1]
        assert (address, values[:2]) == (1, [4711, schema.RESULT_APPLIED])
        assert when - begin < 4000
        # Beacons that nobody hears cost nothing.
        host.skip = 3
        street.run_for(300)
        # The power of one goes: it comes back with a new session, and what it had kept comes too.
        joins = len(host.joins)
        street[1].power_cycle(30)
        street.run_for(2400)
        assert {address for _, address in host.joins[joins:]} == {2}
        assert {boot for node, boot, _ in host.stored if node == 2} == {1, 2}
        # Events take turns with reports, two slots apart: one that is lost twice takes longer.
        assert host.missing(1500, schema.REPORT) == []
        assert len(host.stored) > 3 * 11
        sent = sum(len(street.radio(index).emissions) for index in range(3))
        assert sent < 1.6 * len(host.stored) + len(host.joins) + 4
        assert max(street.ether.peak.values()) < 1
        times = [report["time"] for report in host.reports(3)]
        assert times == sorted(times) and len(set(times)) == len(times)
        sound(street)


def test_frames_come_in_their_slots(apps: Path, tmp_path: Path) -> None:
    with on_air(apps, tmp_path, 1, seed=3) as (street, host):
        street.run_for(2000)
        frame = host.slots.frame
        for begun, address, kind in host.frames:
            if kind in (schema.REPORT, schema.BATCH):
                n, slot = host.slots.slot_at(begun)
                assert slot == host.slots.of[address]
                within = begun - n * plan.INTERVAL - frame.start(slot % frame.slots)
                assert 4 <= within <= 20, "not 12 ms behind the slot's begin, give or take the bridge's clock"
        assert [kind for _, address, kind in host.frames if address == 1].count(schema.REPORT) >= 2
        assert host.missing(620) == []
        # A difference counts from what was acknowledged: it is much shorter than the first, whole report.
        reports = [e for e in street.radio(0).emissions if e.data[0] & 63 == schema.REPORT]
        assert len(reports[-1].data) < 0.6 * len(reports[0].data)


def test_groups(apps: Path, tmp_path: Path) -> None:
    with on_air(apps, tmp_path, 2, seed=5) as (street, host):
        street.run_for(40)
        key = host.store.zone_key(ZONE)
        for address in (1, 2):
            body = (100 + address).to_bytes(2, "big") + ZONE.to_bytes(2, "big") + key
            host.command(address, schema.REKEY, [body])
            street.run_for(8)
        assert {(address, *values[:2]) for _, address, values in host.results} == {(1, 101, 0), (2, 102, 0)}
        # "Off" waits for its proof; "on" does not.
        host.group(ZONE, 1, schema.MODE_OFF, 0, 60)
        street.run_for(3)
        assert street[0].lit and street[1].lit
        street.run_for(32)
        assert not street[0].lit and not street[1].lit
        host.group(ZONE, 2, schema.MODE_ON, 100, 60)
        street.run_for(3)
        assert street[0].lit and street[1].lit
        street.run_for(70)
        assert street[0].lit and street[1].lit, "what was proven is not taken back"
        host.group(ZONE, 3, schema.MODE_OFF, 0, 60)
        street.run_for(35)
        assert not street[0].lit
        # A thief of the zone key lights the lamps for a minute, not longer, and not again within an hour.
        host.group(ZONE, 4, schema.MODE_ON, 100, 60, right=False)
        street.run_for(3)
        assert street[0].lit
        street.run_for(60)
        assert not street[0].lit and not street[1].lit
        host.group(ZONE, 5, schema.MODE_ON, 100, 60, right=False)
        street.run_for(3)
        assert not street[0].lit
        sound(street)


def test_the_same_seed_gives_the_same_bytes(apps: Path, tmp_path: Path) -> None:
    hashes = []
    for i in range(2):
        with on_air(apps, tmp_path / str(i), 2, seed=9, loss=0.2, beacon_loss=0.1) as (street, _):
            street.run_for(330)
            hashes.append(street.trace_hash())
    assert hashes[0] == hashes[1]
    with on_air(apps, tmp_path / "other", 2, seed=10, loss=0.2, beacon_loss=0.1) as (street, _):
        street.run_for(60)
        assert street.trace_hash() not in hashes


def test_a_node_without_a_key_is_silent(apps: Path, tmp_path: Path) -> None:
    with on_air(apps, tmp_path, 1) as (street, host):
        street[0].cut_power()
        street[0].nvs.erase("felinar", "key")
        street[0].power_on()
        street.run_for(100)
        assert street.radio(0).emissions == [] and street.radio(0).received > 10
        assert street[0].lit and host.joins == []


def test_a_deaf_radio_is_mended(apps: Path, tmp_path: Path) -> None:
    with on_air(apps, tmp_path, 1, seed=2) as (street, host):
        street.run_for(60)
        street.radio(0).deaf = 2
        street.run_for(900)
        assert street.radio(0).deaf == 0
        street.run_for(900)
        assert host.missing(900) == []


def test_drivers_and_medium_access_take_12_kb_and_a_wired_node_nothing() -> None:
    sizes = build.sizes("sim_radio", "xtensawin")
    air = {
        place: size
        for place, size in sizes.items()
        if place.startswith(("felinar_air/", "drivers/lora", "drivers/sx126x"))
    }
    print(air, sizes["node/radio.py"], sizes["node/radio_link.py"])
    assert len(air) == 5
    assert sum(air.values()) <= 12_000
    wired = {place for _, place in build.sources(boards.load(ROOT / "boards" / "sim" / "board.toml"))}
    assert not {place for place in wired if place.startswith(("felinar_air/", "node/radio", "drivers/lora"))}
    assert not {modules.path_of(name) for name in modules.WIRE_ONLY} & {
        path for path, _ in build.sources(boards.load(BOARD))
    }
