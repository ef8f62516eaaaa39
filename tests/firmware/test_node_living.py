"""The node lives with bad configurations, crashes, resets and a technician: the real firmware in virtual time."""

from __future__ import annotations

import json
import shutil
import struct
from binascii import crc32
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from felinar_build import app as build
from felinar_build import modules
from felinar_build.modules import FOR_A_MOMENT
from felinar_sim.board import Cause
from felinar_sim.clock import VirtualClock
from felinar_sim.host import Host
from felinar_sim.street import Pole, Street
from felinar_wire import frame, schema, serial

NIGHT = datetime(2026, 1, 5, 20)
NOON = datetime(2026, 1, 5, 10)
Running = tuple[Street, Pole, Host]
Starter = Callable[..., Any]


@pytest.fixture
def start(node_app: Path) -> Starter:
    @contextmanager
    def begin(
        when: datetime = NIGHT, *, app: Path = node_app, pins: dict[str, int] | None = None, **options: Any
    ) -> Iterator[Running]:
        """A running node without sensors."""
        options.setdefault("report_s", 60)
        options.setdefault("fitted", [])
        street = Street(1, app=app, clock=VirtualClock(when), **options)
        if pins:
            description = street[0].folder / "board.json"
            content = json.loads(description.read_text())
            content["pins"].update(pins)
            description.write_text(json.dumps(content))
        with street:
            yield street, street[0], Host(street[0])

    return begin


def configure(host: Host, data: bytes, id: int = 50, size: int = 120, crc: int | None = None) -> None:
    """Send a configuration in parts, a little apart, as a host does that waits for each answer."""
    for at in range(0, len(data), size):
        head = struct.pack(">HHHI", id, at, len(data), crc32(data) if crc is None else crc)
        content = frame.pack(schema.CONFIG_PART, host.pole.address, 0, head + data[at : at + size])
        host.pole.console.write(serial.encode(b"\0" + content))
        host.pole.clock.run_for(0.2)


def changed(pole: Pole, **values: Any) -> bytes:
    return json.dumps({**pole.config, **values}).encode()


def health(street: Street, host: Host) -> dict[str, Any]:
    host.send(schema.QUERY, [schema.QUERY_HEALTH])
    street.run_for(1)
    return host.last(schema.HEALTH)


def signed(crc: int) -> int:
    crc &= 0xFFFF
    return crc - (crc >> 15 << 16)


def told(host: Host, *names: str, boot: int | None = None) -> list[tuple[str, int]]:
    return [event for event in host.events(boot) if event[0] in names]


CONFIG = ("config_tried", "config_kept", "config_rolled_back")


# Configuration


