"""A radio node with every sensor of its board lives in the heap of a chip, and its code in what a node has room for."""

from __future__ import annotations

import copy
import random
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from felinar.keys import SqliteKeyStore
from felinar_build import app as build
from felinar_build import board as boards
from felinar_build import modules
from felinar_sim.air_street import AirStreet
from felinar_sim.board import Cause
from felinar_sim.clock import VirtualClock
from felinar_wire import codec, schema

from tests.firmware.air_host import AirHost
from tests.support.micropython import ROOT

BOARD = ROOT / "boards" / "sim_radio" / "board.toml"
HEAP = 224 * 1024
NODES = 1
SECONDS = 1600
NOISE = (np.random.default_rng(1).integers(-30_000, 30_000, 48_000) << 8).astype("<i4").tobytes()


def noise(first: int, n: int, now_us: int) -> bytes:
    """An even noise: what a microphone hears is not the point here, and a street's sound takes long to make."""
    at = first * 4 % (len(NOISE) - 4 * n)
    return NOISE[at - at % 4 :][: 4 * n]


def events(street: AirStreet, index: int) -> list[tuple[int, int]]:
    found = []
    for kept in street[index].appended:
        if kept.kind == schema.EVENT:
            values: list[Any] = list(codec.decode(kept.kind, kept.body))
            found.append((values[2], values[3]))
    return found


def test_with_every_sensor_and_a_fifth_of_the_frames_lost(apps: Path, tmp_path: Path) -> None:
    """No MemoryError, nothing lost of the sensors, the microphone neither, and reports arrive."""
    rng = random.Random(7)
    folder = tmp_path / "street"
    folder.mkdir()
    store = SqliteKeyStore(
        tmp_path / "keys", rng.randbytes(32), create=True, now=lambda: 1e9, random=rng.randbytes, machine=lambda: "m"
    )
    street = AirStreet(
        NODES, app=apps / "lamp", bridge_app=apps / "bridge", clock=VirtualClock(datetime(2026, 1, 5, 20)), seed=7,
        keys={address: store.provision(address) for address in range(1, NODES + 1)}, loss=0.2, beacon_loss=0.05,
        folder=folder, report_s=300, heap="224K",
    )  # fmt: skip
    for pole in street.street:
        pole.chip("ics43434").frames = noise
    with street:
        host = AirHost(street, store)
        street.run_for(SECONDS)
        for address in range(1, NODES + 1):
            host.command(address, schema.QUERY, [schema.QUERY_HEALTH])
        street.run_for(30)
        for index, pole in enumerate(street.street):
            assert [cause for _, cause in pole.boots] == [Cause.POWER_ON], pole.log.path.read_text()
            told = {code for code, _ in events(street, index)}
            crash = pole.nvs.items().get("felinar/crash")
            assert told <= {schema.EVENT_BOOT, schema.EVENT_CLOCK_SET, schema.EVENT_LAMP}, crash
            health = host.health[pole.address]
            assert health["crashes"] == health["sensor_errors"] == health["dropped"] == 0
            print(pole.name, health["heap_low"], "free at the lowest")
            assert health["heap_low"] >= LEAST * HEAP
            reports = host.reports(pole.address)
            assert len(reports) >= 3, (
                "of 5: a slot each five minutes, a fifth of the frames lost, events have their turn"
            )
            last = reports[-1]
            fields = ("lux", "pm25", "co2", "temp", "rh", "leq", "l90", "power", "rssi")
            assert None not in [last[name] for name in fields]
    store.close()


LEAST = 0.075
"""Share of the heap that is free behind a collection. The stand-ins of the simulator take 33 KB of it, which a chip has."""


@pytest.mark.parametrize("chip", ["sx1262", "sx1276"])
def test_driver_and_medium_access_take_less_than_12_kb(chip: str) -> None:
    board = copy.deepcopy(boards.load(BOARD))
    assert board.radio is not None
    board.radio.chip = chip
    sizes = build.sizes(board, "xtensawin")
    family = f"drivers/{chip[:5]}x.py"
    parts = {
        place: size
        for place, size in sizes.items()
        if place.startswith("felinar_air/") or place in ("drivers/lora.py", family, "node/radio.py")
    }
    assert len(parts) == 6, parts
    assert sum(parts.values()) < 12_000, parts


def test_a_node_carries_one_way_to_the_host_and_joins_for_a_moment() -> None:
    wired = {modules.name(place) for place in build.sizes("sim")}
    radio = {modules.name(place) for place in build.sizes("sim_radio")}
    assert "node.orders" in wired & radio
    assert wired - radio >= {"node.uplink", "node.line", "felinar_wire.serial"}
    assert radio - wired >= {"node.radio", "node.radio_link", "node.joining", "felinar_air.node"}
    assert {"node.joining", "felinar_wire.join"} <= modules.FOR_A_MOMENT
