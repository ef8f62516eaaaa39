"""Relay, dimmer, counters and events around the lamp's policy; what needs the chip's clock under MicroPython."""

from __future__ import annotations

import importlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from felinar_sim.clock import VirtualClock
from felinar_sim.host import Host
from felinar_sim.street import Street
from felinar_wire import schema

from tests.firmware.lamp_oracle import PLACE
from tests.firmware.loader import node
from tests.firmware.test_node_lamp import DAY, DIM, NIGHT
from tests.support.micropython import FIRMWARE, PROTOCOL, ROOT, run

lighting = node("lighting")
bench = importlib.import_module("tests.firmware.lamp_bench")


class Store:
    """Numbers that outlive a boot, and how often each was written."""

    def __init__(self, **values: int) -> None:
        self.values = values
        self.writes = 0

    def get(self, key: str) -> int:
        return self.values.get(key, 0)

    def set(self, key: str, value: int) -> None:
        self.values[key] = value
        self.writes += key == "switches"


class Node:
    """A lamp with a power meter, at PLACE."""

    def __init__(self, lamp: Any = DIM, **board: Any) -> None:
        self.board = bench.Board(**board)
        self.events: list[tuple[int, int]] = []
        self.lighting = lighting.Lighting(self.board, lambda *event: self.events.append(event))
        self.lighting.use(bench.Config(lamp, PLACE))
        self.sensor = bench.Sensor()

    def step(self, up: int, time: int | None = NIGHT) -> None:
        self.lighting.step(up, time, [self.sensor])

    @property
    def coil(self) -> int:
        return int(self.board.pins["relay"].level)


@pytest.mark.parametrize("normally_closed", [True, False])
def test_lit_from_the_first_moment_and_whatever_fails(normally_closed: bool) -> None:
    n = Node(normally_closed=normally_closed)
    lit = 0 if normally_closed else 1
    assert n.coil == lit
    n.step(10, DAY)
    assert n.coil != lit
    with pytest.raises(RuntimeError):
        n.lighting.step(20, DAY, [bench.Broken()])
    assert n.coil == lit
    n.step(30, DAY)
    assert n.coil != lit


def test_a_disturbed_output_is_put_right() -> None:
    n = Node()
    n.step(10)
    n.board.pins["relay"].level = 1
    n.step(20)
    assert n.coil == 0


def test_what_changes_is_told() -> None:
    n = Node()
    n.step(10, DAY)
    n.step(20, DAY)
    n.lighting.policy.override(3, 40, 100, 10, 30)
    for up in range(30, 45):
        n.step(up, DAY)
    n.step(130, DAY)
    assert n.events == [
        (schema.EVENT_LAMP, 0),
        (schema.EVENT_OVERRIDE, 3),
        (schema.EVENT_LAMP, 40),
        (schema.EVENT_OVERRIDE, -1),
        (schema.EVENT_LAMP, 0),
    ]
    assert n.board.pins["dim"].duty == 40 * 65535 // 100, "an open relay needs no other dimming"


def test_a_lamp_without_a_relay_is_dimmed_to_off_and_one_without_a_dimmer_gives_all() -> None:
    n = Node(pins=("dim",))
    n.step(10, DAY)
    assert n.board.pins["dim"].duty == 0
    n.step(20, NIGHT)
    assert n.board.pins["dim"].duty == 65535
    n = Node(pins=("relay",))
    n.sensor.value["power"] = 60.0
    for up in range(0, 1800, 10):
        n.step(up)
    for up in range(1800, 3600, 10):
        n.step(up, NIGHT + 4000)
    assert n.lighting.policy.level == 60
    assert n.coil == 0
    assert n.events == [(schema.EVENT_LAMP, 60)], "full power is no failure of a dimmer that is not there"


def test_verdicts_are_told() -> None:
    n = Node({**DIM, "lamp_w": 60})
    n.sensor.value["power"] = 0.0
    for up in range(0, 300, 10):
        n.step(up)
    assert (schema.EVENT_LAMP_FAILURE, 0) in n.events
    assert n.lighting.verdict.full == 600


