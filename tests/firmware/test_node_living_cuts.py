"""Power cut at every single flash operation of an hour with configuration changes: the whole firmware, before, after, torn.

The hour is lived once without a cut. Each cut then begins at the boot before its operation, with the flash as it was.
"""

from __future__ import annotations

import json
import struct
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from felinar_sim.clock import VirtualClock
from felinar_sim.flash import BLOCK
from felinar_sim.host import Host, Identity
from felinar_sim.street import Pole, Street
from felinar_wire import frame, schema, serial

BEGIN = int(datetime(2026, 1, 5, 18, tzinfo=UTC).timestamp()) * 1_000_000
FLASH = range(0x350000, 0x372000, BLOCK)  # outbox and config
PERIODS = {"file": 300, "second": 240, "third": 400, "bad": 100}
"""Report period by configuration: what the node does shows which one it follows."""
CHANGES = (420, 960, 1740, 2280, 2282, 2640)
_WATCH_S = 300  # what follows on a cut is looked at for at least so long

Books = dict[Identity, tuple[int, bytes]]


@dataclass
class Boot:
    """What there was when the node started: enough to live on from there."""

    at_us: int
    operations: int
    flash: list[tuple[int, bytes]]
    nvs: dict[str, bytes]
    made: Books
    stored: Books
    boot: int


def text(pole: Pole, name: str) -> bytes:
    return json.dumps({**pole.config, "report_s": PERIODS[name], "trial_s": 60, "name": name * 20}).encode()


def send(host: Host, id: int, name: str) -> None:
    """All parts at once: at 115,200 baud the node keeps up with that."""
    pole = host.pole
    data = text(pole, name)
    for at in range(0, len(data), 100):
        head = struct.pack(">HHHI", id, at, len(data), crc32(data)) + data[at : at + 100]
        pole.console.write(serial.encode(b"\0" + frame.pack(schema.CONFIG_PART, pole.address, 0, head)))


def talk(host: Host, on: bool) -> None:
    host.answers = host.gives_time = on
    if on:
        host.send(schema.QUERY, [schema.QUERY_HELLO])


def plan(host: Host) -> None:
    """Three configurations and a program: two are kept, one finds no host, and is undone."""
    clock = host.pole.clock
    acts = (
        lambda: send(host, 1, "second"),
        lambda: send(host, 2, "third"),
        lambda: host.send(schema.SCHEDULE, [3, 1, 127, 101, 1231, 1235, 40] + [None] * 10),
        lambda: send(host, 4, "bad"),
        lambda: talk(host, False),
        lambda: talk(host, True),
    )
    for second, act in zip(CHANGES, acts, strict=True):
        if BEGIN + second * 1_000_000 >= clock.now_us:
            clock.at(BEGIN + second * 1_000_000, act)
    if 2282 <= (clock.now_us - BEGIN) / 1e6 < 2640:
        talk(host, False)


def books(pole: Pole) -> Books:
    return {(a.boot, a.seq): (a.kind, a.body) for a in pole.appended}


def street(app: Path, at_us: int) -> Street:
    start = datetime.fromtimestamp(at_us / 1e6, UTC)
    return Street(1, app=app, clock=VirtualClock(start), fitted=[], keep=False)


def whole_hour(app: Path) -> tuple[list[Boot], int]:
    boots: list[Boot] = []
    with street(app, BEGIN) as life:
        pole = life[0]
        host = Host(pole)

        def snapshot() -> None:
            flash = [(at, pole.flash.read(at, BLOCK)) for at in FLASH]
            flash = [(at, data) for at, data in flash if data.count(0xFF) < BLOCK]
            now = pole.clock.now_us
            boots.append(
                Boot(now, pole.fuse.operations, flash, pole.nvs.items(), books(pole), dict(host.stored), host.boot)
            )

        boots.append(Boot(BEGIN, 0, [], {}, {}, {}, 0))
        pole.on_boot.append(snapshot)
        plan(host)
        life.run_for(3593)
        operations = pole.fuse.operations
        check(life, host, {}, cut=False)
        names = [name for name, _ in host.events() if name.startswith("config_")]
        assert names == ["config_tried", "config_kept"] * 3 + ["config_tried", "config_rolled_back"]
    return boots, operations


