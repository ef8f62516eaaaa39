"""The whole node, as .mpy in a real MicroPython, on the simulator's virtual clock; the test plays the host."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from felinar_sim.board import Cause
from felinar_sim.clock import VirtualClock
from felinar_sim.host import Host
from felinar_sim.street import Pole, Street
from felinar_wire import frame, schema, serial

from tests.support.micropython import FIRMWARE

NIGHT = datetime(2026, 1, 5, 20)
EVENING = datetime(2026, 1, 5, 18)
NOON = datetime(2026, 1, 5, 10)
Running = tuple[Street, Pole, Host]
Starter = Callable[..., Any]


@pytest.fixture
def start(node_app: Path) -> Starter:
    @contextmanager
    def begin(
        when: datetime = NIGHT,
        *,
        app: Path = node_app,
        only: str = "",
        host: dict[str, Any] | None = None,
        **options: Any,
    ) -> Iterator[Running]:
        """A running node; `only` names the one driver fitted, one that has no chip."""
        options.setdefault("report_s", 60)
        street = Street(1, app=app, clock=VirtualClock(when), levels=not only, fitted=[] if only else None, **options)
        if only:
            description = street[0].folder / "board.json"
            description.write_text(json.dumps({**json.loads(description.read_text()), "fitted": [{"driver": only}]}))
        with street:
            yield street, street[0], Host(street[0], **(host or {}))

    return begin


def dark(pole: Pole) -> list[float]:
    """How long, in s, the lamp was dark with mains there, each time; its own start after the mains came left out."""
    spans = [(end - begin) / 1e6 for begin, end in pole.lamp.dark_while_powered(0, pole.clock.now_us)]
    return [span for span in spans if span > 0.5]


def books_balance(pole: Pole, host: Host) -> None:
    """Everything whose append returned is stored, and nothing else."""
    assert {(a.boot, a.seq): (a.kind, a.body) for a in pole.appended} == host.stored


def test_an_hour_from_boot_to_drained(start: Starter) -> None:
    with start(EVENING, report_s=300) as (street, pole, host):
        street.run_for(3600 + 20)
        reports = host.reports()
        assert [r["time"] for r in reports] == [r["time"] // 300 * 300 for r in reports], "not on period boundaries"
        assert [b["time"] - a["time"] for a, b in pairwise(reports)] == [300] * 11
        assert len(reports) == 12
        last = reports[-1]
        world = street.world.at(pole.clock.now_us, pole.position)
        assert last["temp"] == pytest.approx(world.temperature_c * 10, abs=5)
        assert last["pm25"] == pytest.approx(world.pm25 * 10, rel=0.25, abs=15)
        assert last["l90"] < last["l50"] < last["l10"] < last["lmax"]
        assert (last["relay"], last["dim"]) == (1, 100)
        assert last["power"] == pytest.approx(pole.lamp.power_w(pole.clock.now_us) * 10, abs=12)
        assert {k for k, v in last.items() if v is None} == {"voc", "nox", "p", "mv", "rssi"}
        assert reports[-1]["up"] - reports[0]["up"] == 3300
        assert host.events() == [("boot", schema.RESET_POWER), ("clock_set", 32767)]
        host.send(schema.QUERY, [schema.QUERY_HEALTH])
        street.run_for(1)
        health = host.last(schema.HEALTH)
        assert (health["made"], health["dropped"], health["pending"]) == (14, 0, 0)
        assert health["sensor_errors"] == 0
        assert health["bad_frames"] == 0
        assert health["heap_free"] > 224 * 1024 // 5
        assert host.twice == 0
        books_balance(pole, host)


def test_says_hello_with_patience_until_the_time_comes(start: Starter) -> None:
    with start(host={"gives_time": False}) as (street, pole, host):
        street.run_for(120)
        times = [got.at_us for got in host.said if got.kind == schema.HELLO]
        gaps = [round((b - a) / 1e6) for a, b in pairwise(times)]
        assert gaps[:5] == [2, 4, 8, 16, 30]
        assert len({got.values["nonce"] for got in host.said}) == len(times)
        assert not host.stored, "nobody has shown that he listens"
        host.gives_time = True
        host.send(schema.QUERY, [schema.QUERY_HELLO])
        street.run_for(120)
        assert host.events()[0] == ("boot", schema.RESET_POWER)
        first = host.reports()[0]
        assert first["time"] is None, "measured before the clock was set"
        assert first["up"] == 60
        assert host.reports()[-1]["time"] % 60 == 0
        assert "clock_set" in dict(host.events())
        assert dark(pole) == []


def test_an_old_time_or_a_wrong_nonce_sets_no_clock(start: Starter) -> None:
    with start(host={"gives_time": False}) as (street, _pole, host):
        street.run_for(1)
        nonce = host.last(schema.HELLO)["nonce"]
        host.send(schema.TIME, [nonce ^ 1, 70_000_000, 0])
        host.send(schema.TIME, [nonce, 1_000, 0])
        street.run_for(70)
        assert host.last(schema.HELLO)["clock"] == 0
        assert [r["time"] for r in host.reports()] == [None]


def test_keeps_for_a_host_that_comes_late(start: Starter) -> None:
    with start(report_s=15, host={"answers": False}) as (street, pole, host):
        street.run_for(600)
        assert not host.stored
        assert len(pole.appended) == 40
        host.answers = True
        host.send(schema.QUERY, [schema.QUERY_HELLO], 65535)
        street.run_for(10)
        hello = host.last(schema.HELLO)
        assert (hello["first"], hello["last"]) == (1, 40)
        order = [identity for _, kind, identity in host.heard if identity and kind == schema.REPORT]
        assert order == sorted(order)
        assert next(kind for _, kind, identity in host.heard if identity) == schema.EVENT, "what happened comes first"
        books_balance(pole, host)


def test_a_host_that_goes_is_no_reason_to_stop(start: Starter) -> None:
    with start() as (street, pole, host):
        street.run_for(100)
        host.answers = False
        before = len(host.heard)
        street.run_for(900)
        repeats = [identity for _, _, identity in host.heard[before:] if identity]
        assert len(set(repeats)) <= 8, "more than eight messages in flight"
        assert len(repeats) < 8 * (5 + 15), "too eager"
        assert len(pole.appended) >= 16
        host.answers = True
        street.run_for(61)
        books_balance(pole, host)


def test_what_the_line_loses_comes_again(start: Starter) -> None:
    with start(report_s=5, host={"loses": 3}) as (street, pole, host):
        street.run_for(600)
        host.loses = 0
        host.send(schema.CONFIG, [9, schema.CONFIG_REPORT_S, 0])
        street.run_for(70)
        assert len(host.reports()) >= 120
        books_balance(pole, host)


def test_acknowledgements_that_are_lost_make_no_new_messages(start: Starter) -> None:
    with start(report_s=5, host={"acknowledges": False}) as (street, pole, host):
        street.run_for(60)
        assert len(host.stored) == 8
        assert host.twice > 8
        host.acknowledges = True
        street.run_for(120)
        host.send(schema.CONFIG, [9, schema.CONFIG_REPORT_S, 0])
        street.run_for(30)
        books_balance(pole, host)


def test_power_cuts_lose_nothing_whose_append_returned(start: Starter) -> None:
    chance = random.Random(5)
    with start(report_s=5, host={"loses": 4}) as (street, pole, host):
        for cut in range(10):
            street.run_for(chance.uniform(2, 25))
            if cut % 2:
                pole.restore_after_s = 2.0
                pole.cut_after(chance.randrange(1, 9), chance.random())
                street.run_for(40)
            else:
                pole.power_cycle(2.0)
                street.run_for(3)
        host.loses = 0
        host.send(schema.CONFIG, [9, schema.CONFIG_REPORT_S, 0])
        street.run_for(120)
        made = {(a.boot, a.seq): (a.kind, a.body) for a in pole.appended}
        assert made.items() <= host.stored.items(), "an append returned and its message is lost"
        unsure = set(host.stored) - set(made)
        assert len(unsure) <= 10, "at most one a cut: durable when the power went, before the append could return"
        assert len({boot for boot, _ in host.stored}) == len(pole.boots) == 11
        assert dark(pole) == []


def test_a_command_is_carried_out_once_and_measured(start: Starter) -> None:
    with start(report_s=5) as (street, pole, host):
        street.run_for(20)
        host.send(schema.LAMP_SET, [41, schema.MODE_DIM, 50, 0, 60, schema.REASON_OPERATOR])
        street.run_for(1)
        assert host.last(schema.RESULT) == {"id": 41, "code": schema.RESULT_APPLIED, "level": 50, "relay": 1}
        assert pole.lamp.level(pole.clock.now_us) == pytest.approx(0.5, abs=0.02)
        street.run_for(20)
        assert host.reports()[-1]["dim"] == 50
        assert host.reports()[-1]["power"] == pytest.approx(pole.lamp.power_w(pole.clock.now_us) * 10, rel=0.1)
        host.send(schema.LAMP_SET, [42, schema.MODE_OFF, 0, 0, 10, schema.REASON_OPERATOR])
        street.run_for(1)
        assert not pole.lit
        host.send(schema.LAMP_SET, [41, schema.MODE_DIM, 50, 0, 60, schema.REASON_OPERATOR])
        street.run_for(1)
        assert host.last(schema.RESULT) == {"id": 41, "code": schema.RESULT_APPLIED, "level": 50, "relay": 1}
        assert not pole.lit, "a repeated command does nothing"
        street.run_for(10)
        assert pole.lit, "the override has expired"
        names = [name for name, _ in host.events()]
        assert names[2:] == ["override", "lamp", "override", "lamp", "override", "lamp"]
        assert [arg for name, arg in host.events() if name == "override"] == [3, 2, -1]
        assert [arg for name, arg in host.events() if name == "lamp"] == [50, 0, 100]


def test_refuses_what_it_cannot_do(start: Starter) -> None:
    with start() as (street, pole, host):
        street.run_for(5)
        for command, code in (
            ((schema.LAMP_SET, [1, schema.MODE_OFF, 0, 0, 0, 0]), schema.RESULT_EXPIRED),
            ((schema.CONFIG, [2, 99, 1]), schema.RESULT_UNKNOWN_KEY),
            ((schema.CONFIG, [3, schema.CONFIG_REPORT_S, -1]), schema.RESULT_OUT_OF_RANGE),
            ((schema.CONFIG, [4, schema.CONFIG_REPORT_S, 86401]), schema.RESULT_OUT_OF_RANGE),
        ):
            host.send(*command)
            street.run_for(1)
            assert (host.last(schema.RESULT)["id"], host.last(schema.RESULT)["code"]) == (command[1][0], code)
        assert pole.lit
        said = len(host.said)
        host.send(schema.QUERY, [schema.QUERY_HEALTH], 77)
        street.run_for(1)
        assert len(host.said) == said, "that was for another node"


def test_the_period_can_be_changed_and_stopped(start: Starter) -> None:
    with start() as (street, pole, host):
        street.run_for(70)
        host.send(schema.CONFIG, [5, schema.CONFIG_REPORT_S, 10])
        street.run_for(60)
        times = [r["time"] for r in host.reports()]
        assert [b - a for a, b in pairwise(times[1:])] == [10] * (len(times) - 2)
        host.send(schema.CONFIG, [6, schema.CONFIG_REPORT_S, 0])
        street.run_for(2)
        made = len(pole.appended)
        assert host.reports()[-1]["time"] > times[-1], "the period under way is reported, not thrown away"
        street.run_for(300)
        assert len(pole.appended) == made
        assert host.last(schema.RESULT)["code"] == schema.RESULT_APPLIED
        books_balance(pole, host)
        host.send(schema.CONFIG, [7, schema.CONFIG_REPORT_S, 10])
        street.run_for(30)
        assert host.reports()[-1]["temp"] is not None


def test_garbage_on_the_line_is_counted_and_survived(start: Starter) -> None:
    chance = random.Random(3)
    with start(report_s=5) as (street, pole, host):
        street.run_for(10)
        for _ in range(60):
            pole.console.write(serial.encode(chance.choice((b"\0", b"")) + chance.randbytes(chance.randrange(20))))
            kind = chance.choice((schema.ACK, schema.LAMP_SET, schema.CONFIG, schema.TIME, schema.QUERY))
            content = frame.pack(kind, 1, 0, chance.randbytes(chance.randrange(12)))
            pole.console.write(serial.encode(b"\0" + content))
            pole.console.write(chance.randbytes(chance.randrange(1, 200)) + b"\x03\x03\r\n\0" * chance.randrange(3))
            street.run_for(1)
        pole.console.write(b"\0")
        host.send(schema.QUERY, [schema.QUERY_HEALTH])
        street.run_for(5)
        assert host.last(schema.HEALTH)["bad_frames"] > 30
        assert len(pole.boots) == 1
        assert len(host.reports()) >= 14
        books_balance(pole, host)


def test_a_dead_sensor_starves_no_other_and_comes_back(start: Starter) -> None:
    with start() as (street, pole, host):
        street.run_for(130)
        pole.chip("sps30").gone = True
        street.run_for(300)
        dead = host.reports()[-1]
        assert (dead["pm1"], dead["pm25"], dead["pm10"]) == (None, None, None)
        assert None not in (dead["temp"], dead["lux"], dead["leq"], dead["power"])
        assert ("sensor_lost", 1) in host.events()
        pole.chip("sps30").gone = False
        street.run_for(240)
        assert ("sensor_back", 1) in host.events()
        assert host.reports()[-1]["pm25"] is not None
        host.send(schema.QUERY, [schema.QUERY_HEALTH])
        street.run_for(1)
        assert host.last(schema.HEALTH)["sensor_errors"] >= 3


def test_a_sensor_that_never_comes_back_from_a_read_is_started_again(
    start: Starter, node_app: Path, tmp_path: Path
) -> None:
    app = with_driver(
        node_app,
        tmp_path,
        "NAME = 'odd'\nFIELDS = ('temp',)\nPERIOD_MS = 1000\n"
        "import asyncio, sys\nstarts = 0\n"
        "def open(b, entry): return sys.modules['drivers.odd']\n"
        "async def start():\n    global starts\n    starts += 1\n"
        "async def read(out):\n"
        "    if starts < 3: await asyncio.Event().wait()\n    out[0] = starts\n",
    )
    with start(app=app, only="odd") as (street, _pole, host):
        street.run_for(190)
        assert host.reports()[-1]["temp"] == 30
        host.send(schema.QUERY, [schema.QUERY_HEALTH])
        street.run_for(1)
        assert host.last(schema.HEALTH)["sensor_errors"] == 2


def test_a_stray_print_spoils_no_frame(start: Starter, node_app: Path, tmp_path: Path) -> None:
    app = with_driver(
        node_app,
        tmp_path,
        "NAME = 'odd'\nFIELDS = ('temp',)\nPERIOD_MS = 700\n"
        "import sys\ndef open(b, entry): return sys.modules['drivers.odd']\n"
        "async def start(): pass\n"
        "async def read(out):\n    print('a reading', out)\n    out[0] = 1\n",
    )
    with start(app=app, only="odd", report_s=5) as (street, pole, host):
        street.run_for(120)
        assert sum(host.bad.values()) > 10
        assert host.twice == 0
        books_balance(pole, host)


def test_a_corrupt_flash_or_configuration_stops_nothing(start: Starter) -> None:
    with start() as (street, pole, host):
        pole.cut_power()
        settings = {"address": 1, "lat": "north", "lon": 26.659, "report_s": 60, "lamp": {"dim": 5}}
        (pole.folder / "config.json").write_text(json.dumps(settings))
        pole.power_on()
        street.run_for(70)
        assert ("bad_config", 2) in host.events(), "two values could not be used"
        assert len(host.reports()) == 1
        pole.cut_power()
        (pole.folder / "config.json").write_text('{"address": 1, ')
        for block in range(0x350000, 0x370000, 4096):
            pole.flash.program(block, random.Random(block).randbytes(4096))
        host.pole.config["address"] = 65534
        pole.power_on()
        street.run_for(400)
        assert ("bad_config", 1) in host.events(2)
        assert len(host.reports(2)) == 1, "the default period of five minutes"
        assert pole.lit


def test_without_a_partition_it_keeps_in_ram(start: Starter) -> None:
    with start() as (street, pole, host):
        pole.cut_power()
        pole.flash.program(0x8000, bytes(4096))
        pole.power_on()
        host.answers = False
        street.run_for(650)
        host.answers = True
        host.send(schema.QUERY, [schema.QUERY_HELLO])
        street.run_for(100)
        assert len(host.reports()) >= 11
        books_balance(pole, host)


def test_a_lost_boot_counter_never_gives_a_boot_number_twice(start: Starter) -> None:
    with start() as (street, pole, host):
        street.run_for(5)
        pole.power_cycle(1)
        street.run_for(10)
        assert {boot for boot, _ in host.stored} == {1, 2}
        pole.cut_power()
        pole.nvs.erase("felinar", "boot")
        pole.power_on()
        street.run_for(10)
        assert {boot for boot, _ in host.stored} == {1, 2, 3}


def test_a_task_that_crashes_is_begun_again_and_told(start: Starter, node_app: Path, tmp_path: Path) -> None:
    """What hits the lamp's own task leaves the lamp lit while it lasts."""
    app = copy_of(node_app, tmp_path)
    (app / "node" / "sun.mpy").unlink()
    source = (FIRMWARE / "node" / "sun.py").read_text()
    poisoned = source.replace(
        "    days = ", "    global calls\n    calls += 1\n    assert not 5 < calls < 8\n    days = "
    )
    (app / "node" / "sun.py").write_text(poisoned + "\ncalls = 0\n")
    with start(NOON, app=app) as (street, pole, host):
        street.run_for(5)
        assert not pole.lit
        street.run_for(100)
        crashes = [arg for name, arg in host.events() if name == "crash"]
        assert crashes[0::2] == [1, 2]
        assert crashes[1] == crashes[3] < 0, "the same line of the same function"
        assert not pole.lit
        assert len(pole.lamp.lit_spans(0, pole.clock.now_us)) == 2, "at boot, and while its task was down"
        assert len(pole.boots) == 1


