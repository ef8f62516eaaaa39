"""A board waits by itself where nothing else is due: with fewer requests, and never past anything that happens in the world."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from felinar_sim.board import Board, Cause
from felinar_sim.link import Op

from .conftest import NOON, Bench

Start = Callable[..., Bench]
SECOND = 1_000_000

ECHO = """
import select, sys, time
poll = select.poll()
poll.register(sys.stdin.buffer, select.POLLIN)
while True:
    if poll.poll(%d):
        print(sys.stdin.buffer.read(1), time.ticks_ms())
"""


def requests(board: Board) -> dict[int, int]:
    """Counts a board's requests by kind from now on."""
    counts: dict[int, int] = {}
    add = board.trace.add

    def counted(now_us: int, op: int, arg: int, a: int, b: int, data: bytes) -> None:
        counts[op] = counts.get(op, 0) + 1
        add(now_us, op, arg, a, b, data)

    board.trace.add = counted  # type: ignore[method-assign]
    return counts


def test_short_waits_are_not_asked_for(start: Start) -> None:
    bench = start("import time\nfor i in range(5000): time.sleep_ms(100)\nprint(time.ticks_ms() // 1000)")
    counts = requests(bench.board)
    assert bench.run(600) == ["500"]
    assert counts[Op.WAIT] < 30


@pytest.mark.parametrize("every_ms", [7, 1000])
def test_what_comes_between_two_answers_ends_a_wait_at_its_moment(start: Start, every_ms: int) -> None:
    """The outside writes at moments that the board knows nothing of, some of them after it has been told that it is alone."""
    bench = start(ECHO % every_ms)
    board = bench.board
    for at in (3.0, 3.5, 61.25, 200.0):
        board.clock.at(NOON * SECOND + round(at * SECOND), lambda: board.console.write(b"x"))
    lines = [line.split() for line in bench.run(300)]
    # 300 ms of boot ROM count as uptime; a byte takes 87 µs on the line.
    assert [int(ms) for _, ms in lines] == pytest.approx([3000, 3500, 61250, 200_000], abs=2)


def test_who_listens_to_a_pin_can_answer_at_once(start: Start) -> None:
    """A pin's change may bring something about: after it the board is not alone."""
    bench = start(
        "import machine, select, sys, time\npin = machine.Pin(25, machine.Pin.OUT, value=0)\npoll = select.poll()\n"
        "poll.register(sys.stdin.buffer, select.POLLIN)\n"
        "for level in (0, 1, 1, 0, 0):\n time.sleep(2); pin.value(level); t = time.ticks_ms()\n"
        " if poll.poll(5000): print(level, sys.stdin.buffer.read(1), time.ticks_diff(time.ticks_ms(), t))"
    )
    board = bench.board

    class Bell:
        def pin(self, name: str, level: int, now_us: int) -> None:
            board.clock.at(now_us + 40_000, lambda: board.console.write(b"y"))

    board.pins.listeners.append(Bell())
    lines = bench.run(60)
    assert [line.split()[0] for line in lines] == ["1", "0"]
    assert all(39 <= int(line.split()[2]) <= 42 for line in lines)


def test_a_watchdog_bites_in_the_middle_of_waits_nobody_asked_for(start: Start) -> None:
    bench = start(
        "import machine, time\nprint(machine.reset_cause())\nmachine.WDT(timeout=5000)\nwhile True: time.sleep_ms(10)",
        boot_ms=0,
    )
    assert bench.run(4.9) == ["1"]
    bench.run(0.2)
    assert [cause for _, cause in bench.board.boots] == [Cause.POWER_ON, Cause.WATCHDOG]
    at_us = bench.board.boots[1][0] - NOON * SECOND
    assert at_us == pytest.approx(5 * SECOND, abs=10_000)


def test_power_fails_in_the_middle_of_waits_nobody_asked_for(start: Start) -> None:
    """What the program would have done after the cut has not happened: no level, no line, no record in flash."""
    bench = start(
        "import machine, time\npin = machine.Pin(25, machine.Pin.OUT)\n"
        "while True:\n time.sleep_ms(500); pin.value(not pin.value()); print(time.ticks_ms())",
        boot_ms=0,
    )
    board = bench.board
    board.clock.at(NOON * SECOND + 9_750_000, board.cut_power)
    edges: list[int] = []

    class Recorder:
        def pin(self, name: str, level: int, now_us: int) -> None:
            edges.append(now_us - NOON * SECOND)

    board.pins.listeners.append(Recorder())
    bench.run(30)
    assert edges[-1] == 9_750_000, "the pin is released with the power"
    assert edges[-2] < 9_750_000
    assert int(bench.lines[-1]) < 9_750


def test_a_board_that_only_waits_is_told_from_one_that_hangs(start: Start) -> None:
    """Nothing is due for a long time, and yet it says something now and then."""
    bench = start("import time\nwhile True: time.sleep_ms(1000)", boot_ms=0)
    counts = requests(bench.board)
    bench.run(3600)
    assert 50 <= counts[Op.WAIT] <= 70