def test_switchings_and_hours_are_counted_and_saved_sparingly() -> None:
    n = Node()
    store = Store(switches=1000, lamp_min=90)
    n.lighting.keep(store)
    up = 0
    for _ in range(24 * 360):
        up += 10
        n.step(up, NIGHT + up)
    assert n.lighting.switches == 1002, "out in the morning, lit in the evening"
    assert n.lighting.lit_s == pytest.approx(90 * 60 + 15 * 3600, abs=1800)
    assert store.writes == 1
    for _ in range(6 * 360):
        up += 10
        n.step(up, NIGHT + up)
    assert store.writes == 2
    assert store.values == {"switches": 1002, "lamp_min": n.lighting.lit_s // 60}
    for i in range(130):
        up += 10
        n.step(up, NIGHT if i % 2 else DAY)
    assert n.lighting.switches == 1002 + 130
    assert store.writes == 4, "each 64 switchings"
    lit = n.lighting.lit_s
    n.step(up + 100_000)
    assert n.lighting.lit_s == lit, "a jump is no operation"


def micropython(code: str) -> Any:
    folder = ROOT / "tests" / "firmware"
    return json.loads(run(code, path=(PROTOCOL, FIRMWARE, folder)))


JITTER = """
import asyncio, json, time
from lamp_bench import Board, Config, Sensor
from node.lighting import Lighting

async def sleep_ms(ms):
    slept.append(ms)
    for _ in range(ms and 3):
        await asyncio.sleep_ms(0)

async def main():
    board = Board()
    board.sleep_ms = sleep_ms
    lamp = Lighting(board, lambda *event: None, bytes(uid))
    lamp.use(Config({}, (47.745, 26.659)))
    relay = board.pins["relay"]
    seen = []
    lamp.step(10, DAY, [])
    seen.append(relay.level)
    lamp.step(20, NIGHT, [])
    seen.append(relay.level)
    lamp.step(21, NIGHT, [])
    seen.append(relay.level)
    if late:
        for _ in range(9):
            await asyncio.sleep_ms(0)
    else:
        lamp.step(22, NIGHT, [])  # whatever became of the task
    seen.append(relay.level)
    lamp.step(30, DAY, [])
    seen.append(relay.level)
    lamp.step(40, NIGHT, [])
    try:
        lamp.step(41, NIGHT, 5)
    except TypeError:
        seen.append(relay.level)  # a failure does not wait
    return seen

slept = []
print(json.dumps([asyncio.run(main()), slept]))
"""


@pytest.mark.parametrize("late", [True, False])
def test_each_lamp_lights_up_a_little_later_than_its_neighbour(late: bool) -> None:
    waits = []
    for last in (1, 2):
        seen, slept = micropython(f"DAY={DAY}; NIGHT={NIGHT}; late={late}; uid={[9, 9, 9, 9, 1, last]}\n" + JITTER)
        assert seen == [1, 1, 1, 0, 1, 0]
        if late:
            waits.append(slept[0])
    assert all(0 < wait < 1000 for wait in waits)
    assert len(set(waits)) == len(waits)


ZERO_CROSS = """
import json
import drivers.relay
now = 0

def sleep_us(us):
    global now
    now += us

class Relayed:
    def __init__(self):
        self.level = 0
        self.moved = []
    def value(self, level=None):
        if level is not None and level != self.level:
            self.moved.append(now)
            self.level = level
        return self.level

class Mains:
    def value(self):
        return alive and int(now % 10000 < 700)  # half a period of 10 ms, a pulse of 0.7 ms

class Board:
    relay_delay_ms = delay
    def has(self, name):
        return name == "zero_cross"
    def pin(self, name, mode, value=None):
        return mains if name == "zero_cross" else coil

class Time:
    pass

mains = Mains()
coil = Relayed()
Time.sleep_us = sleep_us
drivers.relay.time = Time
relay = drivers.relay.Relay(Board())
for start in (1234, 500, 9999):
    relay.set(False)
    now = start
    relay.set(True)
print(json.dumps(coil.moved))
"""


@pytest.mark.parametrize("delay", [0, 4, 9, 13])
def test_contacts_close_when_the_mains_crosses_zero(delay: int) -> None:
    moved = micropython(f"delay={delay}; alive=1\n" + ZERO_CROSS)
    for at in moved[1::2]:
        assert (at + delay * 1000) % 10000 <= 200, "on the edge, as precisely as the pin is looked at"
    for at in moved[::2]:
        assert at in (0, moved[1], moved[3]), "opening waits for nothing"


def test_without_a_zero_crossing_the_lamp_is_lit_at_once() -> None:
    moved = micropython("delay=4; alive=0\n" + ZERO_CROSS)
    assert moved[1] == 1234 + 25000


def test_the_whole_node_tells_what_its_meter_says(node_app: Path) -> None:
    clock = VirtualClock(datetime(2026, 1, 5, 17, tzinfo=UTC))
    with Street(1, app=node_app, clock=clock, fitted=[{"driver": "bl0937", "counter": 0}], report_s=60) as street:
        pole = street[0]
        host = Host(pole)
        street.run_for(600)
        pole.lamp.failed = True
        street.run_for(300)
        failures = [(name, arg) for name, arg in host.events() if name.endswith("failure")]
        assert [name for name, _ in failures] == ["lamp_failure"]
        assert failures[0][1] == pytest.approx(12, abs=3)
        pole.lamp.failed = False
        street.run_for(400)
        assert ("cleared", schema.EVENT_LAMP_FAILURE) in host.events()
        host.send(schema.LAMP_SET, [7, schema.MODE_OFF, 0, 0, 600, schema.REASON_MAINTENANCE])
        street.run_for(60)
        assert not pole.lit
        pole.lamp.relay.stuck_open = True
        street.run_for(900)
        assert {name for name, _ in host.events()[-4:]} >= {"lamp_failure", "relay_failure"}
