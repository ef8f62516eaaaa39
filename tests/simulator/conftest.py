"""Boards that run small programs of the tests under real MicroPython in virtual time."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from felinar_sim.board import Board
from felinar_sim.clock import Clock, VirtualClock

SAMPLES = Path(__file__).with_name("firmware_samples")
PINS = {
    "i2c0_sda": 21, "i2c0_scl": 22, "i2s0_sck": 14, "i2s0_ws": 15, "i2s0_sd": 32, "relay": 25, "dim": 26, "power_cf": 34,
    "uart1_tx": 17, "uart1_rx": 16, "button": 27, "light": 36,
}  # fmt: skip
NOON = 1_767_225_600 + 12 * 3600
"""2026-01-01 12:00 UTC."""


class Bench:
    """A board on a bench: what it wrote on its console, and its program's printed lines."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.bytes = bytearray()
        board.console.on_output.append(self.bytes.extend)

    @property
    def lines(self) -> list[str]:
        """Printed lines, without what boot ROM and prompt say."""
        text = self.bytes.decode(errors="replace")
        skip = ("ets ", "rst:", "MicroPython;", 'Type "help', ">>> ")
        return [line for line in text.splitlines() if line and not line.startswith(skip)]

    def run(self, seconds: float) -> list[str]:
        """Let the time go on; the lines printed so far."""
        self.board.clock.run_for(seconds)
        return self.lines


Start = Callable[..., Bench]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """`start("sample.py" or source text, parts=[(entry, model)], clock=…, **board options)` gives a running Bench."""
    boards: list[Board] = []

    def make(
        program: str,
        *,
        parts: Sequence[tuple[Mapping[str, Any], Any]] = (),
        clock: Clock | None = None,
        on: bool = True,
        **options: Any,
    ) -> Bench:
        number = len(boards) + 1
        app = tmp_path / f"app-{number}"
        app.mkdir()
        if program.endswith(".py") and "\n" not in program:
            shutil.copy(SAMPLES / program, app / "main.py")
        else:
            (app / "main.py").write_text(program)
        folder = tmp_path / f"board-{number}"
        folder.mkdir()
        board = Board(
            f"board-{number}", folder, clock or VirtualClock(NOON), app=app, description={"pins": PINS}, parts=parts, **options
        )  # fmt: skip
        boards.append(board)
        bench = Bench(board)
        if on:
            board.power_on()
        return bench

    yield make
    for board in boards:
        board.close()
