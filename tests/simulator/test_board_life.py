"""A board's life: reasons of resets, the watchdog, what survives what, and the same bytes for the same seed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from felinar_sim.board import Board, Cause
from felinar_sim.clock import VirtualClock
from felinar_sim.errors import SimulatorError

from .conftest import NOON, SAMPLES, Bench

Start = Callable[..., Bench]


def causes(bench: Bench) -> list[str]:
    return [cause.name for _, cause in bench.board.boots]


def test_reasons_of_resets_and_what_survives_them(start: Start) -> None:
    bench = start("resets.py")
    bench.run(3)
    assert bench.lines == ["cause 1 memory b'' counted 0 year 2000"]
    bench.board.console.write(b"h")
    bench.run(3)
    assert bench.lines[-1] == "cause 2 memory b'1' counted 1 year 2026"
    bench.board.console.write(b"s")
    bench.run(3)
    assert bench.lines[-1] == "cause 5 memory b'2' counted 2 year 2026"
    bench.board.console.write(b"w")
    bench.run(8)
    assert bench.lines[-1] == "cause 3 memory b'3' counted 3 year 2026"
    bench.board.console.write(b"d")
    bench.run(10)
    assert bench.lines[-1] == "cause 4 memory b'4' counted 4 year 2026"
    bench.board.reset()
    bench.run(3)
    assert bench.lines[-1] == "cause 2 memory b'5' counted 5 year 2026"
    bench.board.power_cycle(2)
    bench.run(5)
    assert bench.lines[-1] == "cause 1 memory b'' counted 6 year 2000", (
        "NVS survives a power cut, RTC and its memory do not"
    )
    bench.board.brown_out()
    bench.run(3)
    assert bench.lines[-1] == "cause 1 memory b'7' counted 7 year 2000", (
        "a brown-out reads as power-on, but RTC memory stays"
    )
    expected = ["POWER_ON", "HARD", "SOFT", "WATCHDOG", "DEEP_SLEEP", "HARD", "POWER_ON", "POWER_ON"]
    assert causes(bench) == expected


def test_real_time_clock_goes_on_over_a_reset(start: Start) -> None:
    bench = start("import time, machine\nprint(time.time())\ntime.sleep(10)\nmachine.reset()")
    bench.run(25)
    assert [int(line) for line in bench.lines] == [0, 10, 20], "each boot takes 0.3 s of it"


@pytest.mark.parametrize("stuck", ["time.sleep(100)", "while True: pass", "while True: time.ticks_ms()"])
def test_watchdog_bites_sleepers_and_thinkers(start: Start, stuck: str) -> None:
    program = (
        f"import machine, time\nw = machine.WDT(timeout=2000)\nfor _ in range(5): time.sleep(1); w.feed()\n{stuck}"
    )
    bench = start(program, hang_s=0.5)
    bench.run(7.2)
    assert causes(bench) == ["POWER_ON"]
    bench.run(0.2)
    assert causes(bench) == ["POWER_ON", "WATCHDOG"]
    assert "the watchdog bites" in bench.board.log.text()


def test_computing_for_ever_without_a_watchdog_is_told(start: Start) -> None:
    with pytest.raises(SimulatorError, match="computes for ever"):
        start("while True: pass", hang_s=0.3).run(1)


def test_an_uncaught_exception_ends_at_the_prompt(start: Start) -> None:
    bench = start("import machine\nmachine.Pin(25, machine.Pin.OUT, value=1)\nraise ValueError('as planned')")
    bench.run(2)
    assert "ValueError: as planned" in bench.lines
    assert "ValueError: as planned" in bench.board.log.text()
    assert bench.bytes.endswith(b">>> ")
    assert bench.board.pins.level("relay") == 1, "the chip keeps its outputs at the prompt"
    bench.board.console.write(b"\x04")
    bench.run(2)
    assert causes(bench) == ["POWER_ON", "SOFT"]


def test_a_dying_interpreter_is_a_panic(start: Start) -> None:
    bench = start("import os, machine\nif machine.reset_cause() == 1: os.system('kill -9 $PPID')\nprint('again')")
    assert bench.run(2) == ["again"]
    assert causes(bench) == ["POWER_ON", "HARD"]
    assert "SIGKILL" in bench.board.log.text()


def test_out_of_memory_is_the_programs_own_affair(start: Start) -> None:
    bench = start(
        "try:\n bytearray(230000)\nexcept MemoryError: print('no memory')\nimport gc\ngc.collect()\nprint(gc.mem_free())"
    )
    lines = bench.run(1)
    assert lines[0] == "no memory"
    assert int(lines[1]) > 190_000, "the stand-ins leave most of 224K to the program"


def test_without_power_nothing_happens(start: Start) -> None:
    bench = start(
        "import time, machine\nmachine.Pin(25, machine.Pin.OUT, value=1)\nwhile True: time.sleep(1); print('x')"
    )
    bench.run(3)
    board = bench.board
    board.cut_power()
    seen, requests = len(bench.bytes), board.trace.count
    assert board.pins.level("relay") == 0
    bench.run(100)
    assert (len(bench.bytes), board.trace.count, board.running, board.powered) == (seen, requests, False, False)
    board.cut_power()
    board.power_on()
    board.power_on()
    assert bench.run(2)[-1] == "x"


def test_power_lost_while_booting(start: Start) -> None:
    bench = start("print('up')", boot_ms=500)
    bench.run(0.2)
    bench.board.power_cycle(0.1)
    bench.run(0.45)
    assert bench.lines == []
    bench.run(0.3)
    assert bench.lines == ["up"]


def test_same_seed_same_bytes_wherever_it_runs(tmp_path: Path) -> None:
    # the name is part of the seed: boards of one name in folders of different length
    def named(seed: int, folder: str) -> tuple[str, bytes]:
        place = tmp_path / folder
        place.mkdir()
        app = tmp_path / f"{folder}-app"
        app.mkdir()
        (app / "main.py").write_text((SAMPLES / "random_walk.py").read_text())
        clock = VirtualClock(NOON)
        board = Board("one", place, clock, app=app, description={}, seed=seed)
        heard = bytearray()
        board.console.on_output.append(heard.extend)
        board.power_on()
        clock.run_for(5)
        board.console.write(b"hello")
        clock.run_for(15)
        board.close()
        return board.trace.digest(), bytes(heard)

    assert named(1, "a") == named(1, "a_much_longer_name_for_a_folder")
    assert named(1, "b")[1] != named(2, "c")[1]


def test_boards_run_in_the_order_of_their_moments(start: Start) -> None:
    """Ten boards with different periods ask one chip: it never sees time go back, and never two at once."""
    seen: list[tuple[int, int]] = []

    class Witness:
        address = 0x40

        def write(self, data: bytes, now_us: int) -> None:
            seen.append((now_us, data[0]))

        def read(self, n: int, now_us: int) -> bytes:
            return bytes(n)

    clock = VirtualClock(NOON)
    witness = Witness()
    for k in range(5):
        start(
            "import time, machine\nfrom machine import I2C, Pin\ni = I2C(0, scl=Pin(22), sda=Pin(21), freq=400000)\n"
            f"while True:\n  time.sleep_us({997 + 331 * k})\n  i.writeto(0x40, bytes([{k}]))",
            parts=[({"bus": "i2c0"}, witness)],
            clock=clock,
            boot_ms=10,
        )
    clock.run_for(0.3)
    assert [at for at, _ in seen] == sorted(at for at, _ in seen)
    counts = [sum(1 for _, k in seen if k == n) for n in range(5)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 200


def test_causes_are_the_chips_numbers() -> None:
    assert [int(c) for c in Cause] == [1, 2, 3, 4, 5]


def test_a_program_that_only_asks_gets_on(start: Start) -> None:
    bench = start("from machine import Pin\nn = 0\nwhile True: n += Pin(27, Pin.IN).value()", boot_ms=10)
    bench.run(0.02)
    assert 1000 < bench.board.trace.count < 40_000


def test_boards_end_with_their_simulator(start: Start, tmp_path: Path) -> None:
    """Killed with SIGKILL, the simulator leaves no process behind, whatever its programs make of errors."""
    program = "import time\nwhile True:\n  try: time.sleep(0.01)\n  except BaseException: pass\n"
    (tmp_path / "main.py").write_text(program)
    script = (
        "import sys, pathlib\nfrom felinar_sim.board import Board\nfrom felinar_sim.clock import RealClock\n"
        "here = pathlib.Path(sys.argv[1])\nclock = RealClock()\nboard = Board('b', here, clock, app=here, description={}, boot_ms=0)\n"
        "board.power_on()\nclock.run_for(0.2)\nprint(board._process.pid, flush=True)\nclock.run_for(3600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as simulator:
        assert simulator.stdout
        pid = int(simulator.stdout.readline())
        simulator.kill()
    for _ in range(200):
        if not _alive(pid):
            return
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    raise AssertionError("the board's process lives on")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