def live(app: Path, boots: list[Boot], cut: int, torn: float) -> None:
    """From the boot before operation `cut` on, the power lost in that operation and back 2 s later."""
    at = max(i for i, boot in enumerate(boots) if boot.operations <= cut)
    since = boots[at]
    life = street(app, since.at_us)
    pole = life[0]
    for place, data in since.flash:
        pole.flash.program(place, data)
    for key, value in since.nvs.items():
        pole.nvs.set(*key.split("/"), 1, value)
    pole.restore_after_s = 2.0
    pole.cut_after(cut - since.operations, torn)
    host = Host(pole, stored=dict(since.stored), boot=since.boot)
    with life:
        plan(host)
        while pole.fuse.armed:
            assert pole.clock.now_us < BEGIN + 3600_000_000, "the cut did not come"
            life.run_for(10)
        life.run_for(_WATCH_S)
        life.run_for(13 - pole.clock.now_us // 1_000_000 % 20 + 20)  # on no boundary of a period
        while len(times(host)) < 2 or any(
            -120 < second - (pole.clock.now_us - BEGIN) / 1e6 < 120 for second in CHANGES
        ):
            assert pole.clock.now_us < BEGIN + 7200_000_000, "no reports any longer"
            life.run_for(60)
        check(life, host, since.made, cut=True)


def times(host: Host) -> list[int]:
    """Ends of the periods that were reported since the last boot."""
    ends = [report["time"] for report in host.reports(host.boot)]
    return [time for time in ends if time is not None and time % 20 == 0]


def check(life: Street, host: Host, made: Books, *, cut: bool) -> None:
    pole = host.pole
    host.send(schema.CONFIG, [9, schema.CONFIG_REPORT_S, 0])
    life.run_for(70)
    made = {**made, **books(pole)}
    assert made.items() <= host.stored.items(), "an append returned and its message is lost"
    assert len(host.stored) - len(made) <= cut, "at most one: durable when the power went, before the append returned"
    reports = Counter((boot, body) for (boot, _), (kind, body) in host.stored.items() if kind == schema.REPORT)
    assert max(reports.values()) == 1, "one report as two"
    host.send(schema.QUERY, [schema.QUERY_HEALTH])
    life.run_for(1)
    health: dict[str, Any] = host.last(schema.HEALTH)
    assert (health["trial"], health["safe"], health["dropped"], health["pending"]) == (0, 0, 0, 0)
    # What is in force is one of those that were sent, whole; which one it is shows in what the node does.
    names = {crc32((pole.folder / "config.json").read_bytes()) & 0xFFFF: "file"}
    names.update({crc32(text(pole, name)) & 0xFFFF: name for name in ("second", "third")})
    name = names.get(health["config"])
    assert {b - a for a, b in pairwise(times(host))} == {PERIODS[name or "third"]}
    if name is None and pole.clock.now_us > BEGIN + 2200_000_000:
        assert host.reports()[-1]["dim"] == 40, "the third one with the program"


@pytest.fixture(scope="module")
def hour(node_app: Path) -> tuple[Path, list[Boot], int]:
    boots, operations = whole_hour(node_app)
    assert len(boots) == 6
    assert operations > 80
    return node_app, boots, operations


SHARES = 4


@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("torn", [0.0, 0.4, 1.0], ids=["before", "torn", "after"])
def test_a_power_cut_at_every_operation_of_an_hour(hour: tuple[Path, list[Boot], int], torn: float, share: int) -> None:
    app, boots, operations = hour
    for cut in range(share, operations, SHARES):
        live(app, boots, cut, torn)