def test_an_application_that_cannot_start_leaves_the_lamp_lit(start: Starter, node_app: Path, tmp_path: Path) -> None:
    app = copy_of(node_app, tmp_path)
    (app / "node" / "sun.mpy").unlink()
    (app / "node" / "sun.py").write_text("raise MemoryError\n")
    with start(NOON, app=app) as (street, pole, _host):
        street.run_for(120)
        assert len(pole.boots) == 5, "5 s between the first ones, then 50"
        assert {cause for _, cause in pole.boots[1:]} == {Cause.HARD}
        assert dark(pole) == []
        (app / "node" / "sun.py").unlink()
        shutil.copy(node_app / "node" / "sun.mpy", app / "node")
        host = Host(pole)
        street.run_for(60)
        crashes = len(pole.boots) - 1
        assert host.events()[:2] == [("boot", schema.RESET_PANIC), ("crash", crashes)]
        assert host.events()[2][1] < 0
        assert host.events()[3] == ("safe_mode", 1)


def test_a_node_that_hangs_is_bitten_by_its_watchdog(start: Starter, node_app: Path, tmp_path: Path) -> None:
    app = with_driver(
        node_app,
        tmp_path,
        "NAME = 'odd'\nFIELDS = ('temp',)\nPERIOD_MS = 10000\n"
        "import sys, time\nn = 0\n"
        "def open(b, entry): return sys.modules['drivers.odd']\n"
        "async def start(): pass\n"
        "async def read(out):\n    global n\n    n += 1\n"
        "    while n == 3: time.sleep_ms(100)\n    out[0] = 1\n",
    )
    with start(NOON, app=app, only="odd") as (street, pole, host):
        street.run_for(15)
        assert not pole.lit
        street.run_for(80)
        assert [cause for _, cause in pole.boots] == [Cause.POWER_ON, Cause.WATCHDOG]
        assert ("boot", schema.RESET_WATCHDOG) in host.events(2)


def copy_of(app: Path, folder: Path) -> Path:
    copy = folder / "app"
    shutil.copytree(app, copy)
    return copy


def with_driver(app: Path, folder: Path, source: str) -> Path:
    """The application with one more driver, `odd`."""
    copy = copy_of(app, folder)
    (copy / "drivers" / "odd.py").write_text(source)
    return copy


def test_the_microphone_is_heard_for_minutes_on_end(node_app: Path) -> None:
    """With real samples, beside all the other sensors: nothing is missed, and each report has its levels."""
    with Street(1, app=node_app, clock=VirtualClock(NIGHT), report_s=30, heap="224K") as street:
        host = Host(street[0])
        street.run_for(185)
        host.send(schema.QUERY, [schema.QUERY_HEALTH])
        street.run_for(1)
        reports = host.reports()
        assert len(reports) == 6
        assert all(300 < report["leq"] < 900 and report["l90"] < report["lmax"] for report in reports)
        health = host.last(schema.HEALTH)
        assert (health["sensor_errors"], health["crashes"]) == (0, 0)
        assert health["heap_low"] > 224 * 1024 // 5, "less than a fifth of the heap was free with sound flowing"