def test_a_configuration_is_tried_and_kept_on_contact(start: Starter) -> None:
    with start() as (street, pole, host):
        street.run_for(70)
        before = health(street, host)
        file = (pole.folder / "config.json").read_bytes()
        assert (before["config"], before["trial"]) == (crc32(file) & 0xFFFF, 0)
        new = changed(pole, report_s=20)
        configure(host, new)
        results = [got.values for got in host.said if got.kind == schema.RESULT]
        assert [r["code"] for r in results] == [schema.RESULT_MISSING] * (len(results) - 1) + [schema.RESULT_APPLIED]
        assert len(results) == -(-len(new) // 120)
        assert {r["id"] for r in results} == {50}
        street.run_for(30)
        assert [cause for _, cause in pole.boots] == [Cause.POWER_ON, Cause.HARD]
        assert host.last(schema.HELLO)["reset"] == schema.RESET_SOFT
        assert told(host, *CONFIG) == [("config_tried", signed(crc32(new))), ("config_kept", signed(crc32(new)))]
        assert host.reports(1)[-1]["up"] < 90, "what the period under way had gathered"
        street.run_for(61)
        assert len(host.reports(2)) >= 4
        now = health(street, host)
        assert (now["config"], now["trial"]) == (crc32(new) & 0xFFFF, 0)
        pole.power_cycle(1)
        street.run_for(70)
        assert len(host.reports(3)) == 3, "and it stays"
        assert told(host, *CONFIG, boot=3) == []


@pytest.mark.parametrize(
    ("data", "crc"),
    [(b'{"address": 1, "report_s": 0}', None), (b"no JSON", None), (b'{"address": 1}', 1), (b"[1]", None)],
)
def test_a_configuration_that_makes_no_sense_changes_nothing(start: Starter, data: bytes, crc: int | None) -> None:
    with start() as (street, pole, host):
        street.run_for(5)
        operations = pole.fuse.operations
        configure(host, data, crc=crc)
        street.run_for(20)
        assert host.last(schema.RESULT)["code"] == schema.RESULT_INVALID
        assert len(pole.boots) == 1
        assert pole.fuse.operations == operations


def test_one_that_cuts_the_contact_is_rolled_back_in_time(start: Starter) -> None:
    with start() as (street, pole, host):
        street.run_for(5)
        new = changed(pole, address=2)
        configure(host, new)
        street.run_for(3)
        pole.console.on_output.remove(host._output)  # it has nothing to do with a node of another address
        street.run_for(590)
        assert len(pole.boots) == 2
        street.run_for(40)
        pole.console.on_output.append(host._output)
        host.send(schema.QUERY, [schema.QUERY_HELLO])
        street.run_for(10)
        assert len(pole.boots) == 3
        assert told(host, *CONFIG, boot=3) == [("config_rolled_back", signed(crc32(new)))]
        assert told(host, *CONFIG, boot=2) == [("config_tried", signed(crc32(new)))]
        file = (pole.folder / "config.json").read_bytes()
        assert health(street, host)["config"] == crc32(file) & 0xFFFF
        pole.power_cycle(1)
        street.run_for(10)
        assert told(host, *CONFIG, boot=4) == []


def test_resets_during_a_trial_count_against_it(start: Starter) -> None:
    with start() as (street, pole, host):
        street.run_for(5)
        host.gives_time = False
        configure(host, changed(pole, report_s=20))
        street.run_for(20)
        assert health(street, host)["trial"] == 1
        configure(host, changed(pole, report_s=30), id=51)
        assert host.last(schema.RESULT)["code"] == schema.RESULT_REFUSED, "one at a time"
        pole.reset()
        street.run_for(20)
        assert health(street, host)["trial"] == 1
        pole.reset()
        street.run_for(20)
        assert health(street, host)["trial"] == 0
        host.gives_time = True
        host.send(schema.QUERY, [schema.QUERY_HELLO])
        street.run_for(70)
        assert [name for name, _ in told(host, *CONFIG)] == ["config_tried", "config_tried", "config_rolled_back"]


def test_a_program_of_the_lamp_goes_the_same_way(start: Starter) -> None:
    """From 20:00 UTC on, which is 22:00 there."""
    with start() as (street, pole, host):
        street.run_for(5)
        for id, number, minute, level in ((60, 2, 1320, 40), (61, 5, 1325, 30)):
            values = [id, number, 127, 101, 1231, minute, level] + [None] * 10
            host.send(schema.SCHEDULE, values)
            street.run_for(1)
            assert host.last(schema.RESULT) == {"id": id, "code": schema.RESULT_APPLIED, "level": 100, "relay": 1}
        street.run_for(30)
        assert len(pole.boots) == 2, "both in one"
        assert [name for name, _ in told(host, *CONFIG)] == ["config_tried", "config_kept"]
        street.run_for(360)
        assert host.reports()[-1]["dim"] == 30, "the later program counts"
        host.send(schema.SCHEDULE, [62, 5, 127, 101, 1231] + [None] * 12)
        street.run_for(90)
        assert host.reports()[-1]["dim"] == 40
        host.send(schema.SCHEDULE, [63, 1, 0, 101, 1231, 0, 0] + [None] * 10)
        street.run_for(1)
        assert host.last(schema.RESULT)["code"] == schema.RESULT_INVALID, "on no day"
        assert len(pole.boots) == 3


def test_without_its_partition_a_configuration_is_refused(start: Starter) -> None:
    with start() as (street, pole, host):
        pole.cut_power()
        pole.flash.program(0x8000 + 5 * 32, bytes(64))  # "config" and "vfs"
        pole.power_on()
        street.run_for(5)
        configure(host, changed(pole, report_s=20))
        assert host.last(schema.RESULT)["code"] == schema.RESULT_REFUSED
        street.run_for(10)
        assert len(pole.boots) == 1 + 1


# Resets and crashes


def poison(app: Path, folder: Path, module: str, text: str) -> Path:
    """The application with one of its modules replaced by a source."""
    copy = folder / "app"
    shutil.copytree(app, copy)
    (copy / module).with_suffix(".mpy").unlink(missing_ok=True)
    (copy / module).with_suffix(".py").write_text(text)
    return copy


def heal(app: Path, copy: Path, module: str) -> None:
    (copy / module).with_suffix(".py").unlink()
    shutil.copy((app / module).with_suffix(".mpy"), (copy / module).with_suffix(".mpy"))


BAD_SUN = "def elevation(*a):\n    raise BaseException('deep')\n"


def test_each_reset_has_its_cause(start: Starter) -> None:
    with start() as (street, pole, host):
        street.run_for(5)
        pole.brown_out()
        street.run_for(5)
        pole.reset()
        street.run_for(5)
        pole.reset(Cause.WATCHDOG)
        street.run_for(5)
        pole.power_cycle(1)
        street.run_for(5)
        causes = [arg for name, arg in host.events() if name == "boot"]
        assert causes == [
            schema.RESET_POWER,
            schema.RESET_BROWNOUT,
            schema.RESET_PANIC,
            schema.RESET_WATCHDOG,
            schema.RESET_POWER,
        ]
        assert health(street, host)["crashes"] == 0, "the power cut has made a new beginning"


def test_crashes_soon_after_boots_end_in_safe_mode_lit_and_talking(
    start: Starter, node_app: Path, tmp_path: Path
) -> None:
    """By night it would be lit anyway; by day it is the crash that lights it, and safe mode that puts it out again."""
    app = poison(node_app, tmp_path, "node/sun", BAD_SUN)
    with start(NOON, app=app, fitted=None, levels=True) as (street, pole, host):
        street.run_for(30)
        assert pole.lit
        street.run_for(90)
        heal(node_app, app, "node/sun")
        street.run_for(60)
        boot = host.boot
        assert boot > 3
        assert told(host, "safe_mode", boot=boot) == [("safe_mode", 1)]
        assert next(iter(told(host, "crash", boot=boot))) == ("crash", boot - 1)
        where = {arg for name, arg in told(host, "crash") if arg < 0}
        assert len(where) == 1, "all in the same place"
        assert health(street, host)["safe"] == 1
        assert not pole.lit, "it is noon, and the sun says so"
        street.run_for(180)
        last = host.reports()[-1]
        assert last["lux"] is not None
        assert (last["pm25"], last["temp"], last["leq"], last["power"]) == (None, None, None, None)
        host.send(schema.CONFIG, [1, schema.CONFIG_SAFE, 0])
        street.run_for(30)
        assert told(host, "safe_mode", boot=boot) == [("safe_mode", 1), ("safe_mode", 0)]
        now = health(street, host)
        assert (now["safe"], now["crashes"]) == (0, 0)
        street.run_for(180)
        assert host.reports()[-1]["temp"] is not None


def test_safe_mode_follows_no_program_and_ends_by_itself(start: Starter) -> None:
    with start(NIGHT, config={"lamp": {"dim": [["18:00", 30]], "utc_offset_min": 120}}) as (street, _pole, host):
        street.run_for(70)
        assert host.reports()[-1]["dim"] == 30
        host.send(schema.CONFIG, [1, schema.CONFIG_SAFE, 1])
        street.run_for(130)
        assert host.last(schema.RESULT)["code"] == schema.RESULT_APPLIED
        assert health(street, host)["safe"] == 1
        assert host.reports()[-1]["dim"] == 100
        host.send(schema.LAMP_SET, [2, schema.MODE_OFF, 0, 0, 600, 0])
        street.run_for(1)
        assert host.last(schema.RESULT)["code"] == schema.RESULT_REFUSED
        street.run_for(86400 - 301)
        assert health(street, host)["safe"] == 1
        street.run_for(300)
        assert health(street, host)["safe"] == 0
        assert [arg for _, arg in told(host, "safe_mode")] == [1, 0]


SPY = """
import io, sys

FIELDS = ("lux",)
PERIOD_MS = 10000

async def start():
    pass

async def read(out):
    with io.open("loaded.txt", "w") as file:
        file.write(" ".join(sys.modules))
    out[0] = 100

def open(b, entry):
    return sys.modules["drivers.bh1750"]
"""


def test_what_is_seldom_needed_takes_no_memory(start: Starter, node_app: Path, tmp_path: Path) -> None:
    """After a start, a command, a line typed and another configuration on trial and kept: none of it is loaded."""
    app = shutil.copytree(node_app, tmp_path / "app")
    (app / "drivers" / "bh1750.mpy").unlink()
    (app / "drivers" / "bh1750.py").write_text(SPY)
    fitted = [{"driver": "bh1750", "bus": "i2c0", "address": 0x23}]
    with start(app=app, fitted=fitted) as (street, pole, host):
        street.run_for(100)
        pole.console.write(b"status\r")
        configure(host, changed(pole, report_s=30))
        street.run_for(200)
        assert told(host, "config_kept")
        loaded = set((pole.folder / "loaded.txt").read_text().split())
    assert {"node.app", "node.outbox", "felinar_wire.codec"} <= loaded
    assert not loaded & FOR_A_MOMENT
    assert {name for name in loaded if name.startswith(("node", "drivers", "felinar_wire"))} <= {
        modules.name(place) for place in build.sizes("sim")
    } | {"node", "drivers", "felinar_wire"}


def test_five_crashes_within_an_hour_end_in_safe_mode_and_slower_ones_do_not(start: Starter) -> None:
    for gap, safe in ((700, 1), (1000, 0)):
        with start() as (street, pole, host):
            for _ in range(5):
                street.run_for(gap)
                pole.reset()
            street.run_for(10)
            assert health(street, host)["safe"] == safe
            assert told(host, "crash")[-1] == ("crash", 1), "each after a calm time, so none in a row"


def test_the_last_crash_can_be_read_and_has_one_name(start: Starter, node_app: Path, tmp_path: Path) -> None:
    app = poison(node_app, tmp_path, "node/sun", "def elevation(*a):\n    return 1 // 0\n")
    with start(NIGHT, app=app) as (street, pole, host):
        street.run_for(200)
        crashes = told(host, "crash")
        assert pole.lit
        text = pole.nvs.items()["felinar/crash"]
        assert len(text) <= 200
        assert text.endswith(b"ZeroDivisionError: divide by zero\n")
        line = text[text.rindex(b"File") :].split(b"\n")[0]
        assert line.endswith(b'node/sun.py", line 2, in elevation')
        name = -1 - (crc32(line) & 0x7FFF)
        assert crashes[0][1] == 1
        assert {arg for _, arg in crashes if arg < 0} == {name}
        assert Cause.WATCHDOG in {cause for _, cause in pole.boots}, "a task that goes on crashing starves the dog"


def test_flash_that_takes_nothing_restarts_the_node_but_not_for_ever(start: Starter) -> None:
    with start(report_s=10) as (street, pole, host):
        street.run_for(30)
        real = pole.flash.program
        pole.flash.program = lambda at, data: None if 0x350000 <= at < 0x370000 else real(at, data)  # type: ignore[method-assign]
        street.run_for(1200)
        causes = [cause for _, cause in pole.boots[1:]]
        assert set(causes) == {Cause.WATCHDOG}
        assert health(street, host)["safe"] == 1
        boots = len(pole.boots)
        assert boots <= 6
        street.run_for(1200)
        assert len(pole.boots) == boots
        assert pole.lit


@pytest.mark.parametrize("closed", [True, False], ids=["normally closed", "normally open"])
@pytest.mark.parametrize("module", ["node/app", "node/health", "node/__init__"])
def test_a_node_that_cannot_even_be_loaded_lights_the_lamp(
    start: Starter, node_app: Path, tmp_path: Path, module: str, closed: bool
) -> None:
    app = poison(node_app, tmp_path, module, "raise ImportError\n")
    board = app / "board.json"
    board.write_text(json.dumps({**json.loads(board.read_text()), "relay_normally_closed": closed}))
    with start(NOON, app=app) as (street, pole, host):
        street.run_for(600)
        assert pole.lit
        dark = pole.lamp.dark_while_powered(pole.clock.now_us - 500_000_000, pole.clock.now_us)
        assert sum(end - begin for begin, end in dark) < 0.75e6 * len(pole.boots), "no longer than its boots take"
        assert 10 < len(pole.boots) < 16, "it tries again, but without haste"
        heal(node_app, app, module)
        street.run_for(130)
        assert health(street, host)["boot"] == 1, "the first one that got so far"


# HEALTH, LED, console


def test_health_is_complete(start: Starter) -> None:
    with start(NIGHT, drift_ppm=-40.0, report_s=300) as (street, _pole, host):
        street.run_for(21700)
        host.send(schema.QUERY, [schema.QUERY_HELLO])
        street.run_for(10)
        now = health(street, host)
        assert 0 < now["heap_low"] <= now["heap_free"] < 224 * 1024
        assert now["drift"] == pytest.approx(400, abs=25), "0.1 ppm; the crystal is slow, and the line takes its time"
        assert (now["lamp_h"], now["crashes"], now["safe"], now["trial"]) == (6, 0, 0, 0)
        host.send(schema.LAMP_SET, [9, schema.MODE_OFF, 0, 0, 60, 0])
        street.run_for(120)
        assert health(street, host)["switches"] == now["switches"] + 2


class Blinks:
    def __init__(self) -> None:
        self.edges: list[tuple[int, int]] = []

    def pin(self, name: str, level: int, now_us: int) -> None:
        if name == "gpio2":
            self.edges.append((now_us, level))

    def share(self, since_us: int, until_us: int) -> tuple[int, float]:
        """How often it went on, and the share of the time that it was on."""
        on = 0
        level, then = 0, since_us
        for at, new in [*self.edges, (until_us, 0)]:
            at = min(max(at, since_us), until_us)
            on += (at - then) * level
            level, then = new, at
        rises = sum(
            1 for (a, x), (_, y) in zip(self.edges[1:], self.edges, strict=False) if x > y and since_us <= a < until_us
        )
        return rises, on / (until_us - since_us)


def test_the_status_led_tells_the_state(start: Starter) -> None:
    with start(pins={"led": 2}) as (street, pole, host):
        led = Blinks()
        pole.pins.listeners.append(led)
        host.gives_time = False

        def look(seconds: float = 20) -> tuple[int, float]:
            begin = pole.clock.now_us
            street.run_for(seconds)
            return led.share(begin, pole.clock.now_us)

        street.run_for(4)
        assert look() == (10, pytest.approx(0.5, abs=0.03)), "no host: half and half"
        host.gives_time = True
        host.send(schema.QUERY, [schema.QUERY_HELLO])
        street.run_for(4)
        assert look() == (10, pytest.approx(1 / 16, abs=0.02)), "well: a flash every two seconds"
        host.send(schema.CONFIG, [1, schema.CONFIG_SAFE, 1])
        street.run_for(30)
        assert look() == (40, pytest.approx(0.5, abs=0.03)), "safe mode"


class Typist:
    """Somebody at the line, beside the host."""

    def __init__(self, pole: Pole) -> None:
        self.pole = pole
        self.heard = b""
        pole.console.on_output.append(self._hear)

    def _hear(self, data: bytes) -> None:
        self.heard += data

    def type(self, text: str) -> list[str]:
        self.heard = b""
        self.pole.console.write(text.encode() + b"\r\n")
        self.pole.clock.run_for(1)
        between = b"".join(part for part in self.heard.split(b"\0") if part.isascii() and part[:1] >= b"\r")
        return [line for line in between.decode().split("\r\n") if line]


def test_a_technician_is_answered_between_the_frames(start: Starter) -> None:
    with start(NIGHT, fitted=None, levels=True, report_s=5) as (street, pole, host):
        street.run_for(100)
        desk = Typist(pole)
        assert desk.type("help")[0] == "help", "what is typed is shown"
        assert "selftest" in desk.type("?")[1]
        assert desk.type("status")[1].startswith("boot 1 reset 1 safe 0")
        assert [line.split()[:2] for line in desk.type("status")[2:4]] == [["up", ANY], ["heap", ANY]]
        assert any(line.startswith("sht4x {") and "'temp'" in line for line in desk.type("read"))
        test = desk.type("selftest")
        assert test[-1] == "PASS"
        assert {"ok flash", "ok sps30", "ok host"} <= set(test)
        assert '"address": 1' in desk.type("config")[2]
        assert desk.type("lamp off 20")[1] == "level 0 mode 2"
        assert not pole.lit
        street.run_for(30)
        assert pole.lit, "an order from here expires too"
        assert "Error" in desk.type("lamp x")[0]
        pole.chip("sht4x").gone = True
        street.run_for(60)
        assert desk.type("selftest")[-1] == "FAIL"
        assert "FAILED sht4x" in desk.type("selftest")
        host.send(schema.CONFIG, [9, schema.CONFIG_REPORT_S, 0])
        street.run_for(70)
        assert {(a.boot, a.seq): (a.kind, a.body) for a in pole.appended} == host.stored
        assert health(street, host)["bad_frames"] == 0, "none of it was taken for a frame"


def test_typing_is_no_burden(start: Starter) -> None:
    """What the console needs is let go of again; half a line spoils no frame, and no frame is taken for a line."""
    with start(NIGHT) as (street, pole, host):
        street.run_for(70)
        desk = Typist(pole)
        desk.type("status")
        free = health(street, host)["heap_free"]
        for _ in range(50):
            desk.type("selftest")
        assert health(street, host)["heap_free"] == pytest.approx(free, abs=1500)
        pole.console.write(b"stat")
        host.send(schema.LAMP_SET, [5, schema.MODE_DIM, 50, 0, 60, 0])
        street.run_for(2)
        assert host.last(schema.RESULT) == {"id": 5, "code": schema.RESULT_APPLIED, "level": 50, "relay": 1}
        pole.console.write(b"x" * 300 + b"\r\n")
        host.send(schema.QUERY, [schema.QUERY_HELLO])
        hellos = len([got for got in host.said if got.kind == schema.HELLO])
        street.run_for(2)
        assert len([got for got in host.said if got.kind == schema.HELLO]) == hellos
        host.send(schema.QUERY, [schema.QUERY_HELLO])
        street.run_for(2)
        assert len([got for got in host.said if got.kind == schema.HELLO]) == hellos + 1
        assert host.twice == 0
